"""What the bot does at a tick: switches, the operator's word, time, and each account for itself."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from serving.trading.bot import TradingBot
from serving.trading.close_requests import CloseRequests
from serving.trading.positions import LIVE, paper_account
from store.paper_exchange import FILTERS
from store.settings_sections import OpsSettings
from strategy.config import BreakEven
from strategy.errors import (
    ConfigError,
    ConflictError,
    HaltError,
    RetryError,
    StoreError,
    TradingSystemError,
)
from strategy.exit_rule import ExitRule
from strategy.sizing import MarketFilters
from tests.bot_world import (
    BEGIN,
    BTC,
    ETH,
    HOUR,
    STILL,
    STRATEGY,
    BotWorld,
    candles_of,
    entrant,
    saying,
)

OFF = OpsSettings(master_trading_switch=False)
EMERGENCY = OpsSettings(emergency_stop=True)
ACCOUNT = paper_account(STRATEGY)
UP_ONE_R = (1000.0, 1011.0, 999.0, 1010.0)


def holding(*bars: tuple[float, float, float, float], side: int = 1) -> BotWorld:
    """A world in which a position was opened at 1000 in the first bar, before those given."""
    world = BotWorld(STILL, *bars, *[STILL] * 5, signals={0: side})
    world.at(0)
    assert world.held().side == side
    return world


def of(world: BotWorld, kind: str) -> list[str]:
    """Why each intervention of a kind was made."""
    return [each.why for each in world.interventions() if each.kind == kind]


# Entering, and time


def test_an_entry_has_its_stop_one_r_away_at_the_exchange_and_risks_what_the_operator_allows() -> (
    None
):
    world = holding()
    position = world.held()
    assert position.entry == 1000
    assert world.stops() == [pytest.approx(990)]
    assert position.quantity * Decimal(10) == pytest.approx(Decimal(100), rel=Decimal("1e-9"))
    assert world.told.subjects == [f"{BTC}: long opened"]


def test_a_neutral_signal_opens_nothing_and_is_no_refusal() -> None:
    world = BotWorld(STILL, STILL)
    assert list(world.at(0).bars) == [f"{BTC} {HOUR} {BEGIN}"]
    assert world.position() is None
    assert not world.interventions()
    assert not world.told


@pytest.mark.parametrize("same_process", [True, False])
def test_a_second_tick_of_the_same_moment_changes_nothing(same_process: bool) -> None:
    world = BotWorld(STILL, UP_ONE_R, (1010, 1024, 1009, 1023), STILL, signals={0: 1, 3: -1})
    for bar in range(4):
        world.at(bar)
        before, told = world.snapshot(), list(world.told)
        if not same_process:
            world.bot = world.new_bot()
        world.at(bar)
        assert world.snapshot() == before
        assert world.told == told
    assert len(world.trades()) == 1  # the bar of 1023 was followed by one at 1000


def test_a_position_is_entered_at_the_latest_a_quarter_of_an_hour_after_the_bar() -> None:
    world = BotWorld(STILL, signals={0: 1})
    world.at(0, minutes=15)
    assert world.held().entry_time == BEGIN + timedelta(minutes=15)


def test_an_entry_that_would_come_later_is_refused() -> None:
    world = BotWorld(STILL, signals={0: 1})
    world.at(0, minutes=16)
    assert world.position() is None
    assert world.refusals() == ["late: the bar closed 0:16:00 ago"]
    assert world.interventions()[0].time == BEGIN + timedelta(minutes=16)


def test_bars_that_no_tick_saw_are_written_down_as_refused() -> None:
    world = BotWorld(*[STILL] * 6, signals={2: 1, 4: 1})
    world.at(0)
    world.at(4)
    assert [each.time for each in world.interventions()] == [
        BEGIN + timedelta(hours=bar) for bar in (1, 2, 3)
    ]
    assert set(world.refusals()) == {"no tick looked at this bar while it was the newest"}
    assert world.held().decision_time == BEGIN + timedelta(hours=4)


def test_a_tick_without_a_new_bar_and_without_positions_asks_nobody() -> None:
    world = BotWorld(STILL, STILL)
    world.at(0)
    fault = RetryError("nobody is to be asked")
    world.registry_fault = world.settings.fault = fault
    world.market.faults = dict.fromkeys(("closed", "since", "price"), fault)
    assert world.at(0, minutes=5).accounts == ()


# Switches


def test_with_the_master_switch_off_an_entry_is_refused_and_written_down() -> None:
    world = BotWorld(STILL, signals={0: 1})
    world.settings.switches = OFF
    world.at(0)
    assert world.position() is None
    assert world.refusals() == ["the master trading switch is off"]
    assert world.told.subjects == ["Master switch off: nothing new is opened"]


def test_with_the_master_switch_off_stops_are_moved_and_positions_closed_by_them() -> None:
    world = holding(UP_ONE_R, (1010, 1024, 1009, 1023), (1023, 1023, 1000, 1001))
    world.settings.switches = OFF
    world.at(1)
    assert world.stops() == [pytest.approx(990)]
    world.at(2)
    assert world.stops() == [pytest.approx(1000)]
    world.at(3)
    assert world.stops()[0] > 1005
    world.at(4)
    assert world.position() is None
    assert [trade.reason for trade in world.trades()] == ["trailing_stop"]


def test_the_operator_hears_of_each_throw_of_a_switch_once() -> None:
    world = BotWorld(*[STILL] * 6)
    for bar, switches in enumerate((OpsSettings(), OFF, OFF, OpsSettings(), OFF, EMERGENCY)):
        world.settings.switches = switches
        world.at(bar)
    assert world.told.subjects == [
        "Master switch off: nothing new is opened",
        "Switches are on: entries are allowed",
        "Master switch off: nothing new is opened",
        "Emergency stop: everything is closed",
    ]


def test_the_emergency_stop_closes_everything_at_the_next_tick_and_opens_nothing() -> None:
    world = holding(STILL)
    world.settings.switches = EMERGENCY
    world.market.prices[BTC] = 1002.0
    world.at(0, minutes=5)
    assert world.position() is None
    assert world.exchange().positions() == []
    assert world.stops() == []
    (trade,) = world.trades()
    assert (trade.reason, trade.exit_price) == ("closed", 1002.0)
    (closed,) = world.interventions()
    assert (closed.kind, closed.price) == ("close", 1002.0)
    assert closed.why == "the emergency stop is set"
    told = list(world.told)
    world.entrants = [entrant(saying({1: 1}))]
    for tick in (5, 10):
        world.at(0, minutes=tick)
    world.at(1)
    assert world.told == told
    assert world.told.subjects[1:] == [
        "Emergency stop: everything is closed",
        f"{BTC}: closing at the market",
        f"{BTC}: closed, {trade.r:+.2f} R",
    ]
    assert world.refusals() == ["the emergency stop is set"]


def test_the_emergency_stop_closes_a_position_whose_candles_cannot_be_read() -> None:
    world = holding(STILL)
    world.settings.switches = EMERGENCY
    world.market.faults["closed"] = RetryError("no candles now")
    error = world.failing(1)
    assert "no candles now" in str(error)
    assert world.exchange().positions() == []
    world.market.faults.clear()
    world.at(1, minutes=5)
    assert world.position() is None
    assert [trade.reason for trade in world.trades()] == ["closed"]


def test_a_position_whose_candles_cannot_be_read_keeps_its_stop() -> None:
    world = holding(STILL)
    (stop,) = world.exchange().stops(BTC)
    world.exchange().cancel_stop(BTC, stop.client_order_id)
    world.bot = world.new_bot()
    world.market.faults["closed"] = RetryError("no candles now")
    world.failing(1)
    assert world.stops() == [pytest.approx(990)]


# The operator's word


def ask(world: BotWorld, account: str = ACCOUNT) -> None:
    CloseRequests(world.state).ask(account, BTC, "ada", world.clock())


def waiting(world: BotWorld, account: str = ACCOUNT) -> list[str]:
    return list(CloseRequests(world.state).of(account))


def test_what_the_operator_wants_closed_is_closed_at_the_next_tick_and_struck_out() -> None:
    world = holding()
    ask(world)
    world.at(0, minutes=5)
    assert world.position() is None
    assert of(world, "close") == [f"asked for by ada at {BEGIN:%Y-%m-%dT%H:%M:%S+00:00}"]
    assert waiting(world) == []


def test_a_request_is_struck_out_although_the_position_is_gone_by_then() -> None:
    world = holding((1000, 1001, 980, 985))
    ask(world)
    world.at(2)
    assert [trade.reason for trade in world.trades()] == ["stop_loss"]
    assert of(world, "close") == []
    assert waiting(world) == []


def test_a_request_waits_for_an_exchange_that_does_not_answer() -> None:
    world = holding()
    world.entrants = [entrant(saying({0: 1}), book="live")]
    world.bot = world.new_bot()
    world.at(0, minutes=5)  # the paper account's; the live one is not asked before a bar closes
    world.entrants = [entrant(saying({1: 1}), book="live")]
    world.at(1)
    ask(world, LIVE)
    world.live.faults["market_order"] = ConfigError("the key may not trade")
    assert isinstance(world.failing(1, minutes=5), ConfigError)
    assert world.position(LIVE) is not None
    assert waiting(world, LIVE) == [BTC]
    world.at(1, minutes=10)  # with a line that was opened anew
    assert world.position(LIVE) is None
    assert waiting(world, LIVE) == []


def test_a_request_that_cannot_be_met_leaves_other_positions_their_stops() -> None:
    world = two_live_positions()
    for asset in (BTC, ETH):
        (stop,) = world.live.stops(asset)
        world.live.cancel_stop(asset, stop.client_order_id)
    ask(world, LIVE)
    world.live.faults["market_order"] = ConfigError("the key may not trade")
    world.failing(0, minutes=5)
    assert len(world.stops("real money", ETH)) == 1


# Each for itself


def two_live_positions() -> BotWorld:
    world = BotWorld(*[STILL] * 4)
    world.trading(**{BTC: [HOUR], ETH: [HOUR]})
    world.market.frames[ETH, HOUR] = candles_of([STILL] * 4)
    world.entrants = [
        entrant(saying({0: 1}), "live", "btc"),
        entrant(saying({0: -1}, model_name=f"{ETH}-{HOUR}"), "live", "eth", f"{ETH}-{HOUR}"),
    ]
    world.at(0)
    assert world.held(LIVE).side == 1
    assert world.held(LIVE, ETH).side == -1
    return world


def test_a_second_strategy_that_wants_a_held_symbol_is_refused_as_busy() -> None:
    world = BotWorld(*[STILL] * 3)
    world.trading(**{BTC: [HOUR, "4h"]})
    world.market.frames[BTC, "4h"] = candles_of([STILL] * 3, "4h")
    slow = f"{BTC}-4h"
    world.entrants = [
        entrant(saying({0: 1}), "live"),
        entrant(saying({0: -1}, "4h", model_name=slow), "live", "slow", slow),
    ]
    world.at(0)
    assert world.held(LIVE).strategy_id == STRATEGY
    assert world.refusals("slow", "live") == [f"symbol_busy: {BTC}-{HOUR} version 1 holds {BTC}"]
    assert world.refusals(STRATEGY, "live") == []


def test_a_position_that_the_bot_did_not_open_keeps_it_out_of_the_symbol() -> None:
    world = BotWorld(*[STILL] * 3)
    world.entrants = [entrant(saying({0: 1}), "live")]
    world.exchange("real money").market_order("by-hand", BTC, -1, Decimal(1), reduce_only=False)
    world.at(0)
    assert world.position(LIVE) is None
    assert world.refusals(book="live") == [
        f"symbol_busy: the exchange holds {BTC} that the bot did not open"
    ]
    assert f"{BTC}: a position that the bot did not open" in world.told.subjects


def test_paper_accounts_of_two_strategies_hold_the_same_symbol_each_for_itself() -> None:
    world = BotWorld(*[STILL] * 2)
    world.entrants = [entrant(saying({0: 1})), entrant(saying({0: -1}), strategy_id="other")]
    world.at(0)
    assert world.held().side == 1
    assert world.held(paper_account("other")).side == -1


FAILURES = [
    ConfigError("the API key has no permission"),
    RetryError("the exchange does not answer"),
    ValueError("a fault of the program"),
]


@pytest.mark.parametrize("failure", FAILURES, ids=lambda error: type(error).__name__)
def test_an_account_that_fails_does_not_keep_others_from_theirs(failure: Exception) -> None:
    world = BotWorld(*[STILL] * 2)
    world.entrants = [entrant(saying({0: 1}), "live", "real"), entrant(saying({0: 1}))]
    world.live_fault = failure
    error = world.failing(0)
    expected = type(failure) if isinstance(failure, TradingSystemError) else HaltError
    assert type(error) is expected
    assert str(failure) in str(error)
    assert world.position() is not None
    assert f"Trading bot: {expected.__name__}" in world.told.subjects


def test_a_strategy_that_fails_does_not_keep_others_of_its_account_from_theirs() -> None:
    world = BotWorld(*[STILL] * 3)
    world.trading(**{BTC: [HOUR], ETH: [HOUR]})
    world.market.frames[ETH, HOUR] = candles_of([STILL] * 3)
    world.entrants = [
        entrant(saying({0: 1}), "live", "btc"),
        entrant(saying({0: 1}, model_name=f"{ETH}-{HOUR}"), "live", "eth", f"{ETH}-{HOUR}"),
    ]
    world.bot.open_live()
    live = world.live
    world.bot.open_live = lambda: live  # type: ignore[assignment,return-value]
    live.instead["filters"] = filters_of_eth
    assert isinstance(world.failing(0), RetryError)
    assert world.position(LIVE, ETH) is not None
    assert world.position(LIVE, BTC) is None
    live.instead.clear()
    world.at(0, minutes=5)
    assert world.held(LIVE, BTC).decision_time == BEGIN  # decided anew, and in time
    assert world.refusals("btc", "live") == []


def filters_of_eth(symbol: str) -> MarketFilters:
    if symbol != ETH:
        raise RetryError("not now")
    return FILTERS


def test_an_account_that_another_bot_works_on_is_left_alone_and_nobody_is_alarmed() -> None:
    world = holding(STILL)

    def meanwhile(symbol: str) -> Decimal:
        item = world.state.get("accounts", ACCOUNT)
        assert item is not None
        world.state.put("accounts", ACCOUNT, item.value, expected=item.version)
        return Decimal(1000)

    told = list(world.told)
    world.market.price = meanwhile  # type: ignore[method-assign]
    assert isinstance(world.failing(1), ConflictError)
    assert world.told == told


def test_two_bots_at_the_same_moment_open_one_position() -> None:
    world = BotWorld(*[STILL] * 2, signals={0: 1})
    other = world.new_bot()
    opened = []

    def late(symbol: str) -> Decimal:
        """The other bot is through with its tick while this one asks for the price."""
        del world.market.price  # type: ignore[misc]
        opened.append(other.tick())
        return Decimal(1000)

    world.market.price = late  # type: ignore[method-assign]
    assert isinstance(world.failing(0), ConflictError)
    (order,) = [name for name in world.exchange()._now().orders if name.endswith("-e")]
    assert world.held().position_id == order.removesuffix("-e")
    assert len(world.stops()) == 1
    assert world.told.subjects == [f"{BTC}: long opened"]


# What outlives a version


def test_a_position_outlives_its_version_and_is_managed_by_that_versions_rule() -> None:
    """Its own rule trails at one ATR; a successor's would at five."""
    world = holding(UP_ONE_R, (1010, 1024, 1009, 1023), (1023, 1023, 1000, 1001))
    wide = BreakEven(min_multiplier=5, max_multiplier=5, historical_atr_window=2)
    world.entrants = [entrant(replace(saying({}), break_even=wide), strategy_id="successor")]
    world.bot = world.new_bot()
    for bar in (1, 2, 3):
        world.at(bar)
    distance = ExitRule(2, saying({}).break_even).distances(world.market.closed(BTC, HOUR, 100))
    assert world.held().stop == pytest.approx(1023 - distance[-1])
    world.entrants = []
    world.at(4)
    assert world.position() is None
    assert [trade.version for trade in world.trades()] == [1]


