"""What goes wrong between us and Binance: no order twice, every error of the right class."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import TypeVar

import numpy as np
import pytest

from rehearsal.binance.faults import (
    BACKEND_TIME_OUT_LANDED,
    BAD_GATEWAY,
    BANNED,
    GARBLED_LANDED,
    IN_FLIGHT,
    RESET,
    RESET_LANDED,
    RESTRICTED,
    SKEWED,
    TIME_OUT,
    TIME_OUT_LANDED,
    TOO_MANY_REQUESTS,
    UNKNOWN,
    UNKNOWN_LANDED,
    WEB_PAGE,
    Fault,
    refusal,
)
from rehearsal.binance.futures import (
    ANY,
    API_KEY,
    API_SECRET,
    CANCEL_STOP,
    OPEN_STOPS,
    ORDER,
    QUERY_ORDER,
    QUERY_STOP,
    STOP,
    FuturesServer,
)
from rehearsal.binance.loopback import futures_server, impatient, one_market
from store.backoff import Backoff
from store.binance_futures import BinanceFutures, connect_futures
from store.exchange import (
    DuplicateOrderError,
    Exchange,
    InsufficientMarginError,
    NothingToReduceError,
    NotionalTooSmallError,
    RefusedError,
    StopPassedError,
)
from strategy.errors import ConfigError, FixError, RetryError, TradingSystemError

BTC = "BTCUSDT"
D = Decimal
PRICE = "GET /fapi/v2/ticker/price"

UNCERTAIN = {
    "time-out": TIME_OUT,
    "time-out after it landed": TIME_OUT_LANDED,
    "connection reset": RESET,
    "connection reset after it landed": RESET_LANDED,
    "bad gateway": BAD_GATEWAY,
    "unknown error": UNKNOWN,
    "unknown error after it landed": UNKNOWN_LANDED,
    "time-out at the back after it landed": BACKEND_TIME_OUT_LANDED,
    "garbled answer after it landed": GARBLED_LANDED,
    "a proxy's page": WEB_PAGE,
    "too many requests": TOO_MANY_REQUESTS,
    "banned": BANNED,
    "overloaded": refusal(-1008, status=503),
    "too late for the matching engine": refusal(-5028),
    "internal error": refusal(-1001, status=500),
}


class Patience:
    """A sleep that takes no time and remembers what it was asked for."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.slept.append(seconds)


@pytest.fixture
def server() -> Iterator[FuturesServer]:
    with futures_server(one_market()) as running:
        yield running


@pytest.fixture
def patience() -> Patience:
    return Patience()


@pytest.fixture
def exchange(server: FuturesServer, patience: Patience) -> BinanceFutures:
    backoff = Backoff(patience, np.random.default_rng(0), attempts=4, first=0.5, longest=10.0)
    return BinanceFutures(server.client(), backoff)


@dataclass(frozen=True)
class Call:
    """A call that places something, the query that finds it, and how often it is there."""

    endpoint: str
    prepare: Callable[[Exchange], object]
    place: Callable[[Exchange], object]
    find: Callable[[Exchange], object | None]
    landed: Callable[[FuturesServer], int]


def enter(exchange: Exchange) -> object:
    return exchange.market_order("entry", BTC, 1, D("0.02"), reduce_only=False)


CALLS = {
    "entry": Call(
        ORDER,
        prepare=lambda exchange: None,
        place=enter,
        find=lambda exchange: exchange.order(BTC, "entry"),
        landed=lambda server: int(server.account.holding(BTC).amount / D("0.02")),
    ),
    "exit": Call(
        ORDER,
        prepare=lambda exchange: exchange.market_order(
            "before", BTC, 1, D("0.06"), reduce_only=False
        ),
        place=lambda exchange: exchange.market_order("exit", BTC, -1, D("0.02"), reduce_only=True),
        find=lambda exchange: exchange.order(BTC, "exit"),
        landed=lambda server: 3 - int(server.account.holding(BTC).amount / D("0.02")),
    ),
    "stop": Call(
        STOP,
        prepare=enter,
        place=lambda exchange: exchange.place_stop("stop", BTC, -1, D("0.02"), D(49_000)),
        find=lambda exchange: exchange.stop(BTC, "stop"),
        landed=lambda server: len(server.account.open_stops(BTC)),
    ),
}


