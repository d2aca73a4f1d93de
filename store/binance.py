"""Candles of Binance USDT-M futures, kept in an archive that is brought up to date."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

import ccxt
import pandas as pd

from store.backoff import Backoff
from store.binance_klines import Klines
from store.candle_archive import CandleArchive, Gap, Written, gap_times, gaps_between
from store.clock import Clock, utc_now
from strategy.candles import timeframe_delta
from strategy.errors import DataError

_log = logging.getLogger(__name__)

_CHECKED_AGAIN = pd.Timedelta(days=1)
_SETTLED = pd.Timedelta(days=7)


class Page(NamedTuple):
    """What a page of candles changed, and how far the download has come with it."""

    added: int
    """Number of candles that were not there before."""
    revised: pd.DatetimeIndex
    """Open times (UTC) of candles that were there with other values."""
    done: int
    total: int
    """Bars that were asked for so far, and in all."""


@dataclass(frozen=True)
class BinanceSource:
    """Candles of Binance USDT-M futures, kept in an archive.

    ``load`` asks Binance for what the archive lacks of its history, so that it needs no
    network while that is up to date. The candle in progress is never taken, by the clock
    that is given: a computer whose clock runs ahead by more than the few seconds that a
    request takes would store it unfinished.

    With the newest candles the day before them is asked for once more, so that late
    revisions are seen. A gap is asked for again in every download, since exchanges do fill
    gaps later. One that is still empty after a week is Binance's own, is noted in the archive
    and left alone; but never one that is too long to be tolerated, which may be our fault.

    Parameters
    ----------
    archive
        Where candles are kept, and read from.
    history
        How far back from now; months that end earlier are removed from the archive.
    exchange
        The ccxt client (:func:`store.binance_klines.connect`).
    now
        The clock.
    backoff
        What to do when a request fails.
    """

    archive: CandleArchive
    history: pd.DateOffset
    exchange: ccxt.binanceusdm
    now: Clock = utc_now
    backoff: Backoff = field(default_factory=Backoff)

    name: ClassVar[str] = "binanceusdm"
    synthetic: ClassVar[bool] = False

    def load(self, asset: str, timeframe: str) -> pd.DataFrame:
        self.download(asset, timeframe)
        start, _ = self._span(timeframe)
        return self.archive.load(asset, timeframe, start)

    def download(
        self, asset: str, timeframe: str, report: Callable[[Page], None] = lambda page: None
    ) -> Written:
        """Bring the archive up to the last closed candle, as :meth:`pages`, all at once.

        Parameters
        ----------
        report
            Told of every page.
        """
        added = 0
        revised: list[pd.Timestamp] = []
        for page in self.pages(asset, timeframe):
            added += page.added
            revised.extend(page.revised)
            report(page)
        return Written(added, pd.DatetimeIndex(revised, tz="UTC"))

    def pages(self, asset: str, timeframe: str) -> Iterator[Page]:
        """Bring the archive up to the last closed candle, page by page.

        A page is kept before it is given, so that one may stop at any of them: the next
        download goes on from there.

        Raises
        ------
        ConfigError
            Binance USDT-M futures do not have the asset, or the timeframe is not known.
        DataError
            Binance gave a malformed candle, or a file of the archive is damaged.
        RetryError
            Binance did not answer, or asked to slow down, ``backoff.attempts`` times.
        FixError
            Binance refuses: for where the request comes from (HTTP 451), or another reason.
        """
        delta = timeframe_delta(timeframe)
        start, end = self._span(timeframe)
        held = self.archive.open_times(asset, timeframe)
        held = held[(held >= start) & (held < end)]
        known = _without_newest_day(held, end - delta)
        known = known.union(self.archive.absent(asset, timeframe))
        spans = missing_spans(known, start, end, delta)
        total = sum((until - since) // delta for since, until in spans)
        klines, done = Klines(self.exchange, self.backoff), 0
        for since, until in reversed(spans):  # the newest first, should time be short
            for page in klines.pages(asset, timeframe, since, until):
                written = self.archive.write(asset, timeframe, page)
                held = held.union(pd.DatetimeIndex(page.index))
                now_done = done + (page.index[-1] + delta - since) // delta
                if n := len(written.revised):
                    first = written.revised[0]
                    _log.warning("%s %s: %d revised, first %s", asset, timeframe, n, first)
                yield Page(written.added, written.revised, now_done, total)
            done += (until - since) // delta
        if spans:
            self._note_absent(asset, timeframe, held)
        self.archive.remove_before(asset, timeframe, start)

    def gaps(self, asset: str, timeframe: str) -> list[Gap]:
        """What the archive lacks between its first candle and the present, in order.

        Raises
        ------
        DataError
            It holds no candles at all.
        """
        start, end = self._span(timeframe)
        held = self.archive.open_times(asset, timeframe)
        held = held[(held >= start) & (held < end)]
        if held.empty:
            raise DataError(
                f"Binance has no {timeframe} candles of {asset} since {start}; is it traded yet?"
            )
        return gaps_between(held.insert(len(held), end), timeframe)

    def _span(self, timeframe: str) -> tuple[pd.Timestamp, pd.Timestamp]:
        """Open time of the first candle wanted, and of the one in progress."""
        end = pd.Timestamp(self.now()).floor(timeframe_delta(timeframe))
        return end - self.history, end

    def _note_absent(self, asset: str, timeframe: str, held: pd.DatetimeIndex) -> None:
        """Note the gaps that need not be asked for again, now that all were."""
        old = held[held <= pd.Timestamp(self.now()) - _SETTLED]
        short = [
            gap
            for gap in gaps_between(old, timeframe)
            if gap.missing_bars <= self.archive.max_gap_bars
        ]
        self.archive.set_absent(asset, timeframe, gap_times(short, timeframe))


def missing_spans(
    held: pd.DatetimeIndex, start: pd.Timestamp, end: pd.Timestamp, delta: pd.Timedelta
) -> list[tuple[pd.Timestamp, pd.Timestamp]]:
    """What to ask for, so that every candle that opens in ``[start, end)`` is held.

    A span begins at the held candle before the hole, so that a revision of it is seen.

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


def _without_newest_day(held: pd.DatetimeIndex, last: pd.Timestamp) -> pd.DatetimeIndex:
    """Candles that need not be asked for: with newer ones to come, the newest day once more."""
    if held.empty or held[-1] >= last:
        return held
    return held[held <= held[-1] - _CHECKED_AGAIN]
