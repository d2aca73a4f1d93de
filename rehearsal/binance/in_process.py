"""Lets the real ccxt client reach the rehearsal's exchange without a socket."""

from __future__ import annotations

from collections.abc import Mapping
from http.client import responses
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import ccxt
import requests
from requests.adapters import BaseAdapter

from rehearsal.binance.futures import Asked, FuturesServer


class InProcess(BaseAdapter):
    """Carries a request to the exchange by a call: the client notices nothing.

    Every request takes some time on the exchange's clock; a connection that is reset, or an
    answer that never comes, is what ``requests`` raises for it.
    """

    def __init__(self, exchange: FuturesServer) -> None:
        super().__init__()
        self._exchange = exchange

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: Any = True,
        cert: Any = None,
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        parts = urlsplit(str(request.url))
        body = request.body.decode() if isinstance(request.body, bytes) else request.body
        query = str(body or parts.query)
        params = dict(parse_qsl(query, keep_blank_values=True))
        params.pop("signature", None)
        key = request.headers.get("X-MBX-APIKEY")
        answer = self._exchange.answer(Asked(f"{request.method} {parts.path}", params, query, key))
        if answer.hanging:
            raise requests.exceptions.ReadTimeout("no answer came in time", request=request)
        if not answer.status:
            raise requests.exceptions.ConnectionError("connection reset by peer", request=request)
        response = requests.Response()
        response.status_code = answer.status
        response.reason = responses.get(answer.status, "")
        response.url, response.request = str(request.url), request
        response.headers.update({"Content-Type": "application/json", **dict(answer.headers)})
        response.encoding = "utf-8"
        response._content = answer.body.encode()
        return response

    def close(self) -> None:
        """Nothing is open."""


def connected(client: ccxt.binanceusdm, exchange: FuturesServer) -> ccxt.binanceusdm:
    """The client, whose every request goes to the rehearsal's exchange, by its clock."""
    for scheme in ("http://", "https://"):
        client.session.mount(scheme, InProcess(exchange))
    client.session.trust_env = False  # no proxy lies between
    client.milliseconds = lambda: exchange.account.now
    client.enableRateLimit = False  # that would wait in real time
    return client
