"""Indicators and rolling windows against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from strategy.indicators import (
    DISPLACEMENT,
    above_percentile,
    atr,
    below_percentile,
    flag,
    history_of_wilder,
    ichimoku,
    lag,
    midpoint,
    ratio,
    rolling_correlation,
    rolling_max,
    rolling_mean,
    rolling_min,
    rolling_std,
    rsi,
    run_length,
    true_range,
    warm_up,
    wilder_average,
    wilder_window,
)

NAN = np.nan
equal = np.testing.assert_array_equal


def column(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float64)


def test_the_true_range_reaches_over_a_gap_to_the_previous_close() -> None:
    high, low = column(12, 20, 9, 12), column(10, 18, 7, 8)
    close = column(11, 19, 8, 10)
    # previous closes 11, 19, 8: gap up 20 - 11, gap down 19 - 7, and then high - low
    equal(true_range(high, low, close), column(NAN, 9, 12, 4))


def test_the_midpoint_lies_between_the_extremes_of_its_period() -> None:
    high, low = column(5, 9, 6, 7), column(3, 4, 1, 5)
    equal(midpoint(high, low, 3), column(NAN, NAN, (9 + 1) / 2, (9 + 1) / 2))


def test_senkou_spans_are_those_of_26_bars_earlier() -> None:
    bars = 40
    tenkan, kijun = np.arange(bars) + 2.0, np.arange(bars) * 1.0
    lines = ichimoku(tenkan, kijun, np.arange(bars) * 10.0)
    assert warm_up(lines.senkou_span_a) == DISPLACEMENT == 26
    assert lines.senkou_span_a[30] == (tenkan[4] + kijun[4]) / 2 == 5
    assert lines.senkou_span_b[30] == 40
    equal(lines.tenkan_sen, tenkan)


@pytest.mark.parametrize("period", [2, 7, 28])
def test_the_wilder_average_is_the_usual_recursion_once_warm(period: int) -> None:
    values = np.random.default_rng(period).lognormal(0, 1, wilder_window(period) + 300)
    expected = [values[:period].mean()]
    for value in values[period:]:
        expected.append(expected[-1] + (value - expected[-1]) / period)
    result = wilder_average(values, period)
    assert warm_up(result) == wilder_window(period) - 1
    np.testing.assert_allclose(result[-300:], expected[-300:], rtol=1e-12)


def test_the_wilder_average_needs_its_whole_window() -> None:
    window = wilder_window(7)
    assert window == 254 and wilder_window(28) == 1077
    assert np.isnan(wilder_average(np.ones(window - 1), 7)).all()
    equal(np.isnan(wilder_average(np.ones(window), 7))[-2:], [True, False])


def test_the_wilder_average_forgets_a_shock_completely() -> None:
    window = wilder_window(2)
    values = np.zeros(3 * window)
    values[window] = 1e12
    result = wilder_average(values, 2)
    assert result[2 * window - 1] > 0  # the shock is the oldest value of the window
    equal(result[2 * window :], np.zeros(window))


def test_the_atr_of_period_2_halves_with_every_quiet_bar() -> None:
    bars = history_of_wilder(2) + 3
    high, low, close = np.full((3, bars), 100.0)
    high[-3] = 104.0  # one candle of range 4 in a market that stands still
    result = atr(high, low, close, 2)
    equal(result[-4:], column(0, 2, 1, 0.5))
    assert warm_up(result) == wilder_window(2)


def test_the_rsi_weighs_gains_against_losses() -> None:
    bars = history_of_wilder(2) + 1
    close = np.full(bars, 100.0)
    close[-2:] = 103, 102  # gain 3, then loss 1; with period 2: 3/4 against 1/2
    assert rsi(close, 2)[-1] == pytest.approx(100 * 0.75 / 1.25)


def test_the_rsi_is_100_when_rising_0_when_falling_and_50_when_still() -> None:
    bars = history_of_wilder(7) + 50
    rising = np.linspace(10, 20, bars)
    equal(rsi(rising, 7)[-50:], np.full(50, 100.0))
    equal(rsi(-rising, 7)[-50:], np.zeros(50))
    equal(rsi(np.full(bars, 0.1), 7)[-50:], np.full(50, 50.0))


def test_the_rsi_of_a_market_that_stands_still_keeps_no_remnant_of_an_old_move() -> None:
    window = wilder_window(7)
    close = np.full(2 * window + 10, 100.0)
    close[5:] = 1e6
    result = rsi(close, 7)
    assert result[5 + window - 1] == 100  # the jump is the oldest change of the window
    assert result[5 + window] == 50


@pytest.mark.parametrize("window", range(1, 10))
def test_rolling_extremes_are_those_of_each_window(window: int) -> None:
    values = np.random.default_rng(window).normal(size=30)
    for row in range(30):
        expected = values[row - window + 1 : row + 1] if row >= window - 1 else column(NAN)
        equal(rolling_max(values, window)[row], expected.max())
        equal(rolling_min(values, window)[row], expected.min())


def test_rolling_mean_and_deviation_by_hand() -> None:
    values = column(2, 4, 4, 6)
    equal(rolling_mean(values, 2), column(NAN, 3, 4, 5))
    equal(rolling_std(values, 2), column(NAN, 1, 0, 1))  # the population's: divisor 2


def test_a_warm_up_within_the_window_is_a_warm_up_of_the_result() -> None:
    values = column(NAN, 2, 4, 6)
    equal(rolling_mean(values, 2), column(NAN, NAN, 3, 5))
    equal(rolling_max(values, 2), column(NAN, NAN, 4, 6))
    equal(below_percentile(values, 50, 2), column(NAN, NAN, 0, 0))
    assert warm_up(rolling_correlation(values, np.arange(4.0), 2)) == 2


@pytest.mark.parametrize("window", [3, 20, 252])
def test_equal_values_have_exactly_that_mean_and_no_deviation(window: int) -> None:
    values = np.full(300, 0.1)
    equal(rolling_mean(values, window)[window - 1 :], 0.1)
    equal(rolling_std(values, window)[window - 1 :], 0.0)


def test_rolling_windows_do_not_remember_a_huge_value_that_has_left_them() -> None:
    values = column(1e17, 0.1, 0.2, 0.3, 0.4)
    assert rolling_mean(values, 2)[-1] == rolling_mean(values[-2:], 2)[-1]
    assert rolling_mean(values, 2)[-1] == pytest.approx(0.35, rel=1e-15)
    assert rolling_std(values, 2)[-1] == pytest.approx(0.05, rel=1e-14)


def test_rolling_correlation_by_hand() -> None:
    first = column(1, 2, 3, 3, 2)
    second = column(2, 4, 6, 6, 1)
    result = rolling_correlation(first, second, 3)
    assert result[2] == pytest.approx(1.0)
    # last window: deviations (1, 1, -2)/3 and (5, 5, -10)/3
    assert result[4] == pytest.approx(1.0)
    assert rolling_correlation(first, -second, 3)[4] == pytest.approx(-1.0)
    # (1, 2, 3) against (1, 3, 2): deviations (-1, 0, 1) and (-1, 1, 0)
    assert rolling_correlation(column(1, 2, 3), column(1, 3, 2), 3)[2] == pytest.approx(0.5)


def test_the_correlation_with_something_that_stands_still_is_0() -> None:
    still, moving = np.full(12, 0.1), np.arange(12.0)
    equal(rolling_correlation(still, moving, 10)[9:], 0.0)
    equal(rolling_correlation(moving, still, 10)[9:], 0.0)
    assert np.abs(rolling_correlation(moving, moving * 0.1, 10)[9:]).max() <= 1


def test_percentiles_are_by_nearest_rank() -> None:
    # Of 4 values the 25th percentile is the smallest, the 75th the third smallest.
    values = column(1, 2, 3, 4)
    for order in ([3, 2, 1, 0], [0, 3, 2, 1], [0, 1, 3, 2], [0, 1, 2, 3]):
        newest = values[order][-1]
        assert below_percentile(values[order], 25, 4)[-1] == 0  # nothing is below the smallest
        assert below_percentile(values[order], 50, 4)[-1] == (newest < 2)
        assert above_percentile(values[order], 75, 4)[-1] == (newest > 3)


@pytest.mark.parametrize("percent", [10, 25, 75])
def test_percentiles_agree_with_numpys_inverted_distribution(percent: int) -> None:
    values = np.random.default_rng(percent).integers(0, 60, 600).astype(np.float64)  # with ties
    below, above = below_percentile(values, percent, 252), above_percentile(values, percent, 252)
    assert warm_up(below) == warm_up(above) == 251
    for row in range(251, 600):
        window = values[row - 251 : row + 1]
        bound = np.percentile(window, percent, method="inverted_cdf")
        assert below[row] == (values[row] < bound)
        assert above[row] == (values[row] > bound)


def test_a_run_is_counted_up_to_its_cap_and_broken_by_a_zero() -> None:
    flags = column(NAN, 1, 1, 1, 1, 0, 1)
    equal(run_length(flags, 3), column(NAN, NAN, NAN, 3, 3, 0, 1))
    equal(run_length(flags, 1), column(NAN, 1, 1, 1, 1, 0, 1))


def test_a_ratio_over_zero_is_0_but_stays_unknown_where_it_is_unknown() -> None:
    equal(ratio(column(1, 2, NAN, 3), column(0, 4, 0, NAN)), column(0, 0.5, NAN, NAN))
    equal(ratio(column(0.0), column(0.0), undefined=0.5), column(0.5))


def test_a_flag_is_unknown_in_the_warm_up_of_its_inputs() -> None:
    short, long = column(NAN, 1, 1), column(NAN, NAN, 1)
    equal(flag(np.array([True, True, True]), short, long), column(NAN, NAN, 1))
    equal(flag(np.array([False, False, True]), short), column(NAN, 0, 1))


def test_lag_shifts_back_in_time_only() -> None:
    equal(lag(column(1, 2, 3), 2), column(NAN, NAN, 1))
    equal(lag(column(1, 2), 5), column(NAN, NAN))


@pytest.mark.parametrize("bars", [0, 1, 2])
def test_fewer_bars_than_a_window_are_all_warm_up(bars: int) -> None:
    values = np.ones(bars)
    for result in (
        rolling_max(values, 3),
        rolling_mean(values, 3),
        rolling_std(values, 3),
        rolling_correlation(values, values, 3),
        below_percentile(values, 10, 3),
        run_length(values, 3),
        wilder_average(values, 2),
        rsi(values, 2),
        lag(values, 3),
    ):
        assert len(result) == bars and np.isnan(result).all()
