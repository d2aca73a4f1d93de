"""Cuts a rehearsal that fails down to what makes it fail."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from rich.console import Console

from rehearsal.invariants import InvariantBrokenError
from rehearsal.performance import performed
from rehearsal.script import Script
from rehearsal.world import World

_AFTERWARDS = timedelta(hours=1)


@dataclass(frozen=True)
class Replay:
    """The shortest replay that still breaks the same invariant.

    Parameters
    ----------
    keys
        Of the faults that it needs; all others are left out.
    """

    script: Script
    broken: InvariantBrokenError
    keys: Sequence[str]
    tries: int

    @property
    def in_words(self) -> str:
        """For whoever mends it."""
        days = (self.script.end - self.script.begin).days
        faults = "\n".join(f"  {key}" for key in self.keys) or "  none"
        return (
            f"Seed {self.script.seed}. The shortest replay that fails, after {self.tries} tries: "
            f"{days} days, until {self.script.end:%Y-%m-%d %H:%M}, and of the faults only\n"
            f"{faults}"
        )


def shortest(
    script: Script, world: World, broken: InvariantBrokenError, folder: Path, tries: int
) -> Replay:
    """Replay with ever fewer faults, those nearest to the failure first.

    A fault's fate depends on its own key alone, so that all others can be left out and it still
    strikes. It ends when ``tries`` replays were made, or no half of the faults suffices.
    """
    end = min(script.end, broken.event.time + _AFTERWARDS)
    keys = list(dict.fromkeys(each.key for each in world.fate.struck))
    best = Replay(replace(script, end=end, only=frozenset(keys)), broken, keys, 0)
    made, size = 0, max(1, len(keys) // 2)
    shutil.rmtree(folder, ignore_errors=True)
    while made < tries and best.keys:
        candidates = _halves(best.keys, size)
        for kept in candidates:
            if made == tries:
                break
            made += 1
            # Each in a folder of its own: MLflow keeps the files open of a store that it has seen.
            place = folder / str(made)
            found = _replayed(replace(best.script, only=frozenset(kept)), place)
            shutil.rmtree(place)
            if found is not None and found.name == broken.name:
                until = min(end, found.event.time + _AFTERWARDS)
                shorter = replace(best.script, only=frozenset(kept), end=until)
                best = Replay(shorter, found, kept, made)
                break
        else:
            if size == 1:
                break
        size = max(1, min(size // 2, len(best.keys) // 2))
    return replace(best, tries=made)


def _halves(keys: Sequence[str], size: int) -> list[list[str]]:
    """The last keys alone, then all but each stretch of that size, from the last; each shorter."""
    last = list(keys[-size:])
    without = [[*keys[: max(0, end - size)], *keys[end:]] for end in range(len(keys), 0, -size)]
    return [last, *(kept for kept in without if kept != last)] if len(keys) > size else without


def _replayed(script: Script, folder: Path) -> InvariantBrokenError | None:
    folder.mkdir(parents=True)
    with performed(script, folder, Console(quiet=True)) as (_, broken):
        return broken
