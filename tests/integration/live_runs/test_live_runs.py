"""Live runs in a real SQLite store: equity by day beside the band, from stage to stage."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pandas as pd
import pytest
from mlflow import MlflowClient

from registry.bundle import StrategyBundle
from registry.lifecycle import Lifecycle, Stage
from registry.live_run import LiveRuns
from serving.live_record import LiveParts, record_live_runs
from tests.integration.live_runs.strategy_in_staging import (
    CANDLES,
    HOUR,
    MODEL,
    STAGED,
    STRATEGY,
    add_version,
    day_after,
    divergences,
    everything,
    history,
    keep,
    live_runs,
    move,
    move_by_hand,
    only_run,
    simulated,
    until,
    values,
)

# Days


def test_a_run_shows_equity_by_day_beside_the_band(
    client: MlflowClient, parts: LiveParts, bundle: StrategyBundle
) -> None:
    trades = simulated(bundle)
    keep(parts, trades[:1])
    first = day_after(trades[0], 0)
    record_live_runs(parts, day_after(trades[0]) + HOUR)
    midnight = round(1000 * first.timestamp())
    assert history(client, "equity_r") == [(0, midnight, trades[0].r)]
    assert values(client, "expectancy") == [trades[0].r]
    assert values(client, "trades") == [1]
    assert values(client, "drawdown_r") == [max(0.0, -trades[0].r)]
    assert values(client, "band_mid") == [0.5]
    assert values(client, "band_low") == [pytest.approx(0.5 - 1.959964)]
    assert values(client, "band_high") == [pytest.approx(0.5 + 1.959964)]

    run = only_run(client)
    assert run.info.status == "RUNNING"
    assert run.info.run_name == f"{STRATEGY} paper"
    wanted = {"strategy_id": STRATEGY, "book": "paper", "version": "1", "stage": "Staging"}
    assert wanted.items() <= run.data.tags.items()
    assert run.data.tags["run_key"] == f"live/{STRATEGY}/paper"
    told = run.data.tags["mlflow.note.content"]
    assert f"**1 trade by the end of {first:%Y-%m-%d}: {trades[0].r:+.2f} R in all**" in told
    assert "divergence.csv" in told


def test_a_second_day_is_added_and_the_same_day_changes_nothing(
    client: MlflowClient, parts: LiveParts, bundle: StrategyBundle
) -> None:
    trades = simulated(bundle)
    now = day_after(trades[0]) + HOUR
    keep(parts, until(trades, now))
    record_live_runs(parts, now)
    once = everything(client)
    record_live_runs(parts, now + 20 * HOUR)
    assert everything(client) == once

    first_day = values(client, "equity_r")
    later = now + timedelta(days=3)
    keep(parts, until(trades, later))
    record_live_runs(parts, later)
    assert [step for step, _, _ in history(client, "equity_r")] == [0, 1, 2, 3]
    assert values(client, "equity_r")[:1] == first_day
    ended = [trade.r for trade in trades if trade.exit_time < later.floor("D")]
    assert len(ended) > values(client, "trades")[0]
    assert values(client, "equity_r")[-1] == pytest.approx(sum(ended))
    assert values(client, "trades")[-1] == len(ended)
    assert f"**{len(ended)} trades by" in only_run(client).data.tags["mlflow.note.content"]


def test_days_that_were_missed_are_made_up_for(
    client: MlflowClient, parts: LiveParts, bundle: StrategyBundle
) -> None:
    trades = simulated(bundle)
    keep(parts, trades[:1])
    record_live_runs(parts, day_after(trades[0], 5))
    assert values(client, "equity_r") == [trades[0].r] * 5


def test_a_day_that_was_logged_stands(
    client: MlflowClient, parts: LiveParts, bundle: StrategyBundle
) -> None:
    trades = simulated(bundle)
    keep(parts, trades[:1])
    record_live_runs(parts, day_after(trades[0]))
    late = trades[0].model_copy(
        update={
            "decision_time": trades[0].decision_time + HOUR,
            "exit_time": trades[0].exit_time + timedelta(minutes=1),
        }
    )
    keep(parts, [late])
    record_live_runs(parts, day_after(trades[0], 2))
    assert values(client, "trades") == [1, 2]


def test_a_day_that_was_logged_a_moment_ago_stands(client: MlflowClient) -> None:
    days = pd.DataFrame({"trades": [1.0, 2.0]}, pd.date_range("2024-03-01", periods=2, tz="UTC"))
    run = LiveRuns(client, MODEL).begin(STRATEGY, "paper", STAGED)
    run.log_days(days[:1], start=days.index[0])
    run.log_days(10 * days, start=days.index[0])
    run.log_days(100 * days, start=days.index[0])
    assert values(client, "trades") == [1, 20]


def test_what_was_logged_of_one_metric_alone_is_made_good_for_the_others(
    client: MlflowClient,
) -> None:
    """The process died between two requests."""
    days = pd.DataFrame({"trades": [1.0, 2.0]}, pd.date_range("2024-03-01", periods=2, tz="UTC"))
    LiveRuns(client, MODEL).begin(STRATEGY, "paper", STAGED).log_days(days, start=days.index[0])
    run = LiveRuns(client, MODEL).find(STRATEGY, "paper")
    assert run is not None
    run.log_days(days.assign(equity_r=[0.5, 1.5]), start=days.index[0])
    assert values(client, "trades") == [1, 2]
    assert values(client, "equity_r") == [0.5, 1.5]


def test_before_the_first_trade_there_is_a_run_without_figures(
    client: MlflowClient, parts: LiveParts
) -> None:
    record_live_runs(parts, STAGED + timedelta(minutes=20))
    assert only_run(client).data.metrics == {}
    assert "No trade has ended yet" in only_run(client).data.tags["mlflow.note.content"]


def test_a_backtest_of_one_trade_makes_no_band(
    client: MlflowClient, parts: LiveParts, bundle: StrategyBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.live_record.BACKTEST_TRADES", "few.csv")
    trades = simulated(bundle)
    keep(parts, trades[:1])
    record_live_runs(parts, day_after(trades[0]))
    run = only_run(client)
    assert run.data.metrics["equity_r"] == trades[0].r
    assert not [name for name in run.data.metrics if name.startswith("band")]
    assert "too few trades" in run.data.tags["mlflow.note.content"]


def test_a_market_without_strategies_has_no_runs(client: MlflowClient, parts: LiveParts) -> None:
    elsewhere = replace(parts, markets=[("ETHUSDT", "4h")])
    record_live_runs(elsewhere, STAGED)
    assert live_runs(client) == []


# Stages


def test_a_run_ends_when_its_strategy_leaves_the_stage_and_the_other_book_has_its_own(
    client: MlflowClient, parts: LiveParts, bundle: StrategyBundle
) -> None:
    trades = simulated(bundle)
    keep(parts, trades[:1])
    now = day_after(trades[0])
    record_live_runs(parts, now)
    move(client, 1, Stage.PRODUCTION, now + HOUR)
    record_live_runs(parts, now + timedelta(days=1))
    runs = {run.data.tags["book"]: run for run in live_runs(client)}
    assert {book: run.info.status for book, run in runs.items()} == {
        "paper": "FINISHED",
        "live": "RUNNING",
    }
    assert runs["paper"].data.tags["stage"] == "Production"
    move(client, 1, Stage.ARCHIVED, now + timedelta(days=2))
    record_live_runs(parts, now + timedelta(days=3))
    assert {run.info.status for run in live_runs(client)} == {"FINISHED"}
    settled = everything(client)
    record_live_runs(parts, now + timedelta(days=9))
    assert everything(client) == settled, "no days are added to a strategy that is gone"


def test_a_trade_that_ends_after_its_strategy_was_archived_is_added(
    client: MlflowClient, parts: LiveParts, bundle: StrategyBundle
) -> None:
    trades = simulated(bundle)
    keep(parts, trades[:1])
    move(client, 1, Stage.ARCHIVED, trades[1].decision_time + HOUR)
    record_live_runs(parts, day_after(trades[0]))
    assert live_runs(client) == [], "it never had a run"

    move_by_hand(client, Stage.STAGING)
    record_live_runs(parts, day_after(trades[0]))
    move_by_hand(client, Stage.ARCHIVED)
    record_live_runs(parts, day_after(trades[0]))
    assert only_run(client).info.status == "FINISHED"
    keep(parts, trades[1:2])
    record_live_runs(parts, day_after(trades[1], 4))
    assert values(client, "trades")[-1] == 2
    settled = everything(client)
    record_live_runs(parts, day_after(trades[1], 9))
    assert everything(client) == settled


def test_a_run_goes_on_when_its_strategy_comes_back(
    client: MlflowClient, parts: LiveParts, bundle: StrategyBundle
) -> None:
    trades = simulated(bundle)
    keep(parts, trades[:1])
    for number, stage in enumerate([Stage.STAGING, Stage.ARCHIVED, Stage.STAGING], start=1):
        move_by_hand(client, stage)
        record_live_runs(parts, day_after(trades[0], number))
    assert only_run(client).info.status == "RUNNING"
    assert len(values(client, "equity_r")) == 3


def test_a_retrained_version_goes_on_with_the_same_run(
    client: MlflowClient, parts: LiveParts, bundle: StrategyBundle
) -> None:
    trades = simulated(bundle)
    keep(parts, trades[:1])
    now = day_after(trades[0])
    record_live_runs(parts, now)
    source = Lifecycle(client, MODEL, lambda: 0).version(1).run_id
    again = replace(bundle, training_end=CANDLES.index[-2])
    add_version(client, source, again, now)
    move(client, 1, Stage.ARCHIVED, now)
    record_live_runs(parts, now + timedelta(days=1))
    run = only_run(client)
    assert (run.info.status, run.data.tags["version"]) == ("RUNNING", "2")
    assert divergences(client)["explained"].eq("same").sum() == 1


def test_of_two_runs_that_were_made_at_once_the_older_one_counts(
    client: MlflowClient, parts: LiveParts, bundle: StrategyBundle
) -> None:
    trades = simulated(bundle)
    keep(parts, trades[:1])
    record_live_runs(parts, day_after(trades[0]))
    older = only_run(client)
    tags = {key: value for key, value in older.data.tags.items() if not key.startswith("mlflow")}
    later = older.info.start_time + 1
    client.create_run(older.info.experiment_id, start_time=later, tags=tags)
    record_live_runs(parts, day_after(trades[0]))
    assert only_run(client).info.run_id == older.info.run_id
