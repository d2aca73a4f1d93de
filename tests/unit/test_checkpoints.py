"""A checkpoint is whole, or torn and computed again, or another campaign's and refused."""

from __future__ import annotations

import dataclasses
import logging
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.checkpoints import (
    Checkpoint,
    Checkpoints,
    Origin,
    TornCheckpointError,
    checkpoints_at,
    seal,
    unseal,
)
from store.objects import FolderObjects
from strategy.errors import ConfigError, StoreError

MINE = Origin("0123456789ab", "c" * 64, "d" * 64, "e" * 64)
OTHERS = {
    "campaign_id": dataclasses.replace(MINE, campaign_id="ba9876543210"),
    "config_digest": dataclasses.replace(MINE, config_digest="c" * 12 + "0" * 52),
    "data_digest": dataclasses.replace(MINE, data_digest="1" * 64),
    "code_digest": dataclasses.replace(MINE, code_digest="2" * 64),
}
MARCH = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def root(tmp_path: Path) -> FolderObjects:
    return FolderObjects(tmp_path)


@pytest.fixture
def checkpoints(root: FolderObjects) -> Checkpoints:
    return Checkpoints(root, MINE)


@given(content=st.binary(max_size=200))
def test_what_is_sealed_is_unsealed_with_the_same_hash(content: bytes) -> None:
    sealed, sha256 = seal(MINE, content)
    assert unseal(MINE, sealed, "window-01") == (content, sha256)


