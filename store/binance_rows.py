"""Binance futures' answers in our types.

Binance writes numbers as text, and ccxt makes text of the few that are not: nothing here has
been a float. An answer of another form raises what ``store.binance_errors.understood`` catches.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal

from store.exchange import (
    Balance,
    ExchangeFill,
    ExchangePosition,
    Income,
    OrderState,
    OrderStatus,
    StopOrder,
    StopStatus,
)
from strategy.errors import ConfigError
from strategy.sizing import MarketFilters

Row = dict[str, Any]

STOP_TYPE = "STOP_MARKET"
ISOLATED = "ISOLATED"
_ONE_WAY = "BOTH"
_STOP_STATUS = {
    "NEW": StopStatus.WAITING,
    "TRIGGERING": StopStatus.TRIGGERED,
    "TRIGGERED": StopStatus.TRIGGERED,
    "FINISHED": StopStatus.TRIGGERED,
    "CANCELED": StopStatus.CANCELED,
    "REJECTED": StopStatus.REJECTED,
    "EXPIRED": StopStatus.EXPIRED,
}
_EQUITY_ASSET = "USDT"
_INCOME: dict[str, Literal["funding", "transfer"]] = {
    "FUNDING_FEE": "funding",
    "TRANSFER": "transfer",
    "INTERNAL_TRANSFER": "transfer",
    "STRATEGY_UMFUTURES_TRANSFER": "transfer",
    "COIN_SWAP_DEPOSIT": "transfer",  # another asset of the futures wallet became USDT
    "COIN_SWAP_WITHDRAW": "transfer",
    "AUTO_EXCHANGE": "transfer",
    "WELCOME_BONUS": "transfer",
}


def market_filters(row: Row) -> MarketFilters:
    """Filters of an entry of exchangeInfo: the stricter of those for limit and market orders."""
    filters = {entry["filterType"]: entry for entry in row["filters"]}
    lots = [filters["LOT_SIZE"], filters.get("MARKET_LOT_SIZE", filters["LOT_SIZE"])]
    return MarketFilters(
        tick_size=Decimal(filters["PRICE_FILTER"]["tickSize"]),
        step_size=max(Decimal(lot["stepSize"]) for lot in lots),
        min_quantity=max(Decimal(lot["minQty"]) for lot in lots),
        max_quantity=min(Decimal(lot["maxQty"]) for lot in lots),
        min_notional=Decimal(filters["MIN_NOTIONAL"]["notional"]),
    )


def balance(row: Row) -> Balance:
    return Balance(
        total=Decimal(row["totalMarginBalance"]),
        free=Decimal(row["availableBalance"]),
    )


def income(answer: list[Row]) -> list[Income]:
    """Funding and transfers among the entries of an account's flow of money.

    Only USDT counts: an account in Single-Asset mode, as isolated margin needs it, has no other
    asset in its equity (``totalMarginBalance``), so that BNB sent for fees changes nothing.
    """
    return [
        Income(
            kind=_INCOME[row["incomeType"]],
            symbol=row["symbol"] or None,
            amount=Decimal(row["income"]),
            time=moment(row["time"]),
            id=f"{row['incomeType']}/{row['tranId']}",  # unique within its type
        )
        for row in answer
        if row["incomeType"] in _INCOME and row["asset"] == _EQUITY_ASSET
    ]


def held(answer: list[Row]) -> list[Row]:
    """The entries of an answer of positions that are open positions in one-way mode."""
    rows = [row for row in answer if Decimal(row["positionAmt"]) != 0]
    for row in rows:
        if row["positionSide"] != _ONE_WAY:
            raise ConfigError(
                f"the account is in hedge mode and has a {row['positionSide']} position in "
                f"{row['symbol']}: close it, then one-way mode can be set"
            )
    return rows


def position(row: Row, config: Row) -> ExchangePosition:
    """A position, of its entry in the positions and of its symbol's margin settings."""
    amount, liquidation = Decimal(row["positionAmt"]), Decimal(row["liquidationPrice"])
    return ExchangePosition(
        symbol=row["symbol"],
        side=1 if amount > 0 else -1,
        quantity=abs(amount),
        entry_price=Decimal(row["entryPrice"]),
        leverage=int(config["leverage"]),
        liquidation_price=liquidation if liquidation > 0 else None,
        isolated=config["marginType"] == ISOLATED,
        margin=Decimal(row["isolatedMargin"]),
    )


def order_state(row: Row, fee: Decimal | None) -> OrderState:
    filled = Decimal(row["executedQty"])
    status = "EXPIRED" if row["status"] == "EXPIRED_IN_MATCH" else row["status"]
    return OrderState(
        client_order_id=row["clientOrderId"],
        number=str(row["orderId"]),
        symbol=row["symbol"],
        side=_side(row["side"]),
        status=OrderStatus(status.lower()),
        quantity=Decimal(row["origQty"]),
        filled=filled,
        average_price=Decimal(row["avgPrice"]) if filled else None,
        fee=fee,
        time=moment(row["updateTime"]),
    )


def fills(answer: list[Row], dollars: Mapping[str, Decimal | None]) -> list[ExchangeFill]:
    """Fills in order of time; fees by the price of each asset that they were paid in."""
    ordered = sorted(answer, key=lambda row: (int(row["time"]), int(row["id"])))
    return [_fill(row, dollars[row["commissionAsset"]]) for row in ordered]


def _fill(row: Row, worth: Decimal | None) -> ExchangeFill:
    return ExchangeFill(
        order_number=str(row["orderId"]),
        symbol=row["symbol"],
        side=_side(row["side"]),
        quantity=Decimal(row["qty"]),
        price=Decimal(row["price"]),
        fee=None if worth is None else Decimal(row["commission"]) * worth,
        time=moment(row["time"]),
    )


def stop_order(row: Row, order: OrderState | None) -> StopOrder:
    return StopOrder(
        client_order_id=row["clientAlgoId"],
        symbol=row["symbol"],
        side=_side(row["side"]),
        quantity=Decimal(row["quantity"]),
        stop_price=Decimal(row["triggerPrice"]),
        reduce_only=row["reduceOnly"],
        status=_STOP_STATUS[row["algoStatus"]],
        order=order,
        time=moment(row["updateTime"]),
    )


def side_name(side: int) -> str:
    return "BUY" if side > 0 else "SELL"


def _side(name: str) -> int:
    return {"BUY": 1, "SELL": -1}[name]


def moment(milliseconds: int | str) -> datetime:
    return datetime.fromtimestamp(int(milliseconds) / 1000, UTC)
