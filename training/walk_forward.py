"""Evaluates one trial in one walk-forward window: train, validate, trade.

A window's evaluation is a pure function of the candles, the parameters, the window and the
seed. Any process may run it, in any order, and always gets the same result.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass

import lightgbm as lgb
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from registry.fitting import fit, log_loss, predict
from strategy.candles import open_times, timeframe_delta
from strategy.config import Config, IndicatorParameters, LightGBMParameters
from strategy.costs import charges_on
from strategy.exits import stop_distance
from strategy.features import FeatureFactory
from strategy.indicators import rolling_mean
from strategy.signal import CLASSES, signal_of
from strategy.simulate import Bars, simulate
from strategy.target import labels
from strategy.training_set import Features, features_of, training_set
from strategy.windows import Window, walk_forward_windows

MATRICES_KEPT = 6  # 20 MB each on five years of hours

Floats = NDArray[np.float64]
Labels = NDArray[np.int8]


@dataclass(frozen=True)
class TrialParameters:
    """What one trial tries: an indicator combination and the model's hyperparameters."""

    indicators: IndicatorParameters
    model: LightGBMParameters

    def flat(self) -> dict[str, int | float]:
        """All parameters under their names in config.json."""
        return {**self.indicators._asdict(), **self.model.model_dump()}


@dataclass(frozen=True, eq=False)
class WindowResult:
    """What one trial did in one window; immutable."""

    window: int
    """Number of the window, from 1."""
    trades: NDArray[np.void]
    """Structured array of :data:`strategy.simulate.TRADE`."""
    signal_counts: tuple[int, int, int]
    """Sell, neutral and buy signals over all validation bars, in position or not."""
    confusion: NDArray[np.int64]
    """Shape (3, 3), label by signal, over the validation bars whose label is known."""
    log_loss: float
    """Out of sample, over the validation bars whose label is known; nats."""
    seconds: float = math.nan
    """Wall time that the evaluation took; says nothing about the strategy."""
    checkpoint: str | None = None
    """Hash of the checkpoint that holds this result; None if it is not kept."""

    @property
    def r(self) -> Floats:
        """Net R-multiples of the trades."""
        return np.ascontiguousarray(self.trades["r"])


class PreparedMarket:
    """One asset's candles with everything that trials share: windows, features, labels."""

    def __init__(self, candles: pd.DataFrame, timeframe: str, config: Config) -> None:
        self.candles = candles
        self.timeframe = timeframe
        self.config = config
        self.index = open_times(candles)
        self.bars = Bars.of(candles)
        self.charges = charges_on(self.index, timeframe, config.costs)
        self.windows = walk_forward_windows(self.index, timeframe, config.walk_forward_config)
        self._factory = FeatureFactory(candles)
        self._stop_distances: dict[int, Floats] = {}
        self._labels: dict[int, tuple[Labels, NDArray[np.int64]]] = {}
        self._features: OrderedDict[IndicatorParameters, Features] = OrderedDict()

    def close_time(self, bar: int) -> pd.Timestamp:
        """When a bar closes, UTC."""
        return self.index[bar] + timeframe_delta(self.timeframe)

    def stop_distance(self, atr_period: int) -> Floats:
        """One R at each bar, price units, shape (n,); NaN in warm-up."""
        if atr_period not in self._stop_distances:
            rule = self.config.break_even
            atr = self._factory.atr(atr_period)
            mean_atr = rolling_mean(atr, rule.historical_atr_window)
            self._stop_distances[atr_period] = stop_distance(atr, mean_atr, rule)
        return self._stop_distances[atr_period]

    def labels(self, atr_period: int) -> tuple[Labels, NDArray[np.int64]]:
        """Labels and the bars at which they were resolved, shape (n,) each."""
        if atr_period not in self._labels:
            self._labels[atr_period] = labels(self.bars, self.stop_distance(atr_period))
        return self._labels[atr_period]

    def features(self, indicators: IndicatorParameters) -> Features:
        """Features of every bar; those of the last few combinations are kept."""
        if indicators in self._features:
            self._features.move_to_end(indicators)
        else:
            distance = self.stop_distance(indicators.atr_period)
            self._features[indicators] = features_of(self._factory, indicators, distance)
            if len(self._features) > MATRICES_KEPT:
                self._features.popitem(last=False)
        return self._features[indicators]

    def training_set(
        self, indicators: IndicatorParameters, start: int, end: int
    ) -> tuple[Floats, Labels]:
        """Features and labels of bars ``[start, end)`` that may train a model, purged.

        DataError as :func:`strategy.training_set.training_set` says.
        """
        label, resolved = self.labels(indicators.atr_period)
        return training_set(self.index, self.features(indicators), label, resolved, start, end)

    def fit(self, parameters: TrialParameters, start: int, end: int) -> lgb.Booster:
        """Train on bars ``[start, end)``; the same input gives the same booster."""
        features, label = self.training_set(parameters.indicators, start, end)
        return fit(
            features,
            label,
            parameters.model,
            max_bin=self.config.model_hyperparameters.max_bin,
            seed=self.config.monte_carlo_config.random_seed,
        )

    def evaluate(self, parameters: TrialParameters, window: Window) -> WindowResult:
        """Train on the window's training bars, then trade its validation bars."""
        booster = self.fit(parameters, window.train_start, window.train_end)
        bars = slice(window.train_end, window.validation_end)
        matrix, usable = self.features(parameters.indicators)
        probabilities = np.full((bars.stop - bars.start, len(CLASSES)), np.nan)
        probabilities[usable[bars]] = predict(booster, matrix[bars][usable[bars]])
        return self.validate(parameters, window, probabilities)

    def validate(
        self, parameters: TrialParameters, window: Window, probabilities: Floats
    ) -> WindowResult:
        """Trade the window's validation bars on their probabilities, shape (bars, 3).

        Bars without probabilities (NaN: their features have no history yet) are neutral.
        """
        bars = slice(window.train_end, window.validation_end)
        atr_period = parameters.indicators.atr_period
        known = np.isfinite(probabilities[:, 0])
        signals = np.zeros(len(self.index), dtype=np.int8)
        signals[bars][known] = signal_of(probabilities[known])
        trades = simulate(
            self.bars,
            signals,
            self.stop_distance(atr_period),
            self.charges,
            timeframe=self.timeframe,
            start=bars.start,
            end=bars.stop,
        )
        label, resolved = self.labels(atr_period)
        scored = known & (resolved[bars] < len(self.index))
        sells, neutrals, buys = (int((signals[bars] == each).sum()) for each in CLASSES)
        return WindowResult(
            window=window.number,
            trades=trades,
            signal_counts=(sells, neutrals, buys),
            confusion=confusion(label[bars][scored], signals[bars][scored]),
            log_loss=log_loss(probabilities[scored], label[bars][scored]),
        )


def confusion(label: Labels, signals: Labels) -> NDArray[np.int64]:
    """Counts of label (rows) by signal (columns), both in the order sell, neutral, buy."""
    cells = len(CLASSES) * (label.astype(np.int64) + 1) + signals + 1
    return np.bincount(cells, minlength=len(CLASSES) ** 2).reshape(len(CLASSES), -1)
