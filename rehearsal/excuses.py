"""Which trades need not be the simulator's, and which must.

While a part is out of reach for long, a stop cannot be moved: that trade may end otherwise than
the simulator's. Where it ends later on one side, that side is still in it when the other one
enters again. Such a trade is missing there, however long ago the outage was, and it may keep the
other side from a later one in its turn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, NamedTuple

import pandas as pd

from strategy.divergence import Explanation

AnyOutage = Callable[[datetime, datetime], bool]
"""Whether any part was out of reach between two moments."""

_BEFORE, _AFTER = pd.Timedelta(minutes=20), pd.Timedelta(hours=1)
"""A decision may come so much later than its bar, and the end of a trade be seen so late."""
_WHERE = {Explanation.NOT_LIVE: "live", Explanation.NOT_SIMULATED: "simulated"}
_SIDES = tuple(_WHERE.values())


class _Held(NamedTuple):
    """A side is in an excused trade: it enters no other at the decisions after ``since``.

    At one of ``until`` it does not, either: a simulated exit bears the open of its bar.
    """

    since: pd.Timestamp
    until: pd.Timestamp


def unexcused(
    rows: Iterable[Any], any_outage: AnyOutage, still_open: Iterable[datetime], now: datetime
) -> list[Any]:
    """Of trades that are not the same on both sides those that no outage has led to.

    Parameters
    ----------
    rows
        Of a table of :func:`strategy.divergence.divergences`, as tuples in its order.
    still_open
        When the recorded positions were decided that are open now, UTC; they have no row.
    """
    held: dict[str, list[_Held]] = {side: [] for side in _SIDES}
    for time in still_open:
        opened, until = pd.Timestamp(time), pd.Timestamp(now)
        if any_outage(opened - _BEFORE, until):
            held["live"].append(_Held(opened, until))
    found = []
    for row in rows:
        exits = {side: getattr(row, f"exit_time_{side}") for side in _SIDES}
        exits = {side: time for side, time in exits.items() if not pd.isna(time)}
        there = held.get(_WHERE.get(row.explained, ""), ())
        follows = any(each.since < row.decision_time <= each.until for each in there)
        if follows or any_outage(row.decision_time - _BEFORE, max(exits.values()) + _AFTER):
            for side, time in exits.items():
                held[side].append(_Held(row.decision_time, time))
        else:
            found.append(row)
    return found
