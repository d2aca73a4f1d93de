"""Performs a script, and keeps what came of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import date
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from registry.code_version import PACKAGES, code_digest
from registry.connection import Client, ensure_experiment
from rehearsal.invariants import InvariantBrokenError
from rehearsal.outcome import Outcome
from rehearsal.report import page
from rehearsal.script import Script
from rehearsal.world import World

REPORT, RESULT = "report.html", "result.json"
EXPERIMENT = "rehearsals"


@contextmanager
def performed(
    script: Script, folder: Path, console: Console
) -> Iterator[tuple[World, InvariantBrokenError | None]]:
    """Let the time pass; yields the world as it is then, and what did not hold.

    Parameters
    ----------
    folder
        Of the system's files; must be empty.
    """
    with closing(World(script, folder)) as world:
        yield world, _broken(world, console)


def _broken(world: World, console: Console) -> InvariantBrokenError | None:
    script = world.script
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        refresh_per_second=1,
    ) as progress:
        task = progress.add_task("", total=(script.end - script.begin).days)

        def told(day: date) -> None:
            progress.update(
                task,
                completed=(day - script.begin.date()).days,
                description=f"{day} {sum(world.fate.counts.values()):,} faults",
            )

        try:
            world.rehearsal.run(script.end, told)
            world.invariants.at_the_end()
        except InvariantBrokenError as broken:
            return broken
    return None


def publish(outcome: Outcome, folder: Path, client: Client) -> Path:
    """Write the report beside the system's files, and as an artifact of a run in its store."""
    path = folder / REPORT
    path.write_text(page(outcome), encoding="utf-8")
    (folder / RESULT).write_text(json.dumps(_result(outcome), indent=2), encoding="utf-8")
    experiment = ensure_experiment(client, EXPERIMENT, folder / "artifacts")
    run = client.create_run(experiment, run_name=f"{outcome.market}, seed {outcome.seed}")
    client.log_metric(run.info.run_id, "things_gone_wrong", outcome.struck)
    client.log_metric(run.info.run_id, "invariants_broken", int(outcome.broken is not None))
    client.log_metric(run.info.run_id, "live_usd", sum(each.usd for each in outcome.live))
    client.set_tag(run.info.run_id, "mlflow.note.content", outcome.verdict)
    client.log_artifact(run.info.run_id, str(path))
    client.set_terminated(run.info.run_id)
    return path


def rehearsed_code() -> str:
    """Digest of all that a rehearsal runs."""
    return code_digest((*PACKAGES, "serving", "infra", "rehearsal"))


def _result(outcome: Outcome) -> dict[str, Any]:
    """What another program, or a later run, wants to know."""
    return {
        "market": outcome.market,
        "seed": outcome.seed,
        "code_digest": rehearsed_code(),
        "begin": outcome.begin.isoformat(),
        "end": outcome.end.isoformat(),
        "calls": sum(outcome.calls.values()),
        "things_gone_wrong": outcome.struck,
        "checks": sum(outcome.checked.values()),
        "lived": outcome.lived,
        "broken": None if outcome.broken is None else str(outcome.broken),
        "verdict": outcome.verdict,
    }
