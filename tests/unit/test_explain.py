from __future__ import annotations

import io

import lightgbm as lgb
import matplotlib.pyplot as plt
import numpy as np
import pytest
import shap

from strategy.errors import DataError
from training.explain import (
    BUY,
    SELL,
    Explanation,
    against_theory,
    explain,
    from_bytes,
    ranking,
    summary_figure,
    to_bytes,
    top_share,
)

NAMES = ("bullish", "bearish", "noise", "constant")
TREE_ARRAYS = (
    "children_left",
    "children_right",
    "children_default",
    "features",
    "thresholds",
    "threshold_types",
    "values",
    "node_sample_weight",
)


@pytest.fixture(scope="module")
def features() -> np.ndarray:
    rng = np.random.default_rng(5)
    return np.column_stack([rng.normal(size=(600, 3)), np.ones(600)])


@pytest.fixture(scope="module")
def booster(features: np.ndarray) -> lgb.Booster:
    """Classes sell 0, neutral 1, buy 2; the first feature speaks for buy, the second for sell."""
    score = 2 * features[:, 0] - features[:, 1]
    return lgb.train(
        {"objective": "multiclass", "num_class": 3, "num_leaves": 8, "verbosity": -1, "seed": 1},
        lgb.Dataset(features, label=np.digitize(score, [-1.0, 1.0])),
        num_boost_round=20,
    )


@pytest.fixture(scope="module")
def explanation(booster: lgb.Booster, features: np.ndarray) -> Explanation:
    return explain(booster, features, NAMES, {**dict.fromkeys(NAMES), "bullish": 1, "bearish": 1})


def test_the_values_are_those_of_shaps_tree_explainer(
    explanation: Explanation, booster: lgb.Booster, features: np.ndarray
):
    explainer = shap.TreeExplainer(booster)
    theirs = explainer.shap_values(features).transpose(0, 2, 1)
    np.testing.assert_allclose(explanation.values, theirs, rtol=0, atol=1e-9)
    np.testing.assert_allclose(explanation.base, explainer.expected_value, rtol=0, atol=1e-9)


def test_the_values_are_those_of_the_shap_packages_own_algorithm(
    explanation: Explanation, booster: lgb.Booster, features: np.ndarray
):
    # TreeExplainer hands LightGBM models to LightGBM, and its own code knows one output only:
    # it gets the trees of one class at a time.
    for of_class in range(3):
        explainer = shap.TreeExplainer(booster)
        explainer.model.model_type = "internal"
        for name in TREE_ARRAYS:
            trees = getattr(explainer.model, name)[of_class::3]
            setattr(explainer.model, name, np.ascontiguousarray(trees))
        theirs = explainer.shap_values(features, check_additivity=False)
        np.testing.assert_allclose(explanation.values[:, of_class], theirs, rtol=0, atol=1e-9)


def test_the_values_sum_to_the_raw_score(
    explanation: Explanation, booster: lgb.Booster, features: np.ndarray
):
    raw = booster.predict(features, raw_score=True)
    total = explanation.values.sum(axis=2) + explanation.base
    np.testing.assert_allclose(total, raw, rtol=0, atol=1e-9)


def test_the_ranking_orders_by_importance_and_its_shares_sum_to_one(explanation: Explanation):
    ranked = ranking(explanation)
    assert ranked["feature"].tolist() == ["bullish", "bearish", "noise", "constant"]
    mean_size = np.abs(explanation.values[:, :, 0]).mean()
    assert ranked["importance"].iloc[0] == pytest.approx(mean_size)
    assert ranked["importance"].iloc[3] == 0.0
    assert ranked["share"].sum() == pytest.approx(1.0)
    assert top_share(ranked, 2) == pytest.approx(ranked["share"].iloc[:2].sum())
    assert top_share(ranked) == pytest.approx(1.0)


def test_the_direction_is_that_of_the_buy_minus_sell_score(explanation: Explanation):
    ranked = ranking(explanation).set_index("feature")
    assert ranked.loc["bullish", "direction"] == 1
    assert ranked.loc["bearish", "direction"] == -1
    assert ranked.loc["constant", "direction"] == 0
    assert np.isnan(ranked.loc["constant", "correlation"])


def made_by_hand(values: list[list[float]], features: list[list[float]]) -> Explanation:
    """Two features; values are the contributions to buy, those to sell are their negatives."""
    buy = np.array(values)
    return Explanation(
        feature_names=("a", "b"),
        features=np.array(features),
        values=np.stack([-buy, np.zeros_like(buy), buy], axis=1),
        base=np.zeros(3),
        expected_directions=np.array([1, -1], dtype=np.int8),
    )


def test_importance_share_and_correlation_on_numbers_worked_by_hand():
    # a: |values| 1, 1, 4 -> mean 2 over rows, two of three classes count: 4/3; b: 0, 3, 3 -> 4/3.
    # Ranks of a are 1 2 3 against margin ranks 1 2 3; those of b are 1 2 3 against 3 2 1.
    ranked = ranking(
        made_by_hand([[-1, 3], [1, 0], [4, -3]], [[10, 0], [20, 5], [30, 7]])
    ).set_index("feature")
    assert ranked["importance"].tolist() == pytest.approx([4 / 3, 4 / 3])
    assert ranked["share"].tolist() == pytest.approx([0.5, 0.5])
    assert ranked["correlation"].tolist() == pytest.approx([1.0, -1.0])
    assert not ranked["against_theory"].any()


