"""The whole life of a strategy on what the templates created: from the first download to its grave.

The market rises for nine months and then falls. Everything of ours is real; what AWS does by
itself (schedules, SQS, SageMaker, calls that functions ask for) is done as the deployed rules and
mappings say. Of months in which nothing new happens only the ends are lived: meanwhile the
operator has stopped the bot.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from moto.ce.models import ce_backends

from infra.commands import variables
from infra.templates import resources
from registry import code_version
from registry.connection import connect, ensure_store
from registry.lifecycle import Lifecycle
from registry.live_run import LiveRun, LiveRuns
from registry.loading import load_bundle
from rehearsal.binance.futures import API_KEY, API_SECRET
from rehearsal.imitated_aws import ACCOUNT_ID, APP
from serving import __main__ as command
from serving.journal import Book, Journal, TradeRecord
from serving.trading.positions import LIVE, PARTITION, paper_account
from store.aws import client
from store.candle_archive import open_archive
from store.objects import open_objects
from store.settings import SsmSettings
from tests.campaign_place import small_config
from tests.deployed_life import BTC, Life, deployed_life
from tests.deployed_scenarios import requests, state
from tests.integration.infra.test_infra_privileges import permits, statements_of
from tests.retrain_world import market

MODEL = "BTCUSDT-1h"
BEGIN = datetime(2025, 5, 1, tzinfo=UTC)
RISING, FALLING = 0.2, -0.4
PAPER_TRADES, LIVE_TRADES = 3, 4
"""That promotion and burial want at least."""


def rise_and_fall() -> pd.DataFrame:
    """Hours from 2024-10 until 2025-09; the price falls from July on."""
    hours = market(*(RISING,) * 9, FALLING, FALLING)
    prices = ["open", "high", "low", "close"]
    return hours.assign(**{name: hours[name] / 50 for name in prices}).round(1)


def config() -> dict[str, Any]:
    """Two trials through three windows, and gates that a few trades pass."""
    document: dict[str, Any] = small_config()
    document["asset_timeframes"] = {BTC: ["1h"]}
    for period in document["indicator_parameters"]["ichimoku"].values():
        period["end"] = period["start"]
    document["walk_forward_config"] = {
        "history_years": 1, "training_months": 2, "validation_months": 1, "step_months": 2,
    }  # fmt: skip
    document["search"]["max_trials"] = 2
    document["selection"] = {"confirmation_windows": 1, "min_trades_per_window": 5}
    document["monte_carlo_config"]["n_simulations"] = 50
    document["production_promotion"]["min_trades"] = PAPER_TRADES
    document["gravedigger"] = {
        "minimum_duration_months": 1, "min_trades": LIVE_TRADES, "expectancy_threshold": 0.0,
    }  # fmt: skip
    return document


@dataclass
class Story:
    """A life, and where one looks."""

    life: Life
    folder: Path

    @property
    def bucket(self) -> str:
        return self.life.system.bucket

    @cached_property
    def mlflow(self) -> Any:
        return connect(self.life.system.store)

    @cached_property
    def lifecycle(self) -> Lifecycle:
        return Lifecycle(self.mlflow, MODEL, lambda: 0)

    @property
    def stages(self) -> dict[int, str]:
        return {each.number: str(each.stage) for each in self.lifecycle.versions()}

    @cached_property
    def strategy_id(self) -> str:
        return str(self.lifecycle.version(1).strategy_id)

    def trades(self, book: Book) -> list[TradeRecord]:
        return Journal(state(self.life.system)).trades(self.strategy_id, book)

    def earned(self, book: Book) -> float:
        """R in all."""
        return sum(trade.r for trade in self.trades(book))

    def held(self, account: str) -> dict[str, Any]:
        """Positions that the bot has in an account."""
        item = state(self.life.system).get(PARTITION, account)
        return dict(item.value["positions"]) if item else {}

    def live_run(self, book: Book) -> LiveRun:
        """In MLflow, how it does."""
        found = LiveRuns(self.mlflow, MODEL).find(self.strategy_id, book)
        assert found is not None
        return found

    def news(self) -> list[str]:
        """What the operator was told of the model, without single trades."""
        told = (each.partition(f"{MODEL}: ") for each in self.life.told())
        return [what for before, _, what in told if not before and what]

    def tick_until(self, reached: Callable[[], bool]) -> None:
        """Hour by hour, with the schedule's tick as the bar closes."""
        for _ in range(200):
            self.life.go(self.life.clock.now + timedelta(hours=1))
            self.life.fire("tick")
            if reached():
                return
        raise AssertionError("it is not reached in 200 hours")

    def morning(self, day: datetime) -> list[str]:
        """Candles and then the orchestrator, as the day's schedules say; what it did, or kept."""
        self.life.go(day)
        self.life.fire("download")
        self.life.go(day.replace(hour=1))
        self.life.told()
        [outcome] = self.life.fire("orchestrate")
        assert outcome["errors"] == []
        return [each["action"] for each in outcome["actions"]]

    def rest(self, account: str) -> None:
        """The operator stops the bot, and what is open comes to its end."""
        self.by_hand("stop")
        self.tick_until(lambda: not self.held(account))

    def by_hand(self, *arguments: str) -> None:
        """A command in the operator's shell, whose variables are those of the deployment."""
        outputs = self.life.system.outputs
        built = {"RepositoryName": "trading-system/training", "ImageTag": "0a1b2c3"}
        with pytest.MonkeyPatch.context() as patch:
            for name, value in variables(built, outputs).items():
                patch.setenv(name, value)
            assert command.main(list(arguments)) == 0


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Story]:
    with deployed_life(tmp_path, rise_and_fall(), BEGIN) as life:
        uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
        ensure_store(uri)
        life.system.store = uri
        content = json.dumps(config())
        open_objects(f"s3://{life.system.bucket}").replace("config.json", content.encode())
        (tmp_path / "config.json").write_text(content)
        story = Story(life, tmp_path)
        # An App gives experiments a place in its bucket; a store of one's own would take a folder.
        story.mlflow.create_experiment(MODEL, artifact_location=f"s3://{story.bucket}/mlflow/1")
        yield story


