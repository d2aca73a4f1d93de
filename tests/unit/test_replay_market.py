"""Recorded candles are revealed as the clock goes on, and nothing before its time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pandas as pd
import pytest

from store.market import Candle, ReplayMarket
from strategy.errors import ConfigError, DataError
from tests.candle_frames import candles, same
from tests.manual_clock import ManualClock

BTC = "BTCUSDT"
START = datetime(2024, 1, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def hours() -> pd.DataFrame:
    return candles(100)


@pytest.fixture
def minutes() -> pd.DataFrame:
    return candles(300, freq="5min", seed=1)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START + 10 * HOUR + timedelta(minutes=7))


@pytest.fixture
def market(hours: pd.DataFrame, minutes: pd.DataFrame, clock: ManualClock) -> ReplayMarket:
    return ReplayMarket({(BTC, "1h"): hours, (BTC, "5m"): minutes}, clock)


def test_the_last_closed_candles_are_shown(market: ReplayMarket, hours: pd.DataFrame) -> None:
    same(market.closed(BTC, "1h", 3), hours.iloc[7:10])
    for more in (50, 500):
        same(market.closed(BTC, "1h", more), hours.iloc[:10])


def test_a_candle_is_shown_from_its_close_on(market: ReplayMarket, clock: ManualClock) -> None:
    clock.now = START + 11 * HOUR - timedelta(microseconds=1)
    assert market.closed(BTC, "1h", 1).index[0] == START + 9 * HOUR
    clock.now += timedelta(microseconds=1)
    assert market.closed(BTC, "1h", 1).index[0] == START + 10 * HOUR


def test_before_the_first_close_there_are_no_candles(
    market: ReplayMarket, clock: ManualClock
) -> None:
    clock.now = START + timedelta(minutes=4)
    assert market.closed(BTC, "1h", 3).empty
    assert market.since(BTC, START - HOUR) == []


def test_the_finest_candles_since_a_moment_are_those_that_had_not_closed(
    market: ReplayMarket, minutes: pd.DataFrame
) -> None:
    found = market.since(BTC, START + 9 * HOUR + timedelta(minutes=53))
    opens = [START + 9 * HOUR + timedelta(minutes=minute) for minute in (50, 55, 60)]
    assert [candle.open_time for candle in found] == opens
    assert found[-1] == Candle(
        opens[-1],
        opens[-1] + timedelta(minutes=5),
        *minutes.loc[opens[-1], ["open", "high", "low", "close"]],
    )
    assert market.since(BTC, opens[0]) == found
    assert market.since(BTC, opens[1]) == found[1:]
    assert market.since(BTC, opens[-1] + timedelta(minutes=5)) == []


def test_the_price_is_the_open_of_the_finest_candle_in_progress(
    market: ReplayMarket, minutes: pd.DataFrame, clock: ManualClock
) -> None:
    opens = minutes["open"]
    assert market.price(BTC) == Decimal(
        repr(float(opens[START + 10 * HOUR + timedelta(minutes=5)]))
    )
    clock.forward(minutes=3)
    assert market.price(BTC) == Decimal(
        repr(float(opens[START + 10 * HOUR + timedelta(minutes=10)]))
    )


def test_where_candles_are_missing_the_price_is_the_last_close(
    hours: pd.DataFrame, clock: ManualClock
) -> None:
    held = hours.drop(hours.index[[9, 10]])
    market = ReplayMarket({(BTC, "1h"): held}, clock)
    assert market.price(BTC) == Decimal(repr(float(hours["close"].iloc[8])))
    assert market.since(BTC, START + 8.5 * HOUR) == market.since(BTC, START + 8 * HOUR)
    clock.now = START + 500 * HOUR
    assert market.price(BTC) == Decimal(repr(float(hours["close"].iloc[-1])))


def test_before_the_first_candle_there_is_no_price(
    market: ReplayMarket, clock: ManualClock
) -> None:
    clock.now = START - timedelta(seconds=1)
    with pytest.raises(DataError, match="no price"):
        market.price(BTC)


def test_the_finest_candles_are_of_the_asset_itself(
    hours: pd.DataFrame, minutes: pd.DataFrame, clock: ManualClock
) -> None:
    market = ReplayMarket({(BTC, "1h"): hours, ("ETHUSDT", "5m"): minutes}, clock)
    assert len(market.since(BTC, START)) == 10
    assert len(market.since("ETHUSDT", START)) == 121


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_candles_in_any_unit_of_time_are_the_same(
    unit: str, hours: pd.DataFrame, clock: ManualClock
) -> None:
    frame = hours.set_axis(hours.index.as_unit(unit))
    market, other = (ReplayMarket({(BTC, "1h"): each}, clock) for each in (frame, hours))
    assert market.since(BTC, START) == other.since(BTC, START)
    assert market.price(BTC) == other.price(BTC)


def test_moments_may_be_told_in_any_zone(market: ReplayMarket, clock: ManualClock) -> None:
    here, there = clock.now, clock.now.astimezone(timezone(timedelta(hours=-3)))
    moment = here - HOUR
    shown = market.since(BTC, moment), market.price(BTC), len(market.closed(BTC, "1h", 99))
    clock.now = there
    moment = moment.astimezone(there.tzinfo)
    assert shown == (
        market.since(BTC, moment), market.price(BTC), len(market.closed(BTC, "1h", 99)),
    )  # fmt: skip


def test_what_is_not_replayed_is_an_error_that_names_what_is(market: ReplayMarket) -> None:
    with pytest.raises(ConfigError, match="BTCUSDT 4h are replayed; there are BTCUSDT 1h"):
        market.closed(BTC, "4h", 1)
    for attempt in (lambda: market.price("X"), lambda: market.since("X", START)):
        with pytest.raises(ConfigError, match="no candles of X"):
            attempt()


def test_it_says_whether_its_candles_are_generated(clock: ManualClock) -> None:
    assert not ReplayMarket({}, clock).synthetic
    assert ReplayMarket({}, clock, synthetic=True).synthetic
