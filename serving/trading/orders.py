"""Sends orders so that each lands once, whatever happens in between.

An order is written down with its time before it is sent. After a time-out, or in the process
that comes after a crash, it is looked for by its client order id; and only when it can land no
more, and is nowhere, it counts as never sent.

Whoever sent it knows when it was under way last. Another process does not: the first may still
be about to send what it wrote down, until :data:`SENT_WITHIN` has passed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from store.clock import Clock
from store.exchange import DuplicateOrderError, Exchange, OrderState, StopOrder, StopStatus
from strategy.errors import RetryError, TradingSystemError

_log = logging.getLogger(__name__)

ATTEMPTS = 3
"""To place what did not reach the exchange, or to close what is left of a position."""
SENT_WITHIN = timedelta(seconds=40)
"""Of being written down: what is older at its turn is not sent any more (half of it), and the
exchange's answer to a wrong clock, after which it is sent once more, comes within the rest."""
_PAUSES = (0.2, 0.5, 1.0, 1.0, 2.0, 2.0, 3.0)
_FEE_QUERIES = 3


class NotLandedError(RetryError):
    """The order is nowhere and can land no more: it may be sent again under the same id."""


@dataclass(frozen=True)
class Orders:
    """The exchange, for orders.

    Parameters
    ----------
    sleep
        Waits that many seconds.
    """

    exchange: Exchange
    clock: Clock
    sleep: Callable[[float], None]

    def market(
        self,
        order_id: str,
        symbol: str,
        side: int,
        quantity: Decimal,
        sent_at: datetime,
        *,
        reduce_only: bool,
    ) -> OrderState:
        """Send a market order that was written down at ``sent_at``, and wait for its end.

        Raises
        ------
        NotLandedError
            It was not carried out, and never will be.
        RetryError
            Nobody can say now what became of it.
        RefusedError
            As :meth:`store.exchange.Exchange.market_order`.
        """
        self._check_age(order_id, sent_at)
        try:
            sent = self.exchange.market_order(
                order_id, symbol, side, quantity, reduce_only=reduce_only
            )
        except (DuplicateOrderError, RetryError):
            return self._found(order_id, symbol, self.clock())
        return self._ended(sent)

    def found(self, order_id: str, symbol: str, written_at: datetime) -> OrderState:
        """What became of a market order that another process may have sent, or be sending.

        Raises as :meth:`market`.
        """
        return self._found(order_id, symbol, written_at + SENT_WITHIN)

    def _found(self, order_id: str, symbol: str, sent_at: datetime) -> OrderState:
        for pause in (*_PAUSES, None):
            final = self._can_land_no_more(sent_at)  # asked before the query, not after
            state = self.exchange.order(symbol, order_id)
            if state is not None:
                return self._ended(state)
            if final:
                raise NotLandedError(f"order {order_id} of {symbol} did not reach the exchange")
            if pause is not None:
                self.sleep(pause)
        raise RetryError(
            f"order {order_id} of {symbol} is not there yet; the next tick looks again"
        )

    def place_stop(self, order_id: str, symbol: str, side: int, stop: StopRequest) -> None:
        """Let a stop rest that was written down at ``stop.sent_at``.

        Raises as :meth:`market`, and StopPassedError where the market is beyond it.
        """
        self._check_age(order_id, stop.sent_at)
        try:
            self.exchange.place_stop(order_id, symbol, side, stop.quantity, stop.price)
        except DuplicateOrderError:
            return
        except RetryError:
            self._found_stop(order_id, symbol, self.clock())

    def _found_stop(self, order_id: str, symbol: str, sent_at: datetime) -> None:
        for pause in (*_PAUSES, None):
            final = self._can_land_no_more(sent_at)
            if self.rests(order_id, symbol) or self.exchange.stop(symbol, order_id) is not None:
                return
            if final:
                raise NotLandedError(f"stop {order_id} of {symbol} did not reach the exchange")
            if pause is not None:
                self.sleep(pause)
        raise RetryError(f"stop {order_id} of {symbol} is not there yet; it is looked for again")

    def rests(self, order_id: str, symbol: str) -> bool:
        """Whether a stop rests now."""
        return any(stop.client_order_id == order_id for stop in self.exchange.stops(symbol))

    def triggered(self, order_id: str, symbol: str) -> StopOrder | None:
        """The stop if the market has reached it, else None.

        Raises
        ------
        RetryError
            It was reached, but what it was filled at is not known yet.
        """
        stop = self.exchange.stop(symbol, order_id)
        if stop is None or stop.status is not StopStatus.TRIGGERED:
            return None
        if stop.order is None or not stop.order.status.final:
            raise RetryError(f"stop {order_id} of {symbol} was reached; its fill is not known yet")
        return stop

    def _ended(self, state: OrderState) -> OrderState:
        """The order when nothing more of it will be filled, with its fee where that is told."""
        for pause in _PAUSES:
            if state.status.final:
                break
            self.sleep(pause)
            state = self.exchange.order(state.symbol, state.client_order_id) or state
        if not state.status.final:
            raise RetryError(f"order {state.client_order_id} of {state.symbol} is still working")
        return self._with_fee(state)

    def _with_fee(self, state: OrderState) -> OrderState:
        """A fee is no reason to leave what was filled without its stop."""
        try:
            for pause in _PAUSES[:_FEE_QUERIES]:
                if state.fee is not None or state.filled == 0:
                    break
                state = self.exchange.order(state.symbol, state.client_order_id) or state
                if state.fee is None:
                    self.sleep(pause)
        except TradingSystemError as error:
            _log.warning("the fee of order %s is not known: %s", state.client_order_id, error)
        return state

    def _can_land_no_more(self, sent_at: datetime) -> bool:
        return self.clock() - sent_at >= self.exchange.lands_within

    def _check_age(self, order_id: str, sent_at: datetime) -> None:
        """A process that was held up must not send what another has given up by now."""
        if self.clock() - sent_at > SENT_WITHIN / 2:
            raise RetryError(f"order {order_id} was held up for too long and is not sent")


@dataclass(frozen=True)
class StopRequest:
    """A stop as it was written down."""

    price: Decimal
    quantity: Decimal
    sent_at: datetime
