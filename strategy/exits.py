"""How a position ends: stop distance, break-even and trailing stop.

:func:`step` is the one exit rule of the whole system. Training compiles it (through
:mod:`strategy.simulate`), the trading bot calls it as plain Python, and both therefore
move and hit the same stops. This file imports nothing that a Lambda does not have.
"""

from __future__ import annotations

import math
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from strategy.config import BreakEven

BREAK_EVEN_AT_R = 1.0
TRAIL_AT_R = 2.0


class ExitReason(IntEnum):
    """Why a position ended; a stop is named by where it stood."""

    OPEN = 0
    STOP_LOSS = 1
    BREAK_EVEN = 2
    TRAILING_STOP = 3
    CLOSED = 4
    WINDOW_END = 5


# Plain integers, because compiled code reads module constants but not enum members cheaply.
OPEN = int(ExitReason.OPEN)
STOP_LOSS = int(ExitReason.STOP_LOSS)
AT_BREAK_EVEN = int(ExitReason.BREAK_EVEN)
TRAILING_STOP = int(ExitReason.TRAILING_STOP)
CLOSED = int(ExitReason.CLOSED)
WINDOW_END = int(ExitReason.WINDOW_END)


def volatility_multiplier(
    atr: NDArray[np.float64], mean_atr: NDArray[np.float64], rule: BreakEven
) -> NDArray[np.float64]:
    """Scale of the stop: current over historical ATR, clamped to the rule's bounds.

    The requirement document writes ``max(max_multiplier, min(min_multiplier, ratio))``.
    Its bounds are exchanged: as written the result is always ``max_multiplier``.

    Parameters
    ----------
    atr, mean_atr
        Shape (n,), price units: ATR, and its mean over ``historical_atr_window`` bars.

    Returns
    -------
    Shape (n,), dimensionless; NaN where either input is NaN (warm-up), and the lower bound
    in a market that stood still for the whole window (0/0: nothing speaks for a wider stop).
    """
    unscaled = np.where(np.isnan(atr), np.nan, rule.min_multiplier)
    ratio = np.divide(atr, mean_atr, out=unscaled, where=mean_atr != 0)
    return np.clip(ratio, rule.min_multiplier, rule.max_multiplier)


def stop_distance(
    atr: NDArray[np.float64], mean_atr: NDArray[np.float64], rule: BreakEven
) -> NDArray[np.float64]:
    """One R in price units at each bar: ``volatility_multiplier * ATR``; NaN in warm-up."""
    return volatility_multiplier(atr, mean_atr, rule) * atr


def step(
    side: int,
    entry_price: float,
    risk: float,
    stop: float,
    trailing: bool,
    open_price: float,
    high: float,
    low: float,
    close: float,
    trail_distance: float,
    forced_stop: float,
    forced_close: float,
) -> tuple[float, int, float, bool]:
    """Carry a position through one closed bar, pessimistically.

    In this order: a gap through the stop fills at the open; what an intervention forced
    inside the bar (a close at its price, a tighter stop) takes effect; the stop in force is
    held against the adverse extreme; and only then does the favourable extreme move the stop
    for the *next* bar. A moved stop that the close has already passed is therefore
    filled by the next bar's gap rule, at its open.

    Parameters
    ----------
    side
        1 long, -1 short.
    entry_price, risk, stop
        Price; ``risk`` is one R in price units, fixed at the decision.
    trailing
        Whether the position has once been 2R in profit.
    open_price, high, low, close
        The bar.
    trail_distance
        ``multiplier * ATR`` known at this bar's close, price units.
    forced_stop
        Stop that an intervention set inside this bar (break-even); NaN for none.
    forced_close
        Price at which an intervention closed the position inside this bar; NaN for none.

    Returns
    -------
    exit_price
        NaN while the position stays open.
    reason
        An :class:`ExitReason` value; 0 while open.
    stop, trailing
        As they stand for the next bar.
    """
    # One self-contained body: compiled code cannot call out to plain Python functions.
    reason = STOP_LOSS
    if side * (stop - entry_price) == 0:
        reason = AT_BREAK_EVEN
    elif side * (stop - entry_price) > 0:
        reason = TRAILING_STOP
    if side * (open_price - stop) <= 0:
        return open_price, reason, stop, trailing
    if not math.isnan(forced_close):
        return forced_close, CLOSED, stop, trailing
    if side * (forced_stop - stop) > 0:  # false for NaN
        stop = forced_stop
        reason = AT_BREAK_EVEN
    adverse = low if side > 0 else high
    if side * (adverse - stop) <= 0:
        # The stop's own price although the bar may also have touched a target: within a bar
        # the order of its extremes is unknown, so the worse one is taken to have come first.
        return stop, reason, stop, trailing
    favourable = high if side > 0 else low
    profit_in_r = side * (favourable - entry_price) / risk
    if profit_in_r >= BREAK_EVEN_AT_R and side * (entry_price - stop) > 0:
        stop = entry_price
    if profit_in_r >= TRAIL_AT_R:
        trailing = True
    trail = close - side * trail_distance
    if trailing and side * (trail - stop) > 0:
        stop = trail
    return math.nan, OPEN, stop, trailing
