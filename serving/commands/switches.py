"""``stop``, ``resume`` and ``close``: the operator's hand on the bot. It obeys within a tick."""

from __future__ import annotations

import argparse
import getpass
from typing import Any

from serving.commands.desk_parts import add_state_argument, say, settings_of, state_of
from serving.trading.close_requests import CloseRequests
from serving.trading.positions import PARTITION, read_account
from store.clock import utc_now
from strategy.errors import ConfigError

_SWITCH, _EMERGENCY = "ops/master_trading_switch", "ops/emergency_stop"


def add(commands: Any) -> None:
    """Add the three to the command line."""
    stop = commands.add_parser("stop", help="no new entries; what is open stays managed")
    stop.add_argument("--emergency", action="store_true", help="close everything, too")
    add_state_argument(stop)
    stop.set_defaults(run=_stop)
    resume = commands.add_parser("resume", help="take back stop, the emergency stop included")
    add_state_argument(resume)
    resume.set_defaults(run=_resume)
    close = commands.add_parser("close", help="have open positions closed at the next tick")
    close.add_argument("symbol", help="as BTCUSDT")
    close.add_argument("--account", help="only of this one: live, or paper/STRATEGY")
    add_state_argument(close)
    close.set_defaults(run=_close)


def _stop(options: argparse.Namespace) -> int:
    changes = {_SWITCH: False} | ({_EMERGENCY: True} if options.emergency else {})
    said = "Nothing new is opened from the next tick on" + (
        ", and everything that is open is closed." if options.emergency else "; what is open stays "
        "managed, by stops and all."
    )  # fmt: skip
    return _switch(options, changes, said + " Take it back with: python -m serving resume")


def _resume(options: argparse.Namespace) -> int:
    changes = {_EMERGENCY: False, _SWITCH: True}
    return _switch(options, changes, "Entries are allowed again from the next tick on.")


def _switch(options: argparse.Namespace, changes: dict[str, bool], said: str) -> int:
    settings = settings_of(options)
    for name, value in changes.items():
        settings.set(name, value)
    say(changes, said, as_json=options.json)
    return 0


def _close(options: argparse.Namespace) -> int:
    state = state_of(options)
    accounts = [
        item.key
        for item in state.items(PARTITION)
        if options.symbol in read_account(item.value, item.key).positions
        and options.account in (None, item.key)
    ]
    if not accounts:
        raise ConfigError(
            f"no account has a position in {options.symbol}; see: python -m serving positions"
        )
    for account in accounts:
        CloseRequests(state).ask(account, options.symbol, getpass.getuser(), utc_now())
    answer = {"symbol": options.symbol, "accounts": accounts}
    said = f"{options.symbol} of {', '.join(accounts)} is closed at the next tick."
    say(answer, said, as_json=options.json)
    return 0
