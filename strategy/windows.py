"""The walk-forward calendar, and the purge at the end of every training window."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from strategy.candles import timeframe_delta
from strategy.config import WalkForward
from strategy.errors import DataError

START_TOLERANCE = 0.01
"""Share of a training window that may be missing before the first candle."""


@dataclass(frozen=True)
class Window:
    """Train on bars ``[train_start, train_end)``, validate on ``[train_end, validation_end)``.

    ``number`` counts from 1, oldest first. Bars are positions in the candle frame; the times
    are the calendar's own borders, UTC.
    """

    number: int
    train_start: int
    train_end: int
    validation_end: int
    training_start_time: pd.Timestamp
    validation_start_time: pd.Timestamp
    validation_end_time: pd.Timestamp


def walk_forward_windows(
    index: pd.DatetimeIndex, timeframe: str, geometry: WalkForward
) -> tuple[Window, ...]:
    """Lay windows back from the last closed candle, so that the newest data is validated.

    The history slides: no training window begins before ``history_years`` before the end.
    The first training window may lack :data:`START_TOLERANCE` of its length at the front,
    and besides that whatever the features need to warm up, so that five years of candles
    that lack an hour still give 16 windows in the default geometry.

    Parameters
    ----------
    index
        Open times of the candles, UTC, shape (n,).

    Raises
    ------
    DataError
        If not even one window fits; says from when on candles would be needed.
    """
    end = index[-1] + timeframe_delta(timeframe)
    history_months = 12 * geometry.history_years
    span_months = geometry.training_months + geometry.validation_months
    spans = []
    back = 0
    while back + span_months <= history_months:
        validation_end = _months_before(end, back)
        validation_start = _months_before(end, back + geometry.validation_months)
        training_start = _months_before(end, back + span_months)
        tolerance = (validation_start - training_start) * START_TOLERANCE
        if index[0] > training_start + tolerance:
            break
        spans.append((training_start, validation_start, validation_end))
        back += geometry.step_months
    if not spans:
        needed = _months_before(end, span_months)
        raise DataError(
            f"too little history for one window: candles run from {index[0]} to {end}, but "
            f"{geometry.training_months} training and {geometry.validation_months} validation "
            f"months need them from {needed} on (and walk_forward_config.history_years must "
            "span them)"
        )
    spans.reverse()
    borders = [index.searchsorted(times) for times in map(pd.DatetimeIndex, spans)]
    return tuple(
        Window(number, int(bars[0]), int(bars[1]), int(bars[2]), *times)
        for number, (bars, times) in enumerate(zip(borders, spans, strict=True), start=1)
    )


def newest_training_span(
    index: pd.DatetimeIndex, timeframe: str, geometry: WalkForward
) -> tuple[int, int]:
    """Bars ``[start, end)`` of the newest full training window: the one to trade on from now."""
    end = index[-1] + timeframe_delta(timeframe)
    start = _months_before(end, geometry.training_months)
    return int(index.searchsorted(start)), len(index)


def training_rows(
    usable: NDArray[np.bool_], resolved: NDArray[np.int64], start: int, end: int
) -> NDArray[np.int64]:
    """Bars of ``[start, end)`` that may train a model: the exact purge.

    Parameters
    ----------
    usable
        Shape (n,): bars whose features and stop distance are all known (past their warm-up).
    resolved
        Shape (n,): bar at whose close each label was known (:func:`strategy.target.labels`).

    Returns
    -------
    Positions of the bars that are usable and whose own label ended before bar ``end``. This
    replaces a fixed embargo: a label takes 13 bars in the median but sometimes thousands.
    """
    inside = slice(start, end)
    return start + np.flatnonzero(usable[inside] & (resolved[inside] < end))


def _months_before(end: pd.Timestamp, months: int) -> pd.Timestamp:
    return end - pd.DateOffset(months=months)
