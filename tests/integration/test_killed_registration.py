"""A registration that is killed after any call to MLflow and repeated ends as one left alone."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from registry.bundle import StrategyBundle
from registry.connection import Client, connect, ensure_experiment, ensure_store
from registry.lifecycle import Lifecycle, Stage
from registry.registration import register
from registry.tracking import CandleSource, open_campaign
from tests.integration.interruptions.endings import MODEL, differences, ending
from tests.strategy_bundles import random_candles, trained_bundle

CANDLES = random_candles(1000)
ANY, NEVER = "", 0

processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload([__name__, "registry.registration", "tests.strategy_bundles"])


class Deadly:
    """A client that ends its process after the n-th call of a name, or of any."""

    def __init__(self, client: Client, name: str, calls: int) -> None:
        self.client, self.name, self.calls = client, name, calls

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.client, name)
        if not callable(found):
            return found

        def calling(*arguments: Any, **named: Any) -> Any:
            answer = found(*arguments, **named)
            self.calls -= name == self.name or self.name == ANY
            if self.calls == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return answer

        return calling


def register_and_move(var: Path, bundle: StrategyBundle, name: str, calls: int) -> None:
    working = connect(f"sqlite:///{var / 'mlflow.db'}")
    tracker = open_campaign(
        working,
        ensure_experiment(working, MODEL, var / "artifacts"),
        "c1",
        name="a campaign",
        params={},
        tags={},
        candles=CandleSource(MODEL, "ab" * 32, "candles.csv", "local"),
        clock=lambda: 1_700_000_000_000,
    )
    client: Any = Deadly(working, name, calls)
    number = register(
        client,
        tracker.run_id,
        bundle,
        model_name=MODEL,
        input_example=CANDLES.tail(5),
        description="found by a test",
        tags={"config_digest": bundle.config_digest},
    )
    life = Lifecycle(client, MODEL, lambda: 1_700_000_000_000)
    life.move(number, Stage.STAGING, who="model_validator", why="all gates passed")


def attempt(var: Path, bundle: StrategyBundle, name: str = ANY, calls: int = NEVER) -> int | None:
    """In a process of its own; returns its exit status."""
    process = processes.Process(target=register_and_move, args=(var, bundle, name, calls))
    process.start()
    process.join()
    return process.exitcode


@pytest.fixture(scope="module")
def bundle() -> StrategyBundle:
    return trained_bundle(CANDLES)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("empty") / "mlflow.db"
    ensure_store(f"sqlite:///{path}")
    connect(f"sqlite:///{path}")
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path


@pytest.fixture
def var(empty: Path, tmp_path: Path) -> Path:
    shutil.copy(empty, tmp_path / "mlflow.db")
    return tmp_path


@pytest.fixture(scope="module")
def undisturbed_ending(
    empty: Path, bundle: StrategyBundle, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    var = tmp_path_factory.mktemp("undisturbed")
    shutil.copy(empty, var / "mlflow.db")
    assert attempt(var, bundle) == 0
    found = ending(var)
    assert [each["stage"] for each in found["versions"]] == ["Staging"]
    assert len(found["models"]) == len(found["aliases"]) == 1
    return found


@pytest.mark.parametrize(
    ("name", "calls"),
    [
        ("create_model_version", 1),
        ("transition_model_version_stage", 1),
    ],
)
def test_a_killed_registration_is_completed_by_the_next(
    var: Path, bundle: StrategyBundle, undisturbed_ending: dict[str, Any], name: str, calls: int
) -> None:
    assert attempt(var, bundle, name, calls) == -signal.SIGKILL
    assert attempt(var, bundle) == 0
    assert differences(ending(var), undisturbed_ending) == []


@pytest.mark.torture
def test_it_may_be_killed_after_every_call_in_turn(
    empty: Path, bundle: StrategyBundle, undisturbed_ending: dict[str, Any], tmp_path: Path
) -> None:
    calls, struck = 0, -signal.SIGKILL
    while struck == -signal.SIGKILL:
        calls += 1
        var = tmp_path / str(calls)
        var.mkdir()
        shutil.copy(empty, var / "mlflow.db")
        struck = attempt(var, bundle, ANY, calls)
        assert attempt(var, bundle) == 0
        assert differences(ending(var), undisturbed_ending) == []
    assert struck == 0
    assert calls > 20


@pytest.mark.torture
def test_every_repetition_may_be_killed_a_call_later(
    var: Path, bundle: StrategyBundle, undisturbed_ending: dict[str, Any]
) -> None:
    calls = 1
    while (struck := attempt(var, bundle, ANY, calls)) == -signal.SIGKILL:
        calls += 1
    assert struck == 0
    assert differences(ending(var), undisturbed_ending) == []
