"""What no simulation decides: halts, refusals, forced break-even and forced closes.

Hand-written candles as in test_simulated_trades.py: a long of R = 5 decided at the close of
bar 0 (00:00 to 01:00) and filled at the open of bar 1 at 01:00 (100), stop 95.
"""

from __future__ import annotations

import itertools

import pandas as pd
import pytest

from strategy.errors import TradingSystemError
from strategy.simulate import Intervention, InterventionKind
from tests.candle_tables import Trade, table, trades_of, trades_on_either_side

HALT, RESUME, REFUSE, BREAK_EVEN, CLOSE = InterventionKind
on_either_side = pytest.mark.parametrize("side", ["long", "short"])


def at(time: str, kind: InterventionKind, *price: float) -> Intervention:
    return Intervention(pd.Timestamp(f"2024-01-01T{time}", tz="UTC"), kind, *price)


# A buy at every bar of a market that goes nowhere: whatever is not blocked is entered at once.
ALWAYS_BUY = table("""
    open  high  low  close  signal
    100   101   99   100    1       # 00:00
    100   101   99   100    1       # 01:00
    100   101   99   100    1       # 02:00
    100   101   99   100    1       # 03:00
    100   101   99   101    1       # 04:00; what is open closes at 101
""")

# In profit all along and above its entry from bar 2 on, until bar 4 falls to just above 95.
UP_AND_DOWN = table("""
    open  high  low    close  signal
    100   101   99     100    1
    100   103   99     102    0      # 01:00
    102   104   101    103    0      # 02:00
    103   104   102    103    0      # 03:00
    103   103   95.5   96     0      # 04:00
    96    97    95.5   96     0      # 05:00; closed at 96, -4 / 5 = -0.8
""")
UNTOUCHED = [Trade(1, 1, 5, 100, 96, "window_end", -0.8)]


def entry_bars(*interventions: Intervention) -> list[int]:
    return [trade.entry_bar for trade in trades_of(ALWAYS_BUY, interventions=interventions)]


# --- halt and resume -------------------------------------------------------------------------


@pytest.mark.parametrize("time", ["00:00", "00:59:59", "01:00"])
def test_a_halt_up_to_the_moment_of_the_entry_prevents_it(time: str):
    assert entry_bars(at(time, HALT)) == []


@pytest.mark.parametrize("time", ["01:00:00.000000001", "01:30", "04:59"])
def test_a_halt_after_the_entry_leaves_the_position_alone(time: str):
    assert trades_of(ALWAYS_BUY, interventions=[at(time, HALT)]) == trades_of(ALWAYS_BUY)
    assert entry_bars() == [1]


def test_a_halt_prevents_the_next_entry_after_the_open_position():
    candles = table("""
        open  high  low  close  signal
        100   101   99   100    1
        100   101   94   96     1      # out at 95; the halt at 01:30 prevents a new entry
         96    97   95   96     1
         96    97   95   96     0
    """)
    trades = trades_of(candles, interventions=[at("01:30", HALT)])
    assert trades == [Trade(1, 1, 1, 100, 95, "stop_loss", -1)]
    assert len(trades_of(candles)) == 2


@pytest.mark.parametrize(
    ("resumed", "entered"), [("01:00", 1), ("01:00:01", 2), ("02:00", 2), ("02:30", 3)]
)
def test_entries_are_taken_again_from_the_moment_of_the_resume(resumed: str, entered: int):
    assert entry_bars(at("00:30", HALT), at(resumed, RESUME)) == [entered]


def test_the_last_switch_before_the_entry_decides():
    switches = [at("00:10", HALT), at("00:20", RESUME), at("00:30", HALT), at("02:30", RESUME)]
    assert entry_bars(*switches) == [3]


def test_interventions_may_come_in_any_order():
    switches = [at("00:10", HALT), at("00:20", RESUME), at("00:30", HALT), at("02:30", RESUME)]
    for order in itertools.permutations(switches):
        assert entry_bars(*order) == [3]


