"""The candle frame: its schema, validation, gap policy, resampling and digest.

A candle frame is a :class:`pandas.DataFrame` with a strictly increasing UTC
``DatetimeIndex`` named ``timestamp`` (the candle's *open* time, nanoseconds) and the
float64 columns ``open high low close`` (price) and ``volume`` (base asset). It holds real
candles only: a missing candle is a gap, reported and never filled.
"""

from __future__ import annotations

import hashlib
from functools import cache

import numpy as np
import pandas as pd

from strategy.errors import ConfigError, DataError

COLUMNS = ("open", "high", "low", "close", "volume")
_MINUTES = {
    "1m": 1, "3m": 3, "5m": 5, "15m": 15, "30m": 30, "1h": 60, "2h": 120,
    "4h": 240, "6h": 360, "8h": 480, "12h": 720, "1d": 1440,
}  # fmt: skip


@cache
def timeframe_delta(timeframe: str) -> pd.Timedelta:
    """Duration of one candle; ConfigError for a timeframe that is not known."""
    if timeframe not in _MINUTES:
        raise ConfigError(f"unknown timeframe {timeframe!r}; known are {', '.join(_MINUTES)}")
    return pd.Timedelta(minutes=_MINUTES[timeframe])


def candle_frame(raw: pd.DataFrame, timeframe: str, *, max_gap_bars: int) -> pd.DataFrame:
    """Validate raw candles and return them as a candle frame.

    Parameters
    ----------
    raw
        OHLCV columns, with the open time either as a ``timestamp`` column or as the index.
        Naive times are refused: nothing says that they are UTC.
    timeframe
        For example ``1h``; open times must lie on its grid.
    max_gap_bars
        Longest run of missing candles that is tolerated.

    Raises
    ------
    DataError
        Naming the column, or the first timestamp (and how many rows) at fault.
    """
    frame = _with_time_index(raw)
    missing = [column for column in COLUMNS if column not in frame.columns]
    if missing:
        raise DataError(
            f"candles lack the column(s) {', '.join(missing)}; "
            f"found {', '.join(map(str, frame.columns))}"
        )
    frame = frame.loc[:, list(COLUMNS)]
    if frame.empty:
        raise DataError("candles are empty: there is not one row")
    for column in COLUMNS:
        if not pd.api.types.is_numeric_dtype(frame[column]) or frame[column].dtype == bool:
            raise DataError(f"column {column} is of type {frame[column].dtype}; numbers are needed")
    frame = frame.astype(np.float64)
    _check_times(open_times(frame), timeframe)
    _check_values(frame)
    gaps = find_gaps(frame, timeframe)
    too_long = gaps[gaps["missing_bars"] > max_gap_bars]
    if not too_long.empty:
        worst = too_long.iloc[0]
        raise DataError(
            f"gap of {worst.missing_bars} bars after {_utc(worst.after)}, longer than "
            f"candles.max_gap_bars = {max_gap_bars} ({len(too_long)} such gaps): "
            "download the missing candles or raise the limit"
        )
    return frame


def open_times(frame: pd.DataFrame) -> pd.DatetimeIndex:
    """Open times of a candle frame, UTC, in nanoseconds."""
    return pd.DatetimeIndex(frame.index).as_unit("ns")


def find_gaps(frame: pd.DataFrame, timeframe: str) -> pd.DataFrame:
    """Gaps, one row each: ``after`` and ``before`` (open times), ``missing_bars``."""
    times = open_times(frame)
    steps = np.diff(times.asi8) // timeframe_delta(timeframe).value
    at = np.flatnonzero(steps != 1)
    return pd.DataFrame(
        {
            "after": times[at],
            "before": times[at + 1],
            "missing_bars": steps[at] - 1,
        }
    )


