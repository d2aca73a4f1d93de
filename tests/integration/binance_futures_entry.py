"""An entry at the loopback's Binance."""

from __future__ import annotations

from decimal import Decimal

from store.exchange import Exchange

BTC = "BTCUSDT"
D = Decimal


def enter(exchange: Exchange, side: int = 1, quantity: str = "0.02") -> None:
    exchange.market_order("entry", BTC, side, D(quantity), reduce_only=False)
