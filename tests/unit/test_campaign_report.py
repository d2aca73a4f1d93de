"""The page that a campaign ends with."""

from __future__ import annotations

import json
import math
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from registry.gates import GateVerdict, incubation_gates
from store.synthetic import synthetic_candles
from strategy import performance
from strategy.config import Config, IndicatorParameters, LightGBMParameters, config_from
from strategy.costs import Charges
from strategy.features import FEATURE_NAMES
from strategy.signal import CLASSES, signal_of
from strategy.simulate import TRADE, Bars, simulate
from strategy.windows import Window
from training import html_page as html
from training.campaign_report import words
from training.campaign_report.conditions import conditions
from training.campaign_report.costs import (
    CostCase,
    cost_sensitivity,
    free_of_costs,
    per_side_for,
)
from training.campaign_report.findings import Findings
from training.campaign_report.frame import Subject
from training.campaign_report.monthly import by_month_of_year, monthly_r
from training.campaign_report.outlook import lower_bound, trades_to_tell
from training.campaign_report.page import campaign_page
from training.campaign_report.pictures import findings_figures
from training.campaign_report.stability import neighbourhood
from training.campaign_report.stopped import stopped_page
from training.campaign_report.verdicts import told
from training.candidate import Candidate, expected_directions, trades_table
from training.explain import Explanation
from training.preflight import Estimate, Preflight, Scenario
from training.random_signal_simulator import monte_carlo, monte_carlo_gates
from training.trial import Trial
from training.walk_forward import PreparedMarket, TrialParameters, WindowResult

START = pd.Timestamp("2024-01-01", tz="UTC")
MODEL = LightGBMParameters(learning_rate=0.1, num_leaves=7, min_data_in_leaf=20, n_estimators=10)
CENTRE = IndicatorParameters(9, 26, 52, 14, 14)
HIDDEN = 2


def config(**changes: dict[str, Any]) -> Config:
    document = json.loads((Path(__file__).parents[2] / "config.json").read_text())
    document["walk_forward_config"] = {
        "history_years": 1, "training_months": 2, "validation_months": 1, "step_months": 1,
    }  # fmt: skip
    document["break_even"]["historical_atr_window"] = 50
    for section, values in changes.items():
        document[section] |= values
    return config_from(document)


@cache
def market() -> PreparedMarket:
    candles = synthetic_candles(np.random.default_rng(11), 24 * 244, START, trend_strength=0.0)
    return PreparedMarket(candles, "1h", config())


def opinions(window: Window, buys: float) -> np.ndarray:
    """Random probabilities of a window's bars that lean to buying, or to nothing at all."""
    rng = np.random.default_rng(window.number)
    draws = rng.random((window.validation_end - window.train_end, len(CLASSES)))
    draws[:, CLASSES.index(1)] += buys
    return draws / draws.sum(axis=1, keepdims=True)


@cache
def traded(window: Window, buys: float = 0.2) -> WindowResult:
    return market().validate(TrialParameters(CENTRE, MODEL), window, opinions(window, buys))


def idle(window: Window) -> WindowResult:
    bars = window.validation_end - window.train_end
    unknown = np.full((bars, len(CLASSES)), np.nan)
    return market().validate(TrialParameters(CENTRE, MODEL), window, unknown)


def trial(
    number: int,
    results: Sequence[WindowResult],
    periods: IndicatorParameters = CENTRE,
    pruned: bool = False,
) -> Trial:
    return Trial(number, TrialParameters(periods, MODEL), tuple(results), pruned)


def result_of(*r: float) -> WindowResult:
    trades = np.zeros(len(r), dtype=TRADE)
    trades["r"] = r
    return WindowResult(1, trades, (1, 1, 1), np.zeros((3, 3), np.int64), 1.0)


def explanation() -> Explanation:
    rng = np.random.default_rng(1)
    n, f = 20, len(FEATURE_NAMES)
    directions = [expected_directions()[name] or 0 for name in FEATURE_NAMES]
    return Explanation(
        FEATURE_NAMES, rng.normal(size=(n, f)), rng.normal(size=(n, 3, f)), np.zeros(3),
        np.array(directions, dtype=np.int8),
    )  # fmt: skip


