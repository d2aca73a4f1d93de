"""The life of two trades in eight bars, in which every kind of order is sent."""

from __future__ import annotations

from collections.abc import Callable

from rehearsal.binance.faults import Fault
from rehearsal.binance.futures import FuturesServer
from rehearsal.binance.orders import stop_row
from serving.trading.close_requests import CloseRequests
from serving.trading.positions import LIVE
from strategy.errors import TradingSystemError
from tests.broken_off import BrokenOffError
from tests.integration.live_trading import STRATEGY, World, Wrap, plain
from tests.integration.live_trading_market import BTC, QUIET, scripted

Life = tuple[tuple[float, float, float, float], ...]
LIFE: Life = (
    (0.0, 0.4, -0.4, 0.2),
    (0.2, 1.2, 0.1, 0.8),
    (0.8, 2.4, 0.5, 2.2),
    (2.2, 3.2, 2.0, 3.0),
    (3.0, 3.1, -1.0, -0.5),
    (-0.5, -0.4, -0.6, -0.5),
    (-0.5, -0.4, -0.6, -0.5),
    (-0.5, -0.4, -0.6, -0.5),
)
"""In R: to break-even, trailing twice, out at the stop; then quiet, for a trade of the other side
that the operator closes."""
ENTRY, TO_BREAK_EVEN, TRAIL, FELL, SECOND_ENTRY, CLOSE, LAST = (
    QUIET, QUIET + 2, QUIET + 3, QUIET + 4, QUIET + 5, QUIET + 6, QUIET + 7
)  # fmt: skip
TICKS = 7


DIP = (LIFE[0], (0.2, 0.4, -0.5, -0.2), *LIFE[2:])
"""Another life: it falls below its entry, but not to its first stop, before it rises."""


def newborn(server: FuturesServer, side: int = 1, life: Life = LIFE) -> World:
    """Before the first bar of a life."""
    candles = scripted(*life, side=side)
    signals = {candles.index[ENTRY - 1]: side, candles.index[SECOND_ENTRY - 1]: -side}
    return World(server, candles, signals)


def aged(server: FuturesServer, row: int, life: Life = LIFE) -> World:
    """At the open of a bar, before its tick."""
    world = newborn(server, life=life)
    for past in range(ENTRY, row):
        open_bar(world, past)
        assert world.tick() is None
        world.finish_bar()
    open_bar(world, row)
    return world


def open_bar(world: World, row: int) -> None:
    """In one of them the operator wants the position closed."""
    world.open_bar(row)
    if row == CLOSE:
        CloseRequests(world.state).ask(LIVE, BTC, "operator", world.clock())


def settle(world: World, wrap: Wrap = plain, minutes_later: float = 5) -> list[TradingSystemError]:
    """Ticks, by new processes, until one ends normally; what those before ended with."""
    errors: list[TradingSystemError] = []
    first = world.minute
    for number in range(TICKS):
        world.at(first + number * minutes_later)
        try:
            error = world.tick(world.bot(wrap))
        except BrokenOffError:
            world.check_orders()
            continue
        if error is None:
            return errors
        errors.append(error)
    raise AssertionError("no tick ends normally any more") from errors[-1]


def go_on(world: World, last: int = LAST) -> World:
    """To the open of that bar, with a tick in each."""
    for row in range(world.row + 1, last + 1):
        world.finish_bar()
        open_bar(world, row)
        settle(world)
    return world


def kinds(world: World) -> list[str]:
    return [each.kind for each in world.journal.interventions(STRATEGY, "live")]


def reasons(world: World) -> list[str]:
    return [trade.reason for trade in world.trades]


def lasting(fault: Fault, *endpoints: str) -> Callable[[World], None]:
    """Let every request fail, or those to these endpoints, until ``on_request`` is changed."""

    def begin(world: World) -> None:
        world.on_request = lambda asked: (
            world.server.fail(asked.endpoint, fault)
            if not endpoints or asked.endpoint in endpoints
            else None
        )

    return begin


def calm(world: World) -> None:
    world.on_request = lambda asked: None
    world.server.clear_faults()


def orphan(world: World, position_id: str) -> None:
    """A stop of a position that is gone."""
    asked = {
        "clientAlgoId": f"{position_id}-s1", "type": "STOP_MARKET", "symbol": BTC,
        "side": "SELL", "quantity": "0.5", "reduceOnly": "true",
        "triggerPrice": str(world.account.prices[BTC] - 10),
    }  # fmt: skip
    world.account.stops.append(stop_row(1, asked, world.account.now))
