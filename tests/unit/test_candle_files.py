"""Candles in a file of the user's own."""

from __future__ import annotations

import gzip
from pathlib import Path

import pandas as pd
import pytest

from store.candles import CandleFile, csv_gz
from strategy.errors import ConfigError, DataError, FixError
from tests.candle_frames import candles, same

ASSET = "BTCUSDT"
HEADER = "timestamp,open,high,low,close,volume\n"


def load(path: Path, timeframe: str = "1h", max_gap_bars: int = 24) -> pd.DataFrame:
    return CandleFile(path, max_gap_bars).load(ASSET, timeframe)


def csv(tmp_path: Path, rows: str, header: str = HEADER) -> Path:
    path = tmp_path / "mine.csv"
    path.write_text(header + rows)
    return path


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".csv.gz"])
@pytest.mark.parametrize("time_is_index", [True, False])
def test_a_file_gives_back_the_exact_candles(
    suffix: str, time_is_index: bool, tmp_path: Path
) -> None:
    path = tmp_path / f"mine{suffix}"
    frame = candles() if time_is_index else candles().reset_index()
    if suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=time_is_index)
    same(load(path), candles())
    assert CandleFile(path, 24).name == path.name


def test_other_columns_are_ignored(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    candles().assign(trades=7).to_csv(path)
    same(load(path), candles())


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_integer_timestamps_count_milliseconds(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"mine{suffix}"
    frame = candles().reset_index()
    frame["timestamp"] = frame["timestamp"].astype("int64") // 10**6
    frame.to_csv(path, index=False) if suffix == ".csv" else frame.to_parquet(path)
    same(load(path), candles())


@pytest.mark.parametrize("timestamp", ["1704067200", "1704067200000000"])
def test_timestamps_in_seconds_or_microseconds_are_refused(timestamp: str, tmp_path: Path) -> None:
    path = csv(tmp_path, f"1704063600000,1,1,1,1,1\n{timestamp},1,1,1,1,1\n")
    with pytest.raises(DataError, match=f"line 3: timestamp {timestamp} is not in milliseconds"):
        load(path)


def test_times_of_other_zones_become_utc(tmp_path: Path) -> None:
    path = csv(
        tmp_path,
        "2024-03-31T01:00:00+01:00,1,1,1,1,1\n2024-03-31T03:00:00+02:00,1,1,1,1,1\n",
    )
    hours = pd.date_range("2024-03-31T00:00:00Z", periods=2, freq="h", name="timestamp", unit="ns")
    assert load(path).index.equals(hours)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            "2024-01-01T00:00:00Z,1,1,1,1,1\n2024-01-01 01:00:00,1,1,1,1,1\n",
            r"mine\.csv, line 3: timestamp '2024-01-01 01:00:00' has no time zone",
        ),
        ("2024-01-01,1,1,1,1,1\n", "line 2: timestamp '2024-01-01' has no time zone"),
        ("noon,1,1,1,1,1\n", "line 2: 'noon' is not a timestamp"),
        (
            "2024-01-01T00:00:00Z,1,1,1,1,1\n,1,1,1,1,1\n",
            "line 3: timestamp is missing",
        ),
        (
            "2024-01-01T00:00:00Z,1,1,1,1,1\n2024-01-01T01:00:00Z,1,1,1,n/k,1\n",
            "line 3: close is 'n/k'",
        ),
        ("2024-01-01T00:00:00Z,1,1,1,,1\n", "close is NaN .* 2024-01-01 00:00:00Z"),
        ("2024-01-01T00:00:00Z,1,1,2,1,1\n", "high lies below low .* 2024-01-01 00:00:00Z"),
        ("", "candles are empty"),
    ],
)
def test_what_is_wrong_in_a_csv_is_named_with_its_place(
    rows: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        load(csv(tmp_path, rows))
    assert "mine.csv" in str(caught.value)


def test_missing_columns_are_named(tmp_path: Path) -> None:
    path = csv(tmp_path, "2024-01-01T00:00:00Z,1,1\n", header="timestamp,open,close\n")
    with pytest.raises(DataError, match=r"mine\.csv.*high, low, volume"):
        load(path)
    path = csv(tmp_path, "1,1,1,1,1\n", header="open,high,low,close,volume\n")
    with pytest.raises(DataError, match=r"mine\.csv.*timestamp"):
        load(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.csv: there is no such file"):
        load(tmp_path / "nowhere.csv")


def test_an_unknown_kind_of_file_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"mine\.xlsx.*\.parquet, \.csv, \.csv\.gz"):
        load(tmp_path / "mine.xlsx")


@pytest.mark.parametrize("name", ["mine.parquet", "mine.csv", "mine.csv.gz"])
@pytest.mark.parametrize("content", [b"", b"\x00\xff\xfe not candles"])
def test_an_unreadable_file_is_named(name: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=name):
        load(path)


def test_a_file_that_was_cut_off_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv.gz"
    candles().to_csv(path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match=r"mine\.csv\.gz: cannot be read"):
        load(path)


def test_candles_of_another_timeframe_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    candles(freq="4h").to_csv(path)
    with pytest.raises(DataError, match=r"mine\.csv.*not 1h candles"):
        load(path, "1h")
    with pytest.raises(DataError, match=r"mine\.csv.*1d grid"):
        load(path, "1d")
    assert len(load(path, "4h")) == 100


def test_candles_are_written_as_text_that_says_utc_and_the_same_bytes_every_time(
    tmp_path: Path,
) -> None:
    written = csv_gz(candles())
    assert written == csv_gz(candles())
    lines = gzip.decompress(written).decode().splitlines()
    first = ",".join(map(repr, candles().iloc[0].tolist()))
    assert lines[:2] == [HEADER.strip(), f"{candles().index[0]:%Y-%m-%dT%H:%M:%SZ},{first}"]
    (tmp_path / "mine.csv.gz").write_bytes(written)
    same(load(tmp_path / "mine.csv.gz"), candles())


def test_a_gap_longer_than_tolerated_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    candles().drop(candles().index[10:13]).to_csv(path)
    assert len(load(path, max_gap_bars=3)) == 97
    with pytest.raises(DataError, match=r"mine\.csv.*gap of 3 bars after 2024-01-30 09:00:00Z"):
        load(path, max_gap_bars=2)


def test_parquet_without_pyarrow_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mine.parquet"
    candles().to_parquet(path)

    def not_installed(path: Path) -> pd.DataFrame:
        raise ImportError("Unable to find a usable engine")

    monkeypatch.setattr(pd, "read_parquet", not_installed)
    with pytest.raises(FixError, match="pyarrow"):
        load(path)
