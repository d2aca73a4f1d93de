"""What the operator wants, as a tick has it: limits and switches."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from serving.trading.desk import Notice
from store.state import StateTable
from strategy.errors import ConflictError, TradingSystemError
from strategy.sizing import RiskRules

if TYPE_CHECKING:
    from datetime import datetime

    from store.settings import Settings
    from store.settings_sections import OpsSettings

PARTITION, SWITCHES = "bot", "switches"
"""Of the state table: the switches as the operator last heard of them."""


@dataclass(frozen=True)
class Instructions:
    """The operator's limits and switches.

    Parameters
    ----------
    rules
        None where the settings cannot be read.
    halted
        Why nothing may be opened; None where it may.
    emergency
        Why everything is to be closed; None where it is not.
    """

    rules: RiskRules | None
    halted: str | None
    emergency: str | None


def instructions(
    settings: Settings, max_leverage: float, state: StateTable, now: datetime
) -> tuple[Instructions, list[Notice]]:
    """What the operator wants, and what he is to hear of it.

    Where the settings cannot be read nothing is opened, and nothing is closed either.
    """
    try:
        risk, ops = settings.risk(), settings.ops()
    except TradingSystemError as error:
        why = f"the settings cannot be read: {error}"
        hourly = Notice(f"settings/{now:%Y-%m-%dT%H}/{error}"[:200], "Settings", f"{why}.")
        return Instructions(None, why, None), [hourly]
    rules = RiskRules(
        risk_per_trade=Decimal(repr(risk.risk_per_trade)),
        risk_exposition=Decimal(repr(risk.risk_exposition)),
        max_leverage=Decimal(repr(max_leverage)),
    )
    emergency = "the emergency stop is set" if ops.emergency_stop else None
    off = None if ops.master_trading_switch else "the master trading switch is off"
    return Instructions(rules, emergency or off, emergency), _heard(ops, state)


def _heard(ops: OpsSettings, state: StateTable) -> list[Notice]:
    """That the bot obeys a switch which was thrown since it last looked."""
    item = state.get(PARTITION, SWITCHES)
    before = dict(item.value) if item else type(ops)().model_dump(mode="json")
    after = ops.model_dump(mode="json")
    if before == after:
        return []
    version = item.version if item else 0
    try:
        state.put(PARTITION, SWITCHES, after, expected=version)
    except ConflictError:  # another bot has seen it, and tells
        return []
    if ops.emergency_stop:
        subject = "Emergency stop: everything is closed"
    elif not ops.master_trading_switch:
        subject = "Master switch off: nothing new is opened"
    else:
        subject = "Switches are on: entries are allowed"
    text = (
        f"The bot has read master_trading_switch {ops.master_trading_switch} and emergency_stop "
        f"{ops.emergency_stop}. Positions that are open stay managed until they are closed."
    )
    return [Notice(f"switches/{version + 1}", subject, text)]