@pytest.mark.torture
def test_a_strategy_lives_its_whole_life_on_what_the_templates_created(story: Story) -> None:
    candles_come_at_midnight(story)
    a_person_asks_for_a_campaign_which_waits_for_the_night(story)
    the_window_opens_and_a_job_is_launched(story)
    the_job_finds_a_strategy_which_goes_into_staging(story)
    it_trades_on_paper(story)
    it_is_promoted_after_a_month(story)
    it_trades_with_real_orders(story)
    it_is_retrained_when_two_months_have_passed(story)
    the_market_turns_and_it_is_buried(story)
    nothing_trades_any_more_and_the_next_campaign_waits(story)
    all_that_was_asked_for_is_allowed(story)


def candles_come_at_midnight(story: Story) -> None:
    done = {each["timeframe"]: each for each in story.life.fire("download")}
    assert done.keys() == {"5m", "1h"}
    assert all(each["complete"] and not each["error"] for each in done.values())
    found = open_archive(f"s3://{story.bucket}/candles", 0).load(BTC, "1h")
    expected = rise_and_fall()
    pd.testing.assert_frame_equal(found, expected[expected.index < BEGIN], check_freq=False)
    assert story.life.told() == []


def a_person_asks_for_a_campaign_which_waits_for_the_night(story: Story) -> None:
    candles, path = f"s3://{story.bucket}/candles", story.folder / "config.json"
    ask = ["campaign", "--candles", candles, "--config", str(path), "--launcher", "sagemaker"]
    story.by_hand(*ask)
    [request] = requests(story.life.system).all()
    bucket = open_objects(f"s3://{story.bucket}/campaigns/{request.campaign_id}/input")
    names = sorted(entry.name for entry in bucket.entries())
    assert names == ["candles.csv.gz", "config.json", "market.json"]
    nudged(story)
    assert requests(story.life.system)[request.campaign_id].status == "waiting"
    assert story.life.jobs == {}


