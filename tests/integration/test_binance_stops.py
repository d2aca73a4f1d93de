"""Stops at Binance: the real ccxt client against a server on the loopback."""

from __future__ import annotations

from decimal import Decimal

import pytest

from rehearsal.binance.account import Fill, FuturesAccount
from rehearsal.binance.faults import RESET, RESET_LANDED, Fault
from rehearsal.binance.futures import CANCEL_STOP, STOP, FuturesServer
from store.exchange import Exchange, NothingToReduceError, OrderStatus, StopPassedError, StopStatus
from tests.integration.binance_futures_entry import BTC, enter

D = Decimal


def test_a_stop_rests_reduce_only_at_the_last_price(
    exchange: Exchange, server: FuturesServer
) -> None:
    enter(exchange)
    placed = exchange.place_stop("stop-1", BTC, -1, D("0.02"), D("49000.1"))
    assert (placed.status, placed.side, placed.reduce_only) == (StopStatus.WAITING, -1, True)
    assert (placed.quantity, placed.stop_price) == (D("0.02"), D("49000.1"))
    assert exchange.stops(BTC) == [placed]
    assert exchange.stop(BTC, "stop-1") == placed
    (sent,) = server.asked(STOP)
    assert sent["workingType"] == "CONTRACT_PRICE"
    assert "closePosition" not in sent, "of which only one may rest"


def test_a_stop_that_the_price_walks_into_fills_at_its_price(
    exchange: Exchange, account: FuturesAccount
) -> None:
    enter(exchange)
    exchange.place_stop("stop-1", BTC, -1, D("0.02"), D(49_000))
    account.candle(BTC, D(50_100), D(50_500), D(48_000), D(48_500))
    stop = exchange.stop(BTC, "stop-1")
    assert stop is not None
    assert stop.status is StopStatus.TRIGGERED
    assert stop.order is not None
    assert (stop.order.status, stop.order.filled) == (OrderStatus.FILLED, D("0.02"))
    assert stop.order.average_price == D(49_000)
    assert stop.order.fee == D("0.49")
    assert exchange.stops(BTC) == []
    assert exchange.position(BTC) is None


def test_a_stop_that_the_price_jumps_over_fills_behind_it(
    exchange: Exchange, account: FuturesAccount
) -> None:
    enter(exchange, side=-1)
    exchange.place_stop("stop-1", BTC, 1, D("0.02"), D(51_000))
    account.candle(BTC, D(52_000), D(52_500), D(51_900), D(52_100))
    stop = exchange.stop(BTC, "stop-1")
    assert stop is not None
    assert stop.order is not None
    assert stop.order.average_price == D(52_000)


def test_a_stop_that_the_price_does_not_reach_stays(
    exchange: Exchange, account: FuturesAccount
) -> None:
    enter(exchange)
    exchange.place_stop("stop-1", BTC, -1, D("0.02"), D(49_000))
    account.candle(BTC, D(50_100), D(50_500), D("49000.1"), D(50_000))
    assert [stop.client_order_id for stop in exchange.stops(BTC)] == ["stop-1"]
    assert exchange.position(BTC) is not None


def test_the_new_stop_rests_before_the_old_one_goes(
    exchange: Exchange, account: FuturesAccount
) -> None:
    enter(exchange)
    exchange.place_stop("stop-1", BTC, -1, D("0.02"), D(49_000))
    exchange.place_stop("stop-2", BTC, -1, D("0.02"), D(49_500))
    assert len(exchange.stops(BTC)) == 2
    assert exchange.cancel_stop(BTC, "stop-1")
    assert [stop.client_order_id for stop in exchange.stops(BTC)] == ["stop-2"]
    cancelled = exchange.stop(BTC, "stop-1")
    assert cancelled is not None
    assert cancelled.status is StopStatus.CANCELED
    assert cancelled.order is None


def test_of_two_stops_that_are_reached_together_one_closes_and_the_other_is_denied(
    exchange: Exchange, account: FuturesAccount
) -> None:
    enter(exchange)
    exchange.place_stop("stop-1", BTC, -1, D("0.02"), D(49_000))
    exchange.place_stop("stop-2", BTC, -1, D("0.02"), D(49_500))
    account.glide(BTC, D(48_000))
    first, second = exchange.stop(BTC, "stop-2"), exchange.stop(BTC, "stop-1")
    assert first is not None and first.status is StopStatus.TRIGGERED
    assert second is not None and second.status is StopStatus.REJECTED
    assert account.holding(BTC).amount == 0


