"""The market of a rehearsal: recorded candles, played to the exchange as time goes on.

Within a candle the price stands at its open until just before its close; then it goes through
the extremes, the one against the open position first, as :func:`strategy.exits.step` takes
candles to have gone. So whoever looks at a tick sees what a replay shows, and a stop that rests
is filled in the candle in which the simulator fills it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from heapq import heappop, heappush
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rehearsal.binance.account import FuturesAccount
from rehearsal.clock import SimulatedClock
from store.synthetic import NO_EDGE, PLANTED_TREND, joined, synthetic_candles
from strategy.candles import candle_frame, open_times, resample, timeframe_delta

Frames = Mapping[tuple[str, str], pd.DataFrame]
"""Candle frames by asset and timeframe."""

_AT_THE_END_MS = 1000  # before a candle closes: when its extremes and its close are played
_HOUR, FINEST = pd.Timedelta("1h"), pd.Timedelta("5min")
_DECIMALS = 2  # an exchange has prices in ticks


class Regime(NamedTuple):
    """How the embedded market is for some months."""

    months: int
    trend_strength: float


LIFE = (Regime(2, PLANTED_TREND), Regime(9, NO_EDGE), Regime(120, PLANTED_TREND))
"""An edge that a strategy lives on, is lost, and comes back."""


def embedded_market(
    markets: list[tuple[str, str]],
    begin: pd.Timestamp,
    months: int,
    *,
    history_years: int,
    seed: int,
    regimes: tuple[Regime, ...] = LIFE,
) -> Frames:
    """Synthetic candles of each asset: a history with planted trends, then the regimes.

    Parameters
    ----------
    begin
        UTC, on the hour: until then the history goes, from then on the regimes.
    months
        How long after ``begin`` candles go on.
    """
    frames = {}
    for asset in dict.fromkeys(asset for asset, _ in markets):
        first = begin - pd.DateOffset(years=history_years) - pd.Timedelta(days=30)
        spans = [(first, begin, PLANTED_TREND), *_spans(begin, months, regimes)]
        seeds = [seed, *asset.encode()]
        hours = pd.DataFrame()
        for number, (since, until, strength) in enumerate(spans, 1):
            rng = np.random.default_rng([*seeds, number])
            bars = int((until - since) / _HOUR)
            stretch = synthetic_candles(rng, bars, since, trend_strength=strength)
            if len(hours):
                stretch = joined(stretch, float(hours["close"].iloc[-1]))
            hours = pd.concat([hours, stretch])
        for timeframe in (timeframe for name, timeframe in markets if name == asset):
            frame = resample(hours.round(_DECIMALS), "1h", timeframe)
            frames[asset, timeframe] = candle_frame(frame, timeframe, max_gap_bars=0)
    return frames


def _spans(
    begin: pd.Timestamp, months: int, regimes: tuple[Regime, ...]
) -> Iterator[tuple[pd.Timestamp, pd.Timestamp, float]]:
    since, end = begin, begin + pd.DateOffset(months=months)
    for regime in regimes:
        until = min(since + pd.DateOffset(months=regime.months), end)
        if until > since:
            yield since, until, regime.trend_strength
        since = until


class _Bars(NamedTuple):
    opens_ms: NDArray[np.int64]
    prices: NDArray[np.float64]
    """Shape (n, 4): open, high, low, close."""
    length_ms: int


@dataclass
class Tape:
    """Plays each asset's finest candles to the account, up to the clock.

    Parameters
    ----------
    frames
        Those from before the clock's first moment are not played.
    """

    frames: Frames
    account: FuturesAccount
    clock: SimulatedClock
    _bars: dict[str, _Bars] = field(default_factory=dict, init=False, repr=False)
    _ahead: list[tuple[int, str, int, bool]] = field(default_factory=list, init=False, repr=False)
    """Time, asset, row and whether it is the row's end; a heap."""

    def __post_init__(self) -> None:
        for (asset, finest), frame in finest_of_each(self.frames).items():
            opens = open_times(frame).asi8 // 10**6
            prices = frame[["open", "high", "low", "close"]].to_numpy()
            self._bars[asset] = _Bars(opens, prices, timeframe_delta(finest).value // 10**6)
            row = max(0, int(opens.searchsorted(self.clock.milliseconds, side="right")) - 1)
            self.account.prices[asset] = _money(prices[row][0])
            self._put(asset, row, at_the_end=True)

    def play(self) -> None:
        """Let everything happen that has, by the clock."""
        now = self.clock.milliseconds
        while self._ahead and self._ahead[0][0] <= now:
            time, asset, row, at_the_end = heappop(self._ahead)
            prices = self._bars[asset].prices[row]
            if at_the_end:
                self.account.advance(max(time, self.account.now))
                self._finish(asset, prices)
                self._put(asset, row + 1, at_the_end=False)
            else:
                self.account.prices[asset] = _money(prices[0])  # at which funding is paid
                self.account.advance(max(time, self.account.now))
                self.account.jump(asset, _money(prices[0]))
                self._put(asset, row, at_the_end=True)
        self.account.advance(max(now, self.account.now))

    def _finish(self, asset: str, prices: NDArray[np.float64]) -> None:
        _, high, low, close = prices.tolist()
        extremes = [low, high]
        if self.account.holding(asset).amount < 0:
            extremes.reverse()
        for price in (*extremes, close):
            self.account.glide(asset, _money(price))

    def _put(self, asset: str, row: int, *, at_the_end: bool) -> None:
        bars = self._bars[asset]
        if row < len(bars.opens_ms):
            delay = bars.length_ms - _AT_THE_END_MS if at_the_end else 0
            heappush(self._ahead, (int(bars.opens_ms[row]) + delay, asset, row, at_the_end))


def finest_of_each(frames: Frames) -> Frames:
    """Of every asset the finest candles that there are."""
    return {
        (asset, timeframe): frame
        for (asset, timeframe), frame in frames.items()
        if timeframe == min((t for a, t in frames if a == asset), key=timeframe_delta)
    }


def in_five_minutes(candles: pd.DataFrame, timeframe: str) -> pd.DataFrame:
    """Candles that make up these, as :class:`Tape` plays them.

    The price stands at the open; the last one has the extremes and the close.
    """
    number = int(timeframe_delta(timeframe) / FINEST)
    opens = candles["open"].to_numpy().repeat(number)
    finest = {name: opens.copy() for name in ("open", "high", "low", "close")}
    for name in ("high", "low", "close"):
        finest[name][number - 1 :: number] = candles[name].to_numpy()
    volume = candles["volume"].to_numpy().repeat(number) / number
    offsets = pd.to_timedelta(np.tile(np.arange(number), len(candles)) * FINEST)
    index = (candles.index.repeat(number) + offsets).rename("timestamp")
    return pd.DataFrame({**finest, "volume": volume}, index)


def last_close(frames: Frames) -> pd.Timestamp:
    """When the last candle closes of which every market has one."""
    ends = [frame.index[-1] + timeframe_delta(name[1]) for name, frame in frames.items()]
    return pd.Timestamp(min(ends))


def _money(price: float) -> Decimal:
    return Decimal(repr(float(price)))
