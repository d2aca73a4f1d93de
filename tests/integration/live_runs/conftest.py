"""A real SQLite store with a strategy in Staging, for each test its own copy."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pandas as pd
import pytest
from mlflow import MlflowClient

from registry.bundle import StrategyBundle
from registry.connection import connect, ensure_experiment, ensure_store
from registry.tracking import CandleSource as Dataset
from registry.tracking import open_campaign
from serving.journal import Journal
from serving.live_record import LiveParts
from tests.integration.live_runs.strategy_in_staging import (
    BACKTEST_R,
    CANDLES,
    COSTS,
    MODEL,
    STAGED,
    Candles,
    add_version,
)
from tests.memory_state import MemoryState
from tests.strategy_bundles import trained_bundle


@pytest.fixture(scope="session")
def bundle() -> StrategyBundle:
    return trained_bundle(CANDLES)


@pytest.fixture(scope="session")
def registered(bundle: StrategyBundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a campaign's run and its strategy, which went into Staging at STAGED."""
    folder = tmp_path_factory.mktemp("store")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    ensure_store(uri)
    client = connect(uri)
    campaign = open_campaign(
        client,
        ensure_experiment(client, MODEL, folder / "artifacts"),
        "c0ffee",
        name=MODEL,
        params={},
        tags={},
        candles=Dataset(MODEL, "ab" * 32, "candles", "synthetic"),
        clock=lambda: 1_700_000_000_000,
    )
    (folder / "report").mkdir()
    for name, r in (("trades.csv", BACKTEST_R), ("few.csv", BACKTEST_R[:1])):
        pd.DataFrame({"r": r}).to_csv(folder / "report" / name, index=False)
    campaign.log_folder(campaign.run_id, folder / "report")
    campaign.finish("FINISHED", "promoted")
    add_version(client, campaign.run_id, bundle, STAGED)
    with sqlite3.connect(folder / "mlflow.db") as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return folder / "mlflow.db"


@pytest.fixture
def client(registered: Path, tmp_path: Path) -> MlflowClient:
    return connect(f"sqlite:///{shutil.copy(registered, tmp_path / 'mlflow.db')}")


@pytest.fixture
def parts(client: MlflowClient) -> LiveParts:
    journal = Journal(MemoryState())
    return LiveParts(client, journal, Candles(CANDLES), COSTS, [("BTCUSDT", "1h")])
