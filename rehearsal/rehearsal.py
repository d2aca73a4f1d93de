"""Lets years pass: what is due is called, what it starts follows, and all of it is looked at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta
from heapq import heappop, heappush
from typing import Any, Protocol

from rehearsal.clock import SimulatedClock
from rehearsal.fate import Fate, Plan, TimedOut
from rehearsal.market import Tape
from rehearsal.people import People
from rehearsal.schedule import Rule, firings
from rehearsal.system import Event, System
from strategy.errors import TradingSystemError

MAX_RETRIES = 2
"""Of a function that fails, by Lambda itself: after one minute, and after two more."""
JOB, PEOPLE = "job", "people"
_LATE = {"trading_bot": 4}
"""Minutes that an event may be late, at most; others a quarter of an hour."""
_TIME_OUT = timedelta(minutes=1)
_A_WEEK_MS = 7 * 24 * 3_600_000


class Observer(Protocol):
    """Looks at the system after every event."""

    def after(self, event: Event, error: Exception | None) -> None:
        """An event was handled, or failed; may raise to end the rehearsal."""
        ...


@dataclass
class Rehearsal:
    """A span of time, and what happens in it.

    Parameters
    ----------
    counts
        How many events there were, by function and how they ended.
    """

    system: System
    clock: SimulatedClock
    tape: Tape
    fate: Fate
    observers: list[Observer]
    people: People
    rules: list[Rule]
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    given_up: list[Event] = field(default_factory=list)
    """Events whose every attempt failed."""
    _ahead: list[Event] = field(default_factory=list, init=False, repr=False)
    _order: int = field(default=0, init=False)

    def run(self, end: datetime, told: Callable[[date], None]) -> None:
        """Let time pass until then; ``told`` of every day that begins."""
        day = self.clock().date()
        while (midnight := datetime.combine(day, time(), self.clock().tzinfo)) < end:
            told(day)
            self.people.plan(midnight)
            for moment, rule in firings(self.rules, day):
                if self.clock() <= moment < end:
                    self.at(moment, rule.function, rule.event, rule=rule.name)
            self.tape.account.forget(self.clock.milliseconds - _A_WEEK_MS)
            self._until(min(end, midnight + timedelta(days=1)))
            day += timedelta(days=1)

    def at(
        self,
        moment: datetime,
        function: str,
        payload: Mapping[str, Any],
        *,
        attempt: int = 0,
        rule: str | None = None,
    ) -> None:
        """Have a function called at that moment."""
        self._order += 1
        heappush(self._ahead, Event(moment, self._order, function, payload, attempt, rule))

    def job_created(self, name: str, end: datetime) -> None:
        """A training job will end then."""
        self.at(end, JOB, {"name": name})

    def _until(self, end: datetime) -> None:
        while self._ahead and self._ahead[0].time < end:
            event = heappop(self._ahead)
            self.clock.advance_to(event.time)
            self.tape.play()
            self._handle(event)

    def _handle(self, event: Event) -> None:
        if event.function == JOB:
            self._end_job(event)
            return
        if event.function == PEOPLE:
            self.people(event)
            self._look(event, None)
            return
        plan = self._planned(event)
        if plan is not None and plan.kind == "late":
            minutes = 1 + plan.dice * (_LATE.get(event.function, 15) - 1)
            self.fate.note(plan.key, f"{event.function}: event late")
            late = replace(event, time=event.time + timedelta(minutes=minutes), order=-event.order)
            heappush(self._ahead, late)
            return
        self._call(event, plan)
        if plan is not None and plan.kind == "duplicate":
            self.fate.note(plan.key, f"{event.function}: event twice")
            self._call(event, None)

    def _planned(self, event: Event) -> Plan | None:
        if event.order < 0:  # it was late: it has had its fate
            return None
        return self.fate.plan(event.function, event.time, event.attempt)

    def _call(self, event: Event, plan: Plan | None) -> None:
        error: Exception | None = None
        self.fate.begin(plan)
        try:
            self.system.call(event.function, event.payload)
        except TimedOut:
            self.system.forget(event.function)
            self.clock.sleep(_TIME_OUT.total_seconds())
            error = TimeoutError(f"{event.function} was ended")
        except TradingSystemError as failed:
            error = failed
        finally:
            self.fate.begin(None)
        self.tape.play()
        self.counts[event.function, type(error).__name__ if error else "done"] += 1
        if error is not None:
            self._again(event)
        self._look(event, error)
        self._follow(event)

    def _again(self, event: Event) -> None:
        if event.attempt == MAX_RETRIES:
            self.given_up.append(event)
            return
        pause = timedelta(minutes=event.attempt + 1)
        self.at(
            self.clock() + pause,
            event.function,
            event.payload,
            attempt=event.attempt + 1,
            rule=event.rule,
        )

    def _follow(self, event: Event) -> None:
        """What the system has started: other functions at once, and the launcher by its queue."""
        for function, payload in self.system.started():
            self.at(self.clock() + timedelta(seconds=1), function, payload)
        messages = self.system.nudges()
        if not messages:
            return
        launch = Event(self.clock(), event.order, "launch_spot_validator", {})
        plan = self.fate.plan(launch.function, launch.time, 0)
        self.fate.begin(plan)
        try:
            self.system.launch(messages)
            if plan is not None and plan.kind == "duplicate":
                self.fate.note(plan.key, "launch_spot_validator: message twice")
                self.system.launch(messages)
        except TimedOut:
            self.system.forget(launch.function)
            self.clock.sleep(_TIME_OUT.total_seconds())  # the messages come back by themselves
        finally:
            self.fate.begin(None)
        self.counts[launch.function, "done"] += 1
        self._look(launch, None)

    def _end_job(self, event: Event) -> None:
        name = str(event.payload["name"])
        plan = self.fate.plan(JOB, event.time, 0)
        interrupted = None if plan is None else 1 + plan.call
        job = self.system.end_job(name, interrupted)
        if plan is not None and job.status == "Failed":
            self.fate.note(plan.key, "Spot took the instance")
            spoils = plan.kind == "corrupted checkpoint"
            if spoils and self.system.spot.spoil_a_checkpoint(name, plan.dice):
                self.fate.note(plan.key, "a checkpoint was corrupted")
        self.counts[JOB, job.status] += 1
        told = self.system.spot.state_change(name)
        self.at(self.clock() + timedelta(seconds=30), self.system.listener(told), told)
        self._look(event, None)

    def _look(self, event: Event, error: Exception | None) -> None:
        for observer in self.observers:
            observer.after(event, error)
