"""Lets a training job be launched only if the month cannot become dearer than its limit."""

from __future__ import annotations

import json
import logging
import statistics
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from serving.cost_decision import Decision, Figures, Launch, Offer, decide
from serving.cost_ledger import FIGURE_MAX_AGE, Ledger, Totals
from store.clock import Clock
from store.prices import PriceTable
from store.spending import MonthToDate, Spending
from store.state import StateTable
from store.training_jobs import JobDescription
from strategy.errors import ConflictError, RetryError

_log = logging.getLogger(__name__)

_SAVINGS_COUNT = timedelta(days=90)  # Spot prices drift, and a bad job must not count for ever
_DECISIONS_KEPT = timedelta(days=396)  # 13 months


@dataclass(frozen=True)
class CostGate:
    """Decides on launches, and keeps account of what they may cost and did cost.

    For each launch, in this order: ``offers``, ``admit`` for one offer after the other until
    one is allowed, and ``release`` if the job could not be started; ``settle`` when it ended.
    What is not settled counts with its worst case. All of it may be repeated.

    Every method raises StoreError or RetryError where the state table cannot be used, or when
    AWS refuses to say what was spent or what Spot costs.

    Parameters
    ----------
    prices
        Of the instance types that are offered.
    clock
        UTC.
    """

    state: StateTable
    spending: Spending
    prices: PriceTable
    clock: Clock

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.state, self.clock)

    def offers(self, instance_types: Sequence[str]) -> list[Offer]:
        """The instance types, by the cost that is expected of a core, the lowest first.

        Raises
        ------
        ConfigError
            A type has no price.
        """
        spot, savings = self._spot_prices(instance_types), self._savings()
        offers = [
            self._offer(name, spot.get(name), savings.get(name, []))
            for name in dict.fromkeys(instance_types)
        ]
        return sorted(offers, key=lambda offer: (offer.usd_per_vcpu_hour, offer.instance_type))

    def admit(self, launch: Launch, *, limit_usd: float, min_discount: float) -> Decision:
        """Decide on a launch and, if it is allowed, reserve what it costs at most.

        The decision with its figures goes to the log and to the state table.

        Parameters
        ----------
        limit_usd
            What the month may cost.
        min_discount
            What Spot must save, as a fraction of the price on demand.
        """
        now = self.clock()
        worst_case = self.prices.usd(
            launch.offer.instance_type, launch.max_runtime_seconds, launch.volume_gb
        )
        month_to_date, no_figure = self._month_to_date(now)

        def judge(totals: Totals) -> Decision:
            figures = Figures(
                limit_usd=limit_usd,
                min_discount=min_discount,
                worst_case_usd=worst_case,
                committed_usd=totals.committed_usd,
                known_usd=totals.known_usd,
                held=totals.held,
                month_to_date=month_to_date,
                no_figure=no_figure,
            )
            return decide(launch, figures, now)

        figure_at = month_to_date.at if month_to_date else now
        decision = self.ledger.reserve(launch.job_name, worst_case, figure_at, judge)
        self._record(decision)
        return decision

    def release(self, job_name: str) -> None:
        """Take back the reservation of a job that was not started."""
        self.ledger.release(job_name)

    def settle(self, job: JobDescription) -> float:
        """Account for a job that has ended; returns what it cost, in USD.

        What it saved is remembered for later decisions. A job that ended without a time of
        training never had an instance.

        Raises
        ------
        RetryError
            The job has not ended.
        """
        if job.ended_at is None:
            raise RetryError(f"job {job.name} is {job.status}: what it cost is known when it ended")
        training = job.training_seconds or 0
        billable = training if job.billable_seconds is None else job.billable_seconds
        usd = self.prices.usd(job.instance_type, billable, job.volume_gb, training)
        self.ledger.settle(job.name, usd, job.ended_at)
        if job.savings is not None:
            value = {"instance_type": job.instance_type, "savings": job.savings}
            expiry = job.ended_at + _SAVINGS_COUNT
            with suppress(ConflictError):  # it is there: the job was settled before
                self.state.put("savings", job.name, value, expected=0, expires_at=expiry)
        return usd

    def _offer(self, name: str, spot_price: float | None, savings: Sequence[float]) -> Offer:
        price = self.prices.instance(name)
        measured = statistics.median(savings) if savings else None
        spot = None
        if spot_price is not None:
            on_demand = price.ec2_usd_per_hour
            spot = 1 - spot_price / on_demand if on_demand else 1.0
        expected = next((d for d in (measured, spot) if d is not None), 0.0)
        per_vcpu = price.training_usd_per_hour * (1 - expected) / price.vcpus
        return Offer(name, per_vcpu, measured, spot)

    def _savings(self) -> Mapping[str, list[float]]:
        """By instance type, what jobs on it saved."""
        savings: dict[str, list[float]] = {}
        for record in self.state.items("savings"):
            savings.setdefault(record.value["instance_type"], []).append(record.value["savings"])
        return savings

    def _spot_prices(self, instance_types: Sequence[str]) -> Mapping[str, float]:
        try:
            return self.spending.spot_prices(instance_types, self.clock())
        except RetryError as error:  # savings of past jobs may do; else the decision says so
            _log.warning("no Spot prices: %s", error)
            return {}

    def _month_to_date(self, now: datetime) -> tuple[MonthToDate | None, str]:
        """The figure of Cost Explorer, or why there is none that can be used."""
        try:
            figure = self.spending.month_to_date(now)
        except RetryError as error:
            return None, str(error)
        if now - figure.at > FIGURE_MAX_AGE:
            return None, f"the newest figure of Cost Explorer is from {figure.at:%d %b %H:%M} UTC"
        return figure, ""

    def _record(self, decision: Decision) -> None:
        _log.info("cost decision %s", json.dumps(decision.record))
        launch, time = decision.launch, decision.time
        with suppress(ConflictError):  # the same question, at the same microsecond
            self.state.put(
                f"decisions#{time:%Y-%m}",
                f"{time.isoformat(timespec='microseconds')}#{launch.campaign_id}"
                f"#{launch.job_name}#{launch.offer.instance_type}",
                decision.record,
                expected=0,
                expires_at=time + _DECISIONS_KEPT,
            )
