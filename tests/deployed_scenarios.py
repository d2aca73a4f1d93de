"""What each deployed function does on its main path and where something is in its way.

Clocks differ: what a scenario needs of the past it makes.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from moto.ce.models import ce_backends
from moto.sagemaker.models import sagemaker_backends

import store.binance_market
from registry.connection import connect, ensure_experiment, ensure_store
from registry.lifecycle import Lifecycle, Stage
from registry.registration import register
from registry.runs import read_json
from rehearsal.binance.klines import binance_server
from rehearsal.imitated_aws import ACCOUNT_ID, APP
from serving import data_downloader, model_retrainer, trading_bot
from serving.campaign_requests import Campaign, Requests
from serving.journal import Journal
from serving.trading.tenures import KEY, PARTITION, Tenure
from store.aws import REGION, client
from store.candle_archive import open_archive
from store.checkpoints import Origin, checkpoints_at
from store.clock import utc_now
from store.job_records import JobRecord
from store.market import ReplayMarket
from store.objects import open_objects
from store.queue import SqsQueue
from store.state import StateTable, open_state
from strategy.errors import TradingSystemError
from tests.candle_frames import candles
from tests.deployed_system import DeployedSystem, move_to_bucket
from tests.launch_world import sqs_record, state_change
from tests.orchestrator_world import record
from tests.retrain_world import (
    FOUND,
    RETRAINED,
    STEADY,
    config,
    found_strategy,
    register_as_campaign,
)
from tests.retrain_world import market as retrain_market
from tests.strategy_bundles import random_candles, trained_bundle

MODEL = "BTCUSDT-1h"
EVENTS = Path(__file__).parent / "events"


def run_all(system: DeployedSystem, folder: Path) -> None:
    """Every function, in an order in which one finds what another left."""
    for number, scenario in enumerate(SCENARIOS):
        (folder / str(number)).mkdir()
        scenario(system, folder / str(number))


def configuration_is_shown(system: DeployedSystem, folder: Path) -> None:
    document = system.call("config_service", {})
    assert document["config"]["digest"]


def candles_are_downloaded(system: DeployedSystem, folder: Path) -> None:
    """With a gap that the operator is told of, and months that are over; then untold."""
    midnight = pd.Timestamp("2026-03-01T00:00:00Z")
    hours = candles(2448, str(midnight - pd.Timedelta(hours=2400)), "1h")
    finest = candles(864, str(midnight - pd.Timedelta(days=1)), "5min")
    held = {("BTCUSDT", "1h"): hours.drop(hours.index[500:530]), ("BTCUSDT", "5m"): finest}
    old = candles(24, "2019-01-01T00:00:00Z", "1h")
    open_archive(f"s3://{system.bucket}/candles", 24).write("BTCUSDT", "1h", old)
    with binance_server(held) as server, pytest.MonkeyPatch.context() as patch:
        patch.setattr(data_downloader, "connect", server.client)
        patch.setattr(data_downloader, "utc_now", lambda: midnight.to_pydatetime())
        with system.refusing("sns.Publish"):
            failing(lambda: system.call("data_downloader", {}))
        system.call("data_downloader", {})
        system.call("data_downloader", {"asset": "BTCUSDT"})


def a_model_is_retrained(system: DeployedSystem, folder: Path) -> None:
    found_strategy(folder, Stage.PRODUCTION)
    system.store = move_to_bucket(folder, system.bucket)
    bucket = open_objects(f"s3://{system.bucket}")
    before = bucket.read("config.json")
    assert before is not None
    bucket.replace("config.json", config().model_dump_json().encode())
    archive = open_archive(f"s3://{system.bucket}/candles", 24)
    archive.remove_before("BTCUSDT", "1h", pd.Timestamp("2030-01-01", tz="UTC"))
    archive.write("BTCUSDT", "1h", retrain_market(*STEADY))
    event = json.loads((EVENTS / "retrain.json").read_text())
    now = RETRAINED.to_pydatetime() + timedelta(minutes=10)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model_retrainer, "utc_now", lambda: now)
        with system.refusing("sns.Publish"):
            failing(lambda: system.call("model_retrainer", event))
        assert system.call("model_retrainer", event)["verdict"] == "admitted"
    bucket.replace("config.json", before)
    archive.remove_before("BTCUSDT", "1h", pd.Timestamp("2030-01-01", tz="UTC"))


def a_strategy_trades_on_paper(system: DeployedSystem, folder: Path) -> None:
    held = random_candles(1000)
    bundle = trained_bundle(held)
    system.store = registered(system, folder, bundle, held, Stage.STAGING)
    signals = bundle.signals(held)["signal"].dropna()
    entry = (signals[signals != 0].index[-1] + pd.Timedelta("1h")).to_pydatetime()
    now = [entry]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            store.binance_market,
            "BinanceMarket",
            lambda exchange, at, gaps: ReplayMarket({("BTCUSDT", "1h"): held}, at),
        )
        patch.setattr(trading_bot, "utc_now", lambda: now[0])
        with system.refusing("sns.Publish"):
            failing(lambda: system.call("trading_bot", {}))
        now[0] += timedelta(minutes=5)
        failing(lambda: system.call("trading_bot", {}))
        state(system).put("close_requests", "BTCUSDT", {"asked_at": now[0].isoformat()}, expected=0)
        now[0] += timedelta(minutes=5)
        failing(lambda: system.call("trading_bot", {}))


def a_strategy_is_buried_and_another_retrained(system: DeployedSystem, folder: Path) -> None:
    held = random_candles(1000)
    hours = pd.date_range(end=utc_now(), periods=len(held), freq="h").floor("h")
    archive = open_archive(f"s3://{system.bucket}/candles", 24)
    archive.write("BTCUSDT", "1h", held.set_axis(hours.rename("timestamp")))
    bundle = replace(
        trained_bundle(held), training_end=pd.Timestamp(utc_now()) - pd.DateOffset(months=4)
    )
    system.store = registered(system, folder, bundle, held, Stage.PRODUCTION, days=183)
    system.call("orchestrator", {"dry_run": True})
    with system.refusing("lambda.Invoke"):
        system.call("orchestrator", {})
    [outcome] = system.call("orchestrator", {})
    assert system.started, outcome
    journal, began = Journal(state(system)), utc_now() - timedelta(days=183)
    for days in range(1, 15):
        lost = record(bundle.strategy_id, "live", began + timedelta(days=days), -1.0)
        journal.add_trade(lost)
    note_that_it_traded(state(system), bundle.strategy_id, began)
    with system.refusing("sns.Publish"):
        failing(lambda: system.call("orchestrator", {}))
    system.call("orchestrator", {})
    assert requests(system).waiting()


def note_that_it_traded(table: StateTable, strategy_id: str, since: datetime) -> None:
    """As the bot does when it finds a version in Production."""
    tenure = Tenure(version=1, strategy_id=strategy_id, book="live", since=since)
    item = table.get(PARTITION, KEY)
    value = {**(item.value if item else {}), MODEL: [tenure.model_dump(mode="json")]}
    table.put(PARTITION, KEY, value, expected=item.version if item else 0)


def a_campaign_is_launched_and_its_jobs_end(system: DeployedSystem, folder: Path) -> None:
    ce_backends[ACCOUNT_ID]["global"].cost_usage_results_queue.append(
        {"ResultsByTime": [{"Total": {"UnblendedCost": {"Amount": "1.00", "Unit": "USD"}}}]}
    )
    [request] = requests(system).waiting()
    nudge = {"Records": [sqs_record("m1", json.dumps({"campaign_id": request.campaign_id}))]}
    system.call("launch_spot_validator", nudge)  # the window is shut
    system.call("initiate_validation_window", {"action": "open"})
    with system.refusing("sagemaker.CreateTrainingJob", "sns.Publish"):
        system.call("launch_spot_validator", nudge)
    system.call("initiate_validation_window", {"action": "open"})
    assert system.call("launch_spot_validator", nudge) == {"batchItemFailures": []}
    [name] = sagemaker_backends[ACCOUNT_ID][REGION].training_jobs
    request = requests(system)[request.campaign_id]
    system.call("launch_spot_validator", {"Records": [sqs_record("m2", "no nudge")]})

    job = sagemaker_backends[ACCOUNT_ID][REGION].training_jobs[name]
    job.training_job_status = job.secondary_status = "Failed"
    job.failure_reason = "InternalServerError: We encountered an internal error"
    job.training_time_in_seconds = job.billable_time_in_seconds = 60
    ended = state_change(name, "Failed")
    ended["detail"]["HyperParameters"] = job.hyper_parameters
    system.call("initiate_validation_window", {"action": "open"})  # it looks for lost events
    assert requests(system)[request.campaign_id].status == "waiting"
    system.call("training_job_events", ended)
    system.call("launch_spot_validator", nudge)
    again = max(sagemaker_backends[ACCOUNT_ID][REGION].training_jobs)
    assert again != name
    job = sagemaker_backends[ACCOUNT_ID][REGION].training_jobs[again]
    job.training_job_status = job.secondary_status = "Stopped"
    job.training_time_in_seconds = job.billable_time_in_seconds = 60
    ended = state_change(again, "Stopped")
    ended["detail"]["HyperParameters"] = job.hyper_parameters
    with system.refusing("sns.Publish"):
        failing(lambda: system.call("training_job_events", ended))
    system.call("training_job_events", ended)
    assert requests(system)[request.campaign_id].status == "failed"
    system.call("initiate_validation_window", {"action": "close"})


def a_lever_is_wrong(system: DeployedSystem, folder: Path) -> None:
    """And the operator can be told the second time only."""
    lever = {"Name": "/trading_system/cost/launch_window_hours", "Overwrite": True}
    client("ssm").put_parameter(**lever, Value="25", Type="String")
    with system.refusing("sns.Publish"):
        failing(lambda: system.call("initiate_validation_window", {"action": "open"}))
    failing(lambda: system.call("initiate_validation_window", {"action": "open"}))
    client("ssm").put_parameter(**lever, Value="8", Type="String")


def an_input_is_gone(system: DeployedSystem, folder: Path) -> None:
    system.call("initiate_validation_window", {"action": "open"})
    campaign = Campaign(
        campaign_id="0a1b2c3d4e5f",
        asset="BTCUSDT",
        timeframe="1h",
        config_digest="c0nf",
        data_digest="da7a",
        code_digest="c0de",
        input_uri=f"s3://{system.bucket}/campaigns/0a1b2c3d4e5f/input",
        checkpoint_uri=f"s3://{system.bucket}/walk_forward_checkpoints/",
        max_resume_attempts=2,
    )
    requests(system).ask(
        SqsQueue(client("sqs"), system.outputs["QueueUrl"]), campaign, shards=1, requested_by="ana"
    )
    nudge = sqs_record("m3", json.dumps({"campaign_id": campaign.campaign_id}))
    system.call("launch_spot_validator", {"Records": [nudge]})
    assert requests(system)[campaign.campaign_id].status == "failed"


def a_job_keeps_its_results(system: DeployedSystem, folder: Path) -> None:
    """What the program in a training container asks its stores for, a torn checkpoint included."""
    with system.as_role("training_job"):
        job = JobRecord(state(system), "0a1b2c3d4e5f", 1, 1, utc_now)
        job.begin()
        job.write(status="running")
        place = f"s3://{system.bucket}/walk_forward_checkpoints/"
        kept = checkpoints_at(place, Origin("0a1b2c3d4e5f", "c0nf", "da7a", "c0de"))
        job.checkpointed(kept.write("trial-0001/window-01", b"result"), 1)
        torn = f"{kept.origin.folder}/trial-0001/window-02"
        kept.root.replace(torn, b"torn")
        assert [each.content for each in kept.read_all()] == [b"result"]
        assert not list(kept.root.read_all([torn]))
        kept.remove_others(utc_now())
        uri = f"sqlite:///{folder / 'mlflow.db'}"
        ensure_store(uri)
        system.store = uri
        mlflow = system.open_app(APP)
        mlflow.create_experiment(MODEL, artifact_location=f"s3://{system.bucket}/mlflow/1")
        held = retrain_market(*STEADY)
        register_as_campaign(mlflow, folder, held[held.index < FOUND], "c0ffee")
        [campaign] = mlflow.search_runs(["1"], "tags.run_kind = 'campaign'")
        mlflow.log_dict(campaign.info.run_id, {}, "gates.json")
        assert read_json(mlflow, campaign.info.run_id, "gates.json") == {}


SCENARIOS: tuple[Callable[[DeployedSystem, Path], None], ...] = (
    configuration_is_shown,
    candles_are_downloaded,
    a_model_is_retrained,
    a_strategy_trades_on_paper,
    a_strategy_is_buried_and_another_retrained,
    a_campaign_is_launched_and_its_jobs_end,
    a_lever_is_wrong,
    an_input_is_gone,
    a_job_keeps_its_results,
)


def registered(
    system: DeployedSystem,
    folder: Path,
    bundle: Any,
    held: pd.DataFrame,
    stage: Stage,
    days: int = 0,
) -> str:
    """A version that went into its stage so many days ago; returns the store's URI."""
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    ensure_store(uri)
    mlflow = connect(uri)
    experiment = ensure_experiment(mlflow, MODEL, folder / "artifacts")
    run = mlflow.create_run(experiment).info.run_id
    mlflow.log_text(run, "r\n" + "0.5\n-1.0\n1.5\n" * 20, "trades.csv")  # of its backtest
    number = register(
        mlflow,
        run,
        bundle,
        model_name=MODEL,
        input_example=held.tail(3),
        description="for a test",
        tags={"synthetic": "false"},
    )
    began = utc_now() - timedelta(days=days)
    life = Lifecycle(mlflow, MODEL, lambda: round(began.timestamp() * 1000))
    for each in (Stage.STAGING, Stage.PRODUCTION):
        life.move(number, each, who="a test", why="to trade")
        if each is stage:
            break
    return move_to_bucket(folder, system.bucket)


def state(system: DeployedSystem) -> StateTable:
    return open_state(f"dynamodb://{system.outputs['TableName']}", utc_now)


def requests(system: DeployedSystem) -> Requests:
    return Requests(state(system), utc_now)


def failing(call: Callable[[], Any]) -> None:
    """Whether a function fails or goes on is not this test's business: what it asks for is."""
    with suppress(TradingSystemError):
        call()
