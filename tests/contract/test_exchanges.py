"""What holds for every exchange, whether the money is real or not.

The same prices are shown to both. A step of the market takes five minutes: the price jumps, or a
candle passes, whose extremes are reached without a gap.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import pandas as pd
import pytest

from rehearsal.binance.account import Fill
from rehearsal.binance.futures import FuturesServer
from rehearsal.binance.loopback import futures_server, one_market
from store.backoff import Backoff
from store.binance_futures import BinanceFutures
from store.exchange import (
    Balance,
    DuplicateOrderError,
    Exchange,
    Income,
    InsufficientMarginError,
    NothingToReduceError,
    NotionalTooSmallError,
    OrderState,
    OrderStatus,
    RefusedError,
    StopOrder,
    StopPassedError,
    StopStatus,
)
from store.market import ReplayMarket
from store.paper_exchange import PaperExchange
from store.sqlite_state import SqliteState
from strategy.config import Costs
from strategy.errors import ConfigError
from tests.manual_clock import ManualClock

BTC = "BTCUSDT"
D = Decimal
START = datetime(2024, 1, 1, tzinfo=UTC)
STEP = timedelta(minutes=5)
FEE = D("0.0005")
QUANTITY = D("0.02")


class World(Protocol):
    """An exchange with 10,000 USD at a price of 50,000, and the market that it is in."""

    exchange: Exchange

    def now(self) -> datetime: ...

    def jump(self, price: str) -> None:
        """The price is another one."""
        ...

    def candle(self, open_: str, high: str, low: str, close: str) -> None:
        """The price jumps to the open, then goes through every price between the extremes."""
        ...


class PaperWorld:
    """Virtual money; its fee and slippage together are the other's fee."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock(START)
        self.candles = [[50_000.0] * 4]  # the last one is in progress: its open alone is shown
        costs = Costs(fee_per_side=0.0004, slippage_per_side=0.0001, funding_per_8h=0.0001)
        state = SqliteState(folder / "state.db", self.clock)
        market = ReplayMarket({}, self.clock)
        self.exchange = PaperExchange(state, "a", market, costs, D(10_000), self.clock)
        self._show()

    def now(self) -> datetime:
        return self.clock.now

    def jump(self, price: str) -> None:
        self._begin(float(price))

    def candle(self, open_: str, high: str, low: str, close: str) -> None:
        self._begin(float(open_))
        self.candles[-1] = [float(open_), float(high), float(low), float(close)]
        self._begin(float(close))

    def _begin(self, price: float) -> None:
        self.candles.append([price] * 4)
        self.clock.now += STEP
        self._show()

    def _show(self) -> None:
        index = pd.date_range(START, periods=len(self.candles), freq=STEP, name="timestamp")
        frame = pd.DataFrame(self.candles, index, ["open", "high", "low", "close"])
        self.exchange.market = ReplayMarket({(BTC, "5m"): frame}, self.clock)


