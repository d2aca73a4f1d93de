from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import norm, t

from strategy.performance import (
    deflated_sharpe,
    expectancy,
    hit_rate,
    max_drawdown,
    mean_positive_p_value,
    probability_of_overfitting,
    profit_factor,
    sqn,
    standard_error,
    summary,
    upper_confidence_bound,
)

NAN = math.nan
NONE = np.empty(0)
ONE = np.array([1.5])

# Sum 4, mean 0.8; squared deviations 4.84 + 3.24 + 0.04 + 3.24 + 1.44 = 12.8, so the variance
# is 12.8 / 4 = 3.2 and the squared standard error 3.2 / 5 = 0.64.
# Running sum 3, 2, 3, 2, 4: the largest fall from a peak is 1.
FIVE = np.array([3.0, -1.0, 1.0, -1.0, 2.0])


# --- one series of trades --------------------------------------------------------------------


def test_a_summary_worked_by_hand():
    figures = summary(FIVE)
    assert figures.trades == 5
    assert figures.expectancy == pytest.approx(0.8)
    assert figures.standard_error == pytest.approx(0.8)
    assert figures.sqn == pytest.approx(1.0)  # sqrt(5) x 0.8 / sqrt(3.2)
    assert figures.hit_rate == pytest.approx(0.6)
    assert figures.profit_factor == pytest.approx(3.0)  # 6 won, 2 lost
    assert figures.max_drawdown == pytest.approx(1.0)
    assert figures.total_r == pytest.approx(4.0)


def test_no_trades_have_no_ratios():
    figures = summary(NONE)
    assert (figures.trades, figures.total_r) == (0, 0.0)
    assert all(math.isnan(figure) for figure in figures[1:-1])


def test_one_trade_has_a_mean_but_no_spread():
    assert expectancy(ONE) == 1.5
    assert math.isnan(standard_error(ONE))
    assert math.isnan(sqn(ONE))


def test_sqn_is_not_capped_and_grows_with_the_square_root_of_the_trades():
    assert sqn(np.tile(FIVE, 400)) == pytest.approx(
        math.sqrt(2000) * 0.8 / math.sqrt(400 * 12.8 / 1999)
    )


@pytest.mark.parametrize("equal", [-1.0, 0.0, 0.5])
def test_sqn_of_equal_trades_is_unknown(equal: float):
    assert math.isnan(sqn(np.full(4, equal)))


def test_sqn_of_equal_trades_is_unknown_even_if_their_mean_is_rounded():
    assert math.isnan(sqn(np.full(3, 0.1)))


def test_a_trade_at_exactly_zero_is_no_hit_no_profit_and_no_loss():
    assert hit_rate(np.array([0.0, 1.0])) == 0.5
    assert profit_factor(np.array([0.0, 1.0, -2.0])) == 0.5


def test_the_profit_factor_without_a_loss_is_infinite_and_without_either_unknown():
    assert profit_factor(np.array([1.0, 2.0])) == math.inf
    assert profit_factor(np.array([-1.0])) == 0.0
    assert math.isnan(profit_factor(np.zeros(2)))


@pytest.mark.parametrize(
    ("r", "fall"),
    [
        ([1, 2, 3], 0),
        ([-1, -1, 5], 2),  # the start, at 0, counts as a peak
        ([2, -1, -2, 4, -3, 1], 3),  # 2, 1, -1, 3, 0, 1: first 3, then 3 again
        ([1, -2, 1, -3], 4),  # 1, -1, 0, -3: 1 down to -3
    ],
)
def test_the_drawdown_is_the_largest_fall_from_a_peak(r: list[float], fall: float):
    assert max_drawdown(np.array(r, dtype=float)) == fall


# --- how far to trust it ---------------------------------------------------------------------


def test_the_upper_confidence_bound_is_students():
    # t(0.975, 4 degrees of freedom) = 2.776445; 0.8 + 2.776445 x 0.8
    assert upper_confidence_bound(FIVE, 0.975) == pytest.approx(3.021156, abs=1e-6)
    assert upper_confidence_bound(FIVE, 0.5) == pytest.approx(0.8)


@pytest.mark.parametrize("r", [NONE, ONE, -ONE])
def test_fewer_than_two_trades_have_no_upper_bound(r: NDArray[np.float64]):
    assert upper_confidence_bound(r, 0.975) == math.inf


def test_the_p_value_is_that_of_the_one_sided_t_test():
    # The t statistic is the SQN, here exactly 1, with 4 degrees of freedom.
    assert mean_positive_p_value(FIVE) == pytest.approx(t.sf(1.0, 4))
    assert mean_positive_p_value(FIVE) == pytest.approx(0.186950, abs=1e-6)
    assert mean_positive_p_value(-FIVE) == pytest.approx(1 - 0.186950, abs=1e-6)


@pytest.mark.parametrize("values", [NONE, ONE, np.ones(3)])
def test_values_without_a_spread_have_no_p_value(values: NDArray[np.float64]):
    assert math.isnan(mean_positive_p_value(values))


# --- deflated Sharpe -------------------------------------------------------------------------


def spread_of(deviation: float, n: int) -> NDArray[np.float64]:
    """n values whose sample standard deviation is exactly this."""
    values = np.linspace(-1, 1, n)
    return values * deviation / values.std(ddof=1)


