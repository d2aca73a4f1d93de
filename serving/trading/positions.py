"""What the bot remembers of an account: its positions, whatever happens to the process.

A position remembers the version that opened it and the rule of its exits, and is managed by
them to its end, even where the registry has moved on or cannot be reached.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, ValidationError

from serving.journal import InterventionRecord
from store.state import StateTable
from strategy.circuit_breaker import PERIODS, Breaker, PeriodState
from strategy.config import BreakEven
from strategy.errors import DataError
from strategy.exit_rule import ExitRule
from strategy.sizing import Side

PARTITION = "accounts"
"""Of the state table; the key is the account's name."""
LIVE = "live"

Utc = Annotated[AwareDatetime, AfterValidator(lambda time: time.astimezone(UTC))]


def paper_account(strategy_id: str) -> str:
    """Name of the account of a strategy in incubation, which its retrains inherit."""
    return f"paper/{strategy_id}"


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Fill(_Model):
    """A part of a position that was closed. A fee that nobody told yet is None."""

    order_id: str
    quantity: Decimal
    price: Decimal
    fee: Decimal | None
    time: Utc


class RestingStop(_Model):
    """A stop that was sent to the exchange, and may rest there."""

    order_id: str
    price: Decimal
    quantity: Decimal


class InFlight(_Model):
    """An order that may have been sent: written down before it is."""

    kind: Literal["entry", "exit"]
    order_id: str
    quantity: Decimal
    sent_at: Utc


class Position(_Model):
    """A position of a strategy, from the decision to enter until its trade is recorded.

    Parameters
    ----------
    risk
        One R in price units, fixed at the decision.
    quantity
        Base asset: what is wanted until the entry is filled, then what is still held.
    entry_price, entry_time, entry_fee, entered
        Of the fill; None while the entry is in flight.
    stop
        Level of the stop as the strategy has it; what rests at the exchange is rounded.
    trailing
        Whether it has once been 2R in profit.
    stepped_until
        Close of the last bar that moved the stop.
    stops
        Those that may rest at the exchange, the newest last.
    exits
        What of it is closed.
    leaving
        Why all of it must be closed at once, as a reason of the trade; None while it may stay.
    """

    position_id: str
    strategy_id: str
    model: str
    version: int
    asset: str
    timeframe: str
    atr_period: int
    break_even: BreakEven
    side: Side
    risk: float
    decision_time: Utc
    quantity: Decimal
    stop: float
    trailing: bool = False
    stepped_until: Utc
    entry_price: Decimal | None = None
    entry_time: Utc | None = None
    entry_fee: Decimal | None = None
    entered: Decimal = Decimal(0)
    stops: tuple[RestingStop, ...] = ()
    stops_sent: int = 0
    exits: tuple[Fill, ...] = ()
    exits_sent: int = 0
    in_flight: InFlight | None = None
    leaving: str | None = None

    @property
    def rule(self) -> ExitRule:
        return ExitRule(self.atr_period, self.break_even)

    @property
    def entry(self) -> float:
        """Entry price; for positions that are open."""
        if self.entry_price is None:
            raise DataError(f"position {self.position_id} has no entry yet")
        return float(self.entry_price)

    @property
    def side_name(self) -> str:
        """For people."""
        return "long" if self.side > 0 else "short"

    def but(self, **changes: Any) -> Position:
        """The same position with other values."""
        return self.model_copy(update=changes)


def position_id(strategy_id: str, decision_time: datetime) -> str:
    """The same for the same decision, and short enough for an exchange's order ids."""
    digest = hashlib.sha256(strategy_id.encode()).hexdigest()[:12]
    return f"{digest}-{decision_time.astimezone(UTC):%y%m%d%H%M}"


class LastExit(_Model):
    """Until when a symbol was held last, and for whom."""

    strategy_id: str
    time: Utc


class _Period(_Model):
    name: str
    opening_equity: Decimal
    tripped: bool


class Account(BaseModel):
    """All that is remembered of an account.

    Parameters
    ----------
    positions
        By symbol: an account nets them.
    decided
        By strategy: close of the bar on which it last decided.
    transfers_until
        Up to when deposits and withdrawals are known to the breaker.
    pending
        Interventions that are written down together with what they did, and not yet in the
        journal: a process that dies leaves both behind, or neither.
    """

    model_config = ConfigDict(extra="forbid")

    positions: dict[str, Position] = {}
    last_exits: dict[str, LastExit] = {}
    decided: dict[str, Utc] = {}
    periods: dict[str, _Period] = {}
    transfers_until: Utc | None = None
    pending: list[InterventionRecord] = []

    @property
    def contents(self) -> tuple[Any, ...]:
        """All of it, to be compared later: what it holds is frozen, the account itself is not."""
        values = (getattr(self, name) for name in type(self).model_fields)
        return tuple(copy(value) for value in values)

    @property
    def breaker(self) -> Breaker | None:
        """As it was after the last tick that looked at it."""
        if not self.periods:
            return None
        periods = {period: PeriodState(**self.periods[period].model_dump()) for period in PERIODS}
        return Breaker(periods, force_break_even=False)

    def remember(self, breaker: Breaker) -> None:
        """Keep what the breaker needs at the next tick."""
        self.periods = {
            period: _Period(
                name=state.name, opening_equity=state.opening_equity, tripped=state.tripped
            )
            for period, state in breaker.periods.items()
        }


@dataclass
class Ledger:
    """An account in the state table; every save says which version it replaces.

    So of two bots that read the same account one goes on, and the other is told (ConflictError)
    before it sends an order.
    """

    state: StateTable
    name: str
    account: Account = field(init=False)
    _version: int = field(init=False)
    _saved: tuple[Any, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        item = self.state.get(PARTITION, self.name)
        value = dict(item.value) if item else {}
        self.account = read_account(value, self.name)
        self._version = item.version if item else 0
        self._saved = self.account.contents

    def save(self) -> None:
        """Write the account down, if anything is new.

        Raises
        ------
        ConflictError
            Somebody else has written it since it was read.
        """
        contents = self.account.contents
        if contents != self._saved:
            document = self.account.model_dump(mode="json")
            self._version = self.state.put(
                PARTITION, self.name, document, expected=self._version
            ).version
            self._saved = contents

    def keep(self, position: Position) -> Position:
        """Remember a position in place of the one of its symbol, at once."""
        self.account.positions[position.asset] = position
        self.save()
        return position

    def drop(self, position: Position) -> None:
        """Forget a position, with whatever else has changed."""
        del self.account.positions[position.asset]
        self.save()


def read_account(value: Mapping[str, Any], name: str) -> Account:
    """An account of its item; DataError where that is damaged."""
    try:
        return Account.model_validate(value)
    except ValidationError as error:
        raise DataError(f"account {name} in the state table is damaged: {error}") from error
