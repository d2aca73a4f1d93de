"""Where candles come from: the port, and a file of the user's own."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np
import pandas as pd

from strategy.candles import COLUMNS, candle_frame, open_times, timeframe_delta
from strategy.errors import ConfigError, DataError, FixError

CSV_SUFFIXES = (".csv", ".csv.gz")
SUFFIXES = (".parquet", *CSV_SUFFIXES)

_ZONED = r"(?:Z|[+-]\d{2}:?\d{2})$"
_EPOCH_MS = (10**11, 10**13)  # 1973 to 2286: what lies outside counts seconds or microseconds
_UNREADABLE = (OSError, EOFError, ValueError, zlib.error)  # what pandas raises on a bad file


class CandleSource(Protocol):
    """Gives the candles of an asset; one contract suite holds for every implementation."""

    @property
    def name(self) -> str:
        """What the tracker shows as the dataset's source."""

    @property
    def synthetic(self) -> bool:
        """Whether the candles are generated; then everything made from them says so."""

    def load(self, asset: str, timeframe: str) -> pd.DataFrame:
        """Return all closed candles that the source has, as a candle frame.

        Raises
        ------
        ConfigError
            For an asset or timeframe that the source does not know.
        DataError
            For candles that are missing or malformed, naming the place.
        """


@dataclass(frozen=True)
class CandleFile:
    """Candles in one file: ``.parquet``, ``.csv`` or ``.csv.gz``.

    It needs the columns ``timestamp open high low close volume`` (others are ignored; in
    Parquet the time may be the index). ``timestamp`` is the open time: ISO 8601 with a zone
    (``2024-01-01T00:00:00Z``) or an integer, which counts milliseconds since 1970 UTC.
    A file does not say whose candles it holds, so ``load`` gives them for any asset.

    Parameters
    ----------
    path
        The file.
    max_gap_bars
        Longest run of missing candles that is tolerated.
    """

    path: Path
    max_gap_bars: int

    synthetic: ClassVar[bool] = False

    @property
    def name(self) -> str:
        return self.path.name

    def load(self, asset: str, timeframe: str) -> pd.DataFrame:
        timeframe_delta(timeframe)
        return validated(_read_file(self.path), timeframe, self.max_gap_bars, str(self.path))


def csv_gz(candles: pd.DataFrame) -> bytes:
    """Candles as a ``.csv.gz`` file; the same candles always make the same bytes."""
    # A third of the time of pandas' own writer and its level 9, and no larger.
    times = np.datetime_as_string(open_times(candles).tz_localize(None).to_numpy(), unit="s")
    figures = (map(repr, candles[name].tolist()) for name in COLUMNS)
    header = ",".join((str(candles.index.name), *COLUMNS))
    rows = map(",".join, zip((f"{time}Z" for time in times), *figures, strict=True))
    text = "\n".join((header, *rows, ""))
    return gzip.compress(text.encode(), compresslevel=6, mtime=0)  # no time of writing


def validated(raw: pd.DataFrame, timeframe: str, max_gap_bars: int, source: str) -> pd.DataFrame:
    """The candle frame, with errors that name the source."""
    try:
        return candle_frame(raw, timeframe, max_gap_bars=max_gap_bars)
    except DataError as error:
        raise DataError(f"{source}: {error}") from error


def read_csv_gz(content: bytes, place: str) -> pd.DataFrame:
    """Raw candles of a ``.csv.gz`` file; DataError naming the place if they cannot be read."""
    return _read(lambda: pd.read_csv(io.BytesIO(content), compression="gzip"), place)


def _read_file(path: Path) -> pd.DataFrame:
    if not path.name.endswith(SUFFIXES):
        raise ConfigError(f"{path}: unknown kind of candle file; known are {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise DataError(f"{path}: there is no such file")
    read = pd.read_csv if _is_csv(path.name) else pd.read_parquet
    try:
        return _read(lambda: read(path), str(path))
    except ImportError as error:
        raise FixError(f"{path}: Parquet needs pyarrow; install it or use .csv.gz") from error


def _read(read: Callable[[], pd.DataFrame], place: str) -> pd.DataFrame:
    try:
        raw = read()
    except _UNREADABLE as error:
        raise DataError(f"{place}: cannot be read: {error}") from error
    if _is_csv(place):
        _refuse_text(raw, place)
    return raw.assign(timestamp=_times(raw["timestamp"], place)) if "timestamp" in raw else raw


def _is_csv(place: str) -> bool:
    return place.endswith(CSV_SUFFIXES)


def _refuse_text(raw: pd.DataFrame, place: str) -> None:
    """Name the line of a price or volume that is not a number."""
    for column in raw.columns.intersection(list(COLUMNS)):
        wrong = pd.to_numeric(raw[column], errors="coerce").isna() & raw[column].notna()
        if wrong.any():
            raise DataError(f"{_line(place, wrong)}: {column} is {raw[column][wrong].iloc[0]!r}")


def _times(column: pd.Series, place: str) -> pd.Series:
    if pd.api.types.is_datetime64_any_dtype(column):
        return column
    if column.isna().any():
        raise DataError(f"{_line(place, column.isna())}: timestamp is missing")
    if pd.api.types.is_numeric_dtype(column):
        beyond = ~column.between(*_EPOCH_MS)
        if beyond.any():
            raise DataError(
                f"{_line(place, beyond)}: timestamp {column[beyond].iloc[0]} is not in "
                "milliseconds since 1970"
            )
        return pd.to_datetime(column, unit="ms", utc=True)
    text = column.astype(str)
    naive = ~text.str.contains(_ZONED)
    times = pd.to_datetime(text, format="ISO8601", utc=True, errors="coerce")
    unknown = times.isna()
    if unknown.any():
        raise DataError(f"{_line(place, unknown)}: {text[unknown].iloc[0]!r} is not a timestamp")
    if naive.any():
        raise DataError(
            f"{_line(place, naive)}: timestamp {text[naive].iloc[0]!r} has no time zone; "
            "give UTC times (for example 2024-01-01T00:00:00Z)"
        )
    return times


def _line(place: str, wrong: pd.Series) -> str:
    """The first row at fault as an editor numbers it: row 0 stands below the header."""
    row = int(wrong.to_numpy().argmax())
    where = f"line {row + 2}" if _is_csv(place) else f"row {row}"
    return f"{place}, {where}"
