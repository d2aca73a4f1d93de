"""Opens a position that was decided and sized."""

from __future__ import annotations

import logging

from serving.trading.desk import Desk
from serving.trading.orders import ATTEMPTS, NotLandedError
from serving.trading.positions import InFlight, Position
from serving.trading.protection import protect
from store.exchange import OrderState, RefusedError

_log = logging.getLogger(__name__)


def enter(desk: Desk, position: Position, leverage: int) -> None:
    """Send the entry order, and put the stop of what was filled.

    Raises
    ------
    RefusedError
        The exchange does not take the order: nothing was opened. The position is forgotten when
        the account is saved next, with the reason.
    RetryError
        Nobody knows what became of it; it is remembered, and the next tick finds out.
    """
    desk.exchange.prepare(position.asset, leverage)
    for attempt in range(1, ATTEMPTS + 1):
        order = InFlight(
            kind="entry",
            order_id=f"{position.position_id}-e",
            quantity=position.quantity,
            sent_at=desk.clock(),
        )
        position = desk.ledger.keep(position.but(in_flight=order))
        try:
            state = desk.orders.market(
                order.order_id,
                position.asset,
                position.side,
                order.quantity,
                order.sent_at,
                reduce_only=False,
            )
        except NotLandedError:
            if attempt == ATTEMPTS:
                raise
        except RefusedError:
            del desk.ledger.account.positions[position.asset]
            raise
        else:
            entered(desk, position, state)
            return


def entered(desk: Desk, position: Position, state: OrderState) -> None:
    """Take in the end of the entry order: what was filled of it is the position."""
    if state.filled == 0 or state.average_price is None:
        why = f"the entry order ended {state.status} without a fill"
        desk.intervene(position.strategy_id, state.time, "refuse", why)
        desk.ledger.drop(position)
        return
    entry = float(state.average_price)
    position = desk.ledger.keep(
        position.but(
            in_flight=None,
            quantity=state.filled,
            entered=state.filled,
            entry_price=state.average_price,
            entry_time=state.time,
            entry_fee=state.fee,
            stop=entry - position.side * position.risk,
        )
    )
    desk.say(
        f"{position.position_id}/opened",
        f"{position.asset}: {position.side_name} opened",
        f"{position.model} version {position.version}: {position.side_name} {state.filled:f} "
        f"{position.asset} at {entry:g}, stop at {position.stop:g}; one R is {position.risk:g}, "
        f"in all {float(state.filled) * position.risk:.2f} USD.",
    )
    _log.info("position opened", extra={"position": position.model_dump(mode="json")})
    protect(desk, position)
