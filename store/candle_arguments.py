"""Command-line arguments that say what is traded, and where its candles come from."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import pandas as pd

from store.binance import BinanceSource, connect
from store.candles import CandleFile, CandleFolder, CandleSource
from store.clock import utc_now
from store.download import progress_bar
from store.synthetic import NO_EDGE, PLANTED_TREND, SyntheticSource
from strategy.config import Config

CANDLE_FOLDER = Path("var/candles")
SYNTHETIC_END = pd.Timestamp("2026-01-01T00:00:00Z")
"""Fixed, so that the embedded market is the same on every day."""
SYNTHETIC = {"synthetic": PLANTED_TREND, "synthetic-no-edge": NO_EDGE}


def add_market_arguments(parser: argparse.ArgumentParser) -> None:
    """``--asset --timeframe --candles``: what is traded, and where its candles come from."""
    parser.add_argument("--asset", default="BTCUSDT", help="as Binance writes it (%(default)s)")
    parser.add_argument("--timeframe", default="1h", help="(%(default)s)")
    parser.add_argument(
        "--candles",
        default="synthetic",
        metavar="PATH|binance|synthetic|synthetic-no-edge",
        help="a .parquet, .csv or .csv.gz file, a folder that was downloaded into, Binance "
        "USDT-M futures through ccxt, or the embedded market with planted trends or without "
        "any edge (%(default)s)",
    )


def candle_source(options: argparse.Namespace, config: Config) -> CandleSource:
    """The source that ``--candles`` names; Binance's is brought up to date, with a bar."""
    max_gap_bars = config.candles.max_gap_bars
    history_years = config.walk_forward_config.history_years
    if options.candles == "binance":
        folder = CandleFolder(CANDLE_FOLDER, max_gap_bars)
        source = BinanceSource(folder, history_years, connect(), utc_now)
        with progress_bar(f"{options.asset} {options.timeframe}") as report:
            replace(source, report=report).download(options.asset, options.timeframe)
        return source
    if options.candles in SYNTHETIC:
        seed = config.monte_carlo_config.random_seed
        start = SYNTHETIC_END - pd.DateOffset(years=history_years)
        bars = (SYNTHETIC_END - start) // pd.Timedelta(hours=1)
        return SyntheticSource(seed, bars, SYNTHETIC_END, SYNTHETIC[options.candles])
    path = Path(options.candles)
    return CandleFolder(path, max_gap_bars) if path.is_dir() else CandleFile(path, max_gap_bars)
