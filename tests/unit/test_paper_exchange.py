"""Virtual money on hand-written candles; every fill, fee and funding worked out by hand.

Unless it says otherwise a long of 2 is opened at 100, at the open of the first hour, with a
leverage of 5 and its stop at 95.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pandas as pd
import pytest

from store.exchange import (
    InsufficientMarginError,
    OrderState,
    StopStatus,
)
from store.market import Candle, ReplayMarket
from store.paper_exchange import PARTITION, PaperExchange
from store.state import Item
from strategy.config import Costs
from strategy.errors import ConflictError, RetryError
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


# Funding: 0.001 of the notional, at 00, 08 and 16 UTC


def funded(table: str, hour: int = 7, length: str = "1h") -> Paper:
    """From shortly before a funding time on."""
    return Paper(table, costs=FUNDED, start=START.replace(hour=hour), length=length)


def paid(paper: Paper) -> list[tuple[int, Decimal]]:
    """Hours of the day, and amounts, of what was paid."""
    income = paper.exchange.income(START - timedelta(days=1))
    return [(row.time.hour, -row.amount) for row in income]


def test_a_long_pays_at_the_open_of_the_funding_time() -> None:
    paper = funded(QUIET + "110 111 109 110\n" + "120 121 119 120\n")
    paper.enter()
    paper.after(hours=2)
    assert paid(paper) == [(8, D("0.22"))]


def test_a_short_pays_and_receives_nothing() -> None:
    paper = funded(QUIET * 3)
    paper.enter(-1)
    paper.after(hours=2)
    assert paid(paper) == []
    assert paper.exchange.balance().total == 10_000


def test_a_position_opened_at_the_funding_time_does_not_pay() -> None:
    paper = funded(QUIET * 12, hour=8)
    paper.enter()
    paper.after(hours=8)
    assert paid(paper) == []
    paper.after(hours=1)
    assert paid(paper) == [(16, D("0.2"))], "when the candle that begins then has closed"


def test_a_position_closed_at_the_funding_time_pays() -> None:
    paper = funded(QUIET * 3)
    paper.enter()
    paper.after(hours=1)
    paper.leave()
    assert paid(paper) == [(8, D("0.2"))]


@pytest.mark.parametrize("hours", [1, 2])
def test_funding_is_paid_before_a_gap_exit_at_the_same_open(hours: int) -> None:
    paper = funded(QUIET + "90 91 89 90\n" + QUIET).protected()
    paper.after(hours=hours)
    assert paper.fill_price() == 90
    assert paid(paper) == [(8, D("0.18"))]


def test_what_is_added_at_the_funding_time_does_not_pay_but_what_was_held_does() -> None:
    paper = funded(QUIET * 3)
    paper.enter()
    paper.after(hours=1)
    paper.enter(name="more")
    paper.after(hours=2)
    assert paid(paper) == [(8, D("0.2"))]


def test_what_was_stopped_out_before_the_funding_time_does_not_pay() -> None:
    paper = funded("100 101 90 100\n" + QUIET).protected()
    paper.after(hours=1)
    assert paper.fill_price() == 95
    assert paid(paper) == []


def test_it_is_paid_once_however_often_it_is_looked_at() -> None:
    paper = funded(QUIET * 20)
    paper.enter()
    for _ in range(200):
        paper.after(minutes=5)
        paper.exchange.balance()
        paper.exchange = paper.process()
    assert paid(paper) == [(8, D("0.2")), (16, D("0.2"))]


def test_every_symbol_pays_its_own() -> None:
    paper = Paper(QUIET * 12, QUIET * 12, costs=FUNDED, start=START.replace(hour=7))
    paper.enter()
    paper.enter(quantity="3", name="b", symbol=B)
    paper.after(hours=10)
    told = [(row.time.hour, row.symbol, row.amount) for row in paper.exchange.income(START)]
    assert told == [(16, A, D("-0.2")), (16, B, D("-0.3"))]
    assert paper.exchange.balance().total == 10_000 - 2 * D("0.5")


@pytest.mark.parametrize("looks", [True, False])
def test_where_the_candle_of_the_funding_time_is_missing_the_next_open_counts(looks: bool) -> None:
    paper = funded(QUIET + "...\n" + "120 121 119 120\n" + QUIET)
    paper.enter()
    for _ in range(36):
        paper.after(minutes=5)
        if looks:
            paper.exchange.balance()
    assert paid(paper) == [(8, D("0.24"))]


@pytest.mark.parametrize("looks", [True, False])
def test_inside_a_candle_of_half_a_day_it_is_paid_at_its_open(looks: bool) -> None:
    """As strategy.costs lays it on bars: a stop in the candle does not spare it."""
    start = START.replace(hour=0)
    paper = Paper(QUIET + "100 101 90 100\n" + QUIET, costs=FUNDED, start=start, length="12h")
    paper.protected()
    for _ in range(24):
        paper.after(hours=1)
        if looks:
            paper.exchange.balance()
    assert paper.fill_price() == 95
    assert paid(paper) == [(8, D("0.2")), (16, D("0.2"))]
    fill = paper.fill()
    assert fill is not None and fill.time == start + timedelta(hours=16), "not before it paid"


def test_what_was_paid_in_a_trade_of_weeks_is_told_when_it_has_ended() -> None:
    paper = Paper(QUIET * 24 * 20 + "100 101 90 100\n" + QUIET * 24 * 9, costs=FUNDED)
    paper.protected()
    paper.after(days=20, hours=1)
    assert paper.fill_price() == 95
    assert len(paper.exchange.income(START)) == 60
    paper.after(days=8)
    paper.enter(name="next")
    assert paper.exchange.income(START) == [], "and forgotten a week later"


# Between two calls, and between two processes


def test_an_outage_changes_nothing() -> None:
    table = QUIET * 30 + "100 101 90 98\n" + "80 120 80 100\n" * 30
    watched, alone = (Paper(table, costs=FUNDED).protected() for _ in range(2))
    for _ in range(60):
        watched.after(hours=1)
        watched.exchange.balance()
    alone.after(hours=60)
    assert alone.fill() == watched.fill()
    assert alone.fill_price() == 95
    assert alone.exchange.income(START) == watched.exchange.income(START) != []
    assert alone.exchange.balance() == watched.exchange.balance()


def test_after_an_outage_of_weeks_it_still_tells_what_became_of_a_position() -> None:
    table = QUIET * 24 * 10 + "100 101 90 100\n" + QUIET * 24 * 40
    paper = Paper(table, costs=FUNDED).protected()
    paper.after(days=30)
    fill = paper.fill()
    assert fill is not None and fill.time == START + timedelta(days=10)
    paper.enter(name="next")
    assert paper.fill() == fill, "as long as if it had happened now"
    assert len(paper.exchange.income(START)) == 30
    paper.after(days=8)
    paper.enter(name="another")
    assert paper.exchange.stop(A, "stop") is None
    assert paper.exchange.order(A, "entry") is None
    assert paper.exchange.order(A, "another") is not None


def test_what_an_open_position_paid_is_told_however_long_ago_another_was_closed() -> None:
    paper = Paper(QUIET * 24 * 30, QUIET * 24 * 30, costs=FUNDED)
    paper.enter()
    paper.enter(name="b", symbol=B)
    paper.after(days=5)
    paper.leave()
    paper.after(days=10)
    paper.enter(name="again")
    told = [row.symbol for row in paper.exchange.income(START)]
    assert told == [B] * 45


def test_what_was_told_stands_even_if_a_candle_is_revised() -> None:
    paper = Paper(QUIET + "100 101 90 100\n" + QUIET).protected()
    paper.after(hours=2)
    assert paper.fill_price() == 95
    paper.market.frames[A, "1h"].loc[:, "low"] = 99.0
    paper.market = ReplayMarket(paper.frames, paper.clock)
    paper.exchange = paper.process()
    assert paper.fill_price() == 95


def test_a_stop_that_rests_is_never_forgotten() -> None:
    paper = Paper(QUIET * 24 * 30).protected()
    paper.after(days=20)
    paper.enter(name="more")
    assert [stop.client_order_id for stop in paper.exchange.stops(A)] == ["stop"]


def test_a_new_process_sees_the_same_account() -> None:
    paper = Paper(QUIET * 9 + "100 101 90 100\n" + QUIET, costs=FUNDED).protected()
    paper.after(hours=8)
    paper.stop("96", name="second")
    for hours in (0, 3):
        paper.after(hours=hours)
        before, after = paper.exchange, paper.process(capital=777)
        assert after.balance() == before.balance()
        assert after.positions() == before.positions()
        assert after.stops(A) == before.stops(A)
        assert after.stop(A, "second") == before.stop(A, "second")
        assert after.order(A, "entry") == before.order(A, "entry")
        assert after.income(START) == before.income(START) != []
    assert paper.fill_price("second") == 96


def test_accounts_of_other_names_are_other_accounts() -> None:
    paper = Paper(QUIET).protected()
    other = PaperExchange(paper.state, "b", paper.market, FREE, D(500), paper.clock)
    assert other.balance().total == 500
    assert other.positions() == []


def test_of_two_processes_the_second_to_write_is_told_and_has_done_nothing() -> None:
    paper = Paper(QUIET * 3)
    first, second = paper.exchange, paper.process()
    assert first.positions() == second.positions() == []
    first.market_order("first", A, 1, D(2), reduce_only=False)
    with pytest.raises(ConflictError):
        second.market_order("second", A, 1, D(3), reduce_only=False)
    assert second.order(A, "second") is None
    assert second.position(A).quantity == 2
    second.market_order("second", A, 1, D(3), reduce_only=False)
    with pytest.raises(ConflictError):
        first.place_stop("stop", A, -1, D(2), D(95))
    assert first.stops(A) == []
    assert first.position(A).quantity == 5


def test_a_stop_that_two_processes_work_in_is_filled_once() -> None:
    paper = Paper(QUIET + "100 101 90 100\n" + QUIET, costs=FUNDED).protected()
    other = paper.process()
    assert other.positions() == paper.exchange.positions()
    paper.after(hours=2)
    assert paper.exchange.balance().total == 9990
    assert other.balance().total == 9990


class Silent(MemoryState):
    """A state table that does not take what is written to it while ``silent``."""

    silent = False
    reads = 0

    def get(self, partition: str, key: str) -> Item | None:
        self.reads += 1
        return super().get(partition, key)

    def put(self, *arguments: object, **named: object) -> Item:
        if self.silent:
            raise RetryError("no answer")
        return super().put(*arguments, **named)  # type: ignore[arg-type]


def test_what_the_state_table_did_not_take_did_not_happen() -> None:
    paper = Paper(QUIET * 3)
    paper.state = Silent()
    paper.exchange = paper.process()
    paper.protected()
    paper.state.silent = True
    for attempt in (
        lambda: paper.enter(name="more"),
        lambda: paper.leave(),
        lambda: paper.stop("96", name="tighter"),
        lambda: paper.exchange.cancel_stop(A, "stop"),
        lambda: paper.exchange.prepare(A, 9),
    ):
        with pytest.raises(RetryError):
            attempt()
    paper.state.silent = False
    assert paper.exchange.position(A).quantity == 2
    assert [stop.client_order_id for stop in paper.exchange.stops(A)] == ["stop"]
    assert paper.exchange.order(A, "more") is None
    assert paper.exchange.balance().margin_in_use == 40


class Asked:
    """A market that remembers for what it was asked, and does not answer for some symbols."""

    def __init__(self, market: ReplayMarket, *silent: str) -> None:
        self.market, self.silent = market, silent
        self.candles: list[Candle] = []

    def since(self, asset: str, moment: datetime) -> list[Candle]:
        if asset in self.silent:
            raise RetryError("no answer")
        found = self.market.since(asset, moment)
        self.candles += found
        return found

    def price(self, asset: str) -> Decimal:
        return self.market.price(asset)


def test_while_the_market_does_not_answer_nothing_is_half_worked_in() -> None:
    paper = Paper(QUIET + "100 101 90 100\n" + QUIET, QUIET * 3).protected()
    paper.enter(name="b", symbol=B)
    paper.exchange.market = Asked(paper.market, B)  # type: ignore[assignment]
    paper.after(hours=2)
    written = paper.state.get(PARTITION, "a")
    for _ in range(2):
        with pytest.raises(RetryError):
            paper.exchange.balance()
    assert paper.state.get(PARTITION, "a") == written
    paper.exchange.market = paper.market
    assert paper.exchange.balance().total == 9990
    assert paper.state.get(PARTITION, "a") != written


def test_a_candle_is_asked_for_once() -> None:
    paper = Paper(QUIET * 10).protected()
    paper.exchange.market = asked = Asked(paper.market)  # type: ignore[assignment]
    for _ in range(20):
        paper.after(minutes=30)
        paper.exchange.balance()
    assert len(asked.candles) == 10


def test_within_a_second_nothing_is_read_again_and_after_it_everything() -> None:
    paper = Paper(QUIET * 3)
    paper.state = Silent()
    paper.exchange = paper.process()
    paper.protected()
    paper.after(minutes=5)
    before = paper.state.reads
    for _ in range(9):
        paper.clock.forward(milliseconds=100)
        paper.exchange.balance()
        paper.exchange.stops(A)
    assert paper.state.reads == before + 1
    paper.after(seconds=1)
    paper.exchange.balance()
    assert paper.state.reads == before + 2


def test_a_tick_in_which_nothing_happens_writes_nothing() -> None:
    paper = Paper(QUIET * 3).protected()
    before = paper.state.get(PARTITION, "a")
    paper.after(hours=2)
    paper.exchange.balance()
    assert paper.state.get(PARTITION, "a") == before
