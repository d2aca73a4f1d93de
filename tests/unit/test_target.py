"""Labels worked out by hand, and their leakage: entry at open[t+1], +3R before -1R."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from strategy.simulate import Bars
from strategy.target import labels
from strategy.windows import training_rows
from tests.candle_tables import mirrored, table

either_side = pytest.mark.parametrize("side", [1, -1])


def label_of_bar_0(text: str, side: int = 1) -> tuple[int, int]:
    """(label, resolved) of bar 0; side -1 labels the candles upside down and turns it back."""
    candles = table(text) if side > 0 else mirrored(table(text))
    label, resolved = labels(candles.bars, candles.stop_distance)
    return side * int(label[0]), int(resolved[0])


@either_side
def test_three_r_before_one_r_is_a_buy_resolved_at_the_bar_that_reached_it(side: int):
    # Entered at 100, R = 5: target 115, stop 95.
    candles = """
        open  high  low  close
        100   101   99   100
        100   104   96   103
        103   110   102  109
        109   115   108  114    # touches 115
        114   140   60   100
    """
    assert label_of_bar_0(candles, side) == (1, 3)


@either_side
def test_a_high_just_below_3r_is_not_enough(side: int):
    candles = """
        open  high    low   close
        100   101     99    100
        100   114.75  99    114     # not 115; the short is stopped at 105
        114   114     95    96      # the long is stopped: neither made it
        96    200     95    150
    """
    assert label_of_bar_0(candles, side) == (0, 2)


@either_side
def test_a_stop_before_the_target_is_neutral_once_the_other_side_is_stopped_too(side: int):
    candles = """
        open  high  low  close
        100   101   99   100
        100   103   95   96     # long stopped
        96    104   95   103    # the short is still open
        103   105   102  104    # short stopped at 105: neutral is known now
        104   130   103  129
    """
    assert label_of_bar_0(candles, side) == (0, 3)


@either_side
def test_a_bar_that_touches_target_and_stop_counts_as_the_stop(side: int):
    candles = """
        open  high  low  close
        100   101   99   100
        100   115   95   110    # long: 95 and 115 in one bar; short: stopped at 105
        110   130   109  129
    """
    assert label_of_bar_0(candles, side) == (0, 1)


@either_side
def test_the_short_may_still_reach_3r_after_the_long_is_stopped(side: int):
    candles = """
        open  high  low  close
        100   101   99   100
        100   104   94   95     # long stopped; short not: high 104 < 105
        95    96    85   86     # short at 85 = 3 R
    """
    assert label_of_bar_0(candles, side) == (-1, 2)


@either_side
def test_a_gap_beyond_the_target_reaches_it(side: int):
    candles = """
        open  high  low  close
        100   101   99   100
        100   104   96   103
        120   121   118  119
    """
    assert label_of_bar_0(candles, side) == (1, 2)


@either_side
def test_the_entry_is_the_next_open_and_not_the_decisions_close(side: int):
    candles = """
        open  high  low  close
        100   101   99   100
        104   115   103  114    # from 104 the target is 119: not yet; from 100 it would be 115
        114   119   110  118
    """
    assert label_of_bar_0(candles, side) == (1, 2)


@either_side
def test_the_decision_bar_itself_is_not_looked_at(side: int):
    candles = """
        open  high  low  close
        100   150   50   100
        100   104   96   103
        103   115   102  114
    """
    assert label_of_bar_0(candles, side) == (1, 2)


@either_side
def test_the_risk_is_that_of_the_decision_bar(side: int):
    candles = """
        open  high  low  close  R
        100   101   99   100    2
        100   101   99   100    5
        100   106   99   105    5   # 100 + 3 x 2
    """
    assert label_of_bar_0(candles, side) == (1, 2)


def test_a_label_that_the_candles_do_not_resolve_has_none_yet():
    candles = table("""
        open  high  low  close
        100   101   99   100
        100   104   96   103
        103   106   99   105    # bar 0's short is stopped at 105, its long (95, 115) is open
        105   109   102  108    # bar 1's short is stopped at 108, its long (98, 118) is open
    """)
    label, resolved = labels(candles.bars, candles.stop_distance)
    assert label.tolist() == [0, 0, 0, 0]
    assert resolved.tolist() == [4, 4, 4, 4]


@pytest.mark.parametrize("distance", ["nan", "0"])
def test_a_bar_without_a_stop_distance_has_no_label(distance: str):
    candles = table(f"""
        open  high  low  close  R
        100   101   99   100    {distance}
        100   115   96   103    5
        103   140   102  114    5
    """)
    label, resolved = labels(candles.bars, candles.stop_distance)
    assert label.tolist() == [0, 1, 0]
    assert resolved.tolist() == [3, 2, 3]


def test_labels_are_small_integers_and_their_bars_positions():
    candles = table("""
        open  high  low  close
        100   101   99   100
        100   101   99   100
    """)
    label, resolved = labels(candles.bars, candles.stop_distance)
    assert label.dtype == np.int8
    assert resolved.dtype == np.int64


# --- leakage ---------------------------------------------------------------------------------


def wandering_market(n: int, seed: int) -> tuple[Bars, np.ndarray]:
    random = np.random.default_rng(seed)
    close = 1000 * np.exp(np.cumsum(random.normal(0, 0.01, n)))
    open_ = np.concatenate([[1000.0], close[:-1]])
    high = np.maximum(open_, close) * (1 + random.exponential(0.003, n))
    low = np.minimum(open_, close) * (1 - random.exponential(0.003, n))
    hours = pd.date_range("2024-01-01", periods=n, freq="1h", tz="UTC").as_unit("ns")
    return Bars(hours.asi8, open_, high, low, close), np.full(n, 20.0)


def cut(bars: Bars, end: int) -> Bars:
    return Bars(*(values[:end] for values in bars))


@pytest.mark.parametrize("end", range(300, 600, 50))
def test_no_training_samples_label_ends_after_its_window(end: int):
    bars, distance = wandering_market(800, seed=end)
    label, resolved = labels(bars, distance)
    rows = training_rows(np.ones(800, dtype=np.bool_), resolved, 100, end)

    # All that training at the end of the window could know: the candles up to there.
    known_label, known_resolved = labels(cut(bars, end), distance[:end])

    assert (known_resolved[rows] < end).all(), "a training sample's label is not known yet"
    np.testing.assert_array_equal(label[rows], known_label[rows])
    np.testing.assert_array_equal(resolved[rows], known_resolved[rows])


def test_without_the_purge_labels_from_the_future_would_train_the_model():
    bars, distance = wandering_market(800, seed=1)
    label, resolved = labels(bars, distance)
    start, end = 100, 500
    purged = training_rows(np.ones(800, dtype=np.bool_), resolved, start, end)
    leaking = np.setdiff1d(np.arange(start, end), purged)
    known_label, known_resolved = labels(cut(bars, end), distance[:end])

    assert leaking.size > 0
    assert (known_resolved[leaking] == end).all()  # not one sample is dropped without need
    assert (label[leaking] != known_label[leaking]).any()  # the future would have told


def test_candles_after_a_label_was_resolved_do_not_change_it():
    bars, distance = wandering_market(400, seed=7)
    label, resolved = labels(bars, distance)
    end = 200
    known = np.flatnonzero(resolved < end)
    twisted = Bars(bars.time, *(np.r_[prices[:end], prices[end:] * 1.5] for prices in bars[1:]))
    twisted_label, twisted_resolved = labels(twisted, distance)
    np.testing.assert_array_equal(twisted_label[known], label[known])
    np.testing.assert_array_equal(twisted_resolved[known], resolved[known])
