"""What holds for downloaded candles, whether they are kept in a folder or in an S3 bucket."""

from __future__ import annotations

import gzip
import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from store.aws import REGION, client
from store.candle_archive import CandleArchive, open_archive
from strategy.errors import ConfigError, DataError, StoreError
from tests.aws_fakes import fake_aws
from tests.candle_frames import candles, same

ASSET = "BTCUSDT"
HOME = "BTCUSDT/1h"
JANUARY, FEBRUARY = f"{HOME}/2024-01.csv.gz", f"{HOME}/2024-02.csv.gz"
HEADER = "timestamp,open,high,low,close,volume\n"


@pytest.fixture(params=["folder", "s3"])
def archive(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[CandleArchive]:
    if request.param == "folder":
        yield open_archive(tmp_path / "candles", max_gap_bars=24)
        return
    with fake_aws():
        where = {"LocationConstraint": REGION}
        client("s3").create_bucket(Bucket="trading", CreateBucketConfiguration=where)
        yield open_archive("s3://trading/candles/", max_gap_bars=24)


@pytest.fixture
def folder(tmp_path: Path) -> CandleArchive:
    return open_archive(tmp_path / "candles", max_gap_bars=24)


def content(archive: CandleArchive, file: str) -> bytes:
    found = archive.files.read(file)
    assert found is not None
    return found


def files(archive: CandleArchive) -> list[str]:
    return [entry.name for entry in archive.files.entries()]


class Watched:
    """Files that tell which of them were read and written."""

    def __init__(self, archive: CandleArchive) -> None:
        self._files = archive.files
        self.read_files: list[str] = []
        self.replaced: list[str] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self._files, name)

    def read_all(self, names: list[str]) -> Iterator[tuple[str, bytes]]:
        self.read_files += names
        return self._files.read_all(names)

    def replace(self, name: str, content: bytes) -> None:
        self.replaced.append(name)
        self._files.replace(name, content)


def watched(archive: CandleArchive) -> tuple[CandleArchive, Watched]:
    watch = Watched(archive)
    return CandleArchive(watch, archive.name, archive.max_gap_bars), watch  # type: ignore[arg-type]


def test_it_gives_back_the_exact_candles(archive: CandleArchive) -> None:
    frame = candles(2000)
    added, revised = archive.write(ASSET, "1h", frame)
    assert added == 2000
    assert revised.empty
    same(archive.load(ASSET, "1h"), frame)


def test_candles_lie_in_one_file_per_month(archive: CandleArchive) -> None:
    archive.write(ASSET, "1h", candles())
    assert files(archive) == [JANUARY, FEBRUARY]
    with gzip.open(io.BytesIO(content(archive, FEBRUARY)), "rt") as file:
        assert file.readline() == HEADER
        assert file.readline().startswith("2024-02-01T00:00:00Z,")


def test_every_timeframe_has_candles_of_its_own(archive: CandleArchive) -> None:
    archive.write(ASSET, "1h", candles())
    archive.write(ASSET, "4h", candles(freq="4h", seed=1))
    same(archive.load(ASSET, "1h"), candles())
    same(archive.load(ASSET, "4h"), candles(freq="4h", seed=1))


def test_later_candles_win_and_revisions_are_reported(archive: CandleArchive) -> None:
    frame = candles()
    archive.write(ASSET, "1h", frame.iloc[:60])
    revised = frame.copy()
    revised.loc[revised.index[[50, 59]], "volume"] += 1
    written = archive.write(ASSET, "1h", revised.iloc[50:])
    assert written.added == 40
    assert written.revised.equals(frame.index[[50, 59]])
    same(archive.load(ASSET, "1h"), revised)


def test_earlier_candles_can_be_added_too(archive: CandleArchive) -> None:
    archive.write(ASSET, "1h", candles().iloc[40:])
    archive.write(ASSET, "1h", candles().iloc[:40])
    same(archive.load(ASSET, "1h"), candles())


def test_what_is_held_already_is_not_written_again(archive: CandleArchive) -> None:
    archive.write(ASSET, "1h", candles())
    again, watch = watched(archive)
    assert again.write(ASSET, "1h", candles().iloc[10:20]).added == 0
    assert watch.replaced == []


def test_a_revision_alone_replaces_the_month(archive: CandleArchive) -> None:
    archive.write(ASSET, "1h", candles())
    again, watch = watched(archive)
    revised = candles().iloc[[5]] * 1.01
    assert again.write(ASSET, "1h", revised).revised.equals(revised.index)
    assert watch.replaced == [JANUARY]
    same(archive.load(ASSET, "1h").iloc[[5]], revised)


