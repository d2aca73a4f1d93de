"""What each strategy has done, and what was done to it: trades and interventions, for ever.

Both are written once under a key that follows from their content, so that a tick which runs
twice writes nothing the second time.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict

from store.state import StateTable
from strategy.errors import ConflictError, DataError

TRADES, INTERVENTIONS = "trades", "interventions"
"""Of the state table; partitions ``trades/<strategy id>`` and ``interventions/<strategy id>``."""

Utc = Annotated[AwareDatetime, AfterValidator(lambda time: time.astimezone(UTC))]
Book = Literal["paper", "live"]
"""With what a strategy trades: virtual money, or an exchange's."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    def document(self) -> dict[str, Any]:
        """As a state table takes it: times and money as text."""
        return self.model_dump(mode="json")


class TradeRecord(_Record):
    """A trade that has ended. Prices and ``risk`` (one R) in quote units.

    Parameters
    ----------
    model, version
        The registered model and the version that opened it.
    decision_time
        Close of the bar on which it was decided.
    entry_time, exit_time
        Of the fills; a stop that was found to be hit within a candle has its candle's open.
    reason
        An :class:`strategy.exits.ExitReason` by its name in lower case.
    fees, funding
        USD paid (negative: received) over the whole trade; in ``fees`` also what a paper fill
        is charged for slippage.
    r
        Net of both.
    """

    strategy_id: str
    model: str
    version: int
    book: Book
    position_id: str
    asset: str
    timeframe: str
    side: Literal[1, -1]
    decision_time: Utc
    entry_time: Utc
    exit_time: Utc
    entry_price: float
    exit_price: float
    risk: float
    quantity: Decimal
    reason: str
    fees: Decimal
    funding: Decimal
    r: float

    @property
    def profit(self) -> Decimal:
        """USD, net."""
        move = Decimal(repr(self.exit_price)) - Decimal(repr(self.entry_price))
        return self.side * move * self.quantity - self.fees - self.funding


class InterventionRecord(_Record):
    """What no simulation decides; see :class:`strategy.simulate.Intervention`.

    Parameters
    ----------
    kind
        An :class:`strategy.simulate.InterventionKind` by its name in lower case.
    price
        Of the market then; None where the kind needs none.
    why
        For people, with the figures.
    """

    strategy_id: str
    book: Book
    time: Utc
    kind: Literal["halt", "resume", "refuse", "break_even", "close"]
    price: float | None
    why: str


R = TypeVar("R", bound=_Record)


@dataclass(frozen=True)
class Journal:
    """Trades and interventions in a state table; StoreError and RetryError as that says."""

    state: StateTable

    def add_trade(self, trade: TradeRecord) -> bool:
        """Write a trade; False if it is there already (the first one counts)."""
        key = f"{trade.book}/{_sortable(trade.decision_time)}"
        return self._add(f"{TRADES}/{trade.strategy_id}", key, trade)

    def trades(self, strategy_id: str, book: Book) -> list[TradeRecord]:
        """A strategy's trades, across its retrains, in order of their decisions."""
        found = self.state.items(f"{TRADES}/{strategy_id}", f"{book}/")
        return [_read(TradeRecord, item.value, item.key) for item in found]

    def add_intervention(self, intervention: InterventionRecord) -> bool:
        """Write an intervention; False if it is there already (the first one counts)."""
        key = f"{intervention.book}/{_sortable(intervention.time)}/{intervention.kind}"
        return self._add(f"{INTERVENTIONS}/{intervention.strategy_id}", key, intervention)

    def interventions(self, strategy_id: str, book: Book) -> list[InterventionRecord]:
        """What was done to a strategy, in order of time."""
        found = self.state.items(f"{INTERVENTIONS}/{strategy_id}", f"{book}/")
        return [_read(InterventionRecord, item.value, item.key) for item in found]

    def _add(self, partition: str, key: str, record: _Record) -> bool:
        with suppress(ConflictError):
            self.state.put(partition, key, record.document(), expected=0)
            return True
        return False


def _sortable(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="microseconds")


def _read(kind: type[R], value: Mapping[str, Any], key: str) -> R:
    try:
        return kind.model_validate(value)
    except ValueError as error:
        raise DataError(f"{kind.__name__} {key} in the state table is damaged: {error}") from error
