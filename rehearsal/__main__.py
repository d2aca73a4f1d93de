"""Rehearses the whole system on years of candles, in minutes, with faults.

::

    python -m rehearsal                                  # the embedded market
    python -m rehearsal --candles BTCUSDT-1h.parquet     # recorded candles, their last two years
    python -m rehearsal --aws moto --months 1            # on what the templates deploy

At the end there is one page, and it is among the artifacts of a run in the rehearsal's own
MLflow store. Exit status 1: an invariant was broken; the seed and the shortest replay that
breaks it are printed.
"""

from __future__ import annotations

import argparse
import logging
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from strategy.errors import ConfigError, TradingSystemError, exit_status

BROKEN = 1
_LONGEST = 24


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m rehearsal", description=__doc__.split("\n")[0])
    parser.add_argument(
        "--candles",
        default="synthetic",
        metavar="PATH|ASSET=PATH,...|synthetic",
        help="recorded candles (one file for each asset of config.json), or the embedded market, "
        "whose edge is lost and comes back (%(default)s)",
    )
    parser.add_argument("--months", type=int, default=_LONGEST, help="(%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of faults and market (%(default)s)")
    parser.add_argument(
        "--faults", type=float, default=0.02, help="chance that an event has one (%(default)s)"
    )
    parser.add_argument(
        "--tries", type=int, default=4, help="replays to shorten one that fails (%(default)s)"
    )
    parser.add_argument(
        "--into", type=Path, default=Path("var/rehearsal"), help="emptied first (%(default)s)"
    )
    parser.add_argument("--config", default="config.json", help="(%(default)s)")
    parser.add_argument("--max-trials", type=int, default=2, help="of every campaign (%(default)s)")
    parser.add_argument(
        "--aws",
        choices=["moto"],
        help="on what the templates deploy, in an AWS that moto imitates, and by the real "
        "handlers; without it the same on embedded parts",
    )
    parser.set_defaults(preflight=None)
    options = parser.parse_args(arguments)
    console = Console()
    try:
        return _rehearse(options, console)
    except TradingSystemError as error:
        Console(stderr=True).print(f"[red bold]error:[/] {escape(str(error))}", highlight=False)
        return exit_status(error)


def _rehearse(options: argparse.Namespace, console: Console) -> int:
    from rehearsal.outcome import outcome_of
    from rehearsal.performance import performed, publish
    from rehearsal.script import script_of
    from rehearsal.shortest import shortest

    if options.months < 1:
        raise ConfigError("--months: at least 1")
    script = script_of(options)
    folder = options.into.absolute()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    form = "%(asctime)s %(levelname)s %(name)s %(message)s"
    logging.basicConfig(filename=folder / "rehearsal.log", level=logging.INFO, format=form)
    console.print(
        f"{script.market}, {script.begin:%Y-%m-%d} to {script.end:%Y-%m-%d}, seed {script.seed}, "
        f"fault rate {script.rate:g}",
        highlight=False,
    )
    with performed(script, folder, console) as (world, broken):
        outcome = outcome_of(world, broken)
        path = publish(outcome, folder, world.system.registry)
    console.print(f"{outcome.verdict}", highlight=False)
    console.print(
        f"{sum(outcome.calls.values()):,} calls, {outcome.struck:,} things went wrong, "
        f"{sum(outcome.checked.values()):,} checks. Read {path}",
        highlight=False,
    )
    if broken is None:
        console.print("[green]Every invariant held.[/]")
        return 0
    console.print(f"[red bold]Broken:[/] {escape(str(broken))}", highlight=False)
    shorter = shortest(
        script, world, broken, folder.with_name(folder.name + "-replay"), options.tries
    )
    console.print(shorter.in_words, highlight=False)
    return BROKEN


if __name__ == "__main__":
    sys.exit(main())
