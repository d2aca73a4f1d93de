"""Paper trading on recorded candles: days that the strategies have not seen, one after another."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import pandas as pd
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from serving.commands.paper_parts import (
    TICK,
    announce,
    console,
    paper_roster,
    paper_trading,
    show_results,
    staged,
)
from serving.trading.bars import Bars
from serving.trading.roster import Entrant
from store.candle_arguments import candle_source
from store.candles import CandleSource
from store.clock import utc_now
from store.market import ReplayMarket
from store.state import open_state
from store.synthetic import SyntheticSource
from strategy.candles import timeframe_delta
from strategy.config import Config
from strategy.errors import ConfigError, StoreError

REPLAY_STATE = "sqlite:///var/replay.db"
"""Not the state of real time: the two must not mix."""
_BEYOND = 3 * 365 * 24  # hours that the embedded market goes on after the end of its history


def replay(options: argparse.Namespace, config: Config) -> int:
    """Replay so many days after those of last time, and say what came of them.

    Raises
    ------
    ConfigError
        There are no candles that the strategies have not seen.
    StoreError, RetryError
        Nothing is in Staging, or a store cannot be used.
    """
    source = _replayed_source(options, config)
    clock = _SteppedClock(utc_now())
    state = open_state(REPLAY_STATE, clock)
    roster = paper_roster(config, clock)
    clock.now = _newest_training(staged(roster, config, synthetic_market=source.synthetic))
    entrants = staged(roster, config, synthetic_market=source.synthetic)  # as they are by then
    traded = {each.model for each in entrants}
    frames = {
        market: source.load(*market)
        for market in config.markets
        if "{}-{}".format(*market) in traded
    }
    market = ReplayMarket(frames, clock, source.synthetic)
    paper = paper_trading(
        config, state, market, roster, _Loaded(frames, source), list(frames), clock
    )
    seen = Bars(state, market, clock).last()  # an earlier replay came as far as that
    begin = clock.now if seen is None else max(clock.now, seen)
    end = min(begin + timedelta(days=options.days), _last(frames))
    if begin >= end:
        raise ConfigError(
            f"candles end at {end:%Y-%m-%d %H:%M}, and the strategies have seen those until "
            f"{begin:%Y-%m-%d %H:%M}: give newer ones (--candles), or move {REPLAY_STATE} away"
        )
    announce(entrants, f"replaying {begin:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC")
    clock.now = begin
    with _progress() as progress:
        task = progress.add_task("", total=(end - begin) / timedelta(days=1))
        while clock.now <= end:
            done = (clock.now - begin) / timedelta(days=1)
            progress.update(task, completed=done, description=f"{clock.now:%Y-%m-%d}")
            paper.tick()
            if clock.now.hour == 0 and clock.now.minute == 0:  # its tick sees the day's last bar
                paper.record()
            clock.now += TICK
    show_results(state, entrants, end)
    console.print(
        f"Look next: the live runs of experiment {', '.join(sorted(traded))} in the MLflow UI "
        f"(make ui), and python -m serving positions --state {REPLAY_STATE}. The same command "
        "goes on with the days after these.",
        highlight=False,
    )
    return 0


@dataclass
class _SteppedClock:
    """Stands where it is put."""

    now: datetime

    def __call__(self) -> datetime:
        return self.now


@dataclass(frozen=True)
class _Loaded:
    """Candles that are loaded already, as a source."""

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


def _replayed_source(options: argparse.Namespace, config: Config) -> CandleSource:
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


def _last(frames: dict[tuple[str, str], pd.DataFrame]) -> datetime:
    """When the last bar closes of which every market has one."""
    closes = [frame.index[-1] + timeframe_delta(market[1]) for market, frame in frames.items()]
    return pd.Timestamp(min(closes)).to_pydatetime()


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn(), console=console
    )
