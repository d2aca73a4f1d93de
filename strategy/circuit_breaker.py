"""Stops new entries when an account loses too much in a day, a week or a month.

Drawdown counts from the equity at the period's opening, net of transfers: the UTC day, the ISO
week, the calendar month.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Literal

from strategy.config import CircuitBreaker

Period = Literal["daily", "weekly", "monthly"]
PERIODS: tuple[Period, ...] = ("daily", "weekly", "monthly")
_NAMES: Mapping[Period, str] = {"daily": "%Y-%m-%d", "weekly": "%G-W%V", "monthly": "%Y-%m"}


@dataclass(frozen=True)
class PeriodState:
    """One running period.

    Parameters
    ----------
    name
        Which one: ``2026-11-22``, ``2026-W47``, ``2026-11``.
    opening_equity
        At its first tick, with what was transferred since.
    tripped
        Whether its limit was reached, and the drawdown has not recovered since.
    """

    name: str
    opening_equity: Decimal
    tripped: bool

    def drawdown(self, equity: Decimal) -> Decimal:
        """Loss since the opening as a fraction of the opening equity; never below 0.

        An account that opened with nothing has nothing left to lose: 1.
        """
        if self.opening_equity <= 0:
            return Decimal(1)
        return max(Decimal(0), 1 - equity / self.opening_equity)


@dataclass(frozen=True)
class Breaker:
    """The state of an account's breaker after a tick.

    Parameters
    ----------
    force_break_even
        Every position in profit goes to break-even now, before any other rule.
    """

    periods: Mapping[Period, PeriodState]
    force_break_even: bool

    @property
    def halted(self) -> bool:
        """No new entries."""
        return any(period.tripped for period in self.periods.values())


def advance(
    before: Breaker | None,
    now: datetime,
    equity: Decimal,
    rule: CircuitBreaker,
    transferred: Decimal = Decimal(0),
) -> Breaker:
    """The breaker at a tick.

    A period that has rolled opens anew, untripped: flat and halted, an account would never
    recover by itself. A tripped one resets when its drawdown is below ``auto_reset_threshold``
    of its limit.

    Parameters
    ----------
    before
        After the tick before; None at an account's first.
    now
        UTC.
    equity
        Of the account, unrealised profit included.
    transferred
        Paid in (or, negative, out) since the tick before.
    """
    periods: dict[Period, PeriodState] = {}
    for period in PERIODS:
        name = now.strftime(_NAMES[period])
        state = before.periods[period] if before else None
        if state is None or state.name != name:
            state = PeriodState(name, equity, tripped=False)
        else:
            state = replace(state, opening_equity=state.opening_equity + transferred)
        periods[period] = _judged(state, equity, limit_of(rule, period), rule)
    alert = _decimal(rule.breakeven_alert_threshold) * limit_of(rule, "daily")
    return Breaker(periods, force_break_even=periods["daily"].drawdown(equity) >= alert)


def limit_of(rule: CircuitBreaker, period: Period) -> Decimal:
    """The drawdown at which a period trips, as a fraction."""
    return _decimal(getattr(rule, period))


def _judged(
    state: PeriodState, equity: Decimal, limit: Decimal, rule: CircuitBreaker
) -> PeriodState:
    drawdown = state.drawdown(equity)
    if drawdown >= limit:
        return replace(state, tripped=True)
    if drawdown < _decimal(rule.auto_reset_threshold) * limit:
        return replace(state, tripped=False)
    return state


def _decimal(fraction: float) -> Decimal:
    """As it is written in config.json: 0.05, not the nearest binary fraction."""
    return Decimal(repr(fraction))
