"""The market as it looks at this moment: closed candles and the price, and nothing later."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import NamedTuple, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from store.clock import Clock
from strategy.candles import open_times, timeframe_delta
from strategy.errors import ConfigError, DataError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


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
    _known: dict[tuple[str, str], _Recorded] = field(default_factory=dict, init=False, repr=False)
    _finest: dict[str, _Recorded] = field(default_factory=dict, init=False, repr=False)

    def closed(self, asset: str, timeframe: str, bars: int) -> pd.DataFrame:
        recorded = self._recorded(asset, timeframe)
        end = recorded.closed_by(_microseconds(self.clock()))
        return recorded.frame.iloc[max(0, end - bars) : end]

    def since(self, asset: str, moment: datetime) -> list[Candle]:
        recorded = self._finest_of(asset)
        begin = recorded.closed_by(_microseconds(moment))
        end = recorded.closed_by(_microseconds(self.clock()))
        return [recorded.candle(row) for row in range(begin, end)]

    def price(self, asset: str) -> Decimal:
        recorded, now = self._finest_of(asset), self.clock()
        row = recorded.opened_by(_microseconds(now)) - 1
        if row < 0:
            raise DataError(f"{asset}: there is no price at {now}, candles begin later")
        candle = recorded.candle(row)
        return Decimal(repr(candle.open if now < candle.close_time else candle.close))

    def _recorded(self, asset: str, timeframe: str) -> _Recorded:
        if (asset, timeframe) not in self._known:
            if (asset, timeframe) not in self.frames:
                known = ", ".join(" ".join(name) for name in self.frames)
                raise ConfigError(
                    f"no candles of {asset} {timeframe} are replayed; there are {known}"
                )
            self._known[asset, timeframe] = _recorded(self.frames[asset, timeframe], timeframe)
        return self._known[asset, timeframe]

    def _finest_of(self, asset: str) -> _Recorded:
        if asset not in self._finest:
            timeframes = [timeframe for name, timeframe in self.frames if name == asset]
            if not timeframes:
                raise ConfigError(f"no candles of {asset} are replayed")
            self._finest[asset] = self._recorded(asset, min(timeframes, key=timeframe_delta))
        return self._finest[asset]


class _Recorded(NamedTuple):
    """Candles in a form that is cheap to look into, tick after tick."""

    frame: pd.DataFrame
    length: timedelta
    opens: NDArray[np.int64]
    """Shape (n,): microseconds since 1970 UTC."""
    prices: NDArray[np.float64]
    """Shape (n, 4): open, high, low, close."""

    def opened_by(self, microseconds: int) -> int:
        """How many of the candles had opened at a moment."""
        return int(self.opens.searchsorted(microseconds, side="right"))

    def closed_by(self, microseconds: int) -> int:
        """How many of the candles had closed at a moment."""
        return self.opened_by(microseconds - self.length // timedelta.resolution)

    def candle(self, row: int) -> Candle:
        time = _EPOCH + int(self.opens[row]) * timedelta.resolution
        return Candle(time, time + self.length, *self.prices[row].tolist())


def _recorded(frame: pd.DataFrame, timeframe: str) -> _Recorded:
    return _Recorded(
        frame,
        timeframe_delta(timeframe).to_pytimedelta(),
        open_times(frame).asi8 // 1000,
        frame[["open", "high", "low", "close"]].to_numpy(),
    )


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta.resolution
