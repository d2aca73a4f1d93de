"""Candles of Binance USDT-M futures, through ccxt; no API key is needed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, TypeVar

import ccxt
import pandas as pd

from store.backoff import Backoff
from store.candles import CandleFolder, Written
from store.clock import Clock, utc_now
from strategy.candles import COLUMNS, timeframe_delta
from strategy.errors import ConfigError, FixError, RetryError

T = TypeVar("T")
Report = Callable[[int, int], None]
"""Told (bars done, bars in all) after every page."""

_PAGE_BARS = 1000  # Binance would give 1500, but ccxt cuts its answers to 1000


def _silent(done: int, total: int) -> None:
    """Report to nobody."""


@dataclass(frozen=True)
class BinanceSource:
    """Candles of Binance USDT-M futures, kept in a folder.

    ``load`` asks Binance for what the folder lacks of the last ``history_years``, so that
    it needs no network while the folder is up to date. The candle in progress is never
    taken, by the clock that is given: a computer whose clock runs ahead by more than the
    few seconds that a request takes would store it unfinished.

    Parameters
    ----------
    folder
        Where candles are kept, and read from.
    history_years
        How far back from now.
    exchange
        The ccxt client (:func:`connect`).
    now
        The clock.
    backoff
        What to do when a request fails.
    report
        Told about progress.
    """

    folder: CandleFolder
    history_years: int
    exchange: ccxt.binanceusdm
    now: Clock = utc_now
    backoff: Backoff = field(default_factory=Backoff)
    report: Report = _silent

    name: ClassVar[str] = "binanceusdm"
    synthetic: ClassVar[bool] = False

    def load(self, asset: str, timeframe: str) -> pd.DataFrame:
        self.download(asset, timeframe)
        start, _ = self._history(timeframe)
        return self.folder.load(asset, timeframe).loc[start:]

    def download(self, asset: str, timeframe: str) -> Written:
        """Bring the folder up to the last closed candle; each page is kept as it arrives.

        Raises
        ------
        ConfigError
            Binance USDT-M futures do not have the asset, or the timeframe is not known.
        RetryError
            Binance did not answer, or asked to slow down, ``backoff.attempts`` times.
        FixError
            Binance refuses: for where the request comes from (HTTP 451), or another reason.
        """
        delta = timeframe_delta(timeframe)
        start, end = self._history(timeframe)
        spans = missing_spans(self.folder.open_times(asset, timeframe), start, end, delta)
        total = sum((until - since) // delta for since, until in spans)
        added, done = 0, 0
        revised: list[pd.Timestamp] = []
        for since, until in spans:
            for page in self._pages(asset, timeframe, since, until):
                written = self.folder.write(asset, timeframe, page)
                added += written.added
                revised.extend(written.revised)
                self.report(done + (page.index[-1] + delta - since) // delta, total)
            done += (until - since) // delta
            self.report(done, total)
        return Written(added, pd.DatetimeIndex(revised, tz="UTC"))

    def _history(self, timeframe: str) -> tuple[pd.Timestamp, pd.Timestamp]:
        """Open time of the first candle wanted, and of the one in progress."""
        end = pd.Timestamp(self.now()).floor(timeframe_delta(timeframe))
        return end - pd.DateOffset(years=self.history_years), end

    def _pages(
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
                        f"try again later: what was downloaded is kept in {self.folder.root}, "
                        "only the rest will be asked for"
                    ) from error
                self.backoff.sleep(pause)
            except ccxt.BaseError as error:
                raise FixError(f"Binance refused the request for {asset}: {error}") from error

    @property
    def _url(self) -> str:
        return str(self.exchange.urls["api"]["fapiPublic"])


def missing_spans(
    held: pd.DatetimeIndex, start: pd.Timestamp, end: pd.Timestamp, delta: pd.Timedelta
) -> list[tuple[pd.Timestamp, pd.Timestamp]]:
    """What to ask for, so that every candle that opens in ``[start, end)`` is held.

    Holes in the middle are asked for too: exchanges do fill gaps later. A span begins at the
    held candle before the hole, so that a revision of that candle is seen.

    Parameters
    ----------
    held
        Open times, in order; those outside the range do not matter.

    Returns
    -------
    Half-open spans of open times, in order, on the grid of ``start``.
    """
    edges = held[(held >= start) & (held < end)].insert(0, start - delta)
    edges = edges.insert(len(edges), end)
    holes = edges[1:] - edges[:-1] > delta
    return [
        (max(since, start), until)
        for since, until in zip(edges[:-1][holes], edges[1:][holes], strict=True)
    ]


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
