"""However launches, ends and lost news interleave, no month becomes dearer than its limit."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from serving.cost_decision import Launch, Offer
from serving.cost_gate import CostGate
from store.prices import InstancePrice, PriceTable
from store.spending import FreeOfCharge, MonthToDate
from tests.memory_state import MemoryState
from tests.simulated_account import Job, SimulatedAccount

LIMIT = 10.0
HOUR = 3600
LAG = timedelta(hours=24)  # the longest that Cost Explorer takes
UPKEEP = 0.004  # USD per hour, beside the jobs
PRICES = PriceTable(
    as_of=datetime(2026, 1, 1).date(),  # noqa: DTZ001 - a day
    region="ap-southeast-1",
    source="round figures",
    volume_usd_per_gb_month=0.1,
    instances={
        "ml.any": InstancePrice(
            vcpus=4, memory_gib=8, training_usd_per_hour=0.5, ec2_usd_per_hour=0.4
        )
    },
)
OFFER = Offer("ml.any", 0.1, measured_savings=None, spot_discount=0.6)
hours = st.integers(0, 80)
shares = st.sampled_from([1.0, 1.0, 0.5, 0.01])


class LateBill(FreeOfCharge):
    """Gives an answer that was asked for some hours ago, as far as the month goes back."""

    def __init__(self, account: SimulatedAccount) -> None:
        self.account = account
        self.age = timedelta()

    def month_to_date(self, now: datetime) -> MonthToDate:
        at = max(begin_of_month(now), now - self.age)
        return MonthToDate(self.account.spent(now, at - LAG), 0.0, at)


def begin_of_month(moment: datetime) -> datetime:
    return moment.replace(day=1, hour=0, minute=0)


def upkeep(since: datetime, until: datetime) -> float:
    return UPKEEP * max(0.0, (until - since) / timedelta(hours=1))


class Launches(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        begin = datetime(2026, 10, 28, tzinfo=UTC)
        self.account = SimulatedAccount(begin, PRICES, LAG, UPKEEP)
        self.bill = LateBill(self.account)
        self.gate = CostGate(MemoryState(), self.bill, PRICES, self.account)
        self.names = 0
        self.worst: dict[str, float] = {}

    @rule(
        runtime=st.integers(1, 12),
        used=shares,
        billed=shares,
        waits=hours,
        figure_age=st.integers(0, 24),
        again=st.booleans(),
    )
    def launch(
        self, runtime: int, used: float, billed: float, waits: int, figure_age: int, again: bool
    ) -> None:
        self.bill.age = timedelta(hours=figure_age)
        self.names += not again
        name = f"job-{self.names}"
        launch = Launch("campaign", name, OFFER, runtime * HOUR, volume_gb=10)
        decision = self.gate.admit(launch, limit_usd=LIMIT, min_discount=0.5)
        if not decision.allowed or name in self.account.jobs:
            return
        seconds = max(1, round(runtime * HOUR * used))
        self.account.run(
            name,
            "ml.any",
            waits=timedelta(hours=waits),
            training_seconds=seconds,
            billable_seconds=round(seconds * billed),
            volume_gb=10,
        )
        self.worst[name] = decision.figures.worst_case_usd
        assert decision.figures.total_usd is not None
        assert self.exposure() <= decision.figures.total_usd + 1e-9 <= LIMIT + 2e-9

    @rule(runtime=st.integers(1, 12))
    def fail_to_start(self, runtime: int) -> None:
        self.names += 1
        launch = Launch("campaign", f"job-{self.names}", OFFER, runtime * HOUR, volume_gb=10)
        self.gate.admit(launch, limit_usd=LIMIT, min_discount=0.5)
        self.gate.release(launch.job_name)

    @rule(hours=hours)
    def wait(self, hours: int) -> None:
        self.account.now += timedelta(hours=hours)

    @rule(which=st.integers(0, 1000))
    def hear_of_an_end(self, which: int) -> None:
        ended = sorted(self.account.ended(), key=lambda job: job.name)
        if ended:
            self.settle(ended[which % len(ended)])

    @rule()
    def hear_of_all_ends(self) -> None:
        for job in self.account.ended():
            self.settle(job)

    @invariant()
    def no_month_is_dearer_than_its_limit(self) -> None:
        now = self.account.now
        for end in (now, begin_of_month(now) - timedelta(seconds=1)):
            jobs = self.account.spent(end, end) - upkeep(begin_of_month(end), end)
            assert jobs <= LIMIT + 1e-9

    def exposure(self) -> float:
        """What the month costs if every job that runs needs all that it may.

        Of the upkeep, what the bill must show.
        """
        now = self.account.now
        running = sum(self.worst[job.name] for job in self.account.running())
        ended = sum(job.paid(begin_of_month(now), job.ended_at) for job in self.account.ended())
        return running + ended + upkeep(begin_of_month(now), now - self.bill.age - LAG)

    def settle(self, job: Job) -> None:
        self.gate.settle(job.description)


TestLaunches = Launches.TestCase
