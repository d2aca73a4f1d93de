"""The same event twice, people at work at the exchange, the exchange away, a key without rights."""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal

import pytest

from rehearsal.binance import faults
from rehearsal.binance.account import Fill
from rehearsal.binance.answers import position_row
from rehearsal.binance.faults import Fault, refusal
from rehearsal.binance.futures import CANCEL_STOP, ORDER, STOP, FuturesServer
from serving.trading.close_requests import CloseRequests
from serving.trading.positions import LIVE
from strategy.errors import ConfigError, DataError, RetryError
from tests.integration.live_trading import STRATEGY, World
from tests.integration.live_trading_life import (
    CLOSE,
    ENTRY,
    FELL,
    LAST,
    SECOND_ENTRY,
    TO_BREAK_EVEN,
    TRAIL,
    aged,
    calm,
    go_on,
    kinds,
    lasting,
    open_bar,
    orphan,
    reasons,
    settle,
)
from tests.integration.live_trading_market import BTC, money

D = Decimal
POSITIONS, BALANCE = "GET /fapi/v3/positionRisk", "GET /fapi/v3/account"
LEVERAGE, FILLS = "POST /fapi/v1/leverage", "GET /fapi/v1/userTrades"
KEY_REFUSED = refusal(-2015, "Invalid API-key, IP, or permissions for action", 401)


# Twice, and people


@pytest.mark.parametrize("row", [ENTRY, TRAIL, SECOND_ENTRY, CLOSE])
def test_the_same_event_delivered_twice_changes_nothing(server: FuturesServer, row: int) -> None:
    world = aged(server, row)
    assert world.tick() is None
    before = (world.remembered, len(world.trades), kinds(world), list(world.messages.sent))
    sent = [len(world.server.asked(place)) for place in (ORDER, STOP, CANCEL_STOP)]
    assert world.tick() is None
    assert world.tick(world.bot()) is None
    assert before == (world.remembered, len(world.trades), kinds(world), world.messages.sent)
    assert sent == [len(world.server.asked(place)) for place in (ORDER, STOP, CANCEL_STOP)]


def test_a_position_closed_by_hand_is_recorded_as_closed_and_its_stop_goes(opened: World) -> None:
    assert settle(opened) == []
    opened.by_hand(-opened.account.holding(BTC).amount)
    opened.at(5)
    assert settle(opened) == []
    assert reasons(opened) == ["closed"]
    assert kinds(opened) == ["close"]
    assert go_on(opened).differences() == []


def moved(world: World, by: str) -> Decimal:
    """The price after it has moved by that much."""
    world.account.glide(BTC, world.account.prices[BTC] + D(by))
    return world.account.prices[BTC]


def earned(world: World) -> float:
    """What the journal says that the trades have earned, less what the wallet says: USD."""
    return float(sum(trade.profit for trade in world.trades) - (world.account.wallet - 10_000))


def test_a_position_closed_by_hand_is_recorded_at_the_price_and_time_of_its_fill(
    opened: World,
) -> None:
    assert settle(opened) == []
    opened.at(7)
    price, time = moved(opened, "12"), opened.clock()
    opened.by_hand(-opened.account.holding(BTC).amount)
    opened.at(10)
    moved(opened, "-30")
    assert settle(opened) == []
    (trade,) = opened.trades
    assert (trade.reason, trade.exit_price, trade.exit_time) == ("closed", float(price), time)
    (close,) = opened.journal.interventions(STRATEGY, "live")
    assert (close.kind, close.price, close.time) == ("close", float(price), time)
    assert "as the exchange lists it" in close.why
    assert earned(opened) == pytest.approx(0, abs=0.005)
    assert go_on(opened).differences() == []
    assert earned(opened) == pytest.approx(0, abs=0.005)


def test_what_was_closed_by_hand_in_several_orders_is_recorded_at_their_average(
    opened: World,
) -> None:
    """The first is found before the second is sent, and is not taken for it."""
    assert settle(opened) == []
    quantity = opened.account.holding(BTC).amount
    opened.account.fee_rate = D("0.0003")  # others than the bot expects
    opened.at(7)
    first = moved(opened, "5")
    opened.by_hand(D("-0.6"))
    opened.at(10)
    moved(opened, "-40")
    assert settle(opened) == []
    opened.at(12)
    second = moved(opened, "10")
    opened.by_hand(D("-0.3"))
    opened.at(14)
    third = moved(opened, "20")
    rest = opened.account.holding(BTC).amount
    opened.by_hand(-rest)
    opened.at(20)
    moved(opened, "-40")
    assert settle(opened) == []
    (trade,) = opened.trades
    found_last = (D("0.3") * second + rest * third) / (D("0.3") + rest)
    average = (D("0.6") * first + (quantity - D("0.6")) * found_last) / quantity
    assert trade.exit_price == pytest.approx(float(average), abs=1e-6)
    (close,) = opened.journal.interventions(STRATEGY, "live")
    assert close.price == pytest.approx(float(found_last), abs=1e-6)
    assert earned(opened) == pytest.approx(0, abs=0.005)


