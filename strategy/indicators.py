"""Ichimoku, RSI and ATR, and the rolling windows that features are made of.

Arrays in, arrays out: one-dimensional float64 of one length n, oldest bar first. The first
rows, for which there are not enough bars, are NaN; inputs may start with NaN rows themselves
(an indicator of an indicator) but must be finite from there on.

Every value depends on a fixed number of bars and on nothing before them, and is computed in
the same order wherever the window lies. So it is the same, bit for bit, whether it is the
last row of a short history or any row of a long one; and a window of equal values has exactly
that mean and exactly no deviation.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

DISPLACEMENT = 26
"""Bars by which Senkou spans are drawn ahead and the Chikou span behind."""

FORGOTTEN = 1e-17
"""Share of a Wilder average that its oldest bars may hold and no longer count in float64."""


class Ichimoku(NamedTuple):
    """The lines of an Ichimoku chart as they stand at each bar; price, shape (n,)."""

    tenkan_sen: FloatArray
    kijun_sen: FloatArray
    senkou_span_a: FloatArray
    senkou_span_b: FloatArray


def midpoint(high: FloatArray, low: FloatArray, period: int) -> FloatArray:
    """Middle between the highest high and the lowest low of ``period`` bars; price."""
    return (rolling_max(high, period) + rolling_min(low, period)) / 2


def ichimoku(
    tenkan_sen: FloatArray, kijun_sen: FloatArray, senkou_midpoint: FloatArray
) -> Ichimoku:
    """Ichimoku lines from the midpoints over the periods of Tenkan, Kijun and Senkou B.

    The spans at bar t are those computed :data:`DISPLACEMENT` bars earlier: the cloud that
    the chart shows under bar t, which reads nothing of the future.
    """
    return Ichimoku(
        tenkan_sen,
        kijun_sen,
        lag((tenkan_sen + kijun_sen) / 2, DISPLACEMENT),
        lag(senkou_midpoint, DISPLACEMENT),
    )


def true_range(high: FloatArray, low: FloatArray, close: FloatArray) -> FloatArray:
    """Wilder's true range, in price units; NaN in row 0, which has no previous close."""
    previous = lag(close, 1)
    return np.maximum(high, previous) - np.minimum(low, previous)


def wilder_window(period: int) -> int:
    """Bars that a Wilder average of ``period`` (>= 2) looks back over.

    What lies further back holds :data:`FORGOTTEN` of the average, less than float64's
    precision: 254 bars for period 7, 1,077 for 28.
    """
    return math.ceil(math.log(FORGOTTEN) / math.log1p(-1 / period))


def wilder_average(values: FloatArray, period: int) -> FloatArray:
    """Wilder's moving average: exponential, with weight ``1 / period`` for the newest bar.

    A weighted sum over :func:`wilder_window` bars, and not the usual recursion: to float64's
    precision that is the same, but no remnant of older bars survives in it, so that it is
    exactly 0 once the window holds zeros alone.

    Source: J. W. Wilder, New Concepts in Technical Trading Systems (1978).
    """
    window = wilder_window(period)
    result = np.full(len(values), np.nan)
    if len(values) >= window:
        newest_last = (1 - 1 / period) ** np.arange(window)[::-1] / period
        result[window - 1 :] = np.correlate(values, newest_last, mode="valid")
    return result


def atr(high: FloatArray, low: FloatArray, close: FloatArray, period: int) -> FloatArray:
    """Wilder's average true range, in price units; NaN in the first ``wilder_window`` rows."""
    return wilder_average(true_range(high, low, close), period)


def rsi(close: FloatArray, period: int) -> FloatArray:
    """Wilder's relative strength index, 0 to 100; NaN in the first ``wilder_window`` rows.

    50 where the price has not moved within the window at all.
    """
    change = close - lag(close, 1)
    gain = wilder_average(np.maximum(change, 0.0), period)
    loss = wilder_average(np.maximum(-change, 0.0), period)
    return 100 * ratio(gain, gain + loss, undefined=0.5)


def history_of_wilder(period: int) -> int:
    """Bars needed for one value of :func:`atr` or :func:`rsi`: each change takes two closes."""
    return wilder_window(period) + 1


def lag(values: FloatArray, bars: int) -> FloatArray:
    """The values of ``bars`` (>= 1) bars earlier; NaN in the first ``bars`` rows."""
    result = np.full(len(values), np.nan)
    result[bars:] = values[:-bars]
    return result


def rolling_max(values: FloatArray, window: int) -> FloatArray:
    """Highest of the last ``window`` values, the current one included."""
    return _rolling_extreme(np.maximum, values, window)


def rolling_min(values: FloatArray, window: int) -> FloatArray:
    """Lowest of the last ``window`` values, the current one included."""
    return _rolling_extreme(np.minimum, values, window)


def rolling_mean(values: FloatArray, window: int) -> FloatArray:
    """Mean of the last ``window`` values, the current one included."""
    # Summing distances from the newest value makes the mean of equal values exact.
    newest = values[window - 1 :]
    total = np.zeros(len(newest))
    for value in _lags(values, window):
        total += value - newest
    return _after_warm_up(newest + total / window, len(values))


