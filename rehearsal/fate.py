"""What goes wrong in a rehearsal: by seed and rate, and the same again for the same seed.

Each event has a fate of its own, drawn from the seed, the event's name and nothing else. So one
fault can be left out, and all others stay: that is how a failing rehearsal is cut down to what
makes it fail.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
import pandas as pd
import requests

from rehearsal.binance import faults
from rehearsal.binance.faults import Fault, refusal
from rehearsal.binance.futures import CANCEL_STOP, ORDER, STOP
from store.aws import CapacityError
from strategy.errors import RetryError

KINDS: Mapping[str, tuple[str, ...]] = {
    "data_downloader": ("duplicate", "late", "times out", "table", "requests", "candles"),
    "orchestrator": ("duplicate", "late", "times out", "table", "registry", "notifier"),
    "model_retrainer": ("duplicate", "late", "times out", "table", "registry", "notifier"),
    "trading_bot": ("duplicate", "late", "times out", "table", "registry", "requests", "notifier"),
    "initiate_validation_window": ("duplicate", "late", "times out", "table", "queue"),
    "launch_spot_validator": ("duplicate", "times out", "table", "notifier", "capacity"),
    "training_job_events": ("duplicate", "late", "times out", "table", "queue", "notifier"),
    "job": ("interrupted", "corrupted checkpoint"),
}
"""What may befall an event, by its function; ``job`` is a training job's end."""

OUTAGES = ("exchange", "registry", "table", "bucket")
"""What may be out of reach for hours."""

READS: Mapping[str, Fault] = {
    "connection reset": faults.RESET,
    "bad gateway": faults.BAD_GATEWAY,
    "unknown error": faults.UNKNOWN,
    "too many requests": faults.TOO_MANY_REQUESTS,
    "a proxy's page": faults.WEB_PAGE,
    "clock skew": faults.SKEWED,
}
WRITES: Mapping[str, Fault] = {
    **READS,
    "reset after it landed": faults.RESET_LANDED,
    "unknown error after it landed": faults.UNKNOWN_LANDED,
    "time-out at the back after it landed": faults.BACKEND_TIME_OUT_LANDED,
    "garbled answer after it landed": faults.GARBLED_LANDED,
}
ORDERS: Mapping[str, Fault] = {
    **WRITES,
    "overloaded": refusal(-1008, status=503),
    "refused": refusal(-9999),
}
_OF = {ORDER: ORDERS, STOP: ORDERS, CANCEL_STOP: WRITES}

_FIRST_CALLS = 12
"""Among so many calls of an event one is struck: most events make no more."""


class TimedOut(BaseException):
    """The function was ended from outside; a BaseException, so that nothing handles it."""


class Struck(NamedTuple):
    """A fault that was dealt: its key is what a shorter replay leaves out."""

    time: datetime
    key: str
    what: str


class Plan(NamedTuple):
    """What is to go wrong with one event."""

    key: str
    kind: str
    call: int
    after: bool
    """Whether the call that is struck has had its effect."""
    dice: float
    """In [0, 1): for whatever else is left to chance."""


class Outage(NamedTuple):
    """Something is out of reach for some hours."""

    key: str
    what: str
    since: datetime
    until: datetime


