"""The books of a futures account with virtual money: what fills, funding and stops do to it.

Fills are pessimistic, as in :mod:`strategy.exits`: a price that opens beyond a stop fills it
there, else the stop's own price does; within a candle the adverse extreme counts although the
stop may have been placed, or the position opened, in the middle of it. A fill costs fee *and*
slippage as a fee: its price is the market's, as the simulation has it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict

from store.exchange import StopStatus
from store.market import Candle
from strategy.config import Costs
from strategy.costs import FUNDING_INTERVAL

_KEPT = timedelta(days=7)
"""How long what is done with is remembered, once it is known; queries come within minutes."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FUNDING_INTERVAL: timedelta = FUNDING_INTERVAL.to_pytimedelta()

Utc = Annotated[AwareDatetime, AfterValidator(lambda time: time.astimezone(UTC))]
Side = Literal[1, -1]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Position(_Model):
    """An open position; ``margin`` is without its unrealised profit.

    It owes no funding of ``funded_until`` or before: it was paid, or was opened only then.
    """

    side: Side
    quantity: Decimal
    entry_price: Decimal
    leverage: int
    margin: Decimal
    funded_until: Utc

    def profit(self, price: Decimal) -> Decimal:
        return self.side * (price - self.entry_price) * self.quantity


class Order(_Model):
    """A market order, filled whole; ``noted`` is when that became known."""

    side: Side
    symbol: str
    quantity: Decimal
    price: Decimal
    fee: Decimal
    time: Utc
    noted: Utc


class Stop(_Model):
    """A reduce-only stop, or what became of it; ``order`` is the name of its fill."""

    side: Side
    symbol: str
    quantity: Decimal
    price: Decimal
    placed_at: Utc
    status: StopStatus = StopStatus.WAITING
    order: str | None = None
    time: Utc
    noted: Utc


class Funding(_Model):
    """Paid for a position, which ended at ``closed`` (None: it is open)."""

    symbol: str
    amount: Decimal
    time: Utc
    closed: Utc | None = None


class PaperAccount(_Model):
    """All that an account holds and remembers.

    Parameters
    ----------
    settled_until
        Candles that closed by then are worked in.
    """

    balance: Decimal
    leverage: dict[str, int] = {}
    positions: dict[str, Position] = {}
    orders: dict[str, Order] = {}
    stops: dict[str, Stop] = {}
    funding: list[Funding] = []
    settled_until: Utc

    @property
    def symbols(self) -> list[str]:
        """Those in which a price can do something to the account."""
        resting = {s.symbol for s in self.stops.values() if s.status is StopStatus.WAITING}
        return sorted(self.positions.keys() | resting)

    def waiting(self, symbol: str) -> list[tuple[str, Stop]]:
        """The stops that rest, the tightest first: the price comes to it first."""
        found = [
            (name, stop)
            for name, stop in self.stops.items()
            if stop.symbol == symbol and stop.status is StopStatus.WAITING
        ]
        return sorted(found, key=lambda each: each[1].side * each[1].price)

    def forget(self, now: datetime) -> None:
        """Drop what has been done with, and known to be, for long."""
        old = now - _KEPT
        self.orders = {name: order for name, order in self.orders.items() if order.noted > old}
        self.stops = {
            name: stop
            for name, stop in self.stops.items()
            if stop.status is StopStatus.WAITING or stop.noted > old
        }
        self.funding = [row for row in self.funding if row.closed is None or row.closed > old]


