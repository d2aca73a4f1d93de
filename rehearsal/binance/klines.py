"""A Binance USDT-M futures market on the loopback, with faults on demand."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import ccxt
import pandas as pd

from store.binance_klines import connect
from strategy.candles import open_times, timeframe_delta

MAX_LIMIT = 1500


class Fault(NamedTuple):
    """An answer that takes the place of the right one."""

    status: int
    body: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    truncated: bool = False


TOO_MANY_REQUESTS = Fault(429, '{"code":-1003,"msg":"Too many requests."}', (("Retry-After", "7"),))
BANNED = Fault(
    418, '{"code":-1003,"msg":"Way too many requests; IP banned."}', (("Retry-After", "7200"),)
)
UNAVAILABLE = Fault(503, "Service Unavailable")
RESTRICTED = Fault(
    451,
    '{"code":0,"msg":"Service unavailable from a restricted location according to '
    "'b. Eligibility' in https://www.binance.com/en/terms.\"}",
)
INVALID_SYMBOL = Fault(400, '{"code":-1121,"msg":"Invalid symbol."}')
ILLEGAL_PARAMETER = Fault(400, '{"code":-1102,"msg":"Mandatory parameter was not sent."}')
CUT_OFF = Fault(200, '[[1577836800000,"720', truncated=True)
WEB_PAGE = Fault(200, "<html><body>Please log in to this network.</body></html>")


class BinanceServer:
    """What it serves may be changed between requests, and what was asked can be read.

    Parameters
    ----------
    candles
        By asset and timeframe: all candles up to and including the one in progress.
    """

    def __init__(self, candles: dict[tuple[str, str], pd.DataFrame]) -> None:
        self.candles = candles
        self.faults: list[Fault] = []
        self.klines_faults: list[Fault] = []
        self.healthy_klines = 0
        self.minds_the_end = True
        """Whether it gives no candles beyond those asked for."""
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.url = ""

    def client(self) -> ccxt.binanceusdm:
        """The production client, unmodified but for its addresses and its own patience."""
        exchange = connect()
        addresses = exchange.urls["api"].items()
        exchange.urls["api"] = {name: self.url + urlsplit(url).path for name, url in addresses}
        exchange.session.trust_env = False  # a proxy has no business on the loopback
        exchange.rateLimit = 0.1
        return exchange

    def fail_klines(self, *faults: Fault, after: int) -> None:
        """Answer this many requests for klines well, then with these faults, then well again."""
        self.healthy_klines, self.klines_faults = after, list(faults)

    def klines_asked(self) -> list[dict[str, str]]:
        return [query for path, query in self.requests if path.endswith("/klines")]

    def answer(self, path: str, query: dict[str, str]) -> Fault | list[Any] | dict[str, Any]:
        self.requests.append((path, query))
        if self.faults:
            return self.faults.pop(0)
        if path == "/fapi/v1/exchangeInfo":
            return {"symbols": [_contract(asset) for asset in {asset for asset, _ in self.candles}]}
        if path == "/fapi/v1/klines":
            if len(self.klines_asked()) > self.healthy_klines and self.klines_faults:
                return self.klines_faults.pop(0)
            return self._klines(query)
        return Fault(404, f"{path} is not served here: only public market data is")

    def _klines(self, query: dict[str, str]) -> list[list[Any]]:
        frame = self.candles.get((query["symbol"], query["interval"]))
        if frame is None:
            return []
        limit = min(int(query["limit"]), MAX_LIMIT)
        opens = open_times(frame).asi8 // 10**6
        first = int(opens.searchsorted(int(query["startTime"])))
        last = len(opens)
        if self.minds_the_end:
            last = int(opens.searchsorted(int(query["endTime"]), side="right"))
        rows = slice(first, min(last, first + limit))
        length = timeframe_delta(query["interval"]).value // 10**6
        return [
            [int(at), *(str(value) for value in row), int(at) + length - 1, "0", 1, "0", "0", "0"]
            for at, row in zip(opens[rows], frame.iloc[rows].to_numpy(), strict=True)
        ]


@contextmanager
def binance_server(candles: dict[tuple[str, str], pd.DataFrame]) -> Iterator[BinanceServer]:
    """Serve on a free port of the loopback until the block ends."""
    market = BinanceServer(candles)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            query = {key: values[0] for key, values in parse_qs(parts.query).items()}
            answer = market.answer(parts.path, query)
            self._send(answer if isinstance(answer, Fault) else Fault(200, json.dumps(answer)))

        def _send(self, answer: Fault) -> None:
            body = answer.body.encode()
            self.send_response(answer.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body) + 100 * answer.truncated))
            for name, value in answer.headers:
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: Any) -> None:
            """Nobody reads it."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    market.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield market
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _contract(asset: str) -> dict[str, Any]:
    """An entry of exchangeInfo, as Binance's documentation shows it, in what ccxt reads."""
    return {
        "symbol": asset,
        "pair": asset,
        "contractType": "PERPETUAL",
        "deliveryDate": 4133404800000,
        "onboardDate": 1569398400000,
        "status": "TRADING",
        "baseAsset": asset.removesuffix("USDT"),
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
                "minPrice": "556.80",
                "maxPrice": "4529764",
                "tickSize": "0.10",
            },
            {"filterType": "LOT_SIZE", "minQty": "0.001", "maxQty": "1000", "stepSize": "0.001"},
            {"filterType": "MIN_NOTIONAL", "notional": "50"},
        ],
        "orderTypes": ["LIMIT", "MARKET", "STOP_MARKET"],
        "timeInForce": ["GTC", "IOC", "FOK", "GTX"],
    }
