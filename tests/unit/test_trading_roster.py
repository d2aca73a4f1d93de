"""Who is to be traded, by the registry's stages; read from a registry held in memory."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

import registry.loading
from registry.lifecycle import Stage
from serving.trading.positions import LIVE
from serving.trading.roster import Entrant, Roster
from strategy.errors import FixError, RetryError
from tests.bot_world import BEGIN, STILL, BotWorld, saying
from tests.manual_clock import ManualClock

MODEL = "BTCUSDT-1h"


class Registry:
    """Versions with their stages and tags; bundles are loaded by a function of the test."""

    tracking_uri = "memory"

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.versions: dict[int, tuple[Stage, dict[str, str]]] = {}
        self.loaded: list[int] = []
        self.bundle: Callable[[int], Any] = lambda version: saying({})
        self.connected = 0
        self.clock = ManualClock(BEGIN)
        self.roster = Roster(self._connect, 3, self.clock)
        monkeypatch.setattr(registry.loading, "load_bundle", self._load)

    def search_model_versions(self, condition: str) -> list[SimpleNamespace]:
        return [
            SimpleNamespace(version=str(number), current_stage=stage, run_id="run", tags=tags)
            for number, (stage, tags) in self.versions.items()
            if condition == f"name = '{MODEL}'"
        ]

    def add(self, number: int, stage: Stage, **tags: str) -> None:
        self.versions[number] = (stage, {"strategy_id": f"s{number}", **tags})

    def read(self, *, synthetic: bool = False) -> list[Entrant]:
        return self.roster.read([MODEL, "ETHUSDT-1h"], synthetic_market=synthetic)

    def _connect(self) -> Any:
        self.connected += 1
        return self

    def _load(self, client: Any, model: str, version: int) -> Any:
        assert model == MODEL
        self.loaded.append(version)
        return self.bundle(version)


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Registry:
    return Registry(monkeypatch)


def test_staging_trades_paper_production_trades_live_and_nothing_else_trades(
    memory: Registry,
) -> None:
    for number, stage in enumerate(Stage, 1):
        memory.add(number, stage)
    found = memory.read()
    assert [(each.version, each.book, each.strategy_id) for each in found] == [
        (2, "paper", "s2"),
        (3, "live", "s3"),
    ]
    assert all(each.bundle is not None and each.problem is None for each in found)


def test_a_registry_without_versions_has_no_entrants(memory: Registry) -> None:
    assert memory.read() == []


def test_a_version_is_loaded_once_and_the_registry_connected_once(memory: Registry) -> None:
    memory.add(1, Stage.STAGING)
    for _ in range(3):
        memory.read()
    assert (memory.loaded, memory.connected) == ([1], 1)


def test_a_stage_that_changes_is_obeyed_at_the_next_reading(memory: Registry) -> None:
    memory.add(1, Stage.STAGING)
    memory.read()
    memory.add(1, Stage.PRODUCTION)
    assert [each.book for each in memory.read()] == ["live"]
    memory.add(1, Stage.ARCHIVED)
    assert memory.read() == []


def test_of_two_versions_in_production_none_opens_anything(memory: Registry) -> None:
    memory.add(1, Stage.PRODUCTION)
    memory.add(2, Stage.PRODUCTION)
    memory.add(3, Stage.STAGING)
    assert {each.version: each.problem for each in memory.read()} == {
        3: None,
        2: "versions 2, 1 are in Production at once: archive all but one",
        1: "versions 2, 1 are in Production at once: archive all but one",
    }


@pytest.mark.parametrize("synthetic_market", [True, False])
def test_what_was_found_on_synthetic_candles_gets_no_real_money_on_a_real_market(
    memory: Registry, synthetic_market: bool
) -> None:
    memory.add(1, Stage.PRODUCTION, synthetic="true")
    memory.add(2, Stage.STAGING, synthetic="true")
    problems = {each.version: each.problem for each in memory.read(synthetic=synthetic_market)}
    assert problems[2] is None
    assert problems[1] == (None if synthetic_market else "it was found on synthetic candles")


def test_what_was_found_on_real_candles_gets_real_money(memory: Registry) -> None:
    memory.add(1, Stage.PRODUCTION, synthetic="false")
    assert [each.problem for each in memory.read()] == [None]


def test_a_model_that_missed_two_retrains_opens_nothing(memory: Registry) -> None:
    """Trained until the second of March, due every three months."""
    memory.add(1, Stage.STAGING)
    memory.clock.now = pd.Timestamp("2026-09-02T00:00Z").to_pydatetime()
    assert [each.problem for each in memory.read()] == [None]
    memory.clock.now = pd.Timestamp("2026-09-02T00:05Z").to_pydatetime()
    (entrant,) = memory.read()
    assert entrant.bundle is not None
    assert entrant.problem == (
        "its model was trained until 2026-03-02 and should have been retrained by 2026-09-02; "
        "see what the retrainer says"
    )


FAULTS = [
    FixError("the strategy was trained on other features than this code computes"),
    RetryError("S3 does not answer"),
    TypeError("StrategyBundle() got an unexpected keyword argument"),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
def test_a_bundle_that_cannot_be_loaded_does_not_keep_others_from_trading(
    memory: Registry, fault: Exception
) -> None:
    def bundle(version: int) -> Any:
        if version == 2:
            raise fault
        return saying({})

    memory.bundle = bundle
    memory.add(1, Stage.STAGING)
    memory.add(2, Stage.STAGING)
    bad, good = memory.read()
    assert (bad.version, bad.bundle) == (2, None)
    assert str(fault) in str(bad.problem)
    assert good.problem is None
    memory.bundle = lambda version: saying({})
    assert [each.problem for each in memory.read()] == [None, None]


def test_a_version_without_a_strategy_id_trades_under_its_number(memory: Registry) -> None:
    memory.versions[7] = (Stage.STAGING, {})
    assert [each.strategy_id for each in memory.read()] == [f"{MODEL}-version-7"]


def test_with_two_versions_in_production_positions_are_managed_and_the_operator_is_alarmed(
    memory: Registry,
) -> None:
    world = BotWorld(STILL, (1000, 1011, 999, 1010), (1010, 1012, 1008, 1011))
    memory.bundle = lambda version: saying({0: 1, 2: 1})
    memory.clock = memory.roster.clock = world.clock
    world.bot.roster = memory.roster
    memory.add(1, Stage.PRODUCTION)
    world.at(0)
    assert world.held(LIVE).version == 1
    memory.add(2, Stage.PRODUCTION)
    world.at(1)
    world.at(2)
    assert world.stops("real money") == [1000]  # moved with the last bar
    assert world.refusals("s2", "live") == [
        "versions 2, 1 are in Production at once: archive all but one"
    ]
    assert [subject for subject in world.told.subjects if "opens nothing" in subject] == [
        f"{MODEL} version 2 opens nothing",
        f"{MODEL} version 1 opens nothing",
    ]
