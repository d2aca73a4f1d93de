"""The calibration as a command: killed and taken up again, it ends as if left alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from store.synthetic import synthetic_candles
from tests.campaign_place import ROOT
from training.calibration.command import main

MARKETS = "shuffled-free,trend-0.3"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("calibration")
    start = pd.Timestamp("2024-01-01T00:00:00Z")
    recorded = synthetic_candles(np.random.default_rng(1), 2000, start, trend_strength=0)
    recorded.to_csv(place / "recorded.csv.gz", date_format="%Y-%m-%dT%H:%M:%SZ")
    return place


def command(folder: Path, *arguments: str) -> list[str]:
    return [
        sys.executable, "-m", "training.calibration", "--config", str(ROOT / "config.json"),
        "--candles", str(folder / "recorded.csv.gz"), "--markets", MARKETS, *arguments,
    ]  # fmt: skip


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(folder, *arguments), cwd=folder, env=environment(), capture_output=True,
        text=True, timeout=280, check=False,
    )  # fmt: skip


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "160"}


def read(path: Path) -> dict[tuple[str, int], dict[str, Any]]:
    """Records by market and seed, without how long they took."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return {
        (line["market"], line["seed"]): {k: v for k, v in line.items() if k != "seconds"}
        for line in lines
    }


@pytest.fixture(scope="module")
def alone(folder: Path) -> subprocess.CompletedProcess[str]:
    return run(
        folder, "--campaigns", "1", "--jobs", "2", "--records", "alone.jsonl", "--write", "docs"
    )


def test_it_runs_all_campaigns_and_writes_what_they_show(
    folder: Path, alone: subprocess.CompletedProcess[str]
) -> None:
    assert alone.returncode == 0, alone.stderr
    assert "2 campaigns on 2 markets; 2 of them are not in alone.jsonl yet." in alone.stdout
    records = read(folder / "alone.jsonl")
    assert set(records) == {(name, 0) for name in MARKETS.split(",")}
    strong = records["trend-0.3", 0]
    assert len(strong["trials"]) == 8
    assert [len(strong["ranking_r"]), len(strong["confirmation_r"])] == [6, 2]
    assert len(strong["random_expectancies"]) == 200
    assert strong["gates"]["monte_carlo_positive_share"]["passed"] is True
    assert records["shuffled-free", 0]["origin"]["candles"]
    text = (folder / "docs" / "calibration.md").read_text()
    assert "- recorded candles in random blocks, no costs: " in text
    assert "of 1 found it" in text
    assert (folder / "docs" / "images" / "calibration.png").read_bytes().startswith(b"\x89PNG")


def test_killed_and_run_again_it_ends_the_same(
    folder: Path, alone: subprocess.CompletedProcess[str]
) -> None:
    records = folder / "killed.jsonl"
    wanted = ("--campaigns", "1", "--jobs", "1", "--records", records.name)
    process = subprocess.Popen(
        command(folder, *wanted), cwd=folder, env=environment(), stdout=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 200
    while not (records.exists() and records.read_bytes().count(b"\n")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = records.read_bytes()
    assert before.count(b"\n") == 1
    records.write_bytes(before + b'{"market":"trend-0.3","se')  # as if killed while it wrote
    again = run(folder, *wanted)
    assert again.returncode == 0, again.stderr
    assert "1 of them are not in killed.jsonl yet." in again.stdout
    records.write_bytes(records.read_bytes().replace(b'{"market":"trend-0.3","se\n', b""))
    assert records.read_bytes().startswith(before)
    assert read(records) == read(folder / "alone.jsonl")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--markets", "trend-9"), "--markets: unknown market 'trend-9'; known are no-edge-free"),
        (("--campaigns", "0", "--records", "none.jsonl"), "none.jsonl holds no campaign"),
        (("--candles", "none.csv"), "there is no such file"),
    ],
)
def test_what_cannot_be_done_is_named(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    said: str,
) -> None:
    monkeypatch.chdir(folder)
    assert main([*command(folder)[3:], *arguments]) == 2
    assert said in " ".join(capsys.readouterr().err.split())


def test_without_candles_the_markets_made_of_them_are_left_out(
    folder: Path,
    alone: subprocess.CompletedProcess[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folder)
    wanted = ("--markets", MARKETS, "--campaigns", "0", "--records", "alone.jsonl")
    assert main(["--config", str(ROOT / "config.json"), *wanted]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "shuffled-free is left out: it needs recorded candles (--candles)." in shown
    assert "planted trends of 0.3 1 1 100.0%" in shown
    assert "recorded candles in random blocks" not in shown
