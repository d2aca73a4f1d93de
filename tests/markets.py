"""Hypothesis strategies for candle frames that hold what breaks promises about them.

Stretches without a trade, gaps in time, jumps by orders of magnitude, bars of zero volume.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from hypothesis import strategies as st

from strategy.config import IndicatorParameters

parameter_sets = st.builds(
    IndicatorParameters,
    tenkan_sen=st.integers(2, 10),
    kijun_sen=st.integers(2, 28),
    senkou_span_b=st.integers(2, 56),
    rsi_period=st.integers(2, 14),
    atr_period=st.integers(2, 14),
)

stretches = st.tuples(
    st.sampled_from(["walk", "trend", "still", "jump", "no volume", "gap in time"]),
    st.integers(1, 400),
)


@st.composite
def markets(draw: st.DrawFn, bars: int) -> pd.DataFrame:
    """A candle frame of ``bars`` hours, made of stretches of different kinds."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    tick = draw(st.sampled_from([0.01, 0.5]))
    plan = draw(st.lists(stretches, min_size=1, max_size=12))
    kinds = np.resize(np.repeat([kind for kind, _ in plan], [length for _, length in plan]), bars)
    changes = np.where(kinds == "trend", 0.004, random.normal(0, 0.01, bars))
    starts = np.append(True, kinds[1:] != kinds[:-1])
    changes[starts & (kinds == "jump")] = draw(st.sampled_from([-7.0, -1.0, 1.0, 7.0]))
    still = kinds == "still"
    changes[still] = 0
    # the logarithm swings back before the price leaves what a tick can express
    level = 5 * np.sin(np.cumsum(changes) / 5)
    close = np.maximum(np.round(1000 * np.exp(level) / tick), 1) * tick
    open_ = np.append(close[0], close[:-1])
    reach = np.where(still, 0, np.round(random.exponential(0.005, (2, bars)) * close / tick))
    high = np.maximum(open_, close) + reach[0] * tick
    low = np.maximum(np.minimum(open_, close) - reach[1] * tick, np.minimum(open_, close) / 2)
    volume = np.where(still | (kinds == "no volume"), 0.0, random.lognormal(3, 1, bars))
    hours = np.cumsum(np.where(starts & (kinds == "gap in time"), 20, 1))
    times = pd.DatetimeIndex(
        pd.Timestamp("2024-01-01", tz="UTC") + pd.to_timedelta(hours, unit="h"), name="timestamp"
    )
    return pd.DataFrame(
        {"open": open_, "high": high, "low": low, "close": close, "volume": volume}, index=times
    )