def nudged(story: Story) -> None:
    """One message came to the launcher, about the newest request; none is to come again."""
    newest = max(requests(story.life.system).all(), key=lambda request: request.requested_at)
    [(function, event, answer)] = story.life.call_started()
    assert function == "launch_spot_validator"
    [record] = event["Records"]
    assert json.loads(record["body"]) == {"campaign_id": newest.campaign_id}
    assert answer == {"batchItemFailures": []}


def the_window_opens_and_a_job_is_launched(story: Story) -> None:
    ce_backends[ACCOUNT_ID]["global"].cost_usage_results_queue.append(
        {"ResultsByTime": [{"Total": {"UnblendedCost": {"Amount": "1.00", "Unit": "USD"}}}]}
    )
    story.life.go(datetime(2025, 5, 1, 14, tzinfo=UTC))
    story.life.fire("open-window")
    nudged(story)
    [request] = requests(story.life.system).all()
    assert request.status == "running"
    [name] = story.life.jobs
    job = client("sagemaker").describe_training_job(TrainingJobName=name)
    assert job["RoleArn"] == story.life.system.outputs["JobRoleArn"]
    assert job["AlgorithmSpecification"]["TrainingImage"].endswith("/training:0a1b2c3")
    assert job["EnableManagedSpotTraining"]
    environment = story.life.jobs[name]["Environment"]
    assert environment["MLFLOW_TRACKING_URI"] == APP
    assert environment["STATE_URI"] == f"dynamodb://{story.life.system.outputs['TableName']}"


def the_job_finds_a_strategy_which_goes_into_staging(story: Story) -> None:
    [name] = story.life.jobs
    event = story.life.train(name, story.folder / "sagemaker")
    story.life.go(datetime(2025, 5, 1, 17, tzinfo=UTC))
    story.life.hear("training-job-ends", event)
    [request] = requests(story.life.system).all()
    assert (request.status, request.reason) == ("completed", "promoted: all gates passed")
    assert story.stages == {1: "Staging"}
    version = story.lifecycle.version(1)
    assert version.tags["staging.by"] == "model_validator"
    assert version.tags["staging.at"].startswith("2025-05-01T14:")
    assert version.tags["synthetic"] == "false"
    assert load_bundle(story.mlflow, MODEL, 1).training_end == BEGIN
    assert story.news() == ["validation complete, promoted"]
    story.life.go(datetime(2025, 5, 1, 22, tzinfo=UTC))
    story.life.fire("close-window")


def it_trades_on_paper(story: Story) -> None:
    paper = paper_account(story.strategy_id)
    story.tick_until(lambda: len(story.trades("paper")) >= PAPER_TRADES - 1)
    story.tick_until(lambda: bool(story.held(paper)) and story.earned("paper") > 0)
    story.life.go(story.life.clock.now + timedelta(minutes=5))
    story.life.fire("tick")  # within a bar
    story.rest(paper)
    trades = story.trades("paper")
    assert len(trades) >= PAPER_TRADES
    assert {trade.version for trade in trades} == {1}
    assert story.trades("live") == []
    assert story.life.binance.account.orders == []
    opened = (f"{BTC}: long opened", f"{BTC}: short opened")
    assert sum(subject in opened for subject in story.life.told()) == len(trades)


def it_is_promoted_after_a_month(story: Story) -> None:
    assert story.morning(datetime(2025, 5, 5, tzinfo=UTC)) == ["keep"]
    assert story.stages == {1: "Staging"}
    run = story.live_run("paper")
    assert (run.is_open, run.metric("trades")) == (True, len(story.trades("paper")))
    assert story.morning(datetime(2025, 6, 2, tzinfo=UTC)) == ["promote"]
    assert story.stages == {1: "Production"}
    assert story.lifecycle.version(1).tags["production.by"] == "orchestrator"
    assert story.news() == ["version 1 promoted to Production"]
    assert not story.live_run("paper").is_open


def it_trades_with_real_orders(story: Story) -> None:
    settings = SsmSettings(client("ssm"))
    settings.set("environment/binance_api_key", API_KEY)
    settings.set("environment/binance_api_secret", API_SECRET)
    story.by_hand("resume")
    account = story.life.binance.account
    story.tick_until(lambda: bool(story.held(LIVE)))
    [stop] = account.open_stops(BTC)
    amount = account.holding(BTC).amount
    assert (stop["side"], stop["reduceOnly"]) == ("SELL" if amount > 0 else "BUY", True)
    assert Decimal(stop["quantity"]) == abs(amount) > 0
    story.rest(LIVE)
    assert [trade.version for trade in story.trades("live")] == [1]
    assert story.held(paper_account(story.strategy_id)) == {}
    accounts_agree(story)


