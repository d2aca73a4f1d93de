from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from strategy.candles import COLUMNS, candle_frame, digest, find_gaps, resample, timeframe_delta
from strategy.errors import ConfigError, DataError


def hours(n: int, start: str = "2024-01-01T00:00Z") -> pd.DataFrame:
    """n hourly candles that rise by 1 each: open 100, 101, ...; volume 1, 2, ..."""
    open_ = 100.0 + np.arange(n)
    return pd.DataFrame(
        {
            "timestamp": pd.date_range(start, periods=n, freq="1h"),
            "open": open_,
            "high": open_ + 2.0,
            "low": open_ - 1.0,
            "close": open_ + 1.0,
            "volume": 1.0 + np.arange(n),
        }
    )


def frame_of(raw: pd.DataFrame, timeframe: str = "1h", max_gap_bars: int = 24) -> pd.DataFrame:
    return candle_frame(raw, timeframe, max_gap_bars=max_gap_bars)


def with_value(column: str, value: float) -> pd.DataFrame:
    """Five candles of which the one of 03:00 has one value replaced."""
    raw = hours(5)
    raw.loc[3, column] = value
    return raw


def test_a_valid_frame_has_a_utc_index_in_nanoseconds_and_five_float_columns():
    frame = frame_of(hours(3).assign(volume=[1, 2, 3], trades=[7, 8, 9]))
    assert tuple(frame.columns) == COLUMNS
    assert (frame.dtypes == np.float64).all()
    assert frame.index.name == "timestamp"
    assert str(frame.index.dtype) == "datetime64[ns, UTC]"


def test_times_may_be_the_index_and_in_another_zone():
    raw = hours(3).set_index("timestamp")
    elsewhere = raw.tz_convert("America/Sao_Paulo")
    pd.testing.assert_frame_equal(frame_of(elsewhere), frame_of(raw))


def test_a_frame_passes_through_its_own_validation_unchanged():
    frame = frame_of(hours(4))
    pd.testing.assert_frame_equal(frame_of(frame), frame)


def test_the_callers_frame_is_left_alone():
    raw = hours(3)
    before = raw.copy()
    frame_of(raw)
    pd.testing.assert_frame_equal(raw, before)


def test_missing_columns_are_named():
    with pytest.raises(DataError, match=r"lack the column\(s\) high, volume"):
        frame_of(hours(3).drop(columns=["high", "volume"]))


def test_missing_times_are_named():
    with pytest.raises(DataError, match="lack the column timestamp"):
        frame_of(hours(3).drop(columns="timestamp"))


def test_no_rows_at_all_is_an_error():
    with pytest.raises(DataError, match="empty"):
        frame_of(hours(0))


@pytest.mark.parametrize("values", [["1", "2", "3"], [True, False, True]])
def test_a_column_of_the_wrong_type_is_named(values: list[object]):
    with pytest.raises(DataError, match="column close is of type"):
        frame_of(hours(3).assign(close=values))


def test_naive_times_are_refused_because_nothing_says_they_are_utc():
    raw = hours(3)
    raw["timestamp"] = raw["timestamp"].dt.tz_localize(None)
    with pytest.raises(DataError, match="no time zone"):
        frame_of(raw)


def test_a_missing_time_is_reported_with_its_row():
    raw = hours(4)
    raw.loc[2, "timestamp"] = pd.NaT
    with pytest.raises(DataError, match="missing in row 2"):
        frame_of(raw)


def test_a_duplicate_candle_is_reported_with_its_time():
    raw = hours(4).iloc[[0, 1, 1, 2]]
    with pytest.raises(DataError, match="duplicate candle at 2024-01-01 01:00:00Z"):
        frame_of(raw)


def test_candles_out_of_order_are_reported_where_time_first_runs_back():
    raw = hours(4).iloc[[0, 2, 1, 3]]
    with pytest.raises(DataError, match="01:00:00Z follows 2024-01-01 02:00:00Z"):
        frame_of(raw)


def test_a_candle_off_the_grid_is_reported():
    raw = hours(3)
    raw.loc[1, "timestamp"] += pd.Timedelta(minutes=1)
    with pytest.raises(DataError, match=r"2024-01-01 01:01:00Z does not open on the 1h grid"):
        frame_of(raw)


