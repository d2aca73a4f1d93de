"""A registered strategy in Production, and markets on which its retrain does well or badly.

The geometry is small (two months of training), so that a retrain takes a fraction of a second.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import warnings
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

from registry.connection import Client, connect, ensure_experiment, ensure_store
from registry.identity import Identity
from registry.lifecycle import Lifecycle, Stage, StrategyVersion
from registry.retrain_run import KIND
from registry.runs import search
from registry.tracking import CandleSource, open_campaign
from serving.model_retrainer import Retrainer, retrain
from serving.retraining.result import RetrainResult
from store.clock import milliseconds, utc_now
from store.sqlite_state import SqliteState
from strategy.config import Config, IndicatorParameters, LightGBMParameters, config_from
from strategy.features import FEATURE_NAMES
from tests.launch_world import Told
from tests.manual_clock import ManualClock
from training.candidate import expected_directions
from training.explain import explain
from training.promotion import register_winner
from training.walk_forward import PreparedMarket, TrialParameters

MODEL = "BTCUSDT-1h"
EVENT = json.loads((Path(__file__).parent / "events" / "retrain.json").read_text())
BY_MARKET = {"asset": "BTCUSDT", "timeframe": "1h"}
FOUND = pd.Timestamp("2025-06-01", tz="UTC")
"""Until then go the candles of the campaign that found the strategy."""
RETRAINED = pd.Timestamp("2025-09-01", tz="UTC")
"""Until then go the candles of its retrain."""
PARAMETERS = TrialParameters(
    IndicatorParameters(8, 24, 48, 7, 7),
    LightGBMParameters(learning_rate=0.1, num_leaves=7, min_data_in_leaf=20, n_estimators=10),
)


@cache
def config() -> Config:
    document = json.loads((Path(__file__).parents[1] / "config.json").read_text())
    document["walk_forward_config"] = {
        "history_years": 1, "training_months": 2, "validation_months": 1, "step_months": 1,
    }  # fmt: skip
    document["break_even"]["historical_atr_window"] = 50
    return config_from(document)


@cache
def market(*drifts: float) -> pd.DataFrame:
    """Hours until :data:`RETRAINED`: one month for each drift, in volatilities an hour."""
    starts = pd.date_range(end=RETRAINED, periods=len(drifts) + 1, freq="MS", name="timestamp")
    index = pd.date_range(starts[0], RETRAINED, freq="h", inclusive="left", name="timestamp")
    month = starts.searchsorted(index, side="right") - 1
    rng = np.random.default_rng(5)
    moves = 0.005 * (np.asarray(drifts)[month] + rng.standard_normal(len(index)))
    close = 30_000 * np.exp(np.cumsum(moves))
    opens = np.r_[30_000.0, close[:-1]]
    reach = 1 + 0.002 * rng.random((2, len(index)))
    return pd.DataFrame(
        {
            "open": opens,
            "high": np.maximum(opens, close) * reach[0],
            "low": np.minimum(opens, close) / reach[1],
            "close": close,
            "volume": rng.exponential(1000, len(index)),
        },
        index=index.as_unit("ns"),
    )


UP, DOWN = 0.2, -0.2
STEADY = (UP,) * 7
"""What the incumbent has learnt goes on."""
MISLEADING = (*(UP,) * 4, DOWN, DOWN, UP)
"""Two months of something else, on which the twin is fitted, and then as before."""


@dataclass
class Candles:
    """A source that holds the market up to a moment."""

    held: pd.DataFrame
    until: pd.Timestamp = RETRAINED
    name: str = "planted (synthetic)"
    synthetic: bool = True

    def load(self, asset: str, timeframe: str) -> pd.DataFrame:
        assert (asset, timeframe) == ("BTCUSDT", "1h")
        return self.held[self.held.index < self.until]


class RetrainWorld:
    """An MLflow store with a strategy in it, found on the candles until :data:`FOUND`.

    Parameters
    ----------
    var
        Folder with ``mlflow.db``, as :func:`found_strategy` left it.
    """

    def __init__(self, var: Path, drifts: tuple[float, ...] = STEADY) -> None:
        self.client: Any = connect(f"sqlite:///{var / 'mlflow.db'}")
        self.candles = Candles(market(*drifts))
        self.clock = ManualClock(RETRAINED.to_pydatetime() + timedelta(minutes=10))
        self.state: Any = SqliteState(var / "state.db", self.clock)
        self.told: Any = Told()

    @property
    def retrainer(self) -> Retrainer:
        return Retrainer(self.client, self.candles, config(), self.state, self.told, self.clock)

    @property
    def life(self) -> Lifecycle:
        return Lifecycle(self.client, MODEL, milliseconds(self.retrainer.clock))

    def retrain(self, event: dict[str, Any] = EVENT) -> RetrainResult:
        return retrain(event, self.retrainer)

    def version(self, number: int) -> StrategyVersion:
        return self.life.version(number)

    @property
    def stages(self) -> dict[int, str]:
        return {each.number: str(each.stage) for each in self.life.versions()}

    @property
    def runs(self) -> list[Any]:
        """Those of retrains, newest first."""
        experiment = self.client.get_experiment_by_name(MODEL).experiment_id
        return search(self.client, experiment, f"tags.run_kind = '{KIND}'")


def at(world: RetrainWorld, moment: pd.Timestamp) -> RetrainWorld:
    """Ten minutes after a moment until which there are candles."""
    world.candles.until = moment
    world.clock.now = moment.to_pydatetime() + timedelta(minutes=10)
    return world


def moved_by_a_person(world: RetrainWorld, version: str, stage: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        world.client.transition_model_version_stage(MODEL, version, stage)


def found_strategy(var: Path, stage: Stage) -> Path:
    """A store with version 1, as a campaign registers it, in a stage."""
    var.mkdir(exist_ok=True)
    ensure_store(f"sqlite:///{var / 'mlflow.db'}")
    client = connect(f"sqlite:///{var / 'mlflow.db'}")
    held = market(*STEADY)  # the same as MISLEADING until then
    register_as_campaign(client, var, held[held.index < FOUND], "c0ffee")
    if stage is Stage.PRODUCTION:
        Lifecycle(client, MODEL, lambda: 0).move(1, stage, who="orchestrator", why="it earned")
    with sqlite3.connect(var / "mlflow.db") as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return var


def copy_of(store: Path, var: Path) -> Path:
    """Another store with the same contents; files of new runs go where the first one's are."""
    var.mkdir(exist_ok=True)
    shutil.copy(store / "mlflow.db", var)
    return var


