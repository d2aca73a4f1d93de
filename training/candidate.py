"""The leading trial of a search, and every figure by which it is judged."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import lightgbm as lgb
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from registry.gates import GateVerdict, incubation_gates
from strategy import performance
from strategy.config import Config, Selection
from strategy.features import CATALOGUE, FEATURE_NAMES
from strategy.simulate import trades_frame
from training.explain import Explanation, explain
from training.random_entries import RandomEntries
from training.random_signal_simulator import Simulation, monte_carlo, monte_carlo_gates
from training.search import overfitting, rank, trial_sharpes
from training.trial import Trial
from training.walk_forward import PreparedMarket, WindowResult


@dataclass(frozen=True, eq=False)
class Evidence:
    """What the gates judge the leading trial of a search by."""

    trials: int
    """Trials walked."""
    pruned: int
    eligible: int
    """Trials that may win."""
    confirmation_r: NDArray[np.float64]
    """Net R of the trades in the hidden windows, in order of time; none if no trial may win."""
    entries: RandomEntries
    """Random entries through all windows of the leading trial, its own exits and costs."""
    deflated_sharpe: float
    overfitting: float


@dataclass(frozen=True, eq=False)
class Candidate:
    """The leading trial with everything that decides whether it may be traded."""

    trial: Trial
    eligible: bool
    """False if no trial was left to win, and this is only the best of those that lost."""
    confirmation: tuple[WindowResult, ...]
    """Results in the windows hidden from the ranking; empty if not eligible."""
    simulation: Simulation
    explanation: Explanation
    """SHAP on the first training window."""
    deflated_sharpe: float
    overfitting: float
    """PBO over the trials walked to the end."""
    gates: tuple[GateVerdict, ...]

    @property
    def results(self) -> tuple[WindowResult, ...]:
        """All windows of the trial, the confirmation windows last."""
        return self.trial.results + self.confirmation

    @property
    def r(self) -> NDArray[np.float64]:
        """Net R of all trades, in order of time."""
        return np.concatenate([result.r for result in self.results])

    @property
    def passed(self) -> bool:
        return all(gate.passed for gate in self.gates)


def leading_trial(trials: Sequence[Trial], selection: Selection) -> tuple[Trial, bool]:
    """The winner of the ranking and True; or else, to show why there is none, the trial that
    came furthest (most windows, then highest SQN) and False.
    """
    ranking = rank(trials, selection.min_trades_per_window)
    if ranking:
        return ranking[0], True

    def came(trial: Trial) -> tuple[int, float]:
        return len(trial.results), trial.sqn if math.isfinite(trial.sqn) else -math.inf

    return max(trials, key=came), False


def judge(
    market: PreparedMarket,
    trials: Sequence[Trial],
    trial: Trial,
    eligible: bool,
    confirmation: tuple[WindowResult, ...],
    first_model: str,
) -> Candidate:
    """Work out every figure and gate of the leading trial.

    ``first_model`` is its model of the first window, as LightGBM writes it.

    There is no second candidate: to fall back on the runner-up when the winner fails its
    confirmation would be choosing on the confirmation.
    """
    evidence, simulation = weigh(market, trials, trial, confirmation)
    return Candidate(
        trial=trial,
        eligible=eligible,
        confirmation=confirmation,
        simulation=simulation,
        explanation=_explain_first_window(market, trial, first_model),
        deflated_sharpe=evidence.deflated_sharpe,
        overfitting=evidence.overfitting,
        gates=gates(evidence, market.config),
    )


def weigh(
    market: PreparedMarket,
    trials: Sequence[Trial],
    trial: Trial,
    confirmation: tuple[WindowResult, ...],
) -> tuple[Evidence, Simulation]:
    """Work out the evidence on the leading trial, and its random entries with all they show."""
    config = market.config
    results = trial.results + confirmation
    simulation = monte_carlo(
        market,
        trial.parameters.indicators.atr_period,
        {result.window: result.signal_counts for result in results},
        performance.expectancy(np.concatenate([result.r for result in results])),
        n_simulations=config.monte_carlo_config.n_simulations,
        seed=config.monte_carlo_config.random_seed,
    )
    evidence = Evidence(
        trials=len(trials),
        pruned=sum(trial.pruned for trial in trials),
        eligible=len(rank(trials, config.selection.min_trades_per_window)),
        confirmation_r=np.concatenate([np.empty(0), *(result.r for result in confirmation)]),
        entries=simulation.entries,
        deflated_sharpe=performance.deflated_sharpe(trial.r, trial_sharpes(trials)),
        overfitting=overfitting(trials),
    )
    return evidence, simulation


def gates(evidence: Evidence, config: Config) -> tuple[GateVerdict, ...]:
    """Every gate between a search and Staging: all must hold."""
    return (
        _candidate_gate(evidence),
        *incubation_gates(evidence.confirmation_r, config.incubation_promotion),
        *monte_carlo_gates(evidence.entries, config.monte_carlo_config),
    )


def trades_table(market: PreparedMarket, results: Sequence[WindowResult]) -> pd.DataFrame:
    """Trades of several windows as one table, with the number of their window."""
    tables = [
        trades_frame(result.trades, market.index).assign(window=result.window) for result in results
    ]
    return pd.concat(tables, ignore_index=True)


def expected_directions() -> Mapping[str, int | None]:
    """By feature: what theory expects of a higher value."""
    return {feature.name: feature.expected_direction for feature in CATALOGUE}


def _candidate_gate(evidence: Evidence) -> GateVerdict:
    return GateVerdict(
        name="candidates",
        figure=float(evidence.eligible),
        threshold=0.0,
        comparison=">",
        detail=(
            f"of {evidence.trials} trials that may win; {evidence.pruned} were pruned as hopeless"
        ),
    )


def _explain_first_window(market: PreparedMarket, trial: Trial, model: str) -> Explanation:
    window = market.windows[0]
    booster = lgb.Booster(model_str=model)
    features, _ = market.training_set(
        trial.parameters.indicators, window.train_start, window.train_end
    )
    return explain(booster, features, FEATURE_NAMES, expected_directions())
