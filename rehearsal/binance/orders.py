"""Orders, stops and fills as Binance futures tell of them when they are new."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

Row = dict[str, Any]


def order_row(
    order_id: int,
    symbol: str,
    side: str,
    quantity: Decimal,
    client_id: str,
    reduce_only: bool,
    now: int,
) -> Row:
    """A market order of which nothing is filled."""
    return {
        "orderId": order_id,
        "symbol": symbol,
        "status": "NEW",
        "clientOrderId": client_id,
        "price": "0.00",
        "avgPrice": "0.00",
        "origQty": str(quantity),
        "executedQty": "0",
        "cumQuote": "0",
        "timeInForce": "GTC",
        "type": "MARKET",
        "reduceOnly": reduce_only,
        "closePosition": False,
        "side": side,
        "positionSide": "BOTH",
        "stopPrice": "0",
        "workingType": "CONTRACT_PRICE",
        "origType": "MARKET",
        "time": now,
        "updateTime": now,
    }


def stop_row(algo_id: int, asked: dict[str, str], now: int) -> Row:
    """A conditional order that waits."""
    return {
        "algoId": algo_id,
        "clientAlgoId": asked["clientAlgoId"],
        "algoType": "CONDITIONAL",
        "orderType": asked["type"],
        "symbol": asked["symbol"],
        "side": asked["side"],
        "positionSide": "BOTH",
        "timeInForce": "GTC",
        "quantity": asked["quantity"],
        "algoStatus": "NEW",
        "actualOrderId": "",
        "actualPrice": "0.00000",
        "triggerPrice": asked["triggerPrice"],
        "price": "0.00",
        "workingType": asked.get("workingType", "CONTRACT_PRICE"),
        "closePosition": False,
        "priceProtect": False,
        "reduceOnly": asked.get("reduceOnly") == "true",
        "createTime": now,
        "updateTime": now,
        "triggerTime": 0,
    }


def trade_row(
    trade_id: int, order: Row, price: Decimal, quantity: Decimal, realised: Decimal, now: int
) -> Row:
    """A fill, without its fee."""
    return {
        "id": trade_id,
        "orderId": order["orderId"],
        "symbol": order["symbol"],
        "side": order["side"],
        "positionSide": "BOTH",
        "price": str(price),
        "qty": str(quantity),
        "quoteQty": str(quantity * price),
        "realizedPnl": str(realised),
        "maker": False,
        "buyer": order["side"] == "BUY",
        "time": now,
    }
