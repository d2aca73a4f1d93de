"""LightGBM: fit the three-class model of one training window, and predict with it.

Campaigns and retrains fit here alike: the same rows, parameters and seed give the same booster.
"""

from __future__ import annotations

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from strategy.config import LightGBMParameters
from strategy.signal import CLASSES

Floats = NDArray[np.float64]


def fit(
    features: Floats,
    labels: NDArray[np.int8],
    parameters: LightGBMParameters,
    *,
    max_bin: int,
    seed: int,
) -> lgb.Booster:
    """Train on one window; no early stopping, no class weights.

    One thread: at this size a second one gains little, and campaigns run one process per
    (trial, window) instead. ``deterministic`` and one fixed histogram layout make the same
    input give the same booster on every run of the same machine type.

    Parameters
    ----------
    features
        Shape (n, n_features), finite.
    labels
        Shape (n,), values -1, 0, 1.
    """
    data = lgb.Dataset(
        features, label=labels.astype(np.float32) - CLASSES[0], params={"max_bin": max_bin}
    )
    return lgb.train(
        {
            "objective": "multiclass",
            "num_class": len(CLASSES),
            "learning_rate": parameters.learning_rate,
            "num_leaves": parameters.num_leaves,
            "min_data_in_leaf": parameters.min_data_in_leaf,
            "max_bin": max_bin,
            "seed": seed,
            "num_threads": 1,
            "deterministic": True,
            "force_col_wise": True,
            "verbosity": -1,
        },
        data,
        num_boost_round=parameters.n_estimators,
    )


def predict(booster: lgb.Booster, features: Floats) -> Floats:
    """Probabilities of sell, neutral and buy, shape (n, 3)."""
    return np.asarray(booster.predict(features, num_threads=1))


def log_loss(probabilities: Floats, labels: NDArray[np.int8]) -> float:
    """Mean negative log-likelihood of the labels, in nats; NaN without labels."""
    if not len(labels):
        return float("nan")
    of_label = probabilities[np.arange(len(labels)), labels.astype(np.int64) - CLASSES[0]]
    return float(-np.log(np.clip(of_label, 1e-15, 1.0)).mean())
