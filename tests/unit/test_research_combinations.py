"""Parameter combinations side by side, and the best beside its neighbours."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from store.config_file import read_config
from strategy.config import IndicatorGrid
from tests.campaign_place import ROOT
from training.research.combinations import (
    INDICATORS,
    comparison_table,
    conclusion,
    grid_steps,
    neighbourhood,
    neighbourhood_figure,
    neighbours,
    parallel_coordinates,
    stability,
)

GRID: IndicatorGrid = read_config(ROOT / "config.json").indicator_parameters
SUBTITLE = "SYNTHETIC candles, seed 7"
MODEL = {"learning_rate": 0.05, "num_leaves": 20, "min_data_in_leaf": 50, "n_estimators": 100}


def trials_of(*rows: tuple[int, int, int, int, int, float], **columns: object) -> pd.DataFrame:
    """Trials by their five periods and their expectancy; a standard error of 0.1 each."""
    table = pd.DataFrame(rows, columns=[*INDICATORS, "expectancy"])
    table.insert(0, "trial", range(len(rows)))
    defaults = {
        "sqn": 10 * table["expectancy"],
        "standard_error": 0.1,
        "trades": 100.0,
        "hit_rate": 0.4,
        "max_drawdown": 9.0,
        "windows": 14.0,
        "pruned": False,
        **MODEL,
    }
    return table.assign(**(defaults | columns))


# A row along ATR's periods (7, 14, 21, 28), and one combination far from it.
ROW = [(8, 24, 48, 7, atr, 0.0) for atr in (7, 14, 21, 28)]


def along_atr(*expectancies: float) -> pd.DataFrame:
    return trials_of(*((*row[:5], e) for row, e in zip(ROW, expectancies, strict=False)))


def test_one_step_is_one_period_moved_to_the_next_value_of_its_range() -> None:
    tenkan, kijun = GRID.ichimoku.tenkan_sen.values, GRID.ichimoku.kijun_sen.values
    span, rsi, atr = (
        GRID.ichimoku.senkou_span_b.values,
        GRID.rsi.period.values,
        GRID.atr.period.values,
    )
    trials = trials_of(
        (tenkan[0], kijun[0], span[0], rsi[0], atr[0], 0.1),
        (tenkan[1], kijun[0], span[0], rsi[0], atr[0], 0.1),
        (tenkan[2], kijun[1], span[0], rsi[1], atr[3], 0.1),
    )
    assert grid_steps(trials, GRID).tolist() == [[0, 1, 7], [1, 0, 6], [7, 6, 0]]


def test_neighbours_are_the_nearest_other_combinations_and_equally_near_ones_by_number() -> None:
    trials = along_atr(0.1, 0.2, 0.3, 0.4)
    near = neighbours(trials, 1, GRID, nearest=3)
    assert near[["trial", "steps"]].to_numpy().tolist() == [[0, 1], [2, 1], [3, 2]]


def test_the_same_combination_with_other_hyperparameters_is_no_neighbour() -> None:
    trials = trials_of((8, 24, 48, 7, 7, 0.5), (8, 24, 48, 7, 7, 0.4), (8, 24, 48, 7, 14, 0.3))
    assert neighbours(trials, 0, GRID)["trial"].tolist() == [2]


def test_a_trial_without_a_trade_is_no_neighbour() -> None:
    assert neighbours(along_atr(0.5, math.nan, 0.3), 0, GRID)["trial"].tolist() == [2]


@pytest.mark.parametrize(
    ("expectancies", "verdict"),
    [
        ((0.4, 0.3, 0.2, 0.11), "plateau"),  # their mean is just over 0.2: half of 0.4
        ((0.4, 0.3, 0.2, 0.09), "slope"),  # just less than half
        ((0.4, 0.9, -0.1, -0.1), "slope"),  # more than half, but one of three earns
        ((0.4, 0.1, -0.1, -0.1), "lonely spike"),
        ((0.4, 0.3), "not known"),  # a single neighbour
        ((-0.1, 0.3, 0.2), "not known"),  # the trial itself loses
    ],
)
def test_the_neighbours_say_whether_the_best_stands_on_a_plateau(
    expectancies: tuple[float, ...], verdict: str
) -> None:
    assert stability(along_atr(*expectancies), 0, GRID).verdict == verdict


def test_stability_says_how_far_the_neighbours_are_and_how_many_earn() -> None:
    near = stability(along_atr(0.4, 0.3, -0.1, 0.1), 0, GRID)
    assert (near.neighbours, near.steps, near.earning) == (3, 2.0, 2)
    assert near.mean == pytest.approx(0.1)


def test_each_trial_is_laid_beside_the_mean_of_its_neighbours() -> None:
    table = neighbourhood(along_atr(0.4, 0.3, math.nan), GRID)
    assert table["trial"].tolist() == [0, 1]
    assert table["mean"].tolist() == [0.3, 0.4]
    alone = neighbourhood(along_atr(0.4), GRID)
    assert np.isnan(alone["mean"]).all()


def test_the_table_has_the_best_first_and_those_that_were_pruned_last() -> None:
    trials = trials_of(*ROW[:3], sqn=[1.0, 9.0, 5.0], pruned=[False, True, False])
    assert comparison_table(trials).index.tolist() == [2, 0, 1]


def test_the_sentences_count_what_earns_and_quote_the_gates() -> None:
    trials = along_atr(0.4, 0.3, 0.15, -0.2).assign(pruned=[False, False, False, True])
    metrics = {
        "deflated_sharpe": 0.97,
        "probability_of_overfitting": 0.25,
        "confirmation_trades": 60.0,
        "confirmation_expectancy": 0.12,
        "confirmation_standard_error": 0.2,
    }
    text = conclusion(trials, stability(trials, 0, GRID), metrics)
    assert "Of 4 trials over 4 combinations 3 earn out of sample, 2 of them by more than 2" in text
    assert "pruned as hopeless: 1." in text
    assert "trial 0 (Ichimoku 8/24/48, RSI 7, ATR 7), made +0.400 ± 0.100 R" in text
    assert "Slope." in text
    assert "deflated Sharpe ratio is 0.970: it is likely" in text
    assert "probability of overfitting is 0.25" in text
    assert "+0.120 ± 0.200 R over 60 trades" in text


def test_the_sentences_say_what_is_not_known() -> None:
    trials = along_atr(-0.4)
    text = conclusion(trials, stability(trials, 0, GRID), {"deflated_sharpe": 0.4})
    assert "Not known." in text
    assert "No other combination was walked." in text
    assert "it is not settled" in text
    assert "probability of overfitting is not known" in text
    assert "it was not judged" in text


def test_every_trial_is_a_line_at_the_height_of_its_values() -> None:
    trials = along_atr(0.1, 0.2, 0.4)
    figure = parallel_coordinates(trials, subtitle=SUBTITLE)
    axes = figure.axes[0]
    lines = [line for line in axes.lines if len(line.get_xdata()) == 11]
    places = {label.get_text(): i for i, label in enumerate(axes.get_xticklabels())}
    heights = {name: sorted(line.get_ydata()[places[name]] for line in lines) for name in places}
    assert heights["atr period"] == [0.0, 0.5, 1.0]
    assert heights["tenkan sen"] == [0.5, 0.5, 0.5]  # all the same
    assert heights["expectancy"] == pytest.approx([0.0, 1 / 3, 1.0])
    assert SUBTITLE in [text.get_text() for text in figure.texts]


def test_the_candidate_is_ringed_where_it_stands_among_its_neighbours() -> None:
    trials = along_atr(0.4, 0.3, 0.2)
    figure = neighbourhood_figure(neighbourhood(trials, GRID), 2, subtitle=SUBTITLE)
    ring = figure.axes[0].collections[-1]
    assert np.asarray(ring.get_offsets()).tolist() == [[0.2, pytest.approx(0.35)]]


@pytest.mark.parametrize("trials", [along_atr(math.nan).assign(sqn=math.nan)])
def test_a_figure_of_nothing_says_so(trials: pd.DataFrame) -> None:
    figures: list[Figure] = [
        parallel_coordinates(trials, subtitle=SUBTITLE),
        neighbourhood_figure(neighbourhood(trials, GRID), 0, subtitle=SUBTITLE),
    ]
    for figure in figures:
        assert figure.axes[0].texts[0].get_text().startswith("no trial")
