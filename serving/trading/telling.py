"""Ends a tick: the operator hears of what happened, the caller of what went wrong."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from serving.trading.desk import Notice
from store.clock import Clock
from store.notifications import Notifier, notify_once
from store.state import StateTable
from strategy.errors import ConflictError, RetryError, TradingSystemError

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Teller:
    """Tells the operator of everything once."""

    state: StateTable
    notifier: Notifier
    clock: Clock

    def tell(self, notices: Sequence[Notice], errors: Sequence[TradingSystemError]) -> None:
        """Send what is new; an error that lasts is told once a day."""
        now = self.clock()
        troubles = [
            Notice(
                f"error/{now:%Y-%m-%d}/{type(error).__name__}/{error}"[:200],
                f"Trading bot: {type(error).__name__}",
                str(error),
            )
            for error in errors
            if not isinstance(error, ConflictError)
        ]
        for each in (*notices, *troubles):
            _log.info("%s: %s", each.subject, each.text)
            try:
                notify_once(
                    self.state, self.notifier, f"bot/{each.key}", each.subject, each.text, now
                )
            except TradingSystemError as error:
                # What happened is in journal and log; trading goes on untold.
                _log.error("the operator could not be told of %s: %s", each.key, error)


def joined(errors: Sequence[TradingSystemError]) -> TradingSystemError:
    """One error for all of them, of the kind that asks most of the caller."""
    said = "; ".join(dict.fromkeys(str(error) for error in errors))
    for kind in (ConflictError, RetryError):
        if all(isinstance(error, kind) for error in errors):
            return kind(said)
    worst = next(error for error in errors if not isinstance(error, RetryError))
    return type(worst)(said)
