"""How good a series of trades is, and how far its goodness can be trusted.

All functions take net R-multiples (float64, shape (n_trades,), in order of time) unless
they say otherwise. What cannot be known yet is NaN, never 0.
"""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

# scipy.stats takes half a second to import, and the trading bot, which comes by here, needs none
# of it: it stands inside the functions.

Floats = NDArray[np.float64]

EULER_MASCHERONI = 0.5772156649015329


class Summary(NamedTuple):
    """The figures by which trades are compared; R per trade unless said otherwise."""

    trades: int
    expectancy: float
    standard_error: float
    sqn: float
    hit_rate: float
    profit_factor: float
    max_drawdown: float
    """In R, peak to trough of the running sum; 0 for trades that never fell."""
    total_r: float


def summary(r: Floats) -> Summary:
    """Summarise a series of trades; every ratio of no trades is NaN."""
    return Summary(
        trades=len(r),
        expectancy=expectancy(r),
        standard_error=standard_error(r),
        sqn=sqn(r),
        hit_rate=hit_rate(r),
        profit_factor=profit_factor(r),
        max_drawdown=max_drawdown(r),
        total_r=float(r.sum()),
    )


def expectancy(r: Floats) -> float:
    """Mean R per trade (Van Tharp); NaN without trades."""
    return float(r.mean()) if len(r) else math.nan


def standard_error(r: Floats) -> float:
    """Standard error of the expectancy; NaN for fewer than two trades."""
    return float(r.std(ddof=1) / math.sqrt(len(r))) if len(r) > 1 else math.nan


def sqn(r: Floats) -> float:
    """System quality number, sqrt(N) * mean / std, uncapped (Van Tharp).

    NaN for fewer than two trades or when all are equal.
    """
    return expectancy(r) / standard_error(r) if _differ(r) else math.nan


def hit_rate(r: Floats) -> float:
    """Share of trades with a profit after costs."""
    return float((r > 0).mean()) if len(r) else math.nan


def profit_factor(r: Floats) -> float:
    """Sum of profits over sum of losses; infinite without a loss, NaN without trades."""
    if not len(r):
        return math.nan
    losses = float(-r[r < 0].sum())
    profits = float(r[r > 0].sum())
    if losses == 0:
        return math.inf if profits > 0 else math.nan
    return profits / losses


def max_drawdown(r: Floats) -> float:
    """Largest fall of the running sum of R from a peak (the start counts as one), in R."""
    if not len(r):
        return math.nan
    equity = np.concatenate([[0.0], np.cumsum(r)])
    return float((np.maximum.accumulate(equity) - equity).max())


def upper_confidence_bound(r: Floats, confidence: float) -> float:
    """One-sided upper bound on the expectancy (Student's t); +inf for fewer than two trades."""
    from scipy import stats

    if len(r) < 2:
        return math.inf
    quantile = float(stats.t.ppf(confidence, len(r) - 1))
    return expectancy(r) + quantile * standard_error(r)


def mean_positive_p_value(values: Floats) -> float:
    """p-value of the one-sample t-test of mean > 0; NaN unless two values differ."""
    from scipy import stats

    if not _differ(values):
        return math.nan
    return float(stats.ttest_1samp(values, 0.0, alternative="greater").pvalue)


def deflated_sharpe(r: Floats, trial_sharpes: Floats) -> float:
    """Probability that the chosen trial's Sharpe ratio beats the best of as many lucky ones.

    Bailey and Lopez de Prado (2014), "The Deflated Sharpe Ratio", per trade rather than per
    period: the expected maximum of N independent Sharpe ratios of no skill, whose spread is
    that of the trials, becomes the benchmark of a probabilistic Sharpe ratio with the
    trades' own skewness and kurtosis.

    Parameters
    ----------
    r
        The chosen trial's trades.
    trial_sharpes
        Shape (n_trials,): mean / std of every trial walked, the pruned ones included.

    Returns
    -------
    Probability in [0, 1]; NaN unless two trades differ and two trial ratios are finite.
    """
    from scipy import stats

    trial_sharpes = trial_sharpes[np.isfinite(trial_sharpes)]
    if not _differ(r) or len(trial_sharpes) < 2:
        return math.nan
    n = len(trial_sharpes)
    spread = float(trial_sharpes.std(ddof=1))
    benchmark = spread * (
        (1 - EULER_MASCHERONI) * stats.norm.ppf(1 - 1 / n)
        + EULER_MASCHERONI * stats.norm.ppf(1 - 1 / (n * math.e))
    )
    sharpe = float(r.mean() / r.std(ddof=1))
    skewness = float(stats.skew(r))
    kurtosis = float(stats.kurtosis(r, fisher=False))
    # At least (1 - skewness * sharpe / 2)**2, since kurtosis >= 1 + skewness**2.
    variance = max(1 - skewness * sharpe + (kurtosis - 1) / 4 * sharpe**2, 1e-12)
    return float(stats.norm.cdf((sharpe - benchmark) * math.sqrt(len(r) - 1) / math.sqrt(variance)))


def _differ(values: Floats) -> bool:
    """Whether there is a spread at all; a rounded mean can give equal values a false one, and
    one that is too small to be squared is none.
    """
    return len(values) > 1 and float(np.ptp(values)) > 0 and float(values.std(ddof=1)) > 0


def probability_of_overfitting(counts: Floats, sums: Floats, squares: Floats) -> float:
    """Probability of backtest overfitting, by combinatorially symmetric cross-validation.

    Bailey, Borwein, Lopez de Prado and Zhu (2015): for every way to halve the windows, take
    the trial that is best (by SQN) on one half and see where it ranks on the other; the
    share of splits in which it falls into the lower half is the PBO. An odd number of
    windows drops the oldest.

    Parameters
    ----------
    counts, sums, squares
        Shape (n_trials, n_windows): number of trades, sum and sum of squares of their R.
        From these moments the SQN of any set of windows follows without its trades.

    Returns
    -------
    Share in [0, 1]; NaN for fewer than two trials or two windows.
    """
    from scipy import stats

    if counts.shape[1] % 2:
        counts, sums, squares = (moment[:, 1:] for moment in (counts, sums, squares))
    n_trials, n_windows = counts.shape
    if n_trials < 2 or n_windows < 2:
        return math.nan
    halves = list(itertools.combinations(range(n_windows), n_windows // 2))
    chosen = np.zeros((n_windows, len(halves)))
    for split, windows in enumerate(halves):
        chosen[list(windows), split] = 1.0
    inside = _sqn_of_moments(counts @ chosen, sums @ chosen, squares @ chosen)
    outside = _sqn_of_moments(counts @ (1 - chosen), sums @ (1 - chosen), squares @ (1 - chosen))
    best = inside.argmax(axis=0)
    splits = np.arange(len(halves))
    ranks = stats.rankdata(outside, axis=0)[best, splits] / (n_trials + 1)
    return float((ranks <= 0.5).mean())


def _sqn_of_moments(counts: Floats, sums: Floats, squares: Floats) -> Floats:
    """SQN from moments; trials without two trades or a spread rank last, at -inf."""
    with np.errstate(divide="ignore", invalid="ignore"):
        means = sums / counts
        variances = (squares - counts * means**2) / (counts - 1)
        ratios = np.sqrt(counts) * means / np.sqrt(variances)
    return np.where(np.isfinite(ratios), ratios, -np.inf)
