"""From class probabilities to the signal: sell (-1), neutral (0) or buy (1)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from strategy.errors import DataError

CLASSES = (-1, 0, 1)
"""The target's classes, in the order of the model's probability columns."""


def signal_of(probabilities: NDArray[np.float64]) -> NDArray[np.int8]:
    """Return the class of highest probability; a tie for the highest is neutral.

    Parameters
    ----------
    probabilities
        Shape (n, 3): sell, neutral, buy. Finite: warm-up rows must have been left out.

    Returns
    -------
    Shape (n,), int8, values -1, 0, 1.

    Raises
    ------
    DataError
        If a probability is NaN or infinite: an unknown signal must not pass for one.
    """
    if not np.isfinite(probabilities).all():
        row = int(np.flatnonzero(~np.isfinite(probabilities).all(axis=1))[0])
        raise DataError(f"row {row} has no probabilities; leave out rows in warm-up")
    highest = probabilities.max(axis=1, keepdims=True)
    tied = (probabilities == highest).sum(axis=1) > 1
    signals: NDArray[np.int8] = np.asarray(CLASSES, dtype=np.int8)[probabilities.argmax(axis=1)]
    signals[tied] = 0
    return signals
