"""Keeps a stop at the exchange for every position, where the strategy wants it."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from decimal import Decimal

from serving.trading.desk import Desk
from serving.trading.leaving import close_stopped
from serving.trading.orders import NotLandedError, StopRequest
from serving.trading.positions import Position, RestingStop
from store.exchange import RefusedError, StopPassedError

_log = logging.getLogger(__name__)

_OURS = re.compile(r"[0-9a-f]{12}-\d{10}-s\d+")
_REMEMBERED = 4  # stops: one that landed late, or was filled while it was replaced, is counted


def protect(desk: Desk, position: Position) -> None:
    """See that a position's stop rests where it belongs: the new one first, then the old go.

    A position whose stop the market has passed, or for which no stop can be put at all, is
    closed.

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
    present = [
        stop
        for stop in position.stops
        if (stop.price, stop.quantity) == (price, position.quantity) and stop.order_id in resting
    ]
    if present:
        wanted = present[-1].order_id
    else:
        number = position.stops_sent + 1
        wanted = f"{position.position_id}-s{number}"
        stop = RestingStop(order_id=wanted, price=price, quantity=position.quantity)
        stops = (*position.stops[1 - _REMEMBERED :], stop)
        position = desk.ledger.keep(position.but(stops=stops, stops_sent=number))
        if not _put(desk, position, stop, protected=bool(resting)):
            return
    for order_id in resting - {wanted}:
        if order_id.startswith(position.position_id):
            desk.exchange.cancel_stop(position.asset, order_id)


def sweep(desk: Desk, symbols: Iterable[str]) -> None:
    """Cancel the bot's own stops that outlived their positions."""
    for symbol in symbols:
        if symbol not in desk.ledger.account.positions:
            for stop in desk.exchange.stops(symbol):
                if stop.reduce_only and _OURS.fullmatch(stop.client_order_id):
                    _log.warning("cancelling %s: its position is gone", stop.client_order_id)
                    desk.exchange.cancel_stop(symbol, stop.client_order_id)


def _put(desk: Desk, position: Position, stop: RestingStop, *, protected: bool) -> bool:
    """Send a stop; False if the position was closed instead."""
    request = StopRequest(stop.price, stop.quantity, desk.clock())
    try:
        desk.orders.place_stop(stop.order_id, position.asset, -position.side, request)
    except StopPassedError:
        close_stopped(desk, position, f"the price has passed its stop at {stop.price:f}")
        return False
    except (NotLandedError, RefusedError) as error:
        if protected:
            raise
        why = f"no stop can be put at {stop.price:f}: {error}"
        desk.say(f"{stop.order_id}/unprotected", f"{position.asset}: no stop, closing", why)
        close_stopped(desk, position, why)
        return False
    return True
