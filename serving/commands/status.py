"""``status``: campaigns and what they cost, the switches, and how far the bot has come."""

from __future__ import annotations

import argparse
import json
from typing import Any

from rich.console import Console

from serving.commands.desk_parts import add_state_argument, settings_of, state_of
from serving.trading.bars import KEY, PARTITION
from store.clock import utc_now

console = Console()


def add(commands: Any) -> None:
    """Add it to the command line."""
    parser = commands.add_parser("status", help="campaigns and their cost, switches, the bot")
    add_state_argument(parser)
    parser.set_defaults(run=_show)


def _show(options: argparse.Namespace) -> int:
    from serving.status import status_document, status_tables

    state, ops = state_of(options), settings_of(options).ops()
    item = state.get(PARTITION, KEY)
    bars = {name: seen["close"] for name, seen in item.value.items()} if item else {}
    if options.json:
        trading = {"switches": ops.model_dump(mode="json"), "bars_until": bars}
        print(json.dumps(status_document(state, utc_now) | {"trading": trading}, indent=2))
        return 0
    for part in status_tables(state, utc_now):
        console.print(part, highlight=False)
    switch = "on" if ops.master_trading_switch else "[red]off[/]"
    emergency = ", [red bold]emergency stop set[/]" if ops.emergency_stop else ""
    console.print(f"Trading: master switch {switch}{emergency}.", highlight=False)
    for name, close in bars.items():
        console.print(f"The bot has dealt with {name} until {close}.", highlight=False)
    return 0
