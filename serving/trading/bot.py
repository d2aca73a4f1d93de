"""The trading bot: one tick after the other, for all accounts.

A tick brings every account in line with its exchange, moves stops with the bars that have
closed, obeys breaker, switches and operator, enters what the strategies in Staging (paper) and
Production (live) say, and leaves no position without a stop. A tick that runs twice changes
nothing the second time.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from serving.journal import Journal
from serving.trading.bars import Bars
from serving.trading.breaker import advanced, tripped
from serving.trading.close_requests import CloseRequests
from serving.trading.decisions import ClosedBar, consider
from serving.trading.desk import Desk, Notice
from serving.trading.leaving import close, go_on_leaving, put_to_break_even
from serving.trading.positions import LIVE, PARTITION, Ledger, paper_account
from serving.trading.protection import protect, sweep
from serving.trading.reconciliation import reconcile
from serving.trading.roster import Entrant, Roster
from serving.trading.stepping import step
from store.clock import Clock
from store.exchange import Exchange
from store.market import Market
from store.notifications import Notifier, notify_once
from store.paper_exchange import PaperExchange
from store.state import StateTable
from strategy.errors import (
    ConfigError,
    ConflictError,
    RetryError,
    StoreError,
    TradingSystemError,
)
from strategy.sizing import RiskRules

if TYPE_CHECKING:
    from store.settings import Settings
    from strategy.config import Config

_log = logging.getLogger(__name__)

ROSTER = "roster"
"""Key in the partition ``bot``: what was last seen in the registry."""
_MARGIN_BARS = 3


@dataclass(frozen=True)
class Instructions:
    """What the operator wants, as this tick has it.

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


@dataclass(frozen=True)
class TickReport:
    """What a tick did, for the log."""

    time: datetime
    bars: Sequence[str] = ()
    accounts: Sequence[str] = ()
    notices: Sequence[Notice] = ()
    errors: Sequence[str] = ()