def accounts_agree(story: Story) -> None:
    """Nothing is held, and Binance's wallet holds what the journal says was earned."""
    account = story.life.binance.account
    assert account.holding(BTC).amount == 0
    assert account.open_stops(BTC) == []
    profit = sum(trade.profit for trade in story.trades("live"))
    assert float(account.wallet) == pytest.approx(float(10_000 + profit), abs=0.01)


def it_is_retrained_when_two_months_have_passed(story: Story) -> None:
    assert story.morning(datetime(2025, 7, 1, tzinfo=UTC)) == ["keep", "retrain"]
    assert story.stages == {1: "Production"}
    [(function, event, answer)] = story.life.call_started()
    assert (function, event) == ("model_retrainer", {"model": MODEL, "version": 1})
    assert (answer["verdict"], answer["version"]) == ("admitted", 2)
    assert story.stages == {2: "Production", 1: "Archived"}
    old, new = story.lifecycle.version(1), story.lifecycle.version(2)
    assert old.tags["superseded_by"] == "2"
    assert new.strategy_id == story.strategy_id
    assert load_bundle(story.mlflow, MODEL, 2).training_end == story.life.clock.now.replace(hour=0)
    assert story.news() == ["version 2 takes the place of version 1, retrained"]


def the_market_turns_and_it_is_buried(story: Story) -> None:
    story.by_hand("resume")
    story.tick_until(
        lambda: (
            story.life.clock.now.hour == 0
            and len(story.trades("live")) >= LIVE_TRADES
            and story.earned("live") < 0
        )
    )
    assert {trade.version for trade in story.trades("live")} == {1, 2}
    assert story.morning(story.life.clock.now) == ["bury", "ask for a campaign"]
    assert story.stages == {2: "Archived", 1: "Archived"}
    assert story.lifecycle.version(2).tags["archived.why"].startswith("buried: -")
    assert story.news() == ["version 2 buried", "campaign queued"]


def nothing_trades_any_more_and_the_next_campaign_waits(story: Story) -> None:
    """What is open comes to its end first."""
    nudged(story)
    last, first = sorted(
        requests(story.life.system).all(), key=lambda request: request.requested_at, reverse=True
    )
    assert (last.status, last.requested_by) == ("waiting", "orchestrator")
    assert (first.status, len(story.life.jobs)) == ("completed", 1)
    story.tick_until(lambda: not story.held(LIVE))
    sent = len(story.life.binance.account.orders)
    begun = story.life.clock.now
    story.tick_until(lambda: story.life.clock.now >= begun + timedelta(hours=3))
    assert len(story.life.binance.account.orders) == sent
    accounts_agree(story)


def all_that_was_asked_for_is_allowed(story: Story) -> None:
    """By the policies of each function's role; no function but one was left out."""
    calls = story.life.system.calls
    assert set(calls) == {
        "data_downloader",
        "initiate_validation_window",
        "launch_spot_validator",
        "model_retrainer",
        "orchestrator",
        "trading_bot",
        "training_job_events",
    }
    for role, asked in calls.items():
        statements = statements_of(role)
        denied = [call for call in asked if not any(permits(each, call) for each in statements)]
        assert sorted(denied) == [], role


def test_the_retrainer_which_has_no_git_is_told_its_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Images are tagged with it: what made a version stands in its run."""
    functions = dict(resources("processing", "AWS::Lambda::Function"))
    told = functions["ModelRetrainer"]["Properties"]["Environment"]["Variables"]["GIT_COMMIT"]
    assert told == {"Ref": "ImageTag"}
    monkeypatch.setattr(code_version, "ROOT", tmp_path)
    monkeypatch.setenv("GIT_COMMIT", "4d523550c2b1")
    assert code_version.git_commit() == "4d523550c2b1"
