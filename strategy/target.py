"""The target: does a trade opened now reach +3R before -1R, and in which direction?

The label of bar t looks ahead by design; :func:`labels` therefore also says at which bar
each label was resolved, and a sample may train a model only if that bar lies inside the
training window (the exact purge of :mod:`strategy.windows`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from strategy.jit import compiled
from strategy.simulate import Bars

TARGET_R = 3.0


def labels(
    bars: Bars, stop_distance: NDArray[np.float64]
) -> tuple[NDArray[np.int8], NDArray[np.int64]]:
    """Label every bar, entered at the next open.

    A bar that touches both the target and the stop counts as the stop.

    Parameters
    ----------
    bars
        The candles, shape (n,).
    stop_distance
        Shape (n,), price units: one R at each bar.

    Returns
    -------
    label
        Shape (n,), int8: 1 if a long reaches +3R before -1R, -1 if a short does, else 0.
    resolved
        Shape (n,), int64: the bar at whose close the label was known. For neutral that is
        the bar that stopped the later of the two trades. ``n`` where the candles end first
        or the stop distance is unknown (NaN) or zero: such a bar has no label yet.
    """
    label = np.zeros(len(bars.time), dtype=np.int8)
    resolved = np.full(len(bars.time), len(bars.time), dtype=np.int64)
    _label(bars.open, bars.high, bars.low, stop_distance, label, resolved)
    return label, resolved


@compiled
def _label(
    open_price: NDArray[np.float64],
    high: NDArray[np.float64],
    low: NDArray[np.float64],
    stop_distance: NDArray[np.float64],
    label: NDArray[np.int8],
    resolved: NDArray[np.int64],
) -> None:
    n = len(open_price)
    for decision in range(n - 1):
        risk = stop_distance[decision]
        if not risk > 0:
            continue
        entry = open_price[decision + 1]
        long_open = True
        short_open = True
        for bar in range(decision + 1, n):
            if long_open:
                if low[bar] <= entry - risk:
                    long_open = False
                elif high[bar] >= entry + TARGET_R * risk:
                    label[decision] = 1
                    resolved[decision] = bar
                    break
            if short_open:
                if high[bar] >= entry + risk:
                    short_open = False
                elif low[bar] <= entry - TARGET_R * risk:
                    label[decision] = -1
                    resolved[decision] = bar
                    break
            if not long_open and not short_open:
                resolved[decision] = bar
                break
