"""What people do in a rehearsal: switches, stage moves, closes, withdrawals; by chance, and kept.

One person asks for the first campaign, and takes out each month what was earned: an account that
keeps its gains would soon trade more than any market has.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from registry.lifecycle import Lifecycle, Stage
from rehearsal.system import Event, System
from serving.asking import ask_for
from serving.trading.close_requests import CloseRequests
from serving.trading.positions import LIVE
from store.clock import milliseconds
from strategy.errors import TradingSystemError

WHO = "operator"
_log = logging.getLogger(__name__)

At = Callable[[datetime, str, Mapping[str, Any]], None]
"""Has something done at a moment."""

DAILY = {
    "trading is switched off": 0.02,
    "emergency stop": 0.005,
    "a position is closed by command": 0.02,
    "a position is closed at the exchange": 0.02,
    "a version is pulled back to Staging": 0.004,
    "risk is set": 0.01,
}
"""Chance of a day that it happens, where faults may."""


class Act(NamedTuple):
    """Something that a person did."""

    time: datetime
    what: str


@dataclass
class People:
    """Operators of the system.

    Parameters
    ----------
    at
        Has them called at a moment, with what they want to do then.
    capital
        USD, that stay in the live account.
    moved
        Versions of models that they moved, and to which stage.
    """

    system: System
    at: At
    capital: Decimal
    acts: list[Act] = field(default_factory=list)
    moved: set[tuple[str, int, Stage]] = field(default_factory=set)

    def plan(self, midnight: datetime) -> None:
        """Decide what will be done on a day."""
        if midnight.day == 1:
            self.at(midnight + timedelta(hours=6), "people", {"do": "withdraw"})
        for what, chance in DAILY.items():
            rng = self.system.fate.daily(midnight.date(), what, chance)
            if rng is not None:
                moment = midnight + timedelta(minutes=float(rng.uniform(0, 24 * 60)))
                self.at(moment, "people", {"do": what, "dice": float(rng.random())})

    def __call__(self, event: Event) -> None:
        """Do it now."""
        what, dice = event.payload["do"], float(event.payload.get("dice", 0.0))
        act: Callable[[float], str | None] = {
            "ask": self._ask,
            "withdraw": self._withdraw,
            "trading is switched off": self._switch_off,
            "trading is switched on": self._switch_on,
            "emergency stop": self._emergency,
            "a position is closed by command": self._close,
            "a position is closed at the exchange": self._close_by_hand,
            "a version is pulled back to Staging": self._pull_back,
            "risk is set": self._set_risk,
        }[what]
        done = act(dice)
        if done is not None:
            self.acts.append(Act(self.system.clock(), done))
            if what in DAILY:  # the rest is no chance, and cannot be left out
                self.system.fate.note(f"{event.time:%Y-%m-%d}/{what}", f"people: {what}")

    def _ask(self, _: float) -> str | None:
        asset, timeframe = self._market_without_campaign()
        if not asset:
            return None
        try:
            request = ask_for(
                self.system.stack,
                self.system.config,
                self.system.archive,
                asset,
                timeframe,
                shards=1,
                requested_by=WHO,
            )
        except TradingSystemError as error:
            _log.info("asked in vain: %s", error)
            self.at(self.system.clock() + timedelta(hours=1), "people", {"do": "ask"})
            return None
        self.at(self.system.clock() + timedelta(minutes=1), "people", {"do": "ask"})
        return f"asked for campaign {request.campaign_id} of {asset} {timeframe}"

    def _market_without_campaign(self) -> tuple[str, str]:
        asked = {request.market for request in self.system.quiet_stack.requests.all()}
        waiting = [m for m in self.system.config.markets if "{}-{}".format(*m) not in asked]
        return waiting[0] if waiting else ("", "")

    def _withdraw(self, _: float) -> str | None:
        account = self.system.exchange.account
        gained = min(account.wallet - self.capital, account.available / 2).quantize(Decimal(1))
        if gained <= 0:
            return None
        account.transfer(-gained)
        return f"withdrew {gained} USDT"

    def _switch_off(self, dice: float) -> str:
        self.system.settings.set("ops/master_trading_switch", False)
        self._on_again(dice)
        return "switched trading off"

    def _emergency(self, dice: float) -> str:
        self.system.settings.set("ops/emergency_stop", True)
        self._on_again(dice)
        return "stopped everything"

    def _on_again(self, dice: float) -> None:
        pause = timedelta(hours=1 + 11 * dice)
        self.at(self.system.clock() + pause, "people", {"do": "trading is switched on"})

    def _switch_on(self, _: float) -> str:
        self.system.settings.set("ops/master_trading_switch", True)
        self.system.settings.set("ops/emergency_stop", False)
        return "let trading go on"

    def _set_risk(self, dice: float) -> str:
        risk = (0.005, 0.01, 0.02)[int(3 * dice)]
        self.system.settings.set("risk/risk_per_trade", risk)
        return f"set risk_per_trade to {risk}"

    def _close(self, _: float) -> str | None:
        held = self._held()
        if held is None:
            return None
        requests = CloseRequests(self.system.state)
        requests.ask(LIVE, held[0], WHO, self.system.clock())
        return f"asked to close {held[0]}"

    def _close_by_hand(self, _: float) -> str | None:
        held = self._held()
        if held is None:
            return None
        symbol, amount = held
        self.system.exchange.account.place(
            {
                "symbol": symbol,
                "side": "SELL" if amount > 0 else "BUY",
                "type": "MARKET",
                "quantity": f"{abs(amount):f}",
                "reduceOnly": "true",
                "newClientOrderId": f"web_{self.system.clock.milliseconds}",
            }
        )
        return f"closed {amount:f} {symbol} at the exchange"

    def _held(self) -> tuple[str, Decimal] | None:
        holdings = self.system.exchange.account.holdings.items()
        return next(((symbol, held.amount) for symbol, held in holdings if held.amount), None)

    def _pull_back(self, _: float) -> str | None:
        for asset, timeframe in self.system.config.markets:
            model = f"{asset}-{timeframe}"
            life = Lifecycle(self.system.registry, model, milliseconds(self.system.clock))
            for version in life.versions_in(Stage.PRODUCTION):
                self.moved.add((model, version.number, Stage.STAGING))
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", FutureWarning)
                    # As the UI does: past the program.
                    self.system.registry.transition_model_version_stage(
                        model, str(version.number), Stage.STAGING
                    )
                self.system.registry_changed()
                return f"moved {model} version {version.number} back to Staging"
        return None
