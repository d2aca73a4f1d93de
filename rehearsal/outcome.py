"""What came of a rehearsal, as its report tells it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import numpy as np
import pandas as pd

from rehearsal.diary import Move
from rehearsal.invariants import InvariantBrokenError
from rehearsal.people import Act
from rehearsal.world import CAPITAL, World
from serving.journal import Book, InterventionRecord, Journal, TradeRecord
from serving.live_divergence import STAGES
from strategy.divergence import Explanation
from strategy.performance import Summary, summary


@dataclass(frozen=True)
class Traded:
    """What a strategy did with one book."""

    strategy_id: str
    book: Book
    trades: Sequence[TradeRecord]
    interventions: Sequence[InterventionRecord]

    @property
    def summary(self) -> Summary:
        """In R, net."""
        return summary(np.array([trade.r for trade in self.trades], dtype=float))

    @property
    def usd(self) -> float:
        """Net profit."""
        return float(sum(trade.profit for trade in self.trades))


@dataclass(frozen=True)
class Outcome:
    """All that is told.

    Parameters
    ----------
    parts
        What the system consisted of.
    broken
        The invariant that did not hold, which ended the rehearsal; None: all held.
    divergent
        Trades that are not the simulator's to the last figure, each with its explanation.
    campaigns
        Campaign, when it was asked for, by whom, its status and verdict.
    """

    market: str
    parts: str
    seed: int
    rate: float
    begin: datetime
    end: datetime
    broken: InvariantBrokenError | None
    traded: Sequence[Traded]
    moves: Sequence[Move]
    equity: Mapping[date, float]
    faults: Counter[str]
    acts: Sequence[Act]
    calls: Counter[tuple[str, str]]
    checked: Mapping[str, int]
    divergent: pd.DataFrame
    campaigns: Sequence[Mapping[str, Any]]
    jobs_usd: float
    jobs: int
    requests: int
    notifications: str

    @property
    def struck(self) -> int:
        """How much went wrong: faults, and what people did."""
        return self.faults.total()

    @property
    def live(self) -> list[Traded]:
        """Those that traded with (the rehearsal's) real money."""
        return [each for each in self.traded if each.book == "live" and each.trades]

    @property
    def lived(self) -> bool:
        """Whether some strategy was discovered, incubated, in production, retrained, buried and
        replaced by another."""
        buried = {m.strategy_id for m in self.moves if m.why.startswith("buried: ")}
        retrained = {m.strategy_id for m in self.moves if m.who == "model_retrainer"}
        live = [m.strategy_id for m in self.moves if m.stage == "Production"]
        ended = buried & retrained & set(live)
        return any(live.index(each) < len(live) - 1 and live[-1] != each for each in ended)

    @property
    def verdict(self) -> str:
        """In words: what would have been traded, and what it would have earned after costs."""
        if not self.live:
            verdicts = Counter(each["verdict"] or each["status"] for each in self.campaigns)
            counted = ", ".join(f"{times} {verdict}" for verdict, times in verdicts.items())
            return (
                "Nothing would have been traded with real money, so that nothing would have been "
                f"earned or lost. Campaigns: {counted or 'none'}."
            )
        usd = sum(each.usd for each in self.live)
        trades = sum(each.summary.trades for each in self.live)
        total = sum(each.summary.total_r for each in self.live)
        return (
            f"{len(self.live)} strategies would have traded real money, {trades} times: "
            f"{total:+.1f} R, {usd:+,.0f} USD after fees and funding, on {CAPITAL:,} USD."
        )


def outcome_of(world: World, broken: InvariantBrokenError | None) -> Outcome:
    """Gather it."""
    system, rehearsal, script = world.system, world.rehearsal, world.script
    journal = Journal(system.state)
    strategies = sorted({move.strategy_id for move in world.diary.moves if move.strategy_id})
    tables = [
        table.assign(book=book)[table["explained"] != Explanation.SAME]
        for book, table in world.invariants.tables()
    ]
    log = system.folder / "notifications.log"
    return Outcome(
        market=script.market,
        parts=system.in_words,
        seed=script.seed,
        rate=script.rate,
        begin=script.begin,
        end=world.clock(),
        broken=broken,
        traded=[
            Traded(each, book, journal.trades(each, book), journal.interventions(each, book))
            for each in strategies
            for book in STAGES
        ],
        moves=world.diary.moves,
        equity=world.diary.equity,
        faults=world.fate.counts,
        acts=world.people.acts,
        calls=rehearsal.counts,
        checked=world.invariants.checked,
        divergent=pd.concat(tables) if tables else pd.DataFrame(),
        campaigns=[_campaign(world, each) for each in _by_time(world)],
        jobs_usd=sum(system.spot.cost(job) for job in system.spot.ended),
        jobs=len(system.spot.ended),
        requests=system.exchange.asked_in_all,
        notifications=log.read_text(encoding="utf-8") if log.exists() else "",
    )


def _by_time(world: World) -> list[Any]:
    return sorted(world.system.quiet_stack.requests.all(), key=lambda each: each.requested_at)


def _campaign(world: World, request: Any) -> dict[str, Any]:
    stack = world.system.quiet_stack
    values = [request.job_record(s, stack.state, stack.clock).values for s in request.shards]
    judged: dict[str, Any] = next((each for each in values if each.get("verdict")), {})
    return {
        "market": request.market,
        "campaign": request.campaign_id,
        "asked": request.requested_at,
        "by": request.requested_by,
        "status": request.status,
        "verdict": judged.get("verdict", ""),
        "reason": judged.get("reason", request.reason),
    }