def test_the_same_candles_make_the_same_bytes(archive: CandleArchive, tmp_path: Path) -> None:
    other = open_archive(tmp_path / "other", max_gap_bars=24)
    archive.write(ASSET, "1h", candles())
    other.write(ASSET, "1h", candles().iloc[:60])
    other.write(ASSET, "1h", candles().iloc[60:])
    february = content(archive, FEBRUARY)
    assert february == content(other, FEBRUARY)
    assert february[4:8] == bytes(4), "no time of writing in the gzip header"


def test_malformed_candles_are_not_written(archive: CandleArchive) -> None:
    broken = candles()
    broken.loc[broken.index[70], "high"] = 1.0
    with pytest.raises(DataError, match="high"):
        archive.write(ASSET, "1h", broken)
    assert archive.open_times(ASSET, "1h").empty


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"\x1f\x8b\x08\x00",
        gzip.compress(b"timestamp,open\n", mtime=0),
        gzip.compress(HEADER.encode() + b"2024-02-01T00:00:00Z,1,1,2,1,1\n", mtime=0),
    ],
    ids=["empty", "cut off", "columns missing", "a low above the open"],
)
def test_a_damaged_month_is_named_with_what_to_do(archive: CandleArchive, damage: bytes) -> None:
    archive.write(ASSET, "1h", candles())
    archive.files.replace(FEBRUARY, damage)
    place = f"{archive.name}/{FEBRUARY}"
    with pytest.raises(DataError, match="delete this file and download") as caught:
        archive.load(ASSET, "1h")
    assert str(caught.value).count(place) == 1


def test_a_month_that_was_cut_off_is_damaged(archive: CandleArchive) -> None:
    archive.write(ASSET, "1h", candles())
    archive.files.replace(FEBRUARY, content(archive, FEBRUARY)[:-20])
    with pytest.raises(DataError, match=r"2024-02\.csv\.gz: cannot be read"):
        archive.load(ASSET, "1h")
    with pytest.raises(DataError, match=r"2024-02\.csv\.gz: cannot be read"):
        archive.write(ASSET, "1h", candles())


def test_holes_may_be_written_but_a_long_one_is_not_loaded(archive: CandleArchive) -> None:
    archive.write(ASSET, "1h", candles().drop(candles().index[10:60]))
    assert len(archive.open_times(ASSET, "1h")) == 50
    with pytest.raises(DataError, match=r"BTCUSDT.*gap of 50 bars"):
        archive.load(ASSET, "1h")


def test_an_empty_archive_says_how_to_fill_it(archive: CandleArchive) -> None:
    with pytest.raises(DataError, match=r"python -m store\.download --asset BTCUSDT") as caught:
        archive.load(ASSET, "1h")
    assert f"--into {archive.name}" in str(caught.value)
    assert archive.open_times(ASSET, "1h").empty


@pytest.mark.parametrize("asset", ["../BTCUSDT", "", "BTC/USDT"])
def test_an_asset_cannot_name_a_place_outside(archive: CandleArchive, asset: str) -> None:
    with pytest.raises(ConfigError, match="unknown asset"):
        archive.write(asset, "1h", candles())


def test_other_files_beside_the_months_are_left_alone(archive: CandleArchive) -> None:
    archive.write(ASSET, "1h", candles())
    archive.files.replace(f"{HOME}/notes.csv.gz", b"mine")
    archive.files.replace(f"{HOME}/2024-01.csv", b"mine")
    same(archive.load(ASSET, "1h"), candles())
    archive.remove_before(ASSET, "1h", pd.Timestamp("2030-01-01T00:00:00Z"))
    assert files(archive) == [f"{HOME}/2024-01.csv", f"{HOME}/notes.csv.gz"]


def test_from_a_moment_on_only_the_months_that_matter_are_read(archive: CandleArchive) -> None:
    frame = candles(24 * 91)  # the end of January to the end of April
    archive.write(ASSET, "1h", frame)
    reading, watch = watched(archive)
    since = pd.Timestamp("2024-03-31T22:00:00Z")
    same(reading.load(ASSET, "1h", since), frame.loc[since:])
    assert watch.read_files == [f"{HOME}/2024-03.csv.gz", f"{HOME}/2024-04.csv.gz"]


def test_a_moment_in_another_zone_is_the_same_moment(archive: CandleArchive) -> None:
    archive.write(ASSET, "1h", candles())
    turn = pd.Timestamp("2024-01-31T23:00:00Z")
    same(archive.load(ASSET, "1h", turn.tz_convert("Asia/Singapore")), candles().loc[turn:])
    same(archive.load(ASSET, "1h", turn.to_pydatetime()), candles().loc[turn:])


