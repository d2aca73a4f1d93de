"""Folds the exit rules over candles: signals and interventions in, trades out.

Backtest, Monte Carlo, paper and live all make the trades that :func:`simulate` makes on the
same candles and interventions. What no simulation can decide by itself (the circuit breaker,
a switch, an operator, an entry refused for risk) comes in as a list of interventions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from strategy import exits
from strategy.candles import open_times, timeframe_delta
from strategy.costs import Charges
from strategy.errors import DataError
from strategy.exits import ExitReason
from strategy.jit import compiled

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

TRADE = np.dtype(
    [
        ("decision_bar", np.int64),
        ("entry_bar", np.int64),
        ("exit_bar", np.int64),
        ("side", np.int8),
        ("entry_price", np.float64),
        ("exit_price", np.float64),
        ("risk", np.float64),
        ("reason", np.int8),
        ("r", np.float64),
    ]
)
"""One trade: bars are positions in the candle frame, prices and ``risk`` (one R) in quote
units, ``r`` the R-multiple net of all costs."""


class Bars(NamedTuple):
    """Candles as arrays of shape (n,): open times in UTC nanoseconds, and float64 prices."""

    time: Ints
    open: Floats
    high: Floats
    low: Floats
    close: Floats

    @classmethod
    def of(cls, candles: pd.DataFrame) -> Bars:
        columns = (candles[name].to_numpy() for name in ("open", "high", "low", "close"))
        return cls(open_times(candles).asi8, *columns)


class InterventionKind(IntEnum):
    """What no simulation decides by itself."""

    HALT = 1
    """No entry from this moment on (circuit breaker, master switch)."""
    RESUME = 2
    """Entries are allowed again."""
    REFUSE = 3
    """The entry decided at the last close is not taken (risk exposure, busy symbol)."""
    BREAK_EVEN = 4
    """Open positions in profit at ``price`` get their stop moved to the entry."""
    CLOSE = 5
    """Open positions are closed at ``price`` (emergency stop, operator)."""


class Intervention(NamedTuple):
    """Something that happened to the strategy from outside, at any moment of a bar.

    BREAK_EVEN and CLOSE are recorded when they acted on a position that was open then: what
    they did stands, even if the bar's extreme says that a stop could have been hit before.
    Those of one and the same moment keep the order of their list.
    """

    time: pd.Timestamp
    """UTC."""
    kind: InterventionKind
    price: float = math.nan
    """Market price at that moment; needed by BREAK_EVEN and CLOSE."""


class _Events(NamedTuple):
    """Break-even and close interventions, laid on bars, in order of time."""

    bar: Ints
    phase: Ints
    """When in its bar: -1 in the gap before its open, 0 at its open, 1 inside."""
    is_close: NDArray[np.bool_]
    price: Floats


class _Market(NamedTuple):
    """All that holding a position needs to know, in one argument of the compiled loops."""

    open: Floats
    high: Floats
    low: Floats
    close: Floats
    stop_distance: Floats
    at_open: Floats
    inside: Floats
    per_side: float


def simulate(
    bars: Bars,
    signals: NDArray[np.int8],
    stop_distance: Floats,
    charges: Charges,
    *,
    timeframe: str,
    start: int = 0,
    end: int | None = None,
    interventions: Sequence[Intervention] = (),
) -> NDArray[np.void]:
    """Trade the signals of bars ``[start, end)`` and return the trades.

    A signal at bar t is known at its close and fills at the open of bar t+1. It is ignored
    while a position is open; a new entry may be decided at the close of the bar in which one
    ended. No entry is taken where the stop distance is unknown (NaN) or zero. What is open
    after the last bar closes at its close, reason ``WINDOW_END``.

    Parameters
    ----------
    bars
        The candles, shape (n,).
    signals
        Shape (n,): 1 buy, -1 sell, 0 neutral.
    stop_distance
        Shape (n,), price units: one R at each bar, and the trailing distance at its close.
    charges
        Costs laid on the same bars.
    timeframe
        For example ``1h``: says when a bar closes, and so where an intervention falls.
    interventions
        In any order; those before ``start`` count too (a halt may still be in force).

    Returns
    -------
    Structured array of :data:`TRADE`, in order of time.

    Raises
    ------
    DataError
        If arrays differ in length, ``[start, end)`` does not lie within them, or an
        intervention lacks its time zone or the price that its kind needs.
    """
    end = len(bars.time) if end is None else end
    _check(bars, start, end, len(signals), len(stop_distance), len(charges.at_open))
    blocked, events = _lay_on_bars(interventions, bars.time, timeframe)
    market = _market(bars, stop_distance, charges)
    trades: NDArray[np.void] = _simulate(
        market, signals, blocked, events, start, end, np.empty(max(end - start, 0), dtype=TRADE)
    )
    return trades


def outcomes(
    bars: Bars,
    stop_distance: Floats,
    charges: Charges,
    *,
    start: int,
    end: int,
) -> tuple[Ints, Floats]:
    """Every trade that could be decided in bars ``[start, end)``, each side, once.

    Without interventions a trade depends on its decision bar and side alone, so that a
    thousand random entry sequences over a window only ever pick from this table.

    Returns
    -------
    exit_bar
        Shape (end - start, 2), column 0 short and 1 long; -1 where no trade can be decided.
    r
        Same shape, net R-multiples; NaN where no trade can be decided.
    """
    _check(bars, start, end, len(stop_distance), len(charges.at_open))
    table_exit = np.full((end - start, 2), -1, dtype=np.int64)
    table_r = np.full((end - start, 2), math.nan)
    _outcomes(_market(bars, stop_distance, charges), _NO_EVENTS, start, end, table_exit, table_r)
    return table_exit, table_r


def trades_frame(trades: NDArray[np.void], index: pd.DatetimeIndex) -> pd.DataFrame:
    """Trades as a table for people: times (UTC, of the bars' open) instead of bars."""
    return pd.DataFrame(
        {
            "decision_time": index[trades["decision_bar"]],
            "entry_time": index[trades["entry_bar"]],
            "exit_time": index[trades["exit_bar"]],
            "side": trades["side"],
            "entry_price": trades["entry_price"],
            "exit_price": trades["exit_price"],
            "risk": trades["risk"],
            "reason": [ExitReason(reason).name.lower() for reason in trades["reason"]],
            "r": trades["r"],
        }
    )


_NO_EVENTS = _Events(
    np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.bool_), np.empty(0, np.float64)
)


