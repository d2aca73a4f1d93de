"""The world, made by hand, in which the invariants of a rehearsal are looked at."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from registry.lifecycle import Lifecycle
from rehearsal.binance.account import Contract, FuturesAccount
from rehearsal.clock import SimulatedClock
from rehearsal.fate import Fate
from rehearsal.invariants import InvariantBrokenError, Invariants
from rehearsal.system import Event
from serving.campaign_requests import Requests
from serving.trading.positions import LIVE, PARTITION, Account, Position, position_id
from store.clock import milliseconds
from store.settings_sections import CostSettings, RiskSettings
from store.sqlite_queue import SqliteQueue
from store.state import open_state
from strategy.config import BreakEven, Config
from tests.situations import CONFIG, MODEL
from tests.unit.test_lifecycle import MemoryRegistry

NOW = datetime(2024, 6, 3, 12, tzinfo=UTC)
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
BTC, STRATEGY = "BTCUSDT", "BTCUSDT-1h-c0ffee"
CAPITAL = Decimal(10_000)
PAPER = f"paper/{STRATEGY}"


class World:
    """What the invariants look at: real state, queue and books, and a registry in memory."""

    def __init__(self, folder: Path) -> None:
        self.clock = SimulatedClock(NOW)
        self.config: Config = CONFIG
        self.registry = MemoryRegistry(2)
        for tags in self.registry.tags.values():
            tags["strategy_id"] = STRATEGY
        self.state = open_state(f"sqlite:///{folder / 'state.db'}", self.clock)
        self.queue = SqliteQueue(folder / "queue.db", self.clock, visibility_seconds=360.0)
        self.requests = Requests(self.state, self.clock)
        self.quiet_stack = SimpleNamespace(requests=self.requests)
        self.account = FuturesAccount(
            {BTC: Contract(BTC, step=Decimal("0.001"))}, {BTC: Decimal(50_000)}, wallet=CAPITAL
        )
        self.account.now = self.clock.milliseconds
        self.exchange = SimpleNamespace(account=self.account)
        self.fate = Fate(1, 0.0, self.clock)
        self.market: Any = None
        self.spot = SimpleNamespace(ended=[], cost=lambda job: job.usd)
        self.limits = RiskSettings()
        self.settings = SimpleNamespace(
            risk=lambda: self.limits, cost=lambda: CostSettings(monthly_cost_limit=5.0)
        )
        self.people = SimpleNamespace(moved=set())
        system: Any = self
        people: Any = self.people
        self.invariants = Invariants(system, people, CAPITAL, 0.01)

    # Looking at it

    def look(self, function: str, error: Exception | None = None) -> None:
        self.invariants.after(Event(self.clock(), 1, function, {}), error)

    def broken(self, name: str, function: str, error: Exception | None = None) -> str:
        """How an invariant fails, which must be that one."""
        with pytest.raises(InvariantBrokenError) as raised:
            self.look(function, error)
        assert raised.value.name == name
        assert str(raised.value) == (
            f"{name}: {raised.value.message} (after {function} at {self.clock()})"
        )
        return raised.value.message

    # Making it

    @property
    def life(self) -> Lifecycle:
        client: Any = self.registry
        return Lifecycle(client, MODEL, milliseconds(self.clock))

    def trade(self, side: str, quantity: str, order_id: str) -> None:
        self.account.place(
            {
                "symbol": BTC,
                "side": side,
                "type": "MARKET",
                "quantity": quantity,
                "newClientOrderId": order_id,
            }
        )

    def protect(self, side: str = "SELL", price: str = "49000", **parts: str) -> None:
        self.account.place_stop(
            {
                "symbol": BTC,
                "side": side,
                "algoType": "CONDITIONAL",
                "type": "STOP_MARKET",
                "quantity": "0.1",
                "triggerPrice": price,
                "reduceOnly": "true",
                "clientAlgoId": "a-stop",
                **parts,
            }
        )

    def remember(self, *positions: Position, name: str = LIVE) -> None:
        account = Account(positions={each.asset: each for each in positions})
        item = self.state.get(PARTITION, name)
        version = item.version if item else 0
        self.state.put(PARTITION, name, account.model_dump(mode="json"), expected=version)

    def entered(self) -> Position:
        """As the bot enters: decided, sent, filled, remembered and protected."""
        held = position()
        self.trade("BUY", "0.1", f"{held.position_id}-e")
        self.protect()
        self.remember(held)
        return held


def position(**changes: Any) -> Position:
    values: dict[str, Any] = {
        "position_id": position_id(STRATEGY, NOW),
        "strategy_id": STRATEGY,
        "model": MODEL,
        "version": 1,
        "asset": BTC,
        "timeframe": "1h",
        "atr_period": 14,
        "break_even": BreakEven(min_multiplier=1.0, max_multiplier=1.5, historical_atr_window=252),
        "side": 1,
        "risk": 1000.0,
        "decision_time": NOW,
        "quantity": Decimal("0.1"),
        "stop": 49_000.0,
        "stepped_until": NOW,
        "entry_price": Decimal(50_000),
        "entry_time": NOW,
        "entered": Decimal("0.1"),
    }
    return Position(**(values | changes))
