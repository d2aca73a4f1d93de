"""The system as the project's templates deploy it, in an AWS that moto imitates in this process.

The handlers are the real ones, called with the variables that their functions were deployed
with. What AWS does between them (schedules, the queue's mapping, calls that functions ask for,
training jobs and their events) is done as the deployed rules and mappings say.
"""

from __future__ import annotations

import importlib
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, ClassVar, TextIO, cast
from unittest.mock import patch

import moto.core.utils

import registry.connection
from infra.calls import DeployedHandler, deployed_handler
from infra.commands import variables
from registry.connection import Client, connect, ensure_store
from rehearsal.aws_requests import AwsRequests
from rehearsal.binance.clients import redirected
from rehearsal.binance.futures import API_KEY, API_SECRET
from rehearsal.binance.in_process import connected
from rehearsal.clock import moved
from rehearsal.event_rules import EventRules
from rehearsal.fate import Frail
from rehearsal.imitated_aws import (
    APP,
    IMAGE_TAG,
    deploy,
    fake_aws,
    new_clients,
    reached_by_others,
    started,
)
from rehearsal.registry_cache import RememberingClient
from rehearsal.schedule import Rule
from rehearsal.sqs import Nudge, NudgeQueue, nudge_queue
from rehearsal.system import Surroundings
from serving import model_retrainer, orchestrator
from serving.config_service import deployed_service
from serving.lambda_logs import logger, structured
from serving.local_launcher import sqs_record
from serving.stack import Stack, aws_stack, deployed_stack
from serving.trading_bot import deployed_bot
from store.aws import client
from store.candle_archive import CandleArchive
from store.notifications import LogNotifier
from store.objects import open_objects
from store.settings import SsmSettings
from store.state import StateTable, open_state
from store.training_jobs import JobDescription
from strategy.errors import ConfigError

STAGE = "rehearsal"
PREFIX = f"trading-system-{STAGE}-"
KEPT = (deployed_bot, deployed_service, deployed_stack)
"""What a process keeps from one call to the next."""
_STATE = frozenset({"get", "items", "put", "delete"})
_FOR_EVER = datetime.max.replace(tzinfo=UTC)


@contextmanager
def deployed_system(within: Surroundings) -> Iterator[DeployedSystem]:
    """Deploy the system into an empty account; then all time is the rehearsal's.

    There may be one at a time.
    """
    folder, clock = within.folder, within.clock
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    ensure_store(uri)
    told = LogNotifier(folder / "notifications.log", clock)
    functions: list[tuple[str, Any]] = []
    with ExitStack() as stack:
        enter = stack.enter_context
        enter(fake_aws())
        enter(new_clients())
        url = enter(reached_by_others())
        build = folder / "build"
        build.mkdir()
        with warnings.catch_warnings(action="ignore", category=UserWarning):
            outputs = deploy(STAGE, build, {})  # moto tells of every resource that it leaves out
        enter(moved(clock, clock.sleep))
        enter(patch.object(moto.core.utils, "utcnow", lambda: clock().replace(tzinfo=None)))
        enter(started(functions))
        environment = {"AWS_ENDPOINT_URL": url, "MLFLOW_TRACKING_URI": uri}
        requests = AwsRequests(clock, within.fate, within.spot, told, environment)
        enter(requests.passing())
        enter(redirected(lambda made: connected(made, within.exchange)))
        log = enter((folder / "functions.log").open("a", encoding="utf-8"))
        enter(_logged_into(log))
        system = DeployedSystem(
            **vars(within), outputs=outputs, requests=requests, functions=functions, log=log
        )
        for place in (registry.connection, orchestrator, model_retrainer):
            enter(patch.object(place, "connect", system.open_app))
        for kept in KEPT:
            stack.callback(kept.cache_clear)
            kept.cache_clear()
        system.make_ready()
        yield system


