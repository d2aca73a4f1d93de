"""What trading costs: fee and slippage per fill, funding per 8 hours, laid on bars."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from strategy.candles import timeframe_delta
from strategy.config import Costs
from strategy.errors import DataError

FUNDING_INTERVAL = pd.Timedelta(hours=8)
"""Binance USDT-M funds at 00:00, 08:00 and 16:00 UTC."""


class Charges(NamedTuple):
    """Costs by bar, as fractions of the notional at the bar's open.

    ``at_open`` is owed by a position that was open before the bar, for the funding times since
    the bar before it closed, its own open included (more than one where candles are missing);
    ``inside`` by one open in the bar, for those after its open and before its close (bars
    longer than 8 hours). Both have shape (n, 2): column 0 short, column 1 long.
    """

    per_side: float
    at_open: NDArray[np.float64]
    inside: NDArray[np.float64]


def charges_on(
    index: pd.DatetimeIndex,
    timeframe: str,
    costs: Costs,
    funding_rates: pd.Series | None = None,
) -> Charges:
    """Lay the configured costs on bars.

    Parameters
    ----------
    index
        Open times of the bars, UTC, shape (n,).
    funding_rates
        Historical rates indexed by funding time (UTC; Binance stamps them some milliseconds
        late, so that they are rounded to the minute): longs pay them and shorts receive them.
        A funding time that is not among them, or all without them, counts as the configured
        constant, paid by longs and received by nobody.

    Raises
    ------
    DataError
        If ``funding_rates`` has times without a zone or the same time twice.
    """
    opens = index.as_unit("ns").asi8
    closes = opens + timeframe_delta(timeframe).value
    interval = FUNDING_INTERVAL.value
    times = np.arange(-(-opens[0] // interval), -(-closes[-1] // interval)) * interval
    rates = _rates_at(times, costs, funding_rates)
    bar = np.searchsorted(closes, times, side="right")  # the first one that is not yet closed
    within = times > opens[bar]
    at_open = np.zeros((len(index), 2))
    inside = np.zeros((len(index), 2))
    np.add.at(at_open, bar[~within], rates[~within])
    np.add.at(inside, bar[within], rates[within])
    return Charges(costs.per_side, at_open, inside)


def _rates_at(
    times: NDArray[np.int64], costs: Costs, funding_rates: pd.Series | None
) -> NDArray[np.float64]:
    """Rates that a short and a long pay at these times (UTC nanoseconds), shape (n, 2)."""
    rates = np.tile([0.0, costs.funding_per_8h], (len(times), 1))
    if funding_rates is not None:
        known = _by_minute(funding_rates).reindex(pd.DatetimeIndex(times, tz="UTC")).to_numpy()
        given = ~np.isnan(known)
        rates[given, 0] = -known[given]
        rates[given, 1] = known[given]
    return rates


def _by_minute(funding_rates: pd.Series) -> pd.Series:
    times = funding_rates.index
    if not isinstance(times, pd.DatetimeIndex) or times.tz is None:
        raise DataError("funding_rates: times without a zone; give funding times in UTC")
    minutes = times.tz_convert("UTC").round("min")
    if minutes.has_duplicates:
        twice = minutes[minutes.duplicated()][0]
        raise DataError(f"funding_rates: {twice} is there twice; give one rate a funding time")
    return funding_rates.set_axis(minutes)
