"""Chance at work on live trading: what goes wrong at a request, a call, a tick, in a bar."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rehearsal.binance import faults
from rehearsal.binance.account import Fill
from rehearsal.binance.faults import Fault, refusal
from rehearsal.binance.futures import CANCEL_STOP, ORDER, STOP, Asked
from serving.trading.bot import TradingBot
from serving.trading.close_requests import CloseRequests
from serving.trading.positions import LIVE
from store.settings_sections import OpsSettings
from strategy.errors import RetryError, TradingSystemError
from tests.broken_off import BrokenOffError, Stepping, Steps
from tests.integration.live_trading import Memory, World
from tests.integration.live_trading_market import BTC, money

STATE = ("get", "items", "put", "delete")
EXCHANGE = (
    "positions", "position", "balance", "income", "last_price", "prepare", "market_order",
    "order", "place_stop", "stops", "stop", "cancel_stop",
)  # fmt: skip
CALLS = (*STATE, *EXCHANGE, "sleep")
"""Where another bot may come in, or a process end."""

READS = {
    "connection reset": faults.RESET,
    "bad gateway": faults.BAD_GATEWAY,
    "unknown error": faults.UNKNOWN,
    "too many requests": faults.TOO_MANY_REQUESTS,
    "a proxy's page": faults.WEB_PAGE,
    "clock skew": faults.SKEWED,
    "key refused": refusal(-2015, status=401),
}
WRITES = READS | {
    "reset after it landed": faults.RESET_LANDED,
    "unknown error after it landed": faults.UNKNOWN_LANDED,
    "time-out at the back after it landed": faults.BACKEND_TIME_OUT_LANDED,
    "garbled answer after it landed": faults.GARBLED_LANDED,
}
ORDERS = WRITES | {
    "on its way": faults.IN_FLIGHT,
    "overloaded": refusal(-1008, status=503),
    "too late for the matching engine": refusal(-5028),
    "refused": refusal(-9999),
}
OF = {
    ORDER: ORDERS | {"margin insufficient": refusal(-2019), "partial fill": Fault(landed=True)},
    STOP: ORDERS | {"too many stops": refusal(-4045)},
    CANCEL_STOP: WRITES,
}
PLACING = 8
"""As many times more often than others fail the few requests that place or cancel something."""
BURST = 5
"""As many failures in a row as no read survives."""


@dataclass
class Storm:
    """Lets things go wrong by chance.

    Parameters
    ----------
    rate
        Of faults among requests; state table and processes fail at a fifth of it each, by call.
    counts
        What went wrong, by kind.
    """

    rng: np.random.Generator
    rate: float
    counts: Counter[str] = field(default_factory=Counter)
    raging: bool = True

    def chance(self, probability: float) -> bool:
        return self.raging and self.rate > 0 and self.rng.random() < probability

    def strike(self, world: World, asked: Asked) -> None:
        """Perhaps let a request fail that has just come in."""
        placing = asked.endpoint in OF
        if not self.chance(self.rate * (PLACING if placing else 1)):
            return
        kinds = OF.get(asked.endpoint, READS if asked.endpoint.startswith("GET") else WRITES)
        kind = str(self.rng.choice(list(kinds)))
        if kind == "margin insufficient" and asked.params.get("reduceOnly") == "true":
            kind = "refused"  # an exit needs none
        self.counts[kind] += 1
        if kind == "partial fill":
            world.account.fills.append(Fill(money(self.rng.uniform(0, 1))))
            return
        length = BURST if self.rng.random() < 0.3 and not placing else 1
        world.server.fail(asked.endpoint, *[kinds[kind]] * length)

    def wrap(self, part: Any) -> Any:
        """A bot's part whose process may die at its calls; the state table may fail besides."""
        return Stepping(part, _Calls(self, isinstance(part, Memory)), CALLS)


