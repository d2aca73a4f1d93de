"""Candles as one registered strategy sees them: what a retrain fits on and trades over."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import lightgbm as lgb
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from registry.bundle import StrategyBundle
from registry.fitting import fit, log_loss, predict
from strategy.candles import open_times
from strategy.config import Costs
from strategy.costs import Charges, charges_on
from strategy.exit_rule import ExitRule
from strategy.features import FeatureFactory
from strategy.retraining import RetrainCalendar, Span
from strategy.signal import signal_of
from strategy.simulate import Bars, simulate
from strategy.target import labels
from strategy.training_set import Features, features_of, training_set

Floats = NDArray[np.float64]


class Traded(NamedTuple):
    """What a model did over some bars."""

    r: Floats
    """Net R-multiples of its trades, in order of time."""
    log_loss: float
    """Over the bars whose label is known; nats."""


@dataclass(frozen=True, eq=False)
class StrategyMarket:
    """Features, labels and stop distances of every bar, under one strategy's parameters."""

    bundle: StrategyBundle
    index: pd.DatetimeIndex
    bars: Bars
    charges: Charges
    stop_distance: Floats
    features: Features
    labels: NDArray[np.int8]
    resolved: NDArray[np.int64]

    @classmethod
    def of(cls, bundle: StrategyBundle, candles: pd.DataFrame, costs: Costs) -> StrategyMarket:
        """Prepare a candle frame of the strategy's timeframe."""
        index, bars = open_times(candles), Bars.of(candles)
        rule = ExitRule(bundle.indicators.atr_period, bundle.break_even)
        distances = rule.distances(candles)
        return cls(
            bundle,
            index,
            bars,
            charges_on(index, bundle.timeframe, costs),
            distances,
            features_of(FeatureFactory(candles), bundle.indicators, distances),
            *labels(bars, distances),
        )

    def fit(self, span: Span) -> lgb.Booster:
        """Train as a campaign does: the same candles and parameters give the same booster.

        Raises
        ------
        DataError
            As :func:`strategy.training_set.training_set`.
        """
        rows, label = training_set(self.index, self.features, self.labels, self.resolved, *span)
        parameters = self.bundle.hyperparameters
        return fit(rows, label, parameters, max_bin=self.bundle.max_bin, seed=self.bundle.seed)

    def trade(self, booster: lgb.Booster, span: Span) -> Traded:
        """Trade the signals of a model over bars ``[start, end)``, which it must not have seen."""
        start, end = span
        rows = start + np.flatnonzero(self.features.usable[start:end])
        probabilities = predict(booster, self.features.matrix[rows])
        signals = np.zeros(len(self.index), dtype=np.int8)
        signals[rows] = signal_of(probabilities)
        trades = simulate(
            self.bars,
            signals,
            self.stop_distance,
            self.charges,
            timeframe=self.bundle.timeframe,
            start=start,
            end=end,
        )
        known = self.resolved[rows] < len(self.index)
        loss = log_loss(probabilities[known], self.labels[rows][known])
        return Traded(np.ascontiguousarray(trades["r"]), loss)


def examine(market: StrategyMarket, calendar: RetrainCalendar) -> tuple[Traded, Traded]:
    """Trade what is new to both: the retrained model's twin first, then the incumbent."""
    twin = market.fit(calendar.twin)
    models = (twin, market.bundle.booster)
    first, second = (market.trade(model, calendar.examination) for model in models)
    return first, second