def findings(
    results: Sequence[WindowResult], confirmation: Sequence[WindowResult], **changes: Any
) -> Findings:
    """A campaign of two trials whose candidate has these results."""
    own, other = trial(0, results), trial(1, results, CENTRE._replace(tenkan_sen=10))
    everything = [*results, *confirmation]
    r = np.concatenate([each.r for each in everything])
    simulation = monte_carlo(
        market(), CENTRE.atr_period, {each.window: each.signal_counts for each in everything},
        performance.expectancy(r), n_simulations=10, seed=1,
    )  # fmt: skip
    confirmed = np.concatenate([np.empty(0), *(each.r for each in confirmation)])
    rules = market().config
    candidate = Candidate(
        trial=own,
        eligible=bool(confirmation),
        confirmation=tuple(confirmation),
        simulation=simulation,
        explanation=explanation(),
        deflated_sharpe=0.4,
        overfitting=0.6,
        gates=(
            GateVerdict("candidates", float(bool(confirmation)), 0.0, ">", "of 2 trials"),
            *incubation_gates(confirmed, rules.incubation_promotion),
            *monte_carlo_gates(simulation.entries, rules.monte_carlo_config),
        ),
    )
    candidate = replace(candidate, **changes)
    trades = trades_table(market(), everything)
    return Findings.of(market(), [own, other], candidate, trades)


def windows() -> tuple[Sequence[Window], Sequence[Window]]:
    return market().windows[:-HIDDEN], market().windows[-HIDDEN:]


@cache
def judged() -> Findings:
    ranking, hidden = windows()
    return findings([traded(each) for each in ranking], [traded(each) for each in hidden])


@cache
def all_pruned() -> Findings:
    ranking, _ = windows()
    return findings([traded(each) for each in ranking[:2]], [])


@cache
def nothing_traded() -> Findings:
    ranking, _ = windows()
    return findings([idle(each) for each in ranking], [])


SUBJECT = Subject(
    market="BTCUSDT 1h",
    source="synthetic(seed 11)",
    synthetic=True,
    origin={
        "first candle": "2024-01-01T00:00Z", "last candle": "2024-08-31T23:00Z", "code": "abc",
    },
)  # fmt: skip
PICTURES: Any = defaultdict(lambda: b"\x89PNG")


def page(of: Findings, subject: Subject = SUBJECT) -> str:
    return campaign_page(subject, of, PICTURES)


class Reader(HTMLParser):
    """What a page shows, and whether every element that it opens is closed."""

    EMPTY = ("meta", "img")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.shown: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += attrs
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.shown.append(data.replace(words.HELD, " "))


def read(content: str) -> Reader:
    reader = Reader()
    reader.feed(content)
    reader.close()
    assert reader.open == []
    return reader


def shown(content: str) -> str:
    return re.sub(r"\s+", " ", " ".join(read(content).shown))


# -- by month


def test_months_add_up_by_exit_and_in_utc() -> None:
    exits = ["2024-02-01 01:00", "2023-12-31 23:00", "2024-02-10 00:00", "2024-12-01 00:00"]
    elsewhere = pd.DatetimeIndex(exits, tz="UTC").tz_convert("America/New_York")
    first, second = monthly_r(elsewhere, np.array([1.0, -2.0, 0.5, 4.0]))
    assert (first.year, first.trades, first.total) == (2023, 1, -2.0)
    assert (second.year, second.trades, second.total) == (2024, 3, 5.5)
    assert second.months[1] == 1.5  # the first one ended on 31 January in New York
    assert second.months[11] == 4.0
    assert np.isnan(second.months[[0, *range(2, 11)]]).all()
    by_month = by_month_of_year([first, second])
    assert (by_month[1], by_month[11]) == (1.5, 2.0)
    assert math.isnan(by_month[0])


