"""Live trading in small: candles, an account at Binance that lives through them, and the real bot.

The bot's exchange is :class:`store.binance_futures.BinanceFutures` over the real ccxt client, which
reaches Binance without a socket: that takes a third of the time, and test_rehearsal shows that the
client sees the same. One clock holds for all: the account's, which every request and every pause
moves on.

The price follows the candles as :func:`strategy.exits.step` takes them to have gone: it jumps to
a bar's open, where ticks find it, and goes from there to the adverse extreme first. Contracts
have a tick of 0.00001: a stop rests where the strategy wants it, and a trade's R differs from
the simulation's by that tick over one R at most.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rehearsal.binance.account import Contract, FuturesAccount
from rehearsal.binance.faults import Fault
from rehearsal.binance.futures import API_KEY, API_SECRET, Asked, FuturesServer
from rehearsal.binance.in_process import connected
from serving.journal import Journal, TradeRecord
from serving.trading.bot import TradingBot
from serving.trading.positions import LIVE, PARTITION, Account, Position, read_account
from serving.trading.roster import Entrant
from store.backoff import Backoff
from store.binance_futures import BinanceFutures, connect_futures
from store.config_file import read_config
from store.market import ReplayMarket
from store.settings_sections import OpsSettings, RiskSettings
from strategy.candles import open_times
from strategy.config import Config
from strategy.errors import TradingSystemError
from tests.integration.live_trading_market import (
    BTC,
    COSTS,
    TICK,
    TIMEFRAME,
    Script,
    differences,
    money,
    simulated,
)
from tests.memory_state import MemoryState

ROOT = Path(__file__).resolve().parents[2]
STRATEGY = "BTCUSDT-1h-c0ffee"
LATENCY_MS = 20
OURS = re.compile(r"[0-9a-f]{12}-\d{10}-s\d+")
"""Of a stop; a person's is left alone."""
STANDING = {
    "side", "quantity", "entry_price", "stop", "trailing", "stepped_until",  # of a position
    "decision_time", "exit_price", "reason",  # of a trade
}  # fmt: skip
Wrap = Callable[[Any], Any]


@dataclass
class Switches:
    """The operator's settings."""

    limits: RiskSettings = field(default_factory=RiskSettings)
    switches: OpsSettings = field(default_factory=OpsSettings)

    def risk(self) -> RiskSettings:
        return self.limits

    def ops(self) -> OpsSettings:
        return self.switches


@dataclass
class Messages:
    """What the operator was told: subjects."""

    sent: list[str] = field(default_factory=list)

    def send(self, subject: str, text: str) -> None:
        self.sent.append(subject)


def plain(part: Any) -> Any:
    """A part of a bot as it is."""
    return part


class Memory(MemoryState):
    """A state table that can be copied."""

    def copy(self) -> Memory:
        other = Memory()
        other._items = dict(self._items)
        return other


