"""The market as it looks at this moment: closed candles and the price, and nothing later."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from store.clock import Clock
from strategy.candles import open_times, timeframe_delta
from strategy.errors import ConfigError, DataError


class Candle(NamedTuple):
    """One closed candle; times are UTC."""

    open_time: datetime
    close_time: datetime
    open: float
    high: float
    low: float
    close: float


class Market(Protocol):
    """What can be known of a market now.

    Every method raises RetryError when the other side does not answer, ConfigError for an asset
    or timeframe that it does not know, and DataError when what it has cannot be used.
    """

    @property
    def synthetic(self) -> bool:
        """Whether its candles are generated: real money must never follow them."""
        ...

    def closed(self, asset: str, timeframe: str, bars: int) -> pd.DataFrame:
        """The last closed candles, at most that many, as a candle frame.

        The newest may be older than it should be: whoever trades on them judges that.
        """
        ...

    def since(self, asset: str, moment: datetime) -> list[Candle]:
        """The finest closed candles at hand that were not closed at that moment, in order."""
        ...

    def price(self, asset: str) -> Decimal:
        """The last price."""
        ...


@dataclass(frozen=True)
class ReplayMarket:
    """Recorded candles, revealed one by one as the clock goes on.

    The price of a moment is the open of the finest candle that it lies in: nothing else of that
    candle is known before it has closed. Where candles are missing it is the last close.

    Parameters
    ----------
    frames
        Candle frames by asset and timeframe.
    """

    frames: Mapping[tuple[str, str], pd.DataFrame]
    clock: Clock
    synthetic: bool = False
    _finest: dict[str, _Recorded] = field(default_factory=dict, init=False, repr=False)

    def closed(self, asset: str, timeframe: str, bars: int) -> pd.DataFrame:
        frame = self._frame(asset, timeframe)
        end = _closed_by(open_times(frame), timeframe, self.clock())
        return frame.iloc[max(0, end - bars) : end]

    def since(self, asset: str, moment: datetime) -> list[Candle]:
        recorded = self._recorded(asset)
        begin = _closed_by(recorded.index, recorded.timeframe, moment)
        end = _closed_by(recorded.index, recorded.timeframe, self.clock())
        length = timeframe_delta(recorded.timeframe)
        return [
            Candle(time, time + length, *recorded.prices[row].tolist())
            for row, time in enumerate(recorded.index[begin:end], begin)
        ]

    def price(self, asset: str) -> Decimal:
        recorded, now = self._recorded(asset), pd.Timestamp(self.clock())
        row = int(recorded.index.searchsorted(now, side="right")) - 1
        if row < 0:
            raise DataError(f"{asset}: there is no price at {now}, candles begin later")
        inside = now < recorded.index[row] + timeframe_delta(recorded.timeframe)
        return Decimal(repr(float(recorded.prices[row, 0 if inside else 3])))

    def _frame(self, asset: str, timeframe: str) -> pd.DataFrame:
        if (asset, timeframe) not in self.frames:
            known = ", ".join(f"{asset} {timeframe}" for asset, timeframe in self.frames)
            raise ConfigError(f"no candles of {asset} {timeframe} are replayed; there are {known}")
        return self.frames[asset, timeframe]

    def _recorded(self, asset: str) -> _Recorded:
        if asset not in self._finest:
            timeframes = [timeframe for name, timeframe in self.frames if name == asset]
            if not timeframes:
                raise ConfigError(f"no candles of {asset} are replayed")
            finest = min(timeframes, key=timeframe_delta)
            frame = self.frames[asset, finest]
            prices = frame[["open", "high", "low", "close"]].to_numpy()
            self._finest[asset] = _Recorded(finest, open_times(frame), prices)
        return self._finest[asset]


class _Recorded(NamedTuple):
    timeframe: str
    index: pd.DatetimeIndex
    prices: NDArray[np.float64]
    """Shape (n, 4): open, high, low, close."""


def _closed_by(index: pd.DatetimeIndex, timeframe: str, moment: datetime) -> int:
    """How many of the candles had closed at a moment."""
    newest = pd.Timestamp(moment) - timeframe_delta(timeframe)
    return int(index.searchsorted(newest, side="right"))
