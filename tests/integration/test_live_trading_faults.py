"""What goes wrong between the bot and Binance, one kind at a time, and what becomes of it."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import partial

import pytest

from rehearsal.binance import faults
from rehearsal.binance.account import Fill
from rehearsal.binance.faults import Fault, refusal
from rehearsal.binance.futures import ANY, CANCEL_STOP, ORDER, STOP, Asked, FuturesServer
from rehearsal.binance.loopback import impatient
from store.settings_sections import OpsSettings
from strategy.errors import RetryError
from tests.broken_off import BrokenOffError, Stepping, Steps
from tests.integration.live_trading import World
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
from tests.integration.live_trading_market import BTC, money, scripted

D = Decimal
FILLS = "GET /fapi/v1/userTrades"
UNCERTAIN = {
    "reset": faults.RESET,
    "reset after it landed": faults.RESET_LANDED,
    "bad gateway": faults.BAD_GATEWAY,
    "unknown error": faults.UNKNOWN,
    "unknown error after it landed": faults.UNKNOWN_LANDED,
    "time-out at the back after it landed": faults.BACKEND_TIME_OUT_LANDED,
    "garbled answer after it landed": faults.GARBLED_LANDED,
    "a proxy's page": faults.WEB_PAGE,
    "too many requests": faults.TOO_MANY_REQUESTS,
    "on its way": faults.IN_FLIGHT,
    "clock skew": faults.SKEWED,
    "overloaded": refusal(-1008, status=503),
    "too late for the matching engine": refusal(-5028),
}
PLACES = {
    "entry": (ENTRY, ORDER),
    "first stop": (ENTRY, STOP),
    "moved stop": (TO_BREAK_EVEN, STOP),
    "cancelled stop": (TRAIL, CANCEL_STOP),
    "exit": (CLOSE, ORDER),
    "cancelled stop after the exit": (CLOSE, CANCEL_STOP),
}


# Nobody knows whether it landed


@pytest.mark.parametrize("place", PLACES)
def test_a_request_of_which_nobody_knows_is_made_once_and_within_its_tick(
    server: FuturesServer, place: str
) -> None:
    row, endpoint = PLACES[place]
    begin = aged(server, row)
    undisturbed = begin.fork()
    assert settle(undisturbed) == []
    for name, fault in UNCERTAIN.items():
        world = begin.fork()
        world.server.fail(endpoint, fault)
        asked = len(world.server.asked(endpoint))
        assert settle(world) == [], name
        assert len(world.server.asked(endpoint)) > asked
        assert world.standing == undisturbed.standing, name


@pytest.mark.parametrize(
    "fault", [faults.TIME_OUT, faults.TIME_OUT_LANDED], ids=["before", "after"]
)
@pytest.mark.parametrize("place", ["entry", "first stop", "exit"])
def test_a_time_out_before_or_after_it_landed(
    server: FuturesServer, place: str, fault: Fault
) -> None:
    row, endpoint = PLACES[place]
    world = aged(server, row)
    undisturbed = world.fork()
    assert settle(undisturbed) == []
    world = world.fork()
    world.server.fail(endpoint, fault)
    with impatient(world.client):
        assert settle(world) == []
    assert world.standing == undisturbed.standing


def test_an_order_that_was_sent_once_more_for_its_timestamp_is_still_waited_for(
    server: FuturesServer,
) -> None:
    """It lands when the time of the first one, which was refused, has long passed."""
    world = aged(server, ENTRY)
    sent = [faults.SKEWED, faults.IN_FLIGHT]

    def slow_and_skewed(asked: Asked) -> None:
        if asked.endpoint == ORDER and sent:
            world.account.advance(world.account.now + 4_000)
            world.server.fail(ORDER, sent.pop(0))
        elif asked.endpoint == ORDER:
            world.server.deliver()  # it would be there just before it is sent again

    world.on_request = slow_and_skewed
    assert settle(world) == []
    assert len([order for order in world.account.orders if order["status"] == "FILLED"]) == 1


def test_a_process_that_is_held_up_does_not_send_what_another_may_have_given_up(
    server: FuturesServer,
) -> None:
    world = aged(server, ENTRY)

    class HeldUp(Steps):
        def step(self, put: Callable[..., object]) -> Callable[..., object]:
            def putting(*arguments: object, **named: object) -> object:
                item = put(*arguments, **named)
                world.sleep(30)
                return item

            return putting

    bot = world.bot(partial(Stepping, steps=HeldUp(), methods=("put",)))
    assert isinstance(world.tick(bot), RetryError)
    assert world.server.asked(ORDER) == []
    world.at(5)
    assert settle(world) == []
    assert go_on(world).differences() == []


def test_an_order_that_never_gets_through_is_given_up_and_decided_anew(
    server: FuturesServer,
) -> None:
    world = aged(server, ENTRY)
    lasting(faults.RESET, ORDER)(world)
    assert isinstance(world.tick(), RetryError)
    assert len(world.server.asked(ORDER)) == 3
    calm(world)
    world.at(5)
    assert settle(world) == []
    assert world.position is not None
    assert go_on(world, LAST).differences() == []


def test_an_entry_that_is_too_late_is_refused(server: FuturesServer) -> None:
    world = aged(server, ENTRY)
    lasting(faults.RESET, ORDER)(world)
    for minute in (0, 5, 10):
        world.at(minute)
        assert isinstance(world.tick(), RetryError)
    calm(world)
    world.at(20)
    assert world.tick() is None
    assert world.position is None
    assert kinds(world) == ["refuse"]
    assert go_on(world, LAST).differences() == []


# Orders that are filled in part, or refused


@pytest.mark.parametrize(("part", "opens"), [("0.5", True), ("0.000001", False)])
def test_what_was_filled_of_an_entry_is_the_position(
    server: FuturesServer, part: str, opens: bool
) -> None:
    world = aged(server, ENTRY)
    world.account.fills.append(Fill(D(part)))
    assert settle(world) == []
    assert (world.position is not None) == opens
    assert kinds(world) == ([] if opens else ["refuse"])
    assert len(go_on(world).trades) == (2 if opens else 1)
    assert world.differences() == []


def test_an_entry_that_nobody_filled_is_refused_in_its_own_bar(server: FuturesServer) -> None:
    """Whoever finds it comes an hour later."""
    world = aged(server, ENTRY)
    world.account.fills.append(Fill(D(0)))
    death = Steps()
    death.fatal, death.after = 0, True
    with pytest.raises(BrokenOffError):
        world.tick(world.bot(partial(Stepping, steps=death, methods=("market_order",))))
    go_on(world)
    assert len(world.trades) == 1
    assert world.differences() == []


def test_an_entry_whose_rest_waits_gets_its_stop_when_all_of_it_is_filled(
    server: FuturesServer,
) -> None:
    world = aged(server, ENTRY)
    world.account.fills.append(Fill(D("0.5"), rest_waits=True))
    assert isinstance(world.tick(), RetryError)
    world.account.glide(BTC, world.account.prices[BTC])
    assert settle(world) == []
    assert go_on(world).differences() == []


def test_the_rest_of_an_exit_that_was_filled_in_part_is_sent_at_once(server: FuturesServer) -> None:
    world = aged(server, CLOSE)
    world.account.fills.append(Fill(D("0.3")))
    world.account.fills.append(Fill(D("0.3")))
    assert settle(world) == []
    assert reasons(world) == ["trailing_stop", "closed"]
    assert go_on(world).differences() == []


def test_the_rest_of_a_stop_that_was_filled_in_part_is_closed_by_the_next_tick(
    server: FuturesServer,
) -> None:
    world = aged(server, FELL)
    assert settle(world) == []
    position = world.position
    assert position is not None
    world.account.fills.append(Fill(D("0.5")))
    world.finish_bar()
    assert world.account.holding(BTC).amount > 0
    open_bar(world, SECOND_ENTRY)
    assert settle(world) == []
    (trade,) = world.trades
    assert trade.reason == "trailing_stop"
    halves = (position.stop + float(world.account.prices[BTC])) / 2
    assert trade.exit_price == pytest.approx(halves, rel=1e-6)


def test_an_entry_without_margin_is_refused_recorded_and_told(server: FuturesServer) -> None:
    world = aged(server, ENTRY)
    world.server.fail(ORDER, refusal(-2019, "Margin is insufficient."))
    assert world.tick() is None
    assert kinds(world) == ["refuse"]
    assert any("entry refused" in subject for subject in world.messages.sent)
    assert go_on(world).differences() == []


def test_an_empty_account_opens_nothing(server: FuturesServer) -> None:
    world = aged(server, ENTRY)
    world.account.wallet = D(0)
    assert world.tick() is None
    assert kinds(world) == ["refuse"]
    assert world.server.asked(ORDER) == []
    assert go_on(world, ENTRY + 3).differences() == []


# Stops that cannot be put


def test_a_position_whose_stop_the_price_passes_at_once_is_closed(server: FuturesServer) -> None:
    world = aged(server, ENTRY)
    fallen = world.account.prices[BTC] * D("0.9")

    def fall(asked: Asked) -> None:
        if asked.endpoint == STOP:
            world.account.prices[BTC] = fallen

    world.on_request = fall
    assert settle(world) == []
    (trade,) = world.trades
    assert (trade.reason, trade.exit_price) == ("stop_loss", float(fallen))
    assert trade.r < -1, "the loss is as large as it truly was"
    assert world.account.open_stops(BTC) == []


def test_a_stop_that_the_open_has_passed_when_it_is_moved_is_an_exit_at_the_open(
    server: FuturesServer,
) -> None:
    bars = ((0.0, 0.4, -0.4, 0.2), (0.2, 5.0, 0.2, 5.0), (1.0, 1.2, 0.9, 1.0), (1.0, 1.1, 0.9, 1.0))
    candles = scripted(*bars)
    world = World(server, candles, {candles.index[ENTRY - 1]: 1})
    world.open_bar(ENTRY)
    settle(world)
    assert go_on(world, ENTRY + 3).differences() == []
    (trade,) = world.trades
    assert (trade.reason, trade.exit_price) == ("trailing_stop", candles["open"].iloc[ENTRY + 2])


def test_an_emergency_stop_does_not_rename_an_exit_by_that_open(server: FuturesServer) -> None:
    bars = ((0.0, 0.4, -0.4, 0.2), (0.2, 5.0, 0.2, 5.0), (1.0, 1.2, 0.9, 1.0), (1.0, 1.1, 0.9, 1.0))
    candles = scripted(*bars)
    world = World(server, candles, {candles.index[ENTRY - 1]: 1})
    world.open_bar(ENTRY)
    settle(world)
    go_on(world, ENTRY + 1).finish_bar()
    world.settings.switches = OpsSettings(emergency_stop=True)
    world.open_bar(ENTRY + 2)
    assert settle(world) == []
    assert go_on(world, ENTRY + 3).differences() == []
    assert reasons(world) == ["trailing_stop"]


def test_a_stop_that_is_reached_while_the_next_one_is_sent_closes_the_position(
    server: FuturesServer,
) -> None:
    world = aged(server, TO_BREAK_EVEN)
    (old,) = world.account.open_stops(BTC)

    def fall(asked: Asked) -> None:
        if asked.endpoint == STOP:
            world.account.glide(BTC, D(old["triggerPrice"]) - 1)

    world.on_request = fall
    assert settle(world) == []
    (trade,) = world.trades
    assert trade.exit_price == pytest.approx(float(old["triggerPrice"]))
    assert kinds(world) == []


@pytest.mark.parametrize("strangers", [0, 1], ids=["alone", "beside a stranger's"])
def test_a_position_for_which_no_stop_is_taken_is_closed_at_once(
    server: FuturesServer, strangers: int
) -> None:
    world = aged(server, ENTRY)
    if strangers:
        orphan(world, "by-hand")
    world.server.fail(STOP, refusal(-4045, "Reach max stop order limit."))
    assert settle(world) == []
    assert reasons(world) == ["closed"]
    assert kinds(world) == ["close"]
    assert any("no stop, closing" in subject for subject in world.messages.sent)
    assert go_on(world, ENTRY + 3).differences() == []


def test_a_stop_that_is_taken_by_nobody_and_an_exit_that_is_refused_are_tried_again(
    server: FuturesServer,
) -> None:
    world = aged(server, ENTRY)
    world.server.fail(STOP, refusal(-4045, "Reach max stop order limit."))
    world.server.fail(ORDER, refusal(-9999), nth=2)
    assert len(settle(world)) == 1
    assert reasons(world) == ["closed"]
    assert kinds(world) == ["close"], "and not the entry as refused"
    assert go_on(world, ENTRY + 3).differences() == []


def test_a_stop_that_cannot_be_moved_rests_where_it_was_until_it_can(server: FuturesServer) -> None:
    world = aged(server, TO_BREAK_EVEN)
    world.server.fail(STOP, refusal(-9999))
    (before,) = world.account.open_stops(BTC)
    assert world.tick() is not None
    assert world.account.open_stops(BTC) == [before]
    world.at(5)
    assert settle(world) == []
    assert go_on(world).differences() == []


def test_an_old_stop_that_closes_the_position_after_many_vain_attempts_is_known(
    server: FuturesServer,
) -> None:
    world = aged(server, TO_BREAK_EVEN)
    lasting(refusal(-9999), STOP)(world)
    (old,) = world.account.open_stops(BTC)
    for minute in range(0, 40, 5):
        world.at(minute)
        assert world.tick() is not None
    world.account.glide(BTC, D(old["triggerPrice"]))
    calm(world)
    assert settle(world) == []
    (trade,) = world.trades
    assert trade.exit_price == pytest.approx(float(old["triggerPrice"]))
    assert "close" not in kinds(world)


def test_a_position_that_the_exchange_denies_but_holds_is_closed_in_the_same_tick(
    server: FuturesServer,
) -> None:
    world = aged(server, CLOSE)
    world.server.fail(ORDER, refusal(-2022, "ReduceOnly Order is rejected."))
    assert settle(world) == []
    assert reasons(world) == ["trailing_stop", "closed"]
    assert go_on(world).differences() == []


def test_a_position_that_cannot_be_closed_still_gets_its_stop(server: FuturesServer) -> None:
    world = aged(server, CLOSE)
    (stop,) = world.account.open_stops(BTC)
    stop["algoStatus"] = "CANCELED"
    lasting(refusal(-9999), ORDER)(world)
    assert world.tick() is not None
    assert len(world.account.open_stops(BTC)) == 1
    calm(world)
    assert settle(world) == []
    assert go_on(world).differences() == []


def test_a_fill_that_cannot_be_asked_for_is_not_taken_for_a_persons(server: FuturesServer) -> None:
    """Nor is the bar decided before it is known whether a position was held at its close."""
    world = aged(server, FELL)
    assert settle(world) == []
    world.finish_bar()
    lasting(faults.RESET, FILLS)(world)
    open_bar(world, SECOND_ENTRY)
    for minute in (0, 5, 10):
        world.at(minute)
        assert world.tick() is not None
    calm(world)
    assert settle(world) == []
    assert reasons(world) == ["trailing_stop"]
    position = world.position
    assert position is not None and position.side == -1, "the entry was still made"
    assert go_on(world).differences() == []


def test_a_fee_that_nobody_tells_keeps_no_position_from_its_stop(server: FuturesServer) -> None:
    world = aged(server, ENTRY)
    lasting(faults.RESET, FILLS)(world)
    assert settle(world) == []
    assert len(world.account.open_stops(BTC)) == 1
    calm(world)
    assert go_on(world).differences() == []


def test_a_stop_that_the_exchange_denies_when_it_is_reached_is_made_good_by_a_market_order(
    opened: World,
) -> None:
    opened.account.stops_fail = True
    assert settle(opened) == []
    position = opened.position
    assert position is not None
    opened.account.glide(BTC, money(position.stop) - 1)
    opened.account.stops_fail = False
    assert settle(opened) == []
    assert reasons(opened) == ["stop_loss"]


def test_a_stop_is_not_cancelled_before_the_new_one_rests(server: FuturesServer) -> None:
    world = aged(server, TRAIL)
    resting: list[int] = []
    world.on_request = lambda asked: resting.append(len(world.account.open_stops(BTC)))
    assert settle(world) == []
    assert min(resting) == 1
    position, (stop,) = world.position, world.account.open_stops(BTC)
    assert position is not None
    assert [each.order_id for each in position.stops] == [stop["clientAlgoId"]], "no other is left"


def test_one_fault_at_any_request_of_a_life_changes_no_trade(server: FuturesServer) -> None:
    """Every request of an entry's, a move's and an exit's tick fails once."""
    for row in (ENTRY, TRAIL, CLOSE):
        begin = aged(server, row)
        undisturbed = begin.fork()
        before = len(server.requests)
        assert settle(undisturbed) == []
        for number in range(1, len(server.requests) - before + 1):
            for fault in (faults.RESET_LANDED, faults.UNKNOWN):
                world = begin.fork()
                world.server.fail(ANY, fault, nth=number)
                assert settle(world) == [], f"request {number}"
                assert world.standing == undisturbed.standing, f"request {number}"
