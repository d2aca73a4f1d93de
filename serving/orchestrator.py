"""Lambda function that leads strategies through their lives: daily, after the candles.

EventBridge calls it at 01:00 UTC with ``{}``. With ``{"dry_run": true}`` it changes nothing and
answers what it would do.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from functools import partial
from typing import Any

from registry.connection import connect
from registry.loading import load_bundle
from serving.journal import Journal
from serving.lambda_logs import logger, structured
from serving.live_record import LiveParts, record_live_runs
from serving.orchestration.notices import tell_failure
from serving.orchestration.parts import Orchestrator, markets_of
from serving.orchestration.steps import orchestrate, propose
from serving.stack import aws_stack
from store.aws import client
from store.candle_archive import open_archive
from store.config_file import config_at
from store.functions import LambdaFunction
from strategy.errors import ConfigError, DataError, FixError, RetryError

_log = logging.getLogger(__name__)


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: Any) -> list[dict[str, Any]]:
    """What Lambda calls; an error makes EventBridge call again, which goes on from there."""
    structured()
    return answer(event, deployed_orchestrator(os.environ))


def answer(event: Mapping[str, Any], orchestrator: Orchestrator) -> list[dict[str, Any]]:
    """Orchestrate, and bring the live runs in MLflow up to date; or say what would be done.

    Returns
    -------
    What came of each model, as it is logged.

    Raises
    ------
    RetryError
        Something is left to do, and may succeed in another call: after all others are done.
    DataError
        The event cannot be understood.
    """
    dry_run = event.get("dry_run", False)
    if not isinstance(dry_run, bool):
        raise DataError(f"event with dry_run {dry_run!r}: give true or false")
    outcomes = propose(orchestrator) if dry_run else orchestrate(orchestrator)
    for outcome in outcomes:
        level = logging.ERROR if outcome.errors else logging.INFO
        _log.log(level, "%s", outcome.model, extra={"orchestrator": outcome.record})
    passing = [
        f"{outcome.model}: {error}"
        for outcome in outcomes
        for error in outcome.errors
        if isinstance(error, RetryError)
    ]
    if not dry_run:
        passing += _live_runs_recorded(orchestrator)
    if passing:
        raise RetryError(f"not all is done, the next call goes on: {'; '.join(passing)}")
    return [outcome.record for outcome in outcomes]


def _live_runs_recorded(orchestrator: Orchestrator) -> list[str]:
    """Record them; what may succeed in another call is returned, the rest is logged and told."""
    try:
        orchestrator.record(orchestrator.stack.clock())
    except RetryError as error:
        return [f"live runs: {error}"]
    except FixError as error:
        _log.error("live runs: %s", error)
        tell_failure(orchestrator.stack, "live runs", error)
    return []


def deployed_orchestrator(environment: Mapping[str, str]) -> Orchestrator:
    """The parts on AWS: made anew in every call, since it is one a day, for config.json is read.

    Raises
    ------
    ConfigError
        A variable is not set, or config.json is not valid.
    StoreError, RetryError
        config.json or MLflow cannot be read, or not now.
    """
    if not environment.get("RETRAINER_FUNCTION"):
        raise ConfigError("set the environment variable RETRAINER_FUNCTION (what retrains)")
    stack = aws_stack(environment)
    bucket = f"s3://{environment['BUCKET']}"
    config = config_at(f"{bucket}/config.json")
    registry = connect(environment["MLFLOW_TRACKING_URI"])
    retrainer = LambdaFunction(client("lambda"), environment["RETRAINER_FUNCTION"])
    source = open_archive(f"{bucket}/candles", config.candles.max_gap_bars)
    return Orchestrator(
        stack=stack,
        config=config,
        client=registry,
        bundle=partial(load_bundle, registry),
        retrain=lambda model, version: retrainer.start({"model": model, "version": version}),
        source=source,
        record=partial(
            record_live_runs,
            LiveParts(registry, Journal(stack.state), source, config.costs, markets_of(config)),
        ),
    )
