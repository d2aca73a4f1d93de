"""Downloaded candles, in monthly files of a folder or a bucket."""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import ClassVar, NamedTuple

import pandas as pd

from store.candles import csv_gz, read_csv_gz, validated
from store.objects import Objects, open_objects
from strategy.candles import COLUMNS, candle_frame, find_gaps, timeframe_delta
from strategy.errors import ConfigError, DataError

_log = logging.getLogger(__name__)

_ANY_GAP = sys.maxsize
_MONTH = re.compile(r"\d{4}-\d{2}\.csv\.gz")
_ABSENT = "absent.json"


class Written(NamedTuple):
    """What :meth:`CandleArchive.write` changed."""

    added: int
    """Number of candles that were not there before."""
    revised: pd.DatetimeIndex
    """Open times (UTC) of candles that were there with other values."""


class Gap(NamedTuple):
    """A run of missing candles."""

    after: pd.Timestamp
    """Open time (UTC) of the candle before it."""
    missing_bars: int


@dataclass(frozen=True)
class CandleArchive:
    """Candles in monthly files ``ASSET/TIMEFRAME/YYYY-MM.csv.gz``.

    The files are CSV because pandas reads it without pyarrow, which does not fit into a
    Lambda; floats come back exactly as they were written. A file is replaced as a whole,
    so that a reader or a crash never sees half of one. Of two writers at once the later one
    wins a month: what the other one added is missing then, and downloaded again.

    Parameters
    ----------
    files
        Where the files are (:func:`open_archive`).
    name
        Of that place, for messages and the tracker.
    max_gap_bars
        Longest run of missing candles that ``load`` tolerates.
    """

    files: Objects
    name: str
    max_gap_bars: int

    synthetic: ClassVar[bool] = False

    def load(
        self, asset: str, timeframe: str, since: datetime | pd.Timestamp | None = None
    ) -> pd.DataFrame:
        """Return the candles as a candle frame.

        Parameters
        ----------
        since
            Earliest open time (UTC); months before it are not read. None: all.

        Raises
        ------
        ConfigError, DataError
            As :meth:`store.candles.CandleSource.load`; a damaged file is named.
        StoreError, RetryError
            The place cannot be read, or not now.
        """
        held = self._held(asset, timeframe, since)
        if held.empty:
            raise DataError(
                f"no {timeframe} candles of {asset} in {self.name}"
                f"{'' if since is None else f' since {since}'}; download them: "
                f"python -m store.download --asset {asset} --timeframe {timeframe} "
                f"--into {self.name}"
            )
        place = f"{self.name}/{asset}/{timeframe}"
        return validated(held, timeframe, self.max_gap_bars, place)

    def open_times(self, asset: str, timeframe: str) -> pd.DatetimeIndex:
        """Open times (UTC) of all candles held, in order; empty where there are none."""
        months = self._frames(self._months(asset, timeframe), timeframe)
        return pd.DatetimeIndex(_NO_TIMES.append([candles.index for candles in months]))

    def write(self, asset: str, timeframe: str, frame: pd.DataFrame) -> Written:
        """Add candles to those held; where one is already there, the later data wins.

        Parameters
        ----------
        frame
            Raw candles of any number of months, in order; gaps are no error here.

        Raises
        ------
        DataError
            For malformed candles (then nothing was written), or a damaged file.
        StoreError, RetryError
            The place cannot be written, or not now.
        """
        candles = candle_frame(frame, timeframe, max_gap_bars=_ANY_GAP)
        folder = _folder(asset, timeframe)
        added, revised = 0, candles.index[:0]
        for month, new in candles.groupby(pd.DatetimeIndex(candles.index).strftime("%Y-%m")):
            file = f"{folder}{month}.csv.gz"
            content = self.files.read(file)
            held = new.iloc[:0] if content is None else self._month(file, content, timeframe)
            common = held.index.intersection(new.index)
            differs = (held.loc[common] != new.loc[common]).any(axis=1)
            revised = revised.append(common[differs])
            added += len(new) - len(common)
            if len(new) > len(common) or differs.any():
                kept = held.loc[~held.index.isin(new.index)]
                self.files.replace(file, csv_gz(pd.concat([kept, new]).sort_index()))
        return Written(added, pd.DatetimeIndex(revised))

    def remove_before(self, asset: str, timeframe: str, moment: pd.Timestamp) -> list[str]:
        """Remove the months that end before a moment (UTC); returns their files' names."""
        over = [file for file in self._months(asset, timeframe) if _month_of(file) < _month(moment)]
        if over:
            self.files.delete(over)
            _log.info("removed from %s: %s", self.name, ", ".join(over))
        return over

    def absent(self, asset: str, timeframe: str) -> pd.DatetimeIndex:
        """Open times (UTC) of the candles that :meth:`set_absent` noted, in order."""
        file = _folder(asset, timeframe) + _ABSENT
        content = self.files.read(file)
        try:
            noted = [] if content is None else json.loads(content)
            times = pd.DatetimeIndex(pd.to_datetime(noted, format="ISO8601", utc=True))
        except (ValueError, TypeError) as error:
            _log.warning("%s/%s: cannot be read and is ignored: %s", self.name, file, error)
            return _NO_TIMES
        return times.as_unit("ns")

    def set_absent(self, asset: str, timeframe: str, times: pd.DatetimeIndex) -> None:
        """Note which candles the exchange has been found not to have, instead of those before."""
        if list(times) != list(self.absent(asset, timeframe)):
            noted = json.dumps([time.isoformat() for time in times], indent=0)
            self.files.replace(_folder(asset, timeframe) + _ABSENT, noted.encode())

    def _held(
        self, asset: str, timeframe: str, since: datetime | pd.Timestamp | None = None
    ) -> pd.DataFrame:
        files = self._months(asset, timeframe)
        if since is not None:
            files = [file for file in files if _month_of(file) >= _month(pd.Timestamp(since))]
        months = self._frames(files, timeframe)
        return pd.concat(months).loc[since:] if months else _NO_CANDLES

    def _frames(self, files: list[str], timeframe: str) -> list[pd.DataFrame]:
        contents = self.files.read_all(files)
        return [self._month(file, content, timeframe) for file, content in contents]

    def _months(self, asset: str, timeframe: str) -> list[str]:
        """Names of the monthly files, in order."""
        folder = _folder(asset, timeframe)
        names = [entry.name for entry in self.files.entries(folder)]
        return [name for name in names if _MONTH.fullmatch(name.removeprefix(folder))]

    def _month(self, file: str, content: bytes, timeframe: str) -> pd.DataFrame:
        """A monthly file as it was written; DataError naming it when it was damaged since."""
        return _read_month(content, f"{self.name}/{file}", timeframe)


