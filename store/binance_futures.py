"""Binance USDT-M futures with real orders, through ccxt.

Of ccxt come signing, rate limits, addresses and the table of endpoints, through its implicit
methods. Its unified ones would round prices and quantities by themselves, answer in floats, and
may load all markets in the middle of placing an order.

Stops are conditional orders of Binance's Algo service, where they moved on 2025-12-09 (-4120 at
the old place). They are reduce-only with a quantity and not ``closePosition``, of which Binance
lets only one rest (-4130): the new stop must rest before the old one goes.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count

import ccxt

from store import binance_rows as rows
from store.backoff import Backoff
from store.binance_errors import AlreadySetError, understood
from store.binance_requests import Requests
from store.binance_rows import Row
from store.clock import Clock, utc_now
from store.exchange import (
    Balance,
    ExchangeFill,
    ExchangePosition,
    Income,
    OrderState,
    StopOrder,
    StopStatus,
    UnknownOrderError,
    checked_client_order_id,
)
from strategy.errors import ConfigError
from strategy.sizing import MarketFilters

_RECEIVE_WINDOW_MS = 5000
_TIMEOUT_MS = 10_000
_FILTERS_LAST = timedelta(hours=1)
_PAGE = 1000  # the most that Binance gives
_FILLS_WINDOW_MS = 7 * 24 * 3_600_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def connect_futures(api_key: str, api_secret: str, environment: str = "live") -> ccxt.binanceusdm:
    """The ccxt client of an account.

    Parameters
    ----------
    api_key, api_secret
        Of the environment: demo trading has keys of its own.
    environment
        ``live``, or ``demo``: Binance's demo trading, which took the place of its testnet.

    Raises
    ------
    ConfigError
        The key or the secret is empty, or the environment is neither of the two.
    """
    for name, value in (("binance_api_key", api_key), ("binance_api_secret", api_secret)):
        if not value.strip():
            raise ConfigError(f"{name} is empty: live trading needs a key that may trade futures")
    if environment not in ("live", "demo"):
        raise ConfigError(
            f"Binance environment {environment!r} is not known: live, or demo (demo trading took "
            "the place of the futures testnet)"
        )
    for chatty in ("ccxt.base.exchange", "urllib3.connectionpool"):
        logging.getLogger(chatty).setLevel(logging.INFO)  # debug would show keys and signatures
    exchange = ccxt.binanceusdm(
        {
            "apiKey": api_key.strip(),
            "secret": api_secret.strip(),
            "enableRateLimit": True,
            "requests_trust_env": True,
            "timeout": _TIMEOUT_MS,
            "options": {"recvWindow": _RECEIVE_WINDOW_MS},
        }
    )
    if environment == "demo":
        exchange.enable_demo_trading(True)
    return exchange


@dataclass(frozen=True)
class BinanceFutures:
    """An account at Binance USDT-M futures; see :class:`store.exchange.Exchange`.

    Reads, settings and cancellations are repeated where that may help, an order never is. Only
    a request that Binance refused for its timestamp is made again at once, by Binance's clock.

    Parameters
    ----------
    exchange
        The ccxt client (:func:`connect_futures`).
    backoff
        How a read is repeated. Where Binance asks for a longer rest than ``backoff.longest``
        the read fails.
    clock
        Tells how old the filters are that were read last.
    """

    exchange: ccxt.binanceusdm = field(repr=False)
    backoff: Backoff = field(default_factory=lambda: Backoff(attempts=4, first=0.5, longest=10.0))
    clock: Clock = utc_now
    _filters: dict[str, tuple[datetime, MarketFilters]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @property
    def _ask(self) -> Requests:
        return Requests(self.exchange, self.backoff)

    @property
    def lands_within(self) -> timedelta:
        """Binance refuses what arrives later than the receive window after its timestamp.

        A second for the difference of the clocks, which it tolerates, is added.
        """
        return timedelta(milliseconds=_RECEIVE_WINDOW_MS + 1000)

    def server_time(self) -> datetime:
        what = "server time"
        answer = self._ask.repeated(what, self.exchange.fapiPublicGetTime, {})
        with understood(what):
            return rows.moment(answer["serverTime"])

    def filters(self, symbol: str) -> MarketFilters:
        """Read with those of all symbols, and kept for an hour."""
        now = self.clock()
        if symbol not in self._filters or now - self._filters[symbol][0] > _FILTERS_LAST:
            what = f"filters of {symbol}"
            answer = self._ask.repeated(what, self.exchange.fapiPublicGetExchangeInfo, {})
            with understood(what):
                read = {row["symbol"]: row for row in answer["symbols"]}
                if symbol not in read:
                    raise ConfigError(f"{what}: Binance USDT-M futures do not trade this symbol")
                self._filters[symbol] = (now, rows.market_filters(read[symbol]))
        return self._filters[symbol][1]

    def last_price(self, symbol: str) -> Decimal:
        what = f"last price of {symbol}"
        answer = self._ask.repeated(
            what, self.exchange.fapiPublicV2GetTickerPrice, {"symbol": symbol}
        )
        with understood(what):
            return Decimal(answer["price"])

    def balance(self) -> Balance:
        what = "balance"
        answer = self._ask.repeated(what, self.exchange.fapiPrivateV3GetAccount, {})
        with understood(what):
            return rows.balance(answer)

    def positions(self) -> list[ExchangePosition]:
        return self._positions({})

    def position(self, symbol: str) -> ExchangePosition | None:
        found = self._positions({"symbol": symbol})
        return found[0] if found else None

    def income(self, since: datetime) -> list[Income]:
        what = f"income since {since:%Y-%m-%d %H:%M:%S}"
        start = _milliseconds(since)
        found: list[Income] = []
        for page in count(1):
            answer = self._ask.repeated(
                what,
                self.exchange.fapiPrivateGetIncome,
                {"startTime": start, "page": page, "limit": _PAGE},
            )
            with understood(what):
                found += rows.income(answer)
                if len(answer) < _PAGE:
                    break
        return sorted(found, key=lambda income: income.time)

    def fills(self, symbol: str, since: datetime) -> list[ExchangeFill]:
        what = f"fills of {symbol} since {since:%Y-%m-%d %H:%M:%S}"
        begin, end = _milliseconds(since), _milliseconds(self.server_time())
        found: list[ExchangeFill] = []
        for start in range(begin, end + 1, _FILLS_WINDOW_MS):
            found += self._fills_between(
                what, symbol, start, min(start + _FILLS_WINDOW_MS - 1, end)
            )
        return found

    def prepare(self, symbol: str, leverage: int) -> None:
        for what, request, params in (
            (
                "one-way mode",
                self.exchange.fapiPrivatePostPositionSideDual,
                {"dualSidePosition": "false"},
            ),
            (
                f"isolated margin of {symbol}",
                self.exchange.fapiPrivatePostMarginType,
                {"symbol": symbol, "marginType": rows.ISOLATED},
            ),
            (
                f"leverage {leverage} of {symbol}",
                self.exchange.fapiPrivatePostLeverage,
                {"symbol": symbol, "leverage": leverage},
            ),
        ):
            try:
                self._ask.repeated(what, request, params)
            except AlreadySetError:
                continue

    def market_order(
        self,
        client_order_id: str,
        symbol: str,
        side: int,
        quantity: Decimal,
        *,
        reduce_only: bool,
    ) -> OrderState:
        what = f"market order {client_order_id} of {symbol}"
        answer = self._ask.once(
            what,
            self.exchange.fapiPrivatePostOrder,
            {
                "symbol": symbol,
                "side": rows.side_name(side),
                "type": "MARKET",
                "quantity": f"{quantity:f}",
                "reduceOnly": "true" if reduce_only else "false",
                "newClientOrderId": checked_client_order_id(client_order_id),
                "newOrderRespType": "RESULT",
            },
        )
        with understood(what):
            return rows.order_state(answer, fee=None)

    def order(self, symbol: str, client_order_id: str) -> OrderState | None:
        return self._order(
            f"order {client_order_id} of {symbol}",
            {"symbol": symbol, "origClientOrderId": checked_client_order_id(client_order_id)},
        )

    def place_stop(
        self, client_order_id: str, symbol: str, side: int, quantity: Decimal, stop_price: Decimal
    ) -> StopOrder:
        what = f"stop {client_order_id} of {symbol} at {stop_price}"
        answer = self._ask.once(
            what,
            self.exchange.fapiPrivatePostAlgoOrder,
            {
                "algoType": "CONDITIONAL",
                "symbol": symbol,
                "side": rows.side_name(side),
                "type": rows.STOP_TYPE,
                "quantity": f"{quantity:f}",
                "triggerPrice": f"{stop_price:f}",
                "workingType": "CONTRACT_PRICE",  # the last price, as candles are made of
                "reduceOnly": "true",
                "clientAlgoId": checked_client_order_id(client_order_id),
            },
        )
        with understood(what):
            return rows.stop_order(answer, order=None)

    def stops(self, symbol: str) -> list[StopOrder]:
        what = f"stops of {symbol}"
        answer = self._ask.repeated(
            what, self.exchange.fapiPrivateGetOpenAlgoOrders, {"symbol": symbol}
        )
        with understood(what):
            found = [
                rows.stop_order(row, order=None)
                for row in answer
                if row["orderType"] == rows.STOP_TYPE
            ]
        return [stop for stop in found if stop.status is StopStatus.WAITING]

    def stop(self, symbol: str, client_order_id: str) -> StopOrder | None:
        what = f"stop {client_order_id} of {symbol}"
        params = {"clientAlgoId": checked_client_order_id(client_order_id)}
        try:
            answer = self._ask.repeated(what, self.exchange.fapiPrivateGetAlgoOrder, params)
        except UnknownOrderError:
            return None
        with understood(what):
            order_id = answer["actualOrderId"]
        order = None
        if order_id:
            order = self._order(
                f"order that {what} became", {"symbol": symbol, "orderId": order_id}
            )
        with understood(what):
            return rows.stop_order(answer, order)

    def cancel_stop(self, symbol: str, client_order_id: str) -> bool:
        params = {"clientAlgoId": checked_client_order_id(client_order_id)}
        request = self.exchange.fapiPrivateDeleteAlgoOrder
        try:
            self._ask.repeated(f"cancelling stop {client_order_id} of {symbol}", request, params)
        except UnknownOrderError:
            return False
        return True

    def _positions(self, params: Row) -> list[ExchangePosition]:
        what = "positions"
        answer = self._ask.repeated(what, self.exchange.fapiPrivateV3GetPositionRisk, params)
        with understood(what):
            return [
                rows.position(row, self._margin_settings(row["symbol"]))
                for row in rows.held(answer)
            ]

    def _margin_settings(self, symbol: str) -> Row:
        """Leverage and margin type, which Binance no longer tells with a position."""
        what = f"margin settings of {symbol}"
        request = self.exchange.fapiPrivateGetSymbolConfig
        answer = self._ask.repeated(what, request, {"symbol": symbol})
        with understood(what):
            (settings,) = (row for row in answer if row["symbol"] == symbol)
        return dict(settings)

    def _order(self, what: str, params: Row) -> OrderState | None:
        try:
            answer = self._ask.repeated(what, self.exchange.fapiPrivateGetOrder, params)
        except UnknownOrderError:
            return None
        with understood(what):
            filled = Decimal(answer["executedQty"])
            found = {"symbol": answer["symbol"], "orderId": answer["orderId"]}
        fee = self._fee(found, filled) if filled else Decimal(0)
        with understood(what):
            return rows.order_state(answer, fee)

    def _fee(self, order: Row, filled: Decimal) -> Decimal | None:
        """What the fills of an order cost, USD; None while not all of them are listed."""
        fills = self._fills(f"fills of order {order['orderId']} of {order['symbol']}", order)
        fees = [fill.fee for fill in fills if fill.fee is not None]
        if len(fees) < len(fills) or sum(fill.quantity for fill in fills) != filled:
            return None
        return sum(fees, Decimal(0))

    def _fills_between(self, what: str, symbol: str, start: int, end: int) -> list[ExchangeFill]:
        """Those of a span of milliseconds, its end included.

        Of more than a page Binance does not say which ones it gives: halves are asked for.
        """
        found = self._fills(
            what, {"symbol": symbol, "startTime": start, "endTime": end, "limit": _PAGE}
        )
        if len(found) < _PAGE or start == end:
            return found
        middle = (start + end) // 2
        return [
            *self._fills_between(what, symbol, start, middle),
            *self._fills_between(what, symbol, middle + 1, end),
        ]

    def _fills(self, what: str, asked: Row) -> list[ExchangeFill]:
        answer = self._ask.repeated(what, self.exchange.fapiPrivateGetUserTrades, asked)
        with understood(what):
            assets = sorted({row["commissionAsset"] for row in answer})
        dollars = {asset: self._dollars(asset) for asset in assets}
        with understood(what):
            return rows.fills(answer, dollars)

    def _dollars(self, asset: str) -> Decimal | None:
        """Price of what the fee was paid in: BNB, where the account wants its discount."""
        if asset == "USDT":
            return Decimal(1)
        try:
            return self.last_price(f"{asset}USDT")
        except ConfigError:  # not traded
            return None


def _milliseconds(time: datetime) -> int:
    """The first that is not before a moment."""
    return -((_EPOCH - time) // timedelta(milliseconds=1))
