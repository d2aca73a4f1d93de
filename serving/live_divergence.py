"""Gathers what a strategy's recorded trades are compared with: the same decisions, simulated."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter

import pandas as pd

from registry.lifecycle import Stage, StrategyVersion
from serving.deciding_version import DecidingVersion
from serving.journal import Book, InterventionRecord, Journal, TradeRecord
from serving.trading.positions import LIVE, PARTITION, paper_account, read_account
from serving.trading.tenures import Tenure, tenures_of
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

Span = tuple[datetime, datetime | None]
"""UTC: from the one on, before the other; None: it still goes on."""


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
    tenures
        Of the strategy's versions, with either book.
    """

    book: Book
    versions: Sequence[StrategyVersion]
    trades: Sequence[TradeRecord]
    interventions: Sequence[InterventionRecord]
    still_open: Sequence[datetime]
    tenures: Sequence[Tenure]


def read_recorded(
    journal: Journal,
    model: str,
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
    known = tenures_of(journal.state, model)
    tenures = [each for each in known if each.strategy_id == strategy_id]
    return Recorded(book, versions, trades, interventions, still_open, tenures)


def divergence_table(
    recorded: Recorded,
    candles: pd.DataFrame,
    timeframe: str,
    costs: Costs,
    version: Callable[[int], DecidingVersion],
) -> pd.DataFrame | None:
    """Each trade of a strategy beside the simulator's (:func:`strategy.divergence.divergences`).

    Parameters
    ----------
    candles
        Closed candles, from as long before the first version decided as its features look back.
    version
        Gives the one of a number.

    Returns
    -------
    None where no version is known to have decided on one of these candles yet.
    """
    closes = open_times(candles) + timeframe_delta(timeframe)
    reigns = [
        (since, each.number, until)
        for each in recorded.versions
        for since, until in _spans(each, recorded)
        if (closes >= pd.Timestamp(since)).any()
    ]
    if not reigns:
        return None
    reigns.sort(key=itemgetter(0, 1))  # where two decide, the one that came last does
    versions = [version(number) for _, number, _ in reigns]
    bundles = [each.bundle for each in versions]
    rules = [ExitRule(each.indicators.atr_period, each.break_even) for each in bundles]
    first = closes.searchsorted(pd.Timestamp(reigns[0][0]))
    longest = max(bundle.required_history for bundle in bundles)
    kept = slice(max(0, int(first) - longest), None)
    candles, closes = candles.iloc[kept], closes[kept]
    decided = []
    for (begun, _, ended), decider, rule in zip(reigns, versions, rules, strict=True):
        since, until = pd.Timestamp(begun), None if ended is None else pd.Timestamp(ended)
        end = len(closes) if until is None else closes.searchsorted(until)
        signals = decider.signals(candles, int(closes.searchsorted(since)), int(end))
        decided.append(Reign(since, until, signals, rule.distances(candles)))
    return divergences(
        candles,
        merged(closes, decided),
        charges_on(open_times(candles), timeframe, costs),
        _trades(recorded.trades),
        timeframe=timeframe,
        interventions=[_intervention(each) for each in recorded.interventions],
        still_open=[pd.Timestamp(time) for time in recorded.still_open],
    )


def _spans(version: StrategyVersion, recorded: Recorded) -> list[Span]:
    """From when until when a version decided with this book: as the bot knows it.

    A version that it has never seen should have traded from when its tags say that it came into
    the stage: no bot was at work.
    """
    seen = [each for each in recorded.tenures if each.version == version.number]
    if seen:
        return [
            (each.since, each.until or _left(version, recorded, each.since))
            for each in seen
            if each.book == recorded.book
        ]
    entry = version.entry(STAGES[recorded.book])
    return [(entry.at, _left(version, recorded, entry.at))] if entry else []


def _left(version: StrategyVersion, recorded: Recorded, entered: datetime) -> datetime | None:
    """When it left the stage again, by its tags; None while it is there."""
    if version.stage is STAGES[recorded.book]:
        return None
    moves = [version.entry(stage) for stage in Stage]
    return min((move.at for move in moves if move and move.at > entered), default=None)


def _trades(trades: Sequence[TradeRecord]) -> pd.DataFrame:
    names = [*KEY, *FIGURES]
    return pd.DataFrame([[getattr(trade, name) for name in names] for trade in trades], None, names)


def _intervention(record: InterventionRecord) -> Intervention:
    kind, time = InterventionKind[record.kind.upper()], pd.Timestamp(record.time)
    return (
        Intervention(time, kind) if record.price is None else Intervention(time, kind, record.price)
    )
