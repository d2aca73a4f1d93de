"""The page that a rehearsal ends with."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from html.parser import HTMLParser
from typing import Any

import pandas as pd
import pytest

from registry.lifecycle import Stage
from rehearsal import report
from rehearsal.diary import Move
from rehearsal.invariants import InvariantBrokenError
from rehearsal.outcome import Outcome, Traded
from rehearsal.people import Act
from rehearsal.report import page
from rehearsal.system import Event
from serving.journal import InterventionRecord
from tests.orchestrator_world import record

BEGIN = datetime(2024, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
FIRST, SECOND = "BTCUSDT-1h-aaaaaaaaaaaa", "BTCUSDT-1h-bbbbbbbbbbbb"
MODEL = "BTCUSDT-1h"


def traded(strategy: str, book: Any, *results: float) -> Traded:
    trades = [record(strategy, book, BEGIN + n * DAY, r) for n, r in enumerate(results)]
    refused = InterventionRecord(
        strategy_id=strategy, book=book, time=BEGIN, kind="refuse", price=None,
        why="circuit breaker: daily loss of 5.2 %, the limit is 5 %",
    )  # fmt: skip
    return Traded(strategy, book, trades, [refused])


def move(day: int, version: int, strategy: str, stage: Stage, who: str, why: str) -> Move:
    return Move(BEGIN + day * DAY, MODEL, version, strategy, stage, who, why)


LIFE = [
    move(1, 1, FIRST, Stage.STAGING, "model_validator", "all gates passed"),
    move(30, 1, FIRST, Stage.PRODUCTION, "orchestrator", "0.2 R over 30 trades"),
    move(60, 2, FIRST, Stage.PRODUCTION, "model_retrainer", "retrained"),
    move(90, 2, FIRST, Stage.ARCHIVED, "orchestrator", "buried: -0.1 R"),
    move(120, 3, SECOND, Stage.PRODUCTION, "orchestrator", "0.3 R over 30 trades"),
]
BROKEN = InvariantBrokenError(
    "money conserved to the cent", Event(BEGIN, 1, "orchestrator", {}), "<5 & more> are missing"
)


def outcome(**changes: Any) -> Outcome:
    return replace(
        Outcome(
            market="the embedded market (seed 1)",
            parts="embedded parts",
            seed=1,
            rate=0.02,
            begin=BEGIN,
            end=BEGIN + 365 * DAY,
            broken=None,
            traded=[
                traded(FIRST, "paper", 1.0, -1.0),
                traded(FIRST, "live", 2.0, -1.0, 0.5),
                traded(SECOND, "live", 0.5),
                traded(SECOND, "paper"),
            ],
            moves=LIFE,
            equity={date(2024, 1, 1) + n * DAY: 10_000.0 + n for n in range(5)},
            faults=Counter({"outage of the table": 7, "request: clock skew": 1001}),
            acts=[Act(BEGIN, "withdrew 7 USDT")],
            calls=Counter({("trading_bot", "done"): 105_000, ("trading_bot", "RetryError"): 3}),
            checked={"no event lost": 365},
            divergent=pd.DataFrame(),
            campaigns=[
                {"campaign": "c0ffee", "status": "completed", "verdict": "promoted"},
                {"campaign": "decaf", "status": "failed", "verdict": ""},
            ],
            jobs_usd=1.234,
            jobs=2,
            requests=12_345,
            notifications="2024-01-01 <b>a strategy</b> was promoted",
        ),
        **changes,
    )


class Read(HTMLParser):
    """The page's text, what it opens and closes, and what it points to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.open: list[str] = []
        self.links: list[str] = []
        self.images = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [str(value) for name, value in attrs if name in ("src", "href", "action")]
        self.images += tag == "img"
        assert tag not in ("script", "link", "iframe")
        if tag not in ("img", "meta"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def test_the_page_needs_nothing_else_and_is_well_formed() -> None:
    text = page(outcome())
    read = Read(text)
    assert text.startswith("<!doctype html>")
    assert read.open == []
    assert read.images == 2
    assert all(link.startswith("data:image/png;base64,") for link in read.links)
    assert not re.search(r"url\(|@import|https?://", text)


@pytest.fixture
def without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """They take a moment to draw."""
    monkeypatch.setattr(report, "_image", lambda *_: "")


@pytest.mark.usefixtures("without_figures")
def test_it_says_first_what_would_have_been_earned_and_that_all_held() -> None:
    text = Read(page(outcome())).text
    verdict = "2 strategies would have traded real money, 4 times: +2.0 R, +2 USD after fees"
    assert verdict in text
    assert "Every invariant held." in text
    assert "Broken" not in text
    assert text.index("Every invariant held.") < text.index("Results by strategy")
    assert "365 days, seed 1, fault rate 0.02: 105,003 calls" in text
    assert "12,345 requests to the exchange, 1,008 things that went wrong" in text


@pytest.mark.usefixtures("without_figures")
def test_it_names_the_invariant_that_was_broken() -> None:
    text = Read(page(outcome(broken=BROKEN))).text
    assert "Broken: money conserved to the cent: <5 & more> are missing (after orchestr" in text
    assert "Every invariant held." not in text


@pytest.mark.usefixtures("without_figures")
def test_it_tells_of_every_strategy_its_life_and_its_results() -> None:
    text = Read(page(outcome())).text
    for each in LIFE:
        assert each.strategy_id in text
        assert each.why in text
        assert f"{each.time:%Y-%m-%d %H:%M}" in text
    assert f"{FIRST} live 3 +1.5 +0.500" in text
    assert f"{FIRST} paper 2 +0.0" in text
    assert f"{SECOND} live 1 +0.5" in text
    assert f"{SECOND} paper 0" not in text
    assert "A whole life was lived" in text


@pytest.mark.parametrize("left_out", range(1, len(LIFE)))
def test_a_life_is_whole_with_every_part_of_it_alone(left_out: int) -> None:
    moves = [each for number, each in enumerate(LIFE) if number != left_out]
    whole = left_out == 1  # the retrained version was in Production, too
    assert outcome(moves=moves).lived is whole


@pytest.mark.usefixtures("without_figures")
def test_it_tells_what_went_wrong_what_people_did_and_what_was_checked() -> None:
    text = Read(page(outcome())).text
    assert "request: clock skew 1001 outage of the table 7" in text
    assert "withdrew 7 USDT" in text
    assert "no event lost 365" in text
    assert "trading_bot RetryError 3 trading_bot done 105000" in text
    assert "2 training jobs cost $1.23." in text
    assert "c0ffee completed promoted" in text
    assert "2024-01-01 <b>a strategy</b> was promoted" in text
    assert "circuit breaker: daily loss of 5.2 %" in text


@pytest.mark.usefixtures("without_figures")
def test_trades_that_are_not_the_simulator_s_are_counted_by_what_explains_them() -> None:
    row = {
        "strategy": FIRST, "book": "live", "decision_time": BEGIN, "side": 1,
        "reason_live": "stop", "reason_simulated": "stop", "exit_price_difference": 0.01,
        "r_difference": -0.002, "explained": "costs",
    }  # fmt: skip
    table = pd.DataFrame([row, row, {**row, "explained": "finer candles"}])
    text = Read(page(outcome(divergent=table))).text
    assert "live costs 2 live finer candles 1" in text
    assert "every trade is the simulator's" not in text
    assert "None: every trade is the simulator's." in Read(page(outcome())).text


@pytest.mark.usefixtures("without_figures")
def test_of_a_market_without_an_edge_it_says_that_nothing_would_have_been_traded() -> None:
    quiet = outcome(traded=[traded(FIRST, "paper", 1.0)], moves=[], equity={})
    text = Read(page(quiet)).text
    assert "Nothing would have been traded with real money" in text
    assert "Campaigns: 1 promoted, 1 failed." in text
    assert not quiet.lived
    assert quiet.traded[0].usd == pytest.approx(Decimal(1))
