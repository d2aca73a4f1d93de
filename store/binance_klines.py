"""Pages of candles from Binance USDT-M futures, through ccxt; no API key is needed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import ccxt
import pandas as pd

from store.backoff import Backoff
from strategy.candles import COLUMNS, timeframe_delta
from strategy.errors import ConfigError, FixError, RetryError

T = TypeVar("T")

_PAGE_BARS = 1000  # Binance would give 1500, but ccxt cuts its answers to 1000


@dataclass(frozen=True)
class Klines:
    """Asks Binance for candles, patiently.

    Parameters
    ----------
    exchange
        The ccxt client (:func:`connect`).
    backoff
        What to do when a request fails.
    """

    exchange: ccxt.binanceusdm
    backoff: Backoff

    def pages(
        self, asset: str, timeframe: str, since: pd.Timestamp, until: pd.Timestamp
    ) -> Iterator[pd.DataFrame]:
        """Candles that open in ``[since, until)``, page by page; never an empty page.

        A page may be short or begin late (gaps, a young asset): only an empty answer ends it.
        """
        symbol = self._symbol(asset)
        while since < until:
            rows = self._ask(
                asset,
                partial(
                    self.exchange.fetch_ohlcv,
                    symbol,
                    timeframe,
                    since=_milliseconds(since),
                    limit=_PAGE_BARS,
                    params={"until": _milliseconds(until) - 1},
                ),
            )
            # Whatever was answered: nothing in progress is kept, and the loop goes forward.
            rows = [row for row in rows if _milliseconds(since) <= row[0] < _milliseconds(until)]
            if not rows:
                return
            page = pd.DataFrame(rows, columns=["timestamp", *COLUMNS]).set_index("timestamp")
            page.index = pd.to_datetime(page.index, unit="ms", utc=True)
            yield page
            since = page.index[-1] + timeframe_delta(timeframe)

    def _symbol(self, asset: str) -> str:
        """ccxt's symbol of an asset: ``BTC/USDT:USDT`` for ``BTCUSDT``."""
        if not self._ask(asset, self.exchange.load_markets):
            raise RetryError(
                f"{self._url} does not answer as Binance does: there may be a proxy or a login "
                "page in the way"
            )
        for market in self.exchange.markets_by_id.get(asset, ()):
            if market["swap"] and market["linear"]:
                return str(market["symbol"])
        raise ConfigError(_unknown(asset))

    def _ask(self, asset: str, request: Callable[[], T]) -> T:
        """Make a request, again where that may help, and tell of failure in our own errors."""
        pauses, attempts = self.backoff.pauses(), 0
        while True:
            attempts += 1
            try:
                return request()
            except ccxt.BadSymbol as error:
                raise ConfigError(_unknown(asset)) from error
            except ccxt.OperationFailed as error:
                response = _http_response(error)
                if response is not None and response.status_code == 451:
                    raise FixError(
                        f"Binance does not serve the place of this computer's address (HTTP 451 "
                        f"at {self._url}); the United States are one such place. Run this where "
                        "Binance is available, or use candles of your own: --candles PATH"
                    ) from error
                pause = max(next(pauses, math.inf), _retry_after(response))
                if pause > self.backoff.longest:
                    raise RetryError(
                        f"Binance is unreachable: the request for {asset} at {self._url} failed "
                        f"{attempts} time(s), the last time with: {error}. Check the network and "
                        f"try again later: what was downloaded is kept, and only the rest will be "
                        "asked for"
                    ) from error
                self.backoff.sleep(pause)
            except ccxt.BaseError as error:
                raise FixError(f"Binance refused the request for {asset}: {error}") from error

    @property
    def _url(self) -> str:
        return str(self.exchange.urls["api"]["fapiPublic"])


def connect() -> ccxt.binanceusdm:
    """The ccxt client: its own rate limiter on, and proxies taken from the environment."""
    return ccxt.binanceusdm({"enableRateLimit": True, "requests_trust_env": True})


def _unknown(asset: str) -> str:
    return (
        f"Binance USDT-M futures have no perpetual contract {asset!r}; "
        "its name is base and quote in one word, as BTCUSDT"
    )


def _http_response(error: BaseException | None) -> Any:
    """The response that made ccxt raise; it is kept in the exception that ccxt was handling."""
    while error is not None:
        if (response := getattr(error, "response", None)) is not None:
            return response
        error = error.__context__
    return None


def _retry_after(response: Any) -> float:
    """Seconds that Binance wants to be left alone for (429, 418); 0 where it does not say."""
    wait = "" if response is None else response.headers.get("Retry-After", "")
    return float(wait) if wait.isdigit() else 0.0


def _milliseconds(moment: pd.Timestamp) -> int:
    return moment.value // 10**6
