"""The circuit breaker, worked by hand: 5 % a day, 10 % a week, 15 % a month."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from strategy.circuit_breaker import Breaker, advance
from strategy.config import CircuitBreaker

D = Decimal
RULE = CircuitBreaker(
    daily=0.05, weekly=0.10, monthly=0.15, auto_reset_threshold=0.5, breakeven_alert_threshold=0.5
)
MONDAY = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)


def after(*ticks: tuple[datetime, str], transferred: str = "0") -> Breaker:
    """The breaker after these (time, equity); what is transferred comes with the last."""
    breaker = None
    for number, (now, equity) in enumerate(ticks):
        paid = D(transferred) if number == len(ticks) - 1 else D(0)
        breaker = advance(breaker, now, D(equity), RULE, paid)
    assert breaker is not None
    return breaker


def tripped(breaker: Breaker) -> list[str]:
    return [name for name, period in breaker.periods.items() if period.tripped]


def minutes(count: int) -> datetime:
    return MONDAY + timedelta(minutes=count)


@pytest.mark.parametrize(
    ("equity", "periods"), [("9500.01", []), ("9500", ["daily"]), ("8900", ["daily", "weekly"])]
)
def test_a_period_trips_when_its_limit_is_reached(equity: str, periods: list[str]) -> None:
    breaker = after((MONDAY, "10000"), (minutes(5), equity))
    assert tripped(breaker) == periods
    assert breaker.halted is bool(periods)


def test_it_stays_tripped_until_half_of_the_limit_is_made_good() -> None:
    fell = [(MONDAY, "10000"), (minutes(5), "9500")]
    assert after(*fell, (minutes(10), "9750")).halted  # 2.5 %: not below the half
    assert not after(*fell, (minutes(10), "9750.01")).halted


def test_a_new_day_resets_the_day_and_leaves_the_week() -> None:
    tuesday = MONDAY + timedelta(days=1)
    breaker = after((MONDAY, "10000"), (minutes(5), "8900"), (tuesday, "8900"))
    assert tripped(breaker) == ["weekly"]
    assert breaker.periods["daily"].opening_equity == D("8900")
    assert breaker.periods["weekly"].opening_equity == D("10000")


def test_weeks_are_iso_weeks_and_begin_on_monday() -> None:
    sunday = datetime(2026, 11, 8, 23, 55, tzinfo=UTC)
    breaker = after((MONDAY, "10000"), (sunday, "8900"))
    assert "weekly" in tripped(breaker)
    breaker = advance(breaker, sunday + timedelta(minutes=5), D("8900"), RULE)
    assert tripped(breaker) == []
    assert breaker.periods["weekly"].name == "2026-W46"


def test_a_week_over_new_year_is_one_week() -> None:
    thursday = datetime(2026, 12, 31, 12, 0, tzinfo=UTC)
    breaker = after((thursday, "10000"), (thursday + timedelta(days=1), "9900"))
    assert breaker.periods["weekly"].name == "2026-W53"
    assert breaker.periods["weekly"].opening_equity == D("10000")
    assert breaker.periods["monthly"].name == "2027-01"
    assert breaker.periods["monthly"].opening_equity == D("9900")


def test_a_withdrawal_is_no_loss_and_a_deposit_hides_none() -> None:
    withdrawn = after((MONDAY, "10000"), (minutes(5), "4000"), transferred="-6000")
    assert not withdrawn.halted
    # 10,000 opened, 600 lost, 1,000 paid in: 10,400 of 11,000 is a drawdown of 5.45 %.
    paid_in = after((MONDAY, "10000"), (minutes(5), "10400"), transferred="1000")
    assert tripped(paid_in) == ["daily"]


def test_profits_that_are_given_back_count_from_the_opening() -> None:
    breaker = after((MONDAY, "10000"), (minutes(5), "12000"), (minutes(10), "9600"))
    assert not breaker.halted


@pytest.mark.parametrize(("equity", "forced"), [("9750.01", False), ("9750", True), ("9400", True)])
def test_break_even_is_forced_from_half_of_the_daily_limit_on(equity: str, forced: bool) -> None:
    assert after((MONDAY, "10000"), (minutes(5), equity)).force_break_even is forced


def test_an_account_without_money_is_halted() -> None:
    assert after((MONDAY, "0")).halted
    assert after((MONDAY, "-5")).halted
