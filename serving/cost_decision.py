"""The decision whether a training job may be launched: a pure function of figures."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from store.spending import MonthToDate


@dataclass(frozen=True)
class Offer:
    """An instance type with what is known of its Spot discount.

    Parameters
    ----------
    usd_per_vcpu_hour
        Expected: a campaign's time shrinks with the cores, so this is what orders offers.
    measured_savings
        Median over past jobs on this type; None before there were any.
    spot_discount
        1 less EC2's Spot price over its price on demand: a proxy. None where it is not known.
    """

    instance_type: str
    usd_per_vcpu_hour: float
    measured_savings: float | None
    spot_discount: float | None


@dataclass(frozen=True)
class Launch:
    """A job that is to be launched, on which type, for how long at most."""

    campaign_id: str
    job_name: str
    offer: Offer
    max_runtime_seconds: int
    volume_gb: int


@dataclass(frozen=True)
class Figures:
    """What a decision rests on: USD, and fractions.

    Parameters
    ----------
    limit_usd, min_discount
        The operator's.
    worst_case_usd
        Of the launch: on demand, for all the time that it may run.
    month_to_date
        None if there is no figure; ``no_figure`` then says why.
    committed_usd, known_usd, held
        As in :class:`serving.cost_ledger.Totals`.
    """

    limit_usd: float
    min_discount: float
    worst_case_usd: float
    committed_usd: float
    known_usd: float
    held: bool
    month_to_date: MonthToDate | None
    no_figure: str = ""

    @property
    def total_usd(self) -> float | None:
        """What the month may cost at most with this launch; None if that is not known.

        What Cost Explorer says is no less than what is known to have been spent: a tag that was
        activated within the month does not count backwards.
        """
        if self.month_to_date is None:
            return None
        spent = max(self.month_to_date.usd, self.known_usd) + self.month_to_date.asking_usd
        return spent + self.committed_usd + self.worst_case_usd


@dataclass(frozen=True)
class Decision:
    """Whether a job may be launched, and why or why not, in words with the figures."""

    launch: Launch
    figures: Figures
    time: datetime
    allowed: bool
    reason: str

    @property
    def record(self) -> dict[str, Any]:
        """All of it, as the log and the state table keep it."""
        launch, figures, known = self.launch, self.figures, self.figures.month_to_date
        return {
            "time": self.time.isoformat(),
            "campaign_id": launch.campaign_id,
            "job_name": launch.job_name,
            "allowed": self.allowed,
            "reason": self.reason,
            "instance_type": launch.offer.instance_type,
            "max_runtime_seconds": launch.max_runtime_seconds,
            "volume_gb": launch.volume_gb,
            "limit_usd": figures.limit_usd,
            "total_usd": figures.total_usd,
            "month_to_date_usd": known.usd if known else None,
            "month_to_date_at": known.at.isoformat() if known else None,
            "asking_usd": known.asking_usd if known else None,
            "known_usd": figures.known_usd,
            "committed_usd": figures.committed_usd,
            "worst_case_usd": figures.worst_case_usd,
            "min_discount": figures.min_discount,
            "measured_savings": launch.offer.measured_savings,
            "spot_discount": launch.offer.spot_discount,
        }


def decide(launch: Launch, figures: Figures, time: datetime) -> Decision:
    """Judge a launch; every objection is in the reason."""
    if figures.held:
        reason = f"{launch.job_name} holds its reservation already"
        return Decision(launch, figures, time, True, reason)
    objections = [*_about_money(figures), *_about_discount(launch.offer, figures.min_discount)]
    reason = "; ".join(objections) or f"within the limit: {_sum_in_words(figures)}"
    return Decision(launch, figures, time, not objections, reason)


def _about_money(figures: Figures) -> list[str]:
    if figures.month_to_date is None or figures.total_usd is None:
        return [f"what was spent this month is not known: {figures.no_figure}"]
    if figures.month_to_date.usd == 0 < figures.known_usd:
        return [
            f"Cost Explorer says $0.00 this month, but jobs that ended long enough ago cost "
            f"${figures.known_usd:.2f}: activate the cost-allocation tag Project in the Billing "
            "console (it takes a day to count)"
        ]
    if figures.total_usd > figures.limit_usd:
        return [f"over the monthly limit: {_sum_in_words(figures)}"]
    return []


def _about_discount(offer: Offer, least: float) -> list[str]:
    if offer.measured_savings is not None:
        discount, source = offer.measured_savings, "median saving of past jobs"
    elif offer.spot_discount is not None:
        discount, source = offer.spot_discount, "discount of EC2's Spot price"
    else:
        return [
            f"the Spot discount of {offer.instance_type} is not known: no past job, no Spot price"
        ]
    if discount < least:
        return [f"{source} on {offer.instance_type} is {discount:.1%}, wanted are {least:.1%}"]
    return []


def _sum_in_words(figures: Figures) -> str:
    spent = (figures.total_usd or 0) - figures.committed_usd - figures.worst_case_usd
    return (
        f"${spent:.2f} spent this month + ${figures.committed_usd:.2f} reserved or not yet billed "
        f"+ ${figures.worst_case_usd:.2f} for this job at most = ${figures.total_usd:.2f} of "
        f"${figures.limit_usd:.2f}"
    )
