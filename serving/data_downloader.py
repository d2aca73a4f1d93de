"""Lambda function that keeps the candles up to date: daily, and on demand.

EventBridge calls it at 00:00 UTC with ``{}``, which means all that config.json lists. By hand
it is called with ``{"asset": "BTCUSDT", "timeframe": "1h"}``, or with the asset alone.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import pandas as pd

from serving.candle_notices import Outcome, tell_outcome
from serving.lambda_logs import logger, structured
from store.aws import client
from store.backoff import Backoff
from store.binance import BinanceSource
from store.binance_klines import connect
from store.candle_archive import open_archive
from store.clock import utc_now
from store.config_file import config_at
from store.notifications import Notifier, SnsNotifier
from store.state import StateTable, open_state
from strategy.config import Config
from strategy.errors import ConfigError, DataError, FixError, RetryError

_log = logging.getLogger(__name__)

FINEST, FINEST_HISTORY = "5m", pd.DateOffset(days=31)
"""The candles on which stops are checked, and for how long they are kept: longer than all but
a few trades last."""

RESERVE_SECONDS = 60
"""A page is not begun with less: it may take this long when Binance answers badly."""
_IN_A_HURRY = partial(Backoff, attempts=3, longest=10.0)  # with ccxt's time-outs some 50 s

_VARIABLES = {
    "BUCKET": "the bucket of config.json and the candles",
    "STATE_URI": "the state table, as dynamodb://TABLE",
    "TOPIC_ARN": "the topic that the operator listens to",
}


class Market(NamedTuple):
    """Whose candles are kept, and for how long."""

    asset: str
    timeframe: str
    history: pd.DateOffset


@dataclass(frozen=True)
class Downloader:
    """What the function works with.

    Parameters
    ----------
    source
        Its history is replaced by each market's own.
    state, notifier
        To tell the operator once.
    time_left
        Whether there is time for another page.
    """

    config: Config
    source: BinanceSource
    state: StateTable
    notifier: Notifier
    time_left: Callable[[], bool] = lambda: True


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: Any) -> list[dict[str, Any]]:
    """What Lambda calls; an error makes EventBridge call again, which goes on from there."""
    structured()

    def time_left() -> bool:
        return bool(context.get_remaining_time_in_millis() > 1000 * RESERVE_SECONDS)

    return download(event, deployed_downloader(os.environ, time_left))


def download(event: Mapping[str, Any], downloader: Downloader) -> list[dict[str, Any]]:
    """Bring all candles that the event means up to the last closed one.

    A market that fails does not keep the others from it. The operator is told of what failed,
    of revisions, and of gaps that make candles unusable.

    Returns
    -------
    What came of each market, as it is logged.

    Raises
    ------
    RetryError
        Something is left to do, and may succeed in another call: after all others are done.
    DataError, ConfigError
        The event asks for what config.json does not list.
    StoreError
        The operator cannot be told: after all are done.
    """
    markets = _asked_for(event, markets_of(downloader.config))
    outcomes = [_brought_up_to_date(market, downloader) for market in markets]
    for outcome in outcomes:
        level = logging.ERROR if outcome.error else logging.INFO
        _log.log(level, "%s", outcome.market, extra={"candles": outcome.record})
    for outcome in outcomes:
        tell_outcome(outcome, downloader)
    if unfinished := [each for each in outcomes if each.worth_retrying]:
        reasons = "; ".join(f"{each.market}: {each.error or 'out of time'}" for each in unfinished)
        raise RetryError(f"not all candles are there yet, the next call goes on: {reasons}")
    return [outcome.record for outcome in outcomes]


def markets_of(config: Config) -> list[Market]:
    """Every market of config.json, and of every asset the finest candles, for a short while."""
    years = pd.DateOffset(years=config.walk_forward_config.history_years)
    return [
        Market(asset, timeframe, history)
        for asset, timeframes in config.asset_timeframes.items()
        for timeframe, history in (
            {FINEST: FINEST_HISTORY} | dict.fromkeys(timeframes, years)
        ).items()
    ]


def deployed_downloader(
    environment: Mapping[str, str], time_left: Callable[[], bool]
) -> Downloader:
    """The parts on AWS: made anew in every call, since it is one a day, for config.json is read.

    Raises
    ------
    ConfigError
        A variable is not set (all that are not are named), or config.json is not valid.
    StoreError, RetryError
        config.json cannot be read, or not now.
    """
    missing = [f"{name} ({what})" for name, what in _VARIABLES.items() if not environment.get(name)]
    if missing:
        raise ConfigError(f"set the environment variables {', '.join(missing)}")
    bucket = f"s3://{environment['BUCKET']}"
    config = config_at(f"{bucket}/config.json")
    archive = open_archive(f"{bucket}/candles", config.candles.max_gap_bars)
    source = BinanceSource(archive, FINEST_HISTORY, connect(), utc_now, _IN_A_HURRY())
    return Downloader(
        config,
        source,
        open_state(environment["STATE_URI"], utc_now),
        SnsNotifier(client("sns"), environment["TOPIC_ARN"]),
        time_left,
    )


def _asked_for(event: Mapping[str, Any], markets: Sequence[Market]) -> list[Market]:
    asset, timeframe = event.get("asset"), event.get("timeframe")
    if timeframe is not None and asset is None:
        raise DataError(f"event with timeframe {timeframe!r} alone: name the asset, too")
    asked = [
        market
        for market in markets
        if asset in (None, market.asset) and timeframe in (None, market.timeframe)
    ]
    if not asked:
        known = ", ".join(f"{market.asset} {market.timeframe}" for market in markets)
        raise ConfigError(f"event with asset {asset!r}, timeframe {timeframe!r}: known are {known}")
    return asked


def _brought_up_to_date(market: Market, downloader: Downloader) -> Outcome:
    source = replace(downloader.source, history=market.history)
    outcome = Outcome(market.asset, market.timeframe)
    pages = source.pages(market.asset, market.timeframe)
    try:
        while downloader.time_left():
            page = next(pages, None)
            if page is None:
                outcome.gaps = source.gaps(market.asset, market.timeframe)
                outcome.complete = True
                break
            outcome.added += page.added
            outcome.revised.extend(page.revised)
    except (FixError, RetryError) as error:
        outcome.error = error
    return outcome
