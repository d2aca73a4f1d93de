"""What trading costs: fee and slippage per fill, funding per 8 hours, laid on bars."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from strategy.candles import timeframe_delta
from strategy.config import Costs

FUNDING_INTERVAL = pd.Timedelta(hours=8)
"""Binance USDT-M funds at 00:00, 08:00 and 16:00 UTC."""


class Charges(NamedTuple):
    """Costs by bar, as fractions of the notional at the bar's open.

    ``at_open`` is owed by a position that was open before the bar, for a funding time that
    coincides with its open; ``inside`` by one open in the bar, for funding times within it
    (bars longer than 8 hours). Both have shape (n, 2): column 0 short, column 1 long.
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
        Historical rates indexed by funding time (UTC): longs pay them and shorts receive
        them. Without them the configured constant is paid by longs and received by nobody.
        A funding time outside the series counts as the constant too.
    """
    opens = index.as_unit("ns").asi8
    duration = timeframe_delta(timeframe).value
    interval = FUNDING_INTERVAL.value
    at_open = np.zeros((len(index), 2))
    inside = np.zeros((len(index), 2))
    for offset in range(0, duration, min(duration, interval)):
        # The first funding time at or after the bar's open, and every 8 hours from there on.
        times = -(-opens // interval) * interval + offset
        rates = _rates_at(times, costs, funding_rates)
        opening = times == opens
        within = (times > opens) & (times < opens + duration)
        at_open[opening] += rates[opening]
        inside[within] += rates[within]
    return Charges(costs.per_side, at_open, inside)


def _rates_at(
    times: NDArray[np.int64], costs: Costs, funding_rates: pd.Series | None
) -> NDArray[np.float64]:
    rates = np.tile([0.0, costs.funding_per_8h], (len(times), 1))
    if funding_rates is not None:
        known = funding_rates.reindex(pd.DatetimeIndex(times, tz="UTC")).to_numpy()
        given = ~np.isnan(known)
        rates[given, 0] = -known[given]
        rates[given, 1] = known[given]
    return rates