def test_a_stop_outlives_its_position(exchange: Exchange, account: FuturesAccount) -> None:
    enter(exchange)
    exchange.place_stop("stop-1", BTC, -1, D("0.02"), D(49_000))
    exchange.market_order("exit", BTC, -1, D("0.02"), reduce_only=True)
    assert [stop.client_order_id for stop in exchange.stops(BTC)] == ["stop-1"]


def test_a_stop_that_the_market_has_passed_is_refused_as_that(
    exchange: Exchange, account: FuturesAccount
) -> None:
    enter(exchange)
    account.jump(BTC, D(48_900))
    with pytest.raises(StopPassedError, match="stop-1 of BTCUSDT at 49000"):
        exchange.place_stop("stop-1", BTC, -1, D("0.02"), D(49_000))
    assert exchange.stops(BTC) == []


def test_a_stop_without_a_position_is_refused(exchange: Exchange) -> None:
    with pytest.raises(NothingToReduceError):
        exchange.place_stop("stop-1", BTC, -1, D("0.02"), D(49_000))


def test_a_stop_that_is_denied_when_it_triggers_is_told_as_rejected(
    exchange: Exchange, account: FuturesAccount
) -> None:
    enter(exchange)
    exchange.place_stop("stop-1", BTC, -1, D("0.02"), D(49_000))
    account.stops_fail = True
    account.glide(BTC, D(48_000))
    stop = exchange.stop(BTC, "stop-1")
    assert stop is not None
    assert (stop.status, stop.order) == (StopStatus.REJECTED, None)
    assert exchange.position(BTC) is not None, "it is open and without a stop"


def test_a_stop_that_was_filled_in_part_leaves_the_rest_of_the_position(
    exchange: Exchange, account: FuturesAccount
) -> None:
    enter(exchange)
    exchange.place_stop("stop-1", BTC, -1, D("0.02"), D(49_000))
    account.fills = [Fill(D("0.5"))]
    account.glide(BTC, D(48_000))
    stop = exchange.stop(BTC, "stop-1")
    assert stop is not None
    assert stop.order is not None
    assert (stop.quantity, stop.order.filled) == (D("0.02"), D("0.01"))
    position = exchange.position(BTC)
    assert position is not None
    assert position.quantity == D("0.01")
    assert exchange.stops(BTC) == [], "and without a stop"


def test_a_stop_that_is_being_filled_does_not_rest_any_more(
    exchange: Exchange, account: FuturesAccount
) -> None:
    enter(exchange)
    exchange.place_stop("stop-1", BTC, -1, D("0.02"), D(49_000))
    account.fills = [Fill(D(0), rest_waits=True)]
    account.glide(BTC, D(48_000))
    assert len(account.open_stops(BTC)) == 1, "Binance still lists it"
    assert exchange.stops(BTC) == []
    stop = exchange.stop(BTC, "stop-1")
    assert stop is not None
    assert stop.status is StopStatus.TRIGGERED
    assert stop.order is not None
    assert (stop.order.status, stop.order.filled) == (OrderStatus.NEW, D(0))


def test_a_stop_that_never_was_is_none_and_cannot_be_cancelled(exchange: Exchange) -> None:
    assert exchange.stop(BTC, "never") is None
    assert not exchange.cancel_stop(BTC, "never")


def test_a_triggered_stop_cannot_be_cancelled(exchange: Exchange, account: FuturesAccount) -> None:
    enter(exchange)
    exchange.place_stop("stop-1", BTC, -1, D("0.02"), D(49_000))
    account.glide(BTC, D(48_000))
    assert not exchange.cancel_stop(BTC, "stop-1")


@pytest.mark.parametrize("fault", [RESET, RESET_LANDED])
def test_a_cancellation_is_repeated_until_it_is_answered(
    exchange: Exchange, server: FuturesServer, fault: Fault
) -> None:
    enter(exchange)
    exchange.place_stop("stop-1", BTC, -1, D("0.02"), D(49_000))
    server.fail(CANCEL_STOP, fault)
    exchange.cancel_stop(BTC, "stop-1")
    assert exchange.stops(BTC) == []


def test_a_stop_of_another_kind_is_not_taken_for_a_stop(
    exchange: Exchange, account: FuturesAccount
) -> None:
    enter(exchange)
    exchange.place_stop("stop-1", BTC, -1, D("0.02"), D(49_000))
    by_hand = {**account.stops[0], "orderType": "TAKE_PROFIT_MARKET", "clientAlgoId": "by-hand"}
    account.stops.append(by_hand)
    assert [stop.client_order_id for stop in exchange.stops(BTC)] == ["stop-1"]
