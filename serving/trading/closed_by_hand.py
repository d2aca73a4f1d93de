"""What closed a position, or a part of it, that no order of the bot's has closed.

A person at the exchange's site did, or the exchange itself: it liquidates, and closes positions
of those who win when nobody else can pay. Its list of fills has all of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from itertools import groupby

from serving.trading.desk import Desk
from serving.trading.positions import Fill, Position
from store.exchange import ExchangeFill

_ATTEMPTS = 3
_SETTLES = 2.0  # seconds


def fills_by_hand(desk: Desk, position: Position, quantity: Decimal) -> tuple[Fill, ...]:
    """The newest fills of nobody that the bot knows of that make up a quantity.

    Returns
    -------
    In order of time; those of an order are one. Empty where the exchange does not list as many,
    even a moment later.

    Raises
    ------
    RetryError, FixError
        As the exchange says.
    """
    own = _own_orders(desk, position)
    for attempt in range(1, _ATTEMPTS + 1):
        newest = _newest(_unknown(desk, position, own), quantity)
        if sum(fill.quantity for fill in newest) == quantity:
            return tuple(
                _joined(desk, position, list(fills))
                for _, fills in groupby(newest, key=lambda fill: fill.order_number)
            )
        if attempt < _ATTEMPTS:  # the list may lag behind
            desk.sleep(_SETTLES)
    return ()


def _own_orders(desk: Desk, position: Position) -> set[str]:
    """The exchange's numbers of the orders of the bot's that have closed a part."""
    stops = {stop.order_id for stop in position.stops}
    numbers = set()
    for name in {fill.order_id for fill in position.exits}:
        if name in stops:
            stop = desk.exchange.stop(position.asset, name)
            order = stop.order if stop else None
        elif name.startswith(position.position_id):
            order = desk.exchange.order(position.asset, name)
        else:
            continue
        if order is not None:
            numbers.add(order.number)
    return numbers


def _unknown(desk: Desk, position: Position, own: set[str]) -> list[ExchangeFill]:
    """The fills that have closed, without what is counted already."""
    counted: defaultdict[str, Decimal] = defaultdict(Decimal)
    for exit_ in position.exits:
        counted[exit_.order_id] += exit_.quantity
    found = []
    for fill in desk.exchange.fills(position.asset, position.entry_time or position.decision_time):
        if fill.side != position.side and fill.order_number not in own:
            known = min(counted[fill.order_number], fill.quantity)
            counted[fill.order_number] -= known
            found.append(_part(fill, fill.quantity - known))
    return found


def _newest(fills: Sequence[ExchangeFill], quantity: Decimal) -> list[ExchangeFill]:
    """The last of them that make up a quantity, or all."""
    taken = []
    for fill in reversed(fills):
        part = min(fill.quantity, quantity)
        if part > 0:
            taken.append(_part(fill, part))
            quantity -= part
    return taken[::-1]


def _part(fill: ExchangeFill, quantity: Decimal) -> ExchangeFill:
    fee = None if fill.fee is None else fill.fee * quantity / fill.quantity
    return replace(fill, quantity=quantity, fee=fee)


def _joined(desk: Desk, position: Position, fills: Sequence[ExchangeFill]) -> Fill:
    """As a part of the position that was closed: named by its order's number.

    It is not dated before the last bar at whose close the bot took the position for held, though
    lists may have lagged behind: it decided nothing at that close.
    """
    quantity = sum((fill.quantity for fill in fills), Decimal(0))
    fees = [fill.fee for fill in fills if fill.fee is not None]
    decided = desk.ledger.account.decided.get(position.strategy_id, position.decision_time)
    return Fill(
        order_id=fills[-1].order_number,
        quantity=quantity,
        price=sum((fill.quantity * fill.price for fill in fills), Decimal(0)) / quantity,
        fee=sum(fees, Decimal(0)) if len(fees) == len(fills) else None,
        time=max(fills[-1].time, decided),
    )