def test_what_a_person_had_bought_and_sold_before_is_not_taken_for_what_closed_the_position(
    opened: World,
) -> None:
    assert settle(opened) == []
    for minute, amount in ((7, D("0.05")), (9, D("-0.05"))):
        opened.at(minute)
        opened.by_hand(amount)
        moved(opened, "15")
    opened.at(10)
    price = moved(opened, "15")
    opened.by_hand(-opened.account.holding(BTC).amount)
    opened.at(15)
    assert settle(opened) == []
    (trade,) = opened.trades
    assert trade.exit_price == float(price)


def test_a_fill_that_was_counted_is_not_counted_for_one_that_is_not_listed(opened: World) -> None:
    assert settle(opened) == []
    opened.by_hand(D("-0.8"))
    opened.at(5)
    moved(opened, "-30")
    assert settle(opened) == []
    opened.by_hand(-opened.account.holding(BTC).amount)
    del opened.account.trades[-1]
    opened.at(10)
    price = moved(opened, "-30")
    assert settle(opened) == []
    (close,) = opened.journal.interventions(STRATEGY, "live")
    assert (close.kind, close.price) == ("close", float(price))
    assert "does not list" in close.why


def test_an_exit_of_the_bots_own_is_not_taken_for_a_persons(server: FuturesServer) -> None:
    """It was filled in part and at another price, before a person closed the rest."""
    world = aged(server, CLOSE)
    world.account.fills = [Fill(D("0.3"))] * 3
    assert world.tick() is not None
    assert world.account.holding(BTC).amount < 0
    moved(world, "-15")
    world.by_hand(-world.account.holding(BTC).amount)
    moved(world, "25")
    assert settle(world) == []
    assert reasons(world) == ["trailing_stop", "closed"]
    assert earned(world) == pytest.approx(0, abs=0.005)


def test_a_position_that_was_reduced_by_hand_before_its_stop_closed_the_rest_was_stopped(
    opened: World,
) -> None:
    """Both are found by one tick."""
    assert settle(opened) == []
    position = opened.position
    assert position is not None
    opened.at(7)
    opened.by_hand(D("-0.01"))
    opened.at(12)
    opened.account.glide(BTC, money(position.stop) - 5)
    assert settle(opened) == []
    assert (reasons(opened), kinds(opened)) == (["stop_loss"], [])
    assert earned(opened) == pytest.approx(0, abs=0.005)


def test_a_position_closed_by_hand_in_a_bar_that_has_passed_was_not_held_at_its_close(
    server: FuturesServer,
) -> None:
    """No tick saw it: the next bar's finds it, and enters anew as the simulation does."""
    world = aged(server, FELL)
    assert settle(world) == []
    world.at(30)
    moved(world, "10")
    world.by_hand(-world.account.holding(BTC).amount)
    world.finish_bar()
    open_bar(world, SECOND_ENTRY)
    assert settle(world) == []
    (trade,) = world.trades
    assert trade.reason == "closed"
    assert trade.exit_time < world.index[SECOND_ENTRY]
    position = world.position
    assert position is not None and position.side == -1
    assert go_on(world).differences() == []
    assert earned(world) == pytest.approx(0, abs=0.005)


def test_a_position_that_was_taken_for_held_at_a_close_is_not_recorded_as_closed_before_it(
    server: FuturesServer,
) -> None:
    """A list that lagged behind showed it: nothing was entered, as no simulation would then."""
    world = aged(server, ENTRY)
    world.script.signal_of.iloc[ENTRY] = 1.0
    assert settle(world) == []
    stale = json.dumps([position_row(world.account, BTC)])
    world.at(44)
    world.by_hand(-world.account.holding(BTC).amount)
    world.finish_bar()
    open_bar(world, ENTRY + 1)
    world.server.fail(POSITIONS, Fault(status=200, body=stale))
    world.bot().tick()
    assert world.trades == []
    world.at(5)
    assert settle(world) == []
    (trade,) = world.trades
    assert (trade.reason, trade.exit_time) == ("closed", world.index[ENTRY + 1])
    assert earned(world) == pytest.approx(0, abs=0.005)
    assert go_on(world, ENTRY + 3).differences() == []


