"""The rehearsal on what the templates deploy: a day of it, and how its requests to AWS fare."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from rich.console import Console

from registry.lifecycle import Stage
from rehearsal import performance
from rehearsal.__main__ import main
from rehearsal.aws_requests import AwsRequests
from rehearsal.clock import SimulatedClock, moved
from rehearsal.event_rules import EventRules
from rehearsal.fate import Fate, Plan, TimedOut
from rehearsal.imitated_aws import fake_aws, new_clients
from rehearsal.schedule import deployed_rules
from rehearsal.script import script_of
from rehearsal.spot import SimulatedSpot
from rehearsal.system import Event
from rehearsal.world import World
from serving.trading.tenures import tenures_of
from store import binance_futures
from store.aws import CapacityError, client
from store.clock import utc_now
from store.notifications import LogNotifier, SnsNotifier
from store.prices import load_prices
from store.sagemaker_jobs import SageMakerJobs
from store.spending import AwsSpending, month_to_date_usd
from store.state import StateTable, open_state
from strategy.errors import ConfigError, RetryError
from tests.aws_fakes import create_state_table
from tests.campaign_place import ROOT, small_config
from tests.integration.test_rehearsal import MODEL, Impatient, life
from tests.job_specs import IMAGE_URI, ROLE_ARN, job_spec

NOW = datetime(2024, 1, 1, tzinfo=UTC)
LENGTH = timedelta(hours=36)


# A day and a night


@dataclass
class Called:
    """Notes which functions were called, and what ended badly."""

    functions: set[str]
    errors: list[Exception]

    def after(self, event: Event, error: Exception | None) -> None:
        self.functions.add(event.function)
        self.errors += [error] if error else []


@dataclass
class OnceSeen:
    """A person who lets trade with real money what the bot has seen in Staging."""

    world: World

    def after(self, event: Event, error: Exception | None) -> None:
        if event.function != "trading_bot" or not life(self.world).versions_in(Stage.STAGING):
            return
        if tenures_of(self.world.system.state, MODEL):
            Impatient(self.world).after(replace(event, function="job"), error)


def test_a_strategy_is_found_and_trades_on_what_was_deployed_and_nothing_is_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(small_config()))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # of the training job
    asked = argparse.Namespace(
        aws="moto", candles="synthetic", months=1, seed=1, faults=0.2, max_trials=1,
        config="config.json", preflight=None,
    )  # fmt: skip
    called = Called(set(), [])

    def world_of(script: Any, folder: Path) -> World:
        world = World(script, folder)
        world.rehearsal.observers += [OnceSeen(world), called]
        return world

    monkeypatch.setattr(performance, "World", world_of)
    script = script_of(asked)
    script = replace(script, end=script.begin + LENGTH)
    folder = tmp_path / "rehearsal"
    folder.mkdir()
    connect = binance_futures.connect_futures
    with performance.performed(script, folder, Console(quiet=True)) as (world, broken):
        assert broken is None
        assert [rule.cron for rule in world.rehearsal.rules] == rules_of_the_template()
        assert called.functions == {
            "data_downloader", "orchestrator", "trading_bot", "initiate_validation_window",
            "launch_spot_validator", "training_job_events", "job", "people",
        }  # fmt: skip
        assert sum(world.invariants.checked.values()) > 1000
        assert world.fate.counts.total() > 10
        assert {job.status for job in world.system.spot.ended} >= {"Completed"}
        (version,) = life(world).versions()
        assert version.stage == "Production"
        assert "live" in {item.key for item in world.system.state.items("accounts")}
        requests: Any = world.system
        assert {name.partition(".")[0] for name in requests.requests.asked} == {
            "ce", "dynamodb", "ec2", "s3", "sagemaker", "sns", "sqs", "ssm"
        }  # fmt: skip
    said = (folder / "notifications.log").read_text()
    assert "long opened" in said or "short opened" in said
    log = (folder / "functions.log").read_text()
    assert '"function_name":"trading-system-rehearsal-launch_spot_validator"' in log
    assert binance_futures.connect_futures is connect
    assert utc_now().year > script.end.year


def rules_of_the_template() -> list[Any]:
    return [rule.cron for rule in deployed_rules()]


def test_without_moto_it_says_where_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("rehearsal.script.find_spec", lambda _: None)
    assert main(["--aws", "moto", "--into", str(tmp_path / "rehearsal")]) == 2
    assert "make test" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


# Requests that are struck

LASTS, PASSES = "stays", "passes"
"""Names of faults: one half of them fails, too, when a request is made again."""
ITEM = ("test", "item")


@dataclass
class Place:
    """A table, a topic, and requests that pass through a rehearsal's hands."""

    requests: AwsRequests
    state: StateTable

    def strike(self, kind: str, key: str = PASSES, call: int = 0, after: bool = False) -> None:
        """Let something go wrong with the next request but so many."""
        self.requests.fate.begin(Plan(key, kind, call, after, 0.5))


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    clock = SimulatedClock(NOW)
    fate = Fate(1, 0.5, clock)
    spot = SimulatedSpot(tmp_path, clock, load_prices(), 1, lambda *_: None)
    told = LogNotifier(tmp_path / "told.log", clock)
    requests = AwsRequests(clock, fate, spot, told, {"ADDED": "here"})
    fate.only = frozenset({"none"})  # no outage but those that a test makes
    with fake_aws(), new_clients(), moved(clock, clock.sleep), requests.passing():
        create_state_table(client("dynamodb"), "table")
        with requests.by_functions():
            yield Place(requests, open_state("dynamodb://table", clock))