def resample(frame: pd.DataFrame, timeframe: str, target: str) -> pd.DataFrame:
    """Aggregate a candle frame to a coarser timeframe, on UTC midnight's grid.

    Only complete target candles are kept: one whose source candles are not all there is a
    gap of the result, because its extremes are not known.
    """
    source, wanted = timeframe_delta(timeframe), timeframe_delta(target)
    if wanted % source != pd.Timedelta(0):
        raise ConfigError(f"cannot resample {timeframe} candles to {target}: not a multiple")
    groups = frame.groupby(open_times(frame).floor(wanted))
    result = groups.agg(
        {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}
    )
    complete = groups.size() == int(wanted // source)
    result = result[complete]
    result.index.name = "timestamp"
    return result


def digest(frame: pd.DataFrame) -> str:
    """SHA-256 over times and values: two frames with the same candles have the same digest."""
    hasher = hashlib.sha256()
    hasher.update(np.ascontiguousarray(open_times(frame).asi8, dtype="<i8").tobytes())
    for column in COLUMNS:
        hasher.update(np.ascontiguousarray(frame[column].to_numpy(), dtype="<f8").tobytes())
    return hasher.hexdigest()


def _with_time_index(raw: pd.DataFrame) -> pd.DataFrame:
    frame = raw.set_index("timestamp") if "timestamp" in raw.columns else raw
    if not isinstance(frame.index, pd.DatetimeIndex):
        raise DataError(
            "candles lack the column timestamp (UTC open time); "
            f"found {', '.join(map(str, raw.columns))} and an index of type {frame.index.dtype}"
        )
    if frame.index.hasnans:
        row = int(np.flatnonzero(frame.index.isna())[0])
        raise DataError(f"timestamp is missing in row {row}")
    if frame.index.tz is None:
        raise DataError(
            "timestamp has no time zone; give UTC times (for example 2024-01-01T00:00:00Z)"
        )
    index = frame.index.tz_convert("UTC").as_unit("ns").rename("timestamp")
    return frame.set_axis(index, axis=0)


def _check_times(times: pd.DatetimeIndex, timeframe: str) -> None:
    if times.has_duplicates:
        duplicated = times[times.duplicated()]
        raise DataError(f"duplicate candle at {_utc(duplicated[0])} ({len(duplicated)} in all)")
    if not times.is_monotonic_increasing:
        at = int(np.flatnonzero(times[1:] < times[:-1])[0]) + 1
        raise DataError(
            f"candles are not in order: {_utc(times[at])} follows {_utc(times[at - 1])}"
        )
    off_grid = times[times.floor(timeframe_delta(timeframe)) != times]
    if len(off_grid):
        raise DataError(
            f"candle at {_utc(off_grid[0])} does not open on the {timeframe} grid "
            f"({len(off_grid)} in all): is this another timeframe?"
        )
    # Coarser candles lie on the grid of finer ones and would pass for candles with gaps.
    closest = times.to_series().diff().min()
    if len(times) > 2 and closest > timeframe_delta(timeframe):
        raise DataError(
            f"no two candles lie closer than {closest}: they are not {timeframe} candles; give "
            "their own timeframe"
        )


def _check_values(frame: pd.DataFrame) -> None:
    for column in COLUMNS:
        values = frame[column]
        _refuse(frame, ~np.isfinite(values), f"{column} is NaN or infinite")
        if column == "volume":
            _refuse(frame, values < 0, "volume is negative")
        else:
            _refuse(frame, values <= 0, f"{column} is not positive")
    _refuse(frame, frame["high"] < frame["low"], "high lies below low")
    for column in ("open", "close"):
        _refuse(frame, frame[column] > frame["high"], f"{column} lies above high")
        _refuse(frame, frame[column] < frame["low"], f"{column} lies below low")


def _refuse(frame: pd.DataFrame, wrong: pd.Series, what: str) -> None:
    if wrong.any():
        first = frame.index[int(np.argmax(wrong))]
        raise DataError(f"{what} in the candle of {_utc(first)} ({int(wrong.sum())} in all)")


def _utc(time: pd.Timestamp) -> str:
    return f"{time:%Y-%m-%d %H:%M:%SZ}"
