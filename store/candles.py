"""Where candles come from: the port, a file of the user's own, and a folder of monthly files."""

from __future__ import annotations

import io
import os
import sys
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple, Protocol

import pandas as pd

from strategy.candles import COLUMNS, candle_frame, timeframe_delta
from strategy.errors import ConfigError, DataError, FixError, StoreError

CSV_SUFFIXES = (".csv", ".csv.gz")
SUFFIXES = (".parquet", *CSV_SUFFIXES)

_ZONED = r"(?:Z|[+-]\d{2}:?\d{2})$"
_EPOCH_MS = (10**11, 10**13)  # 1973 to 2286: what lies outside counts seconds or microseconds
_ANY_GAP = sys.maxsize
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
        return _validated(_read(self.path), timeframe, self.max_gap_bars, str(self.path))


class Written(NamedTuple):
    """What :meth:`CandleFolder.write` changed."""

    added: int
    """Number of candles that were not there before."""
    revised: pd.DatetimeIndex
    """Open times (UTC) of candles that were there with other values."""


@dataclass(frozen=True)
class CandleFolder:
    """Candles in monthly files ``ROOT/ASSET/TIMEFRAME/YYYY-MM.csv.gz``.

    The files are CSV because pandas reads it without pyarrow, which does not fit into a
    Lambda; floats come back exactly as they were written. A file is replaced as a whole,
    so that a reader or a crash never sees half of one. There may be one writer at a time.

    Parameters
    ----------
    root
        The folder; made by the first write.
    max_gap_bars
        Longest run of missing candles that ``load`` tolerates.
    """

    root: Path
    max_gap_bars: int

    synthetic: ClassVar[bool] = False

    @property
    def name(self) -> str:
        return str(self.root)

    def load(self, asset: str, timeframe: str) -> pd.DataFrame:
        held = self._held(asset, timeframe)
        if held.empty:
            raise DataError(
                f"no {timeframe} candles of {asset} under {self.root}; download them: "
                f"python -m store.binance --asset {asset} --timeframe {timeframe} "
                f"--into {self.root}"
            )
        return _validated(held, timeframe, self.max_gap_bars, str(self.root / asset / timeframe))

    def open_times(self, asset: str, timeframe: str) -> pd.DatetimeIndex:
        """Open times (UTC) of all candles held, in order; empty where there are none."""
        return pd.DatetimeIndex(self._held(asset, timeframe).index)

    def write(self, asset: str, timeframe: str, frame: pd.DataFrame) -> Written:
        """Add candles to those held; where one is already there, the later data wins.

        Parameters
        ----------
        frame
            Raw candles of any number of months, in order; gaps are no error here.

        Raises
        ------
        DataError
            For malformed candles; then nothing was written.
        StoreError
            When the folder cannot be written.
        """
        candles = candle_frame(frame, timeframe, max_gap_bars=_ANY_GAP)
        folder = self._folder(asset, timeframe)
        added, revised = 0, candles.index[:0]
        for month, new in candles.groupby(pd.DatetimeIndex(candles.index).strftime("%Y-%m")):
            path = folder / f"{month}.csv.gz"
            held = _read_month(path, timeframe) if path.exists() else new.iloc[:0]
            common = held.index.intersection(new.index)
            differs = (held.loc[common] != new.loc[common]).any(axis=1)
            revised = revised.append(common[differs])
            added += len(new) - len(common)
            if len(new) > len(common) or differs.any():
                kept = held.loc[~held.index.isin(new.index)]
                _replace(path, pd.concat([kept, new]).sort_index())
        return Written(added, pd.DatetimeIndex(revised))

    def _folder(self, asset: str, timeframe: str) -> Path:
        timeframe_delta(timeframe)
        if not asset.isalnum():  # it becomes a folder's name
            raise ConfigError(f"unknown asset {asset!r}: letters and digits only, as BTCUSDT")
        return self.root / asset / timeframe

    def _held(self, asset: str, timeframe: str) -> pd.DataFrame:
        files = sorted(self._folder(asset, timeframe).glob("*.csv.gz"))
        months = [_read_month(file, timeframe) for file in files]
        return pd.concat(months) if months else _NO_CANDLES