def test_without_trades_there_are_no_months() -> None:
    assert monthly_r(pd.DatetimeIndex([], tz="UTC"), np.empty(0)) == []


# -- costs


def test_costs_are_charged_on_the_notional_of_both_fills() -> None:
    """Bought at 100 with 10 at risk, out at 110: (10 - per_side * 210) / 10 in R."""
    price = np.array([100.0, 100.0, 105.0, 110.0])
    bars = Bars(np.arange(4) * 3_600_000_000_000, price, price, price, price)
    one = SimpleNamespace(
        bars=bars,
        index=pd.date_range(START, periods=4, freq="h"),
        timeframe="1h",
        charges=Charges(0.001, np.full((4, 2), 0.0005), np.zeros((4, 2))),
        windows=(Window(1, 0, 0, 4, START, START, START),),
        stop_distance=lambda period: np.full(4, 10.0),
    )
    trades = np.zeros(1, dtype=TRADE)
    trades["side"] = 1
    results = [WindowResult(1, trades, (0, 0, 1), np.zeros((3, 3), np.int64), 1.0)]
    cases = cost_sensitivity(one, 14, results)  # type: ignore[arg-type]
    funding = 0.0005 * (105 + 110) / 10  # owed at the opens of the two bars after the entry
    expected = [1 - multiple * 0.021 - funding for multiple in (0, 1, 2, 3)]
    assert [case.multiple for case in cases] == [0, 1, 2, 3]
    np.testing.assert_allclose([case.expectancy for case in cases], expected, rtol=1e-12)
    assert free_of_costs(one, 14, results).tolist() == [1.0]  # type: ignore[arg-type]
    assert per_side_for(cases, 0.0) == pytest.approx((1 - funding) / 21)


def test_the_traded_decisions_give_the_trades_that_all_signals_gave() -> None:
    ranking, _ = windows()
    results = [traded(window) for window in ranking]
    cases = cost_sensitivity(market(), CENTRE.atr_period, results)
    assert len(cases[1].r) > 100
    assert (cases[1].r == np.concatenate([each.r for each in results])).all()
    window, own = ranking[0], market().charges
    bars = slice(window.train_end, window.validation_end)
    signals = np.zeros(len(market().index), dtype=np.int8)
    signals[bars] = signal_of(opinions(window, 0.2))
    twice = simulate(
        market().bars, signals, market().stop_distance(CENTRE.atr_period),
        own._replace(per_side=2 * own.per_side), timeframe="1h", start=bars.start, end=bars.stop,
    )  # fmt: skip
    assert (cases[2].r[: len(twice)] == twice["r"]).all()


def test_a_straight_line_says_what_a_fill_may_cost() -> None:
    cases = [CostCase(k, 0.0006 * k, np.array([0.30 - 0.12 * k])) for k in (0.0, 1.0, 2.0, 3.0)]
    assert per_side_for(cases, 0.0) == pytest.approx(0.0015)  # two and a half times
    assert per_side_for(cases, 0.06) == pytest.approx(0.0012)
    assert per_side_for(cases, 0.42) == pytest.approx(-0.0006)  # more than it earns for nothing


def test_without_trades_or_costs_no_break_even_is_known() -> None:
    assert math.isnan(per_side_for([CostCase(k, 0.1 * k, np.empty(0)) for k in (0.0, 1.0)], 0))
    assert math.isnan(per_side_for([CostCase(k, 0.0, np.ones(1)) for k in (0.0, 1.0)], 0))


# -- stability


