"""Finds out which bars have closed since the last tick, and whether they can be trusted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from serving.trading.decisions import GRACE, ClosedBar
from store.clock import Clock
from store.market import Market
from store.state import StateTable
from strategy.candles import timeframe_delta
from strategy.errors import ConflictError, TradingSystemError

PARTITION, KEY = "bot", "bars"
"""Of the state table: the newest bar of each market that all accounts have dealt with."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass
class Bars:
    """The newest bars, and what of them was dealt with before."""

    state: StateTable
    market: Market
    clock: Clock

    def __post_init__(self) -> None:
        item = self.state.get(PARTITION, KEY)
        self._seen: dict[str, Any] = dict(item.value) if item else {}
        self._version = item.version if item else 0

    def last(self) -> datetime | None:
        """Close of the newest bar that was dealt with in any market; None before the first."""
        closes = [datetime.fromisoformat(seen["close"]) for seen in self._seen.values()]
        return max(closes, default=None)

    def due(self, markets: Iterable[tuple[str, str]]) -> list[tuple[str, str, datetime]]:
        """Asset, timeframe and close of those whose newest bar was not dealt with yet."""
        now = self.clock()
        found = []
        for asset, timeframe in markets:
            close = now - (now - _EPOCH) % timeframe_delta(timeframe).to_pytimedelta()
            seen = self._seen.get(_name(asset, timeframe))
            if seen is None or seen["close"] < close.isoformat():
                found.append((asset, timeframe, close))
        return found

    def read(self, asset: str, timeframe: str, close: datetime, history: int) -> ClosedBar | None:
        """The bar with the candles before it; None while it may still come in."""
        try:
            candles = self.market.closed(asset, timeframe, history)
            problem = self._doubt(asset, timeframe, close, candles)
        except TradingSystemError as error:
            candles, problem = pd.DataFrame(), str(error)
        may_come = self.clock() - close <= GRACE
        if problem is not None and may_come and self._missing(candles, timeframe, close):
            return None
        return ClosedBar(asset, timeframe, close, candles, problem)

    def done(self, bars: Iterable[ClosedBar]) -> None:
        """Remember that they were dealt with."""
        seen = dict(self._seen)
        for bar in bars:
            newest = bar.candles.iloc[-1].tolist() if len(bar.candles) else None
            seen[_name(bar.asset, bar.timeframe)] = {
                "close": bar.close_time.isoformat(),
                "candle": newest if bar.problem is None else None,
            }
        if seen != self._seen:
            with suppress(ConflictError):  # another bot has dealt with them as well
                self.state.put(PARTITION, KEY, seen, expected=self._version)

    def _doubt(
        self, asset: str, timeframe: str, close: datetime, candles: pd.DataFrame
    ) -> str | None:
        if self._missing(candles, timeframe, close):
            newest = candles.index[-1] if len(candles) else "none"
            return (
                f"candles of {asset} {timeframe} are stale: the newest opens at {newest}, one "
                f"that closes at {close} should be there"
            )
        return self._changed(asset, timeframe, candles)

    def _changed(self, asset: str, timeframe: str, candles: pd.DataFrame) -> str | None:
        """Whether the bar that was dealt with last is another one now."""
        seen: Mapping[str, Any] = self._seen.get(_name(asset, timeframe)) or {}
        if not seen.get("candle"):
            return None
        time = pd.Timestamp(seen["close"]) - timeframe_delta(timeframe)
        if time < candles.index[0]:
            return None
        row = int(candles.index.searchsorted(time))
        there = row < len(candles) and candles.index[row] == time
        now = candles.iloc[row].tolist() if there else "gone"
        if now == seen["candle"]:
            return None
        return (
            f"the candle of {asset} {timeframe} at {time} was {seen['candle']} when it closed, "
            f"and is {now} now"
        )

    @staticmethod
    def _missing(candles: pd.DataFrame, timeframe: str, close: datetime) -> bool:
        return not len(candles) or candles.index[-1] + timeframe_delta(timeframe) < close


def _name(asset: str, timeframe: str) -> str:
    return f"{asset}-{timeframe}"
