"""A walked trial, and whether its record so far rules it out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from strategy import performance
from strategy.config import Pruning
from training.walk_forward import TrialParameters, WindowResult


@dataclass(frozen=True, eq=False)
class Trial:
    """One walked trial: its parameters and the results of its ranking windows, in order."""

    number: int
    """From 0: coverage first, then refinement."""
    parameters: TrialParameters
    results: tuple[WindowResult, ...]
    pruned: bool
    r: NDArray[np.float64] = field(init=False)
    """Net R of all trades pooled over the windows, in order of time."""

    def __post_init__(self) -> None:
        pooled = [result.r for result in self.results]
        object.__setattr__(self, "r", np.concatenate(pooled) if pooled else np.empty(0))

    @property
    def sqn(self) -> float:
        return performance.sqn(self.r)


def is_hopeless(results: Sequence[WindowResult], pruning: Pruning) -> bool:
    """Whether a trial's own record rules it out.

    True when, after ``min_windows``, the one-sided upper confidence bound of the pooled
    expectancy lies below zero. Only this trial's windows count, so the verdict does not
    depend on what other processes have finished.
    """
    if not pruning.enabled or len(results) < pruning.min_windows:
        return False
    pooled = np.concatenate([result.r for result in results])
    return performance.upper_confidence_bound(pooled, pruning.confidence) < 0
