"""Binance's market, account and settings: the real ccxt client against a server on the loopback."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pandas as pd
import pytest

from rehearsal.binance.account import FuturesAccount
from rehearsal.binance.faults import RESET, RESET_LANDED, Fault
from rehearsal.binance.futures import FuturesServer
from rehearsal.binance.loopback import futures_server, one_market
from store.binance_futures import BinanceFutures
from store.exchange import Exchange, ExchangePosition, RefusedError
from strategy.sizing import MarketFilters
from tests.integration.binance_futures_entry import BTC, enter

D = Decimal


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
