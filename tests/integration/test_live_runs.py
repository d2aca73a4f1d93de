"""Live runs in a real SQLite store: equity by day beside the band, and what diverged."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from registry.bundle import StrategyBundle
from registry.connection import connect, ensure_experiment, ensure_store
from registry.lifecycle import Lifecycle, Stage
from registry.registration import register
from registry.runs import read_table, search
from registry.tracking import CandleSource as Dataset
from registry.tracking import open_campaign
from serving.journal import InterventionRecord, Journal, TradeRecord
from serving.live_record import LiveParts, record_live_runs
from serving.trading.positions import PARTITION, Account, Position, paper_account
from strategy.candles import open_times
from strategy.config import Costs
from strategy.costs import charges_on
from strategy.errors import DataError, FixError, RetryError
from strategy.exit_rule import ExitRule
from strategy.exits import ExitReason
from strategy.simulate import Bars, simulate
from tests.memory_state import MemoryState
from tests.strategy_bundles import random_candles, trained_bundle

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


@pytest.fixture(scope="module")
def bundle() -> StrategyBundle:
    return trained_bundle(CANDLES)


@pytest.fixture(scope="module")
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


# --- days ------------------------------------------------------------------------------------


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


# --- stages ----------------------------------------------------------------------------------


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


def move_by_hand(client: MlflowClient, stage: Stage) -> None:
    with pytest.warns(FutureWarning):
        client.transition_model_version_stage(MODEL, "1", stage)


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


# --- divergences -----------------------------------------------------------------------------


def test_each_trade_stands_beside_the_simulator_s(
    client: MlflowClient, parts: LiveParts, bundle: StrategyBundle
) -> None:
    trades = simulated(bundle)
    now = day_after(trades[0], 10)
    done = until(trades, now)
    worse = done[2].model_copy(
        update={"entry_price": done[2].entry_price * 1.001, "r": done[2].r - 0.1}
    )
    keep(parts, [done[0], *done[3:], worse])  # done[1] was missed
    record_live_runs(parts, now)
    table = divergences(client)
    expected = ["same", "missing in live", "entry late"] + ["same"] * (len(done) - 3)
    assert table["explained"].tolist() == expected
    assert len(done) > 5
    assert table["r_simulated"].tolist() == pytest.approx([trade.r for trade in done])
    assert pd.Timestamp(table["decision_time"][0]) == done[0].decision_time
    assert values(client, "divergent_trades") == [2]
    assert values(client, "unexplained_trades") == [1]
    assert values(client, "r_difference") == [pytest.approx(-0.1 - done[1].r)]


def test_a_strategy_that_trades_nothing_although_it_should_is_seen(
    client: MlflowClient, parts: LiveParts, bundle: StrategyBundle
) -> None:
    now = day_after(simulated(bundle)[0], 3)
    record_live_runs(parts, now)
    expected = until(simulated(bundle), now)
    assert divergences(client)["explained"].tolist() == ["missing in live"] * len(expected)


def test_interventions_are_taken_into_account(
    client: MlflowClient, parts: LiveParts, bundle: StrategyBundle
) -> None:
    trades = simulated(bundle)
    halted = trades[1].decision_time
    now = day_after(trades[1], 4)
    keep(parts, trades[:1])
    for time, kind in ((halted, "halt"), (now.to_pydatetime(), "resume")):
        parts.journal.add_intervention(
            InterventionRecord(
                strategy_id=STRATEGY, book="paper", time=time, kind=kind, price=None, why="test"
            )
        )
    record_live_runs(parts, now)
    assert divergences(client)["explained"].tolist() == ["same"]


def test_what_a_strategy_would_have_traded_after_it_was_archived_is_not_missing(
    client: MlflowClient, parts: LiveParts, bundle: StrategyBundle
) -> None:
    done = until(simulated(bundle), day_after(simulated(bundle)[0], 2))
    keep(parts, done)
    closed = done[-1].exit_time + HOUR
    record_live_runs(parts, closed)
    move(client, 1, Stage.ARCHIVED, closed)
    record_live_runs(parts, closed + timedelta(days=9))
    assert divergences(client)["explained"].tolist() == ["same"] * len(done)


def test_a_position_that_is_still_open_is_not_missing(
    client: MlflowClient, parts: LiveParts, bundle: StrategyBundle
) -> None:
    trades = simulated(bundle)
    second = trades[1]
    keep(parts, trades[:1])
    end = pd.Timestamp(second.exit_time).floor("D") + pd.Timedelta(days=1)
    only_two = CANDLES[CANDLES.index <= pd.Timestamp(second.exit_time)]
    shown = replace(parts, candles=Candles(only_two))
    record_live_runs(shown, end)
    assert divergences(client)["explained"].tolist() == ["same", "missing in live"]
    account = Account(positions={"BTCUSDT": position_of(second, bundle)})
    state = parts.journal.state
    state.put(PARTITION, paper_account(STRATEGY), account.model_dump(mode="json"), expected=0)
    record_live_runs(shown, end)
    assert divergences(client)["explained"].tolist() == ["same"]


def position_of(trade: TradeRecord, bundle: StrategyBundle) -> Position:
    return Position(
        position_id=trade.position_id,
        strategy_id=STRATEGY,
        model=MODEL,
        version=1,
        asset="BTCUSDT",
        timeframe="1h",
        atr_period=bundle.indicators.atr_period,
        break_even=bundle.break_even,
        side=trade.side,
        risk=trade.risk,
        decision_time=trade.decision_time,
        quantity=Decimal(1),
        stop=trade.entry_price - trade.side * trade.risk,
        stepped_until=trade.decision_time,
    )


@pytest.mark.parametrize("staged", ["2024-02-26T12:00Z", "2025-08-01T12:00Z"])
def test_a_version_that_traded_before_its_tags_say_so_is_believed(
    client: MlflowClient, parts: LiveParts, bundle: StrategyBundle, staged: str
) -> None:
    """Candles may be replayed that are older than it; a person's move is written down late."""
    move_by_hand(client, Stage.NONE)
    move(client, 1, Stage.STAGING, datetime.fromisoformat(staged))
    trades = simulated(bundle)
    assert trades[0].exit_time < datetime.fromisoformat(staged)
    now = day_after(trades[0], 8)
    done = until(trades, now)
    keep(parts, done)
    record_live_runs(parts, now)
    assert divergences(client)["explained"].tolist() == ["same"] * len(done)
    move(client, 1, Stage.ARCHIVED, datetime.fromisoformat("2025-08-02T12:00Z"))
    record_live_runs(parts, now)
    assert divergences(client)["explained"].tolist() == ["same"] * len(done)


