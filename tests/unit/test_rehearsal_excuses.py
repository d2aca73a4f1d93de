"""What an outage excuses, and what follows from it; nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import pandas as pd

from rehearsal.excuses import unexcused
from strategy.divergence import Explanation

DAY = pd.Timestamp("2024-07-25T00:00:00Z")
OUTAGE = (DAY + pd.Timedelta(hours=15), DAY + pd.Timedelta(hours=19))


def at(hour: float | None) -> Any:
    return pd.NaT if hour is None else DAY + pd.Timedelta(hours=hour)


def trade(decided: float, live: float | None, simulated: float | None) -> Any:
    """By the hours at which it was decided and ended on each side; None: it is missing there."""
    missing = {(True, False): Explanation.NOT_LIVE, (False, True): Explanation.NOT_SIMULATED}
    return SimpleNamespace(
        decision_time=at(decided),
        exit_time_live=at(live),
        exit_time_simulated=at(simulated),
        explained=missing.get((live is None, simulated is None), Explanation.NONE),
    )


def left(rows: Sequence[Any], still_open: Sequence[float] = (), now: float = 100) -> list[int]:
    """Numbers of the rows that are not excused."""

    def any_outage(since: datetime, until: datetime) -> bool:
        return since < OUTAGE[1] and OUTAGE[0] < until

    found = unexcused(rows, any_outage, [at(each) for each in still_open], at(now))
    return [rows.index(row) for row in found]


def test_a_trade_in_an_outage_may_be_another() -> None:
    assert left([trade(12, 30, 16)]) == []


def test_a_trade_long_before_or_after_one_may_not() -> None:
    assert left([trade(2, 5, 4), trade(20, 22, 21)]) == [0, 1]


def test_what_the_simulator_trades_while_the_other_is_still_in_that_trade_is_missing() -> None:
    """A stop that could not be moved: the position outlived the simulator's by half a day."""
    stayed = trade(12, 29.99, 16)
    assert left([stayed, trade(20, None, 25)]) == []
    assert left([stayed, trade(20, None, 22), trade(26, None, 28)]) == []
    assert left([stayed, trade(29, None, 31)]) == []


def test_once_that_trade_has_ended_nothing_is_missing() -> None:
    assert left([trade(12, 29.99, 16), trade(30, None, 31)]) == [1]


def test_what_was_traded_while_the_simulator_is_still_in_that_trade_is_too_much() -> None:
    stayed = trade(12, 16, 29)  # in the bar from 29 to 30
    assert left([stayed, trade(20, 25, None), trade(29, 31, None)]) == []
    assert left([stayed, trade(30, 31, None)]) == [1]


def test_a_trade_that_follows_may_keep_the_other_side_from_one_in_its_turn() -> None:
    rows = [trade(12, 29.99, 16), trade(28, None, 40), trade(30, 33, None)]
    assert left(rows) == []
    assert left(rows[1:]) == [0, 1]


def test_a_trade_that_is_there_on_both_sides_does_not_follow_from_another() -> None:
    assert left([trade(12, 29.99, 16), trade(20, 22, 23)]) == [1]


def test_nor_does_one_that_is_missing_where_nobody_was_in_a_trade() -> None:
    assert left([trade(12, 29.99, 16), trade(20, 25, None)]) == [1]


def test_a_trade_without_an_outage_excuses_none() -> None:
    assert left([trade(40, 60, 45), trade(50, None, 55)]) == [0, 1]


def test_a_position_that_an_outage_has_kept_open_until_now_excuses_too() -> None:
    assert left([trade(20, None, 25)], still_open=[12], now=30) == []
    assert left([trade(20, None, 25)], still_open=[12.5], now=30) == []
    assert left([trade(40, None, 45)], still_open=[12], now=30) == [0]
    assert left([trade(25, None, 28)], still_open=[20], now=30) == [0]
    assert left([trade(11.9, None, 12)], still_open=[12], now=30) == [0]
