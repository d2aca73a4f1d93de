"""The line to a futures exchange: what live trading asks of it, and what it answers.

Whoever places an order must know three things.

- A RetryError from :meth:`Exchange.market_order` or :meth:`Exchange.place_stop` says nothing
  about the order: it may rest or be filled. The client order id finds out
  (:meth:`Exchange.order`, :meth:`Exchange.stop`); nothing sends the order again before that.
- A request that is still on its way may land until :attr:`Exchange.lands_within` has passed since
  it was sent. Before that, None from a query is not final.
- Nobody can rely on the exchange to refuse a client order id that was used before: Binance
  promises this among *open* orders alone, so that a filled market order can be filled again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Literal, Protocol

from strategy.errors import ConfigError, FixError
from strategy.sizing import MarketFilters


class RefusedError(FixError):
    """The exchange refused the request as it is: nothing was placed, changed or cancelled."""


class InsufficientMarginError(RefusedError):
    """The free balance does not pay for the order's margin."""


class NotionalTooSmallError(RefusedError):
    """The order is worth less than the exchange's minimum."""


class NothingToReduceError(RefusedError):
    """A reduce-only order met no position of the other side: it is already closed."""


class StopPassedError(RefusedError):
    """The market is already beyond the stop: the position must be closed instead."""


class DuplicateOrderError(RefusedError):
    """An open order has this client order id: query it, it is the one that was wanted."""


class UnknownOrderError(RefusedError):
    """No order has this client order id (any more)."""


class OrderStatus(StrEnum):
    """What became of an order. What was filled is told by its quantity, not by this."""

    NEW = "new"
    PARTIALLY_FILLED = "partially_filled"
    FILLED = "filled"
    CANCELED = "canceled"
    REJECTED = "rejected"
    EXPIRED = "expired"

    @property
    def final(self) -> bool:
        """Whether nothing more will be filled."""
        return self not in (OrderStatus.NEW, OrderStatus.PARTIALLY_FILLED)


class StopStatus(StrEnum):
    """Where a stop order stands."""

    WAITING = "waiting"
    TRIGGERED = "triggered"
    CANCELED = "canceled"
    REJECTED = "rejected"
    EXPIRED = "expired"


@dataclass(frozen=True)
class Balance:
    """The account in USD: its equity (unrealised profit included), and what of it is free."""

    total: Decimal
    free: Decimal

    @property
    def margin_in_use(self) -> Decimal:
        """What positions and orders hold back, their unrealised profit included."""
        return self.total - self.free


@dataclass(frozen=True)
class ExchangePosition:
    """An open position.

    Parameters
    ----------
    side
        1 long, -1 short.
    quantity
        Above 0, in units of the base asset.
    entry_price, liquidation_price
        USD; no liquidation price where the margin outweighs any loss.
    leverage
        As it is set for the symbol.
    isolated
        Whether it can lose no more than its own ``margin``.
    margin
        USD, unrealised profit included; 0 where the margin is not isolated.
    """

    symbol: str
    side: int
    quantity: Decimal
    entry_price: Decimal
    leverage: int
    liquidation_price: Decimal | None
    isolated: bool
    margin: Decimal


@dataclass(frozen=True)
class OrderState:
    """What the exchange knows of an order.

    Parameters
    ----------
    number
        The exchange's own id of the order, which its fills have.
    side
        1 buys, -1 sells.
    quantity, filled
        In units of the base asset; an order may end with a part of it filled.
    average_price
        USD; None while nothing is filled.
    fee
        USD; None while the exchange has not listed all of its fills. Only
        :meth:`Exchange.order` and :meth:`Exchange.stop` look for it.
    time
        Of the last change.
    """

    client_order_id: str
    number: str
    symbol: str
    side: int
    status: OrderStatus
    quantity: Decimal
    filled: Decimal
    average_price: Decimal | None
    fee: Decimal | None
    time: datetime


@dataclass(frozen=True)
class StopOrder:
    """A stop that rests at the exchange, or what became of it.

    Parameters
    ----------
    side
        Of the order: 1 buys (protects a short position), -1 sells (protects a long one).
    reduce_only
        Ours always are; a person's may not be.
    order
        The market order that it turned into; None before that, or where that is not known yet.
    """

    client_order_id: str
    symbol: str
    side: int
    quantity: Decimal
    stop_price: Decimal
    reduce_only: bool
    status: StopStatus
    order: OrderState | None
    time: datetime


