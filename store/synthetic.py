"""The embedded market: a seeded generator of hourly candles, with planted trends or no edge.

It is synthetic and says so in its name, wherever that name goes.

Log price is a Brownian motion whose volatility clusters slowly. Its drift is up, flat or down
and stays so for hundreds of hours; its size in units of volatility is the trend strength. At
strength 0 the *price* is a martingale (log drift -sigma**2 / 2): nothing can be earned there.

No free lunch: a stop is filled at its own price, so the path must really have passed through
every price between a candle's high and low, and the extremes must be those of a continuous
path. They are drawn from the Brownian bridge between known points of the path. Extremes taken
from the points alone would miss the dips in between, spare positions that a continuous path
had stopped out, and give random entries a profit that is not there.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from strategy.candles import candle_frame, resample, timeframe_delta

Floats = NDArray[np.float64]

PLANTED_TREND = 0.3
"""Trend strength at which even random entries earn, under the default exits and costs."""
NO_EDGE = 0.0
"""Trend strength of a martingale."""

_TIMEFRAME = "1h"
_POINTS = 4  # known points of the path per hour
_FIRST_PRICE = 30_000.0
_VOLATILITY = 0.005  # per hour, the median
_LOG_VOLATILITY_SD = 0.25
_VOLATILITY_MEMORY = 0.99  # autocorrelation from one hour to the next
_TREND_HOURS = 300.0
_FLAT_HOURS = 100.0
_DURATION_SHAPE = 4.0  # of the gamma law of durations: their sd is half of their mean
_LOG_PRICE_BAND = 0.35  # a price so far above the first turns up with a chance of 27 % only
_STRETCH = 30 * 24  # hours that are added to a market at once
_VOLUME = 5_000.0  # median of an hour as wide as its volatility, base asset


@dataclass(frozen=True)
class SyntheticSource:
    """Candles of a synthetic market: the same seed, asset, bars and end make the same ones.

    Parameters
    ----------
    seed
        Seed of the markets; each asset is another one.
    bars
        Number of hourly candles; coarser timeframes are made from them.
    end
        UTC; the last candle closes at it, or before it on the hour.
    trend_strength
        Drift over volatility, per hour, while a trend lasts.
    beyond
        Hours that are given after ``end``: what a strategy that was found before it meets then.
        They come in stretches with a seed of their own each, so that a later look at more of
        them begins with the same ones.
    """

    seed: int
    bars: int
    end: pd.Timestamp
    trend_strength: float = PLANTED_TREND
    beyond: int = 0

    synthetic: ClassVar[bool] = True

    @property
    def name(self) -> str:
        edge = f"trend {self.trend_strength:g}" if self.trend_strength else "no edge"
        return f"synthetic(seed {self.seed}, {edge})"

    def load(self, asset: str, timeframe: str) -> pd.DataFrame:
        hour = timeframe_delta(_TIMEFRAME)
        seeds = [self.seed, zlib.crc32(asset.encode())]
        start = self.end.floor(hour) - self.bars * hour
        hours = synthetic_candles(
            np.random.default_rng(seeds), self.bars, start, trend_strength=self.trend_strength
        )
        for stretch in range(-(-self.beyond // _STRETCH)):
            # from 1: numpy takes a seed that ends in 0 for the one without it
            rng = np.random.default_rng([*seeds, 1 + stretch])
            following = synthetic_candles(
                rng, _STRETCH, hours.index[-1] + hour, trend_strength=self.trend_strength
            )
            hours = pd.concat([hours, joined(following, float(hours["close"].iloc[-1]))])
        hours = hours.iloc[: self.bars + self.beyond]
        # resample refuses a timeframe that hours do not add up to.
        return candle_frame(resample(hours, _TIMEFRAME, timeframe), timeframe, max_gap_bars=0)


def joined(candles: pd.DataFrame, price: float) -> pd.DataFrame:
    """The same market, opening at another price."""
    factor = price / float(candles["open"].iloc[0])
    prices = ["open", "high", "low", "close"]
    return candles.assign(**{name: candles[name] * factor for name in prices})


def synthetic_candles(
    rng: np.random.Generator,
    bars: int,
    start: pd.Timestamp,
    *,
    trend_strength: float = PLANTED_TREND,
) -> pd.DataFrame:
    """Generate hourly candles without gaps; each opens at the close before it.

    Parameters
    ----------
    rng
        The only source of chance.
    bars
        Number of candles.
    start
        Open time of the first, UTC, on the hour.
    trend_strength
        Drift over volatility, per hour, while a trend lasts; 0 for a martingale.

    Returns
    -------
    A candle frame of shape (bars, 5).
    """
    sigma = _volatility(rng, bars)
    variance = np.repeat(sigma**2 / _POINTS, _POINTS)
    noise = rng.normal(-variance / 2, np.sqrt(variance))
    strides = trend_strength * sigma
    drift = strides * _directions(rng, noise.reshape(bars, _POINTS).sum(axis=1), strides)
    path = np.log(_FIRST_PRICE) + _from_zero(noise + np.repeat(drift / _POINTS, _POINTS))
    high, low = bridge_extremes(rng, path[:-1], path[1:], variance)

    prices = np.exp(path[::_POINTS])
    opens, closes = prices[:-1], prices[1:]
    # exp may round two neighbours in different directions: the candle has the last word.
    highs = np.maximum.reduce([np.exp(high.reshape(bars, _POINTS).max(axis=1)), opens, closes])
    lows = np.minimum.reduce([np.exp(low.reshape(bars, _POINTS).min(axis=1)), opens, closes])
    volume = _VOLUME * np.log(highs / lows) / _VOLATILITY * rng.lognormal(sigma=0.5, size=bars)
    return pd.DataFrame(
        {"open": opens, "high": highs, "low": lows, "close": closes, "volume": volume},
        index=pd.date_range(start, periods=bars, freq="h", name="timestamp").as_unit("ns"),
    )


def bridge_extremes(
    rng: np.random.Generator, begin: Floats, end: Floats, variance: Floats
) -> tuple[Floats, Floats]:
    """Draw the maximum and the minimum of Brownian bridges.

    By inversion of P(max > m) = exp(-2 (m - begin)(m - end) / variance); see Glasserman,
    Monte Carlo Methods in Financial Engineering, section 6.4. A bridge does not depend on
    the drift of the motion. The two are drawn independently: each has its exact law given
    both ends, their joint law is approximate. A stop only ever meets one of the two, so a
    martingale stays one; several bridges a candle make the joint law of its high and low
    near the true one.

    Parameters
    ----------
    begin, end
        Shape (n,): log prices that the bridges connect.
    variance
        Shape (n,): variance of the motion from one to the other.

    Returns
    -------
    maximum, minimum
        Shape (n,), log prices.
    """
    jump = (end - begin) ** 2
    exponentials = rng.standard_exponential((2, len(begin)))  # -log of a uniform variate
    up, down = np.sqrt(jump + 2 * variance * exponentials)
    return (begin + end + up) / 2, (begin + end - down) / 2


def _volatility(rng: np.random.Generator, bars: int) -> Floats:
    """Shape (bars,): hourly volatility, whose logarithm is a stationary AR(1)."""
    from scipy.signal import lfilter  # a second to import, and only generating needs it

    shocks = rng.standard_normal(bars)
    shocks[1:] *= np.sqrt(1 - _VOLATILITY_MEMORY**2)
    level: Floats = lfilter([1.0], [1.0, -_VOLATILITY_MEMORY], shocks)
    return _VOLATILITY * np.exp(_LOG_VOLATILITY_SD * level)


def _directions(rng: np.random.Generator, noise: Floats, strides: Floats) -> Floats:
    """Shape (bars,): 1 in an upward trend, -1 in a downward one, 0 between trends.

    A trend turns against the distance that the price has come from its first, so that
    years of strong trends stay within prices that look like a market's.
    """
    wandered, marched = _from_zero(noise), _from_zero(strides)
    directions = np.zeros(len(noise))
    travelled, begin, trending = 0.0, 0, True
    while begin < len(noise):
        hours = _TREND_HOURS if trending else _FLAT_HOURS
        end = begin + 1 + int(rng.gamma(_DURATION_SHAPE, hours / _DURATION_SHAPE))
        end = min(end, len(noise))
        if trending:
            distance = travelled + wandered[begin]
            upward = rng.random() < 1 / (1 + np.exp(distance / _LOG_PRICE_BAND))
            directions[begin:end] = 1.0 if upward else -1.0
            travelled += directions[begin] * (marched[end] - marched[begin])
        begin, trending = end, not trending
    return directions


def _from_zero(steps: Floats) -> Floats:
    """Shape (n + 1,): cumulated steps, beginning at 0."""
    return np.concatenate([[0.0], np.cumsum(steps)])
