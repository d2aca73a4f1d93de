"""The trading bot in small, for tests of what it does: a scripted strategy on hand-made hours.

One R is 10: before the bars of a test the market has been quiet, each bar ten wide around 1000.
All parts are real but the strategy, its place in the registry, and the exchange with real money,
which is another account of virtual money.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from serving.journal import InterventionRecord, Journal, TradeRecord
from serving.trading.bot import TickReport, TradingBot
from serving.trading.positions import (
    PARTITION,
    Account,
    Position,
    paper_account,
    read_account,
)
from serving.trading.roster import Entrant
from store.config_file import read_config
from store.exchange import Balance, Exchange
from store.market import Candle, ReplayMarket
from store.paper_exchange import PaperExchange
from store.settings_sections import OpsSettings, RiskSettings
from strategy.candles import timeframe_delta
from strategy.config import BreakEven, Config, IndicatorParameters
from strategy.errors import TradingSystemError
from strategy.exit_rule import ExitRule
from tests.launch_world import Told
from tests.manual_clock import ManualClock
from tests.memory_state import MemoryState

BTC, ETH = "BTCUSDT", "ETHUSDT"
HOUR = "1h"
ONE_R = 10.0
BEGIN = datetime(2026, 3, 2, tzinfo=UTC)
"""Open of the first bar of a test: a Monday, so that day and week begin with it."""
INDICATORS = IndicatorParameters(2, 2, 2, 2, 2)
BREAK_EVEN = BreakEven(min_multiplier=1.0, max_multiplier=1.0, historical_atr_window=2)
RULE = ExitRule(INDICATORS.atr_period, BREAK_EVEN)
QUIET = RULE.required_history + 10
BAR = tuple[float, float, float, float]
STILL: BAR = (1000.0, 1005.0, 995.0, 1000.0)
CONFIG = read_config(Path(__file__).parents[1] / "config.json")


def candles_of(bars: Sequence[BAR], timeframe: str = HOUR) -> pd.DataFrame:
    """A candle frame: a quiet market, and from BEGIN on these bars: open, high, low, close."""
    length = timeframe_delta(timeframe)
    index = pd.date_range(
        pd.Timestamp(BEGIN) - QUIET * length,
        periods=QUIET + len(bars),
        freq=length,
        name="timestamp",
        unit="ns",
    )
    rows = np.array([STILL] * QUIET + list(bars))
    return pd.DataFrame(rows, index, ["open", "high", "low", "close"]).assign(volume=1.0)


@dataclass(frozen=True)
class Script:
    """In place of a bundle: says at the close of each bar what the test wants, else 0."""

    said: Mapping[pd.Timestamp, float]
    indicators: IndicatorParameters = INDICATORS
    break_even: BreakEven = BREAK_EVEN
    required_history: int = RULE.required_history
    model_name: str = f"{BTC}-{HOUR}"
    training_end: pd.Timestamp = field(default_factory=lambda: pd.Timestamp(BEGIN))

    def signals(self, candles: pd.DataFrame) -> pd.DataFrame:
        said = [self.said.get(time, 0.0) for time in candles.index]
        return pd.DataFrame({"signal": said}, candles.index)


def saying(signals: Mapping[int, float], timeframe: str = HOUR, **parts: Any) -> Script:
    """A strategy's signals, by the number of the bar from BEGIN on whose *open* they are for."""
    length = timeframe_delta(timeframe)
    begin = pd.Timestamp(BEGIN)
    return Script({begin + (bar - 1) * length: said for bar, said in signals.items()}, **parts)


@dataclass
class HandMarket:
    """Candles that a test may change, and a price that it may set; either may fail.

    Parameters
    ----------
    prices
        By asset, where it is not the open of the candle that the moment lies in.
    faults
        By method: what it raises.
    """

    frames: dict[tuple[str, str], pd.DataFrame]
    clock: ManualClock
    synthetic: bool = True
    prices: dict[str, float] = field(default_factory=dict)
    faults: dict[str, Exception] = field(default_factory=dict)

    def closed(self, asset: str, timeframe: str, bars: int) -> pd.DataFrame:
        self._fail("closed")
        return self._replay.closed(asset, timeframe, bars)

    def since(self, asset: str, moment: datetime) -> list[Candle]:
        self._fail("since")
        return self._replay.since(asset, moment)

    def price(self, asset: str) -> Decimal:
        self._fail("price")
        if asset in self.prices:
            return Decimal(repr(self.prices[asset]))
        return self._replay.price(asset)

    @property
    def _replay(self) -> ReplayMarket:
        return ReplayMarket(self.frames, self.clock, self.synthetic)

    def _fail(self, method: str) -> None:
        if method in self.faults:
            raise self.faults[method]


@dataclass
class Levers:
    """The operator's settings; with a fault they cannot be read."""

    limits: RiskSettings = field(default_factory=RiskSettings)
    switches: OpsSettings = field(default_factory=OpsSettings)
    fault: Exception | None = None

    def risk(self) -> RiskSettings:
        if self.fault:
            raise self.fault
        return self.limits

    def ops(self) -> OpsSettings:
        if self.fault:
            raise self.fault
        return self.switches