def test_fills_that_are_listed_late_are_waited_for(opened: World) -> None:
    assert settle(opened) == []
    price = moved(opened, "12")
    opened.by_hand(-opened.account.holding(BTC).amount)
    moved(opened, "-30")
    opened.server.fail(FILLS, Fault(status=200, body="[]"))
    opened.at(5)
    assert settle(opened) == []
    (trade,) = opened.trades
    assert trade.exit_price == float(price)


def test_what_the_exchange_does_not_list_is_counted_at_the_last_price_and_told_of(
    opened: World,
) -> None:
    assert settle(opened) == []
    opened.by_hand(-opened.account.holding(BTC).amount)
    opened.account.trades.clear()
    opened.at(5)
    price = moved(opened, "-30")
    assert settle(opened) == []
    (trade,) = opened.trades
    assert (trade.reason, trade.exit_price) == ("closed", float(price))
    (close,) = opened.journal.interventions(STRATEGY, "live")
    assert "does not list" in close.why and close.time > opened.index[opened.row]
    assert go_on(opened).differences() == []


def test_nobody_asks_for_fills_while_nothing_is_missing(opened: World) -> None:
    assert settle(opened) == []
    opened.at(5)
    asked = len(opened.server.asked(FILLS))
    assert settle(opened) == []
    assert len(opened.server.asked(FILLS)) == asked


def test_the_stop_of_a_position_that_was_reduced_by_hand_covers_what_is_left(
    opened: World,
) -> None:
    assert settle(opened) == []
    opened.by_hand(D("-0.01"))
    opened.at(5)
    assert settle(opened) == []  # which checks the stop's quantity
    assert len(opened.account.open_stops(BTC)) == 1


def test_a_position_that_was_increased_by_hand_keeps_its_stop_and_is_told_of_once(
    opened: World,
) -> None:
    assert settle(opened) == []
    opened.by_hand(D("0.01"))
    for minute in (5, 10):
        opened.at(minute)
        opened.bot().tick()
    (stop,) = opened.account.open_stops(BTC)
    assert D(stop["quantity"]) == opened.account.holding(BTC).amount - D("0.01")
    assert sum("holds more" in subject for subject in opened.messages.sent) == 1


def test_a_stop_that_a_person_cancelled_is_put_again(opened: World) -> None:
    assert settle(opened) == []
    (stop,) = opened.account.open_stops(BTC)
    stop["algoStatus"] = "CANCELED"
    opened.at(5)
    assert settle(opened) == []
    assert go_on(opened).differences() == []


def test_a_stop_that_was_left_over_is_cancelled(server: FuturesServer) -> None:
    world = aged(server, CLOSE)
    assert settle(world) == []
    orphan(world, world.trades[0].position_id)
    world.finish_bar()
    open_bar(world, LAST)
    assert settle(world) == []
    assert world.account.open_stops(BTC) == []


def test_a_stop_that_was_left_over_does_not_reduce_the_next_position(server: FuturesServer) -> None:
    world = aged(server, ENTRY)
    orphan(world, "0123456789ab-2401010000")
    assert settle(world) == []
    assert go_on(world).differences() == []


def test_a_strangers_position_is_told_of_once_left_alone_and_shuts_the_symbol(
    server: FuturesServer,
) -> None:
    world = aged(server, ENTRY)
    world.by_hand(D("0.1"))
    for minute in (0, 5):
        world.at(minute)
        world.bot().tick()
    assert world.account.open_stops(BTC) == []
    assert world.account.holding(BTC).amount == D("0.1")
    assert sum("did not open" in subject for subject in world.messages.sent) == 1
    assert kinds(world) == ["refuse"]
    world.by_hand(D("-0.1"))
    assert len(go_on(world).trades) == 1, "entries go on when it is gone"
    assert world.differences() == []


# The exchange is away


def test_a_stop_that_is_reached_while_the_exchange_does_not_answer_closes_the_position(
    opened: World,
) -> None:
    """The bars of the life go against it: it has not been to break-even."""
    assert settle(opened) == []
    position = opened.position
    assert position is not None
    opened.account.glide(BTC, money(position.stop) - 5)
    lasting(faults.RESET)(opened)
    for minute in range(5, 55, 10):
        opened.at(minute)
        assert isinstance(opened.tick(), RetryError)
    calm(opened)
    opened.at(58)
    assert settle(opened, minutes_later=0.1) == []
    (trade,) = opened.trades
    assert trade.reason == "stop_loss"
    assert trade.exit_price == pytest.approx(position.stop, abs=1e-4)
    assert trade.exit_time < opened.index[opened.row] + timedelta(minutes=5)


