"""What a model is trained on: features and labels of a window's bars, purged at its end.

Campaigns and retrains make their training sets here, so that the same candles and the same
parameters give the same ones.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from strategy.config import IndicatorParameters
from strategy.errors import DataError
from strategy.features import FeatureFactory
from strategy.windows import training_rows

MIN_TRAINING_ROWS = 100

Floats = NDArray[np.float64]
Labels = NDArray[np.int8]


class Features(NamedTuple):
    """Features of every bar under one indicator combination."""

    matrix: Floats
    """Shape (n, 58); NaN in each feature's warm-up."""
    usable: NDArray[np.bool_]
    """Shape (n,): bars past the warm-up of every feature and of the stop distance."""


def features_of(
    factory: FeatureFactory, indicators: IndicatorParameters, stop_distance: Floats
) -> Features:
    """Compute the features of every bar.

    Parameters
    ----------
    stop_distance
        Shape (n,), price units: one R at each bar, NaN in its warm-up.
    """
    matrix = factory.matrix(indicators)
    usable = np.isfinite(matrix).all(axis=1)
    usable &= np.isfinite(stop_distance)
    return Features(matrix, usable)


def training_set(
    index: pd.DatetimeIndex,
    features: Features,
    labels: Labels,
    resolved: NDArray[np.int64],
    start: int,
    end: int,
) -> tuple[Floats, Labels]:
    """Purged training rows of bars ``[start, end)``: features and labels.

    Parameters
    ----------
    index
        Open times of the bars, UTC, shape (n,).
    labels, resolved
        Shape (n,), as :func:`strategy.target.labels` gives them.

    Raises
    ------
    DataError
        If fewer than :data:`MIN_TRAINING_ROWS` rows are left after warm-up and purge.
    """
    rows = training_rows(features.usable, resolved, start, end)
    if len(rows) < MIN_TRAINING_ROWS:
        raise DataError(
            f"training window {index[start]} .. {index[end - 1]} leaves "
            f"{len(rows)} usable rows after warm-up and purge, {MIN_TRAINING_ROWS} are "
            "needed: give older candles or shorten the indicator periods"
        )
    return features.matrix[rows], labels[rows]
