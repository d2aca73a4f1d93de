"""Which trials to walk, and how to rank them.

Coverage walks indicator combinations in a seeded order under one set of hyperparameters,
so that they are compared on equal terms. Refinement asks Optuna's TPE for generations of
trials; all of a generation is asked from the results of coverage and the generations before,
never from what happened to finish first. Everything here is a pure function of its
arguments, so a search ends the same for any number of processes and interruptions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray

from strategy import performance
from strategy.config import Config, IndicatorParameters, LightGBMParameters
from training.trial import Trial
from training.walk_forward import TrialParameters

optuna.logging.set_verbosity(optuna.logging.WARNING)


def coverage_size(config: Config) -> int:
    """Number of coverage trials: the configured share of the budget, at most the whole grid."""
    share = math.ceil(config.search.coverage_share * config.search.max_trials)
    return min(share, config.indicator_parameters.size)


def coverage(config: Config) -> list[TrialParameters]:
    """Indicator combinations to walk, in an order drawn from the seed."""
    combinations = list(config.indicator_parameters.combinations())
    rng = np.random.default_rng(config.monte_carlo_config.random_seed)
    order = rng.permutation(len(combinations))[: coverage_size(config)]
    return [TrialParameters(combinations[i], config.search.coverage_hyperparameters) for i in order]


def next_generation(
    trials: Sequence[Trial], generation: int, size: int, config: Config
) -> list[TrialParameters]:
    """Ask Optuna's TPE for ``size`` new trials, given all trials walked so far.

    A pruned trial is told as such, with its SQN at the window where it stopped; TPE ranks
    it behind every trial that was walked to the end. Each generation draws from its own
    seed, so it can be asked again after an interruption without replaying the ones before.
    """
    space = _space(config)
    seed = np.random.SeedSequence([config.monte_carlo_config.random_seed, generation])
    sampler = optuna.samplers.TPESampler(
        seed=int(seed.generate_state(1)[0]), multivariate=True, constant_liar=True
    )
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.add_trials([_told(trial, space) for trial in trials])
    return [_parameters(study.ask(space).params) for _ in range(size)]


def hyperparameter_importance(trials: Sequence[Trial], config: Config) -> dict[str, float]:
    """Share of each parameter in the spread of SQN, most important first (fANOVA).

    Empty when fewer than two trials were walked to the end: there is no spread to explain.
    """
    space = _space(config)
    study = optuna.create_study(direction="maximize")
    study.add_trials([_told(trial, space) for trial in trials])
    complete = [trial for trial in study.trials if trial.state.is_finished() and trial.values]
    if len({tuple(trial.values) for trial in complete}) < 2:
        return {}
    evaluator = optuna.importance.FanovaImportanceEvaluator(
        seed=config.monte_carlo_config.random_seed
    )
    return optuna.importance.get_param_importances(study, evaluator=evaluator)


def rank(trials: Sequence[Trial], min_trades_per_window: int) -> list[Trial]:
    """Trials that may win, best first: by SQN of their pooled trades, uncapped.

    Left out are pruned trials, those with fewer than ``min_trades_per_window`` trades per
    window on average, and those without an SQN. Equal ones keep the order of their numbers.
    """
    eligible = [
        trial
        for trial in trials
        if not trial.pruned
        and math.isfinite(trial.sqn)
        and len(trial.r) >= min_trades_per_window * len(trial.results)
    ]
    return sorted(eligible, key=lambda trial: (-trial.sqn, trial.number))


def overfitting(trials: Sequence[Trial]) -> float:
    """Probability of backtest overfitting over the trials walked to the end."""
    complete = [trial for trial in trials if not trial.pruned]
    if not complete:
        return math.nan
    moments = np.array(
        [
            [(len(result.r), result.r.sum(), (result.r**2).sum()) for result in trial.results]
            for trial in complete
        ]
    )
    return performance.probability_of_overfitting(*np.moveaxis(moments, -1, 0))


def trial_sharpes(trials: Sequence[Trial]) -> NDArray[np.float64]:
    """Sharpe ratio per trade of every trial, pruned ones too; NaN where undefined."""
    return np.array([trial.sqn / math.sqrt(max(len(trial.r), 1)) for trial in trials])


def _space(config: Config) -> dict[str, optuna.distributions.BaseDistribution]:
    grid = config.indicator_parameters
    periods = {
        "tenkan_sen": grid.ichimoku.tenkan_sen,
        "kijun_sen": grid.ichimoku.kijun_sen,
        "senkou_span_b": grid.ichimoku.senkou_span_b,
        "rsi_period": grid.rsi.period,
        "atr_period": grid.atr.period,
    }
    model = config.model_hyperparameters.LightGBM
    rate = model.learning_rate
    space: dict[str, optuna.distributions.BaseDistribution] = {
        name: optuna.distributions.IntDistribution(
            period.start, period.values[-1], step=period.step
        )
        for name, period in periods.items()
    }
    space["learning_rate"] = optuna.distributions.FloatDistribution(
        rate.min, rate.max, log=rate.log
    )
    for name in ("num_leaves", "min_data_in_leaf", "n_estimators"):
        whole = getattr(model, name)
        space[name] = optuna.distributions.IntDistribution(whole.min, whole.max, log=whole.log)
    return space


def _parameters(asked: dict[str, Any]) -> TrialParameters:
    indicators = {name: asked[name] for name in IndicatorParameters._fields}
    model = {name: asked[name] for name in LightGBMParameters.model_fields}
    return TrialParameters(IndicatorParameters(**indicators), LightGBMParameters(**model))


def _told(
    trial: Trial, space: dict[str, optuna.distributions.BaseDistribution]
) -> optuna.trial.FrozenTrial:
    complete = not trial.pruned and math.isfinite(trial.sqn)
    return optuna.trial.create_trial(
        params=trial.parameters.flat(),
        distributions=space,
        value=trial.sqn if complete else None,
        state=optuna.trial.TrialState.COMPLETE if complete else optuna.trial.TrialState.PRUNED,
        intermediate_values={len(trial.results): trial.sqn} if math.isfinite(trial.sqn) else {},
    )