@pytest.fixture(params=list(CALLS.values()), ids=list(CALLS))
def call(request: pytest.FixtureRequest, exchange: Exchange) -> Call:
    chosen: Call = request.param
    chosen.prepare(exchange)
    return chosen


# Nobody knows whether it landed


@pytest.mark.parametrize("fault", UNCERTAIN.values(), ids=UNCERTAIN)
def test_an_order_is_sent_once_and_after_a_query_never_twice(
    exchange: BinanceFutures, server: FuturesServer, call: Call, fault: Fault
) -> None:
    sent = len(server.asked(call.endpoint))
    server.fail(call.endpoint, fault)
    with pytest.raises(RetryError), impatient(exchange.exchange, only_if=fault.hanging):
        call.place(exchange)
    assert len(server.asked(call.endpoint)) == sent + 1, "the adapter does not repeat it"
    if call.find(exchange) is None:
        assert not fault.landed
        call.place(exchange)
    assert call.landed(server) == 1
    assert call.find(exchange) is not None


@pytest.mark.parametrize("first", [RESET_LANDED, RESET], ids=["landed", "did not land"])
@pytest.mark.parametrize("second", [RESET, BAD_GATEWAY, SKEWED], ids=["reset", "502", "skew"])
def test_the_query_after_a_fault_may_fail_too(
    exchange: Exchange, server: FuturesServer, call: Call, first: Fault, second: Fault
) -> None:
    server.fail(call.endpoint, first)
    with pytest.raises(RetryError):
        call.place(exchange)
    server.fail(ANY, second)
    assert (call.find(exchange) is not None) == first.landed
    assert call.landed(server) == int(first.landed)


def test_an_order_on_its_way_is_not_there_yet_and_lands_later(
    exchange: Exchange, server: FuturesServer, call: Call
) -> None:
    server.fail(call.endpoint, IN_FLIGHT)
    with pytest.raises(RetryError):
        call.place(exchange)
    assert call.find(exchange) is None, "this None is not final"
    server.account.now += 4_000
    server.deliver()
    assert call.find(exchange) is not None
    assert call.landed(server) == 1


def test_an_order_on_its_way_cannot_land_once_its_time_has_passed(
    exchange: Exchange, server: FuturesServer, call: Call
) -> None:
    server.fail(call.endpoint, IN_FLIGHT)
    with pytest.raises(RetryError):
        call.place(exchange)
    server.account.now += exchange.lands_within // timedelta(milliseconds=1)
    assert call.find(exchange) is None, "this None is final"
    server.deliver()
    assert call.find(exchange) is None
    call.place(exchange)
    assert call.landed(server) == 1


# One fault anywhere in the life of a position


T = TypeVar("T")


def carefully(place: Callable[[], T], find: Callable[[], T | None]) -> T:
    """What every caller does: place, and after a fault look before placing again."""
    try:
        return place()
    except RetryError:
        return find() or place()


def live_and_die(exchange: Exchange) -> None:
    """Open a position, let its stop follow, and close it."""

    def stop(name: str, price: int) -> None:
        carefully(
            lambda: exchange.place_stop(name, BTC, -1, D("0.02"), D(price)),
            lambda: exchange.stop(BTC, name),
        )

    exchange.prepare(BTC, 5)
    carefully(
        lambda: exchange.market_order("entry", BTC, 1, D("0.02"), reduce_only=False),
        lambda: exchange.order(BTC, "entry"),
    )
    stop("stop-1", 49_000)
    stop("stop-2", 49_500)
    exchange.cancel_stop(BTC, "stop-1")
    assert [resting.client_order_id for resting in exchange.stops(BTC)] == ["stop-2"]
    carefully(
        lambda: exchange.market_order("exit", BTC, -1, D("0.02"), reduce_only=True),
        lambda: exchange.order(BTC, "exit"),
    )
    exchange.cancel_stop(BTC, "stop-2")


ANYWHERE = {
    name: fault
    for name, fault in UNCERTAIN.items()
    if not fault.hanging and name != "banned"  # after which reads do not ask again
} | {"skew": SKEWED}


