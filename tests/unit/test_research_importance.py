"""Which features a strategy listens to, by window and by regime of the market."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from strategy.config import IndicatorParameters, LightGBMParameters, config_from
from strategy.features import FEATURE_NAMES
from tests.campaign_place import small_config
from tests.strategy_bundles import random_candles
from training.explain import Explanation
from training.research.importance import (
    BARS_PER_WINDOW,
    WindowExplanation,
    against_expectation,
    by_regime,
    by_window,
    conclusion,
    contrasts,
    dependence_figure,
    explain_windows,
    pooled,
    regime_figure,
    window_figure,
)
from training.research.regimes import REGIMES, Regime, regimes
from training.walk_forward import PreparedMarket, TrialParameters

CALM, USUAL, WILD = REGIMES[:3]
NAMES = ("up", "down", "free")
EXPECTED = np.array([1, -1, 0], dtype=np.int8)
SUBTITLE = "SYNTHETIC candles, seed 7"


def explained(window: int, bars: list[int], effects: list[list[float]]) -> WindowExplanation:
    """A window whose features have the bars' numbers as values.

    ``effects`` has a row a bar: what each feature adds to buy and takes from sell.
    """
    effect = np.array(effects, dtype=np.float64)
    values = np.stack([-effect, np.zeros_like(effect), effect], axis=1)
    features = np.repeat(np.array(bars, dtype=np.float64)[:, None], len(NAMES), axis=1)
    return WindowExplanation(
        window, np.array(bars), Explanation(NAMES, features, values, np.zeros(3), EXPECTED)
    )


def masks_of(**calm_and_wild: list[bool]) -> dict[Regime, np.ndarray]:
    length = len(next(iter(calm_and_wild.values())))
    none = np.zeros(length, dtype=bool)
    return {each: np.array(calm_and_wild.get(each.name, none), dtype=bool) for each in REGIMES}


FIRST = explained(1, [0, 1], [[1, 3, 0], [1, 3, 0]])  # shares 1/4, 3/4, 0
SECOND = explained(2, [2, 3], [[2, 0, 1], [2, 0, 1]])  # shares 2/3, 0, 1/3


def test_each_window_has_its_shares_and_the_most_important_on_average_comes_first() -> None:
    table = by_window([FIRST, SECOND])
    assert table.loc["up"].tolist() == pytest.approx([1 / 4, 2 / 3])
    assert table.loc["down"].tolist() == [0.75, 0.0]
    assert table.index.tolist() == ["up", "down", "free"]


def test_pooled_rows_are_those_of_all_windows_in_order() -> None:
    whole = pooled([FIRST, SECOND])
    assert whole.features[:, 0].tolist() == [0, 1, 2, 3]
    assert whole.values.shape == (4, 3, 3)


def test_a_regimes_shares_are_those_of_its_bars_in_whatever_window() -> None:
    masks = masks_of(calm=[True, False, True, False], wild=[False, True, False, False])
    table = by_regime([FIRST, SECOND], masks)
    # calm: bars 0 and 2: up 1 + 2, down 3 + 0, free 0 + 1, of 7
    assert table["volatility", "calm"].to_dict() == pytest.approx(
        {"up": 3 / 7, "down": 3 / 7, "free": 1 / 7}
    )
    assert table["volatility", "wild"].to_dict() == {"up": 0.25, "down": 0.75, "free": 0.0}
    assert table["volatility", "usual"].isna().all()
    assert table["trend"].isna().all(axis=None)


def shares(**by_regime_name: list[float]) -> pd.DataFrame:
    """A table of three features' shares in regimes of volatility."""
    table = pd.DataFrame(by_regime_name, index=list(NAMES))
    columns = [("volatility", name) for name in by_regime_name]
    return table.set_axis(pd.MultiIndex.from_tuples(columns, names=["kind", "regime"]), axis=1)


def test_a_contrast_is_a_features_share_over_the_largest_in_the_other_regimes() -> None:
    table = contrasts(shares(calm=[0.6, 0.2, 0.2], usual=[0.4, 0.2, 0.4], wild=[0.3, 0.2, 0.5]))
    assert table[["feature", "regime"]].to_numpy().tolist() == [["up", "calm"], ["free", "wild"]]
    assert table["times"].tolist() == pytest.approx([0.6 / 0.4, 0.5 / 0.4])
    assert table["elsewhere"].tolist() == [0.4, 0.4]


def test_only_the_leading_features_of_a_regime_are_compared() -> None:
    table = shares(calm=[0.6, 0.3, 0.1], wild=[0.9, 0.1, 0.0])
    assert contrasts(table, top=1)["feature"].tolist() == ["up"]
    assert contrasts(table, top=3)["times"].tolist() == [math.inf, pytest.approx(3), 1.5]


def test_a_regime_that_never_came_has_no_contrast() -> None:
    assert contrasts(shares(calm=[0.6, 0.2, 0.2], wild=[math.nan] * 3)).empty


