"""Command-line arguments that say what is traded, and where its candles come from."""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from store.candle_archive import open_archive
from store.candles import CandleFile, CandleSource
from store.clock import utc_now
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
        help="a .parquet, .csv or .csv.gz file, a folder or s3://bucket/prefix that was "
        "downloaded into, Binance USDT-M futures through ccxt, or the embedded market with planted "
        "trends or without any edge (%(default)s)",
    )


def candle_source(options: argparse.Namespace, config: Config) -> CandleSource:
    """The source that ``--candles`` names; Binance's is brought up to date, with a bar."""
    max_gap_bars = config.candles.max_gap_bars
    history_years = config.walk_forward_config.history_years
    if options.candles == "binance":
        # ccxt takes half a second to import, which other sources need not wait for.
        from store.binance import BinanceSource
        from store.binance_klines import connect
        from store.download import progress_bar

        archive = open_archive(CANDLE_FOLDER, max_gap_bars)
        history = pd.DateOffset(years=history_years)
        source = BinanceSource(archive, history, connect(), utc_now)
        with progress_bar(f"{options.asset} {options.timeframe}") as report:
            source.download(options.asset, options.timeframe, report)
        return source
    if options.candles in SYNTHETIC:
        seed = config.monte_carlo_config.random_seed
        start = SYNTHETIC_END - pd.DateOffset(years=history_years)
        bars = (SYNTHETIC_END - start) // pd.Timedelta(hours=1)
        return SyntheticSource(seed, bars, SYNTHETIC_END, SYNTHETIC[options.candles])
    path = Path(options.candles)
    if options.candles.startswith("s3://") or path.is_dir():
        return open_archive(options.candles, max_gap_bars)
    return CandleFile(path, max_gap_bars)
