"""How a rehearsal that fails is cut down to the faults that make it fail."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from rehearsal import shortest as module
from rehearsal.fate import Struck
from rehearsal.invariants import InvariantBrokenError
from rehearsal.script import Script
from rehearsal.shortest import Replay, shortest
from rehearsal.system import Event

BEGIN = datetime(2024, 1, 1, tzinfo=UTC)
NAME = "state equals exchange"
KEYS = [f"2024-01-01T{number // 60:02}:{number % 60:02}/trading_bot/0" for number in range(64)]


def broken(hours: float, name: str = NAME) -> InvariantBrokenError:
    event = Event(BEGIN + timedelta(hours=hours), 1, "trading_bot", {})
    return InvariantBrokenError(name, event, "they differ")


class Rehearsals:
    """Replays that fail exactly where all the planted faults strike; each strikes many times."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path, *planted: str) -> None:
        self.planted, self.folder = set(planted), folder / "replay"
        self.script = Script(
            config=None,  # type: ignore[arg-type]
            frames={("BTCUSDT", "1h"): _candles()},
            market="a market",
            begin=BEGIN,
            end=BEGIN + timedelta(days=30),
            seed=77,
            rate=0.1,
        )
        self.performed: list[Script] = []
        self.hours, self.name = 50.0, NAME
        monkeypatch.setattr(module, "performed", self._performed)

    @contextmanager
    def _performed(self, script: Script, folder: Path, _: Any) -> Iterator[tuple[Any, Any]]:
        assert list(folder.iterdir()) == []
        (folder / "state.db").write_text("of this replay")
        assert script.only is not None
        self.performed.append(script)
        fails = self.planted <= script.only
        yield None, broken(self.hours, self.name) if fails else None

    def cut(self, tries: int) -> Replay:
        struck = [Struck(BEGIN, key, "something") for key in KEYS for _ in range(2)]
        world: Any = SimpleNamespace(fate=SimpleNamespace(struck=struck))
        return shortest(self.script, world, broken(100), self.folder, tries)


def _candles() -> pd.DataFrame:
    index = pd.date_range(BEGIN, periods=31 * 24, freq="h")
    return pd.DataFrame({"open": 1.0}, index)


@pytest.mark.parametrize("planted", [(5, 40), (0, 63), (62, 63), (0, 1), (31, 32)])
def test_the_faults_that_it_takes_are_found_and_no_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, planted: tuple[int, int]
) -> None:
    keys = [KEYS[number] for number in planted]
    found = Rehearsals(monkeypatch, tmp_path, *keys).cut(tries=200)
    assert list(found.keys) == keys
    assert found.script.only == frozenset(keys)
    assert found.tries < 200


@pytest.mark.parametrize("planted", [0, 20, 63])
def test_one_fault_that_suffices_is_found_and_tried_no_further(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, planted: int
) -> None:
    found = Rehearsals(monkeypatch, tmp_path, KEYS[planted]).cut(tries=200)
    assert list(found.keys) == [KEYS[planted]]
    assert found.tries < 100


def test_what_fails_without_any_fault_is_said_to_need_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = Rehearsals(monkeypatch, tmp_path).cut(tries=50)
    assert list(found.keys) == []
    assert found.tries < 50
    assert found.in_words.endswith("  none")


def test_no_replay_is_made_twice(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    rehearsals = Rehearsals(monkeypatch, tmp_path, KEYS[5], KEYS[40])
    rehearsals.cut(tries=200)
    stages = [script.only for script in rehearsals.performed]
    assert all(before != after for before, after in pairwise(stages))


@pytest.mark.parametrize("tries", [0, 1, 2, 3, 4])
def test_no_more_replays_are_made_than_allowed_and_what_is_kept_still_fails(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tries: int
) -> None:
    rehearsals = Rehearsals(monkeypatch, tmp_path, KEYS[5], KEYS[40])
    found = rehearsals.cut(tries)
    assert len(rehearsals.performed) == found.tries == tries
    assert {KEYS[5], KEYS[40]} <= set(found.keys)


def test_it_ends_soon_after_the_failure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    rehearsals = Rehearsals(monkeypatch, tmp_path, KEYS[5])
    assert rehearsals.cut(tries=0).script.end == BEGIN + timedelta(hours=101)
    assert rehearsals.cut(tries=50).script.end == BEGIN + timedelta(hours=51)


def test_another_invariant_s_failure_is_not_this_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rehearsals = Rehearsals(monkeypatch, tmp_path, KEYS[5])
    rehearsals.name = "no event lost"
    found = rehearsals.cut(tries=20)
    assert list(found.keys) == KEYS
    assert found.broken.name == NAME


def test_it_says_seed_length_and_faults(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = Rehearsals(monkeypatch, tmp_path, KEYS[5], KEYS[40]).cut(tries=200)
    words = replace(found, tries=9).in_words
    assert words == (
        "Seed 77. The shortest replay that fails, after 9 tries: 2 days, until 2024-01-03 03:00, "
        f"and of the faults only\n  {KEYS[5]}\n  {KEYS[40]}"
    )
