"""The journal: what is written once stays, and comes back as it was."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from serving.journal import InterventionRecord, Journal, TradeRecord
from strategy.errors import DataError
from tests.memory_state import MemoryState

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def trade(**changes: Any) -> TradeRecord:
    values: dict[str, Any] = {
        "strategy_id": "BTCUSDT-1h-c0ffee",
        "model": "BTCUSDT-1h",
        "version": 1,
        "book": "paper",
        "position_id": "0123456789ab-2603011200",
        "asset": "BTCUSDT",
        "timeframe": "1h",
        "side": 1,
        "decision_time": NOON,
        "entry_time": NOON,
        "exit_time": NOON + timedelta(hours=3),
        "entry_price": 100.0,
        "exit_price": 103.0,
        "risk": 1.5,
        "quantity": Decimal("2.5"),
        "reason": "trailing_stop",
        "fees": Decimal("0.30"),
        "funding": Decimal("0.02"),
        "r": 1.9,
    }
    return TradeRecord(**(values | changes))


def test_a_trade_comes_back_as_it_was() -> None:
    journal = Journal(MemoryState())
    assert journal.add_trade(trade())
    assert journal.trades("BTCUSDT-1h-c0ffee", "paper") == [trade()]


def test_the_first_record_of_a_decision_counts() -> None:
    journal = Journal(MemoryState())
    assert journal.add_trade(trade())
    assert not journal.add_trade(trade(r=7.0))
    assert [each.r for each in journal.trades("BTCUSDT-1h-c0ffee", "paper")] == [1.9]


def test_trades_come_in_order_of_their_decisions_and_by_book() -> None:
    journal = Journal(MemoryState())
    later = trade(decision_time=NOON + timedelta(days=30))
    for each in (later, trade(), trade(book="live")):
        journal.add_trade(each)
    assert journal.trades("BTCUSDT-1h-c0ffee", "paper") == [trade(), later]
    assert journal.trades("BTCUSDT-1h-c0ffee", "live") == [trade(book="live")]
    assert journal.trades("another", "paper") == []


def test_profit_is_the_move_less_fees_and_funding_whatever_the_side() -> None:
    assert trade().profit == Decimal("7.18")  # 3 x 2.5 - 0.30 - 0.02
    assert trade(side=-1).profit == Decimal("-7.82")


def test_interventions_of_one_moment_stand_side_by_side() -> None:
    journal = Journal(MemoryState())
    refused = InterventionRecord(
        strategy_id="s", book="live", time=NOON, kind="refuse", price=None, why="busy"
    )
    closed = InterventionRecord(
        strategy_id="s", book="live", time=NOON, kind="close", price=99.5, why="by hand"
    )
    for each in (refused, closed, refused):
        journal.add_intervention(each)
    assert journal.interventions("s", "live") == [closed, refused]


def test_a_record_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="timezone"):
        trade(decision_time=datetime(2026, 3, 1, 12))  # noqa: DTZ001


def test_a_damaged_record_is_named() -> None:
    state = MemoryState()
    state.put("trades/s", "paper/2026", {"r": "much"}, expected=0)
    with pytest.raises(DataError, match="paper/2026"):
        Journal(state).trades("s", "paper")
