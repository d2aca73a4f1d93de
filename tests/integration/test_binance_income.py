"""Funding, transfers and what else is income: the real ccxt client against the loopback."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from rehearsal.binance.account import FuturesAccount
from rehearsal.binance.faults import RESET, Fault
from rehearsal.binance.futures import INCOME, FuturesServer
from rehearsal.binance.income import income_row
from store.exchange import Exchange, Income
from strategy.errors import RetryError
from tests.integration.binance_futures_entry import BTC, enter

D = Decimal
START = datetime(2024, 1, 1, tzinfo=UTC)
HOUR_MS = 3_600_000


def test_funding_and_transfers_are_told_in_order_of_time_and_nothing_else(
    exchange: Exchange, account: FuturesAccount
) -> None:
    account.transfer(D(500))
    enter(exchange)
    account.funding_rate = D("0.0001")
    account.advance(account.now + 16 * HOUR_MS)
    account.transfer(D(-200))
    exchange.market_order("exit", BTC, -1, D("0.02"), reduce_only=True)
    told = exchange.income(START)
    assert [(income.kind, income.symbol, income.amount, income.time) for income in told] == [
        ("transfer", None, D(500), START),
        ("funding", BTC, D("-0.1"), START + timedelta(hours=8)),
        ("funding", BTC, D("-0.1"), START + timedelta(hours=16)),
        ("transfer", None, D(-200), START + timedelta(hours=16)),
    ]
    assert len({income.id for income in told}) == 4
    assert exchange.income(START) == told, "and the same again"
    flow = sum((income.amount for income in told), D(0))
    assert exchange.balance().total == D(10_000) + flow - D("1.0"), "the rest are two fees"


def test_a_short_position_receives_positive_funding(
    exchange: Exchange, account: FuturesAccount
) -> None:
    enter(exchange, side=-1)
    account.funding_rate = D("0.0001")
    account.advance(account.now + 8 * HOUR_MS)
    (funding,) = exchange.income(START)
    assert funding.amount == D("0.1")


def test_income_begins_with_the_moment_that_is_asked_for(
    exchange: Exchange, account: FuturesAccount
) -> None:
    account.transfer(D(1))
    account.advance(account.now + 1)
    account.transfer(D(2))
    account.advance(account.now + 30 * 24 * HOUR_MS)
    later = START + timedelta(milliseconds=1)
    assert [income.amount for income in exchange.income(later)] == [2]
    between = START + timedelta(microseconds=1)
    assert [income.amount for income in exchange.income(between)] == [2]
    assert exchange.income(later + timedelta(milliseconds=1)) == []


def test_income_beyond_a_page_is_read(
    exchange: Exchange, account: FuturesAccount, server: FuturesServer
) -> None:
    for _ in range(500):
        account.transfer(D(1))
        account.transfer(D(-1), asset="BNB")  # fills pages, and is not told of
    assert len(exchange.income(START)) == 500
    account.advance(account.now + 1)
    account.transfer(D(7))
    told = exchange.income(START)
    assert (len(told), told[-1].amount) == (501, 7)
    assert [asked["page"] for asked in server.asked(INCOME)] == ["1", "2", "1", "2"]


def test_a_transfer_of_another_asset_than_the_equity_s_is_not_income(
    exchange: Exchange, account: FuturesAccount
) -> None:
    before = exchange.balance()
    account.transfer(D(3), asset="BNB")
    assert exchange.income(START) == []
    assert exchange.balance() == before


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("FUNDING_FEE", "funding"),
        ("TRANSFER", "transfer"),
        ("INTERNAL_TRANSFER", "transfer"),
        ("COIN_SWAP_DEPOSIT", "transfer"),
        ("COIN_SWAP_WITHDRAW", "transfer"),
        ("REALIZED_PNL", None),
        ("COMMISSION", None),
        ("INSURANCE_CLEAR", None),
    ],
)
def test_what_a_trade_did_not_bring_is_income(
    exchange: Exchange, account: FuturesAccount, kind: str, told: str | None
) -> None:
    account.income.append(income_row(77, kind, D("1.5"), "", "USDT", account.now))
    expected = [Income(told, None, D("1.5"), START, f"{kind}/77")] if told else []
    assert exchange.income(START) == expected


def test_income_is_asked_for_until_it_is_answered(
    exchange: Exchange, server: FuturesServer
) -> None:
    server.account.transfer(D(500))
    server.fail(INCOME, RESET)
    assert [income.amount for income in exchange.income(START)] == [500]


def test_income_of_a_form_that_is_not_known_is_not_told(
    exchange: Exchange, server: FuturesServer
) -> None:
    server.fail(INCOME, Fault(status=200, body='[{"incomeType": "TRANSFER", "asset": "USDT"}]'))
    with pytest.raises(RetryError, match="income since 2024-01-01 00:00:00"):
        exchange.income(START)
