"""One campaign of the calibration: the project's own search, ranking, confirmation and evidence.

Left out is what decides nothing: MLflow, SHAP, the final model and its registration.
"""

from __future__ import annotations

import hashlib
import inspect
import time
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from strategy import performance
from strategy.config import Config
from training.calibration.markets import TIMEFRAME, Market, market_candles, market_config
from training.candidate import gates, leading_trial, weigh
from training.discovery import Workforce, confirm, discover, split_windows
from training.random_signal_simulator import Simulation, monte_carlo
from training.trial import Trial
from training.walk_forward import PreparedMarket, TrialParameters, WindowResult

DECIMALS = 6
"""Of an R that is written down."""

Record = dict[str, Any]

_MODULES = (
    *(f"strategy.{name}" for name in (
        "candles", "costs", "exits", "features", "features.atr", "features.candlestick",
        "features.catalogue", "features.combined", "features.ichimoku", "features.rsi",
        "indicators", "signal", "simulate", "target", "training_set", "windows",
    )),
    "store.bootstrap", "store.synthetic", "registry.fitting",
    "training.discovery", "training.search", "training.trial", "training.walk_forward",
)  # fmt: skip
_FUNCTIONS = {
    "strategy.performance": (
        "summary", "expectancy", "standard_error", "sqn", "upper_confidence_bound",
        "mean_positive_p_value", "deflated_sharpe", "probability_of_overfitting",
        "_differ", "_sqn_of_moments",
    ),
    "training.scheduler": ("walk", "_in_turn", "_Progress"),
    "training.random_entries": ("simulate_random_entries", "_pick"),
    "training.random_signal_simulator": ("monte_carlo",),
    "training.candidate": ("leading_trial",),
    "training.calibration.markets": ("market_candles", "market_config"),
    "training.calibration.campaign": ("calibrate", "_confirmation_null"),
}  # fmt: skip
"""Of modules in which other ideas live as well."""


def calibrate(market: Market, seed: int, config: Config, recorded: pd.DataFrame | None) -> Record:
    """Run one campaign and return all figures that any gate could ask for, as JSON has them.

    Equal for equal arguments and code, ``seconds`` aside, whatever else runs beside it.
    """
    started = time.process_time()
    config = market_config(market, seed, config)
    prepared = PreparedMarket(market_candles(market, seed, config, recorded), TIMEFRAME, config)
    ranking, hidden = split_windows(prepared.windows, config.selection)
    with ThreadPoolExecutor(1) as executor:
        workforce = Workforce(executor, prepared.evaluate, in_flight=1)
        trials = discover(ranking, config, workforce, _Nobody())
        leader, eligible = leading_trial(trials, config.selection)
        confirmation = confirm(leader, hidden if eligible else (), workforce, _Nobody())
    evidence, simulation = weigh(prepared, trials, leader, confirmation)
    return {
        "trials": [_walked(each) for each in trials],
        "eligible": evidence.eligible,
        "winner": leader.number,
        "parameters": leader.parameters.flat(),
        "ranking_r": [_r(result.r) for result in leader.results],
        "confirmation_r": [_r(result.r) for result in confirmation],
        "signals": [result.signal_counts for result in (*leader.results, *confirmation)],
        "random_expectancies": _r(simulation.entries.expectancy),
        "random_trades": float(simulation.entries.trades.mean()),
        "random_confirmation_expectancies": _confirmation_null(prepared, leader, confirmation),
        "deflated_sharpe": _known(evidence.deflated_sharpe),
        "overfitting": _known(evidence.overfitting),
        "gates": {
            gate.name: {
                "figure": _known(gate.figure),
                "wanted": f"{gate.comparison} {gate.threshold:g}",
                "passed": gate.passed,
                "detail": gate.detail,
            }
            for gate in gates(evidence, config)
        },
        "seconds": round(time.process_time() - started, 3),
    }


def code_digest() -> str:
    """Of the sources that make a record, and of nothing else: gates and analysis may change."""
    parts: list[Any] = [import_module(name) for name in _MODULES]
    for module, names in _FUNCTIONS.items():
        parts += [getattr(import_module(module), name) for name in names]
    return hashlib.sha256("\0".join(map(inspect.getsource, parts)).encode()).hexdigest()[:12]


class _Nobody:
    """A :class:`training.discovery.Listener` that does not care."""

    def window_done(
        self, number: int, parameters: TrialParameters, result: WindowResult
    ) -> None: ...

    def trial_done(self, trial: Trial) -> None: ...


def _confirmation_null(
    market: PreparedMarket, leader: Trial, confirmation: tuple[WindowResult, ...]
) -> list[float | None]:
    """Expectancies of random entries in the hidden windows alone, which the ranking has not seen:
    there the model's place among them is not flattered by having been chosen.
    """
    if not confirmation:
        return []
    config = market.config.monte_carlo_config
    null: Simulation = monte_carlo(
        market,
        leader.parameters.indicators.atr_period,
        {result.window: result.signal_counts for result in confirmation},
        performance.expectancy(np.concatenate([result.r for result in confirmation])),
        n_simulations=config.n_simulations,
        seed=config.random_seed,
    )
    return _r(null.entries.expectancy)


def _walked(each: Trial) -> Record:
    return {
        "windows": len(each.results),
        "trades": len(each.r),
        "expectancy": _known(performance.expectancy(each.r)),
        "sqn": _known(each.sqn),
        "pruned": each.pruned,
    }


def _r(values: NDArray[np.float64]) -> list[float | None]:
    return [_known(round(float(value), DECIMALS)) for value in values]


def _known(value: float) -> float | None:
    """JSON has no NaN or infinity."""
    return float(value) if np.isfinite(value) else None
