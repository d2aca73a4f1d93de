"""How a strategy does, in words, for the page of its live run."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from serving.live_divergence import DIVERGENCES
from strategy.performance import standard_error

_WHERE = (
    "Charts: `equity_r`, `band_low`, `band_mid` and `band_high` (Add chart shows all four in "
    "one); a step is a day. Each trade "
    f"beside the one that the simulator makes on the same candles: `{DIVERGENCES}` among the "
    "artifacts; `r_difference` is what all of them differ by."
)


def description(days: pd.DataFrame, r: NDArray[np.float64]) -> str:
    """How a strategy does, as Markdown for its run.

    Parameters
    ----------
    days
        Of :func:`strategy.expectation.by_day`, with the band's columns.
    r
        Net R-multiples of its trades in order of their exits; those of today may be among them.
    """
    if days.empty:
        return f"No trade has ended yet on a day that is over.\n\n{_WHERE}"
    last = days.iloc[-1]
    trades = int(last["trades"])
    error = standard_error(r[:trades])
    sure = "" if np.isnan(error) else f" ± {error:.3f} R (standard error)"
    return (
        f"**{trades} trade{'s' if trades > 1 else ''} by the end of {days.index[-1]:%Y-%m-%d}: "
        f"{last['equity_r']:+.2f} R in all**, expectancy {last['expectancy']:+.3f}{sure}, "
        f"{last['drawdown_r']:.2f} R below the highest total.\n\n{_against(last)}\n\n{_WHERE}"
    )


def _against(last: pd.Series) -> str:
    """A day's total beside the band."""
    low, mid, high, total = (
        last[name] for name in ("band_low", "band_mid", "band_high", "equity_r")
    )
    if np.isnan(mid):
        return "The backtest has too few trades to expect anything of them."
    place = "below" if total < low else "above" if total > high else "inside"
    return (
        f"After as many trades of the backtest the total is {mid:+.2f} R on average, and from "
        f"{low:+.2f} to {high:+.2f} R in 95 of 100 cases: this one lies **{place}**."
    )