@given(content=st.binary(max_size=200), data=st.data())
def test_any_flipped_bit_makes_it_torn(content: bytes, data: st.DataObject) -> None:
    sealed, _ = seal(MINE, content)
    at = data.draw(st.integers(0, 8 * len(sealed) - 1))
    flipped = bytearray(sealed)
    flipped[at // 8] ^= 1 << at % 8
    with pytest.raises(TornCheckpointError):
        unseal(MINE, bytes(flipped), "window-01")


@given(content=st.binary(max_size=200), data=st.data())
def test_any_part_of_it_is_torn(content: bytes, data: st.DataObject) -> None:
    sealed, _ = seal(MINE, content)
    start, end = sorted(data.draw(st.tuples(*[st.integers(0, len(sealed))] * 2)))
    if (start, end) != (0, len(sealed)):
        with pytest.raises(TornCheckpointError):
            unseal(MINE, sealed[start:end], "window-01")


@given(noise=st.binary(max_size=200), more=st.binary(min_size=1, max_size=9))
def test_noise_is_torn_and_so_is_what_has_grown(noise: bytes, more: bytes) -> None:
    sealed, _ = seal(MINE, b"content")
    for damaged in (noise, sealed + more):
        with pytest.raises(TornCheckpointError):
            unseal(MINE, damaged, "window-01")


@pytest.mark.parametrize(
    "header",
    [
        "null",
        "[]",
        "7",
        '"text"',
        "{}",
        '{"sha256": 1, "origin": 2}',
        '{"sha256": "", "origin": []}',
    ],
)
def test_json_that_is_no_header_is_torn(header: str) -> None:
    with pytest.raises(TornCheckpointError):
        unseal(MINE, header.encode() + b"\ncontent", "window-01")


@pytest.mark.parametrize("name", OTHERS)
def test_another_campaigns_is_refused_and_what_differs_is_named(name: str) -> None:
    sealed, _ = seal(OTHERS[name], b"content")
    other, mine = (dataclasses.asdict(each)[name] for each in (OTHERS[name], MINE))
    says = rf"checkpoint trial/window-01 belongs to another .*{name} {other[:16]}, not {mine[:16]}"
    with pytest.raises(StoreError, match=says):
        unseal(MINE, sealed, "trial/window-01")


def test_what_was_written_is_read_in_order_of_name(checkpoints: Checkpoints) -> None:
    written = {
        name: checkpoints.write(name, name.encode())
        for name in ("b/window-02", "a/window-10", "b/booster-02.txt", "a/window-09")
    }
    assert list(checkpoints.read_all()) == [
        Checkpoint(name, name.encode(), written[name]) for name in sorted(written)
    ]


def test_a_checkpoint_is_never_changed(checkpoints: Checkpoints) -> None:
    first = checkpoints.write("a/window-01", b"first")
    checkpoints.write("a/window-01", b"second")
    assert list(checkpoints.read_all()) == [Checkpoint("a/window-01", b"first", first)]


@pytest.mark.parametrize("left", [b"", b"{", b"\x00" * 100])
def test_a_damaged_one_is_told_of_removed_and_may_be_written_again(
    checkpoints: Checkpoints, root: FolderObjects, caplog: pytest.LogCaptureFixture, left: bytes
) -> None:
    kept = checkpoints.write("a/window-01", b"kept")
    root.replace(f"{MINE.folder}/a/window-02", left)
    with caplog.at_level(logging.WARNING):
        assert list(checkpoints.read_all()) == [Checkpoint("a/window-01", b"kept", kept)]
    (record,) = caplog.records
    assert f"{MINE.folder}/a/window-02 is damaged" in record.getMessage()
    again = checkpoints.write("a/window-02", b"again")
    assert Checkpoint("a/window-02", b"again", again) in list(checkpoints.read_all())


def test_a_foreign_one_among_them_is_refused_and_nothing_is_removed(
    checkpoints: Checkpoints, root: FolderObjects
) -> None:
    checkpoints.write("a/window-01", b"mine")
    sealed, _ = seal(OTHERS["code_digest"], b"foreign")
    root.replace(f"{MINE.folder}/a/window-02", sealed)
    for _ in range(2):
        with pytest.raises(StoreError, match=f"{MINE.folder}/a/window-02 belongs to another"):
            list(checkpoints.read_all())


def test_campaigns_of_one_root_do_not_see_each_other(root: FolderObjects) -> None:
    mine, other = Checkpoints(root, MINE), Checkpoints(root, OTHERS["campaign_id"])
    mine.write("a/window-01", b"mine")
    other.write("a/window-01", b"other")
    assert [each.content for each in mine.read_all()] == [b"mine"]
    assert [each.content for each in other.read_all()] == [b"other"]


def aged(root: FolderObjects, name: str, days: float) -> None:
    then = (MARCH - timedelta(days=days)).timestamp()
    os.utime(root.root / name, (then, then))


def test_only_campaigns_without_a_recent_checkpoint_are_removed(root: FolderObjects) -> None:
    old, active = (
        Origin("0" * 11 + number, number * 64, "d" * 64, "e" * 64) for number in ("1", "2")
    )
    for origin in (MINE, old, active):
        for window in ("window-01", "window-02"):
            Checkpoints(root, origin).write(f"a/{window}", b"content")
            aged(root, f"{origin.folder}/a/{window}", days=31)
    aged(root, f"{active.folder}/a/window-02", days=29)
    removed = Checkpoints(root, MINE).remove_others(MARCH - timedelta(days=30))
    assert removed == [old.folder]
    assert {entry.name.split("/")[0] for entry in root.entries()} == {MINE.folder, active.folder}


def test_what_is_no_checkpoint_is_never_removed(root: FolderObjects) -> None:
    """Should someone name their home as the place for checkpoints."""
    for name in ("thesis.tex", "photos/2019/beach.jpg", "0123456789ab", "a-b/c", "x-0123/c"):
        root.create(name, b"")
        aged(root, name, days=1000)
    before = root.entries()
    assert Checkpoints(root, MINE).remove_others(MARCH) == []
    assert root.entries() == before


def test_a_bucket_that_is_still_a_placeholder_is_refused() -> None:
    with pytest.raises(ConfigError, match="name the bucket"):
        checkpoints_at("s3://[BUCKET_NAME]/walk_forward_checkpoints/", MINE)