def rolling_std(values: FloatArray, window: int) -> FloatArray:
    """Population standard deviation of the last ``window`` values (divisor ``window``)."""
    mean = rolling_mean(values, window)[window - 1 :]
    squares = np.zeros(len(mean))
    for value in _lags(values, window):
        squares += (value - mean) ** 2
    return _after_warm_up(np.sqrt(squares / window), len(values))


def rolling_correlation(first: FloatArray, second: FloatArray, window: int) -> FloatArray:
    """Pearson correlation over the last ``window`` bars; 0 where either stands still."""
    mean_1 = rolling_mean(first, window)[window - 1 :]
    mean_2 = rolling_mean(second, window)[window - 1 :]
    products, squares_1, squares_2 = np.zeros((3, len(mean_1)))
    for value_1, value_2 in zip(_lags(first, window), _lags(second, window), strict=True):
        deviation_1, deviation_2 = value_1 - mean_1, value_2 - mean_2
        products += deviation_1 * deviation_2
        squares_1 += deviation_1**2
        squares_2 += deviation_2**2
    correlation = ratio(products, np.sqrt(squares_1) * np.sqrt(squares_2))
    return _after_warm_up(np.clip(correlation, -1.0, 1.0), len(first))


def below_percentile(values: FloatArray, percent: int, window: int) -> FloatArray:
    """1 if the value lies below that percentile of the last ``window`` values, else 0.

    The percentile is by nearest rank: the smallest value that at least ``percent`` percent
    of the window (the current value included) do not exceed.
    """
    not_above = _count(np.less_equal, values, window)
    return flag(not_above < _rank(percent, window), not_above)


def above_percentile(values: FloatArray, percent: int, window: int) -> FloatArray:
    """1 if the value lies above that percentile (see :func:`below_percentile`), else 0."""
    below = _count(np.less, values, window)
    return flag(below >= _rank(percent, window), below)


def run_length(flags: FloatArray, cap: int) -> FloatArray:
    """Bars, up to ``cap``, for which the flag (1, 0 or NaN) has been 1 without a break.

    NaN until ``cap`` flags are known, so that a count never depends on where history starts.
    """
    bars = np.arange(len(flags))
    last_other = np.maximum.accumulate(np.where(flags == 1, -1, bars))
    result = np.minimum(bars - last_other, cap).astype(np.float64)
    result[: warm_up(flags) + cap - 1] = np.nan
    return result


def ratio(numerator: FloatArray, denominator: FloatArray, undefined: float = 0.0) -> FloatArray:
    """Quotient; ``undefined`` where the denominator is 0; NaN where either is NaN."""
    zero = denominator == 0
    if not zero.any():
        return numerator / denominator
    return np.where(zero, undefined + 0 * numerator, numerator / np.where(zero, 1.0, denominator))


def flag(condition: BoolArray, *inputs: FloatArray) -> FloatArray:
    """The condition as 1 or 0, but NaN in the warm-up of the inputs that it was made from.

    Flags are combined by arithmetic, which keeps the NaN: a product is "and", the maximum "or".
    """
    result = condition.astype(np.float64)
    result[: warm_up(*inputs)] = np.nan
    return result


def warm_up(*arrays: FloatArray) -> int:
    """Rows at the start for which at least one of the arrays is NaN."""
    return max(int(np.count_nonzero(np.isnan(array))) for array in arrays)


def _rolling_extreme(
    larger_or_smaller: Callable[[FloatArray, FloatArray], FloatArray],
    values: FloatArray,
    window: int,
) -> FloatArray:
    # Two overlapping windows of width w make one of up to 2 w: log2(window) passes.
    result, width = values, 1
    while width < window:
        step = min(width, window - width)
        result = larger_or_smaller(result[step:], result[:-step])
        width += step
    return _after_warm_up(result, len(values))


def _count(
    compare: Callable[[FloatArray, FloatArray], BoolArray], values: FloatArray, window: int
) -> FloatArray:
    """How many of the window's values compare so with its newest one."""
    newest = values[window - 1 :]
    count = np.zeros(len(newest), dtype=np.int32)
    for value in _lags(values, window):
        count += compare(value, newest)
    result = _after_warm_up(count.astype(np.float64), len(values))
    result[: warm_up(values) + window - 1] = np.nan
    return result


def _lags(values: FloatArray, window: int) -> list[FloatArray]:
    """The windows' first elements, their second ones, ..., their last ones: views."""
    windows = max(len(values) - window + 1, 0)
    return [values[first : first + windows] for first in range(window)]


def _after_warm_up(values: FloatArray, length: int) -> FloatArray:
    result = np.full(length, np.nan)
    result[length - len(values) :] = values
    return result


def _rank(percent: int, window: int) -> int:
    """Nearest rank, from 1: the percentile is this smallest of the window's values."""
    return math.ceil(percent * window / 100)
