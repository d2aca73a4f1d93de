"""Puts a rehearsal together: market, exchange, system, people, and who looks on."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from rehearsal.binance.account import Contract, FuturesAccount
from rehearsal.binance.exchange import RehearsalExchange
from rehearsal.clock import SimulatedClock
from rehearsal.diary import Diary
from rehearsal.fate import Fate
from rehearsal.invariants import Invariants
from rehearsal.market import Tape
from rehearsal.people import People
from rehearsal.rehearsal import Rehearsal
from rehearsal.script import Script
from rehearsal.spot import SimulatedSpot
from rehearsal.system import Surroundings, System
from store.market import ReplayMarket
from store.prices import load_prices

CAPITAL = Decimal(10_000)
TICK = Decimal("0.01")
_STEP = Decimal("0.00001")


@dataclass
class World:
    """A rehearsal that can begin.

    Parameters
    ----------
    folder
        Where the system keeps everything; must be empty.
    """

    script: Script
    folder: Path
    clock: SimulatedClock = field(init=False)
    fate: Fate = field(init=False)
    system: System = field(init=False)
    people: People = field(init=False)
    invariants: Invariants = field(init=False)
    diary: Diary = field(init=False)
    rehearsal: Rehearsal = field(init=False)
    _exits: ExitStack = field(default_factory=ExitStack, init=False, repr=False)

    def __post_init__(self) -> None:
        script = self.script
        self.clock = SimulatedClock(script.begin)
        self.fate = Fate(script.seed, script.rate, self.clock, script.only)
        account = _account(script, self.clock)
        tape = Tape(script.frames, account, self.clock)
        exchange = RehearsalExchange(account, script.frames, self.clock, self.fate)
        spot = SimulatedSpot(
            self.folder / "jobs", self.clock, load_prices(), script.seed, self._job_created
        )
        within = Surroundings(
            folder=self.folder,
            config=script.config,
            clock=self.clock,
            exchange=exchange,
            market=ReplayMarket(script.frames, self.clock),
            fate=self.fate,
            spot=spot,
        )
        self.system = self._exits.enter_context(script.build(within))
        self.people = People(self.system, self._at, CAPITAL)
        self.invariants = Invariants(self.system, self.people, CAPITAL, float(TICK))
        self.diary = Diary(self.system)
        self.rehearsal = Rehearsal(
            self.system,
            self.clock,
            tape,
            self.fate,
            [self.diary, self.invariants],
            self.people,
            self.system.rules(),
        )
        self._at(script.begin + timedelta(hours=2), "people", {"do": "ask"})

    def close(self) -> None:
        """Take the system away: there may be one at a time that is deployed."""
        self._exits.close()

    def _at(self, moment: datetime, function: str, payload: Mapping[str, Any]) -> None:
        self.rehearsal.at(moment, function, payload)

    def _job_created(self, name: str, end: datetime) -> None:
        self.rehearsal.job_created(name, end)


def _account(script: Script, clock: SimulatedClock) -> FuturesAccount:
    costs = script.config.costs
    assets = dict.fromkeys(asset for asset, _ in script.frames)
    contracts = {
        asset: Contract(asset, tick=TICK, step=_STEP, min_notional=Decimal(5)) for asset in assets
    }
    return FuturesAccount(
        contracts,
        {"BNBUSDT": Decimal(500)},
        wallet=CAPITAL,
        fee_rate=Decimal(repr(costs.fee_per_side)),
        now=clock.milliseconds,
        funding_rate=Decimal(repr(costs.funding_per_8h)),
    )
