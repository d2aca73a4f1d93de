"""What the benchmarks share: the market that they measure on, and how a figure is shown."""

from __future__ import annotations

import argparse
import os
from concurrent.futures import Executor
from pathlib import Path

import pandas as pd

from store.config_file import read_config
from strategy.config import Config, LightGBMParameters
from strategy.windows import Window
from training.scheduler import evaluate_in_worker
from training.walk_forward import TrialParameters

ASSET = "BTCUSDT"
TIMEFRAME = "1h"
ROOT = Path(__file__).resolve().parents[1]
REAL_CANDLES = ROOT.parent / "shared" / "data" / "BTCUSDT-1h.parquet"
MIDDLE = LightGBMParameters(
    learning_rate=0.055, num_leaves=60, min_data_in_leaf=30, n_estimators=275
)
"""The middle of the ranges that refinement searches."""


def load_market(description: str, minutes: str) -> tuple[pd.DataFrame, Config]:
    """The candles that ``--candles`` names, and config.json; says which and how long it takes.

    Without the argument: five years of real hours if they lie beside the checkout, else the
    embedded synthetic market.
    """
    from store.candle_arguments import candle_source  # imports what no worker process needs

    parser = argparse.ArgumentParser(description=description.split("\n")[0])
    default = str(REAL_CANDLES) if REAL_CANDLES.exists() else "synthetic"
    parser.add_argument("--candles", default=default, help="file, folder or synthetic")
    options = parser.parse_args()
    config = read_config(ROOT / "config.json")
    source = candle_source(options, config)
    candles = source.load(ASSET, TIMEFRAME)
    kind = "synthetic market" if source.synthetic else "candles"
    print(f"{kind} {source.name}, {len(candles):,} bars; takes about {minutes} on two idle cores")
    return candles, config


def show(name: str, figure: str, bound: str = "", holds: bool | None = None) -> None:
    """One line of a table: what was measured, the bound it should keep, and whether it does."""
    verdict = {None: "", True: "holds", False: "MISSED"}[holds]
    print(f"  {name:<66} {figure:>12}  {bound:<10} {verdict}".rstrip(), flush=True)


def start_workers(
    executor: Executor, jobs: int, parameters: TrialParameters, window: Window
) -> None:
    """Return when every worker is there and has loaded its machine code, by this unit."""
    seen: set[int] = set()
    while len(seen) < jobs:
        futures = [executor.submit(_process_of, parameters, window) for _ in range(jobs)]
        seen |= {future.result() for future in futures}


def _process_of(parameters: TrialParameters, window: Window) -> int:
    evaluate_in_worker(parameters, window)
    return os.getpid()
