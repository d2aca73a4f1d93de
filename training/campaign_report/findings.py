"""Everything that the report tells of a judged campaign, worked out once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from strategy.windows import Window
from training.campaign_report.costs import CostCase, cost_sensitivity, free_of_costs, per_side_for
from training.campaign_report.stability import Neighbourhood, neighbourhood
from training.candidate import Candidate
from training.trial import Trial
from training.walk_forward import PreparedMarket

Floats = NDArray[np.float64]
DAYS_A_MONTH = 365.25 / 12


@dataclass(frozen=True, eq=False)
class Findings:
    """A judged campaign and what follows from it."""

    market: PreparedMarket
    trials: Sequence[Trial]
    candidate: Candidate
    trades: pd.DataFrame
    """The candidate's, as :func:`training.candidate.trades_table` gives them."""
    cases: Sequence[CostCase]
    free_r: Floats
    """R of every trade without any cost."""
    around: Neighbourhood

    @classmethod
    def of(
        cls,
        market: PreparedMarket,
        trials: Sequence[Trial],
        candidate: Candidate,
        trades: pd.DataFrame,
    ) -> Findings:
        atr_period = candidate.trial.parameters.indicators.atr_period
        return cls(
            market,
            trials,
            candidate,
            trades,
            cost_sensitivity(market, atr_period, candidate.results),
            free_of_costs(market, atr_period, candidate.results),
            neighbourhood(trials, candidate.trial, market.config),
        )

    @property
    def hidden_r(self) -> Floats:
        """Net R of the trades in the windows that the search has not seen."""
        return np.concatenate([np.empty(0), *(each.r for each in self.candidate.confirmation)])

    @property
    def break_even(self) -> float:
        """Fee and slippage per fill at which the average trade earns nothing."""
        return per_side_for(self.cases, 0.0)

    @property
    def windows(self) -> Sequence[Window]:
        """Those in which the candidate has traded, in order of time."""
        walked = {result.window for result in self.candidate.results}
        return [window for window in self.market.windows if window.number in walked]

    @property
    def months(self) -> float:
        """Length of these windows together."""
        spans = (each.validation_end_time - each.validation_start_time for each in self.windows)
        return sum(span.total_seconds() for span in spans) / (86_400 * DAYS_A_MONTH)