def test_while_the_registry_cannot_be_reached_positions_are_managed_and_nothing_opens() -> None:
    world = holding(UP_ONE_R, (1010, 1012, 1008, 1011))
    world.entrants.append(entrant(saying({}), strategy_id="flat"))
    world.at(1)
    world.registry_fault = RetryError("MLflow does not answer")
    world.bot = world.new_bot()
    world.at(2)
    assert world.stops() == [pytest.approx(1000)]  # to break-even
    why = ["the registry cannot be read: MLflow does not answer"]
    assert world.refusals("flat") == why
    assert world.refusals() == []  # it held a position: there was nothing to refuse
    assert world.told.subjects[-1] == "Registry unreachable"
    assert world.told[-1][1] == why[0]


def test_an_unreachable_registry_is_told_of_once_an_hour() -> None:
    world = BotWorld(*[STILL] * 4)
    world.trading(**{BTC: [HOUR, "30m", "15m"]})
    for timeframe in ("30m", "15m"):
        world.market.frames[BTC, timeframe] = candles_of([STILL] * 16, timeframe)
    world.registry_fault = RetryError("MLflow does not answer")
    for minutes in range(0, 120, 15):
        world.at(0, minutes=minutes)
    assert world.told.subjects == ["Registry unreachable"] * 2