def test_a_feature_that_lowers_what_it_should_raise_works_against_theory() -> None:
    rising = [[1.0, 1.0, 1.0], [2.0, 2.0, 2.0], [3.0, 3.0, 3.0]]
    falling = [[9.0, 9.0, 9.0], [8.0, 8.0, 8.0], [7.0, 7.0, 7.0]]
    windows = [
        explained(1, [0, 1, 2], rising),
        explained(2, [3, 4, 5], [[4.0, 4.0, 4.0], [5.0, 5.0, 5.0], [6.0, 6.0, 6.0]]),
        explained(3, [6, 7, 8], falling),
        explained(4, [9, 10, 11], [[9.0, 9.0, 9.0]] * 3),  # the same whatever the value
    ]
    table = against_expectation(windows).set_index("feature")
    assert list(table.index) == ["up", "down"]  # theory expects nothing of the third
    assert table.loc["up", ["with", "against"]].tolist() == [2, 1]
    assert table.loc["down", ["with", "against"]].tolist() == [1, 2]
    assert (table["correlation"] > 0.5).all()  # over all windows
    assert table["against_theory"].to_dict() == {"up": False, "down": True}


def test_the_sentences_name_what_leads_what_stands_out_and_what_opposes() -> None:
    theory = pd.DataFrame(
        {"feature": ["up", "down"], "against_theory": [False, True], "against": [0, 2]}
    )
    contrast = contrasts(shares(calm=[0.6, 0.2, 0.2], wild=[0.25, 0.35, 0.4]))
    text = conclusion(by_window([FIRST, SECOND]), theory, contrast, top=2)
    assert "`up` (45.8%)" in text
    assert "Among the first 2 of every window: 1 (`up`)" in text
    assert "`up` in calm markets (60.0% of all importance, elsewhere 25.0% at most)" in text
    assert "1.5 times as important in one, or more: 3" in text
    assert "working the other way: 1 (`down`, windows: 2)" in text


def test_the_sentences_name_the_nearest_contrast_where_none_is_large() -> None:
    contrast = contrasts(shares(calm=[0.4, 0.3, 0.3], wild=[0.3, 0.35, 0.35]))
    theory = pd.DataFrame(
        {"feature": [], "against_theory": pd.Series([], dtype=bool), "against": []}
    )
    text = conclusion(by_window([FIRST]), theory, contrast)
    assert "None is 1.5 times as important in one. The nearest to it: `up` in calm" in text
    assert "No feature matters more" in conclusion(by_window([FIRST]), theory, contrast.head(0))


def test_figures_show_every_window_regime_and_feature_that_is_asked_for() -> None:
    windows = [FIRST, SECOND]
    masks = masks_of(
        calm=[True, False, True, False], wild=[False, True, False, True],
        rising=[True, True, False, False], falling=[False, False, True, True],
    )  # fmt: skip
    heat = window_figure(by_window(windows), subtitle=SUBTITLE).axes[0]
    assert [label.get_text() for label in heat.get_xticklabels()] == ["1", "2"]
    assert [label.get_text() for label in heat.get_yticklabels()] == ["up", "down", "free"]
    bars = regime_figure(by_regime(windows, masks), subtitle=SUBTITLE).axes
    assert [axes.get_title(loc="left") for axes in bars] == ["volatility", "trend"]
    dots = dependence_figure(
        windows, ["down", "free"], masks, np.random.default_rng(0), subtitle=SUBTITLE
    ).axes
    assert [axes.get_xlabel() for axes in dots[:2]] == ["down", "free"]
    assert dots[0].get_title(loc="left") == "theory: higher is bearish"
    drawn = sum(len(np.asarray(of.get_offsets())) for of in dots[1].collections)
    assert drawn == 4


def test_a_windows_model_is_explained_on_bars_that_it_has_not_seen() -> None:
    config = config_from(small_config(), source="a test")
    market = PreparedMarket(random_candles(365 * 24), "1h", config)
    model = LightGBMParameters(learning_rate=0.1, num_leaves=4, min_data_in_leaf=20, n_estimators=3)
    parameters = TrialParameters(IndicatorParameters(8, 24, 48, 7, 7), model)
    first, second = explain_windows(market, parameters, market.windows[:2])
    assert (first.window, second.window) == (1, 2)
    window = market.windows[0]
    assert first.bars[0] >= window.train_end
    assert first.bars[-1] < window.validation_end
    assert len(first.bars) <= BARS_PER_WINDOW
    assert first.explanation.feature_names == FEATURE_NAMES
    # SHAP values and the base sum to the model's raw score.
    booster = market.fit(parameters, window.train_start, window.train_end)
    scores = booster.predict(first.explanation.features, raw_score=True)
    summed = first.explanation.values.sum(axis=2) + first.explanation.base
    assert summed == pytest.approx(np.asarray(scores))
    masks = regimes(market.candles)
    assert by_regime([first, second], masks).notna().all(axis=None)
