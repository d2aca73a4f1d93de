"""A month of launches by hundreds at once, on an account whose true spend is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random  # noqa: TID251 - seeded
from threading import Barrier

import pytest
from botocore.exceptions import ClientError

from serving.cost_decision import Decision, Launch
from serving.cost_gate import CostGate
from store.aws import client
from store.clock import Clock
from store.dynamo_state import DynamoState
from store.prices import load_prices
from store.spending import AwsSpending
from store.sqlite_state import SqliteState
from store.state import StateTable
from strategy.errors import RetryError
from tests.aws_fakes import create_state_table, fake_aws
from tests.simulated_account import SimulatedAccount

LIMIT = 10.0
LATER_REQUESTS = [30, 30, 30, 30, 30]
"""At once, every four days."""
VOLUME_GB = 30
MAX_RUNTIME = 6 * 3600
TYPES = ["ml.c5.xlarge", "ml.c6i.xlarge", "ml.m5.xlarge", "ml.m5.large"]
HOUR = timedelta(hours=1)
BEGIN = datetime(2026, 11, 1, 3, tzinfo=UTC)
THROTTLED = ClientError({"Error": {"Code": "LimitExceededException"}}, "GetCostAndUsage")

MakeState = Callable[[Clock], StateTable]


# The same month on moto takes half a minute; the contract suite holds both tables to the same.
@pytest.fixture(params=["sqlite", pytest.param("dynamodb", marks=pytest.mark.torture)])
def make_state(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MakeState]:
    if request.param == "sqlite":
        yield lambda clock: SqliteState(tmp_path / "state.db", clock)
        return
    with fake_aws():
        dynamodb = client("dynamodb")
        create_state_table(dynamodb, "state")
        yield lambda clock: DynamoState(dynamodb, "state", clock)


class Month:
    """The account, its gate and the queue of requests."""

    def __init__(self, make_state: MakeState, seed: int = 1) -> None:
        self.account = SimulatedAccount(BEGIN, load_prices(), lag=timedelta(hours=24))
        state = make_state(self.account)
        spending = AwsSpending(self.account, self.account, state)
        self.gate = CostGate(state, spending, load_prices(), self.account)
        self.chance = Random(seed)
        self.decisions: list[Decision] = []
        self.heard: set[str] = set()

    def ask(self, name: str, at_once: Barrier | None = None) -> Decision | None:
        """One request: the decision on its best offer; None if it must come again."""
        if at_once:
            at_once.wait()
        try:
            (offer, *_) = self.gate.offers(TYPES)
            launch = Launch("campaign", name, offer, MAX_RUNTIME, VOLUME_GB)
            return self.gate.admit(launch, limit_usd=LIMIT, min_discount=0.4)
        except RetryError:
            return None

    def burst(self, names: list[str]) -> list[Decision]:
        """All requests at once; what is allowed is launched, or cannot be."""
        at_once = Barrier(len(names))
        with ThreadPoolExecutor(len(names)) as threads:
            answers = list(threads.map(lambda name: self.ask(name, at_once), names))
        decisions = [decision for decision in answers if decision]
        for decision in decisions:
            if decision.allowed:
                self.launch(decision.launch)
        self.decisions += decisions
        return decisions

    def launch(self, launch: Launch) -> None:
        if self.chance.random() < 0.1:  # no capacity
            self.gate.release(launch.job_name)
            return
        training = min(MAX_RUNTIME, self.chance.randint(MAX_RUNTIME // 10, 2 * MAX_RUNTIME))
        self.account.run(
            launch.job_name,
            launch.offer.instance_type,
            waits=self.chance.random() * 12 * HOUR,
            training_seconds=training,
            billable_seconds=round(training * self.chance.uniform(0.6, 1.0)),
            volume_gb=VOLUME_GB,
        )

    def pass_days(self, days: int) -> None:
        """Time goes on by the hour; the end of a job is heard of late, or only when looked for."""
        for _ in range(days * 24):
            self.account.now += HOUR
            assert self.account.spent(self.account.now) <= LIMIT
            for job in list(self.account.ended()):
                if job.name not in self.heard and self.chance.random() < 0.2:
                    self.gate.settle(job.description)
                    self.heard.add(job.name)


@pytest.mark.parametrize("first", [70, pytest.param(200, marks=pytest.mark.torture)])
def test_so_many_launches_at_once_never_pass_the_limit_of_a_month(
    make_state: MakeState, first: int
) -> None:
    month = Month(make_state)
    bursts = [first, *LATER_REQUESTS]
    for burst, requests in enumerate(bursts):
        names = [f"job-{burst}-{i}" for i in range(requests)]
        assert month.burst(names)
        month.account.now += timedelta(minutes=2)
        left = names[:10]  # the queue sends some of them again
        assert len(month.burst(left)) == len(left)
        month.pass_days(4)
    while month.account.now.month == BEGIN.month:
        month.pass_days(1)

    # The gate is not shut for good either: most of the limit was of use, and not all went through.
    spent = month.account.spent(BEGIN, month.account.now)
    assert 0.6 * LIMIT < spent <= LIMIT
    refused = [decision for decision in month.decisions if not decision.allowed]
    assert any("over the monthly limit" in decision.reason for decision in refused)
    assert len(month.account.jobs) >= 6
    # Cost Explorer is asked once where hundreds want to know.
    assert month.account.asked <= 2 * len(bursts)
    assert len(month.gate.state.items("decisions#2026-11")) == len(month.decisions)


def test_two_launches_at_once_share_what_is_left(make_state: MakeState) -> None:
    month = Month(make_state)
    (offer, *_) = month.gate.offers(TYPES)
    worst = load_prices().usd(offer.instance_type, MAX_RUNTIME, VOLUME_GB)
    at_once = Barrier(2)

    def ask(name: str) -> bool:
        at_once.wait()
        launch = Launch("campaign", name, offer, MAX_RUNTIME, VOLUME_GB)
        return month.gate.admit(launch, limit_usd=1.5 * worst, min_discount=0.4).allowed

    month.gate.spending.month_to_date(month.account.now)
    with ThreadPoolExecutor(2) as threads:
        assert sorted(threads.map(ask, ["a", "b"])) == [False, True]


def test_while_cost_explorer_throttles_everybody_waits(make_state: MakeState) -> None:
    month = Month(make_state)
    month.account.fault = THROTTLED
    decisions = month.burst([f"job-{i}" for i in range(20)])
    assert decisions
    assert not any(decision.allowed for decision in decisions)
    assert not month.account.jobs
    assert month.account.asked == 1
    month.account.fault = None
    month.account.now += timedelta(minutes=2)
    assert any(decision.allowed for decision in month.burst([f"job-{i}" for i in range(20)]))


def test_while_cost_explorer_has_no_data_everybody_waits(make_state: MakeState) -> None:
    month = Month(make_state)
    month.account.fault = SimulatedAccount.exceptions.DataUnavailableException("not yet")
    (decision,) = month.burst(["job"])
    assert not decision.allowed
    assert "Cost Explorer has no data" in decision.reason


def test_a_tag_that_was_never_activated_is_noticed(make_state: MakeState) -> None:
    month = Month(make_state)
    month.burst([f"job-{i}" for i in range(20)])
    month.account.now += timedelta(minutes=2)
    month.burst([f"job-{i}" for i in range(20)])
    month.pass_days(4)
    for job in month.account.ended():
        month.gate.settle(job.description)
    blind = SimulatedAccount(month.account.now, load_prices(), timedelta())
    spending = AwsSpending(blind, month.account, month.gate.state)
    gate = CostGate(month.gate.state, spending, load_prices(), month.account)
    (offer, *_) = gate.offers(TYPES)
    launch = Launch("campaign", "next", offer, MAX_RUNTIME, VOLUME_GB)
    decision = gate.admit(launch, limit_usd=100.0, min_discount=0.0)
    assert not decision.allowed
    assert "activate the cost-allocation tag Project" in decision.reason
