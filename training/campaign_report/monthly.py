"""What the trades earned by calendar month."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

MONTHS = 12
MONTH_NAMES = (
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
)  # fmt: skip


class Year(NamedTuple):
    """One row of the table."""

    year: int
    months: NDArray[np.float64]
    """Shape (12,), net R by month; NaN where no trade ended."""
    trades: int

    @property
    def total(self) -> float:
        return float(np.nansum(self.months))


def monthly_r(exit_times: pd.DatetimeIndex, r: NDArray[np.float64]) -> list[Year]:
    """Net R by the month in which each trade ended (UTC), from the first year to the last.

    Parameters
    ----------
    exit_times
        Shape (n,), with their zone, in any order.
    r
        Shape (n,), net R-multiples.
    """
    times = exit_times.tz_convert("UTC")
    if not len(times):
        return []
    first, last = int(times.year.min()), int(times.year.max())
    sums, counts = (np.zeros((last - first + 1, MONTHS)) for _ in range(2))
    at = (times.year.to_numpy() - first, times.month.to_numpy() - 1)
    np.add.at(sums, at, r)
    np.add.at(counts, at, 1)
    sums[counts == 0] = np.nan
    return [Year(first + row, sums[row], int(counts[row].sum())) for row in range(last - first + 1)]


def by_month_of_year(years: list[Year]) -> NDArray[np.float64]:
    """Net R of all Januaries, all Februaries, ...; NaN where no trade ever ended in one."""
    months = np.array([year.months for year in years])
    totals = np.nansum(months, axis=0)
    totals[np.isnan(months).all(axis=0)] = np.nan
    return np.asarray(totals)