@dataclass
class DeployedSystem(Surroundings):
    """What was deployed, and what AWS does with it.

    Parameters
    ----------
    market
        As a replay reveals it; the bot asks the exchange.
    outputs
        Of main.yaml.
    functions
        That are to be called, by name and with the event.
    log
        Where the functions' logs go.
    """

    outputs: Mapping[str, str]
    requests: AwsRequests
    functions: list[tuple[str, Any]]
    log: TextIO
    _handlers: dict[str, DeployedHandler] = field(default_factory=dict, init=False, repr=False)
    _quiet_until: datetime = field(default=_FOR_EVER, init=False, repr=False)
    """Nothing is in the queue before that."""

    in_words: ClassVar[str] = (
        "what the templates deploy, by the real handlers, in an AWS that moto imitates"
    )

    def make_ready(self) -> None:
        """What an operator does: config and keys. The queue's messages wait to be fetched."""
        bucket = open_objects(f"s3://{self.outputs['BucketName']}")
        bucket.replace("config.json", self.config.model_dump_json().encode())
        for name, value in (("binance_api_key", API_KEY), ("binance_api_secret", API_SECRET)):
            self.settings.set(f"environment/{name}", value)
        for asset, timeframe in self.config.markets:
            # An App gives experiments a place in its bucket; another store would take a folder.
            place = f"s3://{self.outputs['BucketName']}/mlflow/{asset}-{timeframe}"
            self.registry.create_experiment(f"{asset}-{timeframe}", artifact_location=place)
        # moto would hand a message over at once, and forget it where that fails.
        uuid = self._mapping["UUID"]
        client("lambda").update_event_source_mapping(UUID=uuid, Enabled=False)

    # The rehearsal's side

    def rules(self) -> list[Rule]:
        return EventRules(PREFIX).scheduled()

    def call(self, function: str, payload: Mapping[str, Any]) -> Any:
        if function not in self._handlers:
            self._handlers[function] = deployed_handler(client("lambda"), PREFIX + function)
        with self.requests.by_functions(), redirect_stdout(self.log):
            answer = self._handlers[function](payload)
        return answer

    def forget(self, function: str) -> None:
        handler = importlib.import_module(f"serving.{function}")
        for kept in KEPT:
            if kept in vars(handler).values():
                kept.cache_clear()

    def started(self) -> list[tuple[str, Mapping[str, Any]]]:
        found, self.functions[:] = list(self.functions), []
        return [(name.removeprefix(PREFIX), event) for name, event in found]

    def nudges(self) -> list[Nudge]:
        if self.requests.sent:
            self.requests.sent, self._quiet_until = False, self.clock()
        if self.clock() < self._quiet_until:
            return []
        found = self.queue.receive(self._mapping["BatchSize"])
        if not found:
            self._quiet_until = _FOR_EVER
        return found

    def launch(self, messages: list[Nudge]) -> None:
        launcher = self._mapping["FunctionArn"].rpartition(":")[2].removeprefix(PREFIX)
        answer = self.call(launcher, {"Records": [sqs_record(each) for each in messages]})
        failed = {each["itemIdentifier"] for each in answer["batchItemFailures"]}
        for message in messages:
            if message.id not in failed:
                self.queue.delete(message)

    def end_job(self, name: str, interrupted_after: int | None) -> JobDescription:
        job = self.spot.end(name, interrupted_after)
        self.requests.job_ended(job)
        self.registry_changed()
        return job

    def listener(self, event: Mapping[str, Any]) -> str:
        return EventRules(PREFIX).listener("training-job-ends", event)

    def registry_changed(self) -> None:
        remembering: Any = self.registry
        remembering.forget()

    def open_app(self, uri: str) -> Client:
        """Stands for the App, whose requests are signed by a plugin of MLflow's own."""
        if uri != APP:
            raise ConfigError(f"{uri}: what was deployed knows {APP} alone")
        return cast(Client, Frail(self.registry, "registry", self.fate, frozenset()))

    # Parts, of which none fails

    @cached_property
    def registry(self) -> Client:
        return cast(Client, RememberingClient(connect(f"sqlite:///{self.folder / 'mlflow.db'}")))

    @cached_property
    def state(self) -> StateTable:
        return open_state(f"dynamodb://{self.outputs['TableName']}", self.clock)

    @cached_property
    def settings(self) -> SsmSettings:
        return SsmSettings(client("ssm"))

    @cached_property
    def queue(self) -> NudgeQueue:
        return nudge_queue(self.outputs["QueueUrl"])

    @cached_property
    def quiet_stack(self) -> Stack:
        built = {"RepositoryName": "trading-system/training", "ImageTag": IMAGE_TAG}
        return aws_stack(variables(built, self.outputs), self.clock)

    # Parts as people use them: they may fail

    @cached_property
    def stack(self) -> Stack:
        return replace(
            self.quiet_stack,
            state=Frail(self.state, "table", self.fate, _STATE),
            queue=Frail(self.quiet_stack.queue, "queue", self.fate, frozenset()),
        )

    @cached_property
    def archive(self) -> CandleArchive:
        place = f"s3://{self.outputs['BucketName']}/candles"
        files: Any = Frail(open_objects(place), "bucket", self.fate, frozenset())
        return CandleArchive(files, place, self.config.candles.max_gap_bars)

    @cached_property
    def _mapping(self) -> dict[str, Any]:
        """Of the queue to the launcher."""
        found: dict[str, Any]
        [found] = client("lambda").list_event_source_mappings()["EventSourceMappings"]
        return found


@contextmanager
def _logged_into(log: TextIO) -> Iterator[None]:
    """Have what the functions log go there, which Lambda would keep."""
    structured()
    names = (logger.name, "serving", "store", "strategy")
    handlers = {  # loggers share them
        handler
        for name in names
        for handler in logging.getLogger(name).handlers
        if isinstance(handler, logging.StreamHandler)
    }
    before = {handler: handler.setStream(log) for handler in handlers}
    try:
        yield
    finally:
        for handler, stream in before.items():
            handler.setStream(stream)
