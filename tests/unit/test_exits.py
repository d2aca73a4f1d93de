from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest

from strategy.config import BreakEven
from strategy.exits import ExitReason, step, stop_distance, volatility_multiplier

NAN = math.nan
RULE = BreakEven(min_multiplier=1.0, max_multiplier=1.5, historical_atr_window=252)


def carry(
    bar: tuple[float, float, float, float],
    *,
    side: int = 1,
    stop: float = 95.0,
    trailing: bool = False,
    trail_distance: float = 5.0,
    forced_stop: float = NAN,
    forced_close: float = NAN,
) -> tuple[float, ExitReason, float, bool]:
    """Carry a position entered at 100 with R = 5 through one (open, high, low, close)."""
    exit_price, reason, stop, trailing = step(
        side, 100.0, 5.0, stop, trailing, *bar, trail_distance, forced_stop, forced_close
    )
    return exit_price, ExitReason(reason), stop, trailing


def stays_open(result: tuple[float, ExitReason, float, bool]) -> tuple[float, bool]:
    """Assert that the position is open and return (stop, trailing) for the next bar."""
    exit_price, reason, stop, trailing = result
    assert math.isnan(exit_price)
    assert reason is ExitReason.OPEN
    return stop, trailing


def leaves(result: tuple[float, ExitReason, float, bool]) -> tuple[float, ExitReason]:
    return result[0], result[1]


# --- the stop distance -----------------------------------------------------------------------


def test_the_multiplier_is_current_over_historical_atr_within_its_bounds():
    atr = np.array([0.5, 1.0, 1.2, 1.5, 4.0])
    multiplier = volatility_multiplier(atr, np.ones(5), RULE)
    np.testing.assert_array_equal(multiplier, [1.0, 1.0, 1.2, 1.5, 1.5])


def test_the_multiplier_is_unknown_in_the_warm_up():
    multiplier = volatility_multiplier(np.array([NAN, 2.0]), np.array([1.0, NAN]), RULE)
    assert np.isnan(multiplier).all()


def test_a_market_that_stood_still_gets_the_lower_bound_without_a_warning():
    with np.errstate(all="raise"):
        multiplier = volatility_multiplier(np.array([0.0]), np.array([0.0]), RULE)
    np.testing.assert_array_equal(multiplier, [1.0])


def test_one_r_is_the_multiplier_times_the_atr():
    # ratios 2/2, 2.4/2, 4/2 -> multipliers 1, 1.2, 1.5 (clamped)
    distance = stop_distance(np.array([2.0, 2.4, 4.0, NAN]), np.full(4, 2.0), RULE)
    np.testing.assert_allclose(distance, [2.0, 2.88, 6.0, NAN], rtol=1e-15)


def test_the_inputs_of_the_stop_distance_are_left_alone():
    atr, mean_atr = np.array([1.0, 2.0]), np.array([0.0, 1.0])
    stop_distance(atr, mean_atr, RULE)
    np.testing.assert_array_equal(atr, [1.0, 2.0])
    np.testing.assert_array_equal(mean_atr, [0.0, 1.0])


# --- stop in force ---------------------------------------------------------------------------


def test_a_quiet_bar_changes_nothing():
    assert stays_open(carry((100, 104, 96, 101))) == (95.0, False)


def test_the_stop_fills_at_its_own_price():
    assert leaves(carry((100, 101, 94, 96))) == (95.0, ExitReason.STOP_LOSS)


def test_a_bar_that_only_touches_the_stop_is_stopped():
    assert leaves(carry((100, 101, 95, 96))) == (95.0, ExitReason.STOP_LOSS)
    assert stays_open(carry((100, 101, 95.25, 96))) == (95.0, False)


def test_a_gap_through_the_stop_fills_at_the_open_not_at_the_stop():
    assert leaves(carry((93, 101, 92, 100))) == (93.0, ExitReason.STOP_LOSS)


def test_a_bar_that_touches_stop_and_2r_counts_as_the_stop():
    assert leaves(carry((100, 111, 95, 110))) == (95.0, ExitReason.STOP_LOSS)


@pytest.mark.parametrize(
    ("stop", "reason"),
    [
        (95.0, ExitReason.STOP_LOSS),
        (100.0, ExitReason.BREAK_EVEN),
        (103.0, ExitReason.TRAILING_STOP),
    ],
)
def test_a_stop_is_named_by_where_it_stood(stop: float, reason: ExitReason):
    assert leaves(carry((104, 105, stop - 1, 104), stop=stop)) == (stop, reason)
    gap = stop - 2
    assert leaves(carry((gap, gap, gap, gap), stop=stop)) == (gap, reason)


