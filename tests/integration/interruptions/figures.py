"""Counts what was done to campaigns, and compares what came of them with one left alone."""

from __future__ import annotations

import signal
from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from strategy.errors import INTERRUPTED
from tests.integration.interruptions.campaigns import Campaign, Ended, Strike
from tests.integration.interruptions.endings import differences, ending

KILL, TERMINATE, CTRL_C = signal.SIGKILL, signal.SIGTERM, signal.SIGINT
TERMINATED = 128 + TERMINATE
UNREADY = {-TERMINATE, -CTRL_C}
"""Of a process that had not yet come to say what it does on a signal."""
KILL_SHARE = 0.6
SOONEST_SECONDS = 0.5  # after it was begun: what interrupts Python's own start has no exit status


@dataclass
class Figures:
    """What was done to some campaigns, and what came of it."""

    kills: Counter[str] = field(default_factory=Counter)
    campaigns: int = 0
    units: int = 0
    recomputed: int = 0
    differences: int = 0

    def add(
        self, campaign: Campaign, kills: Counter[str], undisturbed: Campaign, torn: int = 0
    ) -> None:
        """Count a campaign in that has come to its end, which must be the undisturbed one's.

        Computed again are at most the units that were in hand, and those of torn checkpoints.
        """
        found = differences(ending(campaign.var), ending(undisturbed.var))
        self.campaigns += 1
        self.kills += kills
        self.units += len(campaign.units)
        self.recomputed += campaign.recomputed
        self.differences += len(found)
        assert found == [], found
        assert set(campaign.units) == set(undisturbed.units)
        assert campaign.recomputed <= campaign.jobs * kills["SIGKILL"] + torn

    def __str__(self) -> str:
        kills = ", ".join(f"{number} {kind}" for kind, number in sorted(self.kills.items()))
        return (
            f"{self.campaigns} campaigns, {self.kills.total()} kills ({kills}): {self.units} units "
            f"evaluated, {self.recomputed} of them again, {self.differences} differences"
        )


def struck_at_random(
    campaign: Campaign, undisturbed: Campaign, stop: signal.Signals, rng: np.random.Generator
) -> Ended:
    """An attempt that is struck at a random passing of a random place, or after a random time.

    Half of the signals that are not ``stop`` but SIGKILL take all processes at once.
    """
    sent = KILL if rng.random() < KILL_SHARE else stop
    together = sent != TERMINATE and rng.random() < 0.5
    whom: Literal["campaign", "group"] = "group" if together else "campaign"
    if rng.random() < 0.5:
        seconds = float(rng.uniform(SOONEST_SECONDS, undisturbed.seconds))
        return campaign.attempt_until(seconds, sent, whom)
    passings = undisturbed.passings(1)
    place = str(rng.choice(sorted(passings)))
    soon = max(1, passings[place] // 4)  # so that a campaign is struck several times
    return campaign.attempt(Strike(place, int(rng.integers(soon)) + 1, sent, whom))


def kind_of(ended: Ended) -> str:
    """The name of the signal that ended an attempt."""
    names = {
        -KILL: "SIGKILL",
        INTERRUPTED: "SIGINT",
        -CTRL_C: "SIGINT",
        TERMINATED: "SIGTERM",
        -TERMINATE: "SIGTERM",
    }
    assert ended.status in names, ended.output
    return names[ended.status]
