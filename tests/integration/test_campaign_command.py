"""The campaign's command line: stopped, interrupted, and given what it cannot use."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from store.synthetic import SyntheticSource
from tests.campaign_place import place
from training.model_validator import main


def test_preflight_stop_searches_nothing_and_says_so_on_its_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    here = place(tmp_path)
    arguments = ("--candles", "synthetic-no-edge", "--preflight", "stop", "--jobs", "1")
    assert here.in_process(monkeypatch, main, *arguments) == 0
    assert "nothing was searched" in capsys.readouterr().out
    (campaign,) = here.runs("campaign")
    assert (campaign.info.status, campaign.data.tags["verdict"]) == ("FINISHED", "rejected")
    assert here.runs("trial") == []
    assert "Not searched" in here.artifact(campaign, "report.html").read_text()

    assert here.in_process(monkeypatch, main, *arguments) == 0
    again = capsys.readouterr().out
    assert "already been run" in again
    assert "nothing was searched" in again


def windows_begun(database: Path) -> int:
    """Without MLflow, which would set about creating the store at the same time."""
    if not database.exists():
        return 0
    with sqlite3.connect(database) as connection:
        try:
            found = connection.execute("SELECT count(*) FROM runs WHERE name LIKE '%window%'")
        except sqlite3.OperationalError:  # no such table yet
            return 0
        return int(found.fetchone()[0])


def heed_ctrl_c() -> None:
    """A shell starts its background jobs, and so tests run by one, deaf to Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_ctrl_c_stops_cleanly(tmp_path: Path) -> None:
    """That the same command goes on is tried after worse: in test_campaign, and in torture."""
    here = place(tmp_path)
    process = subprocess.Popen(
        [sys.executable, "-m", "training.model_validator", "--jobs", "2"],
        cwd=tmp_path, env=here.env, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=heed_ctrl_c,
    )  # fmt: skip
    deadline = time.monotonic() + 280
    while windows_begun(tmp_path / "var" / "mlflow.db") < 3 and time.monotonic() < deadline:
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)  # what a terminal sends to all processes at once
    _, errors = process.communicate(timeout=280)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    (campaign,) = here.runs("campaign")
    assert campaign.info.status == "KILLED"
    assert not [
        run for run in here.runs("trial") + here.runs("window") if run.info.status == "RUNNING"
    ]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--asset", "DOGEUSDT"), "asset_timeframes: unknown asset 'DOGEUSDT'"),
        (("--timeframe", "4h"), "asset_timeframes.BTCUSDT: unknown timeframe '4h'"),
        (("--candles", "nowhere.csv"), "nowhere.csv: there is no such file"),
        (("--config", "nowhere.json"), "nowhere.json cannot be read"),
        (("--max-trials", "0"), "search.max_trials"),
        (("--tracking-uri", "sqlite:////proc/mlflow.db"), "sqlite:////proc/mlflow.db"),
    ],
)
def test_bad_input_is_named_and_nothing_is_logged(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    named: str,
) -> None:
    here = place(tmp_path)
    assert here.in_process(monkeypatch, main, *arguments) == 2
    assert named in capsys.readouterr().err.replace("\n", "")
    if (tmp_path / "var" / "mlflow.db").exists():
        assert here.client.get_experiment_by_name("BTCUSDT-1h") is None


def test_too_little_history_is_an_error_that_says_how_much_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    here = place(tmp_path)
    source = SyntheticSource(1, 24 * 60, pd.Timestamp("2025-06-01", tz="UTC"))
    source.load("BTCUSDT", "1h").reset_index().to_csv(tmp_path / "short.csv", index=False)
    assert here.in_process(monkeypatch, main, "--candles", "short.csv") == 2
    assert "too little history for one window" in capsys.readouterr().err.replace("\n", " ")
