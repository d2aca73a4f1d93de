"""What becomes of stops on hand-written candles, and what a fill costs; worked out by hand.

Unless it says otherwise a long of 2 is opened at 100, at the open of the first hour, with a
leverage of 5 and its stop at 95.
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from store.exchange import InsufficientMarginError, StopStatus
from store.market import ReplayMarket
from strategy.config import Costs
from tests.paper_tables import FUNDED, QUIET, START, A, B, D, Paper


def mirrored(table: str) -> str:
    """The same market upside down around 100."""
    rows = [line.split("#")[0].split() for line in table.splitlines()]
    return "\n".join(
        " ".join(str(200 - float(price)) for price in (row[0], row[2], row[1], row[3]))
        for row in rows
        if row
    )


def exit_price(table: str, side: str) -> Decimal | None:
    """Where the stop at 95 was filled by the end of the table; shorts are mirrored back."""
    if side == "long":
        paper = Paper(table).protected()
    else:
        paper = Paper(mirrored(table))
        paper.enter(-1)
        paper.stop("105", -1)
    paper.after(hours=len(paper.frames[A, "1h"]))
    price = paper.fill_price()
    return price if price is None or side == "long" else 200 - price


on_either_side = pytest.mark.parametrize("side", ["long", "short"])


# Stops on candles


@on_either_side
def test_a_stop_fills_at_its_price_not_at_the_extreme(side: str) -> None:
    table = """
        100 101 99 100
        100 103 93  98   # low 93 <= 95: out at 95
         98  99 97  98
    """
    assert exit_price(table, side) == 95


@on_either_side
def test_a_gap_through_a_stop_fills_at_the_open_not_at_the_extreme(side: str) -> None:
    table = """
        100 101 99 100
         93  99 90  97   # opens below 95: out at 93
         98  99 97  98
    """
    assert exit_price(table, side) == 93


@on_either_side
def test_an_open_at_the_stop_itself_fills_there(side: str) -> None:
    assert exit_price(QUIET + "95 99 90 97", side) == 95


@on_either_side
def test_a_candle_that_went_both_ways_reached_the_stop(side: str) -> None:
    assert exit_price(QUIET + "100 150 95 149", side) == 95


@on_either_side
def test_a_low_just_above_the_stop_does_not_reach_it(side: str) -> None:
    assert exit_price(QUIET + "100 103 95.001 98", side) is None


@on_either_side
def test_the_candle_of_the_entry_can_reach_the_stop(side: str) -> None:
    assert exit_price("100 103 95 98", side) == 95


def test_entry_and_stop_inside_a_candle_are_held_against_all_of_it() -> None:
    """Its low may have come before; nobody knows."""
    paper = Paper("100 101 94 100\n" + QUIET)
    paper.after(minutes=40)
    paper.protected()
    paper.after(minutes=20)
    fill = paper.fill()
    assert fill is not None
    assert (fill.average_price, fill.time) == (95, START + timedelta(minutes=40))


def test_a_stop_placed_inside_a_candle_is_held_against_all_of_it() -> None:
    paper = Paper(QUIET + "100 101 97 100")
    paper.protected()
    paper.after(minutes=90)
    paper.stop("98", name="tighter")
    paper.after(minutes=30)
    fill = paper.fill("tighter")
    assert fill is not None
    assert (fill.average_price, fill.time) == (98, START + timedelta(minutes=90))
    assert paper.fill("stop") is None


def test_a_stop_placed_at_a_candle_s_close_is_not_held_against_it() -> None:
    paper = Paper("100 101 97 100\n" + QUIET + QUIET)
    paper.protected()
    paper.after(hours=1)
    paper.stop("98", name="tighter")
    paper.after(hours=2)
    assert paper.fill("tighter") is None


def test_a_candle_is_not_held_against_a_stop_before_it_has_closed() -> None:
    paper = Paper(QUIET + "100 101 90 100").protected()
    paper.after(minutes=119)
    assert paper.fill() is None
    paper.after(minutes=1)
    assert paper.fill_price() == 95


def test_a_stop_inside_a_candle_is_filled_at_its_open_time() -> None:
    paper = Paper(QUIET + "100 101 90 100").protected()
    paper.after(hours=2)
    fill = paper.fill()
    assert fill is not None and fill.time == START + timedelta(hours=1)


def test_what_the_price_of_a_moment_passes_fills_at_once() -> None:
    paper = Paper(QUIET + "94 101 90 100").protected()
    paper.after(hours=1)
    fill = paper.fill()
    assert fill is not None and (fill.average_price, fill.time) == (94, paper.clock.now)
    assert paper.exchange.positions() == []


def test_the_tighter_stop_is_reached_first_and_a_gap_through_both_fills_at_the_open() -> None:
    for table, at in (("100 101 90 100", 97), ("92 101 90 100", 92)):
        paper = Paper(QUIET + table).protected()
        paper.stop("97", name="tighter")
        paper.after(hours=2)
        assert paper.fill_price("tighter") == at
        assert paper.fill("stop") is None
        assert paper.exchange.positions() == []


def test_a_stop_of_the_other_side_is_done_with_when_the_price_reaches_it() -> None:
    """It was left over by a long; the short that is held now is not its business."""
    paper = Paper(QUIET + "100 101 90 94\n" + QUIET).protected()
    paper.leave()
    paper.enter(-1)
    paper.after(hours=2)
    assert paper.fill() is None
    assert paper.exchange.stop(A, "stop").status is StopStatus.EXPIRED
    assert paper.exchange.position(A).quantity == 2


def test_a_stop_is_not_held_against_what_came_before_it() -> None:
    """The candles of an outage are worked in before anything is placed; late ones are not."""
    paper = Paper(QUIET + "90 91 89 90\n" + QUIET * 2)
    paper.enter()
    held = paper.frames[A, "1h"]
    without = held.drop(held.index[1])
    paper.exchange.market = ReplayMarket({(A, "1h"): without}, paper.clock)
    paper.after(hours=2)
    paper.stop("95")
    paper.exchange.market = paper.market
    paper.after(hours=2)
    assert paper.fill() is None


def test_a_stop_left_over_cannot_fill_before_the_position_was_opened() -> None:
    """The candle's low may have come before; it is taken to have come after."""
    paper = Paper("100 101 94 100\n" + QUIET).protected()
    paper.leave()
    paper.after(minutes=30)
    paper.enter(name="again")
    paper.after(minutes=30)
    fill = paper.fill()
    assert fill is not None
    assert (fill.average_price, fill.time) == (95, START + timedelta(minutes=30))


