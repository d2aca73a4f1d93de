"""The system on this machine: SQLite, folders, a queue in a file, and the rehearsal's exchange."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache, cached_property, partial
from typing import Any, ClassVar, cast

import numpy as np

from registry.connection import Client, connect, ensure_store
from registry.loading import load_bundle
from rehearsal.binance.futures import API_KEY, API_SECRET
from rehearsal.binance.in_process import connected
from rehearsal.fate import Frail
from rehearsal.registry_cache import RememberingClient
from rehearsal.schedule import Rule, deployed_rules
from rehearsal.system import Surroundings
from serving.data_downloader import FINEST_HISTORY, Downloader, download
from serving.initiate_validation_window import initiate
from serving.journal import Journal
from serving.launch_spot_validator import launch
from serving.live_record import LiveParts, record_live_runs
from serving.local_launcher import sqs_record
from serving.model_retrainer import Retrainer, retrain
from serving.orchestration.parts import Orchestrator, markets_of
from serving.orchestrator import answer
from serving.stack import Stack
from serving.trading.bot import TradingBot
from serving.trading.roster import Roster
from serving.training_job_events import hear
from store.backoff import Backoff
from store.binance import BinanceSource
from store.binance_futures import BinanceFutures, connect_futures
from store.binance_klines import connect as connect_klines
from store.candle_archive import CandleArchive
from store.exchange import Exchange
from store.notifications import LogNotifier
from store.objects import open_objects
from store.settings import SettingsFile
from store.sqlite_file import FLEETING
from store.sqlite_queue import Message, SqliteQueue
from store.sqlite_state import SqliteState
from store.state import StateTable
from store.training_jobs import JobDescription

VISIBILITY_SECONDS = 360.0
_FOR_EVER = datetime.max.replace(tzinfo=UTC)
_ALL: frozenset[str] = frozenset()
_STATE = frozenset({"get", "items", "put", "delete"})


@contextmanager
def embedded_system(within: Surroundings) -> Iterator[EmbeddedSystem]:
    """The system below the folder, which outlives it."""
    yield EmbeddedSystem(**vars(within))


@dataclass
class EmbeddedSystem(Surroundings):
    """Everything that Lambda would run, with parts below one folder.

    Parameters
    ----------
    market
        As the bot sees it.
    """

    _started: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list, init=False)
    _bot: TradingBot | None = field(default=None, init=False, repr=False)
    _quiet_until: datetime = field(default=_FOR_EVER, init=False, repr=False)
    """Nothing is in the queue before that."""

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        ensure_store(self.tracking_uri)
        for name, value in (("binance_api_key", API_KEY), ("binance_api_secret", API_SECRET)):
            self.settings.set(f"environment/{name}", value)

    # The rehearsal's side

    in_words: ClassVar[str] = "embedded parts: SQLite, folders, processes"

    def rules(self) -> list[Rule]:
        return deployed_rules()

    def call(self, function: str, payload: Mapping[str, Any]) -> Any:
        return self._functions[function](payload)

    def forget(self, function: str) -> None:
        if function == "trading_bot":
            self._bot = None

    def started(self) -> list[tuple[str, Mapping[str, Any]]]:
        found, self._started = self._started, []
        return found

    def nudges(self) -> list[Message]:
        if self.clock() < self._quiet_until:
            return []
        found = self.queue.receive(10)
        if not found:
            self._quiet_until = _FOR_EVER
        return found

    def launch(self, messages: list[Message]) -> None:
        records = [sqs_record(each) for each in messages]
        outcome = launch({"Records": records}, self.stack)
        failed = {each["itemIdentifier"] for each in outcome["batchItemFailures"]}
        for message in messages:
            if str(message.id) not in failed:
                self.queue.delete(message)
        if failed:
            self._quiet_until = self.clock() + timedelta(seconds=VISIBILITY_SECONDS)

    def registry_changed(self) -> None:
        """Somebody else has written to the registry: a job, a person."""
        client: Any = self.registry
        client.forget()

    def end_job(self, name: str, interrupted_after: int | None) -> JobDescription:
        job = self.spot.end(name, interrupted_after)
        self.registry_changed()
        return job

    def listener(self, event: Mapping[str, Any]) -> str:
        return "training_job_events"

    def send(self, body: str) -> None:
        """The queue's method: from then on it is looked into."""
        self.queue.send(body)
        self._quiet_until = self.clock()

    # Parts

    @property
    def tracking_uri(self) -> str:
        return f"sqlite:///{self.folder / 'mlflow.db'}"

    @cached_property
    def state(self) -> StateTable:
        """The table itself, which never fails."""
        # Of what a rehearsal writes nothing must outlive a power cut: that is half of its time.
        return SqliteState(self.folder / "state.db", self.clock, FLEETING)

    @cached_property
    def queue(self) -> SqliteQueue:
        return SqliteQueue(self.folder / "queue.db", self.clock, VISIBILITY_SECONDS)

    @cached_property
    def settings(self) -> SettingsFile:
        return SettingsFile(self.folder / "settings.json")

    @cached_property
    def registry(self) -> Client:
        """The client itself, which never fails."""
        return cast(Client, RememberingClient(connect(self.tracking_uri)))

    @cached_property
    def notifications(self) -> LogNotifier:
        return LogNotifier(self.folder / "notifications.log", self.clock)

    @cached_property
    def archive(self) -> CandleArchive:
        """The bucket's candles."""
        place = str(self.folder / "candles")
        files: Any = self._frail(open_objects(place), "bucket")
        return CandleArchive(files, place, self.config.candles.max_gap_bars)

    @cached_property
    def stack(self) -> Stack:
        return Stack(
            state=self._frail(self.state, "table", _STATE),
            queue=self._frail(self, "queue", frozenset({"send"})),
            jobs=self._frail(self.spot, "capacity", frozenset({"create"})),
            notifier=self._frail(self.notifications, "notifier"),
            settings=self.settings,
            spending=self.spot,
            prices=self.spot.prices,
            clock=self.clock,
            inputs_uri=str(self.folder / "campaigns"),
            checkpoints=lambda _: str(self.folder / "checkpoints"),
            output_uri=str(self.folder / "jobs"),
            environment={
                "STATE_URI": f"sqlite:///{self.folder / 'state.db'}",
                "MLFLOW_TRACKING_URI": self.tracking_uri,
            },
        )

    @cached_property
    def quiet_stack(self) -> Stack:
        """The same parts, of which none fails: for who looks on."""
        return replace(self.stack, state=self.state, notifier=self.notifications, queue=self.queue)

    @property
    def bot(self) -> TradingBot:
        """The one of the process that lives now."""
        if self._bot is None:
            self._bot = TradingBot(
                config=self.config,
                settings=self.settings,
                state=self.stack.state,
                market=self.market,
                roster=Roster(
                    lambda: self._frail(self.registry, "registry"),
                    self.config.walk_forward_config.step_months,
                    self.clock,
                ),
                notifier=self.stack.notifier,
                clock=self.clock,
                open_live=self._open_live,
                sleep=self.clock.sleep,
            )
        return self._bot

    @cached_property
    def orchestrator(self) -> Orchestrator:
        client = self._frail(self.registry, "registry")
        markets = markets_of(self.config)
        journal = Journal(self.stack.state)
        live_runs = LiveParts(client, journal, self.archive, self.config.costs, markets)
        return Orchestrator(
            stack=self.stack,
            config=self.config,
            client=client,
            bundle=cache(partial(load_bundle, client)),  # a version never changes
            retrain=lambda model, version: self._start(
                "model_retrainer", {"model": model, "version": version}
            ),
            source=self.archive,
            record=partial(record_live_runs, live_runs),
        )

    @cached_property
    def _functions(self) -> Mapping[str, Callable[[Mapping[str, Any]], Any]]:
        return {
            "data_downloader": lambda event: download(event, self._downloader()),
            "orchestrator": lambda event: answer(event, self.orchestrator),
            "model_retrainer": lambda event: retrain(event, self._retrainer()),
            "trading_bot": lambda _: self.bot.tick(),
            "initiate_validation_window": lambda event: initiate(event, self.stack),
            "training_job_events": lambda event: hear(event, self.stack),
        }

    def _downloader(self) -> Downloader:
        client = connected(connect_klines(), self.exchange)
        patience = Backoff(self.clock.sleep, np.random.default_rng(0), attempts=3, longest=10.0)
        source = BinanceSource(self.archive, FINEST_HISTORY, client, self.clock, patience)
        return Downloader(self.config, source, self.stack.state, self.stack.notifier)

    def _retrainer(self) -> Retrainer:
        return Retrainer(
            self._frail(self.registry, "registry"),
            self.archive,
            self.config,
            self.stack.state,
            self.stack.notifier,
            self.clock,
        )

    def _open_live(self) -> Exchange:
        environment = self.settings.environment()
        key, secret = environment.binance_api_key, environment.binance_api_secret
        client = connect_futures(
            key.get_secret_value(), secret.get_secret_value(), environment.binance_environment
        )
        patience = Backoff(
            self.clock.sleep, np.random.default_rng(0), attempts=4, first=0.5, longest=10.0
        )
        return BinanceFutures(connected(client, self.exchange), patience, self.clock)

    def _start(self, function: str, event: Mapping[str, Any]) -> None:
        self._started.append((function, event))

    def _frail(self, part: Any, name: str, methods: frozenset[str] = _ALL) -> Any:
        return Frail(part, name, self.fate, methods)
