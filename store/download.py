"""Downloads candles from Binance into a folder, from where the last download stopped.

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
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from store.backoff import Backoff
from store.binance import BinanceSource, Report, connect
from store.candles import CandleFolder, Written
from store.clock import Clock, utc_now
from store.config_file import read_config
from strategy.candles import find_gaps
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
    parser.add_argument("--into", type=Path, default=Path("var/candles"), help="candle folder")
    chosen = parser.parse_args(arguments)
    try:
        config = read_config(chosen.config)
        config.require_market(chosen.asset, chosen.timeframe)
        folder = CandleFolder(chosen.into, config.candles.max_gap_bars)
        years = config.walk_forward_config.history_years
        with progress_bar(f"{chosen.asset} {chosen.timeframe}") as report:
            source = BinanceSource(folder, years, client(), now, Backoff(sleep), report)
            written = source.download(chosen.asset, chosen.timeframe)
        print(_summary(folder, chosen.asset, chosen.timeframe, written))
    except KeyboardInterrupt:
        print("Stopped. The same command goes on from here.", file=sys.stderr)
        return INTERRUPTED
    except TradingSystemError as error:
        print(f"error: {error}", file=sys.stderr)
        return exit_status(error)
    return 0


@contextmanager
def progress_bar(label: str) -> Iterator[Report]:
    """Draw the progress of a download on standard error."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,.0f} of {task.total:,.0f} candles"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(label, total=0)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def _summary(folder: CandleFolder, asset: str, timeframe: str, written: Written) -> str:
    """What the folder holds now, and what a person should know about it."""
    candles = folder.load(asset, timeframe)
    gaps = find_gaps(candles, timeframe)
    lines = [
        f"{asset} {timeframe}: {len(candles):,} candles from {candles.index[0]} to "
        f"{candles.index[-1]} in {folder.root}, {written.added:,} of them new",
        *(f"gap: {gap.missing_bars} missing after {gap.after}" for gap in gaps.itertuples()),
        *(f"revised by Binance since the last download: {time}" for time in written.revised),
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
