"""The cost gate: what it counts, what it refuses and why, and what it writes down."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from serving.cost_decision import Decision, Figures, Launch, Offer, decide
from serving.cost_gate import CostGate
from store.prices import LOCAL, LOCAL_PRICES, InstancePrice, PriceTable
from store.spending import FreeOfCharge, MonthToDate
from store.state import Item, StateTable
from store.training_jobs import JobDescription
from strategy.errors import ConfigError, RetryError, StoreError
from tests.memory_state import MemoryState

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)

PRICES = PriceTable(
    as_of=NOW.date(),
    region="ap-southeast-1",
    source="round figures",
    volume_usd_per_gb_month=0.1,
    instances={
        "ml.small": InstancePrice(
            vcpus=2, memory_gib=4, training_usd_per_hour=0.12, ec2_usd_per_hour=0.10
        ),
        "ml.large": InstancePrice(
            vcpus=4, memory_gib=8, training_usd_per_hour=0.2, ec2_usd_per_hour=0.16
        ),
    },
)
OFFER = Offer("ml.small", 0.03, measured_savings=None, spot_discount=0.6)
LAUNCH = Launch("campaign", "job", OFFER, max_runtime_seconds=10 * 3600, volume_gb=0)
"""It costs $1.20 at most."""
FIGURES = Figures(
    limit_usd=10.0,
    min_discount=0.5,
    worst_case_usd=1.2,
    committed_usd=2.0,
    known_usd=3.0,
    held=False,
    month_to_date=MonthToDate(usd=4.0, asking_usd=0.05, at=NOW),
)


class Bill:
    """Spending that is told what to say; it says so until it is told something else."""

    def __init__(self) -> None:
        self.usd = 0.0
        self.at: datetime | None = None
        self.spot: dict[str, float] = {"ml.small": 0.04, "ml.large": 0.08}
        self.fault: Exception | None = None
        self.spot_fault: Exception | None = None

    def month_to_date(self, now: datetime) -> MonthToDate:
        if self.fault:
            raise self.fault
        return MonthToDate(self.usd, 0.0, self.at or now)

    def spot_prices(self, instance_types: Sequence[str], now: datetime) -> Mapping[str, float]:
        if self.spot_fault:
            raise self.spot_fault
        return {name: usd for name, usd in self.spot.items() if name in instance_types}


class World:
    """A gate and what is around it."""

    def __init__(self, state: StateTable | None = None) -> None:
        self.now = NOW
        self.bill = Bill()
        self.state = state or MemoryState()
        self.gate = CostGate(self.state, self.bill, PRICES, lambda: self.now)

    def admit(self, job: str = "job", *, limit: float = 10.0, **changes: Any) -> Decision:
        launch = replace(LAUNCH, job_name=job, **changes)
        return self.gate.admit(launch, limit_usd=limit, min_discount=0.5)

    def end(self, job: str, usd: float, ended_at: datetime) -> None:
        seconds = round(usd / 0.12 * 3600)
        self.gate.settle(ended(job, seconds, seconds, ended_at))

    def committed(self) -> float:
        """What the gate counts beside the bill, as a launch that is refused shows it."""
        return self.admit("asks", limit=0.0).figures.committed_usd

    def known(self) -> float:
        return self.admit("asks", limit=0.0).figures.known_usd


def ended(
    name: str,
    training: int | None,
    billable: int | None,
    ended_at: datetime | None = NOW,
    volume_gb: int = 0,
) -> JobDescription:
    return JobDescription(
        name=name,
        status="Completed" if ended_at else "InProgress",
        detail="",
        failure_reason=None,
        instance_type="ml.small",
        volume_gb=volume_gb,
        interruptions=0,
        training_seconds=training,
        billable_seconds=billable,
        ended_at=ended_at,
    )


@pytest.fixture
def world() -> World:
    return World()


def verdict(**changes: Any) -> Decision:
    offer = replace(OFFER, **{k: changes.pop(k) for k in list(changes) if hasattr(OFFER, k)})
    return decide(replace(LAUNCH, offer=offer), replace(FIGURES, **changes), NOW)


# --- the decision -----------------------------------------------------------------------------


def test_within_the_limit_a_launch_is_allowed_and_the_sum_is_said():
    decision = verdict()
    assert decision.allowed
    assert decision.reason == (
        "within the limit: $4.05 spent this month + $2.00 reserved or not yet billed + $1.20 for "
        "this job at most = $7.25 of $10.00"
    )


def test_the_limit_itself_may_be_reached_but_not_passed():
    whole = 4.0 + 0.05 + 2.0 + 1.2
    assert verdict(limit_usd=whole).allowed
    refused = verdict(limit_usd=whole - 0.01)
    assert not refused.allowed
    assert refused.reason.startswith("over the monthly limit: $4.05 spent")
    assert refused.reason.endswith("= $7.25 of $7.24")


def test_what_jobs_are_known_to_have_cost_counts_where_the_bill_says_less():
    assert verdict(known_usd=9.0).figures.total_usd == pytest.approx(9.0 + 0.05 + 2.0 + 1.2)
    assert not verdict(known_usd=9.0).allowed


def test_without_a_figure_of_the_month_the_gate_is_shut():
    decision = verdict(month_to_date=None, no_figure="Cost Explorer: throttled")
    assert not decision.allowed
    assert decision.reason == "what was spent this month is not known: Cost Explorer: throttled"
    assert decision.figures.total_usd is None


def test_a_bill_of_nothing_after_jobs_that_cost_something_asks_for_the_tag():
    decision = verdict(month_to_date=MonthToDate(0.0, 0.01, NOW), known_usd=0.4)
    assert not decision.allowed
    assert "cost $0.40: activate the cost-allocation tag Project" in decision.reason


def test_a_bill_of_nothing_is_believed_while_no_job_must_be_on_it():
    assert verdict(month_to_date=MonthToDate(0.0, 0.01, NOW), known_usd=0.0).allowed


def test_a_discount_below_the_least_wanted_shuts_the_gate():
    assert verdict(spot_discount=0.5).allowed
    decision = verdict(spot_discount=0.499)
    assert not decision.allowed
    assert decision.reason == (
        "discount of EC2's Spot price on ml.small is 49.9%, wanted are 50.0%"
    )


def test_savings_measured_on_past_jobs_outrank_the_price_of_spot():
    assert verdict(measured_savings=0.7, spot_discount=0.1).allowed
    decision = verdict(measured_savings=0.1, spot_discount=0.7)
    assert not decision.allowed
    assert decision.reason.startswith("median saving of past jobs on ml.small is 10.0%")


def test_without_any_known_discount_the_gate_is_shut():
    decision = verdict(spot_discount=None)
    assert not decision.allowed
    assert "ml.small is not known: no past job, no Spot price" in decision.reason


def test_every_objection_is_said():
    reason = verdict(limit_usd=1.0, spot_discount=0.1).reason
    assert "over the monthly limit" in reason
    assert "wanted are 50.0%" in reason


# --- what is counted --------------------------------------------------------------------------


def test_a_launch_reserves_its_worst_case_with_its_volume(world: World):
    # 10 h at $0.12, and 67.2 GB at $0.1 a month of 28 days: a cent an hour
    decision = world.admit(volume_gb=67.2)
    assert decision.figures.worst_case_usd == pytest.approx(1.2 + 0.1)
    assert world.committed() == pytest.approx(1.3)


def test_a_refused_launch_reserves_nothing(world: World):
    assert not world.admit(limit=1.0).allowed
    assert world.committed() == 0


def test_launches_fill_the_limit_and_the_next_is_refused(world: World):
    allowed = [world.admit(f"job-{i}").allowed for i in range(10)]
    assert allowed == [True] * 8 + [False] * 2  # 8 x 1.2 = 9.6


def test_the_bill_leaves_less_for_launches(world: World):
    world.bill.usd = 5.0
    assert [world.admit(f"job-{i}").allowed for i in range(5)] == [True] * 4 + [False]


def test_a_job_is_counted_once_however_often_it_is_launched(world: World):
    for _ in range(20):
        assert world.admit().allowed
    assert world.committed() == pytest.approx(1.2)


def test_a_held_reservation_is_confirmed_when_nothing_new_would_be_allowed(world: World):
    world.admit()
    world.bill.fault = RetryError("throttled")
    decision = world.admit(limit=0.0)
    assert decision.allowed
    assert decision.reason == "job holds its reservation already"


def test_a_job_that_ended_keeps_its_cost_when_it_is_launched_again(world: World):
    world.end("job", 0.3, NOW)
    assert world.admit().allowed
    assert world.committed() == pytest.approx(0.3)
    assert world.gate.ledger.running() == []


def test_a_dearer_offer_for_the_same_job_needs_room_for_the_difference(world: World):
    world.admit()
    dearer = replace(OFFER, instance_type="ml.large")
    assert not world.admit(offer=dearer, limit=1.9).allowed
    assert world.committed() == pytest.approx(1.2)
    assert world.admit(offer=dearer, limit=2.0).allowed
    assert world.committed() == pytest.approx(2.0)


def test_a_released_job_is_not_counted(world: World):
    world.admit()
    world.gate.release("job")
    world.gate.release("job")
    assert world.committed() == 0


def test_a_job_that_ended_counts_with_what_it_cost(world: World):
    world.admit()
    world.end("job", 0.3, NOW)
    assert world.committed() == pytest.approx(0.3)


def test_a_job_that_ended_cannot_be_released(world: World):
    world.end("job", 0.3, NOW)
    world.gate.release("job")
    assert world.committed() == pytest.approx(0.3)


def test_settling_twice_changes_nothing(world: World):
    for _ in range(2):
        world.end("job", 0.3, NOW)
    assert world.committed() == pytest.approx(0.3)


def test_the_volume_is_paid_for_all_the_time_and_the_instance_for_what_is_billed(world: World):
    usd = world.gate.settle(ended("job", training=10 * 3600, billable=3600, volume_gb=672))
    assert usd == pytest.approx(0.12 + 10 * 0.1)


def test_a_job_without_a_bill_costs_all_its_time(world: World):
    assert world.gate.settle(ended("job", 3600, None)) == pytest.approx(0.12)
    assert world.gate.settle(ended("never began", None, None)) == 0


def test_a_job_that_runs_cannot_be_settled(world: World):
    with pytest.raises(RetryError, match="job is InProgress"):
        world.gate.settle(ended("job", 3600, 3600, ended_at=None))


def test_an_ended_job_counts_until_the_bill_must_have_it(world: World):
    world.end("job", 0.3, NOW)
    world.bill.usd = 0.3
    world.now = NOW + timedelta(hours=47, minutes=59)
    assert (world.committed(), world.known()) == (pytest.approx(0.3), 0)
    world.now = NOW + timedelta(hours=48)
    assert (world.committed(), world.known()) == (0, pytest.approx(0.3))


def test_an_ended_job_counts_until_the_figure_at_hand_must_have_it(world: World):
    world.end("job", 0.3, NOW)
    world.now = NOW + timedelta(hours=60)
    world.bill.at = NOW + timedelta(hours=47)  # an answer that was kept
    assert (world.committed(), world.known()) == (pytest.approx(0.3), 0)


def test_what_another_launch_forgets_is_still_counted_with_an_older_figure(world: World):
    world.end("job", 0.3, NOW)
    world.bill.usd = 0.3
    world.now = NOW + timedelta(hours=71)
    assert world.admit("other").figures.committed_usd == 0  # its figure is new
    world.bill.at = world.now - timedelta(hours=24)
    assert world.committed() == pytest.approx(0.3 + 1.2)


def test_a_figure_older_than_a_day_is_none(world: World):
    world.bill.at = NOW - timedelta(hours=24, seconds=1)
    decision = world.admit()
    assert not decision.allowed
    assert "newest figure of Cost Explorer is from 19 Nov 11:59 UTC" in decision.reason


def test_forgotten_jobs_leave_their_sum_for_the_month(world: World):
    world.end("first", 0.3, NOW)
    world.end("second", 0.5, NOW)
    world.bill.usd = 0.8
    world.now = NOW + 4 * DAY
    assert world.admit().allowed  # and the ledger is written
    (ledger,) = world.state.items("cost", "ledger")
    assert list(ledger.value["jobs"]) == ["job"]
    assert world.known() == pytest.approx(0.8)


def test_a_job_settled_again_after_it_was_forgotten_is_not_counted_again(world: World):
    world.end("job", 0.3, NOW)
    world.now = NOW + 4 * DAY
    world.end("job", 0.3, NOW)
    world.end("job", 0.3, NOW)
    assert (world.committed(), world.known()) == (0, pytest.approx(0.3))


def test_a_job_whose_end_was_heard_of_late_is_no_longer_reserved(world: World):
    world.admit()
    world.now = NOW + 5 * DAY
    world.end("job", 0.3, NOW + HOUR)
    assert (world.committed(), world.known()) == (0, pytest.approx(0.3))


def test_a_new_month_begins_with_the_jobs_that_still_run(world: World):
    world.now = datetime(2026, 11, 30, 20, tzinfo=UTC)
    world.admit("runs on")
    world.end("ended before", 5.0, world.now)
    assert world.committed() == pytest.approx(6.2)
    world.now += 5 * HOUR
    assert (world.committed(), world.known()) == (pytest.approx(1.2), 0)
    world.end("runs on", 0.4, world.now)
    assert world.committed() == pytest.approx(0.4)


def test_a_job_of_last_month_is_forgotten_without_a_trace(world: World):
    world.now = datetime(2026, 11, 30, 20, tzinfo=UTC)
    world.end("job", 5.0, world.now)
    world.now += 4 * DAY
    assert world.admit("writes the ledger").allowed
    assert (world.committed(), world.known()) == (pytest.approx(1.2), 0)


def test_what_a_month_is_known_to_have_cost_does_not_count_in_the_next(world: World):
    world.end("job", 5.0, NOW)
    world.bill.usd = 5.0
    world.now = NOW + 4 * DAY
    world.admit("writes the ledger")
    assert world.known() == pytest.approx(5.0)
    world.now = NOW + 11 * DAY
    assert world.known() == 0


# --- two at once ------------------------------------------------------------------------------


class Overtaken(MemoryState):
    """A table in which somebody else is faster, once."""

    def __init__(self) -> None:
        super().__init__()
        self.rival: Any = None

    def put(self, partition: str, key: str, *rest: Any, **options: Any) -> Item:
        if key == "ledger" and self.rival:
            rival, self.rival = self.rival, None
            rival()
        return super().put(partition, key, *rest, **options)


@pytest.mark.parametrize(("limit", "both"), [(2.4, True), (2.3, False)])
def test_of_two_launches_at_once_one_sees_the_other(limit: float, both: bool):
    state = Overtaken()
    world = World(state)
    rivals: list[Decision] = []
    state.rival = lambda: rivals.append(world.admit("rival", limit=limit))
    slower = world.admit("slower", limit=limit)
    assert rivals[0].allowed
    assert slower.allowed is both
    assert slower.figures.committed_usd == pytest.approx(1.2)
    assert world.gate.ledger.running() == ["rival", "slower"][: 1 + both]


# --- offers -----------------------------------------------------------------------------------


def test_offers_come_by_the_expected_cost_of_a_core(world: World):
    # 0.12 x (1 - 0.6) / 2 = 0.024 a core and hour; 0.2 x (1 - 0.5) / 4 = 0.025
    assert [(o.instance_type, o.usd_per_vcpu_hour) for o in offers(world)] == [
        ("ml.small", pytest.approx(0.024)),
        ("ml.large", pytest.approx(0.025)),
    ]
    world.bill.spot["ml.large"] = 0.04  # a discount of 0.75
    assert [o.instance_type for o in offers(world)] == ["ml.large", "ml.small"]


def offers(world: World) -> list[Offer]:
    return world.gate.offers(["ml.large", "ml.small", "ml.large"])


def test_the_median_of_what_past_jobs_saved_is_measured(world: World):
    for job, billable in (("a", 900), ("b", 1800), ("c", 3600), ("d", 0)):
        world.gate.settle(ended(job, 3600, billable))  # saved 0.75, 0.5, 0 and all
    world.gate.settle(ended("never ran", None, None))
    small, large = sorted(offers(world), key=lambda offer: offer.instance_type, reverse=True)
    assert small.measured_savings == pytest.approx(0.625)
    assert small.usd_per_vcpu_hour == pytest.approx(0.06 * 0.375)
    assert small.spot_discount == pytest.approx(0.6)
    assert large.measured_savings is None


def test_savings_count_for_ninety_days(world: World):
    world.end("job", 0.3, NOW)
    (record,) = world.state.items("savings")
    assert record.expires_at == NOW + 90 * DAY


def test_a_type_of_unknown_discount_is_offered_last(world: World):
    del world.bill.spot["ml.small"]
    assert [o.instance_type for o in offers(world)] == ["ml.large", "ml.small"]
    assert offers(world)[1].spot_discount is None


def test_without_spot_prices_past_jobs_must_do(world: World):
    world.gate.settle(ended("job", 3600, 900))
    world.bill.spot_fault = RetryError("throttled")
    small, large = offers(world)
    assert (small.instance_type, small.measured_savings) == ("ml.small", 0.75)
    assert world.admit(offer=small).allowed
    assert "discount of ml.large is not known" in world.admit("other", offer=large).reason


def test_a_type_without_a_price_is_refused_by_name(world: World):
    with pytest.raises(ConfigError, match=r"'ml\.huge' has no price; there are prices for"):
        world.gate.offers(["ml.small", "ml.huge"])


def test_on_this_machine_everything_is_allowed_and_free(world: World):
    gate = CostGate(world.state, FreeOfCharge(), LOCAL_PRICES, lambda: NOW)
    (offer,) = gate.offers([LOCAL])
    for i in range(50):
        launch = replace(LAUNCH, job_name=f"job-{i}", offer=offer, volume_gb=30)
        decision = gate.admit(launch, limit_usd=10.0, min_discount=0.9)
        assert decision.allowed, decision.reason
        job = ended(f"job-{i}", 3600, 3600, volume_gb=30)
        assert gate.settle(replace(job, instance_type=LOCAL)) == 0


# --- when AWS does not say --------------------------------------------------------------------


def test_while_cost_explorer_does_not_answer_nothing_is_launched(world: World):
    world.bill.fault = RetryError("Cost Explorer: Rate exceeded")
    decision = world.admit()
    assert not decision.allowed
    assert decision.reason.endswith("not known: Cost Explorer: Rate exceeded")
    world.bill.fault = None
    assert world.committed() == 0


def test_a_missing_permission_is_an_error_and_no_reason_to_wait(world: World):
    world.bill.fault = StoreError("Cost Explorer: access denied")
    with pytest.raises(StoreError, match="access denied"):
        world.admit()


# --- what is written down ---------------------------------------------------------------------


def test_every_decision_is_kept_with_its_figures(world: World):
    world.bill.usd = 4.0
    world.admit()
    world.now += HOUR
    world.admit("second", limit=5.0)
    first, second = world.state.items("decisions#2026-11")
    assert first.key.startswith("2026-11-20T12:00:00.000000+00:00#campaign#job")
    assert first.expires_at == NOW + timedelta(days=396)
    assert first.value["allowed"] is True
    assert second.value == {
        "time": "2026-11-20T13:00:00+00:00",
        "campaign_id": "campaign",
        "job_name": "second",
        "allowed": False,
        "reason": second.value["reason"],
        "instance_type": "ml.small",
        "max_runtime_seconds": 36000,
        "volume_gb": 0,
        "limit_usd": 5.0,
        "total_usd": pytest.approx(4.0 + 1.2 + 1.2),
        "month_to_date_usd": 4.0,
        "month_to_date_at": "2026-11-20T13:00:00+00:00",
        "asking_usd": 0.0,
        "known_usd": 0.0,
        "committed_usd": pytest.approx(1.2),
        "worst_case_usd": pytest.approx(1.2),
        "min_discount": 0.5,
        "measured_savings": None,
        "spot_discount": 0.6,
    }


def test_every_decision_is_one_line_of_the_log(world: World, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO):
        decision = world.admit()
    (record,) = [r for r in caplog.records if r.name == "serving.cost_gate"]
    head, _, figures = record.getMessage().partition("{")
    assert head == "cost decision "
    assert json.loads("{" + figures) == decision.record
