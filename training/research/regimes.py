"""Of which kind a market is at each bar: calm or wild, falling, sideways or rising."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from strategy.indicators import rolling_mean

SPAN = 48
"""Bars that a regime is judged by: two days of hours."""

Floats = NDArray[np.float64]


class Regime(NamedTuple):
    """A kind of market: ``volatility`` or ``trend``, and its name there."""

    kind: str
    name: str


REGIMES: tuple[Regime, ...] = (
    Regime("volatility", "calm"),
    Regime("volatility", "usual"),
    Regime("volatility", "wild"),
    Regime("trend", "falling"),
    Regime("trend", "sideways"),
    Regime("trend", "rising"),
)


def regimes(candles: pd.DataFrame, span: int = SPAN) -> Mapping[Regime, NDArray[np.bool_]]:
    """By regime: the bars that are of it, shape (n,) each.

    Volatility is the root mean square of the last ``span`` logarithmic returns; ``calm``,
    ``usual`` and ``wild`` are its thirds over all of the candles, so that their borders are known
    in hindsight only: for research, not for a feature. The trend is the sum of the same returns
    over volatility times the root of ``span``: beyond 1, which a random walk reaches one time in
    six on either side, it is ``rising`` or ``falling``, else ``sideways``. In the first ``span``
    bars, and while the price stands still, a bar is of none.

    Parameters
    ----------
    candles
        A candle frame of n bars.
    """
    closes = np.log(candles["close"].to_numpy(np.float64))
    returns = np.diff(closes, prepend=math.nan)
    volatility, trend = np.full((2, len(closes)), math.nan)
    if len(closes) > span:
        volatility[1:] = np.sqrt(rolling_mean(returns[1:] ** 2, span))
        moved = closes[span:] - closes[:-span]
        with np.errstate(divide="ignore", invalid="ignore"):
            trend[span:] = moved / (volatility[span:] * math.sqrt(span))
    volatility[~(volatility > 0)] = math.nan
    trend[~np.isfinite(trend)] = math.nan
    known = volatility[np.isfinite(volatility)]
    low, high = np.quantile(known, [1 / 3, 2 / 3]) if len(known) else (math.nan, math.nan)
    masks = (
        volatility < low,
        (volatility >= low) & (volatility <= high),
        volatility > high,
        trend < -1,
        np.abs(trend) <= 1,
        trend > 1,
    )
    return dict(zip(REGIMES, masks, strict=True))


def of_kind(kind: str) -> Sequence[Regime]:
    """The regimes of one kind, in order."""
    return [regime for regime in REGIMES if regime.kind == kind]
