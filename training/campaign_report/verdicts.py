"""What the verdicts of the gates mean, in a sentence each."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from registry.gates import GateVerdict
from training.campaign_report import words


class Meaning(NamedTuple):
    """How to tell one gate's verdict."""

    title: str
    lacking: str
    """What is the matter where it fails, as one of a list."""
    show: Callable[[float], str]
    passed: str
    failed: str


class Told(NamedTuple):
    """A gate's verdict for people."""

    title: str
    lacking: str
    figure: str
    wanted: str
    passed: bool
    meaning: str


def _count(value: float) -> str:
    return words.number(value, 0)


def _thousandths(value: float) -> str:
    return words.in_r(value, 3)


_COMPARISONS = {">": "more than", ">=": "at least", "<": "less than", "<=": "at most"}
_MEANINGS = {
    "candidates": Meaning(
        "A setting is left to judge",
        "no setting was left to judge",
        _count,
        "So many of the settings that were tried traded often enough and were not ruled out by "
        "their own losses. The best of them is judged here.",
        "Every setting that was tried was ruled out: by its own losses, or because it hardly "
        "traded. What follows shows the one that came furthest.",
    ),
    "incubation_trades": Meaning(
        "Enough unseen trades",
        "too few unseen trades",
        _count,
        "It traded often enough in the months that were hidden from the search to be judged there.",
        "It hardly traded in the months that were hidden from the search: nothing confirms it.",
    ),
    "incubation_last": Meaning(
        "The newest unseen trades earn",
        "the newest unseen trades did not earn enough",
        _thousandths,
        "Its newest trades, which the search has never seen, earned more than is asked for.",
        "Its newest trades, which the search has never seen, did not earn what is asked for.",
    ),
    "incubation_all_trades": Meaning(
        "All unseen trades earn",
        "all unseen trades together did not earn enough",
        _thousandths,
        "All its trades in the hidden months together earned more than is asked for.",
        "All its trades in the hidden months together did not earn what is asked for.",
    ),
    "monte_carlo_positive_share": Meaning(
        "Coin flips would have earned too",
        "entries at random lose too often",
        lambda value: words.share(value, 1),
        "Entries at random earn nearly always under the same exits and costs: how it leaves its "
        "trades carries it, not how cleverly it enters them.",
        "Entries at random lose too often under the same exits and costs: whatever it earns hangs "
        "on its entries alone.",
    ),
    "monte_carlo_mean": Meaning(
        "Coin flips earn on average",
        "entries at random lose on average",
        _thousandths,
        "The average trade entered at random earns after costs.",
        "The average trade entered at random loses after costs.",
    ),
    "monte_carlo_p_value": Meaning(
        "... and not by chance",
        "their average is not clearly above zero",
        words.probability,
        "That average is further above zero than chance explains (a mild test: all simulations "
        "share one price history).",
        "That average is not above zero by more than chance explains.",
    ),
}
"""By the name of the gate, or by how it begins."""


def told(gate: GateVerdict) -> Told:
    """A gate's verdict in plain words; one that is not known here by its own detail."""
    unknown = Meaning(
        gate.name.replace("_", " ").capitalize(),
        gate.name.replace("_", " "),
        lambda value: words.number(value, 4),
        gate.detail,
        gate.detail,
    )
    known = (each for name, each in _MEANINGS.items() if gate.name.startswith(name))
    meaning = next(known, unknown)
    if math.isnan(gate.figure):
        sentence = "There is nothing to measure it by, and what is not known does not pass."
    else:
        sentence = meaning.passed if gate.passed else meaning.failed
    return Told(
        meaning.title,
        meaning.lacking,
        meaning.show(gate.figure),
        f"{_COMPARISONS[gate.comparison]} {meaning.show(gate.threshold)}",
        gate.passed,
        sentence,
    )