class _Calls(Steps):
    def __init__(self, storm: Storm, of_state: bool) -> None:
        super().__init__()
        self.storm, self.of_state = storm, of_state

    def step(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def stepping(*arguments: Any, **named: Any) -> Any:
            storm = self.storm
            died, failed = (
                storm.chance(storm.rate / 5),
                self.of_state and storm.chance(storm.rate / 5),
            )
            after = storm.rng.random() < 0.5
            if died or failed:
                storm.counts["process died" if died else "state table failed"] += 1
            error = BrokenOffError() if died else RetryError("the state table failed in the test")
            if (died or failed) and not after:
                raise error
            answer = method(*arguments, **named)
            if died or failed:
                raise error
            return answer

        return stepping


@dataclass
class Voyage:
    """A world, from bar to bar through a storm.

    In every bar there are ticks until one has ended normally, then perhaps something that a
    person does, and the price goes on. The storm calms down in time for the next bar.
    """

    world: World
    storm: Storm

    def __post_init__(self) -> None:
        self.world.on_request = lambda asked: self.storm.strike(self.world, asked)
        self.world.delivers = lambda: self.storm.rng.random() < 0.5
        self._bot = self._new_bot()

    def through(self, rows: range) -> None:
        """All of them but the last, of which only the open is seen."""
        for row in rows:
            self.world.open_bar(row)
            if self.storm.rng.random() < 0.3:
                self.world.settings.switches = OpsSettings()
            self.settle(until=40, calm_after=30, next_tick=5)
            if row == rows[-1]:
                break
            if self.storm.chance(0.05):
                self._people_act()
                self.settle(until=44, calm_after=42, next_tick=0.5)
            self.world.finish_bar(self._look_in)

    def settle(self, until: float, calm_after: float, next_tick: float) -> None:
        """Ticks until one has ended normally: at once, or when the next one is due."""
        world, storm, error = self.world, self.storm, None
        try:
            while world.minute < until:
                storm.raging = world.minute < calm_after
                if not storm.raging:
                    world.server.clear_faults()
                normal, error = self._tick()
                world.check_orders()
                if normal:
                    return
                if storm.rng.random() < 0.5:
                    world.at(world.minute // next_tick * next_tick + next_tick)
        finally:
            storm.raging = True
        raise AssertionError(f"no tick ends normally any more: {error}")

    def _tick(self) -> tuple[bool, BaseException | None]:
        """Whether a tick ended normally, and if not, why."""
        if self.storm.chance(0.1):
            self.storm.counts["two bots at once"] += 1
            turns = Turns(self.storm.rng)
            self._two_bots(turns)
            return False, None
        if self.storm.chance(0.1) and not self._ended(self._bot):
            self.storm.counts["event delivered twice"] += 1
        error = self._ended(self._bot)
        return error is None, error

    def _ended(self, bot: TradingBot) -> BaseException | None:
        try:
            return self.world.tick(bot)
        except BrokenOffError as died:
            self._bot = self._new_bot()
            return died

    def _two_bots(self, turns: Turns) -> None:
        def wrap(part: Any) -> Any:
            return Stepping(self.storm.wrap(part), turns, CALLS)

        def work() -> None:
            try:
                self.world.bot(wrap).tick()
            except (TradingSystemError, BrokenOffError):
                return

        turns.run([work, work])

    def _new_bot(self) -> TradingBot:
        return self.world.bot(self.storm.wrap)

    def _look_in(self) -> None:
        if self.storm.chance(0.2):
            self.settle(until=54, calm_after=50, next_tick=0.5)

    def _people_act(self) -> None:
        world, kind = self.world, int(self.storm.rng.integers(4))
        amount = world.account.holding(BTC).amount
        if kind == 0 and amount:
            self.storm.counts["closed by hand"] += 1
            world.by_hand(-amount)
        elif kind == 1 and amount:
            self.storm.counts["operator's close"] += 1
            CloseRequests(world.state).ask(LIVE, BTC, "operator", world.clock())
        elif kind == 2:
            self.storm.counts["emergency stop"] += 1
            world.settings.switches = OpsSettings(emergency_stop=True)
        else:
            self.storm.counts["master switch off"] += 1
            world.settings.switches = OpsSettings(master_trading_switch=False)


class Turns(Steps):
    """Threads of which one runs at a time, up to its next call; chance says which."""

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__()
        self._rng = rng
        self._paused = threading.Semaphore(0)
        self._own = threading.local()
        self._waiting: list[threading.Semaphore] = []

    def step(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def stepping(*arguments: Any, **named: Any) -> Any:
            self._paused.release()
            self._own.turn.acquire()
            return method(*arguments, **named)

        return stepping

    def run(self, works: Sequence[Callable[[], None]]) -> None:
        """Do all of it."""
        for work in works:
            turn = threading.Semaphore(0)
            self._waiting.append(turn)
            threading.Thread(target=self._work, args=(turn, work), daemon=True).start()
        while self._waiting:
            self._waiting[self._rng.integers(len(self._waiting))].release()
            self._paused.acquire()

    def _work(self, turn: threading.Semaphore, work: Callable[[], None]) -> None:
        turn.acquire()
        self._own.turn = turn
        try:
            work()
        finally:
            self._waiting.remove(turn)
            self._paused.release()


class Interposed(Steps):
    """Does something else just before a call."""

    def __init__(self, call: int, action: Callable[[], None]) -> None:
        super().__init__()
        self.calls, self._call, self._action = 0, call, action

    def step(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def stepping(*arguments: Any, **named: Any) -> Any:
            self.calls += 1
            if self.calls == self._call + 1:
                self._action()
            return method(*arguments, **named)

        return stepping
