"""The circuit breaker in the bot: it halts, forces break-even, resets, and tells of each once."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from serving.trading.positions import LIVE
from store.exchange import Income
from store.settings_sections import OpsSettings, RiskSettings
from strategy.errors import RetryError
from tests.bot_world import (
    BAR,
    BEGIN,
    BTC,
    ETH,
    HOUR,
    ONE_R,
    STILL,
    BotWorld,
    candles_of,
    entrant,
    saying,
)

DAY = 24


def falling(r: float) -> BAR:
    """A bar that opens so many R below 1000, and stays there."""
    low = 1000 - ONE_R * r
    return (low, low + 1, low - 1, low)


def losing(r: float, *, bars: int = 60, then: Mapping[int, int] | None = None) -> BotWorld:
    """A long at 1000, past whose stop the second bar opens: so many R below; then quiet."""
    world = BotWorld(STILL, falling(r), *[STILL] * bars, signals={0: 1, **(then or {})})
    for bar in range(2):
        world.at(bar)
    return world


def breaker_told(world: BotWorld) -> list[str]:
    return [subject.split(": ", 1)[1] for subject in world.told.subjects if "breaker" in subject]


def halt_of(world: BotWorld) -> dict[str, bool]:
    return {period: state.tripped for period, state in world.account().periods.items()}


def test_a_loss_in_a_gap_is_as_large_as_the_gap_and_recorded_so() -> None:
    world = losing(3.0)
    (trade,) = world.trades()
    assert trade.exit_price == 970
    costs = float(trade.fees / trade.quantity)
    assert costs == pytest.approx(0.0006 * (1000 + 970))
    assert trade.r == pytest.approx(-3 - costs / 10)
    equity = world.exchange().balance().total
    assert equity == pytest.approx(Decimal(10_000) + trade.profit)


def test_a_daily_loss_at_the_limit_halts_entries_and_is_told_once() -> None:
    world = losing(5.5, then={2: 1, 3: -1, 5: 1})
    for bar in range(2, 10):
        world.at(bar)
    assert halt_of(world) == {"daily": True, "weekly": False, "monthly": False}
    assert world.position() is None
    assert world.refusals() == ["circuit breaker: daily drawdown"] * 3
    assert breaker_told(world) == ["daily breaker tripped, nothing new is opened"]


def test_the_daily_breaker_resets_with_the_day_and_is_told_once() -> None:
    world = losing(5.5, then={DAY - 1: 1, DAY: 1})
    for bar in range(2, DAY + 3):
        world.at(bar)
    assert halt_of(world) == {"daily": False, "weekly": False, "monthly": False}
    assert world.held().decision_time == BEGIN + timedelta(days=1)
    assert breaker_told(world) == [
        "daily breaker tripped, nothing new is opened",
        "daily breaker reset, entries are allowed",
    ]


def test_a_weekly_loss_halts_beyond_the_day() -> None:
    world = losing(10.5, then={DAY: 1})
    for bar in range(2, DAY + 2):
        world.at(bar)
    assert halt_of(world) == {"daily": False, "weekly": True, "monthly": False}
    assert world.refusals() == ["circuit breaker: weekly drawdown"]
    assert breaker_told(world) == [
        "daily breaker tripped, nothing new is opened",
        "weekly breaker tripped, nothing new is opened",
        "daily breaker reset, nothing new is opened",
    ]


def test_a_monthly_loss_halts_beyond_the_week_and_resets_with_the_month() -> None:
    week, month = 7 * DAY, 30 * DAY  # from the second of March
    world = losing(15.5, bars=month + 5, then={week: 1, month: 1})
    for bar in (2, week, week + 1, month - 1, month):
        world.at(bar)
    assert halt_of(world) == {"daily": False, "weekly": False, "monthly": False}
    assert "circuit breaker: monthly drawdown" in world.refusals()
    assert world.held().decision_time == BEGIN + timedelta(hours=month)
    told = breaker_told(world)
    assert told.count("monthly breaker tripped, nothing new is opened") == 1
    assert told.count("monthly breaker reset, entries are allowed") == 1
    assert len(told) == len(set(told)) == 6


def test_a_breaker_resets_within_its_day_once_half_the_limit_is_made_good() -> None:
    world = two_live(short_loses=5.3)
    assert world.account(LIVE).periods["daily"].tripped
    world.market.prices[ETH] = 1050.0
    world.at(1, minutes=10)
    assert not world.account(LIVE).periods["daily"].tripped
    assert breaker_told(world)[-1] == "daily breaker reset, entries are allowed"
    told = len(world.told)
    world.at(1, minutes=15)
    assert len(world.told) == told


# Forced break-even


def two_live(short_loses: float) -> BotWorld:
    """A long of ETHUSDT a little in profit; a short of BTCUSDT that a gap ends at a loss (R)."""
    up = 1000 + ONE_R * short_loses
    bars: list[BAR] = [STILL, (up, up + 1, up - 1, up), *[(up, up + 1, up - 1, up)] * 3]
    world = BotWorld(*bars)
    world.trading(**{BTC: [HOUR], ETH: [HOUR]})
    profit = (1004.0, 1005.0, 1003.0, 1004.0)
    world.market.frames[ETH, HOUR] = candles_of([STILL, *[profit] * 4])
    world.entrants = [
        entrant(saying({0: -1}), "live", "btc"),
        entrant(saying({0: 1}, model_name=f"{ETH}-{HOUR}"), "live", "eth", f"{ETH}-{HOUR}"),
    ]
    world.at(0)
    assert world.held(LIVE).side == -1
    assert world.held(LIVE, ETH).side == 1
    world.at(1)
    assert world.position(LIVE) is None
    return world


def test_near_the_daily_limit_a_position_in_profit_goes_to_break_even_at_once() -> None:
    world = two_live(short_loses=3.2)
    assert not world.account(LIVE).periods["daily"].tripped
    position = world.held(LIVE, ETH)
    assert position.stop == position.entry == 1000  # at 0.5 R no other rule would have moved it
    assert world.stops("real money", ETH) == [1000]
    (forced,) = world.interventions("eth", "live")
    assert (forced.kind, forced.price, forced.time) == (
        "break_even",
        1004,
        BEGIN + timedelta(hours=1),
    )
    for minutes in (0, 5, 10):
        world.at(1, minutes=minutes)
    world.at(2)
    assert len(world.interventions("eth", "live")) == 1
    assert world.told.subjects.count(f"{ETH}: to break-even") == 1


def test_a_position_at_a_loss_is_left_alone_near_the_daily_limit() -> None:
    world = two_live(short_loses=1.5)
    world.market.prices[ETH] = 991.0
    world.live.lose(200)
    world.at(1, minutes=5)
    assert world.held(LIVE, ETH).stop == pytest.approx(990)
    assert world.interventions("eth", "live") == []
    world.market.prices[ETH] = 1001.0
    world.at(1, minutes=10)
    assert world.held(LIVE, ETH).stop == 1000


def test_forced_break_even_comes_before_all_other_rules() -> None:
    """In the same tick the stop would be put back, the switch is off, and a bar is decided."""
    world = two_live(short_loses=1.5)
    (stop,) = world.live.stops(ETH)
    world.live.cancel_stop(ETH, stop.client_order_id)
    world.live.lose(200)
    world.settings.switches = OpsSettings(master_trading_switch=False)
    placed: list[float] = []

    def place(order_id: str, symbol: str, side: int, quantity: Decimal, price: Decimal) -> Any:
        placed.append(float(price))
        return world.live.wrapped.place_stop(order_id, symbol, side, quantity, price)

    world.live.instead["place_stop"] = place
    world.at(1, minutes=5)
    assert placed == [1000]


# What the breaker goes by


def test_money_that_is_taken_out_is_no_drawdown() -> None:
    world = BotWorld(*[STILL] * 5)
    world.entrants = [entrant(saying({0: 1, 2: 1}), "live")]
    world.at(0)
    taken = Income("transfer", None, Decimal(-2000), BEGIN + timedelta(minutes=30), "t1")
    world.live.instead["income"] = lambda since: [taken] if taken.time >= since else []
    world.live.lose(2000)
    for bar in (1, 2):
        world.at(bar)
        assert world.account(LIVE).periods["daily"].opening_equity == 8000
    assert not any(period.tripped for period in world.account(LIVE).periods.values())
    assert breaker_told(world) == []


@pytest.mark.parametrize("method", ["income", "balance"])
def test_a_breaker_that_cannot_be_judged_opens_nothing_and_leaves_stops_managed(
    method: str,
) -> None:
    world = BotWorld(STILL, (1000, 1011, 999, 1010), (1010, 1012, 1009, 1011), STILL)
    world.entrants = [entrant(saying({0: 1}), "live")]
    world.at(0)
    world.entrants.append(entrant(saying({2: 1}), "live", "second"))
    world.live.faults[method] = RetryError("the exchange asks to slow down")
    assert isinstance(world.failing(1), RetryError)
    assert isinstance(world.failing(2), RetryError)
    assert world.stops("real money") == [pytest.approx(1000)]
    assert world.refusals("second", "live") == ["the circuit breaker cannot be judged"]


def test_an_account_without_money_opens_nothing() -> None:
    world = BotWorld(STILL, STILL, STILL, signals={0: 1, 1: 1})
    world.settings.limits = RiskSettings(paper_capital=1e-9)
    world.at(0)
    world.at(1)
    assert world.position() is None
    assert len(world.refusals()) == 2
