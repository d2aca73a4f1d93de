"""Keeps a stop at the exchange for every position, where the strategy wants it."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterable
from decimal import Decimal

from serving.trading.desk import Desk
from serving.trading.holdings import compare
from serving.trading.leaving import close_stopped, close_unprotected
from serving.trading.orders import ATTEMPTS, NotLandedError, StopRequest
from serving.trading.positions import Position, RestingStop
from store.exchange import NothingToReduceError, RefusedError, StopPassedError
from strategy.errors import TradingSystemError

_log = logging.getLogger(__name__)

_OURS = re.compile(r"(?P<position>[0-9a-f]{12}-\d{10})-s(?P<number>\d+)")


def protect(desk: Desk, position: Position) -> None:
    """See that a position's stop rests where it belongs: the new one first, then the old go.

    A position whose stop the market has passed, or for which no stop can be put at all, is
    closed. A stop that was on its way when its process died may come to rest beside the new one;
    the next call cancels it.

    Raises
    ------
    RetryError, RefusedError
        The stop could not be moved, or nobody knows; an older one still rests.
    """
    if position.in_flight is not None:
        return
    filters = desk.exchange.filters(position.asset)
    price = filters.stop_price(Decimal(repr(position.stop)), position.side)
    resting = {stop.client_order_id for stop in desk.exchange.stops(position.asset)}
    own = [stop for stop in position.stops if stop.order_id in resting]
    present = [s for s in own if (s.price, s.quantity) == (price, position.quantity)]
    if present:
        wanted = present[-1]
    else:
        number = position.stops_sent + 1
        wanted = RestingStop(
            order_id=f"{position.position_id}-s{number}", price=price, quantity=position.quantity
        )
        stops = (*position.stops, wanted)
        position = desk.ledger.keep(position.but(stops=stops, stops_sent=number))
        protected = any(stop.quantity >= position.quantity for stop in own)
        try:
            _send(desk, position, wanted)
        except (NotLandedError, RefusedError) as error:
            position = _forget(desk, position, {wanted.order_id})
            _do_without(desk, position, price, error, protected=protected)
            return
    gone = {
        order_id
        for order_id in sorted(resting - {wanted.order_id})
        if _outlived(order_id, position) and desk.exchange.cancel_stop(position.asset, order_id)
    }
    _forget(desk, position, gone)


def sweep(desk: Desk, symbols: Iterable[str]) -> None:
    """Cancel the bot's own stops that outlived their positions."""
    for symbol in symbols:
        if symbol not in desk.ledger.account.positions:
            for stop in desk.exchange.stops(symbol):
                if stop.reduce_only and _OURS.fullmatch(stop.client_order_id):
                    _log.warning("cancelling %s: its position is gone", stop.client_order_id)
                    desk.exchange.cancel_stop(symbol, stop.client_order_id)


def _outlived(order_id: str, position: Position) -> bool:
    """Whether a stop of ours is of no use any more.

    One of this position that is newer than it knows was put by another bot, which goes on.
    """
    ours = _OURS.fullmatch(order_id)
    if ours is None or ours["position"] != position.position_id:
        return ours is not None
    return int(ours["number"]) <= position.stops_sent


def _forget(desk: Desk, position: Position, gone: Collection[str]) -> Position:
    """Strike out stops that closed nothing and never will, when the account is saved next.

    Of all others it must be asked what they have closed.
    """
    position = position.but(stops=tuple(s for s in position.stops if s.order_id not in gone))
    desk.ledger.account.positions[position.asset] = position
    return position


def _do_without(
    desk: Desk, position: Position, price: Decimal, error: TradingSystemError, *, protected: bool
) -> None:
    """What follows from a stop that cannot be put."""
    if isinstance(error, StopPassedError):
        close_stopped(desk, position, f"the price has passed its stop at {price:f}")
    elif isinstance(error, NothingToReduceError):  # an older stop, or a person, was faster
        compare(desk, position, desk.exchange.position(position.asset))
        if position.asset in desk.ledger.account.positions:
            raise error
    elif protected:
        raise error
    else:
        close_unprotected(desk, position, f"no stop can be put at {price:f}: {error}")


def _send(desk: Desk, position: Position, stop: RestingStop) -> None:
    for attempt in range(1, ATTEMPTS + 1):
        request = StopRequest(stop.price, stop.quantity, desk.clock())
        try:
            desk.orders.place_stop(stop.order_id, position.asset, -position.side, request)
            return
        except NotLandedError:
            if attempt == ATTEMPTS:
                raise
