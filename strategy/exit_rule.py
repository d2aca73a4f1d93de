"""How far a position's stop stays behind the price: what it needs of its strategy to its end."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from strategy.config import BreakEven
from strategy.exits import stop_distance
from strategy.indicators import atr, history_of_wilder, rolling_mean


class ExitRule(NamedTuple):
    """The period of the ATR and the bounds of its multiplier."""

    atr_period: int
    break_even: BreakEven

    @property
    def required_history(self) -> int:
        """Bars needed so that the last one has a distance."""
        return history_of_wilder(self.atr_period) + self.break_even.historical_atr_window - 1

    def distances(self, candles: pd.DataFrame) -> NDArray[np.float64]:
        """One R at each bar of a candle frame: shape (n,), price units, NaN in warm-up.

        It is the distance of a stop that is decided at that bar's close, and of one that trails.
        """
        high, low, close = (candles[name].to_numpy() for name in ("high", "low", "close"))
        ranges = atr(high, low, close, self.atr_period)
        mean = rolling_mean(ranges, self.break_even.historical_atr_window)
        return stop_distance(ranges, mean, self.break_even)