def test_a_top_feature_that_works_against_theory_is_flagged(explanation: Explanation):
    ranked = ranking(explanation)
    assert against_theory(ranked) == ["bearish"]
    assert against_theory(ranked, top=1) == []


def test_a_feature_without_clear_direction_is_not_flagged():
    # Deviations from the mean rank, times 2: (-5 -3 -1 1 3 5) and (-5 3 5 -1 1 -3);
    # their products sum to -2 of 70.
    ranks = [1, 5, 6, 3, 4, 2]
    explanation = made_by_hand([[rank, 0] for rank in ranks], [[row, 0] for row in range(6)])
    first = ranking(explanation).iloc[0]
    assert first["correlation"] == pytest.approx(-2 / 70)
    assert first["direction"] == 0
    assert not first["against_theory"]


def test_a_model_that_learned_nothing_has_no_importance_and_no_nan_share():
    ranked = ranking(made_by_hand([[0, 0], [0, 0]], [[1, 2], [3, 4]]))
    assert ranked["share"].tolist() == [0.0, 0.0]
    assert against_theory(ranked) == []


@pytest.mark.parametrize("names", [NAMES[:3], (*NAMES, "more")])
def test_names_that_do_not_fit_the_features_are_refused(
    names: tuple[str, ...], booster: lgb.Booster, features: np.ndarray
):
    with pytest.raises(DataError, match=f"under {len(names)} names"):
        explain(booster, features, names, dict.fromkeys(names))


def test_no_rows_are_refused(booster: lgb.Booster, features: np.ndarray):
    with pytest.raises(DataError, match="at least one row"):
        explain(booster, features[:0], NAMES, dict.fromkeys(NAMES))


def test_a_model_of_another_number_of_classes_is_refused(features: np.ndarray):
    data = lgb.Dataset(features, label=(features[:, 0] > 0).astype(int))
    binary = lgb.train({"objective": "binary", "verbosity": -1}, data, num_boost_round=2)
    with pytest.raises(DataError, match=r"a model of 1 class\(es\)"):
        explain(binary, features, NAMES, dict.fromkeys(NAMES))


def test_the_artifact_is_compact_and_gives_the_values_back(explanation: Explanation):
    data = to_bytes(explanation)
    assert len(data) < explanation.values.nbytes
    again = from_bytes(data)
    assert again.feature_names == NAMES
    assert again.expected_directions.tolist() == [1, 1, 0, 0]
    np.testing.assert_allclose(again.values, explanation.values, rtol=1e-6)
    np.testing.assert_allclose(again.features, explanation.features, rtol=1e-6)
    assert ranking(again)["feature"].tolist() == ranking(explanation)["feature"].tolist()


def png(explanation: Explanation, seed: int) -> bytes:
    buffer = io.BytesIO()
    figure = summary_figure(
        explanation, np.random.default_rng(seed), subtitle="SYNTHETIC", max_rows=100
    )
    figure.savefig(buffer, format="png", dpi=40)
    return buffer.getvalue()


def test_the_summary_figure_shows_buy_sell_and_both_and_carries_its_subtitle(
    explanation: Explanation,
):
    figure = summary_figure(
        explanation, np.random.default_rng(1), subtitle="SYNTHETIC", max_rows=100
    )
    assert "SYNTHETIC" in [text.get_text() for text in figure.texts]
    labels = [axes.get_xlabel() for axes in figure.axes]
    assert labels[:3] == [
        "SHAP value for buy (log-odds), 100 rows",
        "SHAP value for sell (log-odds), 100 rows",
        "mean |SHAP value| over classes, 600 rows",
    ]


def test_the_summary_figure_draws_each_class_with_its_own_values(explanation: Explanation):
    figure = summary_figure(
        explanation, np.random.default_rng(1), subtitle="SYNTHETIC", max_rows=600
    )
    for axes, of_class in zip(figure.axes[:2], (BUY, SELL), strict=True):
        drawn = np.concatenate([dots.get_offsets()[:, 0] for dots in axes.collections])
        wanted = explanation.values[:, of_class].ravel()
        np.testing.assert_allclose(np.sort(drawn), np.sort(wanted), atol=1e-12)


def test_the_summary_figure_leaves_no_global_state_behind(explanation: Explanation):
    np.random.seed(3)  # noqa: NPY002, TID251
    expected = np.random.random()  # noqa: NPY002
    np.random.seed(3)  # noqa: NPY002, TID251
    png(explanation, seed=1)
    assert np.random.random() == expected  # noqa: NPY002
    assert plt.get_fignums() == []


def test_the_summary_figure_depends_on_the_generator_alone(explanation: Explanation):
    np.random.seed(1)  # noqa: NPY002, TID251
    first = png(explanation, seed=1)
    np.random.seed(2)  # noqa: NPY002, TID251
    assert png(explanation, seed=1) == first
    assert png(explanation, seed=2) != first
