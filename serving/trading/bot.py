"""The trading bot: one tick after the other, for all accounts.

A tick brings every account in line with its exchange, moves stops with the bars that have
closed, obeys breaker, switches and operator, enters what the strategies in Staging (paper) and
Production (live) say, and leaves no position without a stop. A tick that runs twice changes
nothing the second time.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from serving.journal import Journal
from serving.trading.account_tick import trade
from serving.trading.bars import Bars
from serving.trading.close_requests import CloseRequests
from serving.trading.decisions import ClosedBar
from serving.trading.desk import Desk, Notice
from serving.trading.instructions import Instructions, instructions
from serving.trading.known_roster import KnownRoster
from serving.trading.positions import LIVE, PARTITION, Ledger, paper_account
from serving.trading.roster import Entrant, Roster
from serving.trading.telling import Teller, joined
from store import paper_exchange
from store.clock import Clock
from store.clock import sleep as wait
from store.exchange import Exchange
from store.market import Market
from store.notifications import Notifier
from store.paper_exchange import PaperExchange
from store.state import StateTable
from strategy.errors import ConfigError, HaltError, TradingSystemError

if TYPE_CHECKING:
    from store.settings import Settings
    from strategy.config import Config

_log = logging.getLogger(__name__)

_MARGIN_BARS = 3
_LONG_AGO = timedelta(minutes=20)
"""After a bar's close: what failed until then is not decided any more."""


@dataclass(frozen=True)
class TickReport:
    """What a tick did, for the log."""

    time: datetime
    bars: Sequence[str] = ()
    accounts: Sequence[str] = ()
    notices: Sequence[Notice] = ()


@dataclass
class TradingBot:
    """The bot with its parts; one tick after the other.

    Parameters
    ----------
    open_live
        Opens the exchange of the account with real money; called when it is first needed, and
        again after it was refused for its key.
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
    sleep: Callable[[float], None] = wait
    _exchanges: dict[str, Exchange] = field(default_factory=dict, init=False, repr=False)

    def tick(self) -> TickReport:
        """Do what is due now.

        Raises
        ------
        RetryError
            Something could not be done, or another bot is at work: after all else was. The
            same call may succeed at once, and the next tick tries again anyway.
        FixError, HaltError
            A person must put something right; positions that could be managed were.
        """
        bars = Bars(self.state, self.market, self.clock)
        due = bars.due(self.config.markets)
        accounts = self.state.items(PARTITION)
        busy = [a.key for a in accounts if a.value.get("positions") or a.value.get("pending")]
        if not due and not busy:
            return TickReport(self.clock())
        notices: list[Notice] = []
        entrants = self._entrants(due, notices) if due else []
        closed = self._closed(bars, due, entrants, notices)
        wanted, heard = instructions(
            self.settings, self.config.leverage.max_leverage, self.state, self.clock()
        )
        notices += heard
        names = sorted({*busy, *(_account(each) for each in entrants)})
        errors: list[TradingSystemError] = []
        for name in names:
            own = [each for each in entrants if _account(each) == name]
            errors += self._run(name, own, closed, wanted, notices)
        if not errors or all(self.clock() - bar.close_time > _LONG_AGO for bar in closed):
            bars.done(closed)
        Teller(self.state, self.notifier, self.clock).tell(notices, errors)
        if errors:
            raise joined(errors) from errors[0]
        names_of_bars = [f"{bar.asset} {bar.timeframe} {bar.close_time}" for bar in closed]
        return TickReport(self.clock(), names_of_bars, names, notices)

    def _entrants(
        self, due: Sequence[tuple[str, str, datetime]], notices: list[Notice]
    ) -> list[Entrant]:
        """Who trades the markets whose bar is due."""
        found, heard = KnownRoster(self.roster, self.state, self.clock).read(
            {f"{asset}-{timeframe}": close for asset, timeframe, close in due},
            synthetic_market=self.market.synthetic,
        )
        notices += heard
        return found

    def _closed(
        self,
        bars: Bars,
        due: Sequence[tuple[str, str, datetime]],
        entrants: Sequence[Entrant],
        notices: list[Notice],
    ) -> list[ClosedBar]:
        """The bars that can be decided on, or never will be: that is told of."""
        found = []
        for asset, timeframe, close_time in due:
            model = f"{asset}-{timeframe}"
            own = [each for each in entrants if each.model == model]
            needs = [each.bundle.required_history for each in own if each.bundle is not None]
            bar = bars.read(asset, timeframe, close_time, max(needs, default=1) + _MARGIN_BARS)
            if bar is None:
                continue
            found.append(bar)
            if bar.problem is not None and own:
                key = f"bar/{model}/{close_time:%Y-%m-%dT%H:%M}"
                notices.append(Notice(key, f"{asset} {timeframe}: nothing opens", bar.problem))
        return found

    def _run(
        self,
        name: str,
        entrants: Sequence[Entrant],
        closed: Sequence[ClosedBar],
        wanted: Instructions,
        notices: list[Notice],
    ) -> list[TradingSystemError]:
        """One account's tick; what went wrong with it does not keep others from theirs."""
        desk: Desk | None = None
        errors: list[TradingSystemError] = []
        try:
            desk = self._desk(name)
            errors += trade(
                desk,
                entrants,
                closed,
                wanted,
                self.config.circuit_breaker,
                CloseRequests(self.state),
            )
        except TradingSystemError as error:
            _log.error("%s: %s", name, error)
            errors.append(error)
        except Exception as error:  # a fault of the program itself: others must be managed
            _log.exception("%s", name)
            errors.append(HaltError(f"account {name}: {type(error).__name__}: {error}"))
        if desk is not None:
            errors += desk.errors.values()
            notices += desk.notices
        if any(isinstance(error, ConfigError) for error in errors):
            self._exchanges.pop(name, None)  # its key may be put right before the next tick
        return errors

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
        # Only an account that is new needs its capital: the others are managed even where the
        # settings cannot be read.
        known = self.state.get(paper_exchange.PARTITION, name) is not None
        capital = Decimal(0) if known else Decimal(repr(self.settings.risk().paper_capital))
        return PaperExchange(self.state, name, self.market, self.config.costs, capital, self.clock)


def _account(entrant: Entrant) -> str:
    return LIVE if entrant.book == "live" else paper_account(entrant.strategy_id)