def test_a_halt_from_before_the_window_is_still_in_force():
    assert trades_of(ALWAYS_BUY, start=2, interventions=[at("00:10", HALT)]) == []
    yesterday = Intervention(pd.Timestamp("2023-12-31T12:00Z"), HALT)
    assert trades_of(ALWAYS_BUY, interventions=[yesterday]) == []


def test_a_resume_without_a_halt_changes_nothing():
    assert entry_bars(at("00:30", RESUME)) == [1]


def test_a_halt_in_a_data_gap_before_the_entry_prevents_it():
    candles = table("""
        time              open  high  low  close  signal
        2024-01-01T00:00  100   101   99   100    1
        2024-01-01T03:00  100   101   99   101    0
    """)
    assert trades_of(candles, interventions=[at("02:00", HALT)]) == []
    assert len(trades_of(candles, interventions=[at("02:00", HALT), at("02:30", RESUME)])) == 1


# --- refused entries -------------------------------------------------------------------------


@pytest.mark.parametrize("time", ["01:00", "01:00:02", "01:59:59"])
def test_a_refused_entry_is_not_taken_but_the_next_one_is(time: str):
    assert entry_bars(at(time, REFUSE)) == [2]


def test_a_refusal_belongs_to_the_last_close_not_to_the_next():
    # At 00:59 the last close was that of the bar before the table: nothing to refuse.
    assert entry_bars(at("00:59", REFUSE)) == [1]


def test_two_refusals_in_a_row():
    assert entry_bars(at("02:00:05", REFUSE), at("01:00:05", REFUSE)) == [3]


def test_a_refusal_in_a_data_gap_before_the_entry_counts():
    candles = table("""
        time              open  high  low  close  signal
        2024-01-01T00:00  100   101   99   100    1
        2024-01-01T03:00  100   101   99   100    1
        2024-01-01T04:00  100   101   99   101    0
    """)
    assert trades_of(candles, interventions=[at("01:00", REFUSE)])[0].entry_bar == 2
    assert trades_of(candles, interventions=[at("02:10", REFUSE)])[0].entry_bar == 2


@on_either_side
def test_a_refusal_leaves_an_open_position_alone(side: str):
    refused = [at("02:00", REFUSE), at("03:20", REFUSE)]
    assert trades_on_either_side(UP_AND_DOWN, side, refused) == UNTOUCHED


# --- forced break-even -----------------------------------------------------------------------


@on_either_side
def test_a_forced_break_even_moves_the_stop_of_a_position_in_profit_to_its_entry(side: str):
    # 02:30 at 103: stop to 100. Bar 2's low 101 and bar 3's 102 miss it, bar 4's does not.
    forced = [at("02:30", BREAK_EVEN, 103)]
    expected = [Trade(1, 1, 4, 100, 100, "break_even", 0)]
    assert trades_on_either_side(UP_AND_DOWN, side, forced) == expected


@on_either_side
@pytest.mark.parametrize("price", [100, 99.75])
def test_a_position_without_profit_is_not_forced_to_break_even(side: str, price: float):
    assert trades_on_either_side(UP_AND_DOWN, side, [at("02:30", BREAK_EVEN, price)]) == UNTOUCHED


@on_either_side
def test_a_forced_break_even_is_held_against_the_whole_bar_in_which_it_happens(side: str):
    # 04:10 at 102: the low of that bar is taken to come after it.
    forced = [at("04:10", BREAK_EVEN, 102)]
    expected = [Trade(1, 1, 4, 100, 100, "break_even", 0)]
    assert trades_on_either_side(UP_AND_DOWN, side, forced) == expected


@on_either_side
def test_a_break_even_forced_at_the_open_is_in_force_in_that_bar(side: str):
    forced = [at("04:00", BREAK_EVEN, 103)]
    expected = [Trade(1, 1, 4, 100, 100, "break_even", 0)]
    assert trades_on_either_side(UP_AND_DOWN, side, forced) == expected


