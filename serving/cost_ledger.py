"""What jobs may still cost, or did cost where the bill does not show it yet.

Bills are late: Cost Explorer knows a cost after up to a day. So every launch first reserves what
its job can cost at most, in one item of the state table. When the job has ended its true cost
takes the place of the reservation, and stays until Cost Explorer must have it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeVar

from store.clock import Clock
from store.spending import LAG
from store.state import StateTable, Value, update

FIGURE_MAX_AGE = timedelta(hours=24)
"""A figure of Cost Explorer that is older cannot be reconciled with the ledger any more."""

_PARTITION, _KEY = "cost", "ledger"
_KEPT = LAG + FIGURE_MAX_AGE  # an ended job that the oldest such figure has may be forgotten


@dataclass(frozen=True)
class Totals:
    """Sums over all jobs but the one that asks, USD.

    Parameters
    ----------
    committed_usd
        Worst cases of the jobs that run, and costs of those that ended too late for the figure
        of Cost Explorer to have them all.
    known_usd
        Costs of the other jobs that ended this month: Cost Explorer must have them.
    held
        Whether the job that asks has reserved as much as it wants before, or has ended.
    """

    committed_usd: float
    known_usd: float
    held: bool


class Verdict(Protocol):
    @property
    def allowed(self) -> bool: ...


V = TypeVar("V", bound=Verdict)


class _RefusedError(Exception):
    """Ends an update without a change."""


@dataclass(frozen=True)
class Ledger:
    """The jobs whose cost the bill may not show yet; raises as the state table does.

    Costs are in USD, times are UTC. No two jobs ever have the same name.
    """

    state: StateTable
    clock: Clock

    def reserve(self, job: str, usd: float, figure_at: datetime, judge: Callable[[Totals], V]) -> V:
        """Reserve what a job costs at most, if the judge allows it; returns the verdict.

        The sums that the judge sees and the reservation are one conditional write: of two
        launches at the same time, one sees the other's reservation.

        Parameters
        ----------
        figure_at
            When Cost Explorer was asked for the figure that the judge goes by.
        judge
            Called again when another launch was faster. Where the job holds a reservation,
            nothing changes, whatever it says.
        """
        now, verdicts = self.clock(), []

        def reserved(value: Value | None) -> Value:
            ledger = _pruned(value, now)
            others = dict(ledger["jobs"])
            own = others.pop(job, None)
            held = own is not None and (own["ended_at"] is not None or own["usd"] >= usd)
            verdict = judge(_totals({**ledger, "jobs": others}, now, figure_at, held))
            verdicts.append(verdict)
            if held or not verdict.allowed:
                raise _RefusedError
            return {**ledger, "jobs": {**others, job: {"usd": usd, "ended_at": None}}}

        with suppress(_RefusedError):
            update(self.state, _PARTITION, _KEY, reserved)
        return verdicts[-1]

    def release(self, job: str) -> None:
        """Forget the reservation of a job that was not launched; one that has ended stays."""
        now = self.clock()

        def released(value: Value | None) -> Value:
            ledger = _pruned(value, now)
            kept = {n: e for n, e in ledger["jobs"].items() if n != job or e["ended_at"]}
            return {**ledger, "jobs": kept}

        update(self.state, _PARTITION, _KEY, released)

    def settle(self, job: str, usd: float, ended_at: datetime) -> None:
        """Put what a job cost in place of its reservation; it may be said again.

        A job that has reserved nothing is noted too, unless it ended long ago: then it may have
        been settled and forgotten already.
        """
        now = self.clock()

        def settled(value: Value | None) -> Value:
            ledger = _pruned(value, now)
            jobs = ledger["jobs"]
            if job not in jobs and ended_at + _KEPT <= now:
                return ledger
            ended = {job: {"usd": usd, "ended_at": ended_at.isoformat()}}
            return {**ledger, "jobs": {**jobs, **ended}}

        update(self.state, _PARTITION, _KEY, settled)

    def running(self) -> list[str]:
        """Jobs that hold a reservation and have not been settled."""
        item = self.state.get(_PARTITION, _KEY)
        jobs = item.value["jobs"] if item else {}
        return sorted(name for name, entry in jobs.items() if entry["ended_at"] is None)


def _totals(ledger: Value, now: datetime, figure_at: datetime, held: bool) -> Totals:
    committed, known = 0.0, float(ledger["known_usd"])
    for entry in ledger["jobs"].values():
        ended_at = _ended_at(entry)
        if ended_at is None:
            committed += entry["usd"]
        elif _month(ended_at) < _month(now):
            continue  # it is on the bill of that month
        elif ended_at + LAG > figure_at:
            committed += entry["usd"]
        else:
            known += entry["usd"]
    return Totals(committed, known, held)


def _pruned(value: Value | None, now: datetime) -> dict[str, Any]:
    """The ledger without the jobs that no figure lacks; their sum over the month stays."""
    month = _month(now)
    known = value["known_usd"] if value and value["month"] == month else 0.0
    jobs = {}
    for name, entry in (value["jobs"] if value else {}).items():
        ended_at = _ended_at(entry)
        if ended_at is None or ended_at + _KEPT > now:
            jobs[name] = entry
        elif _month(ended_at) == month:
            known += entry["usd"]
    return {"month": month, "known_usd": known, "jobs": jobs}


def _ended_at(entry: Mapping[str, Any]) -> datetime | None:
    return None if entry["ended_at"] is None else datetime.fromisoformat(entry["ended_at"])


def _month(moment: datetime) -> str:
    return f"{moment:%Y-%m}"
