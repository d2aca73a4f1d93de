"""The circuit breaker of an account, tick by tick."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

from serving.trading.desk import Desk
from strategy.circuit_breaker import PERIODS, Breaker, PeriodState, advance, limit_of
from strategy.config import CircuitBreaker


def advanced(desk: Desk, rule: CircuitBreaker) -> Breaker:
    """The breaker now, remembered; the operator hears when it trips and when it resets."""
    account, now = desk.ledger.account, desk.clock()
    before, equity = account.breaker, desk.exchange.balance().total
    after = advance(before, now, equity, rule, _transferred(desk, now))
    account.remember(after)
    desk.ledger.save()
    for period in PERIODS:
        state = after.periods[period]
        was = before is not None and before.periods[period].tripped
        if state.tripped == was:
            continue
        verb = "tripped" if state.tripped else "reset"
        so = "nothing new is opened" if after.halted else "entries are allowed"
        desk.say(
            f"breaker/{period}/{state.name}/{state.tripped}/{now:%Y-%m-%dT%H:%M}",
            f"{desk.ledger.name}: {period} breaker {verb}, {so}",
            f"{state.name}: {_figures(state, equity, limit_of(rule, period))}.",
        )
    return after


def _figures(state: PeriodState, equity: Decimal, limit: Decimal) -> str:
    if state.opening_equity <= 0:
        return f"{equity:.2f} USD are there: nothing to trade with"
    return (
        f"equity {equity:.2f} USD, {100 * state.drawdown(equity):.2f} % below the "
        f"{state.opening_equity:.2f} at its opening; the limit is {100 * limit:.2f} %"
    )


def tripped(breaker: Breaker | None) -> str | None:
    """Why nothing may be opened, for people; None where it may. No breaker: it is not known."""
    if breaker is None:
        return "the circuit breaker cannot be judged"
    names = [period for period in PERIODS if breaker.periods[period].tripped]
    return f"circuit breaker: {', '.join(names)} drawdown" if names else None


def _transferred(desk: Desk, now: datetime) -> Decimal:
    """What was paid in or out since the breaker was last told, USD."""
    account = desk.ledger.account
    since = account.transfers_until
    if since is None:
        account.transfers_until = now
        return Decimal(0)
    found = [
        each.amount
        for each in desk.exchange.income(since + timedelta(milliseconds=1))
        if each.kind == "transfer" and each.time <= now
    ]
    if found or since.date() != now.date():  # an account that rests is not written at every tick
        account.transfers_until = now
    return sum(found, Decimal(0))