@pytest.mark.parametrize("fault", ANYWHERE.values(), ids=ANYWHERE)
def test_one_fault_at_any_call_leaves_one_entry_one_exit_and_no_stop(fault: Fault) -> None:
    calls, nth = 1, 0
    while nth < calls:
        nth += 1
        with futures_server(one_market()) as server:
            server.fail(ANY, fault, nth=nth)
            live_and_die(BinanceFutures(server.client(), Backoff(lambda seconds: None)))
            filled = [
                order["clientOrderId"]
                for order in server.account.orders
                if order["status"] == "FILLED"
            ]
            assert filled == ["entry", "exit"], f"fault at call {nth}"
            assert server.account.open_stops(BTC) == [], f"fault at call {nth}"
            assert server.account.holding(BTC).amount == 0, f"fault at call {nth}"
            calls = len(server.requests)
    assert nth > 9, "every call had its turn"


# The clock


@pytest.mark.parametrize("ahead", [8_000, -8_000], ids=["ahead", "behind"])
def test_a_clock_that_is_wrong_is_set_by_binances_and_the_order_sent_once_more(
    server: FuturesServer, call: Call, ahead: int
) -> None:
    client = server.client()
    client.milliseconds = lambda: server.account.now + ahead
    skewed = BinanceFutures(client)
    sent = len(server.asked(call.endpoint))
    call.place(skewed)
    assert len(server.asked(call.endpoint)) == sent + 2
    assert call.landed(server) == 1
    assert call.find(skewed) is not None
    assert len(server.asked("GET /fapi/v1/time")) == 1, "the difference is remembered"


def test_a_timestamp_that_is_refused_twice_is_given_up(
    exchange: Exchange, server: FuturesServer, call: Call
) -> None:
    sent = len(server.asked(call.endpoint))
    server.fail(call.endpoint, SKEWED, SKEWED)
    with pytest.raises(RetryError, match="clock"):
        call.place(exchange)
    assert len(server.asked(call.endpoint)) == sent + 2
    assert call.landed(server) == 0


@pytest.mark.parametrize("fault", [GARBLED_LANDED, RESET_LANDED], ids=["garbled", "reset"])
def test_a_fault_after_a_refused_timestamp_is_not_taken_for_a_refusal(
    exchange: Exchange, server: FuturesServer, call: Call, fault: Fault
) -> None:
    sent = len(server.asked(call.endpoint))
    server.fail(call.endpoint, SKEWED, fault)
    with pytest.raises(RetryError, match="answer"):
        call.place(exchange)
    assert len(server.asked(call.endpoint)) == sent + 2
    assert call.find(exchange) is not None
    assert call.landed(server) == 1


def test_where_the_time_cannot_be_asked_for_the_order_is_not_sent_again(
    exchange: Exchange, server: FuturesServer, call: Call
) -> None:
    server.fail(call.endpoint, SKEWED)
    server.fail("GET /fapi/v1/time", RESET)
    with pytest.raises(RetryError):
        call.place(exchange)
    assert call.landed(server) == 0


# What Binance refuses


REFUSALS: dict[int, type[TradingSystemError]] = {
    -1002: ConfigError,
    -1005: ConfigError,
    -1022: ConfigError,
    -1121: ConfigError,
    -2014: ConfigError,
    -2015: ConfigError,
    -2017: ConfigError,
    -2018: InsufficientMarginError,
    -2019: InsufficientMarginError,
    -2021: StopPassedError,
    -2022: NothingToReduceError,
    -4116: DuplicateOrderError,
    -4120: RefusedError,
    -4130: RefusedError,
    -4164: NotionalTooSmallError,
    -4192: RefusedError,
    -9999: RefusedError,
}


@pytest.mark.parametrize(("code", "expected"), REFUSALS.items(), ids=str)
def test_a_refusal_is_of_a_class_that_says_what_to_do_and_is_not_repeated(
    exchange: Exchange,
    server: FuturesServer,
    call: Call,
    code: int,
    expected: type[TradingSystemError],
) -> None:
    sent = len(server.asked(call.endpoint))
    server.fail(call.endpoint, refusal(code, "Because of the test."))
    with pytest.raises(expected, match=f"BTCUSDT.*Because of the test.*{code}") as caught:
        call.place(exchange)
    assert type(caught.value) is expected
    assert isinstance(caught.value, FixError)
    assert len(server.asked(call.endpoint)) == sent + 1
    assert call.landed(server) == 0


