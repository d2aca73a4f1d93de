"""The candidate's very decisions under other costs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from strategy import performance
from strategy.costs import Charges
from strategy.simulate import simulate
from training.walk_forward import PreparedMarket, WindowResult

Floats = NDArray[np.float64]

MULTIPLES = (0.0, 1.0, 2.0, 3.0)


class CostCase(NamedTuple):
    """The same trades under one level of costs."""

    multiple: float
    """Of the campaign's own fee and slippage."""
    per_side: float
    """Fee and slippage of one fill, as a fraction of its notional."""
    r: Floats
    """Net R of every trade, in order of time."""

    @property
    def expectancy(self) -> float:
        return performance.expectancy(self.r)


def cost_sensitivity(
    market: PreparedMarket, atr_period: int, results: Sequence[WindowResult]
) -> list[CostCase]:
    """Simulate the candidate's decisions again with fee and slippage multiplied.

    What a trade costs moves no stop, so the decisions, entries and exits stay as they were and
    only R changes. Signals that came while a position was open were ignored and still are: the
    signals that were traded are all that count, and the trades tell them.

    Returns
    -------
    One case a multiple of :data:`MULTIPLES`, funding as configured.
    """
    own = market.charges
    levels = [(multiple, multiple * own.per_side) for multiple in MULTIPLES]
    return [
        CostCase(
            multiple,
            level,
            replayed(market, atr_period, results, own._replace(per_side=level)),
        )
        for multiple, level in levels
    ]


def free_of_costs(
    market: PreparedMarket, atr_period: int, results: Sequence[WindowResult]
) -> Floats:
    """R of the same trades without any cost, funding included."""
    at_open, inside = (np.zeros_like(each) for each in market.charges[1:])
    return replayed(market, atr_period, results, Charges(0.0, at_open, inside))


def replayed(
    market: PreparedMarket, atr_period: int, results: Sequence[WindowResult], charges: Charges
) -> Floats:
    """Net R of the trades of some windows, traded again under these charges."""
    windows = {window.number: window for window in market.windows}
    distance = market.stop_distance(atr_period)
    pooled = [np.empty(0)]
    for result in results:
        signals = np.zeros(len(market.index), dtype=np.int8)
        signals[result.trades["decision_bar"]] = result.trades["side"]
        window = windows[result.window]
        trades = simulate(
            market.bars,
            signals,
            distance,
            charges,
            timeframe=market.timeframe,
            start=window.train_end,
            end=window.validation_end,
        )
        pooled.append(np.ascontiguousarray(trades["r"]))
    return np.concatenate(pooled)


def per_side_for(cases: Sequence[CostCase], expectancy: float) -> float:
    """Fee and slippage per fill at which the trades have a given expectancy.

    R falls in a straight line with the costs of a fill, so that the line through two levels of
    costs is exact between and beyond them.

    Returns
    -------
    Fraction of the notional; negative if even trading for nothing earns less. NaN without
    trades, or where all cases cost the same.
    """
    levels = {case.per_side: case.expectancy for case in cases}
    if len(levels) < 2 or any(math.isnan(each) for each in levels.values()):
        return math.nan
    (low, at_low), *_, (high, at_high) = sorted(levels.items())
    if at_low == at_high:
        return math.nan
    return low + (high - low) * (at_low - expectancy) / (at_low - at_high)
