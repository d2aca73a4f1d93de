"""Paper trading at Binance's live prices: no account, no key, a tick every five minutes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import pandas as pd

from serving.commands.paper_parts import (
    TICK,
    PaperTrading,
    announce,
    console,
    paper_roster,
    paper_trading,
    show_results,
    staged,
)
from store import embedded
from store.clock import Clock
from store.market import Market
from store.state import open_state
from strategy.candles import timeframe_delta
from strategy.config import Config

_AFTER_THE_CLOSE = timedelta(seconds=5)
"""A candle that has just closed is then the exchange's last word on it."""


def trade_live(config: Config, market: Market, clock: Clock, sleep: Callable[[float], None]) -> int:
    """Trade until Ctrl-C; raises as the registry, the state table and the settings do."""
    state = open_state(embedded.STATE, clock)
    roster = paper_roster(config, clock)
    entrants = staged(roster, config, synthetic_market=market.synthetic)
    announce(entrants, "at Binance's live prices, every five minutes, until Ctrl-C")
    paper = paper_trading(
        config, state, market, roster, _Closed(market, config), config.markets, clock
    )
    try:
        keep_ticking(paper, sleep)
    except KeyboardInterrupt:
        show_results(state, entrants, clock())
        console.print("Stopped. What is open stays written down; the same command goes on.")
    return 0


def keep_ticking(paper: PaperTrading, sleep: Callable[[float], None]) -> None:
    """Tick now and then every five minutes on the clock, and record once a day; never returns."""
    clock, recorded = paper.bot.clock, None
    while True:
        now = clock()
        paper.tick()
        if recorded != now.date():
            paper.record()
            recorded = now.date()
        console.print(f"{now:%Y-%m-%d %H:%M:%S} ticked", highlight=False)
        following = pd.Timestamp(now - _AFTER_THE_CLOSE).floor(TICK) + TICK + _AFTER_THE_CLOSE
        sleep(max(0.0, (following - pd.Timestamp(clock())).total_seconds()))


@dataclass(frozen=True)
class _Closed:
    """The market's closed candles as a source: as many as the longest incubation needs."""

    market: Market
    config: Config
    name: str = "Binance USDT-M futures"
    synthetic: bool = False

    def load(self, asset: str, timeframe: str) -> pd.DataFrame:
        months = self.config.production_promotion.maximum_duration_months
        bars = int(pd.Timedelta(days=31 * (months + 2)) / timeframe_delta(timeframe))
        return self.market.closed(asset, timeframe, bars)
