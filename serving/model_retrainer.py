"""Lambda function that fits a strategy's model anew on the newest candles, parameters unchanged.

The orchestrator calls it with ``{"model": "BTCUSDT-1h", "version": 3}``. The model may be named
by ``{"asset": "BTCUSDT", "timeframe": "1h"}`` as well, and without a version the one in
Production is meant.

It fits twice, with one thread: a year of hours takes 0.3 to 18 s a fit, by the size of the model.
That and the features of five years stay far below Lambda's 15 minutes and its default of 3008 MB,
so that one call does all of it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

from registry.connection import Client, connect
from registry.lifecycle import Lifecycle, Stage
from serving.lambda_logs import logger, structured
from serving.retraining.result import RetrainResult
from serving.retraining.steps import Retraining
from store.aws import client
from store.candle_archive import open_archive
from store.candles import CandleSource
from store.clock import Clock, milliseconds, utc_now
from store.config_file import config_at
from store.notifications import Notifier, SnsNotifier
from store.state import StateTable, open_state
from strategy.config import Config
from strategy.errors import ConfigError, ConflictError, DataError, FixError, RetryError

_log = logging.getLogger(__name__)

PARTITION = "retrain"
"""Of the state table: which strategies are retrained right now, by strategy id."""
LEASE = timedelta(minutes=15)
"""For how long one call may keep others from a strategy: longer than Lambda lets it live."""

_VARIABLES = {
    "BUCKET": "the bucket of config.json and the candles",
    "STATE_URI": "the state table, as dynamodb://TABLE",
    "TOPIC_ARN": "the topic that the operator listens to",
    "MLFLOW_TRACKING_URI": "the MLflow store",
}


@dataclass(frozen=True)
class Retrainer:
    """What the function works with.

    Parameters
    ----------
    client
        Of the MLflow store (:func:`registry.connection.connect`).
    candles
        All that are held of the market: a retrain on the same ones gives the very model that a
        campaign would register.
    state, notifier
        To keep other calls away, and to tell the operator once.
    """

    client: Client
    candles: CandleSource
    config: Config
    state: StateTable
    notifier: Notifier
    clock: Clock


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """What Lambda calls; called again after an error it goes on from there."""
    structured()
    return asdict(retrain(event, deployed_retrainer(os.environ)))


def retrain(event: Mapping[str, Any], retrainer: Retrainer) -> RetrainResult:
    """Retrain the version that the event means, and let it take over unless it is worse.

    The same event again finds what came of it, and completes what was interrupted.

    Raises
    ------
    DataError, ConfigError
        The event cannot be understood or means a market that config.json does not list; the
        candles are malformed, stale or too few.
    FixError
        There is no such version, it is not in Staging or Production (any more), or it was not
        registered by this program.
    StoreError, RetryError
        The MLflow store, the candles or the state table cannot be used, or not now; the operator
        cannot be told; or another call retrains this strategy.
    """
    asset, timeframe, asked = _asked_for(event)
    retrainer.config.require_market(asset, timeframe)
    life = Lifecycle(retrainer.client, f"{asset}-{timeframe}", milliseconds(retrainer.clock))
    version = life.version(_in_production(life, asset, timeframe) if asked is None else asked)
    with _alone(retrainer, f"{version.strategy_id}"):
        result = Retraining(retrainer, life, asset, timeframe, version.number).result()
    _log.info("%s", result.why, extra={"retrain": asdict(result)})
    return result


def deployed_retrainer(environment: Mapping[str, str]) -> Retrainer:
    """The parts on AWS: made anew in every call, since there are few, for config.json is read.

    Raises
    ------
    ConfigError
        A variable is not set (all that are not are named), or config.json is not valid.
    StoreError, RetryError
        config.json or the MLflow store cannot be read, or not now.
    """
    missing = [f"{name} ({what})" for name, what in _VARIABLES.items() if not environment.get(name)]
    if missing:
        raise ConfigError(f"set the environment variables {', '.join(missing)}")
    bucket = f"s3://{environment['BUCKET']}"
    config = config_at(f"{bucket}/config.json")
    return Retrainer(
        connect(environment["MLFLOW_TRACKING_URI"]),
        open_archive(f"{bucket}/candles", config.candles.max_gap_bars),
        config,
        open_state(environment["STATE_URI"], utc_now),
        SnsNotifier(client("sns"), environment["TOPIC_ARN"]),
        utc_now,
    )


def _asked_for(event: Mapping[str, Any]) -> tuple[str, str, int | None]:
    """Asset, timeframe and version; no version means the one in Production."""
    match event:
        case {"model": str(model)} if "-" in model:
            asset, _, timeframe = model.partition("-")
        case {"asset": str(asset), "timeframe": str(timeframe)}:
            pass
        case _:
            raise DataError(
                f'event {dict(event)} names no model: give {{"model": "BTCUSDT-1h", "version": 3}}'
            )
    version = event.get("version")
    if not (version is None or type(version) is int):
        raise DataError(f"event with version {version!r}: give its number, or none")
    return asset, timeframe, version


def _in_production(life: Lifecycle, asset: str, timeframe: str) -> int:
    live = [version.number for version in life.versions_in(Stage.PRODUCTION)]
    if len(live) != 1:
        raise FixError(
            f"the model {asset}-{timeframe} has {len(live)} versions in Production: name the "
            "version to be retrained"
        )
    return live[0]


@contextmanager
def _alone(retrainer: Retrainer, strategy_id: str) -> Iterator[None]:
    """Keep other calls from a strategy: two at once would register two successors."""
    now = retrainer.clock()
    begun, until = {"begun": now.isoformat()}, now + LEASE
    try:
        lease = retrainer.state.put(PARTITION, strategy_id, begun, expected=0, expires_at=until)
    except ConflictError as error:
        raise RetryError(
            f"strategy {strategy_id} is being retrained by another call; it ends within {LEASE}"
        ) from error
    try:
        yield
    finally:
        with suppress(ConflictError):  # it ran out
            retrainer.state.delete(PARTITION, strategy_id, expected=lease.version)
