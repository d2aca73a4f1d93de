"""Downloads candles from Binance into a folder or a bucket, from where it last stopped.

::

    python -m store.download --asset BTCUSDT --timeframe 1h --into var/candles
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import ccxt
import pandas as pd
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from store.backoff import Backoff
from store.binance import BinanceSource, Page
from store.binance_klines import connect
from store.candle_archive import CandleArchive, Gap, Written, open_archive
from store.clock import Clock, utc_now
from store.config_file import read_config
from strategy.errors import INTERRUPTED, TradingSystemError, exit_status


def main(
    arguments: Sequence[str] | None = None,
    *,
    client: Callable[[], ccxt.binanceusdm] = connect,
    now: Clock = utc_now,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m store.download",
        description="Download the candles of a Binance USDT-M future, from where it stopped on.",
    )
    parser.add_argument("--asset", required=True, help="as config.json lists it: BTCUSDT")
    parser.add_argument("--timeframe", required=True, help="for example 1h")
    parser.add_argument("--config", type=Path, default=Path("config.json"))
    parser.add_argument(
        "--into",
        default="var/candles",
        metavar="FOLDER|s3://BUCKET/PREFIX",
        help="where the candles are kept (%(default)s)",
    )
    parser.add_argument(
        "--all-gaps",
        action="store_true",
        help="ask again for the gaps, too, that Binance could not fill within a week",
    )
    chosen = parser.parse_args(arguments)
    try:
        config = read_config(chosen.config)
        config.require_market(chosen.asset, chosen.timeframe)
        archive = open_archive(chosen.into, config.candles.max_gap_bars)
        if chosen.all_gaps:
            archive.set_absent(chosen.asset, chosen.timeframe, pd.DatetimeIndex([], tz="UTC"))
        history = pd.DateOffset(years=config.walk_forward_config.history_years)
        source = BinanceSource(archive, history, client(), now, Backoff(sleep))
        with progress_bar(f"{chosen.asset} {chosen.timeframe}") as report:
            written = source.download(chosen.asset, chosen.timeframe, report)
        gaps = source.gaps(chosen.asset, chosen.timeframe)
        print(_summary(archive, chosen.asset, chosen.timeframe, written, gaps))
        archive.load(chosen.asset, chosen.timeframe)  # it fails where they cannot be used
    except KeyboardInterrupt:
        print("Stopped. The same command goes on from here.", file=sys.stderr)
        return INTERRUPTED
    except TradingSystemError as error:
        print(f"error: {error}", file=sys.stderr)
        return exit_status(error)
    return 0


@contextmanager
def progress_bar(label: str) -> Iterator[Callable[[Page], None]]:
    """Draw the progress of a download on standard error."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,.0f} of {task.total:,.0f} candles"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(label, total=0)
        yield lambda page: progress.update(task, completed=page.done, total=page.total)


def _summary(
    archive: CandleArchive, asset: str, timeframe: str, written: Written, gaps: Sequence[Gap]
) -> str:
    """What the archive holds now, and what a person should know about it."""
    times = archive.open_times(asset, timeframe)
    lines = [
        f"{asset} {timeframe}: {len(times):,} candles from {times[0]} to {times[-1]} in "
        f"{archive.name}, {written.added:,} of them new",
        *(f"gap: {gap.missing_bars} missing after {gap.after}" for gap in gaps),
        *(f"revised by Binance since the last download: {time}" for time in written.revised),
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