class Faulty:
    """An exchange of which a test lets methods fail, or answer otherwise: each by its name."""

    def __init__(self, wrapped: Exchange) -> None:
        self.wrapped = wrapped
        self.faults: dict[str, Exception] = {}
        self.instead: dict[str, Callable[..., Any]] = {}

    def __getattr__(self, name: str) -> Any:
        if name in self.faults:
            raise self.faults[name]
        return self.instead.get(name) or getattr(self.wrapped, name)

    def lose(self, usd: int) -> None:
        """Have the balance be less by that much."""

        def balance() -> Balance:
            found = self.wrapped.balance()
            return Balance(found.total - usd, found.free - usd)

        self.instead["balance"] = balance


class BotWorld:
    """The bot, its surroundings, and what has become of them.

    Parameters
    ----------
    bars
        Of BTCUSDT hours, from BEGIN on.
    signals
        Of the strategy that trades them in Staging: by the bar that an entry would open in.
    """

    def __init__(self, *bars: BAR, signals: Mapping[int, float] | None = None) -> None:
        self.clock = ManualClock(BEGIN)
        self.state = MemoryState()
        self.market = HandMarket({(BTC, HOUR): candles_of(bars)}, self.clock)
        self.settings = Levers()
        self.told = Told()
        self.config: Config = CONFIG
        self.entrants: list[Entrant] = [entrant(saying(signals or {}))]
        self.registry_fault: Exception | None = None
        self.live_fault: Exception | None = None
        self.live_opened = 0
        self.bot = self.new_bot()

    def new_bot(self) -> TradingBot:
        """As a new process would have it."""
        return TradingBot(
            config=self.config,
            settings=self.settings,  # type: ignore[arg-type]
            state=self.state,
            market=self.market,
            roster=self,  # type: ignore[arg-type]
            notifier=self.told,
            clock=self.clock,
            open_live=self._open_live,
            sleep=lambda seconds: self.clock.forward(seconds=seconds),
        )

    def trading(self, **asset_timeframes: list[str]) -> None:
        """Have config.json list other markets; frames and entrants are the test's business."""
        document = json.loads((Path(__file__).parents[1] / "config.json").read_text())
        document["asset_timeframes"] = asset_timeframes
        self.config = Config.model_validate(document)
        self.bot = self.new_bot()

    def read(self, models: Sequence[str], *, synthetic_market: bool) -> list[Entrant]:
        """The roster's method."""
        if self.registry_fault:
            raise self.registry_fault
        return [each for each in self.entrants if each.model in models]

    def _open_live(self) -> Exchange:
        self.live_opened += 1
        if self.live_fault:
            raise self.live_fault
        self.live = Faulty(self.exchange("real money"))  # type: ignore[arg-type]
        return self.live  # type: ignore[return-value]

    # Time

    def at(self, bar: int, minutes: float = 0.0) -> TickReport:
        """Go to so many minutes after a bar's open, and tick."""
        self.clock.now = BEGIN + timedelta(hours=bar, minutes=minutes)
        return self.bot.tick()

    def failing(self, bar: int, minutes: float = 0.0) -> TradingSystemError:
        """The same; what the tick raises."""
        try:
            self.at(bar, minutes)
        except TradingSystemError as error:
            return error
        raise AssertionError("the tick ended without an error")

    # What has become of it

    def account(self, name: str | None = None) -> Account:
        name = name or paper_account(STRATEGY)
        item = self.state.get(PARTITION, name)
        return read_account(item.value if item else {}, name)

    def position(self, name: str | None = None, asset: str = BTC) -> Position | None:
        return self.account(name).positions.get(asset)

    def held(self, name: str | None = None, asset: str = BTC) -> Position:
        """The position that must be there."""
        position = self.position(name, asset)
        assert position is not None
        return position

    def exchange(self, name: str | None = None) -> PaperExchange:
        """A paper account, as another process would see it."""
        return PaperExchange(
            self.state,
            name or paper_account(STRATEGY),
            self.market,
            self.config.costs,
            Decimal(10_000),
            self.clock,
        )

    def stops(self, name: str | None = None, asset: str = BTC) -> list[float]:
        """Levels of the stops that rest."""
        return [float(stop.stop_price) for stop in self.exchange(name).stops(asset)]

    def trades(self, strategy_id: str | None = None, book: Any = "paper") -> list[TradeRecord]:
        return Journal(self.state).trades(strategy_id or STRATEGY, book)

    def interventions(
        self, strategy_id: str | None = None, book: Any = "paper"
    ) -> list[InterventionRecord]:
        return Journal(self.state).interventions(strategy_id or STRATEGY, book)

    def refusals(self, strategy_id: str | None = None, book: Any = "paper") -> list[str]:
        found = self.interventions(strategy_id, book)
        return [each.why for each in found if each.kind == "refuse"]

    def snapshot(self) -> dict[Any, Any]:
        """All that the state table holds."""
        return dict(self.state._items)


STRATEGY = f"{BTC}-{HOUR}-c0ffee"


def entrant(
    bundle: Any,
    book: Any = "paper",
    strategy_id: str = STRATEGY,
    model: str = f"{BTC}-{HOUR}",
    version: int = 1,
    problem: str | None = None,
) -> Entrant:
    """A version in Staging, or (``live``) in Production."""
    return Entrant(model, version, strategy_id, book, bundle, problem)