@dataclass
class Books:
    """Writes into an account what happens to it.

    Parameters
    ----------
    now
        When it becomes known: what happened may lie days back.
    changed
        Whether anything was written.
    """

    account: PaperAccount
    costs: Costs
    now: datetime
    changed: bool = False

    def fill(
        self, name: str, symbol: str, side: Side, quantity: Decimal, price: Decimal, time: datetime
    ) -> None:
        """Fill an order whole: it closes what is held of the other side, the rest opens.

        What was held until then pays its funding first.
        """
        self.fund(symbol, time, price)
        rate = Decimal(repr(self.costs.fee_per_side)) + Decimal(repr(self.costs.slippage_per_side))
        order = Order(
            side=side, symbol=symbol, quantity=quantity, price=price,
            fee=quantity * price * rate, time=time, noted=self.now,
        )  # fmt: skip
        self.account.orders[name] = order
        self.account.balance -= order.fee
        self.changed = True
        held = self.account.positions.get(symbol)
        if held is not None and held.side != side:
            closed = min(quantity, held.quantity)
            self._close(symbol, held, closed, price)
            quantity -= closed
        if quantity > 0:
            self._open(symbol, side, quantity, price, time)

    def fund(self, symbol: str, until: datetime, price: float | Decimal) -> None:
        """Pay what fell due since it was last paid, until then (inclusive), at this price."""
        held = self.account.positions.get(symbol)
        if held is None:
            return
        while (time := _next_funding(held.funded_until)) <= until:
            held.funded_until = time
            if held.side > 0:  # nobody receives it: see strategy.costs
                rate = Decimal(repr(self.costs.funding_per_8h))
                amount = -rate * money(price) * held.quantity
                self.account.balance += amount
                self.account.funding.append(Funding(symbol=symbol, amount=amount, time=time))
            self.changed = True

    def pass_candle(self, symbol: str, candle: Candle) -> None:
        """Work in a closed candle; what it did already it does not do again."""
        self.pass_price(symbol, candle.open, candle.open_time)
        self.fund(symbol, candle.close_time - timedelta.resolution, candle.open)
        for name, stop in self.account.waiting(symbol):
            adverse = money(candle.low if stop.side < 0 else candle.high)
            if stop.placed_at < candle.close_time and stop.side * (adverse - stop.price) >= 0:
                self._trigger(name, stop, stop.price, max(candle.open_time, stop.placed_at))

    def pass_price(self, symbol: str, price: float | Decimal, time: datetime) -> None:
        """Fill the stops that the price of a moment is beyond.

        Funding waits for the candle: without trades there is no price to pay it at.
        """
        for name, stop in self.account.waiting(symbol):
            if stop.placed_at <= time and stop.side * (money(price) - stop.price) >= 0:
                self._trigger(name, stop, money(price), time)

    def _trigger(self, name: str, stop: Stop, price: Decimal, time: datetime) -> None:
        held = self.account.positions.get(stop.symbol)
        stop.noted = self.now
        self.changed = True
        if held is None or held.side == stop.side:  # what outlived its position reduces nothing
            stop.status, stop.time = StopStatus.EXPIRED, time
            return
        # Nobody knows when in its candle; not before what the position is known to have paid.
        time = max(time, held.funded_until)
        stop.status, stop.time, stop.order = StopStatus.TRIGGERED, time, f"{name}*"
        quantity = min(stop.quantity, held.quantity)
        self.fill(stop.order, stop.symbol, stop.side, quantity, price, time)

    def _open(
        self, symbol: str, side: Side, quantity: Decimal, price: Decimal, time: datetime
    ) -> None:
        held = self.account.positions.get(symbol)
        before = held.quantity if held else Decimal(0)
        cost = (held.entry_price * before if held else Decimal(0)) + price * quantity
        leverage = self.account.leverage.get(symbol, 1)
        self.account.positions[symbol] = Position(
            side=side,
            quantity=before + quantity,
            entry_price=cost / (before + quantity),
            leverage=leverage,
            margin=cost / leverage,
            funded_until=held.funded_until if held else time,
        )

    def _close(self, symbol: str, held: Position, quantity: Decimal, price: Decimal) -> None:
        self.account.balance += held.side * (price - held.entry_price) * quantity
        if quantity < held.quantity:
            held.margin *= 1 - quantity / held.quantity
            held.quantity -= quantity
            return
        del self.account.positions[symbol]
        for row in self.account.funding:
            if row.symbol == symbol and row.closed is None:
                row.closed = self.now


def money(price: float | Decimal) -> Decimal:
    """A price with all its digits and no others."""
    return price if isinstance(price, Decimal) else Decimal(repr(price))


def _next_funding(after: datetime) -> datetime:
    return after + _FUNDING_INTERVAL - (after - _EPOCH) % _FUNDING_INTERVAL
