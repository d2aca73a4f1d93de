"""Virtual money is neither made nor lost, whatever is ordered and however often it is looked at."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from store.exchange import OrderState, RefusedError, StopStatus
from store.market import ReplayMarket
from store.paper_exchange import PaperExchange
from strategy.config import Costs
from tests.candle_frames import candles
from tests.manual_clock import ManualClock
from tests.memory_state import MemoryState

SYMBOLS = ("AUSDT", "BUSDT")
START = datetime(2024, 1, 30, 5, tzinfo=UTC)
CAPITAL = Decimal(10_000)
COSTS = Costs(fee_per_side=0.0005, slippage_per_side=0.0001, funding_per_8h=0.001)
NEARLY = Decimal("1e-15")


@dataclass(frozen=True)
class Step:
    """Wait, look at the account if so wished, then ask for something."""

    wait: timedelta
    looks: bool
    anew: bool
    """Whether it is another process that asks."""
    action: str
    symbol: str
    side: int
    size: Decimal
    distance: float
    """Of a stop from the price, a fraction."""


steps = st.builds(
    Step,
    wait=st.integers(0, 30).map(lambda fives: timedelta(minutes=5 * fives)),
    looks=st.booleans(),
    anew=st.booleans(),
    action=st.sampled_from(["order", "order", "reduce", "stop", "stop", "cancel", "leverage"]),
    symbol=st.sampled_from(SYMBOLS),
    side=st.sampled_from([1, -1]),
    size=st.integers(1, 20_000).map(lambda units: units * Decimal("0.001")),
    distance=st.floats(0.0, 0.02),
)


class World:
    """An account, driven by steps."""

    def __init__(self, seed: int, anew: bool = True) -> None:
        self.clock = ManualClock(START)
        # Two symbols with candles of different lengths, both with gaps.
        fine, coarse = (
            candles(900, str(START), "5min", seed),
            candles(80, str(START), "h", seed + 1),
        )
        gaps = np.random.default_rng(seed).random(900) < 0.02
        frames: dict[tuple[str, str], pd.DataFrame] = {
            (SYMBOLS[0], "5m"): fine[~gaps | (np.arange(900) == 0)],
            (SYMBOLS[1], "1h"): coarse.drop(coarse.index[[7, 8, 30]]),
        }
        self.market = ReplayMarket(frames, self.clock)
        self.state = MemoryState()
        self.anew = anew
        self.exchange = self._process()
        self.ids: dict[str, str] = {}
        self.stop_ids: dict[str, str] = {}

    def _process(self) -> PaperExchange:
        return PaperExchange(self.state, "a", self.market, COSTS, CAPITAL, self.clock)

    def take(self, number: int, step: Step) -> None:
        self.clock.now += step.wait
        if step.anew and self.anew:
            self.exchange = self._process()
        if step.looks:
            self.exchange.balance()
        try:
            self._ask(f"{step.action}-{number}", step)
        except RefusedError:
            return

    def _ask(self, name: str, step: Step) -> None:
        symbol, side = step.symbol, step.side
        if step.action == "leverage":
            self.exchange.prepare(symbol, int(step.size) + 1)
        elif step.action == "cancel":
            for stop in self.exchange.stops(symbol)[:1]:
                self.exchange.cancel_stop(symbol, stop.client_order_id)
        elif step.action == "stop":
            price = float(self.market.price(symbol)) * (1 + side * step.distance)
            stop_price = Decimal(repr(price))
            self.exchange.place_stop(name, symbol, side, step.size, stop_price)
            self.stop_ids[name] = symbol
        else:
            before = self._held(symbol)
            reduce_only = step.action == "reduce"
            self.exchange.market_order(name, symbol, side, step.size, reduce_only=reduce_only)
            self.ids[name] = symbol
            after = self._held(symbol)
            assert not reduce_only or (before * after >= 0 and abs(after) < abs(before))

    def _held(self, symbol: str) -> Decimal:
        position = self.exchange.position(symbol)
        return position.side * position.quantity if position else Decimal(0)

    def fills(self) -> list[OrderState]:
        orders = [self.exchange.order(symbol, name) for name, symbol in self.ids.items()]
        for name, symbol in self.stop_ids.items():
            stop = self.exchange.stop(symbol, name)
            if stop is not None and stop.status is StopStatus.TRIGGERED:
                orders.append(stop.order)
        # Less when: a price that is past a stop is seen when somebody looks.
        return [replace(order, time=START) for order in orders if order is not None]

    def resting(self, symbol: str) -> set[str]:
        return {stop.client_order_id for stop in self.exchange.stops(symbol)}

    def check_money(self) -> None:
        fills = self.fills()
        assert len(fills) >= len(self.ids)
        equity = CAPITAL + sum(income.amount for income in self.exchange.income(START))
        for symbol in SYMBOLS:
            own = [fill for fill in fills if fill.symbol == symbol]
            amount = sum((fill.side * fill.filled for fill in own), Decimal(0))
            assert amount == self._held(symbol), "fills and position agree"
            equity -= sum((f.side * f.filled * (f.average_price or 0) for f in own), Decimal(0))
            equity -= sum((fill.fee or 0 for fill in own), Decimal(0))
            equity += amount * self.market.price(symbol)
        balance = self.exchange.balance()
        assert abs(balance.total - equity) < NEARLY
        margins = sum((position.margin for position in self.exchange.positions()), Decimal(0))
        assert abs(balance.margin_in_use - margins) < NEARLY


@given(plan=st.lists(steps, max_size=25), seed=st.integers(0, 1000))
def test_equity_is_capital_and_what_fills_fees_and_funding_made_of_it(
    plan: list[Step], seed: int
) -> None:
    world = World(seed)
    for number, step in enumerate(plan):
        world.take(number, step)
        world.check_money()


@given(plan=st.lists(steps, max_size=25), seed=st.integers(0, 1000))
def test_looking_at_an_account_changes_nothing(plan: list[Step], seed: int) -> None:
    watched, alone = World(seed), World(seed, anew=False)
    for number, step in enumerate(plan):
        for _ in range(step.wait // timedelta(minutes=5)):
            watched.clock.forward(minutes=5)
            watched.exchange.balance()
        watched.clock.now -= step.wait
        watched.take(number, step)
        alone.take(number, step)
    assert watched.fills() == alone.fills()
    assert watched.exchange.balance() == alone.exchange.balance()
    assert watched.exchange.income(START) == alone.exchange.income(START)
    for symbol in SYMBOLS:
        assert watched.resting(symbol) == alone.resting(symbol)


@given(plan=st.lists(steps, max_size=25), seed=st.integers(0, 1000))
def test_longs_alone_pay_funding_and_a_reached_stop_is_never_filled_better(
    plan: list[Step], seed: int
) -> None:
    world = World(seed)
    for number, step in enumerate(plan):
        world.take(number, step)
    world.clock.forward(days=1)
    for income in world.exchange.income(START):
        assert income.amount < 0
        assert income.time.hour % 8 == income.time.minute == 0
    for name, symbol in world.stop_ids.items():
        stop = world.exchange.stop(symbol, name)
        if stop is not None and stop.order is not None and stop.order.average_price is not None:
            assert stop.side * (stop.order.average_price - stop.stop_price) >= 0