@on_either_side
def test_a_forced_break_even_does_not_loosen_a_trailing_stop(side: str):
    candles = table("""
        open  high  low  close  signal
        100   101   99   100    1
        100   112   99   111    0      # stop to 106
        111   111  105   106    0      # out at 106 for all that was forced, 6 / 5 = 1.2
    """)
    expected = [Trade(1, 1, 2, 100, 106, "trailing_stop", 1.2)]
    for time in ("02:00", "02:30"):
        assert trades_on_either_side(candles, side, [at(time, BREAK_EVEN, 108)]) == expected


@on_either_side
def test_a_break_even_forced_in_a_data_gap_is_in_force_at_the_next_open(side: str):
    candles = table("""
        time              open  high  low  close  signal
        2024-01-01T00:00  100   101   99   100    1
        2024-01-01T01:00  100   103   99   102    0
        2024-01-01T04:00   98    99   96   97     0   # opens below 100: out at 98, -0.4
        2024-01-01T05:00   97    98   96   97     0
    """)
    forced = [at("03:00", BREAK_EVEN, 101)]
    expected = [Trade(1, 1, 2, 100, 98, "break_even", -0.4)]
    assert trades_on_either_side(candles, side, forced) == expected
    # Forced after that open, it comes too late for the price of the gap.
    assert trades_on_either_side(candles, side) == [Trade(1, 1, 3, 100, 97, "window_end", -0.6)]


# --- forced close ----------------------------------------------------------------------------


@on_either_side
@pytest.mark.parametrize(
    ("time", "price", "exit_bar"),
    [
        ("01:00:00.000000001", 100.25, 1),  # inside the entry bar
        ("02:30", 103.5, 2),  # inside a later bar
        ("03:00", 103, 3),  # at the very open of a bar
        ("03:59:59.999999999", 102.5, 3),  # at the end of a bar, and not in the next one
    ],
)
def test_a_close_takes_its_own_price_in_the_bar_of_its_moment(
    side: str, time: str, price: float, exit_bar: int
):
    closed = [at(time, CLOSE, price)]
    expected = [Trade(1, 1, exit_bar, 100, price, "closed", (price - 100) / 5)]
    assert trades_on_either_side(UP_AND_DOWN, side, closed) == expected


@on_either_side
def test_a_close_in_a_data_gap_comes_before_the_gap_at_the_next_open(side: str):
    candles = table("""
        time              open  high  low  close  signal
        2024-01-01T00:00  100   101   99   100    1
        2024-01-01T01:00  100   103   99   102    0
        2024-01-01T04:00   90    91   89   90     1   # opens below the stop 95
        2024-01-01T05:00   90    92   89   91     0
    """)
    # Closed at 03:00 for 98, -2 / 5 = -0.4; the signal of the 04:00 bar is free to be taken.
    closed = [at("03:00", CLOSE, 98)]
    assert trades_on_either_side(candles, side, closed) == [
        Trade(1, 1, 2, 100, 98, "closed", -0.4),
        Trade(1, 3, 3, 90, 91, "window_end", 0.2),
    ]


@on_either_side
def test_a_gap_through_the_stop_at_the_open_comes_before_a_close_in_that_bar(side: str):
    candles = table("""
        open  high  low  close  signal
        100   101   99   100    1
        100   103   99   102    0
         93    98   92   97     0      # out at the open 93, -1.4
         97    98   96   97     0
    """)
    for time in ("02:00", "02:30"):
        closed = [at(time, CLOSE, 97)]
        expected = [Trade(1, 1, 2, 100, 93, "stop_loss", -1.4)]
        assert trades_on_either_side(candles, side, closed) == expected


@on_either_side
def test_the_first_of_two_closes_counts_whatever_the_order_of_the_list(side: str):
    closes = [at("02:40", CLOSE, 102), at("02:20", CLOSE, 103)]
    expected = [Trade(1, 1, 2, 100, 103, "closed", 0.6)]
    assert trades_on_either_side(UP_AND_DOWN, side, closes) == expected
    assert trades_on_either_side(UP_AND_DOWN, side, closes[::-1]) == expected