def register_as_campaign(
    client: Client, var: Path, candles: pd.DataFrame, campaign_id: str
) -> None:
    """Register a winner with the code of campaigns, without searching for it."""
    prepared = PreparedMarket(candles, "1h", config())
    window = prepared.windows[0]
    booster = prepared.fit(PARAMETERS, window.train_start, window.train_end)
    rows, _ = prepared.training_set(PARAMETERS.indicators, window.train_start, window.train_end)
    request: Any = SimpleNamespace(
        asset="BTCUSDT",
        timeframe="1h",
        model_name=MODEL,
        subtitle="planted",
        source=Candles(candles),
        clock=utc_now,
    )
    candidate: Any = SimpleNamespace(
        trial=SimpleNamespace(parameters=PARAMETERS),
        explanation=explain(booster, rows[:50], FEATURE_NAMES, expected_directions()),
        gates=(),
        passed=True,
    )
    tracker = open_campaign(
        client,
        ensure_experiment(client, MODEL, var / "artifacts"),
        campaign_id,
        name=campaign_id,
        params={},
        tags={},
        candles=CandleSource("planted", "ab" * 32, "planted", "synthetic"),
        clock=lambda: 1_700_000_000_000,
    )
    identity = Identity.of(config(), candles)
    register_winner(client, request, prepared, identity, tracker, candidate)
    tracker.finish("FINISHED", "all gates passed")
