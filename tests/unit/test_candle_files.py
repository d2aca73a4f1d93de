"""Candles in files: a file of the user's own, and the folder of monthly files."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from store.candles import CandleFile, CandleFolder
from strategy.errors import ConfigError, DataError, FixError, StoreError

ASSET = "BTCUSDT"
HEADER = "timestamp,open,high,low,close,volume\n"


def candles(
    bars: int = 100, start: str = "2024-01-30T00:00:00Z", freq: str = "h", seed: int = 0
) -> pd.DataFrame:
    """Candles of prices with all their digits, over the turn of a month."""
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(0.01 * rng.standard_normal(bars).cumsum())
    open_ = np.concatenate([[100.0], close[:-1]])
    spread = 1 + 0.01 * rng.random(bars)
    return pd.DataFrame(
        {
            "open": open_,
            "high": np.maximum(open_, close) * spread,
            "low": np.minimum(open_, close) / spread,
            "close": close,
            "volume": rng.exponential(1000, bars),
        },
        index=pd.date_range(start, periods=bars, freq=freq, name="timestamp", unit="ns"),
    )


def same(left: pd.DataFrame, right: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(left, right, check_exact=True, check_freq=False)


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


def test_a_gap_longer_than_tolerated_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    candles().drop(candles().index[10:13]).to_csv(path)
    assert len(load(path, max_gap_bars=3)) == 97
    with pytest.raises(DataError, match=r"mine\.csv.*gap of 3 bars after 2024-01-30 09:00:00Z"):
        load(path, max_gap_bars=2)


@pytest.fixture
def folder(tmp_path: Path) -> CandleFolder:
    return CandleFolder(tmp_path / "candles", max_gap_bars=24)


def test_the_folder_gives_back_the_exact_candles(folder: CandleFolder) -> None:
    frame = candles(2000)
    added, revised = folder.write(ASSET, "1h", frame)
    assert added == 2000
    assert revised.empty
    same(folder.load(ASSET, "1h"), frame)


def test_candles_lie_in_one_file_per_month(folder: CandleFolder) -> None:
    folder.write(ASSET, "1h", candles())
    home = folder.root / ASSET / "1h"
    assert sorted(os.listdir(home)) == ["2024-01.csv.gz", "2024-02.csv.gz"]
    with gzip.open(home / "2024-02.csv.gz", "rt") as file:
        assert file.readline() == HEADER
        assert file.readline().startswith("2024-02-01T00:00:00Z,")


def test_every_timeframe_has_candles_of_its_own(folder: CandleFolder) -> None:
    folder.write(ASSET, "1h", candles())
    folder.write(ASSET, "4h", candles(freq="4h", seed=1))
    same(folder.load(ASSET, "1h"), candles())
    same(folder.load(ASSET, "4h"), candles(freq="4h", seed=1))


def test_later_candles_win_and_revisions_are_reported(folder: CandleFolder) -> None:
    frame = candles()
    folder.write(ASSET, "1h", frame.iloc[:60])
    revised = frame.copy()
    revised.loc[revised.index[[50, 59]], "volume"] += 1
    written = folder.write(ASSET, "1h", revised.iloc[50:])
    assert written.added == 40
    assert written.revised.equals(frame.index[[50, 59]])
    same(folder.load(ASSET, "1h"), revised)


def test_earlier_candles_can_be_added_too(folder: CandleFolder) -> None:
    folder.write(ASSET, "1h", candles().iloc[40:])
    folder.write(ASSET, "1h", candles().iloc[:40])
    same(folder.load(ASSET, "1h"), candles())


def test_what_is_held_already_is_not_written_again(folder: CandleFolder) -> None:
    folder.write(ASSET, "1h", candles())
    january = folder.root / ASSET / "1h" / "2024-01.csv.gz"
    before = january.stat().st_ino
    assert folder.write(ASSET, "1h", candles().iloc[10:20]).added == 0
    assert january.stat().st_ino == before


def test_a_revision_alone_replaces_the_file_as_a_whole(folder: CandleFolder) -> None:
    folder.write(ASSET, "1h", candles())
    january = folder.root / ASSET / "1h" / "2024-01.csv.gz"
    before = january.stat().st_ino
    revised = candles().iloc[[5]] * 1.01
    assert folder.write(ASSET, "1h", revised).revised.equals(revised.index)
    same(folder.load(ASSET, "1h").iloc[[5]], revised)
    assert january.stat().st_ino != before, "never half of the old file and half of the new one"


def test_the_same_candles_make_the_same_bytes(folder: CandleFolder, tmp_path: Path) -> None:
    other = CandleFolder(tmp_path / "other", max_gap_bars=24)
    folder.write(ASSET, "1h", candles())
    other.write(ASSET, "1h", candles().iloc[:60])
    other.write(ASSET, "1h", candles().iloc[60:])
    file = Path(ASSET, "1h", "2024-02.csv.gz")
    content = (folder.root / file).read_bytes()
    assert content == (other.root / file).read_bytes()
    assert content[4:8] == bytes(4), "no time of writing in the gzip header"


def test_malformed_candles_are_not_written(folder: CandleFolder) -> None:
    broken = candles()
    broken.loc[broken.index[70], "high"] = 1.0
    with pytest.raises(DataError, match="high"):
        folder.write(ASSET, "1h", broken)
    assert folder.open_times(ASSET, "1h").empty


def test_a_crash_while_writing_leaves_the_old_file(
    folder: CandleFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.write(ASSET, "1h", candles().iloc[:40])

    def power_cut(descriptor: int) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", power_cut)
        with pytest.raises(KeyboardInterrupt):
            folder.write(ASSET, "1h", candles().iloc[40:45])
    same(folder.load(ASSET, "1h"), candles().iloc[:40])
    assert os.listdir(folder.root / ASSET / "1h") == ["2024-01.csv.gz"]


def test_a_leftover_of_a_killed_writer_is_not_read(folder: CandleFolder) -> None:
    folder.write(ASSET, "1h", candles())
    (folder.root / ASSET / "1h" / ".2024-03.csv.gz.123.part").write_bytes(b"half a file")
    same(folder.load(ASSET, "1h"), candles())


def test_a_folder_that_cannot_be_written_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "occupied").write_text("a file is in the way")
    with pytest.raises(StoreError, match=r"cannot write .*occupied"):
        CandleFolder(tmp_path / "occupied", 24).write(ASSET, "1h", candles())


@pytest.mark.parametrize("damage", [b"", b"\x1f\x8b\x08\x00", gzip.compress(b"timestamp,open\n")])
def test_a_damaged_month_is_named_with_what_to_do(folder: CandleFolder, damage: bytes) -> None:
    folder.write(ASSET, "1h", candles())
    (folder.root / ASSET / "1h" / "2024-02.csv.gz").write_bytes(damage)
    with pytest.raises(DataError, match=r"2024-02\.csv\.gz.*delete this file and download"):
        folder.load(ASSET, "1h")


def test_holes_may_be_written_but_a_long_one_is_not_loaded(folder: CandleFolder) -> None:
    folder.write(ASSET, "1h", candles().drop(candles().index[10:60]))
    assert len(folder.open_times(ASSET, "1h")) == 50
    with pytest.raises(DataError, match=r"BTCUSDT.*gap of 50 bars"):
        folder.load(ASSET, "1h")


def test_an_empty_folder_says_how_to_fill_it(folder: CandleFolder) -> None:
    with pytest.raises(DataError, match=r"python -m store\.binance --asset BTCUSDT"):
        folder.load(ASSET, "1h")


@pytest.mark.parametrize("asset", ["../BTCUSDT", "", "BTC/USDT"])
def test_an_asset_cannot_name_a_place_outside_the_folder(folder: CandleFolder, asset: str) -> None:
    with pytest.raises(ConfigError, match="unknown asset"):
        folder.write(asset, "1h", candles())


def test_the_folder_is_read_where_pyarrow_is_not_installed(folder: CandleFolder) -> None:
    folder.write(ASSET, "1h", candles())
    script = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "from pathlib import Path; from store.candles import CandleFile, CandleFolder\n"
        f"root = Path({str(folder.root)!r})\n"
        "print(len(CandleFolder(root, 24).load('BTCUSDT', '1h')))\n"
        "print(len(CandleFile(root / 'BTCUSDT/1h/2024-01.csv.gz', 24).load('X', '1h')))\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert answer.stdout.split() == ["100", "48"]


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