@on_either_side
def test_a_break_even_after_a_close_in_the_same_bar_changes_nothing(side: str):
    acts = [at("04:40", BREAK_EVEN, 101), at("04:20", CLOSE, 102)]
    expected = [Trade(1, 1, 4, 100, 102, "closed", 0.4)]
    assert trades_on_either_side(UP_AND_DOWN, side, acts) == expected


def test_a_new_entry_is_decided_at_the_close_of_the_bar_of_a_forced_close():
    assert trades_of(ALWAYS_BUY, interventions=[at("02:30", CLOSE, 100.5)]) == [
        Trade(1, 1, 2, 100, 100.5, "closed", 0.1),
        Trade(1, 3, 4, 100, 101, "window_end", 0.2),
    ]


# --- before, between and after positions -----------------------------------------------------


@on_either_side
@pytest.mark.parametrize("kind", [BREAK_EVEN, CLOSE])
@pytest.mark.parametrize("time", ["00:30", "00:59:59.999999999", "01:00"])
def test_what_happened_up_to_the_moment_of_the_entry_does_not_touch_the_position(
    side: str, kind: InterventionKind, time: str
):
    assert trades_on_either_side(UP_AND_DOWN, side, [at(time, kind, 101)]) == UNTOUCHED


def test_what_happened_in_a_data_gap_before_the_entry_does_not_touch_the_position():
    candles = table("""
        time              open  high  low  close  signal
        2024-01-01T00:00  100   101   99   100    1
        2024-01-01T03:00  100   103   99   102    0
        2024-01-01T04:00  102   103   96   97     0
    """)
    acts = [at("02:00", CLOSE, 99), at("02:30", BREAK_EVEN, 101), at("03:00", CLOSE, 99)]
    assert trades_of(candles, interventions=acts) == [
        Trade(1, 1, 2, 100, 97, "window_end", -0.6),
    ]


def test_each_position_has_its_own_interventions():
    candles = table("""
        open  high  low  close  signal
        100   101   99   100    1
        100   103   94   96     0      # 01:00 out at 95, before 01:30 as far as anyone knows
         96    97   95   96     1      # 02:00
         96   100   95   99     0      # 03:00 entered at 96, stop 91
         99   100   98   99     0      # 04:00 closed at 99.5, 3.5 / 5 = 0.7
         99   100   98   99     0
    """)
    closes = [at("02:30", CLOSE, 96), at("04:30", CLOSE, 99.5)]
    assert trades_of(candles, interventions=closes) == [
        Trade(1, 1, 1, 100, 95, "stop_loss", -1),
        Trade(1, 3, 4, 96, 99.5, "closed", 0.7),
    ]


@pytest.mark.parametrize("kind", [REFUSE, BREAK_EVEN, CLOSE])
def test_what_happens_outside_the_candles_is_ignored(kind: InterventionKind):
    before = Intervention(pd.Timestamp("2023-12-31T12:00Z"), kind, 101.0)
    after = [at("06:00", kind, 101), Intervention(pd.Timestamp("2024-02-01T00:00Z"), kind, 101.0)]
    assert trades_of(UP_AND_DOWN, interventions=[before, *after]) == UNTOUCHED


def test_a_close_after_the_end_of_the_window_is_ignored():
    trades = trades_of(UP_AND_DOWN, end=3, interventions=[at("03:00", CLOSE, 104)])
    assert trades == [Trade(1, 1, 2, 100, 103, "window_end", 0.6)]


def test_a_close_does_not_prevent_entries():
    assert entry_bars(at("00:30", CLOSE, 100), at("01:00", CLOSE, 100)) == [1]


@pytest.mark.parametrize("kind", [BREAK_EVEN, CLOSE])
def test_a_close_or_break_even_without_a_price_is_an_error(kind: InterventionKind):
    with pytest.raises((TradingSystemError, ValueError), match="price"):
        trades_of(UP_AND_DOWN, interventions=[at("02:30", kind)])
