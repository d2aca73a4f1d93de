"""Begins a tick: what the state table says of an account, and what the exchange says."""

from __future__ import annotations

from datetime import timedelta

from serving.trading.desk import Desk
from serving.trading.entering import entered
from serving.trading.holdings import compare
from serving.trading.leaving import exited
from serving.trading.orders import NotLandedError
from serving.trading.positions import Position
from store.exchange import ExchangePosition
from strategy.candles import timeframe_delta


def reconcile(desk: Desk) -> None:
    """Learn what became of orders in flight and of positions, and say what differs."""
    desk.for_each(_land)
    held = {each.symbol: each for each in desk.exchange.positions()}
    known = set(desk.ledger.account.positions)
    desk.for_each(lambda _, position: compare(desk, position, held.get(position.asset)))
    for symbol in sorted(set(held) - known):
        _tell_of_stranger(desk, held[symbol])


def _land(desk: Desk, position: Position) -> None:
    """An order that was written down by a tick that did not live to see its end."""
    order = position.in_flight
    if order is None:
        return
    try:
        state = desk.orders.found(order.order_id, position.asset, order.sent_at)
    except NotLandedError:
        if order.kind == "exit":
            desk.ledger.keep(position.but(in_flight=None))
            return
        before: timedelta = timeframe_delta(position.timeframe).to_pytimedelta()
        # As if the bar had not been looked at: it is decided anew, if it is not too late.
        desk.ledger.account.decided[position.strategy_id] = position.decision_time - before
        desk.ledger.drop(position)
        return
    if order.kind == "entry":
        entered(desk, position, state)
    else:
        exited(desk, position, state, "an earlier tick closed it")


def _tell_of_stranger(desk: Desk, held: ExchangePosition) -> None:
    desk.say(
        f"stranger/{held.symbol}/{held.quantity}/{held.entry_price}",
        f"{held.symbol}: a position that the bot did not open",
        f"{held.quantity:f} {held.symbol} ({'long' if held.side > 0 else 'short'}, at "
        f"{held.entry_price:f}) are held and not known. Nothing is opened in this symbol while "
        "they are there, and the bot puts no stop for them.",
    )
