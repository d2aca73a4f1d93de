"""How long a campaign that is 90 % done takes from its start to its first new fit.

python -m benchmarks.resume [--candles PATH]

The campaign is config.json's own: 432 combinations in coverage, every ranking window. What is
done is made up, because computing it would take hours: checkpoints with random trades, and the
MLflow runs that a campaign logs for them. Then the command itself is started, and killed when
its first new checkpoint is there; that checkpoint says how long its evaluation took.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks._common import ASSET, ROOT, TIMEFRAME, load_market, show
from registry.connection import connect, ensure_store
from registry.identity import Identity
from store.candles import csv_gz
from store.checkpoints import Checkpoints, Origin, checkpoints_at
from store.clock import utc_now
from store.state import open_state
from strategy.simulate import TRADE
from strategy.windows import Window
from training.campaign_log import CampaignLog
from training.campaign_run import open_run
from training.checkpointing import WindowCheckpoints
from training.discovery import split_windows
from training.request import CampaignRequest, run_tags
from training.search import coverage
from training.trial import Trial
from training.walk_forward import PreparedMarket, WindowResult

DONE = 0.9
JOBS = 2
TRADES = 110
"""A window, as coverage makes on these candles."""
RECENT_SECONDS = 600


def made_up(window: Window, rng: np.random.Generator) -> WindowResult:
    """A window that gains a little, so that nothing is pruned and all windows are walked."""
    trades = np.zeros(TRADES, TRADE)
    trades["r"] = rng.normal(0.1, 1.6, TRADES)
    return WindowResult(
        window.number, trades, (500, 1000, 500), np.full((3, 3), 200), 1.0, seconds=1.0
    )


def make_done(request: CampaignRequest, market: PreparedMarket) -> Checkpoints:
    """Leave 90 % of the coverage behind, as a campaign that was killed there does."""
    ensure_store(request.tracking_uri)
    client = connect(request.tracking_uri)
    identity = Identity.of(request.config, market.candles)
    campaign_id = identity.campaign_id(request.model_name)
    kept = checkpoints_at(
        request.checkpoints,
        Origin(campaign_id, identity.config_digest, identity.data_digest, identity.code_digest),
    )
    checkpoints = WindowCheckpoints(kept)
    from store.job_records import JobRecord

    job = JobRecord(request.state, campaign_id, 1, 1, request.clock)
    job.begin()
    log = CampaignLog(
        open_run(client, request, identity, market.candles, job),
        market,
        run_tags(request, identity),
    )
    windows, _ = split_windows(market.windows, request.config.selection)
    trials = list(enumerate(coverage(request.config)))
    rng = np.random.default_rng(1)
    for number, parameters in trials[: round(DONE * len(trials))]:
        results = []
        for window in windows:
            results.append(checkpoints.keep(parameters, made_up(window, rng)))
            log.window_done(number, parameters, results[-1])
        log.trial_done(Trial(number, parameters, tuple(results), pruned=False))
    return kept


def first_new(folder: Path, known: set[Path], process: subprocess.Popen[bytes]) -> Path:
    """The first checkpoint that was not there before."""
    while process.poll() is None:
        new = [path for path in folder.rglob("window-*") if path not in known]
        if new:
            return min(new, key=lambda path: path.stat().st_mtime)
        time.sleep(0.05)
    raise SystemExit(f"the campaign ended (status {process.returncode}) before a new window")


def main() -> None:
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    candles, config = load_market(__doc__, "3 minutes")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "candles.csv.gz").write_bytes(csv_gz(candles))
        from store.candles import CandleFile

        request = CampaignRequest(
            asset=ASSET,
            timeframe=TIMEFRAME,
            config=config,
            source=CandleFile(folder / "candles.csv.gz", config.candles.max_gap_bars),
            tracking_uri=f"sqlite:///{folder}/var/mlflow.db",
            jobs=JOBS,
            checkpoints=str(folder / "var/checkpoints"),
            state=open_state(f"sqlite:///{folder}/var/state.db"),
            clock=utc_now,
        )
        make_done(request, PreparedMarket(candles, TIMEFRAME, config))
        print("made up; now the command itself", flush=True)
        known = set((folder / "var/checkpoints").rglob("window-*"))
        command = [
            sys.executable, "-m", "training.model_validator", "--candles", "candles.csv.gz",
            "--config", str(ROOT / "config.json"), "--jobs", str(JOBS),
        ]  # fmt: skip
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        started = time.time()  # noqa: TID251 - compared with a file's time
        with (folder / "screen").open("wb") as screen:
            process = subprocess.Popen(
                command, cwd=folder, env=environment, stdout=screen, stderr=screen
            )
            try:
                path = first_new(folder / "var/checkpoints", known, process)
            finally:
                process.send_signal(signal.SIGKILL)
                process.wait()
        head = path.read_bytes().split(b"\n")[1]
        seconds = path.stat().st_mtime - json.loads(head)["seconds"] - started
    show(
        f"windows recalled: {len(known):,}; seconds until the first new fit",
        f"{seconds:.1f}",
        "<= 10",
        seconds <= 10,
    )


if __name__ == "__main__":
    main()
