"""Command-line arguments that the jobs of this package share."""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import pandas as pd

from store.binance import BinanceSource, connect, utc_now
from store.candles import CandleFile, CandleFolder, CandleSource
from store.synthetic import NO_EDGE, SyntheticSource
from strategy.config import Config, parse_config
from strategy.errors import ConfigError

EMBEDDED_STORE = "sqlite:///var/mlflow.db"
CANDLE_FOLDER = Path("var/candles")
SYNTHETIC_END = pd.Timestamp("2026-01-01T00:00:00Z")
"""Fixed, so that the embedded market is the same on every day."""


def add_market_arguments(parser: argparse.ArgumentParser) -> None:
    """``--asset --timeframe --candles``: what is traded, and where its candles come from."""
    parser.add_argument("--asset", default="BTCUSDT", help="as Binance writes it (%(default)s)")
    parser.add_argument("--timeframe", default="1h", help="(%(default)s)")
    parser.add_argument(
        "--candles",
        default="synthetic",
        metavar="PATH|binance|synthetic|synthetic-no-edge",
        help="a .parquet, .csv or .csv.gz file, Binance USDT-M futures through ccxt, or the "
        "embedded market with planted trends or without any edge (%(default)s)",
    )


def add_store_argument(parser: argparse.ArgumentParser) -> None:
    """``--tracking-uri``: the MLflow store."""
    parser.add_argument(
        "--tracking-uri",
        default=None,
        help=f"MLflow store (MLFLOW_TRACKING_URI, else {EMBEDDED_STORE})",
    )


def candle_source(argument: str, config: Config) -> CandleSource:
    """The source that ``--candles`` names."""
    history_years = config.walk_forward_config.history_years
    max_gap_bars = config.candles.max_gap_bars
    if argument == "binance":
        folder = CandleFolder(CANDLE_FOLDER, max_gap_bars)
        return BinanceSource(folder, history_years, connect(), utc_now)
    if argument in ("synthetic", "synthetic-no-edge"):
        seed = config.monte_carlo_config.random_seed
        start = SYNTHETIC_END - pd.DateOffset(years=history_years)
        bars = (SYNTHETIC_END - start) // pd.Timedelta(hours=1)
        if argument == "synthetic":
            return SyntheticSource(seed, bars, SYNTHETIC_END)
        return SyntheticSource(seed, bars, SYNTHETIC_END, NO_EDGE)
    return CandleFile(Path(argument), max_gap_bars)


def read_config(path: str) -> Config:
    """Read config.json; ConfigError names the file if it is not there."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--config {path}: {error.strerror}") from error
    return parse_config(text, source=path)


def tracking_uri(argument: str | None) -> str:
    """The MLflow store: from the command line, the environment, or the embedded one."""
    return argument or os.environ.get("MLFLOW_TRACKING_URI") or EMBEDDED_STORE


def epoch_ms() -> int:
    """The computer's clock, for a process that starts: milliseconds since 1970, UTC."""
    return time.time_ns() // 1_000_000  # noqa: TID251 - the edge


def artifact_root(uri: str) -> Path | None:
    """Folder for the files of an embedded store's runs, beside it; a server has its own."""
    database = uri.removeprefix("sqlite:///")
    return None if database == uri else Path(database).parent / "artifacts"
