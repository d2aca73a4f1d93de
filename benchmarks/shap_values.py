"""Seconds for the SHAP values of one training window: LightGBM's pred_contrib and the shap package.

python -m benchmarks.shap_values [--rows 8760]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import shap

from registry.fitting import fit
from strategy.config import parse_config

FEATURES = 58
ROOT = Path(__file__).resolve().parents[1]


def timed(compute: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    result = compute()
    return result, time.perf_counter() - start


def packages_own(explainer: shap.TreeExplainer, features: np.ndarray) -> np.ndarray:
    """The sum over classes, because the package's own algorithm sees all trees as one model."""
    explainer.model.model_type = "internal"
    return explainer.shap_values(features, check_additivity=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=8760)
    rows = parser.parse_args().rows
    config = parse_config((ROOT / "config.json").read_text())
    rng = np.random.default_rng(7)
    features = rng.normal(size=(rows, FEATURES))
    score = features[:, 0] - features[:, 1] + features[:, 2] * features[:, 3]
    labels = np.where(score > 1, 1, np.where(score < -1, -1, 0)).astype(np.int8)
    booster = fit(
        features,
        labels,
        config.search.coverage_hyperparameters,
        max_bin=config.model_hyperparameters.max_bin,
        seed=7,
    )

    ours, seconds = timed(lambda: booster.predict(features, pred_contrib=True))
    print(f"LightGBM pred_contrib, all cores    {seconds:6.2f} s   1.00")
    ours = np.asarray(ours).reshape(rows, 3, FEATURES + 1)[:, :, :-1]

    def report(name: str, theirs: np.ndarray, its_seconds: float, difference: float) -> None:
        ratio = its_seconds / seconds
        print(
            f"{name:<35} {its_seconds:6.2f} s   {ratio:.2f}   differs by {difference:.0e} at most"
        )

    _, one = timed(lambda: booster.predict(features, pred_contrib=True, num_threads=1))
    print(f"LightGBM pred_contrib, one core     {one:6.2f} s   {one / seconds:.2f}")
    theirs, took = timed(lambda: shap.TreeExplainer(booster).shap_values(features))
    difference = float(np.abs(ours - theirs.transpose(0, 2, 1)).max())
    report("shap.TreeExplainer", theirs, took, difference)
    theirs, took = timed(lambda: packages_own(shap.TreeExplainer(booster), features))
    difference = float(np.abs(ours.sum(axis=1) - theirs).max())
    report("shap's own algorithm (one core)", theirs, took, difference)


if __name__ == "__main__":
    main()
