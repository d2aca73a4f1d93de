"""One account's tick: what is open is managed first, then strategies enter."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from serving.trading.breaker import advanced, tripped
from serving.trading.close_requests import CloseRequests
from serving.trading.decisions import ClosedBar, consider
from serving.trading.desk import Desk
from serving.trading.instructions import Instructions
from serving.trading.leaving import close, go_on_leaving, put_to_break_even
from serving.trading.positions import Position
from serving.trading.protection import protect, sweep
from serving.trading.reconciliation import reconcile
from serving.trading.roster import Entrant
from serving.trading.stepping import step
from strategy.config import CircuitBreaker
from strategy.errors import ConflictError, TradingSystemError

_log = logging.getLogger(__name__)

T = TypeVar("T")


def trade(
    desk: Desk,
    entrants: Sequence[Entrant],
    closed: Sequence[ClosedBar],
    instructions: Instructions,
    rule: CircuitBreaker,
    requests: CloseRequests,
) -> list[TradingSystemError]:
    """Manage what the account holds, then decide on the bars that have closed.

    What fails keeps nothing else from being done: a stop that cannot be moved for want of
    candles still rests and can be closed, and a breaker that cannot be judged opens nothing.

    Returns
    -------
    What went wrong, beside ``desk.errors``.

    Raises
    ------
    RetryError, FixError
        Nobody knows what the exchange holds: nothing was done.
    ConflictError
        Another bot is at work on this account: it is left alone at once.
    """
    errors: list[TradingSystemError] = []
    reconcile(desk)
    desk.for_each(go_on_leaving)
    for position in desk.positions:
        if position.asset not in desk.errors:
            _attempt(errors, partial(step, desk, position))
    desk.ledger.save()
    breaker = _attempt(errors, partial(advanced, desk, rule))
    if breaker is not None and breaker.force_break_even:
        _break_even(desk)
    if instructions.emergency is not None:
        _close_all(desk, instructions.emergency)
    _obey(desk, requests)
    desk.for_all(protect)
    halted = instructions.halted or tripped(breaker)
    for entrant in entrants:
        for bar in closed:
            if entrant.model == f"{bar.asset}-{bar.timeframe}":
                _attempt(errors, partial(consider, desk, entrant, bar, instructions.rules, halted))
    desk.publish()
    if closed:
        sweep(desk, [bar.asset for bar in closed])
    return errors


def _attempt(errors: list[TradingSystemError], act: Callable[[], T]) -> T | None:
    """What it returns; None where it failed, which is noted down."""
    try:
        return act()
    except ConflictError:
        raise
    except TradingSystemError as error:
        _log.error("%s", error)
        errors.append(error)
        return None


def _break_even(desk: Desk) -> None:
    def put(desk: Desk, position: Position) -> None:
        put_to_break_even(desk, position, "the daily drawdown has come near its limit")

    desk.for_each(put)


def _close_all(desk: Desk, why: str) -> None:
    def leave(desk: Desk, position: Position) -> None:
        close(desk, position, why)

    desk.for_each(leave)


def _obey(desk: Desk, requests: CloseRequests) -> None:
    """Close what the operator asked to have closed; what is closed is struck out."""
    wanted = requests.of(desk.ledger.name)

    def leave(desk: Desk, position: Position) -> None:
        if (item := wanted.get(position.asset)) is not None:
            close(desk, position, f"asked for by {item.value['by']} at {item.value['at']}")

    desk.for_each(leave)
    for symbol, item in wanted.items():
        if symbol not in desk.ledger.account.positions:
            requests.done(item)