@pytest.mark.parametrize("late", [A, B])
def test_a_candle_that_comes_in_late_is_held_against_the_stops_all_the_same(late: str) -> None:
    table = QUIET + "100 101 94 100\n" + QUIET + QUIET
    paper = Paper(table, table).protected()
    paper.enter(name="b", symbol=B)
    paper.stop(name="b-stop", symbol=B)
    there = {**paper.frames, (late, "1h"): paper.frames[late, "1h"].iloc[:1]}
    paper.exchange.market = ReplayMarket(there, paper.clock)
    for _ in range(2):
        paper.after(hours=1)
        paper.exchange.balance()
    assert [position.symbol for position in paper.exchange.positions()] == [late]
    paper.exchange.market = paper.market
    paper.after(minutes=5)
    assert paper.exchange.positions() == []
    assert paper.fill_price() == paper.fill_price("b-stop") == 95


def test_a_candle_that_was_worked_in_is_not_worked_in_again() -> None:
    """The second symbol's candles come in late, so that the first one's are asked for again."""
    paper = Paper(QUIET * 3, QUIET * 3, costs=FUNDED, start=START.replace(hour=7))
    paper.enter()
    paper.enter(name="b", symbol=B)
    whole = paper.frames[B, "1h"]
    late = {**paper.frames, (B, "1h"): whole.iloc[:1]}
    for frames, hours in ((paper.frames, 1), (late, 1), (paper.frames, 0.5), (late, 0.5)):
        paper.exchange.market = ReplayMarket(frames, paper.clock)
        paper.after(hours=hours)
        paper.exchange.balance()
    assert [row.symbol for row in paper.exchange.income(START - timedelta(days=1))] == [A, B]
    assert paper.exchange.balance().total == 10_000 - 2 * D("0.2")


# Fees


def test_a_fill_costs_fee_and_slippage_as_a_fee_at_the_market_s_price() -> None:
    costs = Costs(fee_per_side=0.0005, slippage_per_side=0.0001, funding_per_8h=0)
    paper = Paper(QUIET + "100 101 90 100", costs=costs).protected()
    entry = paper.exchange.order(A, "entry")
    assert entry is not None and (entry.average_price, entry.fee) == (100, D("0.12"))
    paper.after(hours=2)
    fill = paper.fill()
    assert fill is not None and (fill.average_price, fill.fee) == (95, D("0.114"))
    assert paper.exchange.balance().total == 10_000 - 10 - D("0.234")


def test_nothing_is_liquidated_without_leverage() -> None:
    paper = Paper(QUIET)
    paper.enter()
    assert paper.exchange.position(A).liquidation_price is not None
    paper = Paper(QUIET)
    paper.exchange.market_order("entry", A, 1, D(2), reduce_only=False)
    assert paper.exchange.position(A).liquidation_price is None


def test_positions_of_all_symbols_share_the_free_balance() -> None:
    paper = Paper(QUIET, QUIET)
    paper.enter(quantity="300")  # 30,000 USD: 6,000 of margin
    with pytest.raises(InsufficientMarginError):
        paper.enter(quantity="201", name="b", symbol=B)
    paper.enter(quantity="200", name="b", symbol=B)
    assert paper.exchange.balance().free == 0
