"""Lets the real ccxt client reach the rehearsal's exchange without a socket."""

from __future__ import annotations

from http.client import responses
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import ccxt
import requests

from rehearsal.binance.futures import Asked, FuturesServer


class InProcess(requests.Session):
    """Carries a request to the exchange by a call: the client notices nothing.

    A connection that is reset, or an answer that never comes, is what ``requests`` raises for it.
    """

    def __init__(self, exchange: FuturesServer) -> None:
        super().__init__()
        self._exchange = exchange

    def request(  # type: ignore[override]
        self, method: str, url: str, data: Any = None, headers: Any = None, **_: Any
    ) -> requests.Response:
        parts = urlsplit(url)
        query = data.decode() if data else parts.query
        params = dict(parse_qsl(query, keep_blank_values=True))
        params.pop("signature", None)
        key = (headers or {}).get("X-MBX-APIKEY")
        answer = self._exchange.answer(Asked(f"{method} {parts.path}", params, query, key))
        if answer.hanging:
            raise requests.exceptions.ReadTimeout("no answer came in time")
        if not answer.status:
            raise requests.exceptions.ConnectionError("connection reset by peer")
        response = requests.Response()
        response.status_code, response.url = answer.status, url
        response.reason = responses.get(answer.status, "")
        response.headers.update({"Content-Type": "application/json", **dict(answer.headers)})
        response.encoding = "utf-8"
        response._content = answer.body.encode()
        return response


def connected(client: ccxt.binanceusdm, exchange: FuturesServer) -> ccxt.binanceusdm:
    """The client, whose every request goes to the rehearsal's exchange, by its clock."""
    client.session = InProcess(exchange)
    client.milliseconds = lambda: exchange.account.now
    client.enableRateLimit = False  # that would wait in real time
    return client
