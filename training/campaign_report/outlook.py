"""What the trades let one say of an expectancy, and what would take to say more."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from strategy import performance

Floats = NDArray[np.float64]

CONFIDENCE = 0.95
"""One-sided."""


def lower_bound(r: Floats) -> float:
    """One-sided lower confidence bound on the expectancy (Student's t), in R.

    Minus infinity for fewer than two trades. Trades count as independent of each other.
    """
    return -performance.upper_confidence_bound(-r, CONFIDENCE)


def trades_to_tell(expectancy: float, deviation: float) -> float:
    """Smallest number of trades whose lower bound lies above zero at this mean and spread.

    Infinite for an expectancy that is not positive; NaN if either is not known.

    Parameters
    ----------
    deviation
        Sample standard deviation of R.
    """
    from scipy import stats

    if math.isnan(expectancy) or math.isnan(deviation):
        return math.nan
    if expectancy <= 0:
        return math.inf

    def told(n: int) -> bool:
        return bool(stats.t.ppf(CONFIDENCE, n - 1) * deviation / math.sqrt(n) < expectancy)

    # The normal law asks for fewer than Student's does, by two or so.
    n = max(2, math.floor((stats.norm.ppf(CONFIDENCE) * deviation / expectancy) ** 2))
    while not told(n):
        n += 1
    return float(n)