def test_the_deflated_sharpe_ratio_of_the_papers_own_example():
    """Bailey and Lopez de Prado (2014), section "A numerical example".

    An annual Sharpe ratio of 2.5 over 1250 days (250 a year), skewness -3, kurtosis 10, the
    best of 100 trials whose annual ratios have a variance of 1/2: 0.9004. Such moments (the
    kurtosis is the skewness squared plus 1) are those of returns with two values only, of
    which 8.4 % are the lower one.
    """
    days = np.r_[-np.ones(105), np.ones(1145)]
    returns = days + (2.5 / math.sqrt(250) * days.std(ddof=1) - days.mean())
    trials = spread_of(math.sqrt(1 / 2 / 250), 100)
    assert deflated_sharpe(returns, trials) == pytest.approx(0.9004, abs=5e-4)


def test_the_deflated_sharpe_ratio_by_its_formula():
    trials = np.array([0.1, 0.2, 0.6])  # sample variance 0.07
    # mean 0.8, sample variance 3.2 -> ratio 0.4472; the other moments by the 5 of 5 trades:
    deviations = FIVE - 0.8
    second, third, fourth = (np.mean(deviations**power) for power in (2, 3, 4))
    skewness, kurtosis = third / second**1.5, fourth / second**2
    sharpe = 0.8 / math.sqrt(3.2)
    luck = math.sqrt(0.07) * (
        (1 - 0.5772156649) * norm.ppf(1 - 1 / 3) + 0.5772156649 * norm.ppf(1 - 1 / (3 * math.e))
    )
    error = math.sqrt(1 - skewness * sharpe + (kurtosis - 1) / 4 * sharpe**2)
    expected = norm.cdf((sharpe - luck) * math.sqrt(4) / error)
    assert deflated_sharpe(FIVE, trials) == pytest.approx(expected, rel=1e-9)


def test_more_trials_deflate_more():
    few, many = (deflated_sharpe(FIVE, spread_of(0.2, n)) for n in (5, 500))
    assert few > many


def test_trials_without_a_ratio_are_left_out():
    trials = np.array([0.1, 0.2, 0.6])
    with_unknown = np.array([0.1, NAN, 0.2, math.inf, 0.6])
    assert deflated_sharpe(FIVE, with_unknown) == deflated_sharpe(FIVE, trials)


@pytest.mark.parametrize(
    ("r", "trials"),
    [
        (NONE, [0.1, 0.2]),
        (ONE, [0.1, 0.2]),
        (np.ones(5), [0.1, 0.2]),
        (FIVE, []),
        (FIVE, [0.1]),
        (FIVE, [0.1, NAN]),
    ],
)
def test_without_trades_or_trials_the_deflated_sharpe_ratio_is_unknown(
    r: NDArray[np.float64], trials: list[float]
):
    assert math.isnan(deflated_sharpe(r, np.array(trials)))


# --- probability of backtest overfitting -----------------------------------------------------

Moments = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]


def moments(trades: NDArray[np.float64]) -> Moments:
    """Counts, sums and sums of squares of trades of shape (trials, windows, trades)."""
    counts = np.full(trades.shape[:2], float(trades.shape[2]))
    return counts, trades.sum(axis=2), (trades**2).sum(axis=2)


def noise(seed: int, trials: int = 20, windows: int = 8) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(0, 1.6, (trials, windows, 30))


def test_the_best_of_pure_noise_falls_into_the_lower_half_half_of_the_time():
    values = [probability_of_overfitting(*moments(noise(seed))) for seed in range(60)]
    # One value has a spread of about 0.25, the mean of 60 one of about 0.03.
    assert np.mean(values) == pytest.approx(0.5, abs=0.1)


def test_a_trial_that_dominates_everywhere_is_not_overfitted():
    trades = noise(1)
    trades[7] += 5
    assert probability_of_overfitting(*moments(trades)) == 0.0


def test_what_wins_on_one_half_and_loses_on_the_other_is_all_overfitting():
    good, bad = np.array([1.0, 2.0]), np.array([-1.0, -2.0])
    trades = np.array([[good, bad], [bad, good]])
    assert probability_of_overfitting(*moments(trades)) == 1.0


def test_an_odd_number_of_windows_drops_the_oldest():
    trades = noise(3, windows=7)
    expected = probability_of_overfitting(*moments(trades[:, 1:]))
    assert probability_of_overfitting(*moments(trades)) == expected
    assert probability_of_overfitting(*moments(trades[:, :-1])) != expected


@pytest.mark.parametrize("seed", range(5))
def test_the_moments_give_what_the_trades_themselves_give(seed: int):
    trades = noise(seed, trials=7, windows=6)
    lower = []
    for chosen in itertools.combinations(range(6), 3):
        other = [window for window in range(6) if window not in chosen]
        inside = [sqn(trial[list(chosen)].ravel()) for trial in trades]
        outside = [sqn(trial[other].ravel()) for trial in trades]
        best = int(np.argmax(inside))
        rank = sum(value <= outside[best] for value in outside)  # 1 is the worst of 7
        lower.append(rank / 8 <= 0.5)
    assert probability_of_overfitting(*moments(trades)) == pytest.approx(np.mean(lower))


def test_a_trial_without_trades_ranks_last_and_warns_nobody():
    trades = noise(2, trials=3, windows=4)
    trades[1] += 5
    counts, sums, squares = moments(trades)
    for moment in (counts, sums, squares):
        moment[2] = 0.0
    with np.errstate(all="raise"):
        assert probability_of_overfitting(counts, sums, squares) == 0.0


@pytest.mark.parametrize(("trials", "windows"), [(0, 4), (1, 4), (5, 0), (5, 1)])
def test_too_few_trials_or_windows_have_no_probability_of_overfitting(trials: int, windows: int):
    empty = np.zeros((trials, windows))
    assert math.isnan(probability_of_overfitting(empty, empty, empty))
