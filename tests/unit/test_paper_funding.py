"""What a paper account pays for its positions: 0.001 of the notional at 00, 08 and 16 UTC.

Unless it says otherwise a long of 2 is opened at 100, at the open of the first hour.
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from tests.paper_tables import FUNDED, QUIET, START, A, B, D, Paper


def funded(table: str, hour: int = 7, length: str = "1h") -> Paper:
    """From shortly before a funding time on."""
    return Paper(table, costs=FUNDED, start=START.replace(hour=hour), length=length)


def paid(paper: Paper) -> list[tuple[int, Decimal]]:
    """Hours of the day, and amounts, of what was paid."""
    income = paper.exchange.income(START - timedelta(days=1))
    return [(row.time.hour, -row.amount) for row in income]


def test_a_long_pays_at_the_open_of_the_funding_time() -> None:
    paper = funded(QUIET + "110 111 109 110\n" + "120 121 119 120\n")
    paper.enter()
    paper.after(hours=2)
    assert paid(paper) == [(8, D("0.22"))]


def test_a_short_pays_and_receives_nothing() -> None:
    paper = funded(QUIET * 3)
    paper.enter(-1)
    paper.after(hours=2)
    assert paid(paper) == []
    assert paper.exchange.balance().total == 10_000


def test_a_position_opened_at_the_funding_time_does_not_pay() -> None:
    paper = funded(QUIET * 12, hour=8)
    paper.enter()
    paper.after(hours=8)
    assert paid(paper) == []
    paper.after(hours=1)
    assert paid(paper) == [(16, D("0.2"))], "when the candle that begins then has closed"


def test_a_position_closed_at_the_funding_time_pays() -> None:
    paper = funded(QUIET * 3)
    paper.enter()
    paper.after(hours=1)
    paper.leave()
    assert paid(paper) == [(8, D("0.2"))]


@pytest.mark.parametrize("hours", [1, 2])
def test_funding_is_paid_before_a_gap_exit_at_the_same_open(hours: int) -> None:
    paper = funded(QUIET + "90 91 89 90\n" + QUIET).protected()
    paper.after(hours=hours)
    assert paper.fill_price() == 90
    assert paid(paper) == [(8, D("0.18"))]


def test_what_is_added_at_the_funding_time_does_not_pay_but_what_was_held_does() -> None:
    paper = funded(QUIET * 3)
    paper.enter()
    paper.after(hours=1)
    paper.enter(name="more")
    paper.after(hours=2)
    assert paid(paper) == [(8, D("0.2"))]


def test_what_was_stopped_out_before_the_funding_time_does_not_pay() -> None:
    paper = funded("100 101 90 100\n" + QUIET).protected()
    paper.after(hours=1)
    assert paper.fill_price() == 95
    assert paid(paper) == []


def test_it_is_paid_once_however_often_it_is_looked_at() -> None:
    paper = funded(QUIET * 20)
    paper.enter()
    for _ in range(200):
        paper.after(minutes=5)
        paper.exchange.balance()
        paper.exchange = paper.process()
    assert paid(paper) == [(8, D("0.2")), (16, D("0.2"))]


def test_every_symbol_pays_its_own() -> None:
    paper = Paper(QUIET * 12, QUIET * 12, costs=FUNDED, start=START.replace(hour=7))
    paper.enter()
    paper.enter(quantity="3", name="b", symbol=B)
    paper.after(hours=10)
    told = [(row.time.hour, row.symbol, row.amount) for row in paper.exchange.income(START)]
    assert told == [(16, A, D("-0.2")), (16, B, D("-0.3"))]
    assert paper.exchange.balance().total == 10_000 - 2 * D("0.5")


@pytest.mark.parametrize("looks", [True, False])
def test_where_the_candle_of_the_funding_time_is_missing_the_next_open_counts(looks: bool) -> None:
    paper = funded(QUIET + "...\n" + "120 121 119 120\n" + QUIET)
    paper.enter()
    for _ in range(36):
        paper.after(minutes=5)
        if looks:
            paper.exchange.balance()
    assert paid(paper) == [(8, D("0.24"))]


@pytest.mark.parametrize("looks", [True, False])
def test_inside_a_candle_of_half_a_day_it_is_paid_at_its_open(looks: bool) -> None:
    """As strategy.costs lays it on bars: a stop in the candle does not spare it."""
    start = START.replace(hour=0)
    paper = Paper(QUIET + "100 101 90 100\n" + QUIET, costs=FUNDED, start=start, length="12h")
    paper.protected()
    for _ in range(24):
        paper.after(hours=1)
        if looks:
            paper.exchange.balance()
    assert paper.fill_price() == 95
    assert paid(paper) == [(8, D("0.2")), (16, D("0.2"))]
    fill = paper.fill()
    assert fill is not None and fill.time == start + timedelta(hours=16), "not before it paid"


def test_what_was_paid_in_a_trade_of_weeks_is_told_when_it_has_ended() -> None:
    paper = Paper(QUIET * 24 * 20 + "100 101 90 100\n" + QUIET * 24 * 9, costs=FUNDED)
    paper.protected()
    paper.after(days=20, hours=1)
    assert paper.fill_price() == 95
    assert len(paper.exchange.income(START)) == 60
    paper.after(days=8)
    paper.enter(name="next")
    assert paper.exchange.income(START) == [], "and forgotten a week later"