@dataclass
class World:
    """A market, an account, a state table. Bots come and go.

    Parameters
    ----------
    signals
        By the open of the bar at whose close they are known; 0 where none is given.
    """

    server: FuturesServer
    candles: pd.DataFrame
    signals: Mapping[pd.Timestamp, int]
    state: Memory = field(default_factory=Memory)
    settings: Switches = field(default_factory=Switches)
    messages: Messages = field(default_factory=Messages)
    on_request: Callable[[Any], None] = lambda asked: None
    delivers: Callable[[], bool] = lambda: True
    config: Config = field(init=False)
    account: FuturesAccount = field(init=False)
    first: int | None = field(default=None, init=False)
    row: int = field(default=-1, init=False)

    def __post_init__(self) -> None:
        config = read_config(ROOT / "config.json")
        # Entries are random: a month that they lose would soon see no more of them.
        breaker = config.circuit_breaker.model_copy(update={"weekly": 0.4, "monthly": 0.6})
        self.config = config.model_copy(update={"costs": COSTS, "circuit_breaker": breaker})
        contract = Contract(BTC, tick=TICK, step=Decimal("0.00001"), min_notional=Decimal(5))
        self.account = FuturesAccount(
            {BTC: contract}, {BTC: Decimal(1)}, funding_rate=money(COSTS.funding_per_8h)
        )
        self.server.account = self.account
        self.server.requests.clear()
        self.server.clear_faults()
        self.server.deliver()
        self.server.answer = self._answer  # type: ignore[method-assign]
        self.client = connected(connect_futures(API_KEY, API_SECRET), self.server)
        self.index = open_times(self.candles)
        self.script = Script(
            pd.Series(dict(self.signals), dtype=float).reindex(self.index).fillna(0.0)
        )
        self.market = ReplayMarket({(BTC, TIMEFRAME): self.candles}, self.clock)
        self.journal = Journal(self.state)
        self.roster = [Entrant(f"{BTC}-{TIMEFRAME}", 1, STRATEGY, "live", self.script)]  # type: ignore[arg-type]

    def fork(self) -> World:
        """The same world once more; the server now tells of it alone."""
        other = replace(self, state=self.state.copy())
        ids = self.account._ids
        other.account = self.server.account = deepcopy(self.account, {id(ids): ids})
        other.first, other.row = self.first, self.row
        return other

    # Time

    def clock(self) -> datetime:
        return datetime.fromtimestamp(self.account.now / 1000, UTC)

    def sleep(self, seconds: float) -> None:
        """What is on its way may arrive while one waits."""
        self.account.advance(self.account.now + round(seconds * 1000))
        if self.delivers():
            self.server.deliver()

    def at(self, minute: float) -> None:
        """Go on to that minute of the bar, if it is not past."""
        wanted = self.index[self.row] + timedelta(minutes=minute)
        self.account.advance(max(self.account.now, _milliseconds(wanted)))
        self.server.deliver()

    # The market

    def open_bar(self, row: int) -> None:
        """The bar opens: funding is paid, and stops that the open has passed are filled there."""
        price = money(self.candles["open"].iloc[row])
        self.row = row
        if self.first is None:
            self.first = row
            self.account.now = _milliseconds(self.index[row])
        self.account.prices[BTC] = price  # at which funding is paid
        assert self.account.now <= _milliseconds(self.index[row]), "the bar before took too long"
        self.at(0)
        self.account.jump(BTC, price)

    def finish_bar(self, at_adverse: Callable[[], None] = lambda: None) -> None:
        """The price goes through its extremes, the adverse one first, to the close."""
        bar = self.candles.iloc[self.row]
        extremes = [bar["low"], bar["high"]]
        if self.account.holding(BTC).amount < 0:
            extremes.reverse()
        for minute, price in zip((45, 55, 59), (*extremes, bar["close"]), strict=True):
            self.at(minute)
            self.account.glide(BTC, money(price))
            if minute == 45:
                at_adverse()

    @property
    def minute(self) -> float:
        """Of the bar, by the clock."""
        return (self.account.now - _milliseconds(self.index[self.row])) / 60_000

    def by_hand(self, amount: Decimal) -> None:
        """A person buys that much at the market, or below 0 sells it."""
        self.account.place(
            {
                "symbol": BTC,
                "side": "BUY" if amount > 0 else "SELL",
                "type": "MARKET",
                "quantity": f"{abs(amount):f}",
                "newClientOrderId": f"web_{self.account.now}",
            }
        )

    # Bots

    def bot(self, wrap: Wrap = plain) -> TradingBot:
        """A bot as in a new process; state table and exchange go through ``wrap``."""
        sleep = wrap(self).sleep
        backoff = Backoff(sleep, np.random.default_rng(0), attempts=4, first=0.5, longest=10.0)
        exchange = wrap(BinanceFutures(self.client, backoff, self.clock))
        return TradingBot(
            config=self.config,
            settings=self.settings,  # type: ignore[arg-type]
            state=wrap(self.state),
            market=self.market,
            roster=self,  # type: ignore[arg-type]
            notifier=self.messages,
            clock=self.clock,
            open_live=lambda: exchange,
            sleep=sleep,
        )

    def read(self, models: Sequence[str], *, synthetic_market: bool) -> list[Entrant]:
        """The roster's method."""
        return self.roster

    def tick(self, bot: TradingBot | None = None) -> TradingSystemError | None:
        """A tick, by a new bot if none is given; what must hold after one that ended normally."""
        late = {asked.params.get("clientAlgoId") for asked in self.server._in_flight}
        try:
            (bot or self.bot()).tick()
        except TradingSystemError as error:
            return error
        self.check(late)
        return None

    def _answer(self, asked: Asked) -> Fault:
        self.account.advance(self.account.now + LATENCY_MS)
        self.on_request(asked)
        return FuturesServer.answer(self.server, asked)

    # What must hold

    @property
    def remembered(self) -> Account:
        item = self.state.get(PARTITION, LIVE)
        return read_account(dict(item.value) if item else {}, LIVE)

    @property
    def position(self) -> Position | None:
        return self.remembered.positions.get(BTC)

    @property
    def trades(self) -> list[TradeRecord]:
        return self.journal.trades(STRATEGY, "live")

    @property
    def standing(self) -> dict[str, Any]:
        """What must not depend on how it came about."""
        account, position = self.remembered, self.position
        values = None if position is None else position.model_dump(include=STANDING)
        trades = [
            each.model_dump(include=STANDING) | {"r": round(each.r, 6)} for each in self.trades
        ]
        return {"position": values, "trades": trades, "decided": account.decided}

    def check(self, late: Collection[str | None] = ()) -> None:
        """No order twice, state equals exchange, a stop for a position and none without.

        One that was on its way when its process died may come to rest beside the new one: the
        next tick cancels it.
        """
        self.check_orders()
        assert self.remembered.pending == [], "it is in the journal"
        position, held = self.position, self.account.holding(BTC).amount
        stops = self.account.open_stops(BTC)
        resting = [stop for stop in stops if OURS.fullmatch(stop["clientAlgoId"])]
        if position is None:
            assert held == 0, f"{held} are held that the bot has forgotten"
            assert resting == [], "a stop was left over"
            return
        assert position.side * position.quantity == held
        assert position.in_flight is None and position.leaving is None
        if len(resting) > 1:
            resting = [stop for stop in resting if stop["clientAlgoId"] not in late]
        assert len(resting) == 1, f"{len(resting)} stops rest for a position"
        (stop,) = resting
        assert stop["reduceOnly"] and stop["side"] == ("SELL" if held > 0 else "BUY")
        assert Decimal(stop["quantity"]) == position.quantity
        assert abs(Decimal(stop["triggerPrice"]) - money(position.stop)) <= TICK
        assert stop["clientAlgoId"] in {each.order_id for each in position.stops}

    def check_orders(self) -> None:
        """No order was carried out twice; this holds at every moment."""
        orders = self.account.orders[-50:]  # an order that is old is not looked for any more
        filled = Counter(o["clientOrderId"] for o in orders if Decimal(o["executedQty"]) > 0)
        assert set(filled.values()) <= {1}, f"filled twice: {filled.most_common(1)}"
        entries = [name[:23] for name in filled if name.endswith("-e")]
        assert len(entries) == len(set(entries)), "two entries for one decision"

    def differences(self) -> list[str]:
        """Between recorded and simulated trades that ended before this bar, whose tick was."""
        assert self.first is not None
        recorded = [each for each in self.trades if each.exit_time < self.index[self.row]]
        given = self.journal.interventions(STRATEGY, "live")
        expected = simulated(self.candles, self.script.signal_of, given, self.first, self.row - 1)
        return differences(recorded, expected, self.index)


def _milliseconds(time: datetime) -> int:
    return round(time.timestamp() * 1000)
