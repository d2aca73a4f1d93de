"""What came of a retrain, and what the operator is told of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from registry.lifecycle import Stage
from registry.retrain_run import UNTIL, RetrainRun
from store.notifications import notify_once

if TYPE_CHECKING:
    from serving.model_retrainer import Retrainer

ADMITTED, DROPPED = "admitted", "dropped"


@dataclass(frozen=True)
class RetrainResult:
    """What came of a retrain.

    Parameters
    ----------
    retrain_of
        The version that was retrained.
    verdict
        :data:`ADMITTED` or :data:`DROPPED`.
    version
        The one that took its place; None if the retrain was dropped.
    why
        For people, with the figures.
    """

    model: str
    retrain_of: int
    verdict: str
    version: int | None
    why: str
    run_id: str


def tell_result(retrainer: Retrainer, run: RetrainRun, result: RetrainResult, stage: Stage) -> None:
    """Tell the operator once; ``stage`` is that of the version which trades from now on."""
    old, new = result.retrain_of, result.version
    if new is None:
        subject = f"retrain of version {old} dropped"
        after = f"Nothing was registered; version {old} stays in {stage}."
    else:
        subject = f"version {new} takes the place of version {old}, retrained"
        after = f"Version {new} is in {stage}, version {old} archived."
    text = (
        f"{result.why[0].upper()}{result.why[1:]}.\n\n{after}\n\n"
        f"Candles: {run.tags['candles']}, until {run.tags[UNTIL]}. MLflow run {run.run_id}."
    )
    subject = f"{result.model}: {subject}"
    notify_once(retrainer.state, retrainer.notifier, run.key, subject, text, retrainer.clock())
