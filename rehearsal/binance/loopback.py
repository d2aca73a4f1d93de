"""Binance USDT-M futures on the loopback."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import ccxt
import pandas as pd

from rehearsal.binance.account import Contract, FuturesAccount
from rehearsal.binance.faults import Fault
from rehearsal.binance.futures import Asked, FuturesServer


@contextmanager
def futures_server(
    account: FuturesAccount,
    candles: Mapping[tuple[str, str], pd.DataFrame] | None = None,
) -> Iterator[FuturesServer]:
    """Serve on a free port of the loopback until the block ends."""
    market = FuturesServer(account, candles)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # an answer in one piece: no waiting for acknowledgements

        def _handle(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            query = body or parts.query
            params = dict(parse_qsl(query, keep_blank_values=True))
            params.pop("signature", None)
            endpoint = f"{self.command} {parts.path}"
            key = self.headers.get("X-MBX-APIKEY")
            self._send(market.answer(Asked(endpoint, params, query, key)))

        do_GET = do_POST = do_DELETE = _handle  # noqa: N815 - http.server's names

        def _send(self, answer: Fault) -> None:
            if answer.hanging:
                market.stopped.wait()
            if not answer.status:
                self._reset()
                return
            body = answer.body.encode()
            self.send_response(answer.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            for name, value in answer.headers:
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def _reset(self) -> None:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True

        def log_message(self, format: str, *arguments: Any) -> None:
            """Nobody reads it."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True  # a connection that is kept alive does not hold up the end
        block_on_close = False

        def shutdown_request(self, request: Any) -> None:
            self.close_request(request)  # without a polite FIN first, so that a reset is one

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    market.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield market
    finally:
        market.stopped.set()
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def impatient(exchange: ccxt.binanceusdm, only_if: bool = True) -> Iterator[None]:
    """Let the client wait for no more than a moment, for a fault that is ``hanging``."""
    before = exchange.timeout
    exchange.timeout = 300 if only_if else before
    try:
        yield
    finally:
        exchange.timeout = before


def one_market(price: str = "50000", symbol: str = "BTCUSDT") -> FuturesAccount:
    """An account at a market of one contract; BNB is there for fees."""
    prices = {symbol: Decimal(price), "BNBUSDT": Decimal(500)}
    return FuturesAccount({symbol: Contract(symbol)}, prices)
