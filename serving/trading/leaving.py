"""Closes positions at the market, and puts stops to break-even."""

from __future__ import annotations

from serving.trading.desk import Desk
from serving.trading.holdings import CLOSED, compare, finish_if_closed, with_fill
from serving.trading.orders import ATTEMPTS, NotLandedError
from serving.trading.positions import InFlight, Position
from store.exchange import NothingToReduceError, OrderState, RefusedError
from strategy.errors import RetryError

STOPPED = "stopped"
"""Why a position leaves whose stop the market has passed."""


def close(desk: Desk, position: Position, why: str) -> None:
    """Close a position for a reason from outside.

    Raises
    ------
    RetryError
        It is not closed, or nobody knows; the next tick goes on with it.
    """
    desk.say(f"{position.position_id}/close", f"{position.asset}: closing at the market", why)
    _leave(desk, position.but(leaving=CLOSED), why)


def close_stopped(desk: Desk, position: Position, why: str) -> None:
    """Close a position whose stop the market has passed; raises as :func:`close`."""
    if (left := _still_held(desk, position)) is not None:
        _leave(desk, left.but(leaving=STOPPED), why)


def close_unprotected(desk: Desk, position: Position, why: str) -> None:
    """Close a position for which no stop can be put; raises as :func:`close`."""
    if (left := _still_held(desk, position)) is not None:
        desk.say(f"{position.position_id}/no-stop", f"{position.asset}: no stop, closing", why)
        _leave(desk, left.but(leaving=CLOSED), why)


def go_on_leaving(desk: Desk, position: Position) -> None:
    """Close what an earlier tick began to close."""
    if position.leaving is not None and position.in_flight is None:
        _leave(desk, position, "an earlier tick began to close it")


def put_to_break_even(desk: Desk, position: Position, why: str) -> None:
    """Put the stop of a position in profit to its entry."""
    price = desk.exchange.last_price(position.asset)
    in_profit = position.side * (float(price) - position.entry) > 0
    if in_profit and position.side * (position.entry - position.stop) > 0:
        desk.intervene(position.strategy_id, desk.clock(), "break_even", why, price)
        desk.ledger.keep(position.but(stop=position.entry))
        desk.say(f"{position.position_id}/break-even", f"{position.asset}: to break-even", why)


def exited(desk: Desk, position: Position, state: OrderState, why: str) -> None:
    """Take in the end of an exit order."""
    position = position.but(in_flight=None)
    if state.filled > 0:
        position = with_fill(position, state.client_order_id, state)
        price = position.exits[-1].price
        if position.side * (float(price) - position.stop) <= 0:
            # It was out anyway, as the rule for gaps has it, whoever wanted it closed.
            position = position.but(leaving=STOPPED)
        if position.leaving == CLOSED:
            desk.intervene(position.strategy_id, state.time, "close", why, price)
    finish_if_closed(desk, desk.ledger.keep(position))


def _still_held(desk: Desk, position: Position) -> Position | None:
    compare(desk, position, desk.exchange.position(position.asset))
    return desk.ledger.account.positions.get(position.asset)


def _leave(desk: Desk, position: Position, why: str) -> None:
    for _ in range(ATTEMPTS):
        number = position.exits_sent + 1
        order = InFlight(
            kind="exit",
            order_id=f"{position.position_id}-x{number}",
            quantity=position.quantity,
            sent_at=desk.clock(),
        )
        position = desk.ledger.keep(position.but(in_flight=order, exits_sent=number))
        try:
            state = desk.orders.market(
                order.order_id,
                position.asset,
                -position.side,
                order.quantity,
                order.sent_at,
                reduce_only=True,
            )
        except NothingToReduceError:  # its stop, or a person, was faster
            leaving = position.leaving
            position = desk.ledger.keep(position.but(in_flight=None, leaving=None))
            if (left := _still_held(desk, position)) is None:
                return
            position = left.but(leaving=leaving)
            continue
        except NotLandedError:
            position = desk.ledger.keep(position.but(in_flight=None))
            continue
        except RefusedError:
            desk.ledger.keep(position.but(in_flight=None))
            raise
        exited(desk, position, state, why)
        if (left := desk.ledger.account.positions.get(position.asset)) is None:
            return
        position = left
    raise RetryError(
        f"{position.position_id}: {position.quantity:f} {position.asset} could not be closed in "
        f"{ATTEMPTS} attempts; the next tick goes on"
    )
