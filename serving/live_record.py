"""Keeps the live runs in MLflow up to date: once a day, also once a replayed one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cache, cached_property, partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from registry.connection import Client
from registry.lifecycle import Lifecycle, StrategyVersion
from registry.live_run import LiveRun, LiveRuns
from registry.loading import load_bundle
from registry.runs import read_table
from serving.deciding_version import DecidingVersion
from serving.journal import Book, Journal, TradeRecord
from serving.live_description import description
from serving.live_divergence import (
    DIVERGENCES,
    STAGES,
    Recorded,
    divergence_table,
    read_recorded,
)
from store.candles import CandleSource
from strategy.candles import open_times, timeframe_delta
from strategy.config import Costs
from strategy.divergence import summed
from strategy.errors import FixError, RetryError, StoreError, TradingSystemError
from strategy.expectation import by_day, expectation_band

BACKTEST_TRADES = "trades.csv"
"""File of a campaign's run: what its candidate traded out of sample, in all windows."""


@dataclass(frozen=True)
class LiveParts:
    """All that the live runs are made of.

    Parameters
    ----------
    candles
        Those from after the moment in question may be there, and are not looked at.
    costs
        With which the simulator trades.
    markets
        Asset and timeframe of each.
    """

    client: Client
    journal: Journal
    candles: CandleSource
    costs: Costs
    markets: Sequence[tuple[str, str]]

    @cached_property
    def version(self) -> Callable[[str, int], DecidingVersion]:
        """The version of a model, by its number; read once, for it never changes."""
        return cache(lambda model, number: DecidingVersion(load_bundle(self.client, model, number)))

    @cached_property
    def backtest(self) -> Callable[[str], NDArray[np.float64]]:
        """Net R of what a campaign's candidate traded, by the campaign's run; read once."""
        return cache(lambda run: read_table(self.client, run, BACKTEST_TRADES)["r"].to_numpy(float))


def record_live_runs(parts: LiveParts, now: datetime) -> None:
    """Bring the live runs of all strategies up to the end of the last day (UTC) that is over.

    A strategy has one run for its paper trades, while a version of it is in Staging, and one
    for its live trades (Production). One that has left its stage gets its last days, and is
    closed. Calling it again on the same day changes nothing.

    Raises
    ------
    RetryError, FixError
        Something failed, after all the rest was done; RetryError where all of it may work later.
    """
    failed: list[tuple[str, TradingSystemError]] = []
    for asset, timeframe in parts.markets:
        market = _Market(parts, asset, timeframe, now)
        with _collected(failed, market.model_name):
            for strategy_id in market.strategies:
                for book in STAGES:
                    with _collected(failed, f"{strategy_id}, {book}"):
                        _record(market, strategy_id, book)
    if failed:
        kind = RetryError if all(isinstance(each, RetryError) for _, each in failed) else FixError
        reasons = "; ".join(f"{what}: {error}" for what, error in failed)
        raise kind(f"not all live runs are up to date: {reasons}") from failed[0][1]


@contextmanager
def _collected(failed: list[tuple[str, TradingSystemError]], what: str) -> Iterator[None]:
    """Let an error wait until the others have had their turn."""
    try:
        yield
    except TradingSystemError as error:
        failed.append((what, error))


@dataclass(frozen=True)
class _Market:
    """A market's strategies; each thing is read once, when it is first needed."""

    parts: LiveParts
    asset: str
    timeframe: str
    now: datetime

    @property
    def model_name(self) -> str:
        return f"{self.asset}-{self.timeframe}"

    @property
    def today(self) -> pd.Timestamp:
        """When the day began that is not over."""
        return pd.Timestamp(self.now).tz_convert("UTC").floor("D")

    @cached_property
    def versions(self) -> Sequence[StrategyVersion]:
        """Newest first."""
        milliseconds = round(self.now.timestamp() * 1000)
        return Lifecycle(self.parts.client, self.model_name, lambda: milliseconds).versions()

    @property
    def strategies(self) -> list[str]:
        return sorted({each.strategy_id for each in self.versions if each.strategy_id})

    @cached_property
    def runs(self) -> LiveRuns:
        return LiveRuns(self.parts.client, self.model_name)

    @cached_property
    def candles(self) -> pd.DataFrame:
        """Those of the days that are over."""
        candles = self.parts.candles.load(self.asset, self.timeframe)
        return candles[open_times(candles) + timeframe_delta(self.timeframe) <= self.today]


def _record(market: _Market, strategy_id: str, book: Book) -> None:
    versions = [each for each in market.versions if each.strategy_id == strategy_id]
    trading = [each for each in versions if each.stage is STAGES[book]]
    trades = market.parts.journal.trades(strategy_id, book)
    run = market.runs.find(strategy_id, book)
    if not trading and (run is None or _is_complete(run, trades)):
        return
    run = run or market.runs.begin(strategy_id, book, market.now)
    if trading:
        run.reopen()
    try:
        days = _days(trades, market.today)
        _log(run, days, days)
        band = _band(_backtest(market.parts, versions), days)
        _log(run, band, days)
        version = (trading or versions)[0]
        run.tell(version.number, version.stage, description(days.join(band), _r(trades)))
        recorded = read_recorded(
            market.parts.journal, market.model_name, strategy_id, book, versions, trades
        )
        _record_divergences(market, run, days, recorded)
    finally:
        if not trading:
            run.close(market.now)


def _is_complete(run: LiveRun, trades: Sequence[TradeRecord]) -> bool:
    """Whether the run of a strategy that has left its stage has all of its trades."""
    logged = run.metric("trades")
    return not run.is_open and (logged == len(trades) or not trades)


def _days(trades: Sequence[TradeRecord], today: pd.Timestamp) -> pd.DataFrame:
    exits = pd.to_datetime([trade.exit_time for trade in _by_exit(trades)], utc=True)
    return by_day(exits, _r(trades), today)


def _r(trades: Sequence[TradeRecord]) -> NDArray[np.float64]:
    return np.array([trade.r for trade in _by_exit(trades)], dtype=float)


def _by_exit(trades: Sequence[TradeRecord]) -> list[TradeRecord]:
    return sorted(trades, key=lambda trade: trade.exit_time)


def _log(run: LiveRun, figures: pd.DataFrame, days: pd.DataFrame) -> None:
    if len(days):
        run.log_days(figures, start=days.index[0])


def _backtest(parts: LiveParts, versions: Sequence[StrategyVersion]) -> NDArray[np.float64]:
    """Net R of the trades by which the strategy was discovered."""
    oldest = versions[-1]
    if oldest.run_id is None:
        raise StoreError(f"version {oldest.number} has no source run: its backtest is not known")
    return parts.backtest(oldest.run_id)


def _band(backtest_r: NDArray[np.float64], days: pd.DataFrame) -> pd.DataFrame:
    band = expectation_band(backtest_r, days["trades"].to_numpy())
    return pd.DataFrame(band._asdict(), days.index).add_prefix("band_")


def _record_divergences(
    market: _Market, run: LiveRun, days: pd.DataFrame, recorded: Recorded
) -> None:
    parts = market.parts
    table = divergence_table(
        recorded,
        market.candles,
        market.timeframe,
        parts.costs,
        partial(parts.version, market.model_name),
    )
    if table is None:
        return
    run.save_table(table, DIVERGENCES)
    last_day = days.index[-1:]
    _log(run, pd.DataFrame([summed(table)._asdict()] * len(last_day), last_day), days)
