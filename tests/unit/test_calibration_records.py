"""Records survive interruptions, and are taken only for what they rest on."""

from __future__ import annotations

from pathlib import Path

import pytest

from strategy.errors import StoreError
from training.calibration.markets import MARKETS
from training.calibration.records import Key, Origin, Records
from training.calibration.runner import planned

HERE = Origin(geometry="g", code="c", candles="")


def test_what_was_appended_is_read_by_market_and_seed(tmp_path: Path) -> None:
    records = Records(tmp_path / "below" / "records.jsonl")
    assert records.read(HERE) == {}
    records.append(Key("no-edge", 1), HERE, {"eligible": 3})
    records.append(Key("shuffled", 1), HERE, {"eligible": 4})
    found = records.read(HERE)
    assert list(found) == [Key("no-edge", 1), Key("shuffled", 1)]
    assert found["shuffled", 1]["eligible"] == 4


@pytest.mark.parametrize(
    "other", [Origin("x", "c", ""), Origin("g", "x", ""), Origin("g", "c", "x")]
)
def test_records_of_another_geometry_code_or_candles_are_left_alone(
    tmp_path: Path, other: Origin
) -> None:
    records = Records(tmp_path / "records.jsonl")
    records.append(Key("no-edge", 1), other, {"eligible": 1})
    assert records.read(HERE) == {}
    records.append(Key("no-edge", 1), HERE, {"eligible": 2})
    assert records.read(HERE)["no-edge", 1]["eligible"] == 2
    assert records.read(other)["no-edge", 1]["eligible"] == 1
    assert len(records.read(HERE, other)) == 1


@pytest.mark.parametrize("left", [1, 20, -2, -1])
def test_a_line_cut_short_costs_only_its_own_campaign(tmp_path: Path, left: int) -> None:
    records = Records(tmp_path / "records.jsonl")
    records.append(Key("no-edge", 1), HERE, {"eligible": 1})
    whole = records.path.read_bytes()
    records.append(Key("no-edge", 2), HERE, {"eligible": 2})
    second = records.path.read_bytes()[len(whole) :]
    records.path.write_bytes(whole + second[:left])
    kept = {Key("no-edge", 1)} | ({Key("no-edge", 2)} if left == -1 else set())  # only its \n lacks
    assert set(records.read(HERE)) == kept
    records.append(Key("no-edge", 3), HERE, {"eligible": 3})
    assert set(records.read(HERE)) == {*kept, Key("no-edge", 3)}


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="--records"):
        Records(tmp_path / "file" / "records.jsonl").append(Key("no-edge", 1), HERE, {})
    with pytest.raises(StoreError, match="cannot be read"):
        Records(tmp_path).read(HERE)


def test_markets_take_turns_so_that_a_cut_run_is_even() -> None:
    markets = [MARKETS["no-edge"], MARKETS["trend-0.1"]]
    assert planned(markets, {"no-edge": 3, "trend-0.1": 1}) == [
        ("no-edge", 0), ("trend-0.1", 0), ("no-edge", 1), ("no-edge", 2),
    ]  # fmt: skip