def csv_gz(candles: pd.DataFrame) -> bytes:
    """Candles as a ``.csv.gz`` file; the same candles always make the same bytes."""
    file = io.BytesIO()
    candles.to_csv(
        file,
        date_format="%Y-%m-%dT%H:%M:%SZ",
        compression={"method": "gzip", "mtime": 0},  # no time of writing in its header
    )
    return file.getvalue()


_NO_CANDLES = pd.DataFrame(
    {column: pd.Series(dtype="float64") for column in COLUMNS},
    index=pd.DatetimeIndex([], dtype="datetime64[ns, UTC]", name="timestamp"),
)


def _validated(raw: pd.DataFrame, timeframe: str, max_gap_bars: int, source: str) -> pd.DataFrame:
    """The candle frame, with errors that name the source."""
    try:
        return candle_frame(raw, timeframe, max_gap_bars=max_gap_bars)
    except DataError as error:
        raise DataError(f"{source}: {error}") from error


def _read_month(path: Path, timeframe: str) -> pd.DataFrame:
    """A monthly file as it was written; DataError naming it when it was damaged since."""
    try:
        return candle_frame(_read(path), timeframe, max_gap_bars=_ANY_GAP)
    except DataError as error:
        raise DataError(f"{path}: {error}; delete this file and download it again") from error


def _read(path: Path) -> pd.DataFrame:
    if not path.name.endswith(SUFFIXES):
        raise ConfigError(f"{path}: unknown kind of candle file; known are {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise DataError(f"{path}: there is no such file")
    is_csv = path.name.endswith(CSV_SUFFIXES)
    try:
        raw = pd.read_csv(path) if is_csv else pd.read_parquet(path)
    except ImportError as error:
        raise FixError(f"{path}: Parquet needs pyarrow; install it or use .csv.gz") from error
    except _UNREADABLE as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    if is_csv:
        _refuse_text(raw, path)
    return raw.assign(timestamp=_times(raw["timestamp"], path)) if "timestamp" in raw else raw


def _refuse_text(raw: pd.DataFrame, path: Path) -> None:
    """Name the line of a price or volume that is not a number."""
    for column in raw.columns.intersection(list(COLUMNS)):
        wrong = pd.to_numeric(raw[column], errors="coerce").isna() & raw[column].notna()
        if wrong.any():
            raise DataError(f"{_line(path, wrong)}: {column} is {raw[column][wrong].iloc[0]!r}")


def _times(column: pd.Series, path: Path) -> pd.Series:
    if pd.api.types.is_datetime64_any_dtype(column):
        return column
    if column.isna().any():
        raise DataError(f"{_line(path, column.isna())}: timestamp is missing")
    if pd.api.types.is_numeric_dtype(column):
        beyond = ~column.between(*_EPOCH_MS)
        if beyond.any():
            raise DataError(
                f"{_line(path, beyond)}: timestamp {column[beyond].iloc[0]} is not in milliseconds "
                "since 1970"
            )
        return pd.to_datetime(column, unit="ms", utc=True)
    text = column.astype(str)
    naive = ~text.str.contains(_ZONED)
    unknown = pd.to_datetime(text, format="ISO8601", utc=True, errors="coerce").isna()
    if unknown.any():
        raise DataError(f"{_line(path, unknown)}: {text[unknown].iloc[0]!r} is not a timestamp")
    if naive.any():
        raise DataError(
            f"{_line(path, naive)}: timestamp {text[naive].iloc[0]!r} has no time zone; "
            "give UTC times (for example 2024-01-01T00:00:00Z)"
        )
    return pd.to_datetime(text, format="ISO8601", utc=True)


def _line(path: Path, wrong: pd.Series) -> str:
    """The first row at fault as an editor numbers it: row 0 stands below the header."""
    row = int(wrong.to_numpy().argmax())
    where = f"line {row + 2}" if path.name.endswith(CSV_SUFFIXES) else f"row {row}"
    return f"{path}, {where}"


def _replace(path: Path, candles: pd.DataFrame) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            file.write(csv_gz(candles))
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        raise StoreError(
            f"cannot write {path}: {error.strerror or error}; free or unlock the folder"
        ) from error
    finally:
        with suppress(OSError):  # it is gone, or never was: what matters was raised above
            part.unlink()
