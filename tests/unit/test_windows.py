from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest

from strategy.config import WalkForward
from strategy.errors import DataError
from strategy.windows import Window, newest_training_span, training_rows, walk_forward_windows

DEFAULT = WalkForward(history_years=5, training_months=12, validation_months=3, step_months=3)
"""The geometry of config.json."""


def hours(start: str, end: str) -> pd.DatetimeIndex:
    """Hourly candles from ``start`` up to, not including, ``end``."""
    return pd.date_range(start, end, freq="1h", tz="UTC", inclusive="left").as_unit("ns")


def days(start: str, end: str) -> pd.DatetimeIndex:
    return pd.date_range(start, end, freq="1D", tz="UTC", inclusive="left").as_unit("ns")


def utc(text: str) -> pd.Timestamp:
    return pd.Timestamp(text, tz="UTC")


FIVE_YEARS = hours("2020-09-01", "2025-09-01")


def times(window: Window) -> tuple[pd.Timestamp, pd.Timestamp, pd.Timestamp]:
    return (window.training_start_time, window.validation_start_time, window.validation_end_time)


# --- five years of hours ---------------------------------------------------------------------


def test_five_years_make_16_windows_numbered_from_the_oldest():
    windows = walk_forward_windows(FIVE_YEARS, "1h", DEFAULT)
    assert [window.number for window in windows] == list(range(1, 17))
    assert times(windows[0]) == (utc("2020-09-01"), utc("2021-09-01"), utc("2021-12-01"))
    assert times(windows[1]) == (utc("2020-12-01"), utc("2021-12-01"), utc("2022-03-01"))
    assert times(windows[-1]) == (utc("2024-06-01"), utc("2025-06-01"), utc("2025-09-01"))


def test_bars_are_those_of_the_calendars_borders():
    first, *_, last = walk_forward_windows(FIVE_YEARS, "1h", DEFAULT)
    # 365 days of training, then September, October and November
    assert (first.train_start, first.train_end) == (0, 365 * 24)
    assert first.validation_end == (365 + 30 + 31 + 30) * 24
    assert last.validation_end == len(FIVE_YEARS)
    assert FIVE_YEARS[last.train_start] == utc("2024-06-01")
    assert FIVE_YEARS[last.train_end] == utc("2025-06-01")


@pytest.mark.parametrize(
    "missing", [0, 20_000, -1], ids=["the first", "one in the middle", "the last"]
)
def test_five_years_that_lack_an_hour_still_make_16_windows(missing: int):
    index = FIVE_YEARS.delete(missing)
    windows = walk_forward_windows(index, "1h", DEFAULT)
    assert len(windows) == 16
    assert windows[-1].validation_end == len(index)


def test_validation_windows_tile_the_newest_data_without_overlap():
    for index in (FIVE_YEARS, FIVE_YEARS.delete([0, 9_000, 20_000])):
        windows = walk_forward_windows(index, "1h", DEFAULT)
        for earlier, later in itertools.pairwise(windows):
            assert earlier.validation_end == later.train_end
            assert earlier.validation_end_time == later.validation_start_time
        assert windows[-1].validation_end == len(index)


def test_no_bar_lies_outside_its_windows_times():
    index = FIVE_YEARS.delete([100, 9_000, 20_000])
    for window in walk_forward_windows(index, "1h", DEFAULT):
        assert window.train_start < window.train_end < window.validation_end
        training = index[window.train_start : window.train_end]
        validation = index[window.train_end : window.validation_end]
        assert training[0] >= window.training_start_time
        assert training[-1] < window.validation_start_time <= validation[0]
        assert validation[-1] < window.validation_end_time
        assert len(training) + len(validation) == int(
            ((index >= window.training_start_time) & (index < window.validation_end_time)).sum()
        )


def test_windows_are_laid_back_from_the_close_of_the_last_candle():
    # The last candle opens at 2025-08-20 16:00 and closes at 17:00.
    windows = walk_forward_windows(hours("2020-08-20T17:00", "2025-08-20T17:00"), "1h", DEFAULT)
    assert len(windows) == 16
    assert windows[-1].validation_end_time == utc("2025-08-20T17:00")
    assert windows[0].training_start_time == utc("2020-08-20T17:00")


# --- how much history ------------------------------------------------------------------------


def test_the_history_slides_with_the_newest_candle():
    seven_years = hours("2018-09-01", "2025-09-01")
    windows = walk_forward_windows(seven_years, "1h", DEFAULT)
    assert len(windows) == 16
    assert windows[0].training_start_time == utc("2020-09-01")
    assert windows[0].train_start == seven_years.get_loc(utc("2020-09-01"))


