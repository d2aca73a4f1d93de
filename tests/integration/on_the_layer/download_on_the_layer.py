"""The deployed downloader, with a Binance on the loopback. Imported on the layer alone."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import ccxt

from serving import data_downloader
from store.binance_klines import connect


def handler(event: dict[str, Any], context: Any) -> list[dict[str, Any]]:
    """Download as if it were the time that the event tells, from the address that it tells."""
    now = datetime.fromisoformat(event["now"])

    def elsewhere() -> ccxt.binanceusdm:
        exchange = connect()
        places = exchange.urls["api"].items()
        exchange.urls["api"] = {name: event["url"] + urlsplit(url).path for name, url in places}
        exchange.rateLimit = 0.1
        return exchange

    data_downloader.connect = elsewhere  # type: ignore[attr-defined]
    data_downloader.utc_now = lambda: now  # type: ignore[attr-defined]
    answer: list[dict[str, Any]] = data_downloader.handler({}, context)
    return answer