@pytest.mark.parametrize(
    ("column", "value", "complaint"),
    [
        ("open", np.nan, "open is NaN or infinite"),
        ("close", np.inf, "close is NaN or infinite"),
        ("volume", np.nan, "volume is NaN or infinite"),
        ("low", 0.0, "low is not positive"),
        ("low", -5.0, "low is not positive"),
        ("volume", -1.0, "volume is negative"),
        ("high", 101.0, "high lies below low"),
        ("open", 106.0, "open lies above high"),
        ("open", 101.0, "open lies below low"),
        ("close", 106.0, "close lies above high"),
        ("close", 101.0, "close lies below low"),
    ],
)
def test_an_impossible_value_is_reported_with_the_time_of_its_candle(
    column: str, value: float, complaint: str
):
    # The candle of 03:00 has open 103, high 105, low 102, close 104.
    with pytest.raises(DataError, match=f"{complaint} in the candle of 2024-01-01 03:00:00Z"):
        frame_of(with_value(column, value))


def test_a_candle_without_volume_is_real():
    assert frame_of(with_value("volume", 0.0))["volume"].iloc[3] == 0.0


def test_a_gap_is_kept_as_a_gap_and_reported():
    frame = frame_of(hours(10).drop(index=[3, 4, 7]))
    assert len(frame) == 7
    gaps = find_gaps(frame, "1h")
    assert gaps["missing_bars"].tolist() == [2, 1]
    assert gaps["after"].dt.hour.tolist() == [2, 6]
    assert gaps["before"].dt.hour.tolist() == [5, 8]


def test_a_frame_without_gaps_reports_none():
    assert find_gaps(frame_of(hours(5)), "1h").empty


def test_a_gap_of_exactly_the_limit_passes_and_one_more_bar_does_not():
    raw = hours(10).drop(index=[3, 4])
    assert len(frame_of(raw, max_gap_bars=2)) == 8
    with pytest.raises(DataError, match=r"gap of 2 bars after 2024-01-01 02:00:00Z.*max_gap_bars"):
        frame_of(raw, max_gap_bars=1)


def test_resampling_takes_first_highest_lowest_last_and_sum():
    coarse = resample(frame_of(hours(8)), "1h", "4h")
    assert coarse.index.hour.tolist() == [0, 4]
    assert coarse.iloc[0].tolist() == [100.0, 105.0, 99.0, 104.0, 1.0 + 2.0 + 3.0 + 4.0]
    assert coarse.iloc[1].tolist() == [104.0, 109.0, 103.0, 108.0, 5.0 + 6.0 + 7.0 + 8.0]


def test_resampling_drops_what_it_knows_only_in_part():
    raw = hours(16, start="2024-01-01T02:00Z").drop(index=[7])
    coarse = resample(frame_of(raw), "1h", "4h")
    # 00:00 lacks its first two hours, 08:00 lacks 09:00, 16:00 its last two.
    assert coarse.index.hour.tolist() == [4, 12]
    assert frame_of(coarse, "4h").equals(coarse)


def test_resampling_to_what_is_no_multiple_is_refused():
    frame = frame_of(hours(8))
    with pytest.raises(ConfigError, match="cannot resample 1h candles to 30m"):
        resample(frame, "1h", "30m")


def test_an_unknown_timeframe_is_named_with_those_that_are_known():
    assert timeframe_delta("4h") == pd.Timedelta(hours=4)
    with pytest.raises(ConfigError, match=r"unknown timeframe '7h'.*1h, 2h, 4h"):
        timeframe_delta("7h")


def test_the_digest_is_that_of_the_candles_and_changes_with_any_of_them():
    frame = frame_of(hours(6))
    assert digest(frame) == digest(frame_of(hours(6).set_index("timestamp")))
    shifted = frame.set_axis(frame.index + pd.Timedelta(hours=1), axis=0)
    assert digest(shifted) != digest(frame)
    for column in COLUMNS:
        changed = frame.copy()
        changed.iloc[4, changed.columns.get_loc(column)] += 1e-9
        assert digest(changed) != digest(frame), column
