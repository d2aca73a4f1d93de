"""Whether the candidate stands on a plateau or on a needle: what its neighbours in the grid did."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from strategy import performance
from strategy.config import Config, IndicatorParameters
from training.trial import Trial


@dataclass(frozen=True)
class Neighbour:
    """A trial whose indicator periods are the candidate's, or one grid step away on some axes."""

    trial: Trial
    steps: int
    """Axes on which it is one step away; 0: the same periods with another model."""

    @property
    def expectancy(self) -> float:
        return performance.expectancy(self.trial.r)

    @property
    def earns(self) -> bool:
        return self.expectancy > 0


@dataclass(frozen=True)
class Neighbourhood:
    """The neighbours that were walked, nearest first."""

    neighbours: tuple[Neighbour, ...]
    combinations: int
    """Combinations of the grid that are one step away on at least one axis."""
    walked: int
    """How many of these the search has tried."""

    @property
    def earning(self) -> int:
        return sum(each.earns for each in self.neighbours)

    @property
    def share_earning(self) -> float:
        """Share of the neighbours with a positive expectancy; NaN if none was walked."""
        return self.earning / len(self.neighbours) if self.neighbours else math.nan


def neighbourhood(trials: Sequence[Trial], centre: Trial, config: Config) -> Neighbourhood:
    """Find the trials around the candidate; pruned ones count with the windows they walked."""
    grid = config.indicator_parameters
    axes = (
        grid.ichimoku.tenkan_sen, grid.ichimoku.kijun_sen, grid.ichimoku.senkou_span_b,
        grid.rsi.period, grid.atr.period,
    )  # fmt: skip
    middle = centre.parameters.indicators
    near = [
        [period for period in axis.values if abs(period - own) <= axis.step]
        for axis, own in zip(axes, middle, strict=True)
    ]
    around = {
        IndicatorParameters(*periods): sum(a != b for a, b in zip(periods, middle, strict=True))
        for periods in itertools.product(*near)
    }
    found = [
        Neighbour(trial, around[trial.parameters.indicators])
        for trial in trials
        if trial.number != centre.number and trial.parameters.indicators in around
    ]
    walked = {each.trial.parameters.indicators for each in found if each.steps}
    return Neighbourhood(
        tuple(sorted(found, key=lambda each: (each.steps, each.trial.number))),
        combinations=sum(steps > 0 for steps in around.values()),
        walked=len(walked),
    )