@pytest.mark.parametrize("after", [False, True])
def test_what_fails_once_is_asked_again_and_written_once(place: Place, after: bool) -> None:
    place.strike("table", after=after)
    assert place.state.put(*ITEM, {"a": 1}, expected=0).version == 1
    assert place.requests.asked["dynamodb.PutItem"] == 2
    found = place.state.get(*ITEM)
    assert found is not None
    assert (found.version, found.value) == (1, {"a": 1})


@pytest.mark.parametrize("after", [False, True])
def test_what_fails_every_time_is_given_up_and_may_have_landed(place: Place, after: bool) -> None:
    place.strike("table", LASTS, after=after)
    with pytest.raises(RetryError, match="did not answer"):
        place.state.put(*ITEM, {"a": 1}, expected=0)
    assert place.requests.asked["dynamodb.PutItem"] > 2
    assert (place.state.get(*ITEM) is not None) == after
    with place.requests.by_functions():
        assert place.state.put(*ITEM, {"a": 2}, expected=int(after)).version == 1 + after


def test_a_time_out_ends_the_function_in_the_middle_of_what_it_asks(place: Place) -> None:
    place.strike("times out", call=1, after=True)
    place.state.put(*ITEM, {"a": 1}, expected=0)
    with pytest.raises(TimedOut):
        place.state.put(*ITEM, {"a": 2}, expected=1)
    found = place.state.get(*ITEM)
    assert found is not None
    assert found.value == {"a": 2}


def test_who_only_looks_on_is_not_struck(place: Place) -> None:
    with place.requests.by_functions():
        pass  # and from here on it is no function that asks
    place.strike("table", LASTS)
    assert place.state.get(*ITEM) is None
    assert place.requests.fate.struck == []


def test_what_is_published_is_heard_unless_it_fails(place: Place) -> None:
    topic = client("sns").create_topic(Name="operator")["TopicArn"]
    notifier, told = SnsNotifier(client("sns"), topic), place.requests.told.path
    place.strike("notifier", LASTS)
    with pytest.raises(RetryError):
        notifier.send("news", "first")
    assert not told.exists()
    notifier.send("news", "second")
    assert told.read_text().split() == ["2024-01-01T00:00:01+00:00", "news", "second"]


def test_a_job_is_created_when_there_is_an_instance_once_and_ends_when_it_is_told_to(
    place: Place,
) -> None:
    jobs = SageMakerJobs(client("sagemaker"), ROLE_ARN, IMAGE_URI)
    spot, spec = place.requests.spot, job_spec()
    place.strike("capacity")
    with pytest.raises(CapacityError):
        jobs.create(spec)
    assert jobs.describe(spec.name) is None
    with place.requests.by_functions():
        for _ in range(2):
            jobs.create(spec)
        running = jobs.describe(spec.name)
        assert running is not None
        assert (running.status, running.ended_at) == ("InProgress", None)
        assert spot._specs[spec.name].environment == {**spec.environment, "ADDED": "here"}
        place.requests.clock.sleep(7200)
        ended = spot._description(spec.name, "Failed", "Failed", "the instance was taken away")
        place.requests.job_ended(ended)
        assert ended.ended_at is not None
        told = replace(ended, ended_at=ended.ended_at.replace(microsecond=0))
        assert jobs.describe(spec.name) == told


def test_the_bill_and_the_prices_are_those_of_the_rehearsal_s_spot(place: Place) -> None:
    spot = place.requests.spot
    spending = AwsSpending(client("ce"), client("ec2"), place.state)
    assert month_to_date_usd(client("ce"), NOW) == spot.month_to_date(NOW).usd
    assert spending.spot_prices(["ml.m5.large"], NOW) == spot.spot_prices(["ml.m5.large"], NOW)


# Rules


def test_a_rule_that_is_disabled_or_may_not_call_is_refused() -> None:
    with fake_aws():
        rule: dict[str, Any] = {"Name": "x-tick", "ScheduleExpression": "cron(0/5 * * * ? *)"}
        events, lambdas = client("events"), client("lambda")
        arn = events.put_rule(**rule)["RuleArn"]
        function = a_function(lambdas)
        events.put_targets(Rule="x-tick", Targets=[{"Id": "a", "Arn": function, "Input": "{}"}])
        allow(lambdas, f"{arn}-not")
        with pytest.raises(ConfigError, match="x-tick may not call x-bot"):
            EventRules("x-").scheduled()
        allow(lambdas, arn)
        (found,) = EventRules("x-").scheduled()
        assert (found.name, found.function, found.event) == ("tick", "bot", {})
        events.disable_rule(Name="x-tick")
        with pytest.raises(ConfigError, match="x-tick is DISABLED"):
            EventRules("x-").scheduled()


def a_function(lambdas: Any) -> str:
    role = client("iam").create_role(RoleName="bot", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    code = BytesIO()
    with ZipFile(code, "w") as file:
        file.writestr("bot.py", "")
    made = lambdas.create_function(
        FunctionName="x-bot",
        Runtime="python3.12",
        Role=role,
        Handler="bot.handler",
        Code={"ZipFile": code.getvalue()},
    )
    return str(made["FunctionArn"])


def allow(lambdas: Any, rule_arn: str) -> None:
    """Let a rule call the function."""
    lambdas.add_permission(
        FunctionName="x-bot",
        StatementId=rule_arn.rpartition("/")[2],
        Action="lambda:InvokeFunction",
        Principal="events.amazonaws.com",
        SourceArn=rule_arn,
    )
