"""What paper trading on this machine is made of, whatever its candles: bot, roster, results."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from rich.console import Console
from rich.markup import escape

from serving.commands.desk_parts import registry_client, settings_of, tracking_uri
from serving.commands.positions import trades_table
from serving.journal import Journal
from serving.live_record import LiveParts, record_live_runs
from serving.trading.bot import TradingBot
from serving.trading.roster import Entrant, Roster
from store import embedded
from store.candles import CandleSource
from store.clock import Clock
from store.exchange import Exchange
from store.market import Market
from store.notifications import LogNotifier
from store.state import StateTable
from store.telegram import notifier_of
from strategy.config import Config
from strategy.errors import ConfigError, StoreError, TradingSystemError
from strategy.performance import summary

console = Console()
_log = logging.getLogger(__name__)

TICK = timedelta(minutes=5)


class PaperRoster(Roster):
    """Without what is in Production."""

    def read(self, models: Sequence[str], *, synthetic_market: bool) -> list[Entrant]:
        found = super().read(models, synthetic_market=synthetic_market)
        return [each for each in found if each.book == "paper"]


def paper_roster(config: Config, clock: Clock) -> PaperRoster:
    """Of this machine's registry."""
    return PaperRoster(registry_client, config.walk_forward_config.step_months, clock)


def staged(roster: Roster, config: Config, *, synthetic_market: bool) -> list[Entrant]:
    """What is in Staging now; StoreError where nothing is."""
    models = [f"{asset}-{timeframe}" for asset, timeframe in config.markets]
    found = roster.read(models, synthetic_market=synthetic_market)
    if not found:
        raise StoreError(
            f"{tracking_uri()}: no version of {', '.join(models)} is in Staging. Find a strategy "
            "(make demo), or move a version there (python -m serving promote, or the MLflow UI)"
        )
    return found


@dataclass(frozen=True)
class PaperTrading:
    """A bot that trades virtual money, and the live runs that show how it fares.

    What fails is shown and tried again at the next tick or day, as it is on AWS.
    """

    bot: TradingBot
    live_runs: LiveParts

    def tick(self) -> None:
        """Do what is due now."""
        try:
            report = self.bot.tick()
        except TradingSystemError as error:
            self._show(error)
            return
        for notice in report.notices:
            _log.info("%s", notice.subject)

    def record(self) -> None:
        """Bring the live runs in MLflow up to the last day that is over."""
        try:
            record_live_runs(self.live_runs, self.bot.clock())
        except TradingSystemError as error:
            self._show(error)

    def _show(self, error: TradingSystemError) -> None:
        now = f"{self.bot.clock():%Y-%m-%d %H:%M}"
        console.print(f"[red]{now}[/] {escape(str(error))}", highlight=False)


def paper_trading(
    config: Config,
    state: StateTable,
    market: Market,
    roster: Roster,
    candles: CandleSource,
    markets: Sequence[tuple[str, str]],
    clock: Clock,
) -> PaperTrading:
    """With this machine's settings and notifications."""
    settings = settings_of(argparse.Namespace(state=embedded.STATE))
    log = LogNotifier(embedded.FOLDER / "notifications.log", clock)
    bot = TradingBot(
        config=config,
        settings=settings,
        state=state,
        market=market,
        roster=roster,
        notifier=notifier_of(settings, log),
        clock=clock,
        open_live=_no_real_money,
    )
    live_runs = LiveParts(registry_client(), Journal(state), candles, config.costs, markets)
    return PaperTrading(bot, live_runs)


def announce(entrants: Sequence[Entrant], what: str) -> None:
    """Say what is about to be traded."""
    for each in entrants:
        console.print(f"[bold]{each.model}[/] version {each.version}: paper, {what}")
        if each.problem:
            console.print(f"[red]It opens nothing:[/] {escape(each.problem)}", highlight=False)


def show_results(state: StateTable, entrants: Sequence[Entrant], until: datetime) -> None:
    """The last trades of each strategy, and what all of them come to."""
    for each in entrants:
        trades = Journal(state).trades(each.strategy_id, "paper")
        console.print(trades_table(trades[-10:], f"{each.model} version {each.version}"))
        figures = summary(np.array([trade.r for trade in trades]))
        if not trades:
            console.print(f"No trade has ended by {until:%Y-%m-%d %H:%M}.", highlight=False)
            continue
        console.print(
            f"{figures.trades} trades, {figures.total_r:+.1f} R in all, expectancy "
            f"{figures.expectancy:+.3f} ± {figures.standard_error:.3f} R, hit rate "
            f"{100 * figures.hit_rate:.0f} %, largest drawdown {figures.max_drawdown:.1f} R.",
            highlight=False,
        )


def _no_real_money() -> Exchange:
    raise ConfigError("paper trading has no account with real money: use the deployed bot")
