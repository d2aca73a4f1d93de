"""How a strategy does by day, and what its backtest lets one expect of as many trades."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Band(NamedTuple):
    """Bounds and middle of the total R of so many trades, shape (n,) each; NaN: not known."""

    low: Floats
    mid: Floats
    high: Floats


def expectation_band(backtest_r: Floats, trades: NDArray[np.int64], coverage: float = 0.95) -> Band:
    """Where the total R of a strategy lies if it trades as in its backtest.

    The sum of n independent trades is about normal, with mean ``n * mean`` and standard
    deviation ``sd * sqrt(n)`` (central limit theorem; for few trades a rough guide). Mean and
    sd are taken from the backtest as if they were known, although a backtest that was chosen
    among many promises too much: to fall out of the band below is a warning, not a proof.

    Parameters
    ----------
    backtest_r
        Net R-multiples of the backtest's out-of-sample trades; fewer than two give NaN.
    trades
        Shape (n,): numbers of trades.
    coverage
        Share of such totals that lie inside, between 0 and 1.
    """
    if len(backtest_r) < 2:
        unknown = np.full(len(trades), math.nan)
        return Band(unknown, unknown, unknown)
    deviations = NormalDist().inv_cdf((1 + coverage) / 2)
    mid = trades * backtest_r.mean()
    reach = deviations * backtest_r.std(ddof=1) * np.sqrt(trades)
    return Band(mid - reach, mid, mid + reach)


def by_day(exit_times: pd.DatetimeIndex, r: Floats, until: pd.Timestamp) -> pd.DataFrame:
    """What a strategy's trades came to by the end of every day.

    Parameters
    ----------
    exit_times
        UTC, in order, shape (n,).
    r
        Net R-multiples, shape (n,).
    until
        UTC; only days that were over by then have a row.

    Returns
    -------
    One row a UTC day (its midnight is the index), from that of the first exit on; none without
    a trade. ``trades`` so far (int64), ``equity_r`` their total R, ``expectancy`` their mean R,
    ``drawdown_r`` how far the total lies below its highest (the start counts as one).
    """
    first = exit_times[0] if len(exit_times) else until
    days = pd.date_range(first.floor("D"), until.floor("D"), freq="D", inclusive="left")
    trades = exit_times.searchsorted(days + pd.Timedelta(days=1))
    equity = np.concatenate([[0.0], np.cumsum(r)])
    peaks = np.maximum.accumulate(equity)
    return pd.DataFrame(
        {
            "trades": trades.astype(np.int64),
            "equity_r": equity[trades],
            "expectancy": equity[trades] / trades,
            "drawdown_r": (peaks - equity)[trades],
        },
        index=days,
    )
