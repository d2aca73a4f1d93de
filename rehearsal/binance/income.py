"""The flow of money of a futures account, as Binance lists it."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from decimal import Decimal

from rehearsal.binance.orders import Row

_DAY_MS = 86_400_000


def income_row(
    transaction: int, kind: str, amount: Decimal, symbol: str, asset: str, now: int
) -> Row:
    return {
        "symbol": symbol,
        "incomeType": kind,
        "income": f"{amount:.8f}",
        "asset": asset,
        "info": kind,
        "time": now,
        "tranId": transaction,
        "tradeId": "",
    }


def income_page(rows: list[Row], asked: dict[str, str], now: int) -> list[Row]:
    """A page of what has not been forgotten; of the last 7 days where no time is asked for.

    Rows are in order of time, as they came.
    """
    bounded = "startTime" in asked or "endTime" in asked
    start = int(asked.get("startTime", 0)) if bounded else now - 7 * _DAY_MS
    start = max(start, now - 90 * _DAY_MS)
    end = int(asked.get("endTime", now))
    span = rows[bisect_left(rows, start, key=_time) : bisect_right(rows, end, key=_time)]
    found = [row for row in span if asked.get("incomeType") in (None, row["incomeType"])]
    limit = min(int(asked.get("limit", 100)), 1000)
    first = (int(asked.get("page", 1)) - 1) * limit
    return found[first : first + limit]


def _time(row: Row) -> int:
    return int(row["time"])
