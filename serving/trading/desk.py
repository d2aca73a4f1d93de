"""One account at one exchange, for the length of a tick.

Whether the money is real is not known here: that is the exchange's business.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Literal

from serving.journal import Book, InterventionRecord, Journal
from serving.trading.orders import Orders
from serving.trading.positions import Ledger, Position
from store.clock import Clock
from store.exchange import Exchange
from store.market import Market
from strategy.errors import ConflictError, TradingSystemError
from strategy.sizing import Capital, open_risk

_log = logging.getLogger(__name__)

Kind = Literal["halt", "resume", "refuse", "break_even", "close"]


@dataclass(frozen=True)
class Notice:
    """Something that the operator hears of, once for every key."""

    key: str
    subject: str
    text: str


@dataclass
class Desk:
    """An account with what it takes to trade it.

    Parameters
    ----------
    sleep
        Waits that many seconds for an order's end.
    fee_per_side
        Fraction of the notional: stands in where the exchange does not tell a fee.
    notices
        What the operator is to hear of this tick.
    errors
        By symbol: what kept a position from being managed in this tick.
    """

    ledger: Ledger
    book: Book
    exchange: Exchange
    market: Market
    journal: Journal
    clock: Clock
    sleep: Callable[[float], None]
    fee_per_side: float
    notices: list[Notice] = field(default_factory=list)
    errors: dict[str, TradingSystemError] = field(default_factory=dict)

    @property
    def orders(self) -> Orders:
        return Orders(self.exchange, self.clock, self.sleep)

    @property
    def positions(self) -> list[Position]:
        """All of the account, in order of their symbols."""
        return [position for _, position in sorted(self.ledger.account.positions.items())]

    def for_each(self, act: Callable[[Desk, Position], None]) -> None:
        """Do something to every position; one that fails is left alone until the next tick."""
        self._for_each(act, [each for each in self.positions if each.asset not in self.errors])

    def for_all(self, act: Callable[[Desk, Position], None]) -> None:
        """Do something to every position, those included that have failed in this tick."""
        self._for_each(act, self.positions)

    def _for_each(
        self, act: Callable[[Desk, Position], None], positions: Iterable[Position]
    ) -> None:
        for position in positions:
            try:
                act(self, position)
            except ConflictError:  # another bot is at work on this account
                raise
            except TradingSystemError as error:
                _log.error("%s: %s", position.position_id, error)
                self.errors.setdefault(position.asset, error)

    def say(self, key: str, subject: str, text: str) -> None:
        """Have the operator told at the end of the tick."""
        self.notices.append(Notice(f"{self.ledger.name}/{key}", subject, text))

    def intervene(
        self, strategy_id: str, time: datetime, kind: Kind, why: str, price: Decimal | None = None
    ) -> None:
        """Write down what no simulation would do by itself, when the account is saved next.

        So a record and what it tells of are there together, whenever the process dies.
        """
        self.ledger.account.pending.append(self.intervention(strategy_id, time, kind, why, price))

    def intervention(
        self, strategy_id: str, time: datetime, kind: Kind, why: str, price: Decimal | None = None
    ) -> InterventionRecord:
        """A record for the journal, with the account's book."""
        return InterventionRecord(
            strategy_id=strategy_id,
            book=self.book,
            time=time,
            kind=kind,
            price=None if price is None else float(price),
            why=why,
        )

    def publish(self) -> None:
        """Bring what was written down with the account into the journal."""
        self.ledger.save()
        for intervention in self.ledger.account.pending:
            self.journal.add_intervention(intervention)
        self.ledger.account.pending.clear()
        self.ledger.save()

    def capital(self) -> Capital:
        """The account at this moment, for sizing."""
        balance = self.exchange.balance()
        risk = notional = Decimal(0)
        for held in self.positions:
            if held.entry_price is not None:
                stop = Decimal(repr(held.stop))
                risk += open_risk(held.side, held.quantity, held.entry_price, stop)
                notional += held.quantity * self.exchange.last_price(held.asset)
        return Capital(balance.total, balance.margin_in_use, risk, notional)
