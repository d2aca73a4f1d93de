"""Gathers what a strategy's recorded trades are compared with: the same decisions, simulated."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd

from registry.bundle import StrategyBundle
from registry.lifecycle import Stage, StrategyVersion
from serving.journal import Book, InterventionRecord, Journal, TradeRecord
from serving.trading.positions import LIVE, PARTITION, paper_account, read_account
from strategy.candles import open_times, timeframe_delta
from strategy.config import Costs
from strategy.costs import charges_on
from strategy.divergence import FIGURES, KEY, Reign, divergences, merged
from strategy.exit_rule import ExitRule
from strategy.simulate import Intervention, InterventionKind

STAGES: Mapping[Book, Stage] = {"paper": Stage.STAGING, "live": Stage.PRODUCTION}
"""In which stage a version trades with which book."""
DIVERGENCES = "divergence.csv"
"""File of a live run that holds the table."""


@dataclass(frozen=True)
class Recorded:
    """What is known of a strategy with one book.

    Parameters
    ----------
    versions
        Of the strategy, in any order.
    trades, interventions
        In order of time.
    still_open
        Decision times of its open positions, UTC.
    """

    book: Book
    versions: Sequence[StrategyVersion]
    trades: Sequence[TradeRecord]
    interventions: Sequence[InterventionRecord]
    still_open: Sequence[datetime]


def read_recorded(
    journal: Journal,
    strategy_id: str,
    book: Book,
    versions: Sequence[StrategyVersion],
    trades: Sequence[TradeRecord],
) -> Recorded:
    """What the state table knows beside the trades."""
    item = journal.state.get(PARTITION, LIVE if book == "live" else paper_account(strategy_id))
    held = read_account(item.value, item.key).positions.values() if item else ()
    still_open = [each.decision_time for each in held if each.strategy_id == strategy_id]
    interventions = journal.interventions(strategy_id, book)
    return Recorded(book, versions, trades, interventions, still_open)


def divergence_table(
    recorded: Recorded,
    candles: pd.DataFrame,
    timeframe: str,
    costs: Costs,
    load: Callable[[int], StrategyBundle],
) -> pd.DataFrame | None:
    """Each trade of a strategy beside the simulator's (:func:`strategy.divergence.divergences`).

    Parameters
    ----------
    candles
        Closed candles, from as long before the first version decided as its features look back.
    load
        Reads a version's bundle.

    Returns
    -------
    None where no version is known to have decided on one of these candles yet.
    """
    closes = open_times(candles) + timeframe_delta(timeframe)
    reigns = [
        (version, *span)
        for version in sorted(recorded.versions, key=lambda each: each.number)
        if (span := _reign(version, recorded)) and (closes >= span[0]).any()
    ]
    if not reigns:
        return None
    bundles = [load(version.number) for version, _, _ in reigns]
    rules = [ExitRule(each.indicators.atr_period, each.break_even) for each in bundles]
    first = closes.searchsorted(min(since for _, since, _ in reigns))
    longest = max(bundle.required_history for bundle in bundles)
    kept = slice(max(0, int(first) - longest), None)
    candles, closes = candles.iloc[kept], closes[kept]
    decided = [
        Reign(since, until, _signals(bundle, candles), rule.distances(candles))
        for (_, since, until), bundle, rule in zip(reigns, bundles, rules, strict=True)
    ]
    return divergences(
        candles,
        merged(closes, decided),
        charges_on(open_times(candles), timeframe, costs),
        _trades(recorded.trades),
        timeframe=timeframe,
        interventions=[_intervention(each) for each in recorded.interventions],
        still_open=[pd.Timestamp(time) for time in recorded.still_open],
    )


def _reign(
    version: StrategyVersion, recorded: Recorded
) -> tuple[pd.Timestamp, pd.Timestamp | None] | None:
    """From when until when a version decided with this book; None if it never did.

    It came into the stage when its tags say so, but not after its own first trade: candles may
    be replayed that are older than the version, and a person's move is written down late.
    """
    stage = STAGES[recorded.book]
    entry = version.entry(stage)
    first = [trade.decision_time for trade in recorded.trades if trade.version == version.number]
    begun = [*first[:1], *([entry.at] if entry else [])]
    if not begun:
        return None
    since = min(begun)
    if version.stage is stage:
        return pd.Timestamp(since), None
    entered = entry.at if entry else since
    moves = [version.entry(other) for other in Stage]
    left = [move.at for move in moves if move and move.at > entered]
    return pd.Timestamp(since), pd.Timestamp(min(left)) if left else None


def _signals(bundle: StrategyBundle, candles: pd.DataFrame) -> np.ndarray:
    return bundle.signals(candles)["signal"].fillna(0).to_numpy(np.int8)


def _trades(trades: Sequence[TradeRecord]) -> pd.DataFrame:
    names = [*KEY, *FIGURES]
    return pd.DataFrame([[getattr(trade, name) for name in names] for trade in trades], None, names)


def _intervention(record: InterventionRecord) -> Intervention:
    kind, time = InterventionKind[record.kind.upper()], pd.Timestamp(record.time)
    return (
        Intervention(time, kind) if record.price is None else Intervention(time, kind, record.price)
    )
