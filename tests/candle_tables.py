"""Hand-written candle tables for the tests, and the trades made of them.

A table names its columns; ``signal`` may be left out (neutral), and so may ``R`` (the stop
distance known at each bar's close, 5 if left out). Bars are an hour apart from ``start`` on,
or as the column ``time`` says. A ``#`` starts a comment.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from strategy.config import Costs
from strategy.costs import charges_on
from strategy.exits import ExitReason
from strategy.simulate import Bars, Intervention, simulate

FREE = Costs(fee_per_side=0, slippage_per_side=0, funding_per_8h=0)
MIRROR = 100.0
"""Prices are mirrored around this one: every long of a table becomes the same trade short."""


class Table(NamedTuple):
    index: pd.DatetimeIndex
    bars: Bars
    signals: NDArray[np.int8]
    stop_distance: NDArray[np.float64]


class Trade(NamedTuple):
    """A trade as the tests write it down."""

    side: int
    entry_bar: int
    exit_bar: int
    entry_price: float
    exit_price: float
    reason: str
    r: float


def table(text: str, start: str = "2024-01-01T00:00Z", step: str = "1h") -> Table:
    """Read an ASCII candle table."""
    lines = [line.split("#")[0].split() for line in text.splitlines()]
    header, *rows = [line for line in lines if line]
    columns = dict(zip(header, zip(*rows, strict=True), strict=True))
    n = len(rows)
    if "time" in columns:
        index = pd.DatetimeIndex([pd.Timestamp(time, tz="UTC") for time in columns["time"]])
    else:
        index = pd.date_range(start, periods=n, freq=step)
    index = index.as_unit("ns")
    prices = [np.array(columns[name], dtype=float) for name in ("open", "high", "low", "close")]
    return Table(
        index,
        Bars(index.asi8, *prices),
        np.array(columns.get("signal", [0] * n), dtype=np.int8),
        np.array(columns.get("R", [5.0] * n), dtype=float),
    )


def mirrored(candles: Table) -> Table:
    """The same market upside down: what was a long trade is the same trade short."""
    bars = candles.bars
    flipped = Bars(
        bars.time,
        open=2 * MIRROR - bars.open,
        high=2 * MIRROR - bars.low,
        low=2 * MIRROR - bars.high,
        close=2 * MIRROR - bars.close,
    )
    return candles._replace(bars=flipped, signals=-candles.signals)


def trades_of(
    candles: Table,
    *,
    costs: Costs = FREE,
    funding_rates: pd.Series | None = None,
    timeframe: str = "1h",
    start: int = 0,
    end: int | None = None,
    interventions: Sequence[Intervention] = (),
) -> list[Trade]:
    """Simulate a table; free of costs unless told otherwise."""
    trades = simulate(
        candles.bars,
        candles.signals,
        candles.stop_distance,
        charges_on(candles.index, timeframe, costs, funding_rates),
        timeframe=timeframe,
        start=start,
        end=end,
        interventions=interventions,
    )
    return [
        Trade(
            int(trade["side"]),
            int(trade["entry_bar"]),
            int(trade["exit_bar"]),
            float(trade["entry_price"]),
            float(trade["exit_price"]),
            ExitReason(trade["reason"]).name.lower(),
            # Hand-worked figures are exact to the cent; doubles are not quite.
            round(float(trade["r"]), 9),
        )
        for trade in trades
    ]


def trades_on_either_side(
    candles: Table, side: str, interventions: Sequence[Intervention] = (), **window: int
) -> list[Trade]:
    """Trade a table that is written for longs; ``short`` trades its mirror image.

    The mirrored trades are mirrored back, so that one hand-worked expectation serves both.
    """
    if side == "long":
        return trades_of(candles, interventions=interventions, **window)
    upside_down = [
        each if math.isnan(each.price) else each._replace(price=2 * MIRROR - each.price)
        for each in interventions
    ]
    return [
        trade._replace(
            side=-trade.side,
            entry_price=2 * MIRROR - trade.entry_price,
            exit_price=2 * MIRROR - trade.exit_price,
        )
        for trade in trades_of(mirrored(candles), interventions=upside_down, **window)
    ]
