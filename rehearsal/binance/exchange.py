"""Binance in a rehearsal: its account lives by the rehearsal's clock, and requests may fail."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from rehearsal.binance.account import FuturesAccount
from rehearsal.binance.faults import Fault
from rehearsal.binance.futures import Asked, FuturesServer
from rehearsal.clock import SimulatedClock
from rehearsal.fate import Fate

LATENCY_SECONDS = 0.02
OK = 200
_KLINES, _HIGH = "GET /fapi/v1/klines", 2
_FINEST = pd.Timedelta("5min")
_KEPT = pd.Timedelta(days=40)
"""Longer than anybody keeps the finest candles."""


class RehearsalExchange(FuturesServer):
    """Answers in process, by the rehearsal's clock.

    Candles of five minutes, which recorded hours do not have, are cut from those that there are:
    each goes evenly to its low, then to its high, then to its close.
    """

    def __init__(
        self,
        account: FuturesAccount,
        candles: Mapping[tuple[str, str], pd.DataFrame],
        clock: SimulatedClock,
        fate: Fate,
    ) -> None:
        finest = {
            (asset, "5m"): _cut(frame.loc[clock() - _KEPT :])
            for (asset, timeframe), frame in candles.items()
            if (asset, "5m") not in candles and timeframe == "1h"
        }
        super().__init__(account, {**finest, **candles})
        self._clock, self._fate = clock, fate
        self.asked_in_all = 0

    def answer(self, asked: Asked) -> Fault:
        self._clock.sleep(LATENCY_SECONDS)
        self.account.advance(max(self.account.now, self._clock.milliseconds))
        self.asked_in_all += 1
        self.requests.clear()  # years of them would fill the memory
        struck = self._fate.request(asked.endpoint)
        if struck is not None:
            self.fail(asked.endpoint, struck[1])
        answer = super().answer(asked)
        if asked.endpoint == _KLINES and answer.status == OK and self._fate.spoils_candles():
            return replace(answer, body=_spoilt(answer.body))
        return answer


def _spoilt(body: str) -> str:
    """With a high below its low in the last candle, if there is one."""
    rows = json.loads(body)
    if rows:
        rows[-1][_HIGH] = "0.01"
    return json.dumps(rows)


def _cut(hours: pd.DataFrame) -> pd.DataFrame:
    """Twelve candles for each hour, the price going open, low, high, close in straight lines."""
    open_, high, low, close = (hours[name].to_numpy() for name in ("open", "high", "low", "close"))
    steps = np.arange(1, 5) / 4
    path = np.column_stack(
        [open_, *(open_ + (low - open_) * s for s in steps),
         *(low + (high - low) * s for s in steps), *(high + (close - high) * s for s in steps)]
    )  # fmt: skip
    path[:, [4, 8, 12]] = np.column_stack([low, high, close])  # exactly
    begin, end = path[:, :-1].ravel(), path[:, 1:].ravel()
    index = (
        hours.index.repeat(12) + pd.to_timedelta(np.tile(np.arange(12), len(hours)) * _FINEST)
    ).rename("timestamp")
    return pd.DataFrame(
        {
            "open": begin,
            "high": np.maximum(begin, end),
            "low": np.minimum(begin, end),
            "close": end,
            "volume": np.repeat(hours["volume"].to_numpy() / 12, 12),
        },
        index=index,
    )