def _check(bars: Bars, start: int, end: int, *lengths: int) -> None:
    """Compiled loops do not check their bounds: they would trade on what lies in memory."""
    n = len(bars.time)
    if any(length != n for length in lengths):
        raise DataError(f"{n} bars, but other inputs have {sorted(set(lengths))}: align them")
    if not 0 <= start <= end <= n:
        raise DataError(f"bars [{start}, {end}) do not lie within the {n} that are given")


def _check_intervention(intervention: Intervention) -> None:
    if intervention.time.tz is None:
        raise DataError(f"{intervention.kind.name} at {intervention.time} has no zone; give UTC")
    priced = intervention.kind in (InterventionKind.BREAK_EVEN, InterventionKind.CLOSE)
    if priced and not intervention.price > 0:
        raise DataError(
            f"{intervention.kind.name} at {intervention.time} needs the market price of that "
            f"moment (got {intervention.price})"
        )


def _market(bars: Bars, stop_distance: Floats, charges: Charges) -> _Market:
    return _Market(
        bars.open, bars.high, bars.low, bars.close, stop_distance,
        charges.at_open, charges.inside, charges.per_side,
    )  # fmt: skip


def _lay_on_bars(
    interventions: Sequence[Intervention], open_times: Ints, timeframe: str
) -> tuple[NDArray[np.bool_], _Events]:
    """Which bars' entries are blocked, and what happens to a position open in which bar."""
    blocked = np.zeros(len(open_times), dtype=np.bool_)
    for intervention in interventions:
        _check_intervention(intervention)
    ordered = sorted(interventions, key=lambda intervention: intervention.time)
    if not ordered:
        return blocked, _NO_EVENTS
    times = np.array([each.time.tz_convert("UTC").as_unit("ns").value for each in ordered])
    kinds = np.array([int(each.kind) for each in ordered])
    prices = np.array([each.price for each in ordered])

    switches = (kinds == InterventionKind.HALT) | (kinds == InterventionKind.RESUME)
    # The last switch thrown up to a bar's open, that moment included, decides on its entry.
    last = np.searchsorted(times[switches], open_times, side="right") - 1
    halted = kinds[switches] == InterventionKind.HALT
    if len(halted):
        blocked |= (last >= 0) & halted[np.maximum(last, 0)]

    close_times = open_times + timeframe_delta(timeframe).value
    bar = np.searchsorted(close_times, times, side="right")
    refused = bar[(kinds == InterventionKind.REFUSE) & (bar < len(open_times))]
    blocked[refused] = True

    acting = (kinds == InterventionKind.BREAK_EVEN) | (kinds == InterventionKind.CLOSE)
    acting &= bar < len(open_times)
    phase = np.sign(times[acting] - open_times[bar[acting]])
    is_close = kinds[acting] == InterventionKind.CLOSE
    return blocked, _Events(bar[acting], phase, is_close, prices[acting])


