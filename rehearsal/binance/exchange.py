"""Binance in a rehearsal: its account lives by the rehearsal's clock, and requests may fail."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

import pandas as pd

from rehearsal.binance.account import FuturesAccount
from rehearsal.binance.faults import Fault
from rehearsal.binance.futures import Asked, FuturesServer
from rehearsal.clock import SimulatedClock
from rehearsal.fate import Fate
from rehearsal.market import FINEST, finest_of_each, in_five_minutes
from strategy.candles import timeframe_delta

LATENCY_SECONDS = 0.02
OK = 200
_KLINES, _HIGH = "GET /fapi/v1/klines", 2
_KEPT = pd.Timedelta(days=40)
"""Longer than anybody keeps the finest candles."""


class RehearsalExchange(FuturesServer):
    """Answers in process, by the rehearsal's clock.

    Candles of five minutes, where there are none, are cut from the finest that there are.
    """

    def __init__(
        self,
        account: FuturesAccount,
        candles: Mapping[tuple[str, str], pd.DataFrame],
        clock: SimulatedClock,
        fate: Fate,
    ) -> None:
        cut = {
            (asset, "5m"): in_five_minutes(frame.loc[clock() - _KEPT :], timeframe)
            for (asset, timeframe), frame in finest_of_each(candles).items()
            if timeframe_delta(timeframe) > FINEST
        }
        super().__init__(account, {**cut, **candles})
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