# --- what fails ------------------------------------------------------------------------------


def test_a_strategy_that_fails_does_not_keep_the_others_from_theirs(
    client: MlflowClient, parts: LiveParts, bundle: StrategyBundle
) -> None:
    other = replace(bundle, strategy_id="BTCUSDT-1h-aaaaaa")
    source = Lifecycle(client, MODEL, lambda: 0).version(1).run_id
    add_version(client, source, other, STAGED)
    trades = simulated(bundle)
    keep(parts, trades[:1])
    strange = InterventionRecord(
        strategy_id=other.strategy_id, book="paper", time=STAGED, kind="halt", price=None, why=""
    )
    parts.journal.add_intervention(strange)
    damaged = parts.journal.state
    key = f"paper/{STAGED.isoformat(timespec='microseconds')}/halt"
    damaged.put(f"interventions/{other.strategy_id}", key, {"kind": "?"}, expected=1)
    with pytest.raises(FixError, match=r"BTCUSDT-1h-aaaaaa, paper: .*damaged"):
        record_live_runs(parts, day_after(trades[0]))
    runs = {run.data.tags["strategy_id"]: run for run in live_runs(client)}
    assert runs[STRATEGY].data.metrics["trades"] == 1
    assert "divergent_trades" in runs[STRATEGY].data.metrics


@pytest.mark.parametrize("error", [RetryError("not now"), DataError("bad candles")])
def test_equity_is_logged_although_there_are_no_candles(
    client: MlflowClient, parts: LiveParts, bundle: StrategyBundle, error: Exception
) -> None:
    trades = simulated(bundle)
    now = day_after(trades[0])
    done = until(trades, now)
    keep(parts, done)
    without = replace(parts, candles=Candles(CANDLES, error=error))
    kind = RetryError if isinstance(error, RetryError) else FixError
    with pytest.raises(kind, match=f"{STRATEGY}, paper: {error}"):
        record_live_runs(without, now)
    assert values(client, "equity_r") == [pytest.approx(sum(trade.r for trade in done))]
    assert values(client, "band_mid") == [0.5 * len(done)]
    record_live_runs(parts, now)
    assert divergences(client)["explained"].tolist() == ["same"] * len(done)


def test_equity_is_logged_although_the_backtest_is_gone(
    client: MlflowClient, parts: LiveParts, bundle: StrategyBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    trades = simulated(bundle)
    keep(parts, trades[:1])
    monkeypatch.setattr("serving.live_record.BACKTEST_TRADES", "gone.csv")
    with pytest.raises(FixError, match=r"not all live runs are up to date: .* has no file gone"):
        record_live_runs(parts, day_after(trades[0]))
    assert values(client, "equity_r") == [trades[0].r]
    assert "band_mid" not in only_run(client).data.metrics