def test_a_shorter_history_makes_fewer_windows():
    two_years = hours("2023-09-01", "2025-09-01")
    windows = walk_forward_windows(two_years, "1h", DEFAULT)
    assert [window.number for window in windows] == [1, 2, 3, 4]  # 15, 18, 21, 24 months
    assert windows[0].training_start_time == utc("2023-09-01")


def test_history_years_limit_the_number_of_windows():
    two = DEFAULT.model_copy(update={"history_years": 2})
    assert len(walk_forward_windows(FIVE_YEARS, "1h", two)) == 4


def test_the_first_training_window_may_lack_one_percent():
    # One percent of 365 days is 87.6 hours: 87 may be missing, 88 may not.
    enough = hours("2024-06-01", "2025-09-01")
    assert len(walk_forward_windows(enough, "1h", DEFAULT)) == 1
    (short,) = walk_forward_windows(enough[87:], "1h", DEFAULT)
    assert short.train_start == 0
    with pytest.raises(DataError):
        walk_forward_windows(enough[88:], "1h", DEFAULT)


def test_too_little_history_says_from_when_on_candles_are_needed():
    with pytest.raises(DataError, match="too little history") as error:
        walk_forward_windows(hours("2025-01-01", "2025-09-01"), "1h", DEFAULT)
    for told in ("2025-01-01", "2025-09-01", "2024-06-01", "12 training", "3 validation"):
        assert told in str(error.value)


def test_a_history_shorter_than_one_window_by_configuration_names_its_key():
    narrow = WalkForward(history_years=1, training_months=12, validation_months=3, step_months=3)
    with pytest.raises(DataError, match="history_years"):
        walk_forward_windows(FIVE_YEARS, "1h", narrow)


# --- the calendar ----------------------------------------------------------------------------


def test_months_that_lack_the_day_end_at_their_own_end():
    # The last candle closes at 2024-03-31 00:00; February 2024 has 29 days, November 30.
    geometry = WalkForward(history_years=1, training_months=2, validation_months=1, step_months=1)
    index = days("2023-11-30", "2024-03-31")
    windows = walk_forward_windows(index, "1d", geometry)
    assert [times(window) for window in windows] == [
        (utc("2023-11-30"), utc("2024-01-31"), utc("2024-02-29")),
        (utc("2023-12-31"), utc("2024-02-29"), utc("2024-03-31")),
    ]
    assert windows[0].validation_end == windows[1].train_end


def test_a_short_month_does_not_shift_the_borders_before_it():
    # Counted back from May 31 and not step by step, January keeps its 31st.
    geometry = WalkForward(history_years=1, training_months=1, validation_months=1, step_months=1)
    windows = walk_forward_windows(days("2023-05-31", "2024-05-31"), "1d", geometry)
    ends = {window.validation_end_time for window in windows}
    assert {utc("2024-02-29"), utc("2024-01-31"), utc("2023-12-31")} <= ends


def test_steps_shorter_than_the_validation_make_windows_overlap_by_request():
    geometry = WalkForward(history_years=1, training_months=6, validation_months=2, step_months=1)
    windows = walk_forward_windows(days("2024-01-01", "2025-01-01"), "1d", geometry)
    assert len(windows) == 5  # 8 to 12 months back
    assert windows[-2].validation_end_time == utc("2024-12-01")
    assert windows[-1].validation_start_time == utc("2024-11-01")


# --- the span to trade on --------------------------------------------------------------------


def test_the_newest_training_span_is_the_last_twelve_months():
    start, end = newest_training_span(FIVE_YEARS, "1h", DEFAULT)
    assert FIVE_YEARS[start] == utc("2024-09-01")
    assert end == len(FIVE_YEARS)


def test_the_newest_training_span_begins_at_the_first_candle_after_a_gap():
    missing = FIVE_YEARS.get_loc(utc("2024-09-01"))
    index = FIVE_YEARS.delete(missing)
    start, _ = newest_training_span(index, "1h", DEFAULT)
    assert index[start] == utc("2024-09-01T01:00")


# --- the purge -------------------------------------------------------------------------------


def test_only_samples_whose_label_was_known_at_the_windows_close_may_train():
    # The window is [2, 6): a label resolved by bar 5 is known at its end, one by bar 6 is not.
    resolved = np.array([1, 2, 3, 5, 6, 5, 7, 8])
    rows = training_rows(np.ones(8, dtype=np.bool_), resolved, 2, 6)
    assert rows.tolist() == [2, 3, 5]


def test_samples_in_warm_up_do_not_train():
    usable = np.array([False, False, True, True, True, True])
    rows = training_rows(usable, np.zeros(6, dtype=np.int64), 1, 5)
    assert rows.tolist() == [2, 3, 4]


def test_unresolved_labels_never_train():
    n = 4
    rows = training_rows(np.ones(n, dtype=np.bool_), np.full(n, n), 0, n)
    assert rows.tolist() == []
