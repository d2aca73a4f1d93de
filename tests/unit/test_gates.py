"""The gates between stages, on figures worked out by hand."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from registry.gates import (
    GateVerdict,
    gravedigger_gates,
    incubation_gates,
    production_gates,
)
from strategy.config import Gravedigger, IncubationPromotion, ProductionPromotion

RULE = IncubationPromotion(expectancy_threshold=0.01, min_trades=10, period="last_30_trades")
PROMOTION = ProductionPromotion(
    expectancy_threshold=0.01,
    min_trades=10,
    period="last_30_trades",
    minimum_duration_months=1,
)
GRAVEDIGGER = Gravedigger(minimum_duration_months=3, min_trades=10, expectancy_threshold=0.0)
START = datetime(2026, 1, 31, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    ("comparison", "below", "equal", "above"),
    [
        (">", False, False, True),
        (">=", False, True, True),
        ("<", True, False, False),
        ("<=", True, True, False),
    ],
)
def test_a_verdict_follows_from_figure_and_threshold(
    comparison: Any, below: bool, equal: bool, above: bool
) -> None:
    figures = (0.9, 1.0, 1.1, math.nan)
    verdicts = [GateVerdict("g", figure, 1.0, comparison, "").passed for figure in figures]
    assert verdicts == [below, equal, above, False]


def test_incubation_is_judged_on_the_last_trades_and_on_all() -> None:
    r = np.concatenate([np.full(20, -1.0), np.full(15, 0.5), np.full(15, 0.7)])
    trades, last, everything = incubation_gates(r, RULE)
    assert (trades.figure, trades.threshold, trades.passed) == (30.0, 10.0, True)
    assert last.figure == pytest.approx(0.6)
    assert last.passed
    assert everything.figure == pytest.approx((-20 + 7.5 + 10.5) / 50)
    assert not everything.passed
    # std(ddof=1) of fifteen 0.5 and fifteen 0.7 is 0.101710; over sqrt(30) that is 0.018570
    assert "30 confirmation trades, standard error 0.019 R" in last.detail
    assert "50 confirmation trades" in everything.detail


def test_too_few_trades_fail_incubation_whatever_they_earned() -> None:
    trades, last, everything = incubation_gates(np.full(9, 2.0), RULE)
    assert not trades.passed
    assert last.passed
    assert everything.passed


def test_no_trade_at_all_fails_every_incubation_gate() -> None:
    gates = incubation_gates(np.empty(0), RULE)
    assert [gate.passed for gate in gates] == [False, False, False]
    assert "standard error unknown" in gates[1].detail


def test_promotion_is_judged_on_the_last_paper_trades_alone() -> None:
    r = np.concatenate([np.full(50, -1.0), np.full(15, 0.5), np.full(15, 0.7)])
    duration, trades, last = production_gates(r, START, START + timedelta(days=90), PROMOTION)
    assert (trades.figure, trades.passed) == (30.0, True)
    assert last.figure == pytest.approx(0.6)
    assert "30 paper trades, standard error 0.019 R" in last.detail
    assert duration.passed
    assert "in Staging, since 2026-01-31 09:00 UTC" in duration.detail


def test_a_month_since_the_last_of_january_is_over_on_the_last_of_february() -> None:
    moments = [datetime(2026, 2, 28, 8, 59, tzinfo=UTC), datetime(2026, 2, 28, 9, tzinfo=UTC)]
    verdicts = [production_gates(np.ones(30), START, now, PROMOTION)[0] for now in moments]
    assert [verdict.passed for verdict in verdicts] == [False, True]
    assert verdicts[0].figure == pytest.approx(1 - 1 / (28 * 24 * 60))
    assert verdicts[1].figure == 1.0


def test_nine_paper_trades_do_not_promote_whatever_they_earned() -> None:
    gates = production_gates(np.full(9, 3.0), START, START + timedelta(days=90), PROMOTION)
    assert [gate.passed for gate in gates] == [True, False, True]


def test_what_is_not_known_promotes_nothing_and_buries_nothing() -> None:
    later = START + timedelta(days=900)
    assert [g.passed for g in production_gates(np.empty(0), None, later, PROMOTION)] == [False] * 3
    assert [g.passed for g in gravedigger_gates(np.empty(0), None, later, GRAVEDIGGER)] == [
        False
    ] * 3
    assert "since when is unknown" in production_gates(np.ones(30), None, later, PROMOTION)[0].text


def test_the_gravedigger_judges_all_live_trades_and_not_the_last_ones() -> None:
    r = np.concatenate([np.full(40, 1.0), np.full(30, -1.0)])
    *_, expectancy = gravedigger_gates(r, START, START + timedelta(days=300), GRAVEDIGGER)
    assert expectancy.figure == pytest.approx(10 / 70)
    assert not expectancy.passed
    *_, expectancy = gravedigger_gates(-r, START, START + timedelta(days=300), GRAVEDIGGER)
    assert expectancy.passed
    # sd(ddof=1) of forty 1 and thirty -1 is 0.99692; over sqrt(70) that is 0.11916
    assert "70 live trades, standard error 0.12 R" in expectancy.detail


def test_a_strategy_that_loses_nothing_on_average_is_not_buried() -> None:
    r = np.tile([1.0, -1.0], 10)
    *_, expectancy = gravedigger_gates(r, START, START + timedelta(days=300), GRAVEDIGGER)
    assert expectancy.figure == 0.0
    assert not expectancy.passed


def test_the_gravedigger_waits_for_months_and_for_trades() -> None:
    young = datetime(2026, 4, 30, 8, tzinfo=UTC)
    old = datetime(2026, 4, 30, 9, tzinfo=UTC)
    found = {
        (when, count): [
            g.passed for g in gravedigger_gates(-np.ones(count), START, when, GRAVEDIGGER)
        ]
        for when in (young, old)
        for count in (9, 10)
    }
    assert found == {
        (young, 9): [False, False, True],
        (young, 10): [False, True, True],
        (old, 9): [True, False, True],
        (old, 10): [True, True, True],
    }
