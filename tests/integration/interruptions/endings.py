"""What a campaign left in MLflow, without what differs between any two runs of it.

Left out are ids, times, and who ran it where. Everything else must be equal: the tree of
runs with their parameters, tags and every point of every metric, the files, the version.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MODEL = "BTCUSDT-1h"
_TIMED = (".at",)  # tags that end so are times


def ending(var: Path) -> dict[str, Any]:
    """Everything that a campaign's stores below ``var`` say of it.

    Read from MLflow's tables, and not through its client, so that nothing is hidden: neither a
    second row for the same point of a metric, nor a run of the same name.
    """
    with sqlite3.connect(f"file:{var / 'mlflow.db'}?mode=ro", uri=True) as database:
        keys = dict(
            database.execute(
                "SELECT run_uuid, value FROM tags JOIN runs USING (run_uuid) "
                "WHERE key = 'run_key' AND lifecycle_stage = 'active'"
            ).fetchall()
        )
        return {
            "runs": sorted(keys.values()),
            "statuses": sorted(
                database.execute("SELECT name, status FROM runs WHERE lifecycle_stage = 'active'")
            ),
            "parameters": _by_run(database, keys, "SELECT run_uuid, key, value FROM params"),
            "tags": _tags(database, keys),
            "metrics": _by_run(
                database, keys, "SELECT run_uuid, key, step, value, is_nan FROM metrics"
            ),
            "files": {
                keys[run]: dict(_files(var / "artifacts" / run / "artifacts")) for run in keys
            },
            "datasets": database.execute(
                "SELECT name, digest, dataset_source FROM datasets"
            ).fetchall(),
            "inputs and outputs": Counter(
                (kind, keys.get(source) or keys.get(target))
                for kind, source, target in database.execute(
                    "SELECT source_type, source_id, destination_id FROM inputs"
                )
            ),
            "models": list(_models(database, keys, var)),
            "versions": list(_versions(database, keys)),
            "aliases": database.execute(
                "SELECT name, alias, version FROM registered_model_aliases"
            ).fetchall(),
        }


def differences(found: Any, expected: Any, at: str = "") -> list[str]:
    """Where two endings differ, for people."""
    if isinstance(found, dict) and isinstance(expected, dict):
        return [
            line
            for key in sorted(found.keys() | expected.keys(), key=str)
            for line in differences(found.get(key), expected.get(key), f"{at}/{key}")
        ]
    return [] if found == expected else [f"{at}: {found!r:.300}, undisturbed {expected!r:.300}"]


def _by_run(
    database: sqlite3.Connection, keys: dict[str, str], query: str
) -> dict[str, list[tuple[Any, ...]]]:
    found: dict[str, list[tuple[Any, ...]]] = {key: [] for key in sorted(keys.values())}
    for run, *row in database.execute(query):
        if run in keys:
            found[keys[run]].append(tuple(row))
    return {key: sorted(rows) for key, rows in found.items()}


def _tags(database: sqlite3.Connection, keys: dict[str, str]) -> dict[str, dict[str, str]]:
    found = _by_run(database, keys, "SELECT run_uuid, key, value FROM tags")
    return {
        run: {
            key: keys.get(value, value) if key == "mlflow.parentRunId" else value
            for key, value in tags
        }
        for run, tags in found.items()
    }


def _files(folder: Path) -> Iterator[tuple[str, str]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            content = path.read_bytes()
            yield path.relative_to(folder).as_posix(), hashlib.sha256(content).hexdigest()


def _models(
    database: sqlite3.Connection, keys: dict[str, str], var: Path
) -> Iterator[dict[str, Any]]:
    """The models that are not in the trash, with the files of their bundles."""
    for model, name, status, run in database.execute(
        "SELECT model_id, name, status, source_run_id FROM logged_models "
        "WHERE lifecycle_stage = 'active'"
    ).fetchall():
        bundle = var / "artifacts" / "models" / model / "artifacts" / "artifacts" / "bundle"
        yield {
            "name": name,
            "status": status,
            "run": keys.get(run),
            "bundle": {path.name: path.read_text() for path in sorted(bundle.glob("*"))},
        }


def _versions(database: sqlite3.Connection, keys: dict[str, str]) -> Iterator[dict[str, Any]]:
    tags: dict[int, dict[str, str]] = {}
    for version, key, value in database.execute(
        "SELECT version, key, value FROM model_version_tags"
    ):
        tags.setdefault(version, {})[key] = value if not key.endswith(_TIMED) else "some time"
    for name, version, description, stage, run, status in database.execute(
        "SELECT name, version, description, current_stage, run_id, status FROM model_versions"
    ).fetchall():
        yield {
            "name": name,
            "version": version,
            "description": description,
            "stage": stage,
            "run": keys.get(run),
            "status": status,
            "tags": tags.get(version, {}),
        }