def test_a_refusal_counts_whatever_its_http_status(
    exchange: Exchange, server: FuturesServer
) -> None:
    server.fail(ORDER, refusal(-2019, status=200))
    with pytest.raises(InsufficientMarginError):
        enter(exchange)


def test_a_place_that_binance_does_not_serve_is_named(
    exchange: Exchange, server: FuturesServer, call: Call, patience: Patience
) -> None:
    server.fail(call.endpoint, RESTRICTED)
    with pytest.raises(FixError, match="451"):
        call.place(exchange)
    assert patience.slept == []


# Reading again


READS: dict[str, Callable[[Exchange], object]] = {
    "GET /fapi/v1/time": lambda exchange: exchange.server_time(),
    "GET /fapi/v1/exchangeInfo": lambda exchange: exchange.filters(BTC),
    PRICE: lambda exchange: exchange.last_price(BTC),
    "GET /fapi/v3/account": lambda exchange: exchange.balance(),
    "GET /fapi/v3/positionRisk": lambda exchange: exchange.positions(),
    "GET /fapi/v1/symbolConfig": lambda exchange: exchange.positions(),
    "GET /fapi/v1/userTrades": lambda exchange: exchange.order(BTC, "entry"),
    QUERY_ORDER: lambda exchange: exchange.order(BTC, "entry"),
    QUERY_STOP: lambda exchange: exchange.stop(BTC, "stop"),
    OPEN_STOPS: lambda exchange: exchange.stops(BTC),
}


@pytest.fixture
def opened(exchange: Exchange) -> Exchange:
    """With a position and its stop."""
    enter(exchange)
    exchange.place_stop("stop", BTC, -1, D("0.02"), D(49_000))
    return exchange


@pytest.mark.parametrize("fault", [RESET, BAD_GATEWAY, WEB_PAGE, TOO_MANY_REQUESTS, UNKNOWN])
@pytest.mark.parametrize("endpoint", READS)
def test_a_read_is_repeated_until_it_is_answered(
    opened: Exchange, server: FuturesServer, endpoint: str, fault: Fault
) -> None:
    server.fail(endpoint, fault, fault)
    assert READS[endpoint](opened)


@pytest.mark.parametrize("endpoint", READS)
def test_a_read_that_is_never_answered_fails_after_its_attempts(
    opened: Exchange, server: FuturesServer, endpoint: str
) -> None:
    asked = len(server.asked(endpoint))
    server.fail(endpoint, *[RESET] * 10)
    with pytest.raises(RetryError):
        READS[endpoint](opened)
    assert len(server.asked(endpoint)) == asked + 4


def test_binance_is_left_alone_for_as_long_as_it_asks(
    exchange: Exchange, server: FuturesServer, patience: Patience
) -> None:
    server.fail(PRICE, TOO_MANY_REQUESTS)
    assert exchange.last_price(BTC) == D(50_000)
    assert patience.slept == [7.0]


@pytest.mark.parametrize(
    "ban", [BANNED, Fault(status=418, body=BANNED.body)], ids=["says how long", "does not say"]
)
def test_a_banned_address_does_not_ask_again(
    exchange: Exchange, server: FuturesServer, patience: Patience, ban: Fault
) -> None:
    server.fail(PRICE, ban)
    with pytest.raises(RetryError, match="418"):
        exchange.last_price(BTC)
    assert len(server.asked(PRICE)) == 1
    assert patience.slept == []


def test_an_answer_of_another_form_is_told_as_that(
    exchange: Exchange, server: FuturesServer
) -> None:
    server.fail(PRICE, *[Fault(status=200, body='{"cost": "1"}')] * 4)
    with pytest.raises(RetryError, match=r"last price of BTCUSDT.*known form.*price"):
        exchange.last_price(BTC)


def test_a_stop_in_a_state_that_is_new_to_us_is_not_guessed(
    opened: Exchange, server: FuturesServer
) -> None:
    server.account.stops[0]["algoStatus"] = "PAUSED"
    with pytest.raises(RetryError, match="PAUSED"):
        opened.stop(BTC, "stop")


