"""Campaigns as processes of their own, which can be struck by a signal and begun again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from registry.identity import Identity
from store.campaign_input import set_aside
from store.candle_arguments import candle_source
from store.clock import utc_now
from store.job_records import JobRecord
from store.state import open_state
from strategy.config import config_from
from tests.campaign_place import small_config
from tests.integration.interruptions.endings import MODEL
from tests.integration.interruptions.places import PLACES

ROOT = Path(__file__).parents[3]
INJECTED = Path(__file__).parent / "injected"
MARKET = "synthetic"
NOTICE_SECONDS = 120
"""From SIGTERM to SIGKILL on SageMaker; and what a test waits for a process to end."""
CAMPAIGN_SECONDS = 280
AFTERLIFE_SECONDS = 30
"""In which the workers of a campaign that is gone notice it."""


def pruning_config() -> dict[str, Any]:
    """The small campaign with a trial that is pruned, and two generations of refinement."""
    config: dict[str, Any] = small_config()
    config["search"] |= {
        "max_trials": 6,
        "coverage_share": 0.6,
        "generation_size": 1,
        "pruning": {"enabled": True, "min_windows": 2, "confidence": 0.6},
    }
    config["checkpoint_config"]["max_resume_attempts"] = 100
    return config


@dataclass(frozen=True)
class Strike:
    """A signal at the n-th passing of a place of :data:`PLACES`."""

    place: str
    passing: int = 1
    signal: int = signal.SIGKILL
    whom: Literal["self", "campaign", "group"] = "group"
    """The process that passes the place, the campaign's own one, or all of them at once, as
    when their machine is taken away."""
    tears: bool = False
    """Truncates the file that was just linked, as a power cut would."""


@dataclass(frozen=True)
class Ended:
    """How an attempt ended; a negative status is the signal that ended it."""

    status: int
    output: str
    strikes: int
    """How often the signal was sent: a place may be passed less often than was thought."""


@dataclass
class Campaign:
    """A campaign with stores of its own below ``folder/var``; it may be attempted again.

    Every attempt returns only when the last of its processes is gone: they all hold its output,
    and must let go of it within seconds when the campaign's own process has ended.
    """

    folder: Path
    config: Mapping[str, Any]
    jobs: int = 2
    attempts: int = field(default=0, init=False)
    seconds: float = field(default=0.0, init=False)
    """That the last attempt took."""

    @property
    def var(self) -> Path:
        return self.folder / "var"

    def attempt(self, strike: Strike | None = None) -> Ended:
        """Begin it, or go on, until it ends or is struck."""
        return self._wait(self._start(strike), CAMPAIGN_SECONDS)

    def attempt_until(self, seconds: float, sent: int, whom: Literal["campaign", "group"]) -> Ended:
        """As :meth:`attempt`, struck after some seconds."""
        process = self._start(None)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            (os.killpg if whom == "group" else os.kill)(process.pid, sent)
        return self._wait(process, NOTICE_SECONDS)

    def passings(self, attempt: int) -> dict[str, int]:
        """How often an attempt came by each place; the first attempt is 1."""
        folder = self._journal(attempt)
        return {path.name: path.stat().st_size for path in folder.iterdir() if path.name in PLACES}

    @property
    def units(self) -> list[str]:
        """Every unit of work that was begun, as often as it was."""
        files = sorted(self.folder.glob("journal/*/units"))
        return [line for file in files for line in file.read_text().splitlines()]

    @property
    def recomputed(self) -> int:
        """Units begun again."""
        return len(self.units) - len(set(self.units))

    def prepare(self) -> None:
        """Lay out what the program reads."""
        (self.folder / "config.json").write_text(json.dumps(self.config))

    def command(self) -> Sequence[str]:
        return "training.model_validator", "--candles", MARKET, "--jobs", str(self.jobs)

    def environment(self) -> Mapping[str, str]:
        return {}

    def _journal(self, attempt: int) -> Path:
        return self.folder / "journal" / f"{attempt:03d}"

    def _start(self, strike: Strike | None) -> subprocess.Popen[str]:
        if not self.attempts:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.prepare()
        self.attempts += 1
        journal = self._journal(self.attempts)
        journal.mkdir(parents=True)
        plan = {
            "folder": str(journal),
            "places": {name: asdict(place) for name, place in PLACES.items()},
            "strike": strike and asdict(strike),
        }
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_")}
        return subprocess.Popen(
            [sys.executable, "-m", *self.command()],
            cwd=self.folder,
            env={
                **inherited,
                "PYTHONPATH": f"{INJECTED}{os.pathsep}{ROOT}",
                "COLUMNS": "1000",  # no message is broken into lines
                "MLFLOW_DISABLE_TELEMETRY": "true",
                "INTERRUPTIONS": json.dumps(plan),
                **self.environment(),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            preexec_fn=_heed_ctrl_c,
        )

    def _wait(self, process: subprocess.Popen[str], seconds: float) -> Ended:
        begun = time.monotonic()
        assert process.stdout is not None
        with process.stdout, ThreadPoolExecutor(1) as reader:
            reading = reader.submit(process.stdout.read)
            try:
                process.wait(seconds)
                output = reading.result(AFTERLIFE_SECONDS)
            except (subprocess.TimeoutExpired, TimeoutError) as error:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                raise AssertionError(f"still at work: {error}\n{reading.result()}") from None
        self.seconds = time.monotonic() - begun
        struck = self._journal(self.attempts) / "strikes"
        strikes = len(struck.read_text().splitlines()) if struck.exists() else 0
        return Ended(process.returncode, output, strikes)


@dataclass
class Job(Campaign):
    """One job of a campaign, as SageMaker runs it, with its files below ``folder/ml-N``."""

    shard: int = 1
    shards: int = 1

    @property
    def base(self) -> Path:
        return self.folder / f"ml-{self.shard}of{self.shards}"

    @property
    def failure(self) -> str | None:
        path = self.base / "output" / "failure"
        return path.read_text() if path.exists() else None

    @property
    def record(self) -> JobRecord:
        """Its record in the state table."""
        path = self.base / "input" / "config" / "hyperparameters.json"
        campaign_id = json.loads(path.read_text())["campaign_id"]
        state = open_state(self.environment()["STATE_URI"])
        return JobRecord(state, campaign_id, self.shard, self.shards, utc_now)

    @property
    def result(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.base / "model" / "result.json").read_text())
        return found

    def prepare(self) -> None:
        config = config_from(self.config, source="the test's config")
        asset, _, timeframe = MODEL.partition("-")
        source = candle_source(Namespace(candles=MARKET), config)
        candles = source.load(asset, timeframe)
        set_aside(
            str(self.base / "input" / "data" / "campaign"),
            asset=asset,
            timeframe=timeframe,
            config=config,
            candles=candles,
            source_name=source.name,
            synthetic=True,
        )
        identity = Identity.of(config, candles)
        self.write_hyperparameters(
            campaign_id=identity.campaign_id(MODEL),
            asset=asset,
            timeframe=timeframe,
            shard=str(self.shard),
            shards=str(self.shards),
            **asdict(identity),
        )

    def write_hyperparameters(self, **values: str) -> None:
        path = self.base / "input" / "config" / "hyperparameters.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values))

    def command(self) -> Sequence[str]:
        return ("training.job",)

    def environment(self) -> Mapping[str, str]:
        return {
            "SAGEMAKER_BASE_DIR": str(self.base),
            "MLFLOW_TRACKING_URI": f"sqlite:///{self.var / 'mlflow.db'}",
            "STATE_URI": f"sqlite:///{self.var / 'state.db'}",
            "CHECKPOINT_URI": str(self.var / "checkpoints"),
            "WORKERS": str(self.jobs),
        }

    def _journal(self, attempt: int) -> Path:
        return self.folder / "journal" / f"{self.shard}-{attempt:03d}"


def _heed_ctrl_c() -> None:
    """A shell starts its background jobs, and so tests run by one, deaf to Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