def open_archive(place: str | Path, max_gap_bars: int) -> CandleArchive:
    """The archive in a folder, which the first write makes, or at ``s3://bucket/prefix``.

    Raises
    ------
    ConfigError
        For a bucket that is not named.
    """
    name = str(place).rstrip("/") or "/"
    return CandleArchive(open_objects(name), name, max_gap_bars)


def gaps_between(times: pd.DatetimeIndex, timeframe: str) -> list[Gap]:
    """The gaps between candles that open at these times, in order."""
    found = find_gaps(pd.DataFrame(index=times), timeframe)
    missing_bars = found["missing_bars"].tolist()
    return list(map(Gap, pd.DatetimeIndex(found["after"]), missing_bars))


def gap_times(gaps: Iterable[Gap], timeframe: str) -> pd.DatetimeIndex:
    """Open times (UTC) of the candles that are missing in gaps."""
    delta = timeframe_delta(timeframe)
    times = [gap.after + delta * bar for gap in gaps for bar in range(1, gap.missing_bars + 1)]
    return pd.DatetimeIndex(times, dtype=_NO_TIMES.dtype)


@lru_cache(maxsize=256)
def _read_month(content: bytes, place: str, timeframe: str) -> pd.DataFrame:
    """The candles of a monthly file, not to be changed: years of them are read every day."""
    try:
        return candle_frame(read_csv_gz(content, place), timeframe, max_gap_bars=_ANY_GAP)
    except DataError as error:
        said = str(error) if place in str(error) else f"{place}: {error}"
        raise DataError(f"{said}; delete this file and download it again") from error


def _folder(asset: str, timeframe: str) -> str:
    timeframe_delta(timeframe)
    if not asset.isalnum():  # it becomes a folder's name
        raise ConfigError(f"unknown asset {asset!r}: letters and digits only, as BTCUSDT")
    return f"{asset}/{timeframe}/"


def _month_of(file: str) -> str:
    return file.rpartition("/")[2].removesuffix(".csv.gz")


def _month(moment: pd.Timestamp) -> str:
    return f"{moment.tz_convert('UTC'):%Y-%m}"


_NO_TIMES = pd.DatetimeIndex([], dtype="datetime64[ns, UTC]", name="timestamp")
_NO_CANDLES = pd.DataFrame(
    {column: pd.Series(dtype="float64") for column in COLUMNS}, index=_NO_TIMES
)