# Keys


@pytest.mark.parametrize(
    ("key", "secret", "code"),
    [("another-key", API_SECRET, -2015), (API_KEY, "another-secret", -1022)],
    ids=["wrong key", "wrong secret"],
)
def test_a_key_that_is_not_accepted_places_nothing_and_says_what_to_check(
    server: FuturesServer, key: str, secret: str, code: int
) -> None:
    exchange = BinanceFutures(server.client(key, secret))
    for place in (
        enter,
        lambda exchange: exchange.place_stop("stop", BTC, -1, D("0.02"), D(49_000)),
        lambda exchange: exchange.balance(),
        lambda exchange: exchange.cancel_stop(BTC, "stop"),
    ):
        with pytest.raises(ConfigError, match=f"{code}.*binance_api_secret"):
            place(exchange)
    assert server.account.orders == []


def test_a_client_without_a_key_is_a_mistake_in_the_configuration(server: FuturesServer) -> None:
    client = server.client()
    client.apiKey = ""
    with pytest.raises(ConfigError, match="binance_api_key"):
        BinanceFutures(client).balance()
    assert server.requests == []


def test_public_data_needs_no_key_and_carries_none(
    exchange: Exchange, server: FuturesServer
) -> None:
    exchange.filters(BTC)
    exchange.last_price(BTC)
    exchange.server_time()
    assert {request.key for request in server.requests} == {None}
    assert not any("signature" in request.query for request in server.requests)


def test_no_secret_is_shown_by_a_log_an_error_or_a_representation(
    exchange: Exchange, server: FuturesServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    enter(exchange)
    exchange.order(BTC, "entry")
    shown = [caplog.text, repr(exchange), str(exchange)]
    silent = [fault for fault in UNCERTAIN.values() if not fault.hanging]
    for fault in (*silent, RESTRICTED, SKEWED, refusal(-2015), refusal(-2019)):
        for endpoint, call in ((ORDER, enter), (QUERY_ORDER, READS[QUERY_ORDER])):
            server.fail(endpoint, *[fault] * 10)
            with pytest.raises(TradingSystemError) as caught:
                call(exchange)
            shown += traceback.format_exception(caught.value)
            server.clear_faults()
    text = "\n".join([*shown, caplog.text])
    assert API_KEY not in text
    assert API_SECRET not in text
    assert not any(signature in text for signature in server.signatures())


def test_the_message_of_a_time_out_keeps_the_signature_to_itself(
    exchange: Exchange, server: FuturesServer
) -> None:
    server.fail(QUERY_ORDER, *[RESET] * 4)
    with pytest.raises(RetryError, match=r"signature=\.\.\."):
        exchange.order(BTC, "entry")


# Which Binance


def test_demo_trading_has_addresses_of_its_own() -> None:
    live, demo = connect_futures("k", "s"), connect_futures("k", "s", "demo")
    for api in ("fapiPublic", "fapiPublicV2", "fapiPrivate", "fapiPrivateV3"):
        assert live.urls["api"][api].startswith("https://fapi.binance.com/")
        assert demo.urls["api"][api].startswith("https://demo-fapi.binance.com/")


@pytest.mark.parametrize("environment", ["testnet", "", "LIVE"])
def test_an_environment_that_is_not_known_is_refused(environment: str) -> None:
    with pytest.raises(ConfigError, match="live, or demo"):
        connect_futures("k", "s", environment)


@pytest.mark.parametrize(
    ("key", "secret", "name"), [("", "s", "api_key"), ("k", " ", "api_secret")]
)
def test_an_empty_key_is_named(key: str, secret: str, name: str) -> None:
    with pytest.raises(ConfigError, match=f"binance_{name} is empty"):
        connect_futures(key, secret)


def test_a_cancelled_stop_is_not_cancelled_twice_as_a_success(
    opened: Exchange, server: FuturesServer
) -> None:
    server.fail(CANCEL_STOP, RESET_LANDED)
    assert not opened.cancel_stop(BTC, "stop"), "who cancelled it cannot be told: ask stop()"
    assert opened.stops(BTC) == []
