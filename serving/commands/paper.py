"""``paper``: what is in Staging trades virtual money, on replayed candles or at live prices.

It is the very bot that runs on AWS, with the laptop's parts. Versions in Production are left
alone: real orders are the deployed bot's.
"""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from serving.commands.desk_parts import registry_client, settings_of, tracking_uri
from store import embedded
from store.clock import Clock, utc_now
from strategy.candles import timeframe_delta
from strategy.errors import ConfigError, StoreError, TradingSystemError

if TYPE_CHECKING:
    from serving.trading.bot import TradingBot
    from serving.trading.roster import Entrant, Roster
    from store.candles import CandleSource
    from store.exchange import Exchange
    from store.market import Market
    from store.state import StateTable
    from strategy.config import Config

console = Console()
_log = logging.getLogger(__name__)

TICK = timedelta(minutes=5)
REPLAY_STATE = "sqlite:///var/replay.db"
"""Not the state of real time: the two must not mix."""
_BEYOND = 3 * 365 * 24  # hours that the embedded market goes on after the end of its history


def add(commands: Any) -> None:
    """Add it to the command line."""
    from store.candle_arguments import SYNTHETIC

    parser = commands.add_parser("paper", help="trade what is in Staging with virtual money")
    parser.add_argument(
        "--market",
        choices=("replay", "binance"),
        default="replay",
        help="candles that the strategies have not seen, day after day; or live prices, until "
        "Ctrl-C (%(default)s)",
    )
    parser.add_argument(
        "--candles",
        default="synthetic",
        metavar="PATH|" + "|".join(SYNTHETIC),
        help="what is replayed: the embedded market beyond the demo's, or a file (%(default)s)",
    )
    parser.add_argument(
        "--days", type=int, default=30, help="to replay, after those of last time (%(default)s)"
    )
    parser.add_argument("--config", default="config.json", help="(%(default)s)")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from store.config_file import read_config

    config = read_config(Path(options.config))
    _log_to(embedded.FOLDER / "paper.log")
    return _replay(options, config) if options.market == "replay" else _trade(config)


@dataclass
class _SteppedClock:
    """Stands where it is put."""

    now: datetime

    def __call__(self) -> datetime:
        return self.now


def _replay(options: argparse.Namespace, config: Config) -> int:
    from serving.journal import Journal
    from serving.live_record import LiveParts, record_live_runs
    from serving.trading.bars import Bars
    from store.market import ReplayMarket
    from store.state import open_state

    source = _replayed_source(options, config)
    clock = _SteppedClock(utc_now())
    state = open_state(REPLAY_STATE, clock)
    roster = _paper_roster(config, clock)
    markets = _markets(config)
    clock.now = _newest_training(_staged(roster, markets, synthetic=source.synthetic))
    entrants = _staged(roster, markets, synthetic=source.synthetic)  # as they are at that time
    traded = sorted({each.model for each in entrants})
    frames = {
        (asset, timeframe): source.load(asset, timeframe)
        for asset, timeframe in markets
        if f"{asset}-{timeframe}" in traded
    }
    market = ReplayMarket(frames, clock, source.synthetic)
    bot = _bot(config, state, market, roster, clock)
    seen = Bars(state, market, clock).last()  # an earlier replay came as far as that
    begin = clock.now if seen is None else seen + TICK
    last = min(
        frame.index[-1] + timeframe_delta(timeframe) for (_, timeframe), frame in frames.items()
    ).to_pydatetime()
    end = min(begin + timedelta(days=options.days), last)
    if begin >= end:
        raise ConfigError(
            f"candles end at {last:%Y-%m-%d %H:%M}, and the strategies have seen those until "
            f"{begin:%Y-%m-%d %H:%M}: give newer ones (--candles), or move {REPLAY_STATE} away"
        )
    _announce(entrants, f"replaying {begin:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC")
    live_parts = LiveParts(
        registry_client(), Journal(state), _Given(frames, source), config.costs, list(frames)
    )
    clock.now = begin
    with _progress() as progress:
        task = progress.add_task("", total=(end - begin) / timedelta(days=1))
        while clock.now <= end:
            progress.update(task, description=f"{clock.now:%Y-%m-%d}")
            _tick(bot)
            clock.now += TICK
            if clock.now.hour == 0 and clock.now.minute == 0:
                record_live_runs(live_parts, clock.now)
                progress.advance(task)
    _show_results(state, entrants)
    console.print(
        f"Look next: the live runs of experiment {', '.join(traded)} in the MLflow UI (make ui), "
        f"and python -m serving positions --state {REPLAY_STATE}. The same command goes on with "
        "the days after these.",
        highlight=False,
    )
    return 0


def _trade(config: Config) -> int:
    from serving.journal import Journal
    from serving.live_record import LiveParts, record_live_runs
    from store.binance_klines import connect as connect_klines
    from store.binance_market import BinanceMarket
    from store.state import open_state

    state = open_state(embedded.STATE)
    roster = _paper_roster(config, utc_now)
    entrants = _staged(roster, _markets(config), synthetic=False)
    market = BinanceMarket(connect_klines(), utc_now, config.candles.max_gap_bars)
    bot = _bot(config, state, market, roster, utc_now)
    _announce(entrants, "at Binance's live prices, every five minutes, until Ctrl-C")
    parts = LiveParts(
        registry_client(),
        Journal(state),
        _Closed(market, config),
        config.costs,
        _markets(config),
    )
    recorded = None
    try:
        while True:
            now = utc_now()
            _tick(bot)
            if recorded != now.date():
                record_live_runs(parts, now)
                recorded = now.date()
            following = pd.Timestamp(now).floor(TICK) + TICK + timedelta(seconds=5)
            console.print(f"{now:%Y-%m-%d %H:%M:%S} ticked", highlight=False)
            time.sleep(max(0.0, (following - pd.Timestamp(utc_now())).total_seconds()))
    except KeyboardInterrupt:
        _show_results(state, entrants)
        console.print("Stopped. What is open stays written down; the same command goes on.")
    return 0


