"""How much faster two jobs of one process each walk the coverage than one job does.

python -m benchmarks.shards [--candles PATH]

The jobs are the program that runs in a training container, with folders and SQLite in place of
S3 and DynamoDB. The clock runs from the first evaluation's begin to the last one's checkpoint:
starting a container, and what the last job does alone afterwards, are left out. Pruning is off,
so that both walk the same windows.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks._common import ASSET, ROOT, TIMEFRAME, load_market, show
from registry.identity import Identity
from store.campaign_input import set_aside
from strategy.config import Config, config_from
from training.discovery import split_windows
from training.walk_forward import PreparedMarket

TRIALS = 8
ROUNDS = 2


def coverage_only(config: Config) -> Config:
    document = config.model_dump(mode="json")
    document["search"] |= {"max_trials": TRIALS, "coverage_share": 1.0}
    document["search"]["pruning"]["enabled"] = False
    document["preflight"]["mode"] = "off"
    return config_from(document)


def start_job(
    folder: Path, candles: pd.DataFrame, config: Config, shard: int, shards: int
) -> subprocess.Popen[bytes]:
    """A job on SageMaker's layout, its stores shared with the other jobs of the folder."""
    base = folder / f"job-{shard}"
    channel = base / "input" / "data" / "campaign"
    set_aside(
        str(channel), asset=ASSET, timeframe=TIMEFRAME, config=config, candles=candles,
        source_name="benchmark", synthetic=False,
    )  # fmt: skip
    identity = Identity.of(config, candles)
    hyperparameters = {
        "campaign_id": identity.campaign_id(f"{ASSET}-{TIMEFRAME}"),
        "asset": ASSET, "timeframe": TIMEFRAME, "shard": str(shard), "shards": str(shards),
        "config_digest": identity.config_digest, "data_digest": identity.data_digest,
        "code_digest": identity.code_digest,
    }  # fmt: skip
    path = base / "input" / "config" / "hyperparameters.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(hyperparameters))
    environment = {
        "PYTHONPATH": str(ROOT), "SAGEMAKER_BASE_DIR": str(base), "WORKERS": "1",
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
        "STATE_URI": f"sqlite:///{folder}/state.db",
        "CHECKPOINT_URI": str(folder / "checkpoints"),
    }  # fmt: skip
    with (folder / f"log-{shard}").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "training.job"], cwd=folder, env=os.environ | environment,
            stdout=log, stderr=log,
        )  # fmt: skip


def seconds_to_cover(candles: pd.DataFrame, config: Config, shards: int, windows: int) -> float:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        jobs = [start_job(folder, candles, config, shard, shards) for shard in range(1, shards + 1)]
        try:
            while len(done := list((folder / "checkpoints").rglob("window-*"))) < windows:
                if any(job.poll() for job in jobs):
                    raise SystemExit((folder / "log-1").read_text())
                time.sleep(0.1)
        finally:
            for job in jobs:
                job.send_signal(signal.SIGKILL)
                job.wait()
        ended = [path.stat().st_mtime for path in done]
        took = [json.loads(path.read_bytes().split(b"\n")[1])["seconds"] for path in done]
    return max(ended) - min(np.subtract(ended, took))


def main() -> None:
    candles, config = load_market(__doc__, "6 minutes")
    config = coverage_only(config)
    ranking, _ = split_windows(PreparedMarket(candles, TIMEFRAME, config).windows, config.selection)
    windows = TRIALS * len(ranking)
    one, two = np.array(
        [[seconds_to_cover(candles, config, n, windows) for n in (1, 2)] for _ in range(ROUNDS)]
    ).T
    show(f"{windows} windows, one job of one process, s", f"{one.mean():.1f}")
    show("two jobs of one process each, s", f"{two.mean():.1f}")
    ratio = float((one / two).mean())
    show("one over two", f"{ratio:.2f}", ">= 1.9", ratio >= 1.9)


if __name__ == "__main__":
    main()
