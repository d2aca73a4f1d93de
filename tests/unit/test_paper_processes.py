"""A paper account between two calls, and between two processes: what is kept, and read again.

Unless it says otherwise a long of 2 is opened at 100, at the open of the first hour, with a
leverage of 5 and its stop at 95.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from store.market import Candle, ReplayMarket
from store.paper_exchange import PARTITION, PaperExchange
from store.state import Item
from strategy.errors import ConflictError, RetryError
from tests.candle_tables import FREE
from tests.memory_state import MemoryState
from tests.paper_tables import FUNDED, QUIET, START, A, B, D, Paper


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
