"""Whether a retrained model may take the incumbent's place: the calendar and the comparison.

The retrained model has seen all candles there are, so that nothing is left to judge it on. In
its place stands its twin, fitted in the same way a month earlier: the twin and the incumbent
trade that month, which neither has seen. The retrained model is dropped where its twin did
significantly worse.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from strategy.candles import timeframe_delta
from strategy.config import WalkForward
from strategy.errors import DataError
from strategy.performance import Summary, summary
from strategy.windows import START_TOLERANCE, newest_training_span

Floats = NDArray[np.float64]
Span = tuple[int, int]
"""Bars ``[start, end)``."""

EXAMINATION = pd.DateOffset(months=1)
SHORTEST_EXAMINATION = pd.Timedelta(days=15)
"""Of a month that the incumbent has seen in part; on less hardly anything is significant, and
every retrain would pass."""
SIGNIFICANCE = 0.05


class RetrainCalendar(NamedTuple):
    """What a retrain is fitted and judged on."""

    training: Span
    """The newest full training window: of the retrained model."""
    twin: Span
    """The newest full training window a month earlier."""
    examination: Span
    """The bars since then that the incumbent has not seen."""


def retrain_calendar(
    index: pd.DatetimeIndex, timeframe: str, geometry: WalkForward, seen_until: pd.Timestamp
) -> RetrainCalendar:
    """Lay a retrain's windows back from the last closed candle.

    Parameters
    ----------
    index
        Open times of the candles, UTC, shape (n,).
    seen_until
        End of the incumbent's training window, UTC, exclusive. Bars of the last month before
        it are not judged on.

    Raises
    ------
    DataError
        The candles begin too late for the twin's training window, or the incumbent is so
        young that less than :data:`SHORTEST_EXAMINATION` is left to judge on.
    """
    end = index[-1] + timeframe_delta(timeframe)
    month_ago = end - EXAMINATION
    needed = month_ago - pd.DateOffset(months=geometry.training_months)
    if index[0] > needed + START_TOLERANCE * (month_ago - needed):
        raise DataError(
            f"too little history for a retrain: candles run from {index[0]} to {end}, but "
            f"{geometry.training_months} training months and the month on which the retrained "
            f"model is judged need them from {needed} on"
        )
    unseen = max(month_ago, seen_until)
    if end - unseen < SHORTEST_EXAMINATION:
        raise DataError(
            f"the version was itself trained on candles until {seen_until}, and they end at {end}: "
            f"its retrain is judged on {SHORTEST_EXAMINATION.days} days at least that it has not "
            f"seen; retrain it from {seen_until + SHORTEST_EXAMINATION} on"
        )
    border = int(index.searchsorted(month_ago))
    return RetrainCalendar(
        training=newest_training_span(index, timeframe, geometry),
        twin=newest_training_span(index[:border], timeframe, geometry),
        examination=(int(index.searchsorted(unseen)), len(index)),
    )


class Comparison(NamedTuple):
    """The twin of a retrained model beside the incumbent, over the same bars."""

    twin: Summary
    incumbent: Summary
    p_value: float
    """Of the twin's expectancy being no lower; NaN if it cannot be tested."""

    @property
    def worse(self) -> bool:
        """Whether the twin was significantly worse; what cannot be tested is not."""
        return self.p_value < SIGNIFICANCE

    @property
    def text(self) -> str:
        """For people, with the figures."""
        p_value = "too few to test" if math.isnan(self.p_value) else f"p = {self.p_value:.2g}"
        verdict = "significantly worse" if self.worse else "not significantly worse"
        return (
            f"{verdict} than the incumbent on candles new to both ({_shown(self.twin)} against "
            f"{_shown(self.incumbent)}; {p_value}, limit {SIGNIFICANCE:g})"
        )


def compare(twin_r: Floats, incumbent_r: Floats) -> Comparison:
    """Test whether the twin's expectancy is lower than the incumbent's.

    Welch's one-sided t-test, which does not take the two spreads for equal.

    Parameters
    ----------
    twin_r, incumbent_r
        Net R-multiples of their trades over the same bars, shape (n_trades,) each. With fewer
        than two trades on either side, or without any spread, nothing is significant.
    """
    p_value = math.nan
    if min(len(twin_r), len(incumbent_r)) > 1 and _spread(twin_r, incumbent_r):
        from scipy import stats  # takes half a second, which the importer may not need

        test = stats.ttest_ind(twin_r, incumbent_r, equal_var=False, alternative="less")
        p_value = float(test.pvalue)
    return Comparison(summary(twin_r), summary(incumbent_r), p_value)


def _spread(*samples: Floats) -> bool:
    """Whether any differs within itself; a rounded mean can give equal values a false spread."""
    return any(np.ptp(sample) > 0 and sample.std(ddof=1) > 0 for sample in samples)


def _shown(trades: Summary) -> str:
    if not trades.trades:
        return "no trade"
    return f"{trades.expectancy:+.2f} R a trade over {trades.trades}"
