"""A process that dies between any two calls of a trade's life, and two bots at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import partial

import numpy as np
import pytest

from rehearsal.binance.faults import refusal
from rehearsal.binance.futures import ORDER, FuturesServer
from rehearsal.binance.loopback import futures_server, one_market
from serving.trading.positions import LIVE
from serving.trading.protection import protect
from strategy.errors import TradingSystemError
from tests.broken_off import BrokenOffError, Stepping, Steps
from tests.integration.live_trading import STRATEGY, World, Wrap, plain
from tests.integration.live_trading_life import (
    CLOSE,
    DIP,
    ENTRY,
    LAST,
    LIFE,
    SECOND_ENTRY,
    TO_BREAK_EVEN,
    TRAIL,
    Life,
    aged,
    go_on,
    newborn,
    open_bar,
    settle,
)
from tests.integration.live_trading_market import BTC
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
    """One for all tests, as the days are that they begin with."""
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


def margin_is_short(world: World) -> None:
    world.server.fail(ORDER, refusal(-2019, "Margin is insufficient."))


def margin_is_there(world: World) -> None:
    world.server.clear_faults()


def equity_falls(world: World) -> None:
    world.account.wallet *= Decimal("0.97")


def equity_is_back(world: World) -> None:
    world.account.wallet /= Decimal("0.97")


def somebody_closes(world: World) -> None:
    world.by_hand(-world.account.holding(BTC).amount)


def price_moves(world: World) -> None:
    world.account.glide(BTC, world.account.prices[BTC] + 1)


@pytest.mark.parametrize(
    ("row", "life", "begin", "end", "kind"),
    [
        (ENTRY, LIFE, margin_is_short, margin_is_there, "refuse"),
        (ENTRY + 1, DIP, equity_falls, equity_is_back, "break_even"),
        (TO_BREAK_EVEN, LIFE, somebody_closes, price_moves, "close"),
    ],
    ids=["refused entry", "forced break-even", "closed by hand"],
)
def test_what_was_done_from_outside_is_recorded_if_and_only_if_it_was_done(
    server: FuturesServer,
    row: int,
    life: Life,
    begin: Callable[[World], None],
    end: Callable[[World], None],
    kind: str,
) -> None:
    """The process dies between any two calls, and the next one finds another situation."""
    at_open, steps = aged(server, row, life), Steps()
    undisturbed = at_open.fork()
    begin(undisturbed)
    settle(undisturbed, partial(Stepping, steps=steps, methods=CHANGES))
    given = [each.kind for each in undisturbed.journal.interventions(STRATEGY, "live")]
    assert given == [kind]
    for fatal in range(steps.taken):
        world, deadly = at_open.fork(), Steps()
        deadly.fatal = fatal
        begin(world)
        with pytest.raises(BrokenOffError):
            world.tick(world.bot(partial(Stepping, steps=deadly, methods=CHANGES)))
        end(world)
        settle(world)
        assert go_on(world, SECOND_ENTRY).differences() == [], f"died at call {fatal}"


def test_what_was_done_last_for_a_strategy_that_is_gone_is_recorded_too(
    server: FuturesServer,
) -> None:
    at_open, steps = aged(server, TO_BREAK_EVEN), Steps()
    assert settle(at_open) == []
    at_open.roster = []
    undisturbed = at_open.fork()
    undisturbed.by_hand(-undisturbed.account.holding(BTC).amount)
    settle(undisturbed, partial(Stepping, steps=steps, methods=CHANGES))
    for fatal in range(steps.taken):
        world, deadly = at_open.fork(), Steps()
        deadly.fatal = fatal
        world.by_hand(-world.account.holding(BTC).amount)
        with pytest.raises(BrokenOffError):
            world.tick(world.bot(partial(Stepping, steps=deadly, methods=CHANGES)))
        world.at(5)
        settle(world)
        given = [each.kind for each in world.journal.interventions(STRATEGY, "live")]
        assert given == ["close"], f"died at call {fatal}"


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


def test_a_bot_that_knows_an_old_stop_alone_leaves_the_new_one_of_another(
    server: FuturesServer,
) -> None:
    """Else the other one, which cancels the old stop next, would leave none."""
    world = aged(server, TO_BREAK_EVEN)
    late = world.bot()._desk(LIVE)
    other = Interposed(0, lambda: late.for_all(protect))
    assert world.tick(world.bot(partial(Stepping, steps=other, methods=("cancel_stop",)))) is None
    assert other.calls == 1


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
