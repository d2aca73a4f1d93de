"""A process that dies between any two calls of a trade's life, and two bots at once."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import pytest

from strategy.errors import TradingSystemError
from tests.broken_off import Stepping, Steps
from tests.integration.binance_futures_server import FuturesServer, futures_server, one_market
from tests.integration.live_trading import World, Wrap, plain
from tests.integration.live_trading_life import (
    CLOSE,
    ENTRY,
    LAST,
    SECOND_ENTRY,
    TO_BREAK_EVEN,
    TRAIL,
    newborn,
    open_bar,
    settle,
)
from tests.integration.live_trading_storm import CALLS, Interposed, Turns

CHANGES = ("put", "delete", "prepare", "market_order", "place_stop", "cancel_stop")
"""The calls that change something: to die between two others is the same."""
EVENTFUL = {
    "entry": ENTRY,
    "stop to break-even": TO_BREAK_EVEN,
    "stop trails": TRAIL,
    "exit at the stop, and an entry": SECOND_ENTRY,
    "operator's close": CLOSE,
}


@pytest.fixture(scope="module")
def server() -> Iterator[FuturesServer]:
    with futures_server(one_market()) as running:
        yield running


def live_bar(world: World, row: int, steps: Steps, minutes_later: float) -> None:
    open_bar(world, row)
    settle(world, partial(Stepping, steps=steps, methods=CHANGES), minutes_later)
    world.finish_bar()


@pytest.mark.parametrize(
    ("side", "minutes_later"),
    [(1, 0), (-1, 5)],
    ids=["long, another tick at once", "short, another tick in five minutes"],
)
def test_a_process_that_dies_between_any_two_calls_changes_no_trade(
    server: FuturesServer, side: int, minutes_later: float
) -> None:
    world, deaths = newborn(server, side), 0
    for row in range(ENTRY, LAST):
        begin, steps = world, Steps()
        world = begin.fork()
        live_bar(world, row, steps, 0)
        for fatal in range(steps.taken):
            other, others = begin.fork(), Steps()
            others.fatal = fatal
            live_bar(other, row, others, minutes_later)
            assert others.taken > fatal, "it has died, and another one has gone on"
            assert other.standing == world.standing, f"died at call {fatal} of bar {row - ENTRY}"
            live_bar(
                other, row + 1, Steps(), 0
            )  # whose tick ends normally, with all that it checks
            assert other.differences() == []
        deaths += steps.taken
    assert [trade.reason for trade in world.trades] == ["trailing_stop", "closed"]
    assert deaths > 50


@pytest.fixture(scope="module")
def days(server: FuturesServer) -> dict[int, tuple[World, World]]:
    """Of each bar: the world at its open, and after an undisturbed tick."""
    found, world = {}, newborn(server, 1)
    for row in range(ENTRY, LAST + 1):
        open_bar(world, row)
        found[row] = (world, world := world.fork())
        assert world.tick() is None
        found[row] = (found[row][0], world)
        world = world.fork()
        world.finish_bar()
    return found


def ended(world: World, wrap: Wrap) -> None:
    """A tick that need not end normally."""
    try:
        world.bot(wrap).tick()
    except TradingSystemError:
        world.check_orders()


@pytest.mark.parametrize("row", EVENTFUL.values(), ids=EVENTFUL)
def test_a_whole_tick_of_another_bot_between_any_two_calls_does_nothing_twice(
    days: dict[int, tuple[World, World]], row: int
) -> None:
    begin, undisturbed = days[row]
    alone = Interposed(-1, lambda: None)
    ended(begin.fork(), partial(Stepping, steps=alone, methods=CALLS))
    assert alone.calls > 15
    for call in range(alone.calls):
        world = begin.fork()
        other = Interposed(call, partial(ended, world, plain))
        ended(world, partial(Stepping, steps=other, methods=CALLS))
        settle(world)
        assert world.standing == undisturbed.standing, f"came in at call {call}"


@pytest.mark.parametrize("row", EVENTFUL.values(), ids=EVENTFUL)
def test_two_bots_that_take_turns_at_random_do_nothing_twice(
    days: dict[int, tuple[World, World]], row: int
) -> None:
    begin, undisturbed = days[row]
    for seed in range(12):
        world = begin.fork()
        turns = Turns(np.random.default_rng(seed))
        work = partial(ended, world, partial(Stepping, steps=turns, methods=CALLS))
        turns.run([work, work])
        settle(world)
        assert world.standing == undisturbed.standing, f"seed {seed}"
