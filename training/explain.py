"""SHAP: which features a fitted model listens to, and in which direction.

The values come from LightGBM's own exact TreeSHAP (``pred_contrib``), on all cores. For a
LightGBM model ``shap.TreeExplainer`` calls that very function; the shap package's own algorithm
gives the same values to 1e-9. The figure is made of the package's plots.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import lightgbm as lgb
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy import stats

from strategy.errors import DataError
from strategy.signal import CLASSES
from training.report import titled_figure

Floats = NDArray[np.float64]

SELL, BUY = CLASSES.index(-1), CLASSES.index(1)
TOP = 10
CLEAR_CORRELATION = 0.1
"""Below this rank correlation a feature's effect has no direction worth the name."""


@dataclass(frozen=True, eq=False)
class Explanation:
    """SHAP values of a three-class model over n rows and f features.

    Attributes
    ----------
    feature_names
        Length f.
    features
        Shape (n, f): the rows explained.
    values
        Shape (n, 3, f): contribution of each feature to the raw score (log-odds scale) of
        sell, neutral and buy. Over features they sum to the raw score less ``base``.
    base
        Shape (3,): mean raw score of each class over the training rows.
    expected_directions
        Shape (f,): 1 if theory expects higher values to be bullish, -1 bearish, 0 neither.
    """

    feature_names: tuple[str, ...]
    features: Floats
    values: Floats
    base: Floats
    expected_directions: NDArray[np.int8]


def explain(
    booster: lgb.Booster,
    features: Floats,
    feature_names: tuple[str, ...],
    expected_directions: Mapping[str, int | None],
) -> Explanation:
    """Compute the SHAP values of every row.

    Parameters
    ----------
    booster
        Fitted on these features with the classes in the order sell, neutral, buy.
    features
        Shape (n, f), finite: rows in warm-up must have been left out.
    feature_names
        Length f, in the order of the columns.
    expected_directions
        By feature name, from the catalogue: 1, -1 or None.

    Raises
    ------
    DataError
        If the rows, the names and the booster do not belong together.
    """
    n, f = features.shape if features.ndim == 2 else (0, 0)
    if n == 0 or f != len(feature_names) or f != booster.num_feature():
        raise DataError(
            f"cannot explain features of shape {features.shape} under {len(feature_names)} names "
            f"with a model of {booster.num_feature()} features: they must be the same features, "
            "and at least one row"
        )
    contributions = np.asarray(booster.predict(features, pred_contrib=True))
    if contributions.shape[1] != len(CLASSES) * (f + 1):
        raise DataError(
            f"cannot explain a model of {contributions.shape[1] // (f + 1)} class(es): "
            "sell, neutral and buy are needed"
        )
    by_class = contributions.reshape(n, len(CLASSES), f + 1)
    expected = [expected_directions[name] or 0 for name in feature_names]
    return Explanation(
        feature_names=feature_names,
        features=features,
        values=np.ascontiguousarray(by_class[:, :, :-1]),
        base=by_class[0, :, -1].copy(),
        expected_directions=np.array(expected, dtype=np.int8),
    )


def ranking(explanation: Explanation) -> pd.DataFrame:
    """All features, most important first.

    Returns
    -------
    One row a feature: ``feature``; ``importance``, the mean absolute SHAP value over rows and
    classes; ``share`` of the sum of all; ``correlation``, Spearman's, between the feature and
    its contribution to the buy-minus-sell score (NaN for a constant); ``direction``, its sign
    where it is at least 0.1 in size, else 0; ``expected_direction``; ``against_theory``, true
    where these two are opposite.
    """
    importance = np.abs(explanation.values).mean(axis=(0, 1))
    total = importance.sum()
    margin = explanation.values[:, BUY] - explanation.values[:, SELL]
    correlation = _rank_correlation(explanation.features, margin)
    clear = np.abs(correlation) >= CLEAR_CORRELATION
    direction = np.where(clear, np.sign(correlation), 0.0).astype(np.int8)
    table = pd.DataFrame(
        {
            "feature": explanation.feature_names,
            "importance": importance,
            "share": importance / total if total > 0 else np.zeros_like(importance),
            "correlation": correlation,
            "direction": direction,
            "expected_direction": explanation.expected_directions,
            "against_theory": direction * explanation.expected_directions == -1,
        }
    )
    return table.sort_values("importance", ascending=False, kind="stable", ignore_index=True)


