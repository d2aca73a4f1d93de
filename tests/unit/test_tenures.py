"""From when until when a version decided, by what the bot saw at the bars' closes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from serving.trading.known_roster import KnownRoster
from serving.trading.roster import Entrant
from serving.trading.tenures import KEY, PARTITION, Tenure, succeeded, tenures_of
from strategy.errors import DataError, RetryError
from tests.manual_clock import ManualClock
from tests.memory_state import MemoryState

MODEL = "BTCUSDT-1h"
TEN = datetime(2024, 1, 1, 10, tzinfo=UTC)
HOUR = timedelta(hours=1)


def entrant(version: int, book: str = "paper") -> Entrant:
    return Entrant(MODEL, version, "s1", book, bundle=None)


def tenure(version: int, book: str, since: datetime, until: datetime | None = None) -> Tenure:
    return Tenure(version=version, strategy_id="s1", book=book, since=since, until=until)


def test_a_version_serves_from_the_first_bar_at_which_it_was_seen() -> None:
    first = succeeded([], [entrant(1)], TEN)
    assert first == [tenure(1, "paper", TEN)]
    assert succeeded(first, [entrant(1)], TEN + HOUR) == first


def test_a_version_that_moves_ends_one_tenure_and_begins_another_at_the_same_bar() -> None:
    moved = succeeded([tenure(1, "paper", TEN)], [entrant(1, "live")], TEN + HOUR)
    assert moved == [tenure(1, "paper", TEN, TEN + HOUR), tenure(1, "live", TEN + HOUR)]


def test_a_version_that_comes_back_begins_anew() -> None:
    gone = succeeded([tenure(1, "live", TEN)], [], TEN + HOUR)
    assert gone == [tenure(1, "live", TEN, TEN + HOUR)]
    back = succeeded(gone, [entrant(1, "live")], TEN + 2 * HOUR)
    assert back == [*gone, tenure(1, "live", TEN + 2 * HOUR)]


def test_a_retrained_version_follows_the_one_that_it_replaces() -> None:
    followed = succeeded([tenure(1, "live", TEN)], [entrant(2, "live")], TEN + HOUR)
    assert [(each.version, each.until) for each in followed] == [(1, TEN + HOUR), (2, None)]


class Registry:
    """Says who trades, or that it cannot be read."""

    def __init__(self) -> None:
        self.entrants: list[Entrant] = []
        self.fault: RetryError | None = None

    def read(self, models: list[str], *, synthetic_market: bool) -> list[Entrant]:
        if self.fault:
            raise self.fault
        return [each for each in self.entrants if each.model in models]


def test_a_registry_out_of_reach_ends_no_tenure_and_who_served_is_remembered() -> None:
    state, registry = MemoryState(), Registry()
    known = KnownRoster(registry, state, ManualClock(TEN))
    registry.entrants = [entrant(1), entrant(2, "live")]
    known.read({MODEL: TEN}, synthetic_market=False)
    registry.entrants = [entrant(1)]
    known.read({MODEL: TEN + HOUR}, synthetic_market=False)
    registry.fault = RetryError("not now")
    remembered, (notice,) = known.read({MODEL: TEN + 2 * HOUR}, synthetic_market=False)
    assert [(each.version, each.book, each.bundle) for each in remembered] == [(1, "paper", None)]
    assert notice.subject == "Registry unreachable"
    assert tenures_of(state, MODEL) == [
        tenure(1, "paper", TEN),
        tenure(2, "live", TEN, TEN + HOUR),
    ]


def test_a_market_whose_bar_is_not_due_keeps_its_tenures() -> None:
    state, registry = MemoryState(), Registry()
    known = KnownRoster(registry, state, ManualClock(TEN))
    registry.entrants = [entrant(1), Entrant("ETHUSDT-4h", 7, "s7", "live", bundle=None)]
    known.read({MODEL: TEN, "ETHUSDT-4h": TEN}, synthetic_market=False)
    known.read({MODEL: TEN + HOUR}, synthetic_market=False)
    (other,) = tenures_of(state, "ETHUSDT-4h")
    assert (other.since, other.until) == (TEN, None)


def test_damaged_tenures_are_named() -> None:
    state = MemoryState()
    state.put(PARTITION, KEY, {MODEL: [{"version": 1}]}, expected=0)
    with pytest.raises(DataError, match="bot/roster in the state table is damaged"):
        tenures_of(state, MODEL)
