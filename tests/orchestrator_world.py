"""An orchestrator over a registry in memory, and a model with all that a day can bring."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd

from registry.lifecycle import StrategyVersion
from serving.journal import Book, Journal, TradeRecord
from serving.orchestration.parts import Orchestrator
from serving.orchestration.steps import Outcome, orchestrate
from store.state import Item
from strategy.config import Config
from tests.launch_world import World
from tests.manual_clock import ManualClock
from tests.memory_state import MemoryState
from tests.situations import CONFIG, MODEL, NOW, live, staged
from tests.strategy_bundles import random_candles
from tests.unit.test_lifecycle import MemoryRegistry


class ExpiringState(MemoryState):
    """The state table in memory; what expires is gone when the clock says so."""

    clock: ManualClock

    def get(self, partition: str, key: str) -> Item | None:
        self._purge()
        return super().get(partition, key)

    def items(self, partition: str, prefix: str = "") -> list[Item]:
        self._purge()
        return super().items(partition, prefix)

    def put(self, *arguments: Any, **named: Any) -> Item:
        self._purge()
        return super().put(*arguments, **named)

    def delete(self, *arguments: Any, **named: Any) -> None:
        self._purge()
        super().delete(*arguments, **named)

    def _purge(self) -> None:
        now = self.clock()
        for place, item in list(self._items.items()):
            if item.expires_at and item.expires_at <= now:
                del self._items[place]


class Registry(MemoryRegistry):
    """The model of test_lifecycle, with these versions."""

    def __init__(self, *versions: StrategyVersion) -> None:
        super().__init__(0)
        self.stages = {each.number: str(each.stage) for each in versions}
        self.tags = {each.number: dict(each.tags) for each in versions}

    @property
    def ending(self) -> tuple[Any, ...]:
        """All but the times."""
        tags = {
            number: {key: value for key, value in tags.items() if not key.endswith(".at")}
            for number, tags in self.tags.items()
        }
        return self.stages, tags, self.aliases


@dataclass
class Candles:
    """A source of a few candles that end now."""

    clock: ManualClock
    name = "test"
    synthetic = True

    def load(self, asset: str, timeframe: str) -> pd.DataFrame:
        candles = random_candles(48)
        end = pd.Timestamp(self.clock.now).floor("h")
        return candles.set_axis(pd.date_range(end=end, periods=48, freq="h", name="timestamp"))


class OrchestratorWorld:
    """An orchestrator whose parts can be exchanged, at NOW."""

    def __init__(self, folder: Path, *versions: StrategyVersion, config: Config = CONFIG) -> None:
        self.state: Any = ExpiringState()
        self.world = World(folder, self.state)
        self.clock = self.state.clock = self.world.clock
        self.clock.now = NOW
        self.told = self.world.told
        self.registry: Any = Registry(*versions)
        self.trained: dict[int, datetime] = {}
        """By version: until when, instead of a month ago."""
        self.retrained: list[tuple[str, int]] = []
        self.retrain: Callable[[str, int], None] = lambda *which: self.retrained.append(which)
        self.config = config
        self.recorded: list[datetime] = []
        """When the live runs were brought up to date."""

    @property
    def orchestrator(self) -> Orchestrator:
        return Orchestrator(
            stack=self.world.stack,
            config=self.config,
            client=self.registry,
            bundle=self.bundle,
            retrain=lambda model, version: self.retrain(model, version),
            source=Candles(self.clock),
            record=self.recorded.append,
        )

    def bundle(self, model: str, version: int) -> Any:
        until = self.trained.get(version, NOW - timedelta(days=30))
        return SimpleNamespace(training_end=pd.Timestamp(until), metadata={"shap_top10_share": 0.5})

    def orchestrate(self) -> list[Outcome]:
        return orchestrate(self.orchestrator)

    def trade(self, strategy: str, book: Book, r: float, trades: int = 20) -> None:
        """Trades that ended in June."""
        for number in range(trades):
            decided = datetime(2026, 6, 1, number, tzinfo=UTC)
            Journal(self.state).add_trade(record(strategy, book, decided, r))


class EveryAction(OrchestratorWorld):
    """Version 1 is to be buried, 2 promoted and retrained, 3 rejected, 4 was moved by hand; and
    a campaign is to be asked for.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(
            folder,
            live(1),
            staged(2, strategy="B"),
            staged(3, strategy="C"),
            staged(4, since="2026-06-20", strategy="D"),
        )
        self.registry.stages[4] = "Archived"
        self.trade("A", "live", -0.5)
        self.trade("B", "paper", 0.5)
        self.trade("C", "paper", -0.5)
        self.trained[2] = datetime(2026, 1, 1, tzinfo=UTC)


class Failing:
    """A client that fails at one method for one of its first arguments."""

    def __init__(self, client: Any, method: str, error: Exception, *first: str) -> None:
        self._client, self._method, self._error, self._first = client, method, error, first

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)
        if name != self._method:
            return found

        def failing(*arguments: Any, **named: Any) -> Any:
            if arguments[: len(self._first)] == self._first:
                raise self._error
            return found(*arguments, **named)

        return failing


def record(strategy: str, book: Book, decided: datetime, r: float, version: int = 1) -> TradeRecord:
    """A trade, of which only time and R count here."""
    return TradeRecord(
        strategy_id=strategy,
        model=MODEL,
        version=version,
        book=book,
        position_id=f"{strategy}/{decided.isoformat()}",
        asset="BTCUSDT",
        timeframe="1h",
        side=1,
        decision_time=decided,
        entry_time=decided,
        exit_time=decided + timedelta(hours=5),
        entry_price=100.0,
        exit_price=100.0 + r,
        risk=1.0,
        quantity=Decimal(1),
        reason="stop",
        fees=Decimal(0),
        funding=Decimal(0),
        r=r,
    )
