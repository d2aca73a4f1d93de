"""Rates, bounds and rules of the calibration, by figures worked out by hand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from store.config_file import read_config
from training.calibration.analysis import (
    ADDED,
    ALL,
    ALONE,
    INSTEAD,
    WITHOUT,
    Campaign,
    Finding,
    Rate,
    Rule,
    campaign_of,
    default_gates,
    findings,
    null_p_value,
    passed,
    period_findings,
    random_mean,
    rates,
    rules,
    shown_gates,
)
from training.calibration.figure import calibration_figure
from training.calibration.page import page

CONFIG = read_config(Path(__file__).parents[2] / "config.json")


def record(market: str = "no-edge", seed: int = 0, **changes: Any) -> dict[str, Any]:
    """A campaign that passes every gate there is."""
    good = [1.0, -0.4] * 20
    return {
        "market": market,
        "seed": seed,
        "trials": [{"pruned": False}, {"pruned": True}],
        "eligible": 1,
        "ranking_r": [good, good],
        "confirmation_r": [good, good],
        "random_expectancies": list(np.linspace(0.01, 0.2, 40)),
        "random_confirmation_expectancies": list(np.linspace(-0.2, 0.2, 40)),
        "deflated_sharpe": 0.99,
        "overfitting": 0.1,
        **changes,
    }


def test_bounds_of_no_discovery_at_all() -> None:
    """(1 - p) ** n = 0.05 gives the upper bound; with half of it in each tail, the interval."""
    none = Rate(0, 300)
    assert none.share == 0
    assert none.upper_bound == pytest.approx(1 - 0.05 ** (1 / 300))
    assert none.upper_bound < 0.01
    assert none.interval == (0.0, pytest.approx(1 - 0.025 ** (1 / 300)))


def test_bounds_of_discovery_always() -> None:
    always = Rate(100, 100)
    assert always.upper_bound == 1.0
    assert always.interval == (pytest.approx(0.025 ** (1 / 100)), 1.0)


def test_bounds_of_one_of_two() -> None:
    """At least one of two: 1 - (1 - p)^2; at most one: 1 - p^2."""
    half = Rate(1, 2)
    assert half.interval == pytest.approx((1 - math.sqrt(0.975), math.sqrt(0.975)))
    assert half.upper_bound == pytest.approx(math.sqrt(0.95))


def test_a_model_counts_as_one_of_its_null() -> None:
    null = np.array([0.1, 0.2, 0.3, math.nan])
    assert null_p_value(0.25, null) == pytest.approx(2 / 4)
    assert null_p_value(0.3, null) == pytest.approx(2 / 4)  # as well is not better
    assert null_p_value(0.4, null) == pytest.approx(1 / 4)
    assert null_p_value(0.0, null) == 1.0
    assert math.isnan(null_p_value(math.nan, null))
    assert math.isnan(null_p_value(0.1, np.array([math.nan])))


def test_a_record_is_judged_by_the_projects_own_gates() -> None:
    campaign = campaign_of(record())
    figures = {gate.name: gate.figure for gate in default_gates(campaign, CONFIG)}
    assert figures["candidates"] == 1
    assert figures["incubation_trades"] == 80
    assert figures["incubation_all_trades"] == pytest.approx(0.3)
    assert figures["monte_carlo_positive_share"] == 1.0
    assert figures["monte_carlo_mean"] == pytest.approx(0.105)
    assert all(gate.passed for gate in default_gates(campaign, CONFIG))
    assert all(gate.passed for gate in shown_gates(campaign))


@pytest.mark.parametrize(
    ("changes", "failing"),
    [
        ({"eligible": 0}, {"candidates"}),
        (
            {"random_expectancies": [0.1] * 18 + [0.12, -0.1]},
            {"monte_carlo_positive_share"},
        ),
        (
            {"random_confirmation_expectancies": [0.31] + [0.2] * 18},
            {"confirmation_against_random"},
        ),
        ({"random_expectancies": [0.1, 0.2, 0.31] * 5}, {"model_against_random"}),
        ({"ranking_r": [[0.3, -0.2] * 20] * 2}, {"model_against_random"}),
        ({"deflated_sharpe": None}, {"deflated_sharpe"}),
        ({"overfitting": 0.5}, {"overfitting"}),
        (
            {"confirmation_r": [[1.0, -0.2] * 150, [-1.0, 0.8] * 50]},
            {"incubation_last_100_trades"},
        ),
        (
            {"confirmation_r": [], "random_confirmation_expectancies": []},
            {
                "incubation_trades",
                "incubation_last_100_trades",
                "incubation_all_trades",
                "confirmation_against_random",
                "confirmation_p_value",
            },
        ),
    ],
)
def test_each_gate_fails_on_its_own_figure(changes: dict[str, Any], failing: set[str]) -> None:
    campaign = campaign_of(record(**changes))
    verdicts = passed([*default_gates(campaign, CONFIG), *shown_gates(campaign)])
    assert {name for name, held in verdicts.items() if not held} == failing


def test_rules_take_gates_one_by_one_out_and_in() -> None:
    made = {(rule.section, rule.name): rule.gates for rule in rules(["a", "monte_carlo_b"], ["c"])}
    assert made == {
        (ALL, "all default gates"): ("a", "monte_carlo_b"),
        (ALONE, "a"): ("a",),
        (ALONE, "monte_carlo_b"): ("monte_carlo_b",),
        (WITHOUT, "a"): ("monte_carlo_b",),
        (WITHOUT, "monte_carlo_b"): ("a",),
        (WITHOUT, "incubation_*"): ("a", "monte_carlo_b"),
        (WITHOUT, "monte_carlo_*"): ("a",),
        ("shown", "c"): ("c",),
        (ADDED, "c"): ("a", "monte_carlo_b", "c"),
        (INSTEAD, "c"): ("a", "c"),
    }


def test_rates_are_counted_by_market() -> None:
    judged = [("x", {"a": True, "b": False}), ("x", {"a": True, "b": True}), ("y", {"a": False})]
    assert rates(judged[:2], ["a", "b"]) == {"x": Rate(1, 2)}
    assert rates(judged, ["a"]) == {"x": Rate(2, 2), "y": Rate(0, 1)}


def test_random_entries_are_averaged_over_markets_not_over_simulations() -> None:
    both = [campaign_of(record(random_expectancies=[each] * 5)) for each in (0.1, 0.3)]
    assert random_mean(both) == (pytest.approx(0.2), pytest.approx(0.1))
    assert math.isnan(random_mean(both[:1])[1])


@pytest.fixture(scope="module")
def campaigns() -> list[Campaign]:
    """Three without an edge, of which one passes; two with one, both of which pass."""
    return [
        campaign_of(record("no-edge", 0)),
        campaign_of(record("no-edge", 1, deflated_sharpe=0.1, overfitting=0.9, eligible=0)),
        campaign_of(record("no-edge", 3, random_expectancies=[-0.1, -0.2])),
        campaign_of(record("trend-0.3", 0)),
        campaign_of(record("trend-0.3", 1)),
    ]


def found(campaigns: list[Campaign], section: str, name: str) -> Finding:
    (finding,) = [each for each in findings(campaigns, CONFIG) if each.rule[:2] == (section, name)]
    return finding


def test_findings_count_what_each_rule_lets_pass(campaigns: list[Campaign]) -> None:
    every = found(campaigns, ALL, "all default gates")
    assert every.rates == {"no-edge": Rate(1, 3), "trend-0.3": Rate(2, 2)}
    assert found(campaigns, WITHOUT, "candidates").rates["no-edge"] == Rate(2, 3)
    assert found(campaigns, WITHOUT, "monte_carlo_*").rates["no-edge"] == Rate(2, 3)
    assert found(campaigns, WITHOUT, "monte_carlo_mean").rates["no-edge"] == Rate(1, 3)
    assert found(campaigns, INSTEAD, "deflated_sharpe").rates["no-edge"] == Rate(2, 3)


def test_fewer_or_more_of_the_last_trades_are_judged_on_the_same_campaigns() -> None:
    """The last 20 trades lose, the last 30 no longer: 10 of 1 R and 20 of -0.4 R make 0.07 R."""
    late = campaign_of(record(confirmation_r=[[1.0] * 40, [-0.4] * 20]))
    passing = {
        each.rule.name: each.rates["no-edge"].passed for each in period_findings([late], CONFIG)
    }
    assert passing == {
        "last 10": 0, "last 20": 0, "last 30": 1, "last 50": 1, "last 100": 1, "last 200": 1,
    }  # fmt: skip


def test_the_page_says_what_was_found_and_how_it_was_made(campaigns: list[Campaign]) -> None:
    text = page(campaigns, findings(campaigns, CONFIG), CONFIG, recorded="")
    assert "python -m training.calibration --campaigns 3 --edge-campaigns 3 \\\n" in text
    assert (
        "- martingale, default costs: 1 of 3 campaigns found something, 33.3 % "
        "(95 % bound 86.5 %; aim 1.00 % or less: **missed**, within error)." in text
    )
    assert "- planted trends of 0.3: 2 of 2 found it, 100.0 %" in text
    assert "aim 95.0 % or more: met, within error)." in text
    assert "| `no-edge` | 3 (0-1, 3) | 1 |" in text
    assert "| without candidates | 2 of 3 | 2 of 2 |" in text
    assert "- `incubation_last_100_trades` > 0.01:" in text


def test_the_figure_needs_only_what_was_run(campaigns: list[Campaign]) -> None:
    figure = calibration_figure(findings(campaigns, CONFIG), "SYNTHETIC MARKETS")
    power, false = figure.axes
    assert len(power.get_legend_handles_labels()[1]) == 3
    assert false.get_legend_handles_labels()[1] == ["martingale, default costs"]


def test_a_rule_is_named_once() -> None:
    made = rules([gate.name for gate in default_gates(campaign_of(record()), CONFIG)], ["c"])
    assert len({rule[:2] for rule in made}) == len(made)
    assert isinstance(made[0], Rule)