def test_neighbours_are_one_step_away_on_any_axes() -> None:
    """The grid goes by 1 in tenkan, 2 in kijun, 4 in senkou, and by 7 in RSI and ATR."""
    centre = trial(0, [result_of(1.0, 1.2)])
    trials = [
        centre,
        trial(1, [result_of(0.5)], CENTRE._replace(tenkan_sen=10)),
        trial(2, [result_of(-0.5)], CENTRE._replace(rsi_period=21, kijun_sen=24), pruned=True),
        trial(3, [result_of(2.0)], CENTRE._replace(rsi_period=28)),  # two steps
        trial(4, [result_of(0.1)]),  # the same periods, another model
        trial(5, [result_of()], CENTRE._replace(atr_period=7)),
    ]
    around = neighbourhood(trials, centre, config())
    found = [(each.trial.number, each.steps, each.earns) for each in around.neighbours]
    assert found == [(4, 0, True), (1, 1, True), (5, 1, False), (2, 2, False)]
    assert (around.earning, around.share_earning) == (2, 0.5)
    assert (around.combinations, around.walked) == (3**5 - 1, 3)


def test_at_the_edge_of_the_grid_there_are_fewer_neighbours() -> None:
    corner = trial(0, [result_of(1.0)], IndicatorParameters(8, 24, 48, 7, 7))
    around = neighbourhood([corner], corner, config())
    assert (around.combinations, around.walked, around.neighbours) == (2**5 - 1, 0, ())
    assert math.isnan(around.share_earning)


# -- how sure


def test_the_lower_bound_is_students() -> None:
    r = np.array([1.0, 2.0, 3.0])
    assert lower_bound(r) == pytest.approx(2 - 2.919986 / math.sqrt(3), abs=1e-6)
    assert lower_bound(r[:1]) == -math.inf


@pytest.mark.parametrize(("mean", "spread"), [(0.1, 1.6), (1.0, 0.5), (0.01, 1.5)])
def test_so_many_trades_tell_an_expectancy_from_zero_and_one_less_does_not(
    mean: float, spread: float
) -> None:
    needed = int(trades_to_tell(mean, spread))

    def bound(n: int) -> float:
        return mean - float(stats.t.ppf(0.95, n - 1)) * spread / math.sqrt(n)

    assert bound(needed) > 0
    assert needed == 2 or bound(needed - 1) <= 0


def test_no_number_of_trades_proves_a_loss_a_profit() -> None:
    assert trades_to_tell(-0.1, 1.0) == math.inf
    assert trades_to_tell(0.0, 1.0) == math.inf
    assert math.isnan(trades_to_tell(math.nan, 1.0))


# -- words


def test_figures_read_as_people_write_them() -> None:
    held = words.HELD
    assert words.in_r(-1.234) == f"−1.23{held}R"
    assert words.signed(-0.0004, 2) == "0.00"
    assert words.with_error(0.5, math.nan) == f"+0.500{held}R"
    assert words.share(0.9999) == f"over 99{held}%"
    assert words.share(0.0001, 1) == f"under 0.1{held}%"
    assert (words.share(1.0), words.share(0.0)) == (f"100{held}%", f"0{held}%")
    assert words.number(math.inf) == "∞"
    assert words.in_r(math.nan) == words.share(math.nan) == "not known"
    assert words.probability(1e-9) == "< 0.0001"
    assert (words.counted(1, "trade"), words.counted(1200, "trade")) == ("1 trade", "1,200 trades")


def test_a_gate_is_told_with_its_figure_its_threshold_and_what_it_means() -> None:
    gate = GateVerdict("monte_carlo_positive_share", 0.5, 0.95, ">", "share of 10")
    verdict = told(gate)
    assert (verdict.figure, verdict.wanted) == (
        words.share(0.5, 1),
        f"more than {words.share(0.95, 1)}",
    )
    assert "lose too often" in verdict.meaning
    assert "earn nearly always" in told(replace(gate, figure=0.99)).meaning
    assert "not known does not pass" in told(replace(gate, figure=math.nan)).meaning


def test_a_gate_that_is_new_is_told_by_its_own_detail() -> None:
    verdict = told(GateVerdict("some_new_gate", 0.25, 0.5, ">=", "what it looks at"))
    assert (verdict.title, verdict.figure) == ("Some new gate", "0.2500")
    assert (verdict.wanted, verdict.meaning) == ("at least 0.5000", "what it looks at")


# -- the page