def test_a_hole_before_the_moment_does_not_matter(archive: CandleArchive) -> None:
    archive.write(ASSET, "1h", candles().drop(candles().index[10:60]))
    since = candles().index[60]
    same(archive.load(ASSET, "1h", since), candles().iloc[60:])


def test_no_candles_since_a_moment_is_an_error_that_names_it(archive: CandleArchive) -> None:
    archive.write(ASSET, "1h", candles())
    with pytest.raises(DataError, match="since 2024-02-20"):
        archive.load(ASSET, "1h", pd.Timestamp("2024-02-20T00:00:00Z"))
    with pytest.raises(DataError, match="since 2025-01-01"):
        archive.load(ASSET, "1h", pd.Timestamp("2025-01-01T00:00:00Z"))


@pytest.mark.parametrize(
    ("moment", "left"),
    [
        ("2024-01-31T23:00:00Z", [JANUARY, FEBRUARY]),
        ("2024-02-01T00:00:00Z", [FEBRUARY]),
        ("2024-02-29T23:00:00Z", [FEBRUARY]),
        ("2024-03-01T00:00:00Z", []),
    ],
)
def test_a_month_is_removed_once_all_of_it_is_over(
    archive: CandleArchive, moment: str, left: list[str]
) -> None:
    archive.write(ASSET, "1h", candles())
    archive.write("ETHUSDT", "1h", candles())
    archive.write(ASSET, "4h", candles(freq="4h"))
    others = [name for name in files(archive) if not name.startswith(f"{HOME}/")]
    removed = archive.remove_before(ASSET, "1h", pd.Timestamp(moment))
    assert sorted(removed + left) == [JANUARY, FEBRUARY]
    assert files(archive) == sorted(others + left), "nobody else's"


def test_what_the_exchange_does_not_have_is_remembered(archive: CandleArchive) -> None:
    assert archive.absent(ASSET, "1h").empty
    noted = candles().index[[3, 4, 90]]
    archive.set_absent(ASSET, "1h", noted)
    assert archive.absent(ASSET, "1h").equals(noted)
    assert archive.absent(ASSET, "1h").dtype == noted.dtype
    assert archive.absent(ASSET, "4h").empty
    archive.set_absent(ASSET, "1h", noted[:0])
    assert archive.absent(ASSET, "1h").empty


def test_the_same_note_is_not_written_again(archive: CandleArchive) -> None:
    again, watch = watched(archive)
    again.set_absent(ASSET, "1h", candles().index[:0])
    again.set_absent(ASSET, "1h", candles().index[:2])
    again.set_absent(ASSET, "1h", candles().index[:2])
    assert watch.replaced == [f"{HOME}/absent.json"]


@pytest.mark.parametrize("damage", [b"", b"[1, 2", b'["noon"]', b"\xff"])
def test_a_damaged_note_is_ignored_with_a_warning(
    archive: CandleArchive, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    archive.files.replace(f"{HOME}/absent.json", damage)
    assert archive.absent(ASSET, "1h").empty
    assert "absent.json" in caplog.text


def test_a_crash_while_writing_leaves_the_old_month(
    folder: CandleArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.write(ASSET, "1h", candles().iloc[:40])

    def killed(path: Path, target: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            folder.write(ASSET, "1h", candles().iloc[40:45])
    assert len(os.listdir(Path(folder.name, HOME))) == 2, "what it was writing is still there"
    same(folder.load(ASSET, "1h"), candles().iloc[:40])


def test_a_folder_that_cannot_be_written_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "occupied").write_text("a file is in the way")
    with pytest.raises(StoreError, match=r"occupied.*free or unlock"):
        open_archive(tmp_path / "occupied", 24).write(ASSET, "1h", candles())


def test_a_bucket_that_is_not_there_is_a_store_error() -> None:
    with fake_aws(), pytest.raises(StoreError, match="s3://nowhere"):
        open_archive("s3://nowhere/candles", 24).write(ASSET, "1h", candles())


def test_the_archive_is_read_where_pyarrow_is_not_installed(folder: CandleArchive) -> None:
    folder.write(ASSET, "1h", candles())
    script = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "from pathlib import Path\n"
        "from store.candle_archive import open_archive; from store.candles import CandleFile\n"
        f"root = Path({folder.name!r})\n"
        "print(len(open_archive(root, 24).load('BTCUSDT', '1h')))\n"
        "print(len(CandleFile(root / 'BTCUSDT/1h/2024-01.csv.gz', 24).load('X', '1h')))\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert answer.stdout.split() == ["100", "48"]


def test_prices_keep_all_their_digits(archive: CandleArchive) -> None:
    frame = candles(3) * np.pi
    archive.write(ASSET, "1h", frame)
    assert (archive.load(ASSET, "1h").to_numpy() == frame.to_numpy()).all()
