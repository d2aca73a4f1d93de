"""Hand-written candles; every entry, exit, reason and R worked out by hand.

Each table is written for a long of R = 5 decided at the close of bar 0 and filled at the open
of bar 1 (100), so that its stop is 95, break-even needs a high of 105 and trailing one of 110.
Tables marked ``on_either_side`` are traded a second time upside down, as shorts.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from strategy.costs import charges_on
from strategy.simulate import Bars, simulate, trades_frame
from tests.candle_tables import FREE, Table, Trade, table, trades_of, trades_on_either_side

on_either_side = pytest.mark.parametrize("side", ["long", "short"])


def simulated(candles: Table) -> NDArray[np.void]:
    """The trades as the simulation itself returns them."""
    charges = charges_on(candles.index, "1h", FREE)
    return simulate(candles.bars, candles.signals, candles.stop_distance, charges, timeframe="1h")


# --- the initial stop ------------------------------------------------------------------------


@on_either_side
def test_the_stop_fills_at_its_price(side: str):
    candles = table("""
        open  high  low  close  signal
        100   101   99   100    1
        100   103   96   98     0
         98    99   94   97     0       # low 94 <= 95: out at 95, (95 - 100) / 5 = -1
    """)
    assert trades_on_either_side(candles, side) == [Trade(1, 1, 2, 100, 95, "stop_loss", -1)]


@on_either_side
def test_a_gap_through_the_stop_fills_at_the_open(side: str):
    candles = table("""
        open  high  low  close  signal
        100   101   99   100    1
        100   103   96   98     0
         93    99   92   97     0       # opens below 95: out at 93, (93 - 100) / 5 = -1.4
    """)
    assert trades_on_either_side(candles, side) == [Trade(1, 1, 2, 100, 93, "stop_loss", -1.4)]


@on_either_side
def test_the_entry_bar_can_stop_the_position_out(side: str):
    candles = table("""
        open  high  low  close  signal
        100   101   99   100    1
        100   103   95   98     0       # low touches 95: out at 95, -1
         98    99   97   98     0
    """)
    assert trades_on_either_side(candles, side) == [Trade(1, 1, 1, 100, 95, "stop_loss", -1)]


@on_either_side
def test_stop_and_target_in_one_bar_count_as_the_stop(side: str):
    candles = table("""
        open  high  low  close  signal
        100   101   99   100    1
        100   116   95   115    0       # 3 R and the stop in one bar: the stop, -1
        115   120  114   119    0
    """)
    assert trades_on_either_side(candles, side) == [Trade(1, 1, 1, 100, 95, "stop_loss", -1)]


@on_either_side
def test_a_low_just_above_the_stop_leaves_the_position_open(side: str):
    candles = table("""
        open  high  low    close  signal
        100   101   99     100    1
        100   103   95.25   98    0
         98    99   95.25   98.5  0     # never at 95: closed at 98.5, -1.5 / 5 = -0.3
    """)
    assert trades_on_either_side(candles, side) == [Trade(1, 1, 2, 100, 98.5, "window_end", -0.3)]


# --- break-even ------------------------------------------------------------------------------


@on_either_side
def test_break_even_then_stop(side: str):
    candles = table("""
        open  high  low  close  signal
        100   101   99   100    1
        100   105   99   103    0       # high 105 = 1 R: stop to 100, its own low 99 excused
        103   104  100   101    0       # low touches 100: out at 100, 0 R
    """)
    assert trades_on_either_side(candles, side) == [Trade(1, 1, 2, 100, 100, "break_even", 0)]


@on_either_side
def test_a_gap_through_break_even_loses(side: str):
    candles = table("""
        open  high  low  close  signal
        100   101   99   100    1
        100   105   99   103    0       # stop to 100
         98   104   97   101    0       # opens below 100: out at 98, -2 / 5 = -0.4
    """)
    assert trades_on_either_side(candles, side) == [Trade(1, 1, 2, 100, 98, "break_even", -0.4)]


@on_either_side
def test_a_new_stop_that_the_close_has_passed_is_out_at_the_next_open(side: str):
    candles = table("""
        open  high  low  close  signal
        100   101   99   100    1
        100   106   96    97    0       # 1 R reached, stop to 100, but the close 97 is below it
         97   103   96   102    0       # out at the open 97, -3 / 5 = -0.6
    """)
    assert trades_on_either_side(candles, side) == [Trade(1, 1, 2, 100, 97, "break_even", -0.6)]


# --- trailing --------------------------------------------------------------------------------


@on_either_side
def test_the_stop_trails_behind_each_close_at_that_bars_distance(side: str):
    candles = table("""
        open  high  low  close  signal  R
        100   101   99   100    1       5
        100   110   99   108    0       4  # 2 R: stop to 108 - 4 = 104, its own low 99 excused
        108   112  105   111    0       5  # low 105 > 104; stop to 111 - 5 = 106
        111   111  106   107    0       5  # low touches 106: out at 106, 6 / 5 = 1.2
    """)
    assert trades_on_either_side(candles, side) == [Trade(1, 1, 3, 100, 106, "trailing_stop", 1.2)]


@on_either_side
def test_a_trailing_stop_does_not_loosen_on_a_pullback(side: str):
    candles = table("""
        open  high  low    close  signal  R
        100   101   99     100    1       5
        100   112   99     111    0       5  # stop to 111 - 5 = 106
        111   111  106.5   107    0       9  # 107 - 9 = 98 is looser: stop stays at 106
        107   108  105     106    0       9  # out at 106, 1.2
    """)
    assert trades_on_either_side(candles, side) == [Trade(1, 1, 3, 100, 106, "trailing_stop", 1.2)]


@on_either_side
def test_trailing_goes_on_below_2r(side: str):
    candles = table("""
        open  high  low    close  signal  R
        100   101   99     100    1       5
        100   110   99     107    0       5  # 2 R: stop to 102
        107   109  106     109    0       4  # 1.8 R, still trailing: stop to 109 - 4 = 105
        109   109  104     106    0       4  # out at 105, 1 R
    """)
    assert trades_on_either_side(candles, side) == [Trade(1, 1, 3, 100, 105, "trailing_stop", 1)]


@on_either_side
def test_a_gap_through_the_trailing_stop_fills_at_the_open(side: str):
    candles = table("""
        open  high  low  close  signal
        100   101   99   100    1
        100   112   99   111    0       # stop to 106
        104   105  103   104    0       # opens below 106: out at 104, 4 / 5 = 0.8
    """)
    assert trades_on_either_side(candles, side) == [Trade(1, 1, 2, 100, 104, "trailing_stop", 0.8)]


@on_either_side
def test_one_r_stays_what_it_was_at_the_decision(side: str):
    candles = table("""
        open  high  low  close  signal  R
        100   101   99   100    1       5
        100   104   99   103    0       2  # 104 is 2 R of 2, but 0.8 R of the 5 that count
        103   103   95   97     0       2  # still the first stop: out at 95, -1
    """)
    assert trades_on_either_side(candles, side) == [Trade(1, 1, 2, 100, 95, "stop_loss", -1)]


@on_either_side
def test_there_is_no_take_profit_and_an_opposite_signal_closes_nothing(side: str):
    candles = table("""
        open  high  low  close  signal
        100   101   99   100    1
        100   120  99    119    -1      # 4 R: stop to 114
        119   140  118   139    -1      # 8 R: stop to 134
        139   141  135   140    0       # stop to 135; closed at 140, 40 / 5 = 8
    """)
    assert trades_on_either_side(candles, side) == [Trade(1, 1, 3, 100, 140, "window_end", 8)]


def test_a_short_written_out():
    candles = table("""
        open  high  low  close  signal  R
        200   203  198   201    -1      10
        200   204  190   192    0       10  # stop 210; low 190 = 1 R: stop to 200
        192   195  180   184    0       8   # low 180 = 2 R: stop to 184 + 8 = 192
        184   190  178   181    0       8   # high 190 < 192; stop to 181 + 8 = 189
        181   189  180   185    0       8   # high touches 189: out, (200 - 189) / 10 = 1.1
    """)
    assert trades_of(candles) == [Trade(-1, 1, 4, 200, 189, "trailing_stop", 1.1)]


# --- the window ------------------------------------------------------------------------------


@on_either_side
def test_what_is_open_at_the_end_of_the_window_closes_at_its_last_close(side: str):
    candles = table("""
        open  high  low  close  signal
        100   101   99   100    1
        100   103   98   101    0
        101   104   99   102    0       # last bar of the window: out at 102, 2 / 5 = 0.4
        102   102   90    91    0       # outside
    """)
    expected = [Trade(1, 1, 2, 100, 102, "window_end", 0.4)]
    assert trades_on_either_side(candles, side, end=3) == expected


@on_either_side
def test_a_stop_in_the_last_bar_is_a_stop(side: str):
    candles = table("""
        open  high  low  close  signal
        100   101   99   100    1
        100   103   95   102    0
    """)
    assert trades_on_either_side(candles, side) == [Trade(1, 1, 1, 100, 95, "stop_loss", -1)]


@on_either_side
def test_a_signal_on_the_last_bar_is_not_traded_and_one_before_it_for_a_single_bar(side: str):
    candles = table("""
        open  high  low  close  signal
        100   101   99   100    0
        100   103   98   100    1       # fills at 101, the last bar's open
        101   104   99   103    1       # its fill would lie outside; closed at 103, 2 / 5 = 0.4
        103   104   90    91    0
    """)
    expected = [Trade(1, 2, 2, 101, 103, "window_end", 0.4)]
    assert trades_on_either_side(candles, side, end=3) == expected


@on_either_side
def test_signals_before_the_window_are_not_traded(side: str):
    candles = table("""
        open  high  low  close  signal
        100   101   99   100    1
        100   101   99   100    1
        100   101   99   100    0
        100   101   99   101    0
    """)
    assert trades_on_either_side(candles, side, start=2) == []
    expected = [Trade(1, 2, 3, 100, 101, "window_end", 0.2)]
    assert trades_on_either_side(candles, side, start=1) == expected


@pytest.mark.parametrize("end", [0, 1])
def test_a_window_of_less_than_two_bars_makes_no_trade(end: int):
    candles = table("""
        open  high  low  close  signal
        100   101   99   100    1
        100   101   99   100    1
    """)
    assert trades_of(candles, end=end) == []


# --- decisions -------------------------------------------------------------------------------


@on_either_side
def test_a_new_entry_is_decided_at_the_close_of_the_bar_in_which_a_position_ended(side: str):
    candles = table("""
        open  high  low  close  signal
        100   101   99   100    1
        100   103   99   102    1       # in position: ignored
        102   103   94    96    -1      # out at 95, -1; the sell at its close counts
         96    99   95    97    0       # short from 96, stop 101
         97    98   93    94    0       # closed at 94, (96 - 94) / 5 = 0.4
    """)
    assert trades_on_either_side(candles, side) == [
        Trade(1, 1, 2, 100, 95, "stop_loss", -1),
        Trade(-1, 3, 4, 96, 94, "window_end", 0.4),
    ]


@on_either_side
def test_neutral_is_not_traded_and_a_later_signal_is(side: str):
    candles = table("""
        open  high  low  close  signal
        100   101   99   100    0
        100   101   99   100    0
        100   101   99   100    1
        100   101   99   101    0       # closed at 101, 1 / 5 = 0.2
    """)
    assert trades_on_either_side(candles, side) == [Trade(1, 3, 3, 100, 101, "window_end", 0.2)]


@on_either_side
@pytest.mark.parametrize("distance", ["nan", "0"])
def test_nothing_is_traded_where_the_stop_distance_is_unknown_or_zero(side: str, distance: str):
    candles = table(f"""
        open  high  low  close  signal  R
        100   101   99   100    1       {distance}
        100   101   99   100    1       5           # the first signal that can be traded
        100   101   99   101    0       {distance}  # closed at 101, 0.2; no trail distance needed
    """)
    assert trades_on_either_side(candles, side) == [Trade(1, 2, 2, 100, 101, "window_end", 0.2)]


def test_a_trade_is_recorded_with_the_bar_of_its_decision_and_its_risk():
    candles = table("""
        open  high  low  close  signal  R
        100   101   99   100    0       5
        100   101   99   100    1       4
        100   101   95   97     0       5   # out at 96
    """)
    (trade,) = simulated(candles)
    assert trade["decision_bar"] == 1
    assert trade["entry_bar"] == 2
    assert trade["risk"] == 4
    assert trade["exit_price"] == 96


def test_trades_as_a_table_carry_the_times_of_their_bars():
    candles = table("""
        time              open  high  low  close  signal
        2024-01-01T05:00  100   101   99   100    1
        2024-01-01T06:00  100   103   96   98     0
        2024-01-01T09:00   98    99   94   97     0   # after a gap of two bars
    """)
    frame = trades_frame(simulated(candles), candles.index)
    assert len(frame) == 1
    row = frame.iloc[0]
    assert row["decision_time"] == candles.index[0]
    assert row["entry_time"] == candles.index[1]
    assert row["exit_time"] == candles.index[2]
    assert (row["side"], row["entry_price"], row["exit_price"]) == (1, 100, 95)
    assert (row["risk"], row["reason"], row["r"]) == (5, "stop_loss", -1)


def test_no_trades_make_an_empty_table_with_the_same_columns():
    candles = table("""
        open  high  low  close  signal
        100   101   99   100    0
        100   101   99   100    1
        100   101   99   100    0
    """)
    some = trades_frame(simulated(candles), candles.index)
    none = trades_frame(simulated(candles)[:0], candles.index)
    assert none.empty
    assert list(none.columns) == list(some.columns)


def test_bars_are_taken_from_a_candle_frame_whatever_its_time_unit():
    candles = table("""
        open  high  low  close
        100   103   97   101
        101   104   98   102
    """)
    columns = candles.bars._asdict() | {"volume": np.ones(2)}
    del columns["time"]
    frame = pd.DataFrame(columns, index=candles.index.as_unit("s"))
    for expected, actual in zip(candles.bars, Bars.of(frame), strict=True):
        np.testing.assert_array_equal(actual, expected)
