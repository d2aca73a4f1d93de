"""The real ccxt client on the rehearsal's exchange without a socket."""

from __future__ import annotations

from typing import Any

import ccxt
import numpy as np
import pandas as pd
import pytest

from rehearsal.binance import faults
from rehearsal.binance.faults import Fault
from rehearsal.binance.futures import API_KEY, API_SECRET, ORDER, FuturesServer
from rehearsal.binance.in_process import connected
from rehearsal.binance.loopback import one_market
from store.backoff import Backoff
from store.binance_futures import BinanceFutures, connect_futures
from store.exchange import Exchange, RefusedError
from strategy.errors import RetryError

BTC = "BTCUSDT"


@pytest.fixture
def server() -> FuturesServer:
    index = pd.date_range("2023-12-31", periods=24, freq="h", tz="UTC", name="timestamp")
    hours = pd.DataFrame(50_000.0, index, ["open", "high", "low", "close", "volume"])
    return FuturesServer(one_market(), {(BTC, "1h"): hours})


@pytest.fixture
def client(server: FuturesServer) -> ccxt.binanceusdm:
    return connected(connect_futures(API_KEY, API_SECRET), server)


def exchange_of(client: ccxt.binanceusdm) -> Exchange:
    return BinanceFutures(client, Backoff(lambda _: None, np.random.default_rng(0), attempts=2))


def placed(client: ccxt.binanceusdm) -> Any:
    return client.fapiPrivatePostOrder(
        {
            "symbol": BTC,
            "side": "BUY",
            "type": "MARKET",
            "quantity": "0.01",
            "newClientOrderId": "an-order",
        }
    )


def test_the_client_is_answered(server: FuturesServer, client: ccxt.binanceusdm) -> None:
    assert client.fapiPublicGetTime() == {"serverTime": server.account.now}
    candles = client.fapiPublicGetKlines({"symbol": BTC, "interval": "1h", "limit": 3})
    assert [row[4] for row in candles] == ["50000.0"] * 3


def test_its_signed_requests_are_carried_out_with_every_parameter(
    server: FuturesServer, client: ccxt.binanceusdm
) -> None:
    assert placed(client)["status"] == "FILLED"
    (asked,) = server.asked(ORDER)
    assert asked["newClientOrderId"] == "an-order"
    assert asked["timestamp"] == str(server.account.now)
    assert "signature" not in asked
    assert str(server.account.holding(BTC).amount) == "0.010"


def test_who_signs_with_another_secret_is_refused(server: FuturesServer) -> None:
    stranger = connected(connect_futures(API_KEY, "another"), server)
    with pytest.raises(ccxt.ExchangeError, match="-1022"):
        placed(stranger)
    assert server.account.orders == []


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (faults.RESET, ccxt.NetworkError),
        (faults.TIME_OUT, ccxt.RequestTimeout),
        (faults.BAD_GATEWAY, ccxt.ExchangeNotAvailable),
        (faults.TOO_MANY_REQUESTS, ccxt.DDoSProtection),
        (faults.SKEWED, ccxt.InvalidNonce),
    ],
    ids=["reset", "time-out", "bad gateway", "too many requests", "clock skew"],
)
def test_a_fault_is_raised_and_the_order_is_not_there(
    server: FuturesServer, client: ccxt.binanceusdm, fault: Fault, error: type[Exception]
) -> None:
    server.fail(ORDER, fault)
    with pytest.raises(error) as raised:
        placed(client)
    assert type(raised.value) is error
    assert server.account.orders == []


@pytest.mark.parametrize(
    "fault",
    [faults.RESET_LANDED, faults.TIME_OUT_LANDED, faults.UNKNOWN_LANDED, faults.GARBLED_LANDED],
    ids=["reset", "time-out", "unknown", "garbled"],
)
def test_what_landed_all_the_same_is_there_although_the_client_was_told_otherwise(
    server: FuturesServer, client: ccxt.binanceusdm, fault: Fault
) -> None:
    server.fail(ORDER, fault)
    try:
        told = placed(client)
    except ccxt.BaseError:
        told = {}
    assert "status" not in told
    assert [order["status"] for order in server.account.orders] == ["FILLED"]


def test_the_system_s_own_exchange_asks_again_and_gives_up_on_what_lasts(
    server: FuturesServer, client: ccxt.binanceusdm
) -> None:
    exchange = exchange_of(client)
    assert exchange.balance().total == 10_000
    server.fail("GET /fapi/v3/account", faults.RESET)
    assert exchange.balance().total == 10_000
    server.fail("GET /fapi/v3/account", *[faults.BAD_GATEWAY] * 5)
    with pytest.raises(RetryError):
        exchange.balance()


def test_a_refusal_is_the_system_s_own_error(
    server: FuturesServer, client: ccxt.binanceusdm
) -> None:
    server.fail(ORDER, faults.refusal(-9999))
    with pytest.raises(RefusedError):
        exchange_of(client).market_order("an-order", BTC, 1, 1, reduce_only=False)  # type: ignore[arg-type]
