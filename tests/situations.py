"""Situations of a model for tests of the orchestrator's plan, put together from few words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from registry.lifecycle import Stage, StrategyVersion
from serving.campaign_requests import CampaignRequest, Shard
from serving.journal import Book
from serving.orchestration.actions import (
    Action,
    Alarm,
    AskForCampaign,
    Move,
    RecordOverride,
    Retrain,
)
from serving.orchestration.situation import WHO, Result, Situation, Trained
from store.config_file import read_config

MODEL = "BTCUSDT-1h"
CONFIG = read_config(Path(__file__).parents[1] / "config.json")
NOW = datetime(2026, 7, 1, 1, tzinfo=UTC)
FRESH = Trained(datetime(2026, 6, 1, tzinfo=UTC), 0.5)
"""Of a bundle that needs no retrain at NOW."""


def day(text: str) -> datetime:
    """``"2026-05-01"`` at 01:00 UTC, when the orchestrator is called."""
    return datetime.fromisoformat(f"{text}T01:00:00+00:00")


def version(
    number: int,
    stage: Stage,
    strategy: str | None = "A",
    *,
    recorded: Stage | None = None,
    **entries: tuple[str, str] | str,
) -> StrategyVersion:
    """A version whose entries are days: ``staging="2026-05-01"``, or with who made it."""
    tags = {"stage": str(recorded or stage)}
    if strategy:
        tags["strategy_id"] = strategy
    for key, entry in entries.items():
        on, who = (entry, "model_validator") if isinstance(entry, str) else entry
        tags |= {f"{key}.at": f"{on}T01:00:00Z", f"{key}.by": who, f"{key}.why": "as it is"}
    return StrategyVersion(number, stage, "run", tags)


def staged(number: int = 1, since: str = "2026-05-01", strategy: str = "A") -> StrategyVersion:
    return version(number, Stage.STAGING, strategy, staging=since)


def live(number: int = 1, since: str = "2026-03-01", strategy: str = "A") -> StrategyVersion:
    return version(
        number, Stage.PRODUCTION, strategy, staging="2026-01-01", production=(since, WHO)
    )


def buried(number: int = 1, on: str = "2026-06-30", strategy: str = "A") -> StrategyVersion:
    found = version(
        number, Stage.ARCHIVED, strategy, staging="2026-01-01", production="2026-02-01",
        archived=(on, WHO),
    )  # fmt: skip
    return replace(found, tags={**found.tags, "archived.why": "buried: -0.1 R"})


def results(*r: float, on: str = "2026-06-15") -> list[Result]:
    return [Result(day(on), each) for each in r]


def campaign(status: str, ended: str, number: int = 1) -> CampaignRequest:
    shard: Any = {"waiting": "waiting", "running": "submitted"}.get(status, status)
    return CampaignRequest(
        campaign_id=f"c{number}",
        asset="BTCUSDT",
        timeframe="1h",
        config_digest="c",
        data_digest="d",
        code_digest="e",
        input_uri="folder",
        checkpoint_uri="folder",
        max_resume_attempts=3,
        requested_by="operator",
        requested_at=day("2026-01-01"),
        updated_at=day(ended),
        shards=(Shard(number=1, status=shard),),
    )


def situation(
    *versions: StrategyVersion,
    paper: Mapping[str, Sequence[Result]] | None = None,
    live: Mapping[str, Sequence[Result]] | None = None,
    now: datetime = NOW,
    **parts: Any,
) -> Situation:
    """As it stands at NOW, with fresh bundles."""
    books: dict[Book, Mapping[str, Sequence[Result]]] = {"paper": paper or {}, "live": live or {}}
    traded = [each for each in versions if each.stage in (Stage.STAGING, Stage.PRODUCTION)]
    return Situation(
        model=MODEL,
        now=now,
        config=CONFIG,
        versions=tuple(sorted(versions, key=lambda each: -each.number)),
        results={
            (book, strategy): found
            for book, strategies in books.items()
            for strategy, found in strategies.items()
        },
        **{"bundles": {each.number: FRESH for each in traded}} | parts,
    )


def changing(actions: Sequence[Action]) -> list[tuple[str, int | None]]:
    """What a plan changes: names of actions, with their versions."""
    return [(action.name, getattr(action, "version", None)) for action in actions if action.changes]


def carried_out(before: Situation, actions: Sequence[Action]) -> Situation:
    """The situation that a plan leaves behind."""
    after = before
    at = f"{before.now:%Y-%m-%dT%H:%M:%SZ}"
    for action in actions:
        if isinstance(action, Move):
            key = action.stage.lower()
            story = {f"{key}.at": at, f"{key}.by": WHO, f"{key}.why": action.why}
            after = _with_version(after, action.version, action.stage, story)
        elif isinstance(action, RecordOverride):
            [moved] = [each for each in after.versions if each.number == action.version]
            key = moved.stage.lower()
            story = {f"{key}.at": at, f"{key}.by": "a person, outside the program"}
            after = _with_version(after, action.version, moved.stage, story)
        elif isinstance(action, Retrain):
            after = replace(after, retrains={**after.retrains, action.version: after.now})
        elif isinstance(action, AskForCampaign):
            new = campaign("waiting", f"{after.now:%Y-%m-%d}", len(after.campaigns) + 1)
            after = replace(after, campaigns=(*after.campaigns, new))
        else:
            assert isinstance(action, Alarm) or not action.changes
    return after


def _with_version(
    before: Situation, number: int, stage: Stage, story: Mapping[str, str]
) -> Situation:
    versions = tuple(
        replace(each, stage=stage, tags={**each.tags, **story, "stage": str(stage)})
        if each.number == number
        else each
        for each in before.versions
    )
    return replace(before, versions=versions)
