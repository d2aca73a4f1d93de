"""Two years in the life of a market's strategies, day by day: the real orchestrator, registry,
journal and requests; what the bot, the campaigns' jobs and the retrainer do is scripted.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
import pytest

from registry.connection import Client, connect, ensure_experiment, ensure_store
from registry.lifecycle import PERSON, Lifecycle, Stage
from registry.loading import load_bundle
from registry.registration import register
from serving.asking import ask_for
from serving.campaign_requests import CampaignRequest
from serving.journal import Book, Journal
from serving.orchestration.parts import Orchestrator
from serving.orchestration.steps import Outcome, orchestrate, propose
from store.config_file import read_config
from tests.launch_world import World
from tests.orchestrator_world import record
from tests.strategy_bundles import random_candles, trained_bundle

ASSET, TIMEFRAME, MODEL = "BTCUSDT", "1h", "BTCUSDT-1h"
CONFIG = read_config(Path(__file__).parents[2] / "config.json")
CANDLES = random_candles(1000)
BEGIN, END = datetime(2026, 1, 1, 1, tzinfo=UTC), datetime(2028, 1, 1, 1, tzinfo=UTC)
CAMPAIGN_TAKES = timedelta(days=5)
BOOKS: dict[Stage, Book] = {Stage.STAGING: "paper", Stage.PRODUCTION: "live"}


def r_of(strategy: str, book: Book, day: str) -> float:
    """What a strategy's one trade of a day comes to: C earns, B never does, A does for a while."""
    if strategy == "B" or (strategy == "A" and book == "live" and day >= "2026-07-01"):
        return -1.0
    return 0.5


@dataclasses.dataclass(frozen=True)
class CandlesUntilNow:
    """A source whose newest candle has just closed."""

    world: World
    name: ClassVar[str] = "test"
    synthetic: ClassVar[bool] = True

    def load(self, asset: str, timeframe: str) -> pd.DataFrame:
        end = pd.Timestamp(self.world.clock.now).floor("h")
        index = pd.date_range(end=end, periods=len(CANDLES) + 1, freq="h", name="timestamp")
        return CANDLES.set_axis(index[:-1])


class RememberingClient:
    """The real registry, which is asked for its versions only after something was written to it:
    of 730 days it changes on some twenty, and a search takes it some 15 ms.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._found: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("get_"):
            self._found.clear()
        return getattr(self._client, name)

    def search_model_versions(self, condition: str) -> Any:
        if condition not in self._found:
            self._found[condition] = self._client.search_model_versions(condition)
        return self._found[condition]


class Years:
    """The calendar, and what happens besides the orchestrator."""

    def __init__(self, folder: Path) -> None:
        self.world = World(folder)
        self.world.clock.now = BEGIN
        self.stack = self.world.stack
        uri = f"sqlite:///{folder / 'mlflow.db'}"
        ensure_store(uri)
        self.client: Any = RememberingClient(connect(uri))
        experiment = ensure_experiment(self.client, MODEL, folder / "artifacts")
        self.run_id = self.client.create_run(experiment).info.run_id
        self.bundle = trained_bundle(CANDLES)
        self.life = Lifecycle(self.client, MODEL, lambda: round(1000 * self.now.timestamp()))
        self.journal = Journal(self.stack.state)
        self.source = CandlesUntilNow(self.world)
        self.orchestrator = Orchestrator(
            stack=self.stack,
            config=CONFIG,
            client=self.client,
            bundle=cache(partial(load_bundle, self.client)),  # a version never changes
            retrain=self.retrain,
            source=self.source,
            record=lambda _: None,  # live runs have tests of their own
        )
        self.discoveries: Iterator[str | None] = iter(("A", None, "B", "C"))
        self.retrains: list[tuple[str, int]] = []
        self.dropped = {"2027-06-27"}
        self.told: list[tuple[str, str]] = []

    @property
    def now(self) -> datetime:
        return self.world.clock.now

    @property
    def today(self) -> str:
        return f"{self.now:%Y-%m-%d}"

    @property
    def stages(self) -> dict[int, str]:
        return {version.number: version.stage.value for version in reversed(self.life.versions())}

    def days(self) -> Iterator[list[Outcome]]:
        """Every day at 01:00 UTC: trades have ended, jobs too, and the orchestrator is called."""
        while self.now < END:
            self.end_trades()
            self.end_campaigns()
            yield orchestrate(self.orchestrator)
            told = self.world.told.subjects[len(self.told) :]
            self.told += [(self.today, subject.removeprefix(f"{MODEL}: ")) for subject in told]
            self.world.clock.forward(days=1)

    def end_trades(self) -> None:
        """Every second day a trade of every version that the bot loads."""
        decided = self.now - timedelta(hours=13)
        if decided.toordinal() % 2:
            return
        for version in self.life.versions():
            if (book := BOOKS.get(version.stage)) and version.strategy_id:
                r = r_of(version.strategy_id, book, f"{decided:%Y-%m-%d}")
                self.journal.add_trade(
                    record(version.strategy_id, book, decided, r, version.number)
                )

    def end_campaigns(self) -> None:
        for request in self.stack.requests.waiting():
            if self.now - request.requested_at >= CAMPAIGN_TAKES:
                found = next(self.discoveries)
                self.end(request, found)
                if found:
                    version = self.register(found)
                    self.life.move(version, Stage.STAGING, who="model_validator", why="passed")

    def end(self, request: CampaignRequest, found: str | None) -> None:
        for shard in request.shards:
            verdict = {"verdict": "promoted" if found else "rejected", "reason": "as it is"}
            request.job_record(shard, self.stack.state, self.world.clock).write(**verdict)
        shards = tuple(s.model_copy(update={"status": "completed"}) for s in request.shards)
        self.stack.requests.change(request.campaign_id, lambda now: now.changed(shards=shards))

    def register(self, strategy_id: str) -> int:
        now = pd.Timestamp(self.now).floor("D")
        bundle = dataclasses.replace(
            self.bundle,
            strategy_id=strategy_id,
            training_start=now - pd.DateOffset(months=12),
            training_end=now,
        )
        return register(
            self.client,
            self.run_id,
            bundle,
            model_name=MODEL,
            input_example=CANDLES.tail(5),
            description="",
            tags={},
        )

    def retrain(self, model: str, version: int) -> None:
        """As the retrainer does: the new version takes the old one's stage, or is dropped."""
        assert model == MODEL
        self.retrains.append((self.today, version))
        if self.today not in self.dropped:
            new = self.register(str(self.life.version(version).strategy_id))
            self.life.supersede(version, new, who="model_retrainer", why="no worse")

    def ask(self) -> CampaignRequest:
        return ask_for(
            self.stack, CONFIG, self.source, ASSET, TIMEFRAME, shards=2, requested_by="operator"
        )


