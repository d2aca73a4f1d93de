"""The 58 features: their catalogue and the factory that computes them from candles."""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

import numpy as np
import pandas as pd

from strategy.features import atr as atr_group
from strategy.features import candlestick as candlestick_group
from strategy.features import combined as combined_group
from strategy.features import ichimoku as ichimoku_group
from strategy.features import rsi as rsi_group
from strategy.features.catalogue import Columns, FeatureDefinition
from strategy.indicators import (
    FloatArray,
    Ichimoku,
    atr,
    history_of_wilder,
    ichimoku,
    midpoint,
    rsi,
)

if TYPE_CHECKING:
    from strategy.config import IndicatorParameters

CATALOGUE: tuple[FeatureDefinition, ...] = (
    *ichimoku_group.DEFINITIONS,
    *rsi_group.DEFINITIONS,
    *atr_group.DEFINITIONS,
    *candlestick_group.DEFINITIONS,
    *combined_group.DEFINITIONS,
)
"""All features, in the order of the requirement document and of a matrix's columns."""

FEATURE_NAMES: tuple[str, ...] = tuple(definition.name for definition in CATALOGUE)

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def required_history(parameters: IndicatorParameters, historical_atr_window: int) -> int:
    """Bars needed so that the last row of all features and of the multiplier is valid.

    Parameters
    ----------
    parameters
        The indicator combination.
    historical_atr_window
        Bars over which the volatility multiplier averages the ATR.
    """
    multiplier = history_of_wilder(parameters.atr_period) + historical_atr_window - 1
    return max(multiplier, *(definition.history(parameters) for definition in CATALOGUE))


def _once(
    method: Callable[Concatenate[FeatureFactory, Arguments], Result],
) -> Callable[Concatenate[FeatureFactory, Arguments], Result]:
    """Keep a method's result, by its arguments, for as long as the factory lives."""

    @functools.wraps(method)
    def kept(
        factory: FeatureFactory, /, *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Result:
        key = (method.__name__, args, tuple(kwargs.items()))
        if key not in factory._results:
            factory._results[key] = method(factory, *args, **kwargs)
        result: Result = factory._results[key]
        return result

    return kept


class FeatureFactory:
    """Features of one candle frame, for many combinations of parameters.

    What combinations share is computed once and kept: the features of the cloud by its
    triple of periods, those of RSI and ATR by period, those of candles once. On five years of
    hours (n = 43,800) the default grid keeps about 150 MB. Matrices are not kept.

    Parameters
    ----------
    candles
        A candle frame (see :mod:`strategy.candles`) of n bars. A gap in time is not seen:
        windows count bars, not hours.
    """

    def __init__(self, candles: pd.DataFrame) -> None:
        self._open, self._high, self._low, self._close, self._volume = (
            np.ascontiguousarray(candles[column], dtype=np.float64)
            for column in ("open", "high", "low", "close", "volume")
        )
        self._results: dict[Hashable, Any] = {}

    def matrix(self, parameters: IndicatorParameters) -> FloatArray:
        """All features of one combination.

        Returns
        -------
        Shape (n, 58), float64, Fortran order, columns as in :data:`FEATURE_NAMES`. Each column
        is NaN in its own warm-up, which is ``definition.history(parameters) - 1`` rows long.
        The array is the caller's own.
        """
        columns = self._columns(parameters)
        result = np.empty((len(self._close), len(FEATURE_NAMES)), order="F")
        for index, name in enumerate(FEATURE_NAMES):
            result[:, index] = columns[name]
        return result

    @_once
    def atr(self, period: int) -> FloatArray:
        """Wilder's ATR: price units, shape (n,), NaN in its warm-up. Shared: do not write to it."""
        return atr(self._high, self._low, self._close, period)

    def _columns(self, parameters: IndicatorParameters) -> Columns:
        tenkan_sen, kijun_sen, senkou_span_b, rsi_period, atr_period = parameters
        lines = self._lines(tenkan_sen, kijun_sen, senkou_span_b)
        candlestick = self._candlestick_columns()
        rsi_columns, atr_columns = self._rsi_columns(rsi_period), self._atr_columns(atr_period)
        cloud_columns = self._cloud_columns(tenkan_sen, kijun_sen, senkou_span_b)
        in_atr = ichimoku_group.ichimoku_atr_features(self._close, lines, self.atr(atr_period))
        ichimoku_columns = cloud_columns | in_atr
        return {
            **candlestick,
            **rsi_columns,
            **atr_columns,
            **ichimoku_columns,
            **self._rsi_atr_columns(rsi_period, atr_period),
            **combined_group.cloud_rsi_features(
                ichimoku_columns, rsi_columns, self._rsi(rsi_period)
            ),
            **combined_group.cloud_atr_features(ichimoku_columns, atr_columns, candlestick),
        }

    @_once
    def _candlestick_columns(self) -> Columns:
        return candlestick_group.candlestick_features(
            self._open, self._high, self._low, self._close, self._volume
        )

    @_once
    def _cloud_columns(self, tenkan_sen: int, kijun_sen: int, senkou_span_b: int) -> Columns:
        lines = self._lines(tenkan_sen, kijun_sen, senkou_span_b)
        columns = ichimoku_group.ichimoku_features(self._high, self._low, self._close, lines)
        return columns | combined_group.cloud_candle_features(
            columns, self._candlestick_columns(), self._volume
        )

    @_once
    def _rsi_columns(self, period: int) -> Columns:
        hammer = self._candlestick_columns()["hammer"]
        return rsi_group.rsi_features(
            self._close, self._rsi(period)
        ) | combined_group.rsi_candle_features(self._close, self._rsi(period), hammer)

    @_once
    def _atr_columns(self, period: int) -> Columns:
        columns = atr_group.atr_features(
            self._high,
            self._low,
            self._close,
            self._volume,
            self.atr(period),
            self.atr(atr_group.FAST_ATR),
            self.atr(atr_group.SLOW_ATR),
        )
        return {
            **columns,
            **candlestick_group.candlestick_atr_features(self._close, self.atr(period)),
            **combined_group.atr_candle_features(
                self._open, self._close, self.atr(period), columns["is_low_volatility"]
            ),
        }

    @_once
    def _rsi_atr_columns(self, rsi_period: int, atr_period: int) -> Columns:
        return combined_group.rsi_atr_features(self._rsi_columns(rsi_period), self.atr(atr_period))

    @_once
    def _rsi(self, period: int) -> FloatArray:
        return rsi(self._close, period)

    @_once
    def _midpoint(self, period: int) -> FloatArray:
        return midpoint(self._high, self._low, period)

    def _lines(self, tenkan_sen: int, kijun_sen: int, senkou_span_b: int) -> Ichimoku:
        return ichimoku(
            self._midpoint(tenkan_sen), self._midpoint(kijun_sen), self._midpoint(senkou_span_b)
        )


def feature_frame(candles: pd.DataFrame, parameters: IndicatorParameters) -> pd.DataFrame:
    """All features of one combination as a frame: the candles' index, the features' names."""
    matrix = FeatureFactory(candles).matrix(parameters)
    return pd.DataFrame(matrix, index=candles.index, columns=list(FEATURE_NAMES))
