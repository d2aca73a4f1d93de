"""Answers as Binance USDT-M futures does: signed requests, and faults on demand.

The real, unmodified ccxt client talks to it, through a socket (:mod:`rehearsal.binance.loopback`)
or without one (:mod:`rehearsal.binance.in_process`). What it knows is a
:class:`rehearsal.binance.account.FuturesAccount`.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import ccxt
import pandas as pd

from rehearsal.binance.account import FuturesAccount, RefusalError
from rehearsal.binance.answers import (
    balances_row,
    contract_row,
    position_row,
    settings_row,
)
from rehearsal.binance.faults import Fault, refusal
from rehearsal.binance.klines import BinanceServer
from rehearsal.binance.orders import Row
from store.binance_futures import connect_futures

API_KEY, API_SECRET = "the-key-of-nobody", "the-secret-of-nobody"
ORDER, STOP = "POST /fapi/v1/order", "POST /fapi/v1/algoOrder"
CANCEL_STOP, QUERY_ORDER = "DELETE /fapi/v1/algoOrder", "GET /fapi/v1/order"
QUERY_STOP, OPEN_STOPS = "GET /fapi/v1/algoOrder", "GET /fapi/v1/openAlgoOrders"
INCOME = "GET /fapi/v1/income"
ANY = "any request"
_DONE: Row = {"code": 200, "msg": "success"}


class Asked(NamedTuple):
    """A request as it came in."""

    endpoint: str
    params: dict[str, str]
    query: str
    key: str | None


class FuturesServer:
    """What it serves may be changed between requests, and what was asked can be read.

    Parameters
    ----------
    account
        The account that belongs to :data:`API_KEY`.
    candles
        By asset and timeframe; served up to the account's clock.
    """

    def __init__(
        self,
        account: FuturesAccount,
        candles: Mapping[tuple[str, str], pd.DataFrame] | None = None,
    ) -> None:
        self.account = account
        self.requests: list[Asked] = []
        self.url = ""
        self.stopped = threading.Event()
        self._klines = BinanceServer(dict(candles or {}))
        self._faults: dict[tuple[str, int], Fault] = {}
        self._counts: Counter[str] = Counter()
        self._in_flight: list[Asked] = []
        self._lock = threading.RLock()

    # For tests

    def client(self, key: str = API_KEY, secret: str = API_SECRET) -> ccxt.binanceusdm:
        """The production client, but for its addresses, its clock (the account's) and its pace."""
        exchange = self.redirect(connect_futures(key, secret))
        exchange.milliseconds = lambda: self.account.now
        return exchange

    def redirect(self, exchange: ccxt.binanceusdm) -> ccxt.binanceusdm:
        """Let a client of any kind talk to this server."""
        addresses = exchange.urls["api"].items()
        exchange.urls["api"] = {name: self.url + urlsplit(url).path for name, url in addresses}
        exchange.session.trust_env = False  # a proxy has no business on the loopback
        exchange.rateLimit = 0.01
        return exchange

    def fail(self, endpoint: str, *faults: Fault, nth: int = 1) -> None:
        """Faults of the nth and the following calls of an endpoint from now on, or of ANY."""
        for number, fault in enumerate(faults, self._counts[endpoint] + nth):
            self._faults[endpoint, number] = fault

    def asked(self, endpoint: str) -> list[dict[str, str]]:
        """Parameters of the requests that came in for an endpoint."""
        return [request.params for request in self.requests if request.endpoint == endpoint]

    def clear_faults(self) -> None:
        self._faults.clear()

    def signatures(self) -> set[str]:
        """Those of all requests that came in."""
        found = {request.query.rpartition("&signature=")[2] for request in self.requests}
        return {signature for signature in found if signature}

    def deliver(self) -> None:
        """Bring the requests that are on their way; those that are too old are refused."""
        late, self._in_flight = self._in_flight, []
        for asked in late:
            try:
                self._carry_out(asked)
            except RefusalError:
                continue

    # For the handler

    def answer(self, asked: Asked) -> Fault:
        with self._lock:
            self.requests.append(asked)
            for name in (ANY, asked.endpoint):
                self._counts[name] += 1
            fault = self._faults.pop((asked.endpoint, self._counts[asked.endpoint]), None)
            fault = self._faults.pop((ANY, self._counts[ANY]), None) or fault
            if fault and fault.late:
                self._in_flight.append(asked)
            if fault and not fault.landed:
                return fault
            try:
                done = Fault(status=200, body=json.dumps(self._carry_out(asked)))
            except RefusalError as error:
                done = refusal(error.code, error.message, error.status)
            return fault or done

    def _carry_out(self, asked: Asked) -> Any:
        for routes, signed in ((self._public(), False), (self._private(), True)):
            if asked.endpoint in routes:
                if signed:
                    self._check_signature(asked)
                try:
                    return routes[asked.endpoint](asked.params)
                except KeyError as error:
                    raise RefusalError(
                        -1102, f"Mandatory parameter {error} was not sent, was empty/null."
                    ) from error
        raise RefusalError(-5000, f"Path {asked.endpoint}, Method is invalid", 404)

    def _check_signature(self, asked: Asked) -> None:
        if not asked.key:
            raise RefusalError(-2014, "API-key format invalid.", 401)
        if asked.key != API_KEY:
            raise RefusalError(-2015, "Invalid API-key, IP, or permissions for action", 401)
        signed, _, signature = asked.query.rpartition("&signature=")
        expected = hmac.new(API_SECRET.encode(), signed.encode(), hashlib.sha256).hexdigest()
        if not hmac.compare_digest(signature, expected):
            raise RefusalError(-1022, "Signature for this request is not valid.")
        age = self.account.now - int(asked.params["timestamp"])
        if age < -1000:
            raise RefusalError(
                -1021, "Timestamp for this request was 1000ms ahead of the server's time."
            )
        if age > int(asked.params.get("recvWindow", "5000")):
            raise RefusalError(-1021, "Timestamp for this request is outside of the recvWindow.")

    def _public(self) -> dict[str, Callable[[dict[str, str]], Any]]:
        account = self.account
        return {
            "GET /fapi/v1/time": lambda _: {"serverTime": account.now},
            "GET /fapi/v1/exchangeInfo": lambda _: {
                "symbols": [contract_row(contract) for contract in account.contracts.values()]
            },
            "GET /fapi/v2/ticker/price": lambda asked: {
                "symbol": asked["symbol"],
                "price": str(self._price(asked["symbol"])),
                "time": account.now,
            },
            "GET /fapi/v1/premiumIndex": lambda asked: {
                "symbol": asked["symbol"],
                "markPrice": str(self._price(asked["symbol"])),
                "indexPrice": str(self._price(asked["symbol"])),
                "time": account.now,
            },
            "GET /fapi/v1/klines": self._candles,
        }

    def _private(self) -> dict[str, Callable[[dict[str, str]], Any]]:
        account = self.account
        return {
            ORDER: account.place,
            QUERY_ORDER: account.order,
            "DELETE /fapi/v1/order": account.cancel,
            "GET /fapi/v1/openOrders": lambda asked: account.open_orders(asked["symbol"]),
            "GET /fapi/v1/userTrades": account.fills_of,
            STOP: account.place_stop,
            QUERY_STOP: account.stop,
            CANCEL_STOP: account.cancel_stop,
            OPEN_STOPS: lambda asked: account.open_stops(asked["symbol"]),
            INCOME: account.income_of,
            "GET /fapi/v3/account": lambda _: balances_row(account),
            "GET /fapi/v3/positionRisk": lambda asked: [
                position_row(account, symbol)
                for symbol, holding in account.holdings.items()
                if holding.amount and asked.get("symbol") in (None, symbol)
            ],
            "GET /fapi/v1/symbolConfig": lambda asked: [settings_row(account, asked["symbol"])],
            "POST /fapi/v1/marginType": self._set_margin_type,
            "POST /fapi/v1/leverage": self._set_leverage,
            "POST /fapi/v1/positionSide/dual": self._set_position_mode,
            "GET /fapi/v1/positionSide/dual": lambda _: {"dualSidePosition": account.hedge_mode},
        }

    def _price(self, symbol: str) -> Decimal:
        if symbol not in self.account.prices:
            raise RefusalError(-1121, "Invalid symbol.")
        return self.account.prices[symbol]

    def _candles(self, asked: dict[str, str]) -> Any:
        until = min(int(asked.get("endTime", self.account.now)), self.account.now)
        query = {"startTime": "0", "limit": "500", **asked, "endTime": str(until)}
        return self._klines.answer("/fapi/v1/klines", query)

    def _set_margin_type(self, asked: dict[str, str]) -> Row:
        self.account.set_isolated(asked["symbol"], asked["marginType"] == "ISOLATED")
        return _DONE

    def _set_position_mode(self, asked: dict[str, str]) -> Row:
        self.account.set_hedge_mode(asked["dualSidePosition"] == "true")
        return _DONE

    def _set_leverage(self, asked: dict[str, str]) -> Row:
        self.account.set_leverage(asked["symbol"], int(asked["leverage"]))
        return {"symbol": asked["symbol"], "leverage": int(asked["leverage"])}