@pytest.fixture(scope="module")
def years(tmp_path_factory: pytest.TempPathFactory) -> Years:
    """Two years, lived once."""
    years = Years(tmp_path_factory.mktemp("years"))
    for outcomes in years.days():
        assert not any(outcome.errors for outcome in outcomes)
        if years.now == BEGIN:
            years.ask()
        if any(action.changes for outcome in outcomes for action in outcome.actions):
            assert list(years.stages.values()).count("Production") <= 1
            again = propose(years.orchestrator)
            assert not any(action.changes for outcome in again for action in outcome.actions)
        if years.today == "2027-06-10":  # a person, in the UI
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)
                years.client.transition_model_version_stage(MODEL, "5", "Staging")
    return years


def test_the_operator_hears_of_every_turn_in_two_years_once(years: Years) -> None:
    assert years.told == [
        ("2026-01-06", "validation complete, promoted"),  # asked for by a person, found A
        ("2026-02-06", "version 1 promoted to Production"),
        # 72 live trades until the end of June earned 36 R; 37 more lost 1 R each:
        ("2026-09-12", "version 3 buried"),
        ("2026-09-12", "campaign queued"),
        ("2026-09-17", "validation complete, rejected"),
        ("2026-12-17", "campaign queued"),  # three months after the last one, not at once
        ("2026-12-22", "validation complete, promoted"),  # found B
        ("2027-01-22", "version 4 rejected from Staging"),
        ("2027-03-22", "campaign queued"),
        ("2027-03-27", "validation complete, promoted"),  # found C
        ("2027-04-27", "version 5 promoted to Production"),
        ("2027-06-11", "version 5 moved to Staging by hand"),
        ("2027-07-11", "version 5 promoted to Production"),  # a month on paper anew
    ]


def test_what_is_traded_is_retrained_every_three_months_and_a_month_after_it_was_dropped(
    years: Years,
) -> None:
    assert years.retrains == [
        ("2026-04-06", 1),
        ("2026-07-06", 2),
        ("2027-06-27", 5),
        ("2027-07-27", 5),
        ("2027-10-27", 6),
    ]


def test_at_the_end_the_replacement_lives_and_all_else_is_archived(years: Years) -> None:
    assert years.stages == dict.fromkeys(range(1, 7), "Archived") | {7: "Production"}
    [alive] = years.life.versions_in(Stage.PRODUCTION)
    assert alive.strategy_id == "C"


def test_the_registry_says_who_moved_a_version_and_why_with_the_figures(years: Years) -> None:
    promoted, buried, rejected, pulled = (years.life.version(n) for n in (1, 3, 4, 5))
    assert promoted.tags["production.by"] == "orchestrator"
    assert promoted.tags["production.why"] == (
        "passed: 0.5 R per trade over 16 paper trades, standard error 0 R, wanted > 0.01; "
        "1 calendar months in Staging, since 2026-01-06 01:00 UTC"
    )
    assert promoted.tags["gate.production_trades"].startswith("passed: 16, wanted >= 10")
    assert buried.tags["archived.why"] == (
        "buried: -0.00917 R per trade over 109 live trades, standard error 0.068 R, below 0; "
        "7.2 calendar months in Production, since 2026-02-06 01:00 UTC"
    )
    assert rejected.tags["archived.by"] == "orchestrator"
    assert rejected.tags["archived.why"].startswith("rejected: -1 R per trade over 16 paper")
    assert pulled.tags["staging.by"] == PERSON
    assert "from Production to Staging by hand" in pulled.tags["staging.why"]


def test_a_campaign_is_shared_among_as_many_jobs_as_the_one_before_it(years: Years) -> None:
    requests = sorted(years.stack.requests.all(), key=lambda request: request.requested_at)
    assert [request.requested_by for request in requests] == ["operator"] + ["orchestrator"] * 3
    assert [len(request.shards) for request in requests] == [2] * 4