# --- break-even and trailing -----------------------------------------------------------------


def test_at_1r_the_stop_goes_to_the_entry():
    assert stays_open(carry((100, 105, 99, 104))) == (100.0, False)


def test_just_below_1r_the_stop_stays():
    assert stays_open(carry((100, 104.99, 99, 104))) == (95.0, False)


def test_the_bar_that_reaches_1r_is_not_held_against_its_own_break_even_stop():
    # Low 96 lies below the new stop 100, which is in force from the next bar on only.
    assert stays_open(carry((100, 106, 96, 104))) == (100.0, False)


def test_at_2r_the_stop_trails_behind_the_close_at_this_bars_distance():
    # close 109 - distance 4; the low 99 of the very bar does not hit it.
    assert stays_open(carry((100, 110, 99, 109), trail_distance=4.0)) == (105.0, True)


def test_just_below_2r_nothing_trails():
    assert stays_open(carry((100, 109.99, 99, 109), trail_distance=4.0)) == (100.0, False)


def test_trailing_goes_on_after_the_profit_has_fallen_below_2r():
    # High 108 is 1.6 R; close 108 - 3 = 105 tightens the stop of 104 all the same.
    result = carry((107, 108, 106, 108), stop=104.0, trailing=True, trail_distance=3.0)
    assert stays_open(result) == (105.0, True)


def test_a_trailing_stop_never_loosens():
    # close 107 - 5 = 102, below the stop of 104.
    result = carry((107, 112, 106, 107), stop=104.0, trailing=True)
    assert stays_open(result) == (104.0, True)


def test_a_wide_trail_leaves_the_stop_at_the_entry():
    # 2R reached; close 108 - 12 = 96 would be looser than break-even at 100.
    assert stays_open(carry((100, 110, 99, 108), trail_distance=12.0)) == (100.0, True)


def test_an_unknown_trail_distance_leaves_the_stop_where_it_is():
    assert stays_open(carry((100, 110, 99, 108), trail_distance=NAN)) == (100.0, True)


def test_a_short_is_the_mirror_of_a_long():
    assert leaves(carry((100, 106, 99, 101), side=-1, stop=105.0)) == (105.0, ExitReason.STOP_LOSS)
    assert leaves(carry((107, 108, 99, 101), side=-1, stop=105.0)) == (107.0, ExitReason.STOP_LOSS)
    assert stays_open(carry((100, 101, 95, 96), side=-1, stop=105.0)) == (100.0, False)
    # 2R at 90: the stop trails at close 92 + 4.
    result = carry((100, 101, 90, 92), side=-1, stop=105.0, trail_distance=4.0)
    assert stays_open(result) == (96.0, True)
    result = carry((94, 96, 93, 95), side=-1, stop=96.0, trailing=True)
    assert leaves(result) == (96.0, ExitReason.TRAILING_STOP)


# --- interventions inside the bar ------------------------------------------------------------


def test_a_forced_close_takes_its_own_price():
    assert leaves(carry((100, 104, 96, 101), forced_close=102.0)) == (102.0, ExitReason.CLOSED)


def test_a_gap_through_the_stop_comes_before_a_forced_close():
    assert leaves(carry((93, 99, 92, 98), forced_close=97.0)) == (93.0, ExitReason.STOP_LOSS)
    # An open at the very stop is through it.
    assert leaves(carry((95, 99, 94, 98), forced_close=97.0)) == (95.0, ExitReason.STOP_LOSS)


def test_a_forced_stop_is_in_force_within_the_bar():
    result = carry((102, 104, 99, 103), forced_stop=100.0)
    assert leaves(result) == (100.0, ExitReason.BREAK_EVEN)


def test_a_forced_stop_that_the_bar_does_not_touch_stays_in_force():
    assert stays_open(carry((102, 104, 101, 103), forced_stop=100.0)) == (100.0, False)


def test_a_forced_stop_does_not_loosen_a_tighter_one():
    result = carry((107, 108, 106, 107), stop=104.0, forced_stop=100.0)
    assert stays_open(result) == (104.0, False)
    result = carry((107, 108, 103, 107), stop=104.0, forced_stop=100.0)
    assert leaves(result) == (104.0, ExitReason.TRAILING_STOP)


def test_a_forced_stop_is_mirrored_for_shorts():
    result = carry((98, 101, 96, 97), side=-1, stop=105.0, forced_stop=100.0)
    assert leaves(result) == (100.0, ExitReason.BREAK_EVEN)


# --- what the bot loads ----------------------------------------------------------------------


def test_the_exit_rule_imports_no_numba():
    code = "import sys, strategy.exits; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
