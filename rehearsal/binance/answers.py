"""How Binance futures tell of an account, its positions, settings and contracts."""

from __future__ import annotations

from decimal import Decimal

from rehearsal.binance.account import Contract, FuturesAccount
from rehearsal.binance.orders import Row


def balances_row(account: FuturesAccount) -> Row:
    used = account.wallet - account.available
    return {
        "totalInitialMargin": str(used),
        "totalWalletBalance": str(account.wallet),
        "totalUnrealizedProfit": str(account.equity - account.wallet),
        "totalMarginBalance": str(account.equity),
        "availableBalance": str(account.available),
        "maxWithdrawAmount": str(account.available),
        "assets": [],
        "positions": [],
    }


def position_row(account: FuturesAccount, symbol: str) -> Row:
    holding = account.holdings[symbol]
    profit = holding.profit(account.prices[symbol])
    side = 1 if holding.amount > 0 else -1
    room = Decimal(1) / holding.leverage - Decimal("0.004")
    liquidation = holding.entry * (1 - side * room)
    return {
        "symbol": symbol,
        "positionSide": "BOTH",
        "positionAmt": str(holding.amount),
        "entryPrice": str(holding.entry),
        "markPrice": str(account.prices[symbol]),
        "unRealizedProfit": str(profit),
        "liquidationPrice": str(liquidation) if holding.isolated else "0",
        "isolatedMargin": str(holding.margin + profit) if holding.isolated else "0",
        "isolatedWallet": str(holding.margin) if holding.isolated else "0",
        "notional": str(holding.amount * account.prices[symbol]),
        "marginAsset": "USDT",
        "initialMargin": str(holding.margin),
        "updateTime": account.now,
    }


def settings_row(account: FuturesAccount, symbol: str) -> Row:
    holding = account.holding(symbol)
    return {
        "symbol": symbol,
        "marginType": "ISOLATED" if holding.isolated else "CROSSED",
        "isAutoAddMargin": False,
        "leverage": holding.leverage,
        "maxNotionalValue": "1000000",
    }


def contract_row(contract: Contract) -> Row:
    """An entry of exchangeInfo, as Binance's documentation shows it, in what ccxt reads."""
    lot = {"minQty": str(contract.step), "stepSize": str(contract.step)}
    return {
        "symbol": contract.symbol,
        "pair": contract.symbol,
        "contractType": "PERPETUAL",
        "deliveryDate": 4133404800000,
        "onboardDate": 1569398400000,
        "status": "TRADING",
        "baseAsset": contract.symbol.removesuffix("USDT"),
        "quoteAsset": "USDT",
        "marginAsset": "USDT",
        "pricePrecision": 2,
        "quantityPrecision": 3,
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": "COIN",
        "filters": [
            {
                "filterType": "PRICE_FILTER",
                "minPrice": str(contract.tick),
                "maxPrice": "4529764",
                "tickSize": str(contract.tick),
            },
            {"filterType": "LOT_SIZE", "maxQty": str(contract.max_quantity * 10), **lot},
            {"filterType": "MARKET_LOT_SIZE", "maxQty": str(contract.max_quantity), **lot},
            {"filterType": "MIN_NOTIONAL", "notional": str(contract.min_notional)},
        ],
        "orderTypes": ["LIMIT", "MARKET", "STOP", "STOP_MARKET"],
        "timeInForce": ["GTC", "IOC", "FOK", "GTX"],
    }
