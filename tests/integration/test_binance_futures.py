"""Live orders: the real ccxt client against a Binance-shaped server on the loopback."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from store.backoff import Backoff
from store.binance_futures import BinanceFutures
from store.exchange import (
    DuplicateOrderError,
    Exchange,
    ExchangePosition,
    Income,
    InsufficientMarginError,
    NothingToReduceError,
    NotionalTooSmallError,
    OrderStatus,
    RefusedError,
    StopPassedError,
    StopStatus,
)
from strategy.errors import ConfigError, RetryError
from strategy.sizing import MarketFilters
from tests.integration.binance_faults import RESET, RESET_LANDED, Fault
from tests.integration.binance_futures_account import Fill, FuturesAccount
from tests.integration.binance_futures_income import income_row
from tests.integration.binance_futures_server import (
    CANCEL_STOP,
    INCOME,
    ORDER,
    STOP,
    FuturesServer,
    futures_server,
    one_market,
)

BTC = "BTCUSDT"
D = Decimal


@pytest.fixture
def server() -> Iterator[FuturesServer]:
    with futures_server(one_market()) as running:
        yield running


@pytest.fixture
def account(server: FuturesServer) -> FuturesAccount:
    return server.account


@pytest.fixture
def exchange(server: FuturesServer) -> Exchange:
    impatient = Backoff(lambda seconds: None, np.random.default_rng(0), attempts=3)
    return BinanceFutures(server.client(), impatient)


def enter(exchange: Exchange, side: int = 1, quantity: str = "0.02") -> None:
    exchange.market_order("entry", BTC, side, D(quantity), reduce_only=False)


# Reading


def test_the_exchange_tells_its_time_and_the_last_price(
    exchange: Exchange, account: FuturesAccount
) -> None:
    account.jump(BTC, D("51234.5"))
    assert exchange.server_time() == datetime(2024, 1, 1, tzinfo=UTC)
    assert exchange.last_price(BTC) == D("51234.5")


def test_filters_are_the_stricter_of_those_for_limit_and_market_orders(
    exchange: Exchange,
) -> None:
    assert exchange.filters(BTC) == MarketFilters(
        tick_size=D("0.1"),
        step_size=D("0.001"),
        min_quantity=D("0.001"),
        max_quantity=D(1000),  # of market orders; limit orders may be ten times as large
        min_notional=D(50),
    )


def test_filters_are_read_again_after_an_hour_and_not_before(server: FuturesServer) -> None:
    now = [datetime(2024, 1, 1, tzinfo=UTC)]
    exchange = BinanceFutures(server.client(), clock=lambda: now[0])
    for hours in (0.0, 0.9, 1.1):
        now[0] = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(hours=hours)
        exchange.filters(BTC)
    assert len(server.asked("GET /fapi/v1/exchangeInfo")) == 2


def test_the_balance_tells_equity_and_what_of_it_is_free(
    exchange: Exchange, account: FuturesAccount
) -> None:
    exchange.prepare(BTC, 5)
    enter(exchange)
    account.jump(BTC, D(51000))
    balance = exchange.balance()
    assert balance.total == D(10_000) - D("0.5") + 20, "fee paid, 0.02 x 1000 won"
    assert balance.free == D(10_000) - D("0.5") - 200, "a fifth of 1000 is margin"
    assert balance.margin_in_use == 220


def test_a_position_is_read_with_its_margin_settings(
    exchange: Exchange, account: FuturesAccount
) -> None:
    assert exchange.positions() == []
    assert exchange.position(BTC) is None
    exchange.prepare(BTC, 5)
    enter(exchange, side=-1)
    short = ExchangePosition(
        symbol=BTC,
        side=-1,
        quantity=D("0.02"),
        entry_price=D(50_000),
        leverage=5,
        liquidation_price=D(59_800),
        isolated=True,
        margin=D(200),
    )
    assert exchange.positions() == [short]
    assert exchange.position(BTC) == short


def test_a_position_of_another_margin_type_is_told_as_it_is(
    exchange: Exchange, account: FuturesAccount
) -> None:
    enter(exchange)
    position = exchange.position(BTC)
    assert position is not None
    assert not position.isolated
    assert position.leverage == 20
    assert position.liquidation_price is None, "the whole balance stands in for it"


def test_the_server_shows_no_candle_that_opens_later_than_now() -> None:
    """The test's own market: live trading must not see the future in it."""
    opens = pd.date_range("2023-12-31T22:00Z", periods=4, freq="1h")
    names = ["open", "high", "low", "close", "volume"]
    candles = pd.DataFrame(1.0, index=opens, columns=names)
    with futures_server(one_market(), {(BTC, "1h"): candles}) as server:
        asked = {"symbol": BTC, "interval": "1h", "startTime": 0, "limit": 10}
        rows = server.client().fapiPublicGetKlines(asked)
        assert int(rows[-1][0]) == server.account.now == 1_704_067_200_000
        assert len(rows) == 3, "two that have closed, and the one in progress"


# Income

START = datetime(2024, 1, 1, tzinfo=UTC)
HOUR_MS = 3_600_000


