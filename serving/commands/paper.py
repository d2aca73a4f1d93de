"""``paper``: what is in Staging trades virtual money, on replayed candles or at live prices.

It is the very bot that runs on AWS, with the laptop's parts. Versions in Production are left
alone: real orders are the deployed bot's.
"""

from __future__ import annotations

import argparse
import logging
import time
from pathlib import Path
from typing import Any

from store import embedded
from store.clock import utc_now


def add(commands: Any) -> None:
    """Add it to the command line."""
    from store.candle_arguments import SYNTHETIC

    parser = commands.add_parser("paper", help="trade what is in Staging with virtual money")
    parser.add_argument(
        "--market",
        choices=("replay", "binance"),
        default="replay",
        help="candles that the strategies have not seen, day after day; or live prices, until "
        "Ctrl-C (%(default)s)",
    )
    parser.add_argument(
        "--candles",
        default="synthetic",
        metavar="PATH|" + "|".join(SYNTHETIC),
        help="what is replayed: the embedded market beyond the demo's, or a file (%(default)s)",
    )
    parser.add_argument(
        "--days", type=int, default=30, help="to replay, after those of last time (%(default)s)"
    )
    parser.add_argument("--config", default="config.json", help="(%(default)s)")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from serving.commands.paper_live import trade_live
    from serving.commands.paper_replay import replay
    from store.binance_klines import connect
    from store.binance_market import BinanceMarket
    from store.config_file import read_config

    config = read_config(Path(options.config))
    _log_to(embedded.FOLDER / "paper.log")
    if options.market == "replay":
        return replay(options, config)
    market = BinanceMarket(connect(), utc_now, config.candles.max_gap_bars)
    return trade_live(config, market, utc_now, time.sleep)


def _log_to(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    form = "%(asctime)s %(levelname)s %(name)s %(message)s"
    logging.basicConfig(filename=path, level=logging.INFO, format=form)
