"""What is left of a position, by the exchange; and its trade, when nothing is."""

from __future__ import annotations

import logging
from datetime import datetime
from decimal import Decimal

from serving.journal import TradeRecord
from serving.trading.closed_by_hand import fills_by_hand
from serving.trading.desk import Desk
from serving.trading.positions import Fill, LastExit, Position
from serving.trading.stepping import stepped
from store.exchange import ExchangePosition, OrderState
from strategy.errors import DataError, RetryError
from strategy.exits import ExitReason

_log = logging.getLogger(__name__)

CLOSED = ExitReason.CLOSED.name.lower()
_SETTLES = 2.0  # seconds


def compare(desk: Desk, position: Position, held: ExchangePosition | None) -> None:
    """Bring a position in line with what the exchange holds of its symbol."""
    quantity = _quantity(position, held)
    if quantity != position.quantity:
        position = _with_stops_counted(desk, position)
    if quantity < position.quantity:
        # Lists may lag behind fills; what a person has taken is still gone a moment later.
        desk.sleep(_SETTLES)
        position = _with_stops_counted(desk, position)
        quantity = _quantity(position, desk.exchange.position(position.asset))
    if quantity < position.quantity:
        position = _taken_by_hand(desk, position, position.quantity - quantity)
    elif quantity > position.quantity:
        desk.say(
            f"{position.position_id}/more/{quantity}",
            f"{position.asset}: the exchange holds more than the bot opened",
            f"{quantity:f} are held, {position.quantity:f} are the position "
            f"{position.position_id}. The stop covers that part alone: close the rest by hand.",
        )
    finish_if_closed(desk, position)


def with_fill(position: Position, order_id: str, state: OrderState) -> Position:
    """The position after a part of it, or all, was closed by an order."""
    if state.average_price is None:
        raise RetryError(f"order {order_id} of {position.asset} was filled, at an unknown price")
    fill = Fill(
        order_id=order_id,
        quantity=state.filled,
        price=state.average_price,
        fee=state.fee,
        time=state.time,
    )
    return position.but(exits=(*position.exits, fill), quantity=position.quantity - state.filled)


def finish_if_closed(desk: Desk, position: Position) -> None:
    """Record the trade of a position of which nothing is left, and forget it."""
    if position.quantity > 0:
        return
    last = max(fill.time for fill in position.exits)
    try:
        # Where its stop stood gives the reason its name: bars may have closed before the exit.
        position = stepped(desk, position, last)
    except DataError as error:
        _log.warning("%s: the reason may be named wrongly: %s", position.position_id, error)
    trade = _trade(desk, position, last)
    desk.journal.add_trade(trade)
    for stop in desk.exchange.stops(position.asset):
        if stop.client_order_id.startswith(position.position_id):
            # It would outlive the position, and reduce the next one.
            desk.exchange.cancel_stop(position.asset, stop.client_order_id)
    desk.ledger.account.last_exits[position.asset] = LastExit(
        strategy_id=position.strategy_id, time=last
    )
    desk.ledger.drop(position)
    desk.say(
        f"{position.position_id}/closed",
        f"{position.asset}: {trade.reason.replace('_', ' ')}, {trade.r:+.2f} R",
        f"{position.model} version {position.version}: {position.side_name} {position.entered:f} "
        f"{position.asset}, in at {trade.entry_price:g}, out at {trade.exit_price:g}: "
        f"{trade.r:+.3f} R, {trade.profit:+.2f} USD after {trade.fees:.2f} of fees and "
        f"{trade.funding:.2f} of funding.",
    )
    _log.info("trade closed", extra={"trade": trade.document()})


def _quantity(position: Position, held: ExchangePosition | None) -> Decimal:
    return held.quantity if held and held.side == position.side else Decimal(0)


def _with_stops_counted(desk: Desk, position: Position) -> Position:
    """Take in what the position's stops have closed."""
    counted = {fill.order_id for fill in position.exits}
    for stop in position.stops:
        if stop.order_id in counted:
            continue
        found = desk.orders.triggered(stop.order_id, position.asset)
        if found is not None and found.order is not None and found.order.filled > 0:
            position = with_fill(position, stop.order_id, found.order)
    return desk.ledger.keep(position)


def _taken_by_hand(desk: Desk, position: Position, quantity: Decimal) -> Position:
    number = len(position.exits)
    fills = fills_by_hand(desk, position, quantity)
    told = "filled, as the exchange lists it, at"
    if not fills:
        told = "the exchange does not list these fills; counted at the last price,"
        price = desk.exchange.last_price(position.asset)
        name = f"by-hand-{number}"
        fills = (Fill(order_id=name, quantity=quantity, price=price, fee=None, time=desk.clock()),)
    price = sum((fill.quantity * fill.price for fill in fills), Decimal(0)) / quantity
    why = (
        f"{quantity:f} of {position.quantity:f} {position.asset} of {position.position_id} were "
        f"closed by nobody that the bot knows of; {told} {float(price):.10g}"
    )
    left, time = position.quantity - quantity, fills[-1].time
    # Where a stop has closed the rest after them, it has ended the position.
    if left == 0 and all(fill.time <= time for fill in position.exits):
        desk.intervene(position.strategy_id, time, "close", why, price)
        position = position.but(leaving=CLOSED)
    desk.say(
        f"{position.position_id}/by-hand/{number}",
        f"{position.asset}: closed by hand at the exchange",
        why,
    )
    return desk.ledger.keep(position.but(exits=(*position.exits, *fills), quantity=left))


def _trade(desk: Desk, position: Position, exit_time: datetime) -> TradeRecord:
    entry_time = position.entry_time or position.decision_time
    funding = sum(
        (
            -each.amount
            for each in desk.exchange.income(entry_time)
            if each.kind == "funding"
            and each.symbol == position.asset
            and entry_time < each.time <= exit_time
        ),
        Decimal(0),
    )
    entry_value = (position.entry_price or Decimal(0)) * position.entered
    fees = _fee(desk, position.entry_fee, entry_value)
    exit_value = Decimal(0)
    for fill in position.exits:
        exit_value += fill.price * fill.quantity
        fees += _fee(desk, fill.fee, fill.price * fill.quantity)
    exit_price = float(exit_value / position.entered)
    costs = float((fees + funding) / position.entered)
    return TradeRecord(
        strategy_id=position.strategy_id,
        model=position.model,
        version=position.version,
        book=desk.book,
        position_id=position.position_id,
        asset=position.asset,
        timeframe=position.timeframe,
        side=position.side,
        decision_time=position.decision_time,
        entry_time=entry_time,
        exit_time=exit_time,
        entry_price=position.entry,
        exit_price=exit_price,
        risk=position.risk,
        quantity=position.entered,
        reason=CLOSED if position.leaving == CLOSED else _stop_reason(position),
        fees=fees,
        funding=funding,
        r=(position.side * (exit_price - position.entry) - costs) / position.risk,
    )


def _stop_reason(position: Position) -> str:
    """A stop is named by where it stood, as in :func:`strategy.exits.step`."""
    ahead = position.side * (position.stop - position.entry)
    reason = ExitReason.STOP_LOSS if ahead < 0 else ExitReason.TRAILING_STOP
    return (ExitReason.BREAK_EVEN if ahead == 0 else reason).name.lower()


def _fee(desk: Desk, told: Decimal | None, notional: Decimal) -> Decimal:
    return notional * Decimal(repr(desk.fee_per_side)) if told is None else told