@dataclass(frozen=True)
class ExchangeFill:
    """What an order bought or sold at one price, whoever sent it.

    Parameters
    ----------
    order_number
        Of the order: :attr:`OrderState.number`.
    side
        1 bought, -1 sold.
    quantity
        Above 0, in units of the base asset.
    price
        USD.
    fee
        USD, by the present price of what it was paid in; None where that has no price.
    """

    order_number: str
    symbol: str
    side: int
    quantity: Decimal
    price: Decimal
    fee: Decimal | None
    time: datetime


@dataclass(frozen=True)
class Income:
    """Money that came into the account's equity or left it, other than by a fill.

    Parameters
    ----------
    kind
        ``funding`` of a position, or ``transfer``: what a person brought in or took out.
    symbol
        Of the position; None for a transfer.
    amount
        USD; above 0 where it was received.
    id
        The same whenever it is read, and no other income's.
    """

    kind: Literal["funding", "transfer"]
    symbol: str | None
    amount: Decimal
    time: datetime
    id: str


class Exchange(Protocol):
    """A USD-margined futures account in one-way mode.

    Every method raises RetryError when the exchange did not answer or asked to slow down
    (reads have by then been repeated), ConfigError when it does not accept the API key or know
    the symbol, and RefusedError when it refuses for another reason. ``side`` of an order is 1
    where it buys, -1 where it sells. Symbols are as in ``BTCUSDT``.
    """

    @property
    def lands_within(self) -> timedelta:
        """How long after it was sent a request may still be carried out."""
        ...

    def server_time(self) -> datetime: ...

    def filters(self, symbol: str) -> MarketFilters:
        """What prices and quantities are rounded to; exits need not have the least notional."""
        ...

    def last_price(self, symbol: str) -> Decimal: ...

    def balance(self) -> Balance: ...

    def positions(self) -> list[ExchangePosition]: ...

    def position(self, symbol: str) -> ExchangePosition | None: ...

    def income(self, since: datetime) -> list[Income]:
        """Funding and transfers from then on (inclusive), in order of time.

        They explain :meth:`balance` beside fills. Binance remembers three months.
        """
        ...

    def fills(self, symbol: str, since: datetime) -> list[ExchangeFill]:
        """All of the account in a symbol, whoever sent the order, in order of time.

        A person's orders and those that liquidate a position are among them. What was filled a
        moment ago may not be listed yet.

        Parameters
        ----------
        since
            Inclusive. Binance remembers six months, an account with virtual money one week.
        """
        ...

    def prepare(self, symbol: str, leverage: int) -> None:
        """Set one-way mode, isolated margin and the leverage; what is so already stays so."""
        ...

    def market_order(
        self,
        client_order_id: str,
        symbol: str,
        side: int,
        quantity: Decimal,
        *,
        reduce_only: bool,
    ) -> OrderState:
        """Send a market order, once.

        Raises
        ------
        RetryError
            Nobody knows whether it landed: query it by its client order id.
        RefusedError
            Nothing was placed; the subclass says why.
        """
        ...

    def order(self, symbol: str, client_order_id: str) -> OrderState | None:
        """What became of an order, with its fee; None where no order has this id."""
        ...

    def place_stop(
        self, client_order_id: str, symbol: str, side: int, quantity: Decimal, stop_price: Decimal
    ) -> StopOrder:
        """Let a reduce-only stop rest that becomes a market order when the last price reaches it.

        Several may rest at once, so that a new one can be placed before the old one goes. Each
        outlives the position: one that is left over would reduce the next.

        Raises
        ------
        StopPassedError
            The last price is beyond it already: nothing rests.
        RetryError
            Nobody knows whether it landed: query it by its client order id.
        """
        ...

    def stops(self, symbol: str) -> list[StopOrder]:
        """The stops that rest, a person's too."""
        ...

    def stop(self, symbol: str, client_order_id: str) -> StopOrder | None:
        """What became of a stop, with the order that it turned into; None for an unknown id.

        Binance's list of resting stops (:meth:`stops`) has been seen to know a stop before
        this query did.
        """
        ...

    def cancel_stop(self, symbol: str, client_order_id: str) -> bool:
        """Cancel a resting stop; False where none rests: it was triggered or is gone already."""
        ...


_CLIENT_ORDER_ID = re.compile(r"[.A-Z:/a-z0-9_-]{1,36}")


def checked_client_order_id(client_order_id: str) -> str:
    """The id itself, if Binance takes it: at most 36 letters, digits and ``. : / _ -``."""
    if not _CLIENT_ORDER_ID.fullmatch(client_order_id):
        raise ConfigError(
            f"{client_order_id!r} cannot be a client order id: it has 1 to 36 letters, digits and "
            "any of . : / _ -"
        )
    return client_order_id
