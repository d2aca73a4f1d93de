"""Asks for campaigns, trades on paper, and gives the operator a hand on everything.

::

    python -m serving campaign --asset BTCUSDT --timeframe 1h --candles synthetic --shards 2
    python -m serving paper
    python -m serving positions
    python -m serving stop --emergency
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape

from serving.commands import campaign, paper, positions, stages, status, switches
from strategy.errors import INTERRUPTED, TradingSystemError, exit_status


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m serving", description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for each in (campaign, paper, status, positions, switches, stages):
        each.add(commands)
    options = parser.parse_args(arguments)
    try:
        return int(options.run(options))
    except KeyboardInterrupt:  # before anything runs
        Console(stderr=True).print("[red bold]error:[/] interrupted")
        return INTERRUPTED
    except TradingSystemError as error:
        Console(stderr=True).print(f"[red bold]error:[/] {escape(str(error))}", highlight=False)
        return exit_status(error)


if __name__ == "__main__":
    sys.exit(main())