def top_share(ranked: pd.DataFrame, top: int = TOP) -> float:
    """Share of all importance that the first ``top`` features of a ranking hold, in [0, 1]."""
    return float(ranked["share"].head(top).sum())


def against_theory(ranked: pd.DataFrame, top: int = TOP) -> list[str]:
    """Names of the first ``top`` features that work against what theory expects of them."""
    first = ranked.head(top)
    return [str(name) for name in first.loc[first["against_theory"], "feature"]]


def summary_figure(
    explanation: Explanation,
    rng: np.random.Generator,
    *,
    subtitle: str,
    max_rows: int = 1000,
    top: int = TOP,
) -> Figure:
    """Beeswarm plots for buy and sell, and the importance of the top features as bars.

    At most ``max_rows`` random rows are drawn as dots; the bars rest on all rows.
    """
    import shap  # here, because only this figure needs it

    n, _, f = explanation.values.shape
    rows = np.sort(rng.choice(n, size=min(n, max_rows), replace=False))
    names = list(explanation.feature_names)
    figure = titled_figure("What the model listens to (SHAP)", subtitle, size=(15, 6.5))
    buy, sell, both = figure.subplots(1, 3)
    with _numpy_global_random(rng):  # the beeswarm shuffles with it
        for axes, of, name in ((buy, BUY, "buy"), (sell, SELL, "sell")):
            shap.plots.beeswarm(
                shap.Explanation(
                    explanation.values[rows, of],
                    data=explanation.features[rows],
                    feature_names=names,
                ),
                max_display=top + 1, ax=axes, plot_size=None, show=False, s=8,
                color_bar=axes is sell,
            )  # fmt: skip
            axes.set_xlabel(f"SHAP value for {name} (log-odds), {len(rows)} rows", fontsize=10)
    over_classes = shap.Explanation(explanation.values.reshape(-1, f), feature_names=names)
    shap.plots.bar(over_classes, max_display=top + 1, ax=both, show=False)
    both.set_xlabel(f"mean |SHAP value| over classes, {n} rows", fontsize=10)
    for axes in (buy, sell, both):
        axes.tick_params("y", labelsize=9)
    return figure


def to_bytes(explanation: Explanation) -> bytes:
    """All values as a compressed npz archive, in float32: half the size, 7 digits kept."""
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        feature_names=np.array(explanation.feature_names),
        features=explanation.features.astype(np.float32),
        values=explanation.values.astype(np.float32),
        base=explanation.base,
        expected_directions=explanation.expected_directions,
    )
    return buffer.getvalue()


def from_bytes(data: bytes) -> Explanation:
    """Read what :func:`to_bytes` wrote."""
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        return Explanation(
            feature_names=tuple(archive["feature_names"].tolist()),
            features=archive["features"].astype(np.float64),
            values=archive["values"].astype(np.float64),
            base=archive["base"],
            expected_directions=archive["expected_directions"],
        )


def _rank_correlation(a: Floats, b: Floats) -> Floats:
    """Spearman's correlation of a's columns with b's, NaN where either is constant."""
    ranks = [stats.rankdata(columns, axis=0) for columns in (a, b)]
    centred = [rank - rank.mean(axis=0) for rank in ranks]
    sizes = [np.sqrt((deviation**2).sum(axis=0)) for deviation in centred]
    with np.errstate(invalid="ignore"):
        correlation: Floats = (centred[0] * centred[1]).sum(axis=0) / (sizes[0] * sizes[1])
    return correlation


@contextmanager
def _numpy_global_random(rng: np.random.Generator) -> Iterator[None]:
    """Seed NumPy's global generator from ours, and leave it as it was found."""
    before = np.random.get_state()  # noqa: NPY002
    np.random.seed(rng.integers(2**32))  # noqa: NPY002, TID251
    try:
        yield
    finally:
        np.random.set_state(before)  # noqa: NPY002