def test_the_verdicts_come_first_and_everything_else_follows() -> None:
    text = shown(page(judged()))
    titles = (
        "Campaign report: BTCUSDT 1h", "This market is synthetic", "Rejected: nothing will be",
        "average trade, after costs", "what it means", "Sum of net R", "ended in profit",
        "How they ended", "Window by window", "What if trading cost more", "neighbour",
        "What the model listens to", "coin flips have done", "deflated Sharpe",
        "What would have to be true", "How to read this", "advises nobody",
    )  # fmt: skip
    places = [text.find(title) for title in titles]
    assert -1 not in places
    assert places[:5] == sorted(places[:5])


def test_the_page_needs_nothing_but_itself() -> None:
    content = page(judged())
    for foreign in ("http:", "https:", "<script", "@import", "url("):
        assert foreign not in content
    sources = [value for name, value in read(content).attributes if name in ("src", "href")]
    assert all(str(value).startswith(("data:image/png;base64,", "#")) for value in sources)


def test_every_link_leads_somewhere_and_every_picture_is_told() -> None:
    attributes = read(page(judged())).attributes
    anchors = {value for name, value in attributes if name == "id"}
    links = [str(value)[1:] for name, value in attributes if name == "href"]
    assert links and set(links) <= anchors
    told_of = [value for name, value in attributes if name == "alt"]
    assert len(told_of) == 9 and all(told_of)


def test_what_was_given_is_escaped() -> None:
    nasty = replace(
        SUBJECT, market="<b>BTC & co</b>", source='"><script>alert(1)</script>', synthetic=False
    )
    content = page(judged(), nasty)
    assert "<script" not in content and "<b>BTC" not in content
    assert "<b>BTC & co</b>" in shown(content)
    assert html.element("p", html.text("a < b"), title='"') == '<p title="&quot;">a &lt; b</p>'


def test_the_same_campaign_makes_the_same_page() -> None:
    ranking, hidden = windows()
    again = findings([traded(each) for each in ranking], [traded(each) for each in hidden])
    drawn = [
        {name: html.png(figure) for name, figure in findings_figures(of, "x").items()}
        for of in (judged(), again)
    ]
    assert drawn[0] == drawn[1]
    slower = again.candidate.simulation._replace(seconds=1e6)
    later = replace(again, candidate=replace(again.candidate, simulation=slower))
    assert page(judged()) == page(later)


def test_all_gates_passed_means_accepted_for_paper_trading_only() -> None:
    gates = tuple(
        GateVerdict(gate.name, 1.0, 0.0, ">", gate.detail) for gate in judged().candidate.gates
    )
    accepted = replace(judged(), candidate=replace(judged().candidate, gates=gates))
    text = shown(page(accepted))
    assert "Accepted for paper trading" in text
    assert "before any real order" in text
    assert "failed" not in text


def test_only_a_synthetic_market_is_called_one() -> None:
    text = shown(page(judged(), replace(SUBJECT, synthetic=False, source="BTCUSDT-1h.parquet")))
    assert "synthetic" not in text
    assert "found on a real market" not in text


def test_a_campaign_that_pruned_every_trial_says_so() -> None:
    text = shown(page(all_pruned()))
    assert "no setting was left to judge" in text
    assert "The one that came furthest of 2 settings" in text
    assert "There is nothing to measure it by" in text
    assert "A setting would have to survive the search" in text
    assert "in the hidden windows 0 –" in text


def test_a_campaign_that_never_traded_still_makes_a_page() -> None:
    text = shown(page(nothing_traded()))
    assert "made not a single trade" in text
    assert text.count("It made no trades, so there is nothing to show here.") == 3
    assert "0 trades cannot tell an edge from chance" in text
    assert "nan" not in text.lower().replace("finance", "")
    figures = findings_figures(nothing_traded(), "x")
    assert figures["cost_sensitivity"].axes[0].texts[0].get_text() == "no trades"