def test_after_hours_without_the_exchange_the_stop_is_where_it_would_have_been(
    server: FuturesServer,
) -> None:
    undisturbed = aged(server, FELL)
    assert settle(undisturbed) == []
    wanted = undisturbed.standing
    world = aged(server, TO_BREAK_EVEN)
    (first,) = world.account.open_stops(BTC)
    lasting(faults.RESET)(world)
    while world.row < FELL - 1:
        assert isinstance(world.tick(), RetryError)
        world.at(30)
        assert isinstance(world.tick(), RetryError)
        assert world.account.open_stops(BTC) == [first], "it rests all the while"
        world.finish_bar()
        open_bar(world, world.row + 1)
    world.finish_bar()
    calm(world)
    open_bar(world, FELL)
    assert settle(world) == []
    assert world.standing == wanted
    assert go_on(world).differences() == []


def test_a_ban_of_hours_leaves_the_stop_resting(server: FuturesServer) -> None:
    world = aged(server, TO_BREAK_EVEN)
    lasting(faults.BANNED)(world)
    asked = len(world.server.requests)
    assert isinstance(world.tick(), RetryError)
    assert len(world.server.requests) - asked < 5, "it is left alone"
    assert len(world.account.open_stops(BTC)) == 1
    calm(world)
    world.at(5)
    assert settle(world) == []
    assert go_on(world).differences() == []


def test_a_key_without_permission_leaves_positions_managed_once_it_has_it(
    server: FuturesServer,
) -> None:
    world = aged(server, TO_BREAK_EVEN)
    bot = world.bot()
    lasting(KEY_REFUSED)(world)
    for minute in (0, 5, 10):
        world.at(minute)
        assert isinstance(world.tick(bot), ConfigError)
    assert len(world.account.open_stops(BTC)) == 1
    calm(world)
    world.at(15)
    assert world.tick(bot) is None
    assert go_on(world).differences() == []


def test_a_key_that_may_read_but_not_trade_opens_nothing_and_is_told_of(
    server: FuturesServer,
) -> None:
    world = aged(server, ENTRY)
    lasting(KEY_REFUSED, ORDER, STOP, LEVERAGE)(world)
    for minute in (0, 5, 10):
        world.at(minute)
        assert isinstance(world.tick(), ConfigError)
    world.at(15)
    assert world.tick() is None
    assert world.position is None and kinds(world) == ["refuse"]
    assert any("ConfigError" in subject for subject in world.messages.sent)
    calm(world)
    assert go_on(world).differences() == []


def test_a_wrong_clock_is_set_by_binances(server: FuturesServer) -> None:
    world = aged(server, ENTRY)
    world.client.milliseconds = lambda: world.account.now + 8_000
    settle(world)
    assert go_on(world).differences() == []
    assert len(world.trades) == 2


# What one part does not know keeps no other from its work


def test_a_list_of_positions_that_lags_behind_is_not_taken_for_a_person(opened: World) -> None:
    assert settle(opened) == []
    opened.at(5)
    opened.server.fail(POSITIONS, Fault(status=200, body="[]"))
    assert settle(opened) == []
    assert opened.position is not None
    assert opened.trades == []


def test_without_candles_a_position_still_gets_its_stop(
    opened: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert settle(opened) == []
    (stop,) = opened.account.open_stops(BTC)
    stop["algoStatus"] = "CANCELED"

    def no_candles(*_: object) -> None:
        raise DataError("the candles are damaged")

    opened.finish_bar()
    opened.open_bar(TO_BREAK_EVEN)
    with monkeypatch.context() as patched:
        patched.setattr(type(opened.market), "closed", no_candles)
        assert opened.tick() is not None
        assert len(opened.account.open_stops(BTC)) == 1
    assert go_on(opened).differences() == []


def test_without_a_balance_stops_are_moved_all_the_same(server: FuturesServer) -> None:
    world = aged(server, TO_BREAK_EVEN)
    lasting(faults.RESET, BALANCE)(world)
    assert isinstance(world.tick(), RetryError)
    position = world.position
    assert position is not None and position.stop == position.entry
    world.check()


def test_an_operators_request_stands_until_the_position_is_closed(server: FuturesServer) -> None:
    world = aged(server, CLOSE)
    lasting(faults.RESET, POSITIONS)(world)
    assert world.tick() is not None
    world.on_request = lambda asked: (
        world.server.fail(ORDER, refusal(-9999)) if asked.endpoint == ORDER else None
    )
    world.at(5)
    assert world.tick() is not None
    assert set(CloseRequests(world.state).of(LIVE)) == {BTC}
    calm(world)
    world.at(10)
    assert settle(world) == []
    assert reasons(world) == ["trailing_stop", "closed"]
    assert not CloseRequests(world.state).of(LIVE)
