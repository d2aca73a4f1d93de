"""``positions``: what is open, what was traded last, and how each account stands."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.table import Table

from serving.commands.desk_parts import add_state_argument, state_of
from serving.journal import Journal, TradeRecord
from serving.trading.positions import LIVE, PARTITION, Account, Position, read_account

if TYPE_CHECKING:
    from store.state import StateTable

console = Console()
_LAST = 10


def add(commands: Any) -> None:
    """Add it to the command line."""
    parser = commands.add_parser("positions", help="open positions and the last trades")
    add_state_argument(parser)
    parser.set_defaults(run=_show)


def _show(options: argparse.Namespace) -> int:
    state = state_of(options)
    accounts = {item.key: read_account(item.value, item.key) for item in state.items(PARTITION)}
    trades = {name: _trades(state, name, account) for name, account in accounts.items()}
    if options.json:
        print(json.dumps({name: _document(accounts[name], trades[name]) for name in accounts}))
        return 0
    if not accounts:
        console.print("No account has traded yet: python -m serving paper")
    for name, account in accounts.items():
        console.print(_open_table(name, account))
        console.print(trades_table(trades[name][-_LAST:], f"last trades of {len(trades[name])}"))
    return 0


def _trades(state: StateTable, name: str, account: Account) -> list[TradeRecord]:
    book = "live" if name == LIVE else "paper"
    found = [
        trade
        for strategy_id in account.decided
        for trade in Journal(state).trades(strategy_id, "live" if book == "live" else "paper")
    ]
    return sorted(found, key=lambda trade: trade.decision_time)


def _document(account: Account, trades: list[TradeRecord]) -> dict[str, Any]:
    return {
        "positions": {
            symbol: position.model_dump(mode="json")
            for symbol, position in account.positions.items()
        },
        "breaker": {
            name: period.model_dump(mode="json") for name, period in account.periods.items()
        },
        "trades": [trade.document() for trade in trades],
    }


def _open_table(name: str, account: Account) -> Table:
    tripped = [period for period, state in account.periods.items() if state.tripped]
    title = f"{name}: breaker tripped ({', '.join(tripped)})" if tripped else name
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False)
    for column in ("position", "version", "entered", "stop"):
        table.add_column(column, no_wrap=True)
    for column in ("quantity", "at", "stop at", "locked in"):
        table.add_column(column, justify="right")
    for position in account.positions.values():
        table.add_row(*_row(position))
    if not account.positions:
        table.add_row("none is open")
    return table


def _row(position: Position) -> tuple[str, ...]:
    if position.entry_price is None or position.entry_time is None:
        where = f"{position.asset} {position.side_name}"
        return where, f"{position.model} v{position.version}", "in flight"
    locked = position.side * (position.stop - position.entry) / position.risk
    return (
        f"{position.asset} {position.side_name}",
        f"{position.model} v{position.version}",
        f"{position.entry_time:%Y-%m-%d %H:%M}",
        "trails" if position.trailing else "at entry" if locked == 0 else "initial",
        f"{position.quantity:f}",
        f"{position.entry:g}",
        f"{position.stop:g}",
        f"{locked:+.2f} R",
    )


def trades_table(trades: list[TradeRecord], title: str) -> Table:
    """One row a trade, for people."""
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False)
    for column in ("decided", "left", "trade", "reason"):
        table.add_column(column, no_wrap=True)
    for column in ("in at", "out at", "R", "USD"):
        table.add_column(column, justify="right")
    for trade in trades:
        colour = "green" if trade.r > 0 else "red"
        table.add_row(
            f"{trade.decision_time:%Y-%m-%d %H:%M}",
            f"{trade.exit_time:%Y-%m-%d %H:%M}",
            f"{trade.asset} {'long' if trade.side > 0 else 'short'}",
            trade.reason.replace("_", " "),
            f"{trade.entry_price:g}",
            f"{trade.exit_price:g}",
            f"[{colour}]{trade.r:+.2f}[/]",
            f"{trade.profit:+.2f}",
        )
    return table