def test_a_campaign_that_the_preflight_stopped_says_why_nothing_was_searched() -> None:
    rules = config()
    scenario = Scenario("ATR 7", "1h", 7, rules.break_even, rules.costs)
    result = Preflight(
        (Estimate(scenario, -0.1, 0.02, 1.0, 950.0, False),),
        (Estimate(scenario._replace(name="no <costs>"), 0.1, 0.99, 0.0, 950.0, True),),
    )
    text = shown(stopped_page(SUBJECT, result, rules))
    assert "Not searched" in text and "No setting was tried" in text
    assert "ATR 7 −0.100 R 2 % 950 no" in text
    assert "if: no <costs> +0.100 R 99 % 950 yes" in text


# -- what would have to be true


def with_r(
    *hidden: float, costs: Sequence[float] = (0.3, 0.2, 0.1, 0.0), better_before: float = 0.0
) -> Findings:
    """The judged campaign, with other unseen trades and other expectancies by costs."""
    candidate = judged().candidate
    own = judged().market.config.costs.per_side
    before = np.repeat([better_before, 0.0], [len(candidate.trial.r), len(hidden)])
    return replace(
        judged(),
        candidate=replace(candidate, confirmation=(result_of(*hidden),)),
        cases=[CostCase(k, k * own, each + before) for k, each in enumerate(costs)],
    )


def sentences(of: Findings) -> str:
    return " ".join(conditions(of, synthetic=False)).replace(words.HELD, " ")


@pytest.mark.parametrize(
    ("costs", "sentence"),
    [
        ((0.3, 0.2, 0.1, 0.0), "stay below 0.180 % a fill, where the average trade earns nothing. "
         "The campaign charged 0.060 %, so they may grow 3.0-fold"),
        ((0.1, -0.1, -0.3, -0.5), "fall below 0.030 % a fill for its average trade to earn "
         "anything. The campaign charged 0.060 %, 2.0 times as much"),
        ((-0.1, -0.2, -0.3, -0.4), "without any fee or slippage the average one still makes "
         "−0.100 R"),
    ],
)  # fmt: skip
def test_the_costs_that_it_can_bear_are_named(costs: Sequence[float], sentence: str) -> None:
    assert sentence in sentences(with_r(*[1.0, -1.0] * 20, costs=costs))


def test_a_clear_expectancy_is_called_clear() -> None:
    assert "and so above zero" in sentences(with_r(*[1.0, 0.5] * 20))


def test_an_unclear_one_says_how_many_trades_would_tell() -> None:
    """Mean 0.25, deviation 1.0351: t(0.95, 48) = 1.6772, and 1.6772 * 1.0351 / 7 = 0.248."""
    text = sentences(with_r(*[1.0, 1.0, 1.0, 1.0, 1.0, -1.0, -1.0, -1.0]))
    assert "spread (1.04 R a trade) that takes 49 trades, 41 more than there are" in text


def test_a_negative_average_is_not_promised_a_profit() -> None:
    text = sentences(with_r(*[-1.0, 0.5] * 20))
    assert "no number of trades like these would ever show a profit" in text
    assert (
        "would have had to earn more than +0.010 R on average, 0.260 R more than they did" in text
    )


def test_trades_that_miss_the_gate_are_told_the_costs_that_would_do() -> None:
    text = sentences(with_r(*[-1.0, 0.5] * 20, costs=(0.11, -0.25, -0.61, -0.97), better_before=9))
    # from 0.11 at nothing to -0.25 at 0.06 %: +0.01 at 0.06 % * 0.10 / 0.36
    assert "With fills at 0.017 % they would have." in text
    hopeless = sentences(with_r(*[-1.0, 0.5] * 20, costs=(-0.2, -0.25, -0.3, -0.35)))
    assert "Even without fee and slippage they would not have." in hopeless


def test_luck_and_random_entries_are_asked_for_where_they_fall_short() -> None:
    text = sentences(judged())
    assert "luckiest of 2 settings without any skill has a probability of 40.0 %" in text
    assert "in 60 % of the ways to halve the history" in text
    lucky = replace(judged().candidate, deflated_sharpe=0.99, overfitting=0.1)
    assert "luckiest" not in sentences(replace(judged(), candidate=lucky))
