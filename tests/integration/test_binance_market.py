"""The market as it is now at Binance: the real ccxt client against a server on the loopback."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from rehearsal.binance.account import FuturesAccount
from rehearsal.binance.faults import BAD_GATEWAY, BANNED, RESTRICTED, WEB_PAGE
from rehearsal.binance.futures import FuturesServer
from rehearsal.binance.loopback import futures_server, one_market
from store.backoff import Backoff
from store.binance_klines import connect
from store.binance_market import BinanceMarket
from store.market import Market
from store.synthetic import synthetic_candles
from strategy.errors import ConfigError, DataError, FixError, RetryError
from tests.candle_frames import candles, same
from tests.manual_clock import ManualClock

BTC = "BTCUSDT"
KLINES, PRICE = "GET /fapi/v1/klines", "GET /fapi/v2/ticker/price"
NOW = datetime(2024, 3, 10, 10, 2, tzinfo=UTC)
HOUR, BAR = pd.Timedelta(hours=1), pd.Timedelta(minutes=5)
IN_PROGRESS = pd.Timestamp("2024-03-10T10:00Z")


class Clock(ManualClock):
    """The computer's, and Binance's: both go on together."""

    def __init__(self, account: FuturesAccount) -> None:
        super().__init__(NOW)
        self.account = account

    def __call__(self) -> datetime:
        self.account.now = int(self.now.timestamp() * 1000)
        return self.now


@pytest.fixture(scope="module")
def hours() -> pd.DataFrame:
    return synthetic_candles(np.random.default_rng(5), 3000, IN_PROGRESS - 2990 * HOUR)


@pytest.fixture(scope="module")
def minutes() -> pd.DataFrame:
    return candles(5000, str(IN_PROGRESS - 4000 * BAR), "5min")


@pytest.fixture
def server(hours: pd.DataFrame, minutes: pd.DataFrame) -> Iterator[FuturesServer]:
    with futures_server(one_market(), {(BTC, "1h"): hours, (BTC, "5m"): minutes}) as running:
        yield running


@pytest.fixture
def clock(server: FuturesServer) -> Clock:
    return Clock(server.account)


@pytest.fixture
def slept() -> list[float]:
    return []


@pytest.fixture
def market(server: FuturesServer, clock: Clock, slept: list[float]) -> Market:
    backoff = Backoff(slept.append, np.random.default_rng(0), attempts=3, longest=5.0)
    return BinanceMarket(server.redirect(connect()), clock, max_gap_bars=24, backoff=backoff)


def serve(server: FuturesServer, timeframe: str, frame: pd.DataFrame) -> None:
    """Let other candles be there from now on."""
    server._klines.candles[BTC, timeframe] = frame


def begun(server: FuturesServer) -> list[pd.Timestamp]:
    """Where each request for candles began, since it was last asked."""
    asked = [pd.Timestamp(int(q["startTime"]), unit="ms", tz="UTC") for q in server.asked(KLINES)]
    server.requests.clear()
    return asked


# Closed candles


def test_the_last_closed_candles_are_shown_exactly_as_they_are(
    market: Market, server: FuturesServer, hours: pd.DataFrame
) -> None:
    same(market.closed(BTC, "1h", 300), hours.loc[: IN_PROGRESS - HOUR].iloc[-300:])
    assert len(begun(server)) == 1


def test_the_candle_in_progress_is_never_shown_until_it_has_closed(
    market: Market, clock: Clock
) -> None:
    assert market.closed(BTC, "1h", 3).index[-1] == IN_PROGRESS - HOUR
    clock.now = (IN_PROGRESS + HOUR).to_pydatetime() - timedelta(milliseconds=1)
    assert market.closed(BTC, "1h", 3).index[-1] == IN_PROGRESS - HOUR
    clock.now += timedelta(milliseconds=1)
    assert market.closed(BTC, "1h", 3).index[-1] == IN_PROGRESS


def test_a_clock_that_was_set_back_does_not_show_the_future(market: Market, clock: Clock) -> None:
    market.closed(BTC, "1h", 3)
    clock.forward(hours=-1)
    assert market.closed(BTC, "1h", 2).index[-1] == IN_PROGRESS - 2 * HOUR


def test_more_than_a_page_of_candles_is_read_in_pages(
    market: Market, server: FuturesServer, hours: pd.DataFrame
) -> None:
    same(market.closed(BTC, "1h", 2500), hours.loc[: IN_PROGRESS - HOUR].iloc[-2500:])
    assert len(begun(server)) == 3


def test_within_a_bar_nothing_is_asked_twice(
    market: Market, clock: Clock, server: FuturesServer
) -> None:
    market.closed(BTC, "1h", 300)
    begun(server)
    clock.forward(minutes=55)
    market.closed(BTC, "1h", 300)
    market.closed(BTC, "1h", 12)
    assert server.requests == []


def test_at_the_next_bar_no_more_is_asked_than_what_is_new_and_a_few_before(
    market: Market, clock: Clock, server: FuturesServer, hours: pd.DataFrame
) -> None:
    market.closed(BTC, "1h", 300)
    begun(server)
    clock.forward(hours=2)
    same(market.closed(BTC, "1h", 300), hours.loc[: IN_PROGRESS + HOUR].iloc[-300:])
    assert begun(server) == [IN_PROGRESS - 3 * HOUR]


def test_a_revision_of_a_candle_that_was_shown_is_shown(
    market: Market, clock: Clock, server: FuturesServer, hours: pd.DataFrame
) -> None:
    shown = market.closed(BTC, "1h", 5)
    revised = hours.copy()
    revised.loc[IN_PROGRESS - HOUR, "volume"] += 1
    serve(server, "1h", revised)
    clock.forward(hours=1)
    again = market.closed(BTC, "1h", 6)
    changed = (again.loc[shown.index] != shown).any(axis=1)
    assert list(shown.index[changed]) == [IN_PROGRESS - HOUR]


def test_a_candle_that_comes_in_late_is_asked_for_until_it_is_there(
    market: Market, clock: Clock, server: FuturesServer, hours: pd.DataFrame
) -> None:
    newest = IN_PROGRESS - HOUR
    serve(server, "1h", hours.drop(newest))
    assert market.closed(BTC, "1h", 5).index[-1] == newest - HOUR
    serve(server, "1h", hours)
    clock.forward(minutes=5)
    assert market.closed(BTC, "1h", 5).index[-1] == newest


def test_behind_a_gap_there_are_as_many_candles_as_without_one(
    market: Market, server: FuturesServer, clock: Clock, hours: pd.DataFrame
) -> None:
    held = hours.drop(hours.loc[:IN_PROGRESS].index[-20:-10])
    serve(server, "1h", held)
    same(market.closed(BTC, "1h", 300), held.loc[: IN_PROGRESS - HOUR].iloc[-300:])
    begun(server)
    clock.forward(hours=1)
    same(market.closed(BTC, "1h", 300), held.loc[:IN_PROGRESS].iloc[-300:])
    assert len(begun(server)) == 1


def test_an_asset_that_is_younger_has_fewer_candles_and_is_not_asked_for_more_every_time(
    market: Market, server: FuturesServer, clock: Clock, hours: pd.DataFrame
) -> None:
    young = hours.loc[IN_PROGRESS - 100 * HOUR :]
    serve(server, "1h", young)
    same(market.closed(BTC, "1h", 300), young.loc[: IN_PROGRESS - HOUR])
    begun(server)
    clock.forward(hours=1)
    assert len(market.closed(BTC, "1h", 300)) == 101
    assert len(begun(server)) == 1


def test_a_gap_that_is_too_long_is_an_error_where_it_is_seen_and_only_there(
    market: Market, server: FuturesServer, hours: pd.DataFrame
) -> None:
    serve(server, "1h", hours.drop(hours.loc[:IN_PROGRESS].index[-40:-10]))
    with pytest.raises(DataError, match="gap of 30 bars"):
        market.closed(BTC, "1h", 300)
    assert len(market.closed(BTC, "1h", 9)) == 9


def test_a_malformed_candle_is_an_error(
    market: Market, server: FuturesServer, hours: pd.DataFrame, minutes: pd.DataFrame
) -> None:
    for timeframe, frame in (("1h", hours), ("5m", minutes)):
        broken = frame.copy()
        broken.loc[IN_PROGRESS - 2 * HOUR, "low"] = broken["high"].max() + 1
        serve(server, timeframe, broken)
    with pytest.raises(DataError, match="2024-03-10 08:00"):
        market.closed(BTC, "1h", 5)
    with pytest.raises(DataError, match="2024-03-10 08:00"):
        market.since(BTC, NOW - timedelta(hours=5))


def test_no_candles_at_all_are_an_error(
    market: Market, server: FuturesServer, hours: pd.DataFrame
) -> None:
    serve(server, "1h", hours.iloc[:0])
    with pytest.raises(DataError, match="no closed 1h candles of BTCUSDT"):
        market.closed(BTC, "1h", 5)


def test_an_unknown_timeframe_is_an_error_before_anything_is_asked(
    market: Market, server: FuturesServer
) -> None:
    with pytest.raises(ConfigError, match="7h"):
        market.closed(BTC, "7h", 5)
    assert server.requests == []


# The finest candles


def test_the_finest_candles_begin_with_the_one_that_was_not_closed(
    market: Market, clock: Clock, minutes: pd.DataFrame
) -> None:
    moment = datetime(2024, 3, 10, 9, 47, 30, tzinfo=UTC)
    found = market.since(BTC, moment)
    assert [candle.open_time.minute for candle in found] == [45, 50, 55]
    assert found[0].open_time.tzinfo is not None
    last, row = found[-1], minutes.loc[IN_PROGRESS - BAR]
    assert last[2:] == (row.open, row.high, row.low, row.close)
    assert (last.open_time, last.close_time) == (IN_PROGRESS - BAR, IN_PROGRESS)
    assert market.since(BTC, datetime(2024, 3, 10, 9, 45, tzinfo=UTC)) == found


def test_where_nothing_closed_since_nothing_is_asked(market: Market, server: FuturesServer) -> None:
    assert market.since(BTC, NOW - timedelta(minutes=2)) == []
    assert server.requests == []


def test_after_an_outage_all_candles_since_are_there(market: Market) -> None:
    found = market.since(BTC, NOW - timedelta(days=10))
    assert len(found) == 10 * 288
    assert all(a.close_time == b.open_time for a, b in pairwise(found))


def test_a_gap_of_any_length_does_not_keep_stops_from_being_watched(
    market: Market, server: FuturesServer, minutes: pd.DataFrame
) -> None:
    held = minutes.drop(minutes.loc[:IN_PROGRESS].index[-300:-10])
    serve(server, "5m", held)
    assert len(market.since(BTC, NOW - timedelta(days=1, hours=12))) == 432 - 290


# The price


def test_the_price_is_the_last_with_all_its_digits(market: Market, server: FuturesServer) -> None:
    server.account.prices[BTC] = Decimal("51234.50")
    assert str(market.price(BTC)) == "51234.50"


def test_a_tick_asks_for_the_price_once(
    market: Market, clock: Clock, server: FuturesServer
) -> None:
    market.price(BTC)
    clock.forward(seconds=1)
    market.price(BTC)
    assert len(server.asked(PRICE)) == 1
    server.account.prices[BTC] = Decimal(51000)
    clock.forward(seconds=1)
    assert market.price(BTC) == 51000


def test_what_is_asked_is_public_and_unsigned(market: Market, server: FuturesServer) -> None:
    market.closed(BTC, "1h", 3)
    market.since(BTC, NOW - timedelta(hours=1))
    market.price(BTC)
    assert {request.endpoint for request in server.requests} == {
        "GET /fapi/v1/exchangeInfo", KLINES, PRICE,
    }  # fmt: skip
    assert not [request for request in server.requests if "signature" in request.query]
    assert {request.key for request in server.requests} == {None}
    assert not market.synthetic


# What goes wrong


def test_an_asset_that_binance_does_not_list_is_a_config_error(market: Market) -> None:
    for attempt in (
        lambda: market.closed("NOPEUSDT", "1h", 3),
        lambda: market.since("NOPEUSDT", NOW - timedelta(hours=1)),
        lambda: market.price("NOPEUSDT"),
    ):
        with pytest.raises(ConfigError, match="NOPEUSDT"):
            attempt()


@pytest.mark.parametrize("endpoint", [KLINES, PRICE])
def test_a_failure_is_tried_again_and_then_told(
    endpoint: str, market: Market, server: FuturesServer, slept: list[float]
) -> None:
    def ask() -> object:
        return market.closed(BTC, "1h", 3) if endpoint == KLINES else market.price(BTC)

    server.fail(endpoint, *[BAD_GATEWAY] * 3)
    with pytest.raises(RetryError, match=BTC):
        ask()
    assert len(server.asked(endpoint)) == 3
    server.fail(endpoint, *[BAD_GATEWAY] * 2)
    assert ask() is not None
    assert sum(slept) < 10, "a tick waits no longer"


@pytest.mark.parametrize("endpoint", [KLINES, PRICE])
def test_a_ban_is_not_waited_for(
    endpoint: str, market: Market, server: FuturesServer, slept: list[float]
) -> None:
    market.closed(BTC, "1h", 3)
    server.fail(endpoint, BANNED)
    with pytest.raises(RetryError):
        market.closed(BTC, "1h", 300) if endpoint == KLINES else market.price(BTC)
    assert slept == []


def test_a_restricted_place_is_an_error_to_fix(market: Market, server: FuturesServer) -> None:
    server.fail(PRICE, RESTRICTED)
    with pytest.raises(FixError, match="HTTP 451"):
        market.price(BTC)


def test_a_web_page_in_the_way_is_an_error_to_retry(market: Market, server: FuturesServer) -> None:
    server.fail(PRICE, *[WEB_PAGE] * 3)
    with pytest.raises(RetryError, match="proxy"):
        market.price(BTC)


def test_what_failed_leaves_what_was_known(
    market: Market, clock: Clock, server: FuturesServer, hours: pd.DataFrame
) -> None:
    market.closed(BTC, "1h", 300)
    clock.forward(hours=1)
    server.fail(KLINES, *[BAD_GATEWAY] * 3)
    with pytest.raises(RetryError):
        market.closed(BTC, "1h", 300)
    same(market.closed(BTC, "1h", 300), hours.loc[:IN_PROGRESS].iloc[-300:])