_step = compiled(exits.step)


@compiled
def _hold(
    market: _Market, events: _Events, entry_bar: int, end: int, side: int, risk: float
) -> tuple[int, float, int, float]:
    """Hold a position from its entry bar to its end: exit bar, price, reason, net R."""
    entry_price = market.open[entry_bar]
    stop = entry_price - side * risk
    trailing = False
    column = 1 if side > 0 else 0
    funding = 0.0
    exit_price = math.nan
    reason = exits.OPEN
    exit_bar = end - 1
    event = np.searchsorted(events.bar, entry_bar)
    while event < len(events.bar) and events.bar[event] == entry_bar and events.phase[event] < 1:
        event += 1  # what happened before or at the entry did not happen to this position
    for bar in range(entry_bar, end):
        open_price = market.open[bar]
        if bar > entry_bar:
            funding += market.at_open[bar, column] * open_price
        leaves_at_open = False
        forced_stop = math.nan
        forced_close = math.nan
        while event < len(events.bar) and events.bar[event] <= bar:
            if math.isnan(forced_close):
                if events.is_close[event]:
                    forced_close = events.price[event]
                    leaves_at_open = events.phase[event] < 1
                elif side * (events.price[event] - entry_price) > 0:
                    forced_stop = entry_price
                if events.phase[event] < 0:  # in the gap before this bar: ahead of its open
                    if not math.isnan(forced_close):
                        exit_price = forced_close
                        reason = exits.CLOSED
                    elif side * (forced_stop - stop) > 0:
                        stop = forced_stop
            event += 1
        if reason == exits.OPEN:
            exit_price, reason, stop, trailing = _step(
                side, entry_price, risk, stop, trailing,
                open_price, market.high[bar], market.low[bar], market.close[bar],
                market.stop_distance[bar], forced_stop, forced_close,
            )  # fmt: skip
        if not leaves_at_open and exit_price != open_price:
            funding += market.inside[bar, column] * open_price
        if reason != exits.OPEN:
            exit_bar = bar
            break
    if reason == exits.OPEN:
        exit_price = market.close[exit_bar]
        reason = exits.WINDOW_END
    gross = side * (exit_price - entry_price)
    costs = market.per_side * (entry_price + exit_price) + funding
    return exit_bar, exit_price, reason, (gross - costs) / risk


@compiled
def _simulate(
    market: _Market,
    signals: NDArray[np.int8],
    blocked: NDArray[np.bool_],
    events: _Events,
    start: int,
    end: int,
    trades: NDArray[np.void],
) -> NDArray[np.void]:
    count = 0
    bar = start
    while bar < end - 1:
        side = signals[bar]
        risk = market.stop_distance[bar]
        if side == 0 or not risk > 0 or blocked[bar + 1]:
            bar += 1
            continue
        exit_bar, exit_price, reason, r = _hold(market, events, bar + 1, end, side, risk)
        trade = trades[count]
        trade["decision_bar"] = bar
        trade["entry_bar"] = bar + 1
        trade["exit_bar"] = exit_bar
        trade["side"] = side
        trade["entry_price"] = market.open[bar + 1]
        trade["exit_price"] = exit_price
        trade["risk"] = risk
        trade["reason"] = reason
        trade["r"] = r
        count += 1
        bar = exit_bar
    return trades[:count]


@compiled
def _outcomes(
    market: _Market, events: _Events, start: int, end: int, table_exit: Ints, table_r: Floats
) -> None:
    for bar in range(start, end - 1):
        risk = market.stop_distance[bar]
        if risk > 0:
            for column in range(2):
                exit_bar, _, _, r = _hold(market, events, bar + 1, end, 2 * column - 1, risk)
                table_exit[bar - start, column] = exit_bar
                table_r[bar - start, column] = r