def test_the_first_tick_ever_survives_an_unreachable_registry() -> None:
    world = BotWorld(STILL, STILL, signals={1: 1})
    world.registry_fault = StoreError("no such store")
    world.at(0)
    world.registry_fault = None
    world.at(1)
    assert world.position() is not None


# Telling


def test_a_notifier_that_fails_does_not_stop_trading() -> None:
    world = BotWorld(STILL, (1000, 1001, 980, 985), STILL, signals={0: 1})
    world.told.fault = RetryError("SNS does not answer")
    for bar in range(3):
        world.at(bar)
    assert [trade.reason for trade in world.trades()] == ["stop_loss"]
    assert not world.told


def test_a_notifier_that_was_set_wrongly_does_not_stop_trading() -> None:
    world = BotWorld(STILL, signals={0: 1})
    world.told.fault = ConfigError("Telegram knows no such chat")
    world.at(0)
    assert world.position() is not None


def test_an_error_that_lasts_is_told_once_a_day() -> None:
    world = BotWorld(*[STILL] * 50)
    world.entrants = [entrant(saying({}), "live")]
    world.live_fault = ConfigError("the API key has no permission")
    for bar in range(0, 48):
        world.failing(bar)
    assert world.told.subjects == ["Trading bot: ConfigError"] * 2


def test_a_bot_shows_no_exchange_in_its_repr() -> None:
    world = holding()
    assert isinstance(world.bot, TradingBot)
    assert "_exchanges" not in repr(world.bot)
