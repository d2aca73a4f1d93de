"""An account of virtual money on hand-written candles, and the market that it is in."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pandas as pd

from store.exchange import OrderState, StopStatus
from store.market import ReplayMarket
from store.paper_exchange import PaperExchange
from strategy.config import Costs
from tests.candle_tables import FREE
from tests.manual_clock import ManualClock
from tests.memory_state import MemoryState

A, B = "AUSDT", "BUSDT"
D = Decimal
START = datetime(2024, 1, 1, 9, tzinfo=UTC)
FUNDED = Costs(fee_per_side=0, slippage_per_side=0, funding_per_8h=0.001)
QUIET = "100 101 99 100\n"


def frame(text: str, start: datetime, length: str) -> pd.DataFrame:
    """Candles of a table ``open high low close``; a row of dots is one that is missing."""
    lines = [line.split("#")[0].split() for line in text.splitlines()]
    rows = [line for line in lines if line]
    index = pd.date_range(start, periods=len(rows), freq=length, name="timestamp")
    there = [row[0] != "..." for row in rows]
    prices = [[float(price) for price in row] for row in rows if row[0] != "..."]
    return pd.DataFrame(prices, index[there], ["open", "high", "low", "close"]).assign(volume=1.0)


class Paper:
    """An account, and the market that it is in.

    Parameters
    ----------
    tables
        Of candles that are an hour long unless ``length`` says otherwise, by symbol.
    """

    def __init__(
        self,
        *tables: str,
        costs: Costs = FREE,
        start: datetime = START,
        length: str = "1h",
    ) -> None:
        self.clock = ManualClock(start)
        self.state = MemoryState()
        self.costs = costs
        names = {"1h": "1h", "5min": "5m", "12h": "12h"}
        self.frames = {
            (symbol, names[length]): frame(table, start, length)
            for symbol, table in zip((A, B), tables, strict=False)
        }
        self.market = ReplayMarket(self.frames, self.clock)
        self.exchange = self.process()

    def process(self, capital: int = 10_000) -> PaperExchange:
        """Another process at the same account."""
        return PaperExchange(self.state, "a", self.market, self.costs, D(capital), self.clock)

    def enter(
        self, side: int = 1, quantity: str = "2", name: str = "", symbol: str = A
    ) -> OrderState:
        self.exchange.prepare(symbol, 5)
        name = name or ("entry" if side > 0 else "short")
        return self.exchange.market_order(name, symbol, side, D(quantity), reduce_only=False)

    def leave(self, side: int = 1, quantity: str = "2", name: str = "exit") -> OrderState:
        return self.exchange.market_order(name, A, -side, D(quantity), reduce_only=True)

    def stop(self, price: str = "95", side: int = 1, name: str = "stop", symbol: str = A) -> None:
        self.exchange.place_stop(name, symbol, -side, D(2), D(price))

    def protected(self) -> Paper:
        self.enter()
        self.stop()
        return self

    def after(self, **time: float) -> PaperExchange:
        self.clock.forward(**time)
        return self.exchange

    def fill(self, name: str = "stop") -> OrderState | None:
        """What a stop turned into, if it was reached."""
        stop = self.exchange.stop(A, name)
        assert stop is not None
        assert (stop.status is StopStatus.TRIGGERED) == (stop.order is not None)
        return stop.order

    def fill_price(self, name: str = "stop") -> Decimal | None:
        fill = self.fill(name)
        return None if fill is None else fill.average_price