def _tick(bot: TradingBot) -> None:
    """A tick that failed is told of and tried again by the next, as it is on AWS."""
    try:
        report = bot.tick()
    except TradingSystemError as error:
        console.print(f"[red]{bot.clock():%Y-%m-%d %H:%M}[/] {error}", highlight=False)
        return
    for notice in report.notices:
        _log.info("%s", notice.subject)


def _bot(
    config: Config, state: StateTable, market: Market, roster: Roster, clock: Clock
) -> TradingBot:
    from serving.trading.bot import TradingBot
    from store.notifications import LogNotifier
    from store.telegram import notifier_of

    settings = settings_of(argparse.Namespace(state=embedded.STATE))
    log = LogNotifier(embedded.FOLDER / "notifications.log", clock)
    return TradingBot(
        config=config,
        settings=settings,
        state=state,
        market=market,
        roster=roster,
        notifier=notifier_of(settings, log),
        clock=clock,
        open_live=_no_real_money,
    )


def _no_real_money() -> Exchange:
    raise ConfigError("paper trading has no account with real money: use the deployed bot")


def _paper_roster(config: Config, clock: Clock) -> Roster:
    from serving.trading.roster import Roster

    class PaperRoster(Roster):
        """Without what is in Production."""

        def read(self, models: Sequence[str], *, synthetic_market: bool) -> list[Entrant]:
            found = super().read(models, synthetic_market=synthetic_market)
            return [each for each in found if each.book == "paper"]

    return PaperRoster(registry_client, config.walk_forward_config.step_months, clock)


def _staged(
    roster: Roster, markets: Sequence[tuple[str, str]], *, synthetic: bool
) -> list[Entrant]:
    models = [f"{asset}-{timeframe}" for asset, timeframe in markets]
    found = roster.read(models, synthetic_market=synthetic)
    if not found:
        raise StoreError(
            f"{tracking_uri()}: no version of {', '.join(models)} is in Staging. Find a strategy "
            "(make demo), or move a version there (python -m serving promote, or the MLflow UI)"
        )
    return found


def _markets(config: Config) -> list[tuple[str, str]]:
    return [
        (asset, timeframe)
        for asset, timeframes in config.asset_timeframes.items()
        for timeframe in timeframes
    ]


def _replayed_source(options: argparse.Namespace, config: Config) -> CandleSource:
    from dataclasses import replace

    from store.candle_arguments import candle_source
    from store.synthetic import SyntheticSource

    if options.candles == "binance":
        raise ConfigError("--candles binance: to trade at live prices, give --market binance")
    source = candle_source(options, config)
    return replace(source, beyond=_BEYOND) if isinstance(source, SyntheticSource) else source


def _newest_training(entrants: Sequence[Entrant]) -> datetime:
    """When the newest model has seen its last candle."""
    ends = [each.bundle.training_end for each in entrants if each.bundle is not None]
    if not ends:
        raise StoreError("; ".join(str(each.problem) for each in entrants))
    return max(ends).to_pydatetime()


def _announce(entrants: Sequence[Entrant], what: str) -> None:
    for each in entrants:
        problem = f" [red](opens nothing: {each.problem})[/]" if each.problem else ""
        console.print(f"[bold]{each.model}[/] version {each.version}: paper, {what}{problem}")


def _show_results(state: StateTable, entrants: Sequence[Entrant]) -> None:
    import numpy as np

    from serving.commands.positions import trades_table
    from serving.journal import Journal
    from strategy.performance import summary

    for each in entrants:
        trades = Journal(state).trades(each.strategy_id, "paper")
        figures = summary(np.array([trade.r for trade in trades]))
        console.print(trades_table(trades[-10:], f"{each.model} version {each.version}"))
        console.print(
            f"{figures.trades} trades, {figures.total_r:+.1f} R in all, expectancy "
            f"{figures.expectancy:+.3f} ± {figures.standard_error:.3f} R, hit rate "
            f"{100 * figures.hit_rate:.0f} %, largest drawdown {figures.max_drawdown:.1f} R.",
            highlight=False,
        )


@dataclass(frozen=True)
class _Given:
    """Candles that are loaded already."""

    frames: dict[tuple[str, str], pd.DataFrame]
    source: CandleSource

    @property
    def name(self) -> str:
        return self.source.name

    @property
    def synthetic(self) -> bool:
        return self.source.synthetic

    def load(self, asset: str, timeframe: str) -> pd.DataFrame:
        return self.frames[asset, timeframe]


@dataclass(frozen=True)
class _Closed:
    """The market's closed candles as a source: as many as half a year of trades needs."""

    market: Market
    config: Config
    name: str = "Binance USDT-M futures"
    synthetic: bool = False

    def load(self, asset: str, timeframe: str) -> pd.DataFrame:
        months = self.config.production_promotion.maximum_duration_months
        bars = int(pd.Timedelta(days=31 * (months + 2)) / timeframe_delta(timeframe))
        return self.market.closed(asset, timeframe, bars)


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn(), console=console
    )


def _log_to(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    form = "%(asctime)s %(levelname)s %(name)s %(message)s"
    logging.basicConfig(filename=path, level=logging.INFO, format=form)
