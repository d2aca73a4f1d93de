"""Market orders, and what Binance's rules refuse: the real ccxt client against the loopback."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from rehearsal.binance.account import Fill, FuturesAccount
from rehearsal.binance.faults import Fault
from rehearsal.binance.futures import ORDER, FuturesServer
from store.binance_futures import BinanceFutures
from store.exchange import (
    DuplicateOrderError,
    Exchange,
    InsufficientMarginError,
    NothingToReduceError,
    NotionalTooSmallError,
    OrderStatus,
    RefusedError,
)
from strategy.errors import ConfigError
from tests.integration.binance_futures_entry import BTC, enter

D = Decimal


# Market orders


@pytest.mark.parametrize("side", [1, -1])
def test_a_market_order_is_filled_at_the_price(
    exchange: Exchange, account: FuturesAccount, side: int
) -> None:
    placed = exchange.market_order("entry-1", BTC, side, D("0.02"), reduce_only=False)
    assert placed.client_order_id == "entry-1"
    assert placed.status is OrderStatus.FILLED
    assert (placed.side, placed.quantity, placed.filled) == (side, D("0.02"), D("0.02"))
    assert placed.average_price == D(50_000)
    assert placed.time == datetime(2024, 1, 1, tzinfo=UTC)
    assert account.holding(BTC).amount == side * D("0.02")


def test_an_order_is_found_by_its_client_order_id_with_its_fee(exchange: Exchange) -> None:
    placed = exchange.market_order("entry-1", BTC, 1, D("0.02"), reduce_only=False)
    assert placed.fee is None, "the answer to an order does not tell it"
    found = exchange.order(BTC, "entry-1")
    assert found is not None
    assert found.fee == D("0.5")
    assert (found.status, found.filled, found.average_price) == (
        placed.status,
        placed.filled,
        placed.average_price,
    )


def test_an_order_that_never_was_is_none(exchange: Exchange) -> None:
    assert exchange.order(BTC, "never") is None


def test_a_fee_paid_in_bnb_is_told_in_dollars(exchange: Exchange, account: FuturesAccount) -> None:
    account.fee_asset = "BNB"
    enter(exchange)
    assert D(account.trades[0]["commission"]) == D("0.001"), "of 500 USD each"
    found = exchange.order(BTC, "entry")
    assert found is not None
    assert found.fee == D("0.5")


def test_a_fee_is_unknown_while_a_fill_is_not_listed(
    exchange: Exchange, account: FuturesAccount
) -> None:
    enter(exchange)
    account.trades.clear()
    found = exchange.order(BTC, "entry")
    assert found is not None
    assert found.fee is None


def test_a_reduce_only_order_closes_and_never_turns_the_position(
    exchange: Exchange, account: FuturesAccount
) -> None:
    enter(exchange)
    closed = exchange.market_order("exit", BTC, -1, D("0.05"), reduce_only=True)
    assert closed.filled == D("0.02")
    assert account.holding(BTC).amount == 0
    with pytest.raises(NothingToReduceError):
        exchange.market_order("exit-2", BTC, -1, D("0.02"), reduce_only=True)


def test_a_reduce_only_order_may_be_smaller_than_the_least_notional(exchange: Exchange) -> None:
    enter(exchange)
    assert exchange.market_order("part", BTC, -1, D("0.001"), reduce_only=True).filled


def test_an_order_whose_rest_expires_tells_what_was_filled(
    exchange: Exchange, account: FuturesAccount
) -> None:
    account.fills = [Fill(D("0.5"))]
    placed = exchange.market_order("entry", BTC, 1, D("0.02"), reduce_only=False)
    assert (placed.status, placed.filled) == (OrderStatus.EXPIRED, D("0.01"))
    assert placed.status.final
    found = exchange.order(BTC, "entry")
    assert found is not None
    assert (found.filled, found.fee) == (D("0.01"), D("0.25"))


def test_an_order_of_which_nothing_was_filled_has_no_price(
    exchange: Exchange, account: FuturesAccount
) -> None:
    account.fills = [Fill(D(0))]
    placed = exchange.market_order("entry", BTC, 1, D("0.02"), reduce_only=False)
    assert (placed.status, placed.filled) == (OrderStatus.EXPIRED, D(0))
    assert placed.average_price is None
    found = exchange.order(BTC, "entry")
    assert found is not None
    assert found.fee == 0


def test_an_order_that_is_filled_in_parts_is_followed_to_its_end(
    exchange: Exchange, account: FuturesAccount
) -> None:
    account.fills = [Fill(D("0.5"), rest_waits=True)]
    placed = exchange.market_order("entry", BTC, 1, D("0.02"), reduce_only=False)
    assert (placed.status, placed.filled) == (OrderStatus.PARTIALLY_FILLED, D("0.01"))
    assert not placed.status.final
    with pytest.raises(DuplicateOrderError):
        exchange.market_order("entry", BTC, 1, D("0.02"), reduce_only=False)
    account.jump(BTC, D(51_000))
    found = exchange.order(BTC, "entry")
    assert found is not None
    assert (found.status, found.filled) == (OrderStatus.FILLED, D("0.02"))
    assert found.average_price is not None
    assert D(50_000) < found.average_price < D(51_000)


def test_binance_would_fill_the_same_client_order_id_twice(
    exchange: Exchange, account: FuturesAccount
) -> None:
    """Why nothing may be sent again before it was asked for."""
    enter(exchange)
    enter(exchange)
    assert account.holding(BTC).amount == D("0.04")


@pytest.mark.parametrize("bad", ["", "x" * 37, "with space", "é"])
def test_a_client_order_id_that_binance_would_not_take_is_never_sent(
    exchange: Exchange, server: FuturesServer, bad: str
) -> None:
    for call in (
        lambda: exchange.market_order(bad, BTC, 1, D("0.02"), reduce_only=False),
        lambda: exchange.place_stop(bad, BTC, -1, D("0.02"), D(49_000)),
        lambda: exchange.order(BTC, bad),
        lambda: exchange.stop(BTC, bad),
        lambda: exchange.cancel_stop(BTC, bad),
    ):
        with pytest.raises(ConfigError, match="client order id"):
            call()
    assert server.requests == []


# Fills


START = datetime(2024, 1, 1, tzinfo=UTC)
FILLS = "GET /fapi/v1/userTrades"
DAY_MS = 24 * 3_600_000


def traded(account: FuturesAccount, number: int, step_ms: int) -> None:
    """As many fills like the one that there is, each that much later."""
    (first,) = account.trades
    account.trades = [
        {**first, "id": first["id"] + each, "time": first["time"] + each * step_ms}
        for each in range(number)
    ]
    account.advance(account.now + number * step_ms)


def test_fills_beyond_a_page_are_read_each_once(
    exchange: Exchange, account: FuturesAccount
) -> None:
    enter(exchange)
    traded(account, 2500, step_ms=1)
    told = exchange.fills(BTC, START)
    assert [fill.time for fill in told] == [
        START + each * timedelta(milliseconds=1) for each in range(2500)
    ]


def test_a_page_of_fills_in_one_millisecond_is_told_as_far_as_it_goes(
    exchange: Exchange, account: FuturesAccount
) -> None:
    enter(exchange)
    traded(account, 1200, step_ms=0)
    assert len(exchange.fills(BTC, START)) == 1000


def test_fills_of_weeks_are_read_week_by_week(
    exchange: Exchange, account: FuturesAccount, server: FuturesServer
) -> None:
    """Binance answers for seven days at most."""
    enter(exchange)
    traded(account, 30, step_ms=DAY_MS)
    told = exchange.fills(BTC, START)
    assert [fill.time for fill in told] == [START + timedelta(days=each) for each in range(30)]
    assert len(server.asked(FILLS)) == 5


def test_fills_whose_fee_was_paid_in_bnb_are_told_in_dollars(
    exchange: Exchange, account: FuturesAccount
) -> None:
    account.fee_asset = "BNB"
    enter(exchange)
    (fill,) = exchange.fills(BTC, START)
    assert fill.fee == D("0.5")


def test_a_fee_in_what_has_no_price_is_unknown_and_hides_no_fill(
    exchange: Exchange, account: FuturesAccount
) -> None:
    enter(exchange)
    account.trades[0]["commissionAsset"] = "NOPE"
    (fill,) = exchange.fills(BTC, START)
    assert (fill.quantity, fill.fee) == (D("0.02"), None)
    found = exchange.order(BTC, "entry")
    assert found is not None
    assert (found.filled, found.fee) == (D("0.02"), None)


# Refusals that Binance's rules make


def test_an_order_below_the_least_notional_is_refused(
    exchange: Exchange, account: FuturesAccount
) -> None:
    account.jump(BTC, D(49_999))
    with pytest.raises(NotionalTooSmallError):
        exchange.market_order("small", BTC, 1, D("0.001"), reduce_only=False)


def test_an_order_that_the_margin_does_not_pay_for_is_refused(exchange: Exchange) -> None:
    with pytest.raises(InsufficientMarginError):
        exchange.market_order("large", BTC, 1, D(5), reduce_only=False)


@pytest.mark.parametrize("quantity", ["0.0205", "1000.001"])
def test_a_quantity_off_the_filters_is_refused_and_not_rounded_in_silence(
    exchange: Exchange, account: FuturesAccount, quantity: str
) -> None:
    with pytest.raises(RefusedError):
        exchange.market_order("odd", BTC, 1, D(quantity), reduce_only=False)
    assert account.orders == []


def test_a_stop_price_off_the_tick_is_refused_and_not_rounded_in_silence(
    exchange: Exchange, account: FuturesAccount
) -> None:
    enter(exchange)
    with pytest.raises(RefusedError, match="tick"):
        exchange.place_stop("stop-1", BTC, -1, D("0.02"), D("49000.05"))
    assert account.stops == []


def test_a_symbol_that_is_not_traded_is_a_mistake_in_the_configuration(
    exchange: Exchange,
) -> None:
    for call in (
        lambda: exchange.filters("NOPEUSDT"),
        lambda: exchange.last_price("NOPEUSDT"),
        lambda: exchange.market_order("x", "NOPEUSDT", 1, D(1), reduce_only=False),
        lambda: exchange.prepare("NOPEUSDT", 5),
    ):
        with pytest.raises(ConfigError, match="NOPEUSDT"):
            call()


def test_a_position_in_hedge_mode_is_not_traded(exchange: Exchange, server: FuturesServer) -> None:
    hedged = '[{"symbol":"BTCUSDT","positionSide":"LONG","positionAmt":"0.02"}]'
    server.fail("GET /fapi/v3/positionRisk", Fault(status=200, body=hedged))
    with pytest.raises(ConfigError, match="hedge mode"):
        exchange.positions()


def test_conditional_orders_are_not_taken_at_the_old_place(server: FuturesServer) -> None:
    """What ccxt's own order of type STOP_MARKET would meet without a trigger price."""
    enter(BinanceFutures(server.client()))
    with pytest.raises(Exception, match="-4120"):
        server.client().fapiPrivatePostOrder(
            {
                "symbol": BTC,
                "side": "SELL",
                "type": "STOP_MARKET",
                "stopPrice": "49000",
                "quantity": "0.02",
            }
        )
    assert len(server.asked(ORDER)) == 2