def test_funding_and_transfers_are_told_in_order_of_time_and_nothing_else(
    exchange: Exchange, account: FuturesAccount
) -> None:
    account.transfer(D(500))
    enter(exchange)
    account.funding_rate = D("0.0001")
    account.advance(account.now + 16 * HOUR_MS)
    account.transfer(D(-200))
    exchange.market_order("exit", BTC, -1, D("0.02"), reduce_only=True)
    told = exchange.income(START)
    assert [(income.kind, income.symbol, income.amount, income.time) for income in told] == [
        ("transfer", None, D(500), START),
        ("funding", BTC, D("-0.1"), START + timedelta(hours=8)),
        ("funding", BTC, D("-0.1"), START + timedelta(hours=16)),
        ("transfer", None, D(-200), START + timedelta(hours=16)),
    ]
    assert len({income.id for income in told}) == 4
    assert exchange.income(START) == told, "and the same again"
    flow = sum((income.amount for income in told), D(0))
    assert exchange.balance().total == D(10_000) + flow - D("1.0"), "the rest are two fees"


def test_a_short_position_receives_positive_funding(
    exchange: Exchange, account: FuturesAccount
) -> None:
    enter(exchange, side=-1)
    account.funding_rate = D("0.0001")
    account.advance(account.now + 8 * HOUR_MS)
    (funding,) = exchange.income(START)
    assert funding.amount == D("0.1")


def test_income_begins_with_the_moment_that_is_asked_for(
    exchange: Exchange, account: FuturesAccount
) -> None:
    account.transfer(D(1))
    account.advance(account.now + 1)
    account.transfer(D(2))
    account.advance(account.now + 30 * 24 * HOUR_MS)
    later = START + timedelta(milliseconds=1)
    assert [income.amount for income in exchange.income(later)] == [2]
    between = START + timedelta(microseconds=1)
    assert [income.amount for income in exchange.income(between)] == [2]
    assert exchange.income(later + timedelta(milliseconds=1)) == []


def test_income_beyond_a_page_is_read(
    exchange: Exchange, account: FuturesAccount, server: FuturesServer
) -> None:
    for _ in range(500):
        account.transfer(D(1))
        account.transfer(D(-1), asset="BNB")  # fills pages, and is not told of
    assert len(exchange.income(START)) == 500
    account.advance(account.now + 1)
    account.transfer(D(7))
    told = exchange.income(START)
    assert (len(told), told[-1].amount) == (501, 7)
    assert [asked["page"] for asked in server.asked(INCOME)] == ["1", "2", "1", "2"]


def test_a_transfer_of_another_asset_than_the_equity_s_is_not_income(
    exchange: Exchange, account: FuturesAccount
) -> None:
    before = exchange.balance()
    account.transfer(D(3), asset="BNB")
    assert exchange.income(START) == []
    assert exchange.balance() == before


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("FUNDING_FEE", "funding"),
        ("TRANSFER", "transfer"),
        ("INTERNAL_TRANSFER", "transfer"),
        ("COIN_SWAP_DEPOSIT", "transfer"),
        ("COIN_SWAP_WITHDRAW", "transfer"),
        ("REALIZED_PNL", None),
        ("COMMISSION", None),
        ("INSURANCE_CLEAR", None),
    ],
)
def test_what_a_trade_did_not_bring_is_income(
    exchange: Exchange, account: FuturesAccount, kind: str, told: str | None
) -> None:
    account.income.append(income_row(77, kind, D("1.5"), "", "USDT", account.now))
    expected = [Income(told, None, D("1.5"), START, f"{kind}/77")] if told else []
    assert exchange.income(START) == expected


def test_income_is_asked_for_until_it_is_answered(
    exchange: Exchange, server: FuturesServer
) -> None:
    server.account.transfer(D(500))
    server.fail(INCOME, RESET)
    assert [income.amount for income in exchange.income(START)] == [500]


def test_income_of_a_form_that_is_not_known_is_not_told(
    exchange: Exchange, server: FuturesServer
) -> None:
    server.fail(INCOME, Fault(status=200, body='[{"incomeType": "TRANSFER", "asset": "USDT"}]'))
    with pytest.raises(RetryError, match="income since 2024-01-01 00:00:00"):
        exchange.income(START)


# Settings


def test_prepare_sets_one_way_mode_isolated_margin_and_leverage(
    exchange: Exchange, account: FuturesAccount
) -> None:
    account.hedge_mode = True
    exchange.prepare(BTC, 7)
    assert not account.hedge_mode
    assert account.holding(BTC).isolated
    assert account.holding(BTC).leverage == 7


def test_prepare_changes_nothing_the_second_time_even_with_a_position(
    exchange: Exchange, account: FuturesAccount
) -> None:
    exchange.prepare(BTC, 7)
    enter(exchange)
    exchange.prepare(BTC, 7)
    assert account.holding(BTC).leverage == 7


@pytest.mark.parametrize("fault", [RESET, RESET_LANDED])
@pytest.mark.parametrize("endpoint", ["positionSide/dual", "marginType", "leverage"])
def test_prepare_is_repeated_until_it_is_answered(
    exchange: Exchange, server: FuturesServer, endpoint: str, fault: Fault
) -> None:
    server.account.hedge_mode = True
    server.fail(f"POST /fapi/v1/{endpoint}", fault)
    exchange.prepare(BTC, 7)
    assert not server.account.hedge_mode
    assert server.account.holding(BTC).isolated
    assert server.account.holding(BTC).leverage == 7


def test_margin_that_cannot_be_isolated_for_a_position_says_what_to_do(
    exchange: Exchange,
) -> None:
    enter(exchange)
    with pytest.raises(RefusedError, match="Close the position"):
        exchange.prepare(BTC, 7)


def test_a_leverage_that_binance_does_not_have_is_refused(exchange: Exchange) -> None:
    with pytest.raises(RefusedError, match="leverage 200 of BTCUSDT"):
        exchange.prepare(BTC, 200)


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


# Stops


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
