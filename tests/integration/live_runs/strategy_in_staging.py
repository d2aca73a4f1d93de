"""A strategy that was discovered and staged, what it traded, and what its live runs show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from registry.bundle import StrategyBundle
from registry.lifecycle import Lifecycle, Stage
from registry.registration import register
from registry.runs import read_table, search
from serving.journal import Book, TradeRecord
from serving.live_record import LiveParts
from serving.trading.tenures import KEY, PARTITION, Tenure
from strategy.candles import open_times
from strategy.config import Costs
from strategy.costs import charges_on
from strategy.exit_rule import ExitRule
from strategy.exits import ExitReason
from strategy.simulate import Bars, simulate
from tests.strategy_bundles import random_candles

MODEL, STRATEGY = "BTCUSDT-1h", "BTCUSDT-1h-c0ffee"
HOUR = timedelta(hours=1)
CANDLES = random_candles(2000)
STAGED = CANDLES.index[1200].to_pydatetime() + timedelta(minutes=10)
COSTS = Costs()
BACKTEST_R = [-1.0, 1.0, 1.0, 1.0]  # mean 0.5, standard deviation 1


@dataclass
class Candles:
    """What the store of candles has by now."""

    frame: pd.DataFrame
    name: str = "test"
    synthetic: bool = True
    error: Exception | None = None

    def load(self, asset: str, timeframe: str) -> pd.DataFrame:
        if self.error:
            raise self.error
        return self.frame


def add_version(client: MlflowClient, run_id: str, bundle: StrategyBundle, staged: datetime) -> int:
    example = CANDLES.tail(3)
    version = register(
        client, run_id, bundle, model_name=MODEL, input_example=example, description="", tags={}
    )
    move(client, version, Stage.STAGING, staged)
    return version


def move(client: MlflowClient, version: int, stage: Stage, at: datetime) -> None:
    lifecycle = Lifecycle(client, MODEL, lambda: round(1000 * at.timestamp()))
    lifecycle.move(version, stage, who="test", why="wanted")


def move_by_hand(client: MlflowClient, stage: Stage) -> None:
    with pytest.warns(FutureWarning):
        client.transition_model_version_stage(MODEL, "1", stage)


def simulated(bundle: StrategyBundle, begin: int = 1200) -> list[TradeRecord]:
    """What the strategy trades if nothing comes between, from the close of a bar on."""
    signals = bundle.signals(CANDLES)["signal"].fillna(0).to_numpy(np.int8)
    rule = ExitRule(bundle.indicators.atr_period, bundle.break_even)
    trades = simulate(
        Bars.of(CANDLES),
        signals,
        rule.distances(CANDLES),
        charges_on(open_times(CANDLES), "1h", COSTS),
        timeframe="1h",
        start=begin,
    )
    times = [time.to_pydatetime() for time in CANDLES.index]
    return [
        TradeRecord(
            strategy_id=STRATEGY,
            model=MODEL,
            version=1,
            book="paper",
            position_id=f"p{number}",
            asset="BTCUSDT",
            timeframe="1h",
            side=int(trade["side"]),
            decision_time=times[trade["decision_bar"]] + HOUR,
            entry_time=times[trade["entry_bar"]],
            exit_time=times[trade["exit_bar"]],
            entry_price=float(trade["entry_price"]),
            exit_price=float(trade["exit_price"]),
            risk=float(trade["risk"]),
            quantity=Decimal(1),
            reason=ExitReason(trade["reason"]).name.lower(),
            fees=Decimal(0),
            funding=Decimal(0),
            r=float(trade["r"]),
        )
        for number, trade in enumerate(trades)
    ]


def keep(parts: LiveParts, trades: Sequence[TradeRecord]) -> None:
    for trade in trades:
        parts.journal.add_trade(trade)


def seen(parts: LiveParts, *tenures: tuple[Book, datetime, datetime | None]) -> None:
    """What the bot has noted of version 1."""
    rows = [
        Tenure(version=1, strategy_id=STRATEGY, book=book, since=since, until=until)
        for book, since, until in tenures
    ]
    kept = {MODEL: [row.model_dump(mode="json") for row in rows]}
    parts.journal.state.put(PARTITION, KEY, kept, expected=0)


def until(trades: Sequence[TradeRecord], moment: pd.Timestamp) -> list[TradeRecord]:
    return [trade for trade in trades if trade.exit_time + HOUR <= moment]


def day_after(trade: TradeRecord, days: int = 1) -> pd.Timestamp:
    """Midnight, a number of days after that of the trade's exit."""
    return pd.Timestamp(trade.exit_time).floor("D") + pd.Timedelta(days=days)


def live_runs(client: MlflowClient) -> list[Run]:
    experiment = client.get_experiment_by_name(MODEL)
    return search(client, experiment.experiment_id, "tags.run_kind = 'live'")


def only_run(client: MlflowClient) -> Run:
    (run,) = live_runs(client)
    return run


def history(client: MlflowClient, metric: str) -> list[tuple[int, int, float]]:
    """Step, timestamp and value of every point, in order of steps."""
    points = client.get_metric_history(only_run(client).info.run_id, metric)
    return sorted((point.step, point.timestamp, point.value) for point in points)


def values(client: MlflowClient, metric: str) -> list[float]:
    return [value for _, _, value in history(client, metric)]


def everything(client: MlflowClient) -> Any:
    """All that the live runs say."""
    return [
        (
            run.info.status,
            run.data.tags,
            {
                name: sorted(
                    (point.step, point.timestamp, point.value)
                    for point in client.get_metric_history(run.info.run_id, name)
                )
                for name in run.data.metrics
            },
            client.list_artifacts(run.info.run_id),
        )
        for run in live_runs(client)
    ]


def divergences(client: MlflowClient) -> pd.DataFrame:
    return read_table(client, only_run(client).info.run_id, "divergence.csv")
