"""Binance USDT-M futures as they look at this moment; no API key is needed."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import ClassVar, NamedTuple

import ccxt
import pandas as pd

from store.backoff import Backoff
from store.binance_errors import understood
from store.binance_klines import Klines
from store.binance_requests import Requests
from store.clock import Clock
from store.market import Candle
from strategy.candles import COLUMNS, candle_frame, open_times, timeframe_delta
from strategy.errors import DataError

_ASKED_AGAIN = 3
"""Closed candles before the new ones: a revision of what was traded on must be seen."""
_PRICE_LASTS = timedelta(seconds=2)


class _Known(NamedTuple):
    """The candles that Binance gave of all that open from ``begin`` on."""

    begin: pd.Timestamp
    candles: pd.DataFrame


@dataclass(frozen=True)
class BinanceMarket:
    """Candles and prices by Binance's public API; see :class:`store.market.Market`.

    What was read is kept: within a bar nothing is asked twice, and then no more than what is
    new. The candle in progress is never shown, by the clock that is given: one that runs ahead
    by more than a request takes would show it unfinished.

    Parameters
    ----------
    exchange
        The ccxt client (:func:`store.binance_klines.connect`).
    max_gap_bars
        Longest run of missing candles that :meth:`closed` tolerates.
    finest
        Timeframe of :meth:`since`, which tolerates any gap: a stop must be watched after it.
    backoff
        How a request is repeated; by default in a hurry, since a tick comes every five minutes.
    """

    exchange: ccxt.binanceusdm = field(repr=False)
    clock: Clock
    max_gap_bars: int
    finest: str = "5m"
    backoff: Backoff = field(default_factory=lambda: Backoff(attempts=3, first=0.5, longest=5.0))
    _known: dict[tuple[str, str], _Known] = field(default_factory=dict, init=False, repr=False)
    _prices: dict[str, tuple[datetime, Decimal]] = field(
        default_factory=dict, init=False, repr=False
    )

    synthetic: ClassVar[bool] = False

    def closed(self, asset: str, timeframe: str, bars: int) -> pd.DataFrame:
        """As :meth:`store.market.Market.closed`: behind a gap there are as many as without."""
        delta = timeframe_delta(timeframe)
        begin = self._in_progress(timeframe) - bars * delta
        candles = self._since(asset, timeframe, begin)
        while (missing := bars - len(candles)) > 0:
            begin -= (missing + self.max_gap_bars) * delta
            further = self._since(asset, timeframe, begin)
            if len(further) == len(candles):  # the asset is younger than that
                break
            candles = further
        if candles.empty:
            raise DataError(f"Binance has no closed {timeframe} candles of {asset} since {begin}")
        return candle_frame(candles.iloc[-bars:], timeframe, max_gap_bars=self.max_gap_bars)

    def since(self, asset: str, moment: datetime) -> list[Candle]:
        length = timeframe_delta(self.finest)
        candles = self._since(asset, self.finest, pd.Timestamp(moment).floor(length))
        opens = open_times(candles).to_pydatetime()
        prices = candles[["open", "high", "low", "close"]].to_numpy().tolist()
        return [
            Candle(time, time + length.to_pytimedelta(), *row)
            for time, row in zip(opens, prices, strict=True)
        ]

    def price(self, asset: str) -> Decimal:
        """The last price, asked for at most two seconds ago."""
        now = self.clock()
        if asset not in self._prices or abs(now - self._prices[asset][0]) >= _PRICE_LASTS:
            what = f"last price of {asset}"
            request = self.exchange.fapiPublicV2GetTickerPrice
            answer = Requests(self.exchange, self.backoff).repeated(
                what, request, {"symbol": asset}
            )
            with understood(what):
                self._prices[asset] = (now, Decimal(answer["price"]))
        return self._prices[asset][1]

    def _in_progress(self, timeframe: str) -> pd.Timestamp:
        """Open time of the candle that has not closed."""
        return pd.Timestamp(self.clock()).floor(timeframe_delta(timeframe))

    def _since(self, asset: str, timeframe: str, begin: pd.Timestamp) -> pd.DataFrame:
        """All closed candles that open from ``begin`` on."""
        delta, end = timeframe_delta(timeframe), self._in_progress(timeframe)
        if begin >= end:
            return _none()
        known = self._known.get((asset, timeframe))
        if known is None or begin < known.begin:
            known = _Known(begin, _none())
        if known.candles.empty or known.candles.index[-1] < end - delta:
            known = self._brought_up_to(end, asset, timeframe, known)
            self._known[asset, timeframe] = known
        return known.candles[(known.candles.index >= begin) & (known.candles.index < end)]

    def _brought_up_to(
        self, end: pd.Timestamp, asset: str, timeframe: str, known: _Known
    ) -> _Known:
        begin, held = known
        since = held.index[-_ASKED_AGAIN:][0] if len(held) else begin
        pages = Klines(self.exchange, self.backoff).pages(asset, timeframe, since, end)
        raw = pd.concat([held[held.index < since], *pages])
        candles = raw if raw.empty else candle_frame(raw, timeframe, max_gap_bars=sys.maxsize)
        return _Known(begin, candles)


def _none() -> pd.DataFrame:
    index = pd.DatetimeIndex([], tz="UTC", name="timestamp").as_unit("ns")
    return pd.DataFrame(index=index, columns=list(COLUMNS), dtype="float64")
