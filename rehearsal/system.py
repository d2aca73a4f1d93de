"""What is rehearsed, as the rehearsal sees it: functions that are called, and what they start."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from registry.connection import Client
from rehearsal.binance.exchange import RehearsalExchange
from rehearsal.clock import SimulatedClock
from rehearsal.fate import Fate
from rehearsal.schedule import Rule
from rehearsal.spot import SimulatedSpot
from serving.stack import Stack
from store.candle_archive import CandleArchive
from store.market import ReplayMarket
from store.settings import Settings
from store.state import StateTable
from store.training_jobs import JobDescription
from strategy.config import Config


@dataclass(frozen=True, order=True)
class Event:
    """A call of a function that is due.

    Parameters
    ----------
    order
        Among events of the same moment.
    attempt
        0, and one more each time Lambda calls again after an error.
    rule
        The schedule's that made it; None for what the system itself started.
    """

    time: datetime
    order: int
    function: str = field(compare=False)
    payload: Mapping[str, Any] = field(compare=False)
    attempt: int = field(default=0, compare=False)
    rule: str | None = field(default=None, compare=False)


@dataclass
class Surroundings:
    """What a system is put into, and has from then on.

    Parameters
    ----------
    folder
        Where it keeps everything that is a file.
    market
        As a replay reveals it.
    """

    folder: Path
    config: Config
    clock: SimulatedClock
    exchange: RehearsalExchange
    market: ReplayMarket
    fate: Fate
    spot: SimulatedSpot


class Letter(Protocol):
    """A message of the queue."""

    @property
    def body(self) -> str: ...


class Letters(Protocol):
    """The queue, seen from outside."""

    def dead_letters(self) -> Sequence[Letter]:
        """Messages that were given up."""
        ...


class System(Protocol):
    """The functions on their parts, embedded or as deployed.

    What it has to be looked at never fails; ``stack`` and ``archive`` may, as for anybody who
    uses them.
    """

    @property
    def folder(self) -> Path: ...
    @property
    def config(self) -> Config: ...
    @property
    def clock(self) -> SimulatedClock: ...
    @property
    def exchange(self) -> RehearsalExchange: ...
    @property
    def market(self) -> ReplayMarket: ...
    @property
    def fate(self) -> Fate: ...
    @property
    def spot(self) -> SimulatedSpot: ...
    @property
    def state(self) -> StateTable: ...
    @property
    def queue(self) -> Letters: ...
    @property
    def settings(self) -> Settings: ...
    @property
    def registry(self) -> Client: ...
    @property
    def archive(self) -> CandleArchive: ...
    @property
    def stack(self) -> Stack: ...
    @property
    def quiet_stack(self) -> Stack: ...

    @property
    def in_words(self) -> str:
        """What it consists of."""
        ...

    def rules(self) -> list[Rule]:
        """What fires by the clock."""
        ...

    def call(self, function: str, payload: Mapping[str, Any]) -> Any:
        """Call a function with an event, as Lambda does; raises as the function does."""
        ...

    def forget(self, function: str) -> None:
        """Lambda has ended the function's process: the next call begins in a new one."""
        ...

    def started(self) -> list[tuple[str, Mapping[str, Any]]]:
        """Functions that the system has called itself since it was last asked, with the event."""
        ...

    def nudges(self) -> list[Any]:
        """Messages of the queue that are due."""
        ...

    def launch(self, messages: list[Any]) -> None:
        """Deliver messages to the launcher; those that failed come again by themselves."""
        ...

    def end_job(self, name: str, interrupted_after: int | None) -> JobDescription:
        """Let a training job do its work and end, as :meth:`rehearsal.spot.SimulatedSpot.end`."""
        ...

    def listener(self, event: Mapping[str, Any]) -> str:
        """The function that hears of a training job's end."""
        ...

    def registry_changed(self) -> None:
        """Somebody else has written to the registry: a job, a person."""
        ...


Build = Callable[[Surroundings], AbstractContextManager[System]]
"""Puts a system into its surroundings, and takes it away again."""
