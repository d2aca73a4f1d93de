"""Whole campaigns on this machine, on the path that they take on AWS."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from serving.__main__ import main
from strategy.errors import INTERRUPTED
from tests.integration.interruptions.campaigns import ROOT, Campaign, pruning_config
from tests.integration.interruptions.endings import differences, ending

ARGUMENTS = ("campaign", "--candles", "synthetic", "--shards", "2")
COMMAND = [sys.executable, "-m", "serving", *ARGUMENTS]
PATIENCE = 280


class Launcher:
    """The command in a folder of its own."""

    def __init__(self, folder: Path, config: Any) -> None:
        self.folder = folder
        (folder / "config.json").write_text(json.dumps(config))

    def start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            COMMAND,
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=_heed_ctrl_c,
        )

    def run(self) -> str:
        """The command from beginning to end; what it shows."""
        output, _ = (process := self.start()).communicate(timeout=PATIENCE)
        assert process.returncode == 0, output
        return output

    def status(self) -> dict[str, Any]:
        command = [sys.executable, "-m", "serving", "status", "--json"]
        shown = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, check=True
        )
        found: dict[str, Any] = json.loads(shown.stdout)
        return found

    def job(self, shard: int, submission: int) -> Path:
        """Its folder, once the job is there."""
        name = f"BTCUSDT-1h-*-shard{shard}of2-{submission}"
        until(lambda: any((self.folder / "var" / "jobs").glob(f"{name}/pid")))
        (found,) = (self.folder / "var" / "jobs").glob(name)
        return found

    def checkpoints(self) -> int:
        return sum(1 for _ in (self.folder / "var" / "checkpoints").rglob("window-*"))

    def kill_jobs(self) -> None:
        for path in (self.folder / "var" / "jobs").glob("*/pid"):
            if not (path.parent / "ended.json").exists():
                with suppress(ProcessLookupError):
                    os.killpg(int(path.read_text()), signal.SIGKILL)

    @property
    def environment(self) -> dict[str, str]:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_")}
        return inherited | {"PYTHONPATH": str(ROOT), "COLUMNS": "200"}


@pytest.fixture
def launcher(tmp_path: Path) -> Iterator[Launcher]:
    launcher = Launcher(tmp_path, pruning_config())
    yield launcher
    launcher.kill_jobs()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _heed_ctrl_c() -> None:
    """A shell starts its background jobs, and so tests run by one, deaf to Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.torture
def test_a_campaign_of_two_jobs_whose_job_and_launcher_are_killed_ends_as_one_left_alone(
    launcher: Launcher, undisturbed: Campaign
) -> None:
    process = launcher.start()
    until(lambda: launcher.checkpoints() >= 4)
    os.kill(int((launcher.job(1, 0) / "pid").read_text()), signal.SIGKILL)
    launcher.job(1, 1)  # it was launched again, alone
    process.kill()
    process.wait()

    shown = launcher.run()  # finds what runs, and goes on with it
    assert "Promoted" in shown
    assert differences(ending(launcher.folder / "var"), ending(undisturbed.var)) == []
    (request,) = launcher.status()["requests"]
    assert request["status"] == "completed"
    first, second = request["shards"]
    assert (first["submission"], second["submission"]) == (1, 0)
    assert launcher.status()["cost"]["ledger"]["jobs"].keys() == {
        path.name for path in (launcher.folder / "var" / "jobs").iterdir()
    }
    notices = (launcher.folder / "var" / "notifications.log").read_text()
    assert notices.count("validation complete, promoted") == 1

    assert "completed" in launcher.run()  # and is not run again


@pytest.mark.torture
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_launcher_that_is_stopped_stops_its_jobs_and_goes_on_by_the_same_command(
    launcher: Launcher, undisturbed: Campaign, sent: signal.Signals
) -> None:
    process = launcher.start()
    until(lambda: launcher.checkpoints() >= 4)
    process.send_signal(sent)
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == (INTERRUPTED if sent == signal.SIGINT else 128 + sent), output
    assert "Traceback" not in output
    (request,) = launcher.status()["requests"]
    assert "stopped by a person" in request["reason"]

    assert "Promoted" in launcher.run()
    assert differences(ending(launcher.folder / "var"), ending(undisturbed.var)) == []


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for the command in this process, which ends before it starts another one."""
    (tmp_path / "config.json").write_text(json.dumps(pruning_config()))
    monkeypatch.chdir(tmp_path)
    for variable in ("MLFLOW_TRACKING_URI", "STATE_URI"):
        monkeypatch.delenv(variable, raising=False)
    return tmp_path


def test_a_setting_that_cannot_be_used_ends_the_command_with_its_name(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "var").mkdir()
    (here / "var" / "settings.json").write_text('{"cost": {"max_runtime_hours": -1}}')
    assert main(ARGUMENTS) == 2
    assert "max_runtime_hours" in capsys.readouterr().err


def test_an_asset_that_is_not_in_the_config_is_refused_before_anything_is_asked_for(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*ARGUMENTS, "--asset", "DOGEUSDT"]) == 2
    assert "unknown asset 'DOGEUSDT'" in capsys.readouterr().err
    assert main(["status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["requests"] == []