@dataclass
class Fate:
    """Deals faults.

    Parameters
    ----------
    rate
        Of faults among events; of days, a tenth of ten times that has an outage.
    only
        Keys of the faults that may strike; None: all.
    struck
        What did go wrong.
    """

    seed: int
    rate: float
    clock: Callable[[], datetime]
    only: frozenset[str] | None = None
    struck: list[Struck] = field(default_factory=list)
    _plan: Plan | None = field(default=None, init=False)
    _calls: int = field(default=0, init=False)
    _outages: dict[date, Outage | None] = field(default_factory=dict, init=False, repr=False)

    @property
    def counts(self) -> Counter[str]:
        """How often each thing went wrong."""
        return Counter(each.what for each in self.struck)

    # Events

    def plan(self, function: str, time: datetime, attempt: int) -> Plan | None:
        """What is to go wrong with an event; None: nothing."""
        key = f"{time:%Y-%m-%dT%H:%M}/{function}/{attempt}"
        rng = self._rng(key)
        # Ticks are many: most of them have nothing to do, and would make for quiet faults.
        if rng.random() >= self.rate or not self._may(key):
            return None
        kind = str(rng.choice(KINDS[function]))
        return Plan(key, kind, int(rng.integers(_FIRST_CALLS)), rng.random() < 0.5, rng.random())

    def begin(self, plan: Plan | None) -> None:
        """From now on calls belong to that event."""
        self._plan, self._calls = plan, 0

    def note(self, key: str, what: str) -> None:
        """Something went wrong."""
        self.struck.append(Struck(self.clock(), key, what))

    def call(self, part: str, method: Callable[[], Any]) -> Any:
        """Let a function call one of its parts; it may fail, or end there.

        Raises
        ------
        TimedOut
            The function's time is up.
        RetryError, requests.ConnectionError
            The part fails, or is out of reach.
        """
        self._refuse_in_outage(part)
        plan = self._plan
        if plan is None:
            return method()
        self._calls += 1
        strikes = plan.kind in ("times out", part) and self._calls > plan.call
        if not strikes:
            return method()
        self._plan = None
        self.note(plan.key, f"{part}: {plan.kind}")
        error = TimedOut(plan.key) if plan.kind == "times out" else failure(part)
        if not plan.after or plan.kind == "capacity":  # a job that was refused is not there
            raise error
        method()
        raise error

    def request(self, endpoint: str) -> tuple[str, Fault] | None:
        """What goes wrong with a request to the exchange: its name, and the answer."""
        if outage := self.outage("exchange"):
            self.note(outage.key, "outage of the exchange")
            return "outage", faults.BAD_GATEWAY
        plan = self._plan
        if plan is None or plan.kind != "requests":
            return None
        self._calls += 1
        if self._calls <= plan.call:
            return None
        self._plan = None
        kinds = _OF.get(endpoint, READS if endpoint.startswith("GET") else WRITES)
        name = list(kinds)[int(plan.dice * len(kinds))]
        self.note(plan.key, f"request: {name}")
        return name, kinds[name]

    def spoils_candles(self) -> bool:
        """Whether the candles that are asked for now come with one that cannot be."""
        plan = self._plan
        if plan is None or plan.kind != "candles":
            return False
        self._plan = None
        self.note(plan.key, "a bad candle")
        return True

    # Outages

    def outage(self, what: str) -> Outage | None:
        """The outage of that part that is going on, if there is one."""
        now = self.clock()
        for day in (now.date(), (now - timedelta(days=1)).date()):
            found = self._outage_of(day)
            if found and found.what == what and found.since <= now < found.until:
                return found
        return None

    def any_outage(self, since: datetime, until: datetime) -> bool:
        """Whether anything was out of reach in that time."""
        days = pd.date_range(
            pd.Timestamp(since).floor("D") - pd.Timedelta(days=1), pd.Timestamp(until), freq="D"
        )
        found = (self._outage_of(day.date()) for day in days)
        return any(each and each.since < until and since < each.until for each in found)

    def _outage_of(self, day: date) -> Outage | None:
        if day not in self._outages:
            key = f"{day}/outage"
            rng = self._rng(key)
            found = None
            if rng.random() < self.rate and self._may(key):
                since = datetime(day.year, day.month, day.day, tzinfo=self.clock().tzinfo)
                since += timedelta(minutes=int(rng.integers(24 * 60)))
                length = timedelta(minutes=int(rng.integers(20, 300)))
                found = Outage(key, str(rng.choice(OUTAGES)), since, since + length)
            self._outages[day] = found
        return self._outages[day]

    def _refuse_in_outage(self, part: str) -> None:
        if outage := self.outage(part):
            self.note(outage.key, f"outage of the {part}")
            raise failure(part)

    # Days

    def daily(self, day: date, what: str, chance: float) -> np.random.Generator | None:
        """Chance itself, if that happens on a day; None if it does not."""
        key = f"{day}/{what}"
        rng = self._rng(key)
        return rng if self.rate > 0 and rng.random() < chance and self._may(key) else None

    def _rng(self, key: str) -> np.random.Generator:
        return np.random.default_rng([self.seed, crc32(key.encode())])

    def _may(self, key: str) -> bool:
        return self.only is None or key in self.only


def failure(part: str) -> Exception:
    """What a part raises that fails: MLflow's client an error of its transport."""
    if part == "capacity":
        return CapacityError("the rehearsal has no instance now")
    if part == "registry":
        return requests.ConnectionError("the rehearsal's MLflow server does not answer")
    return RetryError(f"the rehearsal lets the {part} fail")


class Frail:
    """A part of the system, some of whose methods may fail.

    Parameters
    ----------
    methods
        Names; none: all.
    """

    def __init__(self, wrapped: Any, part: str, fate: Fate, methods: frozenset[str]) -> None:
        self._wrapped, self._part, self._fate, self._methods = wrapped, part, fate, methods

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._wrapped, name)
        if name.startswith("_") or not callable(found):
            return found
        if self._methods and name not in self._methods:
            return found
        return lambda *arguments, **named: self._fate.call(
            self._part, lambda: found(*arguments, **named)
        )