class BinanceWorld:
    """Real orders, at a server that stands in for Binance."""

    def __init__(self, server: FuturesServer) -> None:
        self.account = server.account
        self.account.funding_rate = D("0.0001")
        impatient = Backoff(lambda seconds: None, np.random.default_rng(0), attempts=3)
        self.exchange = BinanceFutures(server.client(), impatient)

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.account.now / 1000, UTC)

    def jump(self, price: str) -> None:
        self._pass_time()
        self.account.jump(BTC, D(price))

    def candle(self, open_: str, high: str, low: str, close: str) -> None:
        self._pass_time()
        self.account.candle(BTC, D(open_), D(high), D(low), D(close))
        self._pass_time()

    def _pass_time(self) -> None:
        self.account.advance(self.account.now + STEP // timedelta(milliseconds=1))


@pytest.fixture
def binance() -> Iterator[BinanceWorld]:
    with futures_server(one_market()) as server:
        yield BinanceWorld(server)


@pytest.fixture(params=["paper", "binance"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    if request.param == "paper":
        return PaperWorld(tmp_path)
    return request.getfixturevalue("binance")


@pytest.fixture
def exchange(world: World) -> Exchange:
    world.exchange.prepare(BTC, 5)
    return world.exchange


class Sides(NamedTuple):
    """A position's side, and prices seen from it: ``+`` is where it wins."""

    side: int

    def at(self, distance: int) -> str:
        return str(50_000 + self.side * distance)

    def candle(self, open_: int, best: int, worst: int, close: int) -> tuple[str, str, str, str]:
        extremes = sorted((self.at(best), self.at(worst)), reverse=True)
        return self.at(open_), extremes[0], extremes[1], self.at(close)


@pytest.fixture(params=[1, -1], ids=["long", "short"])
def seen(request: pytest.FixtureRequest) -> Sides:
    return Sides(request.param)


def enter(exchange: Exchange, side: int = 1, quantity: Decimal = QUANTITY) -> OrderState:
    return exchange.market_order("entry", BTC, side, quantity, reduce_only=False)


def leave(exchange: Exchange, side: int = 1, quantity: Decimal = QUANTITY) -> OrderState:
    return exchange.market_order("exit", BTC, -side, quantity, reduce_only=True)


def stop_at(
    exchange: Exchange, price: str, side: int = 1, name: str = "stop", quantity: Decimal = QUANTITY
) -> StopOrder:
    """Protect a position of this side."""
    return exchange.place_stop(name, BTC, -side, quantity, D(price))


def held(exchange: Exchange) -> Decimal:
    """What is held, below 0 short."""
    position = exchange.position(BTC)
    return position.side * position.quantity if position else D(0)


def fill_of(exchange: Exchange, name: str = "stop") -> OrderState:
    """What a stop turned into."""
    stop = exchange.stop(BTC, name)
    assert stop is not None and stop.status is StopStatus.TRIGGERED
    assert stop.order is not None
    return stop.order


# The market


def test_it_tells_its_time_and_the_last_price(world: World) -> None:
    world.jump("51234.5")
    assert world.exchange.server_time() == world.now()
    assert world.exchange.last_price(BTC) == D("51234.5")


def test_a_symbol_that_is_not_traded_is_an_error(exchange: Exchange) -> None:
    with pytest.raises(ConfigError):
        exchange.last_price("NOPEUSDT")
    with pytest.raises(ConfigError):
        exchange.market_order("a", "NOPEUSDT", 1, D(1), reduce_only=False)


def test_what_the_filters_round_to_is_taken(world: World, exchange: Exchange) -> None:
    filters = exchange.filters(BTC)
    quantity = filters.quantity(D("0.0212345678901"))
    assert quantity % filters.step_size == 0
    assert D("0.02") <= quantity <= D("0.0212345678901")
    assert enter(exchange, quantity=quantity).filled == quantity
    price = filters.stop_price(D("49012.3456789012345"), 1)
    assert price % filters.tick_size == 0
    assert D("49012.2") < price <= D("49012.3456789012345")
    stop = exchange.place_stop("stop", BTC, -1, quantity, price)
    assert (stop.stop_price, stop.quantity) == (price, quantity)


# Market orders


def test_a_market_order_opens_a_position_at_the_last_price(
    world: World, exchange: Exchange, seen: Sides
) -> None:
    order = enter(exchange, seen.side)
    assert (order.client_order_id, order.symbol, order.side) == ("entry", BTC, seen.side)
    assert (order.status, order.quantity, order.filled) == (
        OrderStatus.FILLED, QUANTITY, QUANTITY,
    )  # fmt: skip
    assert (order.average_price, order.time) == (D(50_000), world.now())
    position = exchange.position(BTC)
    assert position is not None and exchange.positions() == [position]
    assert (position.symbol, position.side, position.quantity) == (BTC, seen.side, QUANTITY)
    assert (position.entry_price, position.leverage, position.isolated) == (D(50_000), 5, True)


def test_without_an_order_there_is_no_position(exchange: Exchange) -> None:
    assert exchange.position(BTC) is None
    assert exchange.positions() == []


def test_another_order_adds_to_the_position_at_the_average_price(
    world: World, exchange: Exchange
) -> None:
    enter(exchange, quantity=D("0.01"))
    world.jump("53000")
    exchange.market_order("more", BTC, 1, D("0.02"), reduce_only=False)
    position = exchange.position(BTC)
    assert position is not None
    assert (position.quantity, position.entry_price) == (D("0.03"), D(52_000))


def test_a_reduce_only_order_reduces_and_closes(world: World, exchange: Exchange) -> None:
    enter(exchange)
    world.jump("51000")
    leave(exchange, quantity=D("0.005"))
    position = exchange.position(BTC)
    assert position is not None
    assert (position.quantity, position.entry_price) == (D("0.015"), D(50_000))
    exchange.market_order("rest", BTC, -1, D("0.015"), reduce_only=True)
    assert exchange.positions() == []


def test_a_reduce_only_order_never_opens(exchange: Exchange) -> None:
    enter(exchange)
    assert leave(exchange, quantity=D(1)).filled == QUANTITY
    assert exchange.positions() == []


@pytest.mark.parametrize("side", [1, -1])
def test_there_is_nothing_to_reduce_without_a_position_of_the_other_side(
    side: int, exchange: Exchange
) -> None:
    with pytest.raises(NothingToReduceError):
        leave(exchange, side)
    enter(exchange, side)
    with pytest.raises(NothingToReduceError):
        exchange.market_order("same-side", BTC, side, QUANTITY, reduce_only=True)
    assert held(exchange) == side * QUANTITY


def test_an_order_of_the_other_side_closes_and_opens_what_is_left_over(
    world: World, exchange: Exchange
) -> None:
    enter(exchange)
    world.jump("51000")
    order = exchange.market_order("turn", BTC, -1, D("0.05"), reduce_only=False)
    position = exchange.position(BTC)
    assert position is not None
    assert (position.side, position.quantity, position.entry_price) == (-1, D("0.03"), D(51_000))
    assert order.filled == D("0.05")
    fees = FEE * (1000 + 51_000 * D("0.05"))
    assert exchange.balance().total == 10_000 + 20 - fees


def test_an_order_that_is_worth_too_little_is_refused_unless_it_reduces(
    world: World, exchange: Exchange
) -> None:
    least = exchange.filters(BTC).min_quantity
    enter(exchange)
    world.jump("4000")
    with pytest.raises(NotionalTooSmallError):
        exchange.market_order("small", BTC, -1, least, reduce_only=False)
    exchange.market_order("reducing", BTC, -1, least, reduce_only=True)
    assert held(exchange) == QUANTITY - least


def test_an_order_that_the_free_balance_does_not_pay_for_is_refused(exchange: Exchange) -> None:
    with pytest.raises(InsufficientMarginError):
        enter(exchange, quantity=D("1.1"))  # 55,000 USD at a leverage of 5
    assert exchange.positions() == []
    enter(exchange, quantity=D("0.9"))
    with pytest.raises(InsufficientMarginError):
        exchange.market_order("more", BTC, 1, D("0.2"), reduce_only=False)
    assert held(exchange) == D("0.9")


def test_what_makes_a_position_smaller_needs_no_margin(exchange: Exchange) -> None:
    enter(exchange, quantity=D("0.9"))
    exchange.market_order("less", BTC, -1, D("0.5"), reduce_only=False)
    assert held(exchange) == D("0.4")


@pytest.mark.parametrize("quantity", ["0", "-0.02", "0.0200000001"])
def test_a_quantity_that_is_no_multiple_of_the_step_is_refused(
    quantity: str, exchange: Exchange
) -> None:
    with pytest.raises(RefusedError):
        enter(exchange, quantity=D(quantity))
    enter(exchange)
    with pytest.raises(RefusedError):
        leave(exchange, quantity=D(quantity))
    with pytest.raises(RefusedError):
        stop_at(exchange, "49000", quantity=D(quantity))
    assert held(exchange) == QUANTITY


@pytest.mark.parametrize("name", ["", "x" * 37, "a b"])
def test_an_id_that_no_order_can_have_is_refused(name: str, exchange: Exchange) -> None:
    enter(exchange)
    with pytest.raises(ConfigError, match="client order id"):
        exchange.market_order(name, BTC, 1, QUANTITY, reduce_only=False)
    with pytest.raises(ConfigError, match="client order id"):
        stop_at(exchange, "49000", name=name)


def test_an_order_can_be_looked_up_with_its_fee(world: World, exchange: Exchange) -> None:
    sent = enter(exchange)
    world.jump("51000")
    found = exchange.order(BTC, "entry")
    assert found is not None
    assert (found.status, found.filled, found.average_price, found.time) == (
        OrderStatus.FILLED, QUANTITY, D(50_000), sent.time,
    )  # fmt: skip
    assert found.fee == 1000 * FEE


def test_ids_that_nobody_used_are_none(exchange: Exchange) -> None:
    assert exchange.order(BTC, "unknown") is None
    assert exchange.stop(BTC, "unknown") is None
    enter(exchange)
    assert exchange.stop(BTC, "entry") is None
    stop_at(exchange, "49000")
    assert exchange.order(BTC, "stop") is None


def test_the_id_of_an_order_that_works_is_refused(binance: BinanceWorld) -> None:
    """Virtual orders are filled whole, at once: none works on."""
    binance.account.fills.append(Fill(D("0.5"), rest_waits=True))
    assert enter(binance.exchange).status is OrderStatus.PARTIALLY_FILLED
    with pytest.raises(DuplicateOrderError):
        enter(binance.exchange)
    assert held(binance.exchange) == D("0.01")


def test_the_id_of_an_order_that_was_filled_is_refused(tmp_path: Path) -> None:
    """Where that costs nothing; Binance would fill it again."""
    exchange = PaperWorld(tmp_path).exchange
    enter(exchange)
    with pytest.raises(DuplicateOrderError):
        enter(exchange)
    assert held(exchange) == QUANTITY


# Stops


def test_a_stop_rests_and_is_listed(world: World, exchange: Exchange, seen: Sides) -> None:
    enter(exchange, seen.side)
    stop = stop_at(exchange, seen.at(-1000), seen.side)
    assert (stop.client_order_id, stop.symbol, stop.side) == ("stop", BTC, -seen.side)
    assert (stop.quantity, stop.stop_price) == (QUANTITY, D(seen.at(-1000)))
    assert (stop.reduce_only, stop.status, stop.order) == (True, StopStatus.WAITING, None)
    assert stop.time == world.now()
    assert exchange.stops(BTC) == [stop]
    assert exchange.stop(BTC, "stop") == stop
    assert exchange.stops("ETHUSDT") == []
    world.candle(*seen.candle(0, 500, -999, -500))
    assert exchange.stops(BTC) == [stop]
    assert held(exchange) == seen.side * QUANTITY


def test_a_stop_that_the_price_reaches_is_filled_at_its_own_price(
    world: World, exchange: Exchange, seen: Sides
) -> None:
    enter(exchange, seen.side)
    stop_at(exchange, seen.at(-1000), seen.side)
    world.candle(*seen.candle(-200, 100, -1000, 0))
    fill = fill_of(exchange)
    assert (fill.status, fill.filled, fill.side) == (OrderStatus.FILLED, QUANTITY, -seen.side)
    assert fill.average_price == D(seen.at(-1000))
    assert fill.fee == D(seen.at(-1000)) * QUANTITY * FEE
    assert exchange.positions() == [] and exchange.stops(BTC) == []
    fees = FEE * QUANTITY * (50_000 + D(seen.at(-1000)))
    assert exchange.balance() == Balance(9980 - fees, 9980 - fees)


def test_a_gap_through_a_stop_is_filled_at_the_open(
    world: World, exchange: Exchange, seen: Sides
) -> None:
    enter(exchange, seen.side)
    stop_at(exchange, seen.at(-1000), seen.side)
    world.candle(*seen.candle(-1500, -900, -2000, -950))
    assert fill_of(exchange).average_price == D(seen.at(-1500))


def test_the_price_of_this_moment_triggers_a_stop(world: World, exchange: Exchange) -> None:
    enter(exchange)
    stop_at(exchange, "49000")
    world.jump("48800")
    fill = fill_of(exchange)
    assert (fill.average_price, fill.time) == (D(48_800), world.now())
    assert exchange.positions() == []


def test_what_a_stop_turned_into_is_an_order_like_any_other(
    world: World, exchange: Exchange
) -> None:
    enter(exchange)
    stop_at(exchange, "49000", name="entry")  # stops have ids of their own
    world.jump("49000")
    fill = fill_of(exchange, "entry")
    entry = exchange.order(BTC, "entry")
    assert entry is not None and entry.side == 1
    assert fill.client_order_id != "entry"


@pytest.mark.parametrize("distance", [0, 1])
def test_a_stop_that_the_price_has_passed_is_refused(
    distance: int, exchange: Exchange, seen: Sides
) -> None:
    enter(exchange, seen.side)
    with pytest.raises(StopPassedError):
        stop_at(exchange, seen.at(distance), seen.side)
    assert exchange.stops(BTC) == []
    assert exchange.stop(BTC, "stop") is None
    stop_at(exchange, seen.at(-1), seen.side)


def test_a_stop_that_has_nothing_to_reduce_is_refused(exchange: Exchange) -> None:
    with pytest.raises(NothingToReduceError):
        stop_at(exchange, "49000")
    enter(exchange, side=-1)
    with pytest.raises(NothingToReduceError):
        stop_at(exchange, "49000")
    assert exchange.stops(BTC) == []


def test_the_id_of_a_stop_that_rests_is_refused(exchange: Exchange) -> None:
    enter(exchange)
    first = stop_at(exchange, "49000")
    with pytest.raises(DuplicateOrderError):
        stop_at(exchange, "48000")
    assert exchange.stops(BTC) == [first]


def test_a_resting_stop_is_cancelled_once(world: World, exchange: Exchange) -> None:
    enter(exchange)
    stop_at(exchange, "49000")
    world.jump("49500")
    cancelled = world.now()
    assert exchange.cancel_stop(BTC, "stop") is True
    assert exchange.cancel_stop(BTC, "stop") is False
    assert exchange.cancel_stop(BTC, "unknown") is False
    assert exchange.stops(BTC) == []
    world.candle("50000", "50000", "48000", "48000")
    stop = exchange.stop(BTC, "stop")
    assert stop is not None
    assert (stop.status, stop.order, stop.time) == (StopStatus.CANCELED, None, cancelled)
    assert held(exchange) == QUANTITY


def test_a_stop_that_was_triggered_is_not_cancelled(world: World, exchange: Exchange) -> None:
    enter(exchange)
    stop_at(exchange, "49000")
    world.jump("48900")
    assert exchange.cancel_stop(BTC, "stop") is False
    assert fill_of(exchange).filled == QUANTITY


def test_of_several_stops_the_tighter_one_is_triggered(
    world: World, exchange: Exchange, seen: Sides
) -> None:
    enter(exchange, seen.side)
    stop_at(exchange, seen.at(-1000), seen.side, "wide")
    stop_at(exchange, seen.at(-500), seen.side, "tight")
    assert {stop.client_order_id for stop in exchange.stops(BTC)} == {"wide", "tight"}
    world.candle(*seen.candle(0, 0, -700, -600))
    assert fill_of(exchange, "tight").average_price == D(seen.at(-500))
    assert [stop.client_order_id for stop in exchange.stops(BTC)] == ["wide"]
    assert exchange.positions() == []


def test_of_several_stops_that_are_reached_at_once_one_closes_and_none_opens(
    world: World, exchange: Exchange, seen: Sides
) -> None:
    enter(exchange, seen.side)
    stop_at(exchange, seen.at(-1000), seen.side, "wide")
    stop_at(exchange, seen.at(-500), seen.side, "tight")
    world.candle(*seen.candle(0, 0, -1200, -1100))
    assert fill_of(exchange, "tight").average_price == D(seen.at(-500))
    wide = exchange.stop(BTC, "wide")
    assert wide is not None and wide.order is None
    assert wide.status in (StopStatus.EXPIRED, StopStatus.REJECTED)
    assert exchange.positions() == [] and exchange.stops(BTC) == []


def test_stops_of_parts_close_their_parts(world: World, exchange: Exchange) -> None:
    enter(exchange)
    stop_at(exchange, "49500", name="half", quantity=D("0.01"))
    stop_at(exchange, "49000", name="rest", quantity=D("0.02"))
    world.candle("50000", "50000", "49200", "49200")
    assert held(exchange) == D("0.01")
    world.candle("49200", "49200", "48000", "48000")
    assert fill_of(exchange, "half").filled == D("0.01")
    assert fill_of(exchange, "rest").filled == D("0.01"), "of 0.02: no more was left"
    assert exchange.positions() == []


def test_a_stop_outlives_its_position_and_does_not_open_one(
    world: World, exchange: Exchange
) -> None:
    enter(exchange)
    stop_at(exchange, "49000")
    leave(exchange)
    assert [stop.client_order_id for stop in exchange.stops(BTC)] == ["stop"]
    world.jump("48900")
    stop = exchange.stop(BTC, "stop")
    assert stop is not None and stop.order is None
    assert stop.status in (StopStatus.EXPIRED, StopStatus.REJECTED)
    assert exchange.positions() == []


def test_a_stop_that_outlived_its_position_reduces_the_next(
    world: World, exchange: Exchange
) -> None:
    enter(exchange)
    stop_at(exchange, "49000")
    leave(exchange)
    exchange.market_order("again", BTC, 1, D("0.05"), reduce_only=False)
    world.jump("49000")
    assert fill_of(exchange).filled == QUANTITY
    assert held(exchange) == D("0.03")


def test_it_says_how_long_a_request_may_still_land(exchange: Exchange) -> None:
    assert timedelta(0) <= exchange.lands_within < timedelta(minutes=1)


# Money


def test_a_new_account_is_free_altogether(exchange: Exchange) -> None:
    assert exchange.balance() == Balance(D(10_000), D(10_000))
    assert exchange.balance().margin_in_use == 0


def test_equity_counts_open_profit_and_margin_is_not_free(
    world: World, exchange: Exchange, seen: Sides
) -> None:
    enter(exchange, seen.side)
    world.jump(seen.at(1000))
    fee = 1000 * FEE
    assert exchange.balance() == Balance(total=10_020 - fee, free=10_000 - fee - 200)
    position = exchange.position(BTC)
    assert position is not None and position.margin == 220
    world.jump(seen.at(-1000))
    assert exchange.balance() == Balance(total=9980 - fee, free=10_000 - fee - 200)


def test_the_liquidation_price_lies_on_the_losing_side(exchange: Exchange, seen: Sides) -> None:
    enter(exchange, seen.side)
    position = exchange.position(BTC)
    assert position is not None and position.liquidation_price is not None
    assert 0.19 < seen.side * (1 - position.liquidation_price / 50_000) < 0.21


def test_what_is_closed_is_realised_and_its_margin_is_free_again(
    world: World, exchange: Exchange
) -> None:
    enter(exchange)
    world.jump("51000")
    leave(exchange, quantity=D("0.005"))
    fees = FEE * (1000 + 255)
    assert exchange.balance() == Balance(total=10_020 - fees, free=10_005 - fees - 150)
    exchange.market_order("rest", BTC, -1, D("0.015"), reduce_only=True)
    fees += FEE * 765
    assert exchange.balance() == Balance(10_020 - fees, 10_020 - fees)


def test_leverage_decides_how_much_margin_is_held(world: World) -> None:
    exchange = world.exchange
    exchange.prepare(BTC, 10)
    exchange.prepare(BTC, 10)
    enter(exchange)
    assert exchange.balance().margin_in_use == 100
    position = exchange.position(BTC)
    assert position is not None and position.leverage == 10


# Fills


def test_fills_are_told_in_order_of_time_with_their_orders_and_fees(
    world: World, exchange: Exchange, seen: Sides
) -> None:
    entry, entered_at = enter(exchange, seen.side), world.now()
    world.jump(seen.at(1000))
    part, left_at = leave(exchange, seen.side, D("0.005")), world.now()
    stop_at(exchange, seen.at(500), seen.side, quantity=D("0.015"))
    world.candle(*seen.candle(900, 900, 400, 400))
    stopped = fill_of(exchange)
    told = exchange.fills(BTC, START)
    assert [(fill.order_number, fill.time) for fill in told] == [
        (entry.number, entered_at), (part.number, left_at), (stopped.number, stopped.time),
    ]  # fmt: skip
    assert [(fill.symbol, fill.side, fill.quantity, fill.price, fill.fee) for fill in told] == [
        (BTC, side, quantity, price, quantity * price * FEE)
        for side, quantity, price in (
            (seen.side, QUANTITY, D(50_000)),
            (-seen.side, D("0.005"), D(seen.at(1000))),
            (-seen.side, D("0.015"), D(seen.at(500))),
        )
    ]
    assert len({fill.order_number for fill in told}) == 3
    profit = sum((-fill.side * fill.quantity * fill.price - (fill.fee or 0) for fill in told), D(0))
    assert exchange.balance().total == 10_000 + profit


def test_fills_begin_with_the_moment_that_is_asked_for(world: World, exchange: Exchange) -> None:
    enter(exchange)
    world.jump("51000")
    leave(exchange)
    moment = world.now()
    assert [fill.side for fill in exchange.fills(BTC, moment)] == [-1]
    assert exchange.fills(BTC, moment + timedelta(microseconds=1)) == []
    assert exchange.fills("ETHUSDT", START) == []


def test_the_fills_of_an_order_that_was_filled_in_parts_have_its_number(
    binance: BinanceWorld,
) -> None:
    """Virtual orders are filled whole."""
    binance.account.fills.append(Fill(D("0.5"), rest_waits=True))
    entry = enter(binance.exchange)
    binance.jump("50100")
    told = binance.exchange.fills(BTC, START)
    assert [(fill.order_number, fill.quantity, fill.price) for fill in told] == [
        (entry.number, D("0.01"), D(50_000)),
        (entry.number, D("0.01"), D(50_100)),
    ]


def test_what_a_person_has_traded_is_among_the_fills(binance: BinanceWorld) -> None:
    """Nobody can trade virtual money by hand."""
    enter(binance.exchange)
    binance.account.place(
        {"symbol": BTC, "side": "SELL", "type": "MARKET", "quantity": "0.02",
         "reduceOnly": "true", "newClientOrderId": "web_1"}
    )  # fmt: skip
    entry, closing = binance.exchange.fills(BTC, START)
    assert (closing.side, closing.quantity) == (-1, QUANTITY)
    assert closing.order_number != entry.order_number


def wait_until(world: World, moment: datetime) -> None:
    """For virtual money the candle that begins with the funding time must have closed."""
    while world.now() < moment:
        world.jump("50000")


def test_a_long_position_pays_funding_every_eight_hours(world: World, exchange: Exchange) -> None:
    enter(exchange)
    wait_until(world, START + timedelta(hours=16) + STEP)
    told = exchange.income(START)
    assert [(row.kind, row.symbol, row.amount, row.time) for row in told] == [
        ("funding", BTC, D("-0.1"), START + timedelta(hours=8)),
        ("funding", BTC, D("-0.1"), START + timedelta(hours=16)),
    ]
    assert len({row.id for row in told}) == 2
    assert exchange.income(START) == told
    assert exchange.income(START + timedelta(hours=16)) == told[1:]
    assert exchange.income(START + timedelta(hours=16, seconds=1)) == []
    assert exchange.balance().total == 10_000 - 1000 * FEE - D("0.2")


def test_what_is_not_held_pays_no_funding(world: World, exchange: Exchange) -> None:
    enter(exchange)
    wait_until(world, START + timedelta(hours=8) - STEP)
    leave(exchange)
    wait_until(world, START + timedelta(hours=8) + STEP)
    assert exchange.income(START) == []


def test_transfers_are_income(binance: BinanceWorld) -> None:
    """Nobody can bring virtual money in or take it out: its account knows funding alone."""
    binance.account.transfer(D(500))
    binance.account.transfer(D(-200))
    told = binance.exchange.income(START)
    assert [(row.kind, row.symbol, row.amount) for row in told] == [
        ("transfer", None, D(500)),
        ("transfer", None, D(-200)),
    ]
    assert isinstance(told[0], Income)
    assert binance.exchange.balance() == Balance(D(10_300), D(10_300))
