"""Runs the calibration and writes down what it shows.

::

    python -m training.calibration --candles PATH --campaigns 300 --write docs
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from rich import box
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from store.candles import CandleFile
from store.config_file import read_config
from store.synthetic import PLANTED_TREND
from strategy.candles import digest
from strategy.config import Config
from strategy.errors import ConfigError, DataError, StoreError
from training.calibration.analysis import Campaign, Finding, campaign_of, findings
from training.calibration.campaign import Record, code_digest
from training.calibration.figure import calibration_figure, markets_found
from training.calibration.markets import (
    GEOMETRY,
    MARKETS,
    TIMEFRAME,
    WINDOWS,
    Market,
    calibration_config,
    geometry_digest,
)
from training.calibration.page import FIGURE, page
from training.calibration.records import Key, Origin, Records
from training.calibration.runner import planned, run
from training.console import console, run_command

PAGE = "calibration.md"
STRONG = f"trend-{PLANTED_TREND:g}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and calibrate; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m training.calibration", description=__doc__.split("\n")[0]
    )
    parser.add_argument(
        "--candles",
        type=Path,
        metavar="PATH",
        help="recorded candles of 1h (.parquet, .csv, .csv.gz) for the markets made from them; "
        "without it those are left out",
    )
    parser.add_argument(
        "--campaigns",
        type=int,
        default=300,
        metavar="N",
        help="on every market without an edge, and on the strongest edge (%(default)s)",
    )
    parser.add_argument(
        "--edge-campaigns",
        type=int,
        default=100,
        metavar="N",
        help="on every weaker edge; at most --campaigns (%(default)s)",
    )
    parser.add_argument(
        "--markets",
        type=lambda text: tuple(text.split(",")),
        help=f"names, with commas (all: {','.join(MARKETS)})",
    )
    parser.add_argument("--jobs", type=int, default=1, help="processes (%(default)s)")
    parser.add_argument("--config", default="config.json", help="(%(default)s)")
    parser.add_argument(
        "--records",
        type=Path,
        default=Path("var/calibration/calibration.jsonl"),
        metavar="FILE",
        help="one line a campaign; what is there is not run again (%(default)s)",
    )
    parser.add_argument(
        "--write",
        type=Path,
        metavar="FOLDER",
        help=f"write {PAGE} and its figure there, of all campaigns that are in the records",
    )
    options = parser.parse_args(arguments)
    return run_command(lambda: _command(options))


class Calibration(NamedTuple):
    """What is to be run, and what each record rests on."""

    config: Config
    markets: tuple[Market, ...]
    campaigns: Mapping[str, int]
    origins: Mapping[str, Origin]
    """By market."""
    recorded: pd.DataFrame | None


def _command(options: argparse.Namespace) -> int:
    plan = _plan(options)
    records = Records(options.records)
    known = records.read(*plan.origins.values())
    keys = [key for key in planned(plan.markets, plan.campaigns) if key not in known]
    console.print(
        f"{sum(plan.campaigns.values())} campaigns on {len(plan.markets)} markets; "
        f"{len(keys)} of them are not in {options.records} yet."
    )
    with Progress(
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("campaigns · {task.fields[last]} ·"),
        TimeRemainingColumn(),
        TextColumn("left"),
        expand=True,
        console=console,
    ) as screen:
        task = screen.add_task("calibrate", total=len(keys), last="none yet")

        def keep(key: Key, record: Record) -> None:
            records.append(key, plan.origins[key.market], record)
            screen.update(task, advance=1, last=f"{key.market} {key.seed}")

        run(keys, plan.config, plan.recorded, jobs=options.jobs, on_record=keep)
    found = [campaign_of(each) for each in records.read(*plan.origins.values()).values()]
    if not found:
        raise DataError(f"{options.records} holds no campaign of this code, config and candles")
    _conclude(found, plan, options)
    return 0


def _conclude(found: Sequence[Campaign], plan: Calibration, options: argparse.Namespace) -> None:
    """Show what was found, and write it down if asked to."""
    known = findings(found, plan.config)
    console.print(_table(known[0]))
    if options.write is None:
        return
    recorded = ""
    if plan.recorded is not None:
        index = plan.recorded.index
        recorded = (
            f"{options.candles.name}: {len(index):,} candles, {index[0]:%Y-%m-%d} .. "
            f"{index[-1]:%Y-%m-%d} UTC"
        )
    target, picture = options.write / PAGE, options.write / FIGURE
    subtitle = (
        f"SYNTHETIC MARKETS · {len(found):,} campaigns of "
        f"{plan.config.search.max_trials} trials, {WINDOWS} windows · intervals of 95 %"
    )
    text = page(found, known, plan.config, recorded=recorded)
    try:
        picture.parent.mkdir(parents=True, exist_ok=True)
        calibration_figure(known, subtitle).savefig(picture)
        target.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StoreError(
            f"--write {options.write} cannot be written to: {error.strerror}; give another folder"
        ) from error
    console.print(f"Written: {target}, {picture}")


def _table(every: Finding) -> Table:
    """What all default gates together let pass."""
    table = Table(
        title="Campaigns that pass all default gates",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    for heading in ("market", "campaigns", "passed", "rate", "95 %"):
        table.add_column(heading, justify="left" if heading == "market" else "right")
    for market in markets_found([every]):
        rate = every.rates[market.name]
        low, high = rate.interval
        bound = f"{low:.1%} to {high:.1%}" if market.has_edge else f"up to {rate.upper_bound:.2%}"
        table.add_row(
            market.what, str(rate.campaigns), str(rate.passed), f"{rate.share:.1%}", bound
        )
    return table


def _plan(options: argparse.Namespace) -> Calibration:
    config = calibration_config(read_config(Path(options.config)), GEOMETRY)
    recorded = None
    if options.candles is not None:
        recorded = CandleFile(options.candles, config.candles.max_gap_bars).load("", TIMEFRAME)
    markets = []
    for name in options.markets or MARKETS:
        if name not in MARKETS:
            raise ConfigError(f"--markets: unknown market {name!r}; known are {', '.join(MARKETS)}")
        if MARKETS[name].recorded and recorded is None:
            console.print(f"[yellow]{name} is left out[/]: it needs recorded candles (--candles).")
        else:
            markets.append(MARKETS[name])
    geometry, code = geometry_digest(config), code_digest()
    candles = "" if recorded is None else digest(recorded)[:12]
    return Calibration(
        config,
        tuple(markets),
        {
            market.name: options.campaigns
            if not market.has_edge or market.name == STRONG
            else min(options.campaigns, options.edge_campaigns)
            for market in markets
        },
        {
            market.name: Origin(geometry, code, candles if market.recorded else "")
            for market in markets
        },
        recorded,
    )