@dataclass
class TradingBot:
    """The bot with its parts; one tick after the other.

    Parameters
    ----------
    open_live
        Opens the exchange of the account with real money; called when it is first needed.
    sleep
        Waits that many seconds for an order's end.
    """

    config: Config
    settings: Settings
    state: StateTable
    market: Market
    roster: Roster
    notifier: Notifier
    clock: Clock
    open_live: Callable[[], Exchange]
    sleep: Callable[[float], None] = time.sleep
    _exchanges: dict[str, Exchange] = field(default_factory=dict, init=False, repr=False)

    def tick(self) -> TickReport:
        """Do what is due now.

        Raises
        ------
        RetryError
            Something could not be done, or another bot is at work: after all else was. The
            same call may succeed at once, and the next tick tries again anyway.
        FixError
            A person must put something right; positions that could be managed were.
        """
        bars = Bars(self.state, self.market, self.clock)
        due = bars.due(self._markets)
        busy = [item.key for item in self.state.items(PARTITION) if item.value.get("positions")]
        if not due and not busy:
            return TickReport(self.clock())
        notices: list[Notice] = []
        entrants = self._entrants(due, notices) if due else []
        closed = self._closed(bars, due, entrants)
        instructions = self._instructions(notices)
        names = sorted({*busy, *(_account(each) for each in entrants)})
        errors: list[TradingSystemError] = []
        for name in names:
            own = [each for each in entrants if _account(each) == name]
            errors += self._run(name, own, closed, instructions, notices)
        if not errors or all(self.clock() - bar.close_time > _LONG_AGO for bar in closed):
            bars.done(closed)
        self._tell(notices, errors)
        names_of_bars = [f"{bar.asset} {bar.timeframe} {bar.close_time}" for bar in closed]
        if errors:
            _raise(errors)
        return TickReport(self.clock(), names_of_bars, names, notices)

    @property
    def _markets(self) -> list[tuple[str, str]]:
        return [
            (asset, timeframe)
            for asset, timeframes in self.config.asset_timeframes.items()
            for timeframe in timeframes
        ]

    def _entrants(
        self, due: Sequence[tuple[str, str, datetime]], notices: list[Notice]
    ) -> list[Entrant]:
        """Who trades the markets whose bar is due; those of last time if nobody can say."""
        models = [f"{asset}-{timeframe}" for asset, timeframe, _ in due]
        item = self.state.get("bot", ROSTER)
        before: dict[str, Any] = dict(item.value) if item else {}
        try:
            found = self.roster.read(models, synthetic_market=self.market.synthetic)
        except TradingSystemError as error:
            why = f"the registry cannot be read: {error}"
            _log.error("%s", why)
            now = self.clock()
            notices.append(Notice(f"registry/{now:%Y-%m-%dT%H}", "Registry unreachable", why))
            return [
                Entrant(**row, bundle=None, problem=why)
                for model in models
                for row in before.get(model, [])
            ]
        for each in found:
            if each.problem is not None:
                key = f"{each.model}/{each.version}/{each.problem}"[:500]
                subject = f"{each.model} version {each.version} opens nothing"
                notices.append(Notice(key, subject, each.problem))
        after = before | {
            model: [
                {
                    "model": each.model,
                    "version": each.version,
                    "strategy_id": each.strategy_id,
                    "book": each.book,
                }
                for each in found
                if each.model == model
            ]
            for model in models
        }
        if after != before:
            try:
                self.state.put("bot", ROSTER, after, expected=item.version if item else 0)
            except ConflictError:
                _log.info("another bot has written the roster")
        return found

    def _closed(
        self,
        bars: Bars,
        due: Sequence[tuple[str, str, datetime]],
        entrants: Sequence[Entrant],
    ) -> list[ClosedBar]:
        found = []
        for asset, timeframe, close_time in due:
            needs = [
                each.bundle.required_history
                for each in entrants
                if each.bundle is not None and each.model == f"{asset}-{timeframe}"
            ]
            bar = bars.read(asset, timeframe, close_time, max(needs, default=1) + _MARGIN_BARS)
            if bar is not None:
                found.append(bar)
        return found

    def _instructions(self, notices: list[Notice]) -> Instructions:
        """The operator's limits and switches; where they cannot be read nothing is opened."""
        try:
            risk, ops = self.settings.risk(), self.settings.ops()
        except TradingSystemError as error:
            why = f"the settings cannot be read: {error}"
            now = self.clock()
            notices.append(Notice(f"settings/{now:%Y-%m-%dT%H}/{error}"[:500], "Settings", why))
            return Instructions(None, why, None)
        rules = RiskRules(
            risk_per_trade=Decimal(repr(risk.risk_per_trade)),
            risk_exposition=Decimal(repr(risk.risk_exposition)),
            max_leverage=Decimal(repr(self.config.leverage.max_leverage)),
        )
        emergency = "the emergency stop is set" if ops.emergency_stop else None
        off = None if ops.master_trading_switch else "the master trading switch is off"
        return Instructions(rules, emergency or off, emergency)

    def _run(
        self,
        name: str,
        entrants: Sequence[Entrant],
        closed: Sequence[ClosedBar],
        instructions: Instructions,
        notices: list[Notice],
    ) -> list[TradingSystemError]:
        """One account's tick; what went wrong with it does not keep others from theirs."""
        try:
            desk = self._desk(name)
        except TradingSystemError as error:
            _log.error("%s: %s", name, error)
            return [error]
        try:
            self._work(desk, entrants, closed, instructions)
        except TradingSystemError as error:
            _log.error("%s: %s", name, error)
            if isinstance(error, ConfigError):  # its key may have been put right since
                del self._exchanges[name]
            return [error, *desk.errors.values()]
        finally:
            notices += desk.notices
        return list(desk.errors.values())

    def _work(
        self,
        desk: Desk,
        entrants: Sequence[Entrant],
        closed: Sequence[ClosedBar],
        instructions: Instructions,
    ) -> None:
        reconcile(desk)
        desk.for_each(go_on_leaving)
        desk.for_each(step)
        desk.ledger.save()
        breaker = advanced(desk, self.config.circuit_breaker)
        if breaker.force_break_even:
            why = "the daily drawdown has come near its limit"
            desk.for_each(lambda desk, position: put_to_break_even(desk, position, why))
        if instructions.emergency is not None:
            desk.for_each(lambda desk, position: close(desk, position, str(instructions.emergency)))
        self._obey(desk)
        desk.for_each(protect)
        halted = instructions.halted or tripped(breaker)
        for entrant in entrants:
            for bar in closed:
                if entrant.model == f"{bar.asset}-{bar.timeframe}":
                    consider(desk, entrant, bar, instructions.rules, halted)
        desk.ledger.save()
        if closed:
            sweep(desk, [bar.asset for bar in closed])

    def _obey(self, desk: Desk) -> None:
        """Close what the operator asked to have closed."""
        requests = CloseRequests(self.state)
        for (account, symbol), item in requests.open().items():
            if account != desk.ledger.name:
                continue
            position = desk.ledger.account.positions.get(symbol)
            if position is not None and symbol not in desk.errors:
                close(desk, position, f"asked for by {item.value['by']} at {item.value['at']}")
            requests.done(item)

    def _desk(self, name: str) -> Desk:
        if name not in self._exchanges:
            self._exchanges[name] = self.open_live() if name == LIVE else self._paper(name)
        return Desk(
            ledger=Ledger(self.state, name),
            book="live" if name == LIVE else "paper",
            exchange=self._exchanges[name],
            market=self.market,
            journal=Journal(self.state),
            clock=self.clock,
            sleep=self.sleep,
            fee_per_side=self.config.costs.fee_per_side,
        )

    def _paper(self, name: str) -> Exchange:
        capital = Decimal(repr(self.settings.risk().paper_capital))
        return PaperExchange(self.state, name, self.market, self.config.costs, capital, self.clock)

    def _tell(self, notices: Sequence[Notice], errors: Sequence[TradingSystemError]) -> None:
        now = self.clock()
        told = [
            *notices,
            *(
                Notice(
                    f"error/{now:%Y-%m-%d}/{type(error).__name__}/{error}"[:500],
                    f"Trading bot: {type(error).__name__}",
                    str(error),
                )
                for error in errors
                if not isinstance(error, ConflictError)
            ),
        ]
        for each in told:
            _log.info("%s: %s", each.subject, each.text)
            try:
                notify_once(
                    self.state, self.notifier, f"bot/{each.key}", each.subject, each.text, now
                )
            except (RetryError, StoreError, ConfigError) as error:
                # What happened is in journal and log; trading goes on untold.
                _log.error("the operator could not be told of %s: %s", each.key, error)


_LONG_AGO = timedelta(minutes=20)


def _account(entrant: Entrant) -> str:
    return LIVE if entrant.book == "live" else paper_account(entrant.strategy_id)


def _raise(errors: Sequence[TradingSystemError]) -> None:
    """One error for all of them, of the kind that asks most of the caller."""
    for kind in (ConflictError, RetryError):
        if all(isinstance(error, kind) for error in errors):
            raise kind("; ".join(dict.fromkeys(str(error) for error in errors))) from errors[0]
    fix = next(error for error in errors if not isinstance(error, RetryError))
    raise type(fix)("; ".join(dict.fromkeys(str(error) for error in errors))) from fix
