"""``promote``, ``retire`` and ``orchestrate``: versions move between the registry's stages."""

from __future__ import annotations

import argparse
import getpass
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from serving.commands.desk_parts import (
    add_state_argument,
    registry_client,
    say,
    state_of,
    tracking_uri,
)
from store import embedded
from store.clock import milliseconds, utc_now
from strategy.errors import ConfigError

if TYPE_CHECKING:
    from registry.lifecycle import Lifecycle, Stage, StrategyVersion
    from serving.orchestration.parts import Orchestrator

console = Console()


def add(commands: Any) -> None:
    """Add the three to the command line."""
    promote = commands.add_parser("promote", help="a version into its next stage")
    retire = commands.add_parser("retire", help="a version into Archived")
    for parser in (promote, retire):
        parser.add_argument("model", help="as BTCUSDT-1h")
        parser.add_argument("version", type=int)
        parser.add_argument("--why", default="the operator's decision", help="kept with it")
        parser.add_argument("--json", action="store_true", help="for other programs")
    promote.set_defaults(run=_promote)
    retire.set_defaults(run=_retire)
    orchestrate = commands.add_parser("orchestrate", help="judge all strategies, as every day")
    orchestrate.add_argument("--dry-run", action="store_true", help="only say what would be done")
    orchestrate.add_argument("--config", default="config.json", help="(%(default)s)")
    orchestrate.add_argument(
        "--candles", default="synthetic", metavar="PATH|binance|synthetic", help="(%(default)s)"
    )
    add_state_argument(orchestrate)
    orchestrate.set_defaults(run=_orchestrate)


def _promote(options: argparse.Namespace) -> int:
    from registry.lifecycle import Stage

    lifecycle, version = _chosen(options)
    following = {Stage.NONE: Stage.STAGING, Stage.STAGING: Stage.PRODUCTION}
    if version.stage not in following:
        raise ConfigError(
            f"{options.model} version {version.number} is in {version.stage}: only what is in "
            "None or Staging can be promoted"
        )
    stage = following[version.stage]
    if stage is Stage.PRODUCTION and (present := lifecycle.versions_in(Stage.PRODUCTION)):
        raise ConfigError(
            f"{options.model} version {present[0].number} is in Production: with two there "
            f"nothing would be opened. First: python -m serving retire {options.model} "
            f"{present[0].number}"
        )
    return _move(options, lifecycle, version, stage)


def _retire(options: argparse.Namespace) -> int:
    from registry.lifecycle import Stage

    lifecycle, version = _chosen(options)
    if version.stage is Stage.ARCHIVED:
        raise ConfigError(f"{options.model} version {version.number} is in Archived already")
    return _move(options, lifecycle, version, Stage.ARCHIVED)


def _chosen(options: argparse.Namespace) -> tuple[Lifecycle, StrategyVersion]:
    from registry.lifecycle import Lifecycle

    lifecycle = Lifecycle(registry_client(), options.model, milliseconds(utc_now))
    return lifecycle, lifecycle.version(options.version)


def _move(
    options: argparse.Namespace, lifecycle: Lifecycle, version: StrategyVersion, stage: Stage
) -> int:
    lifecycle.move(version.number, stage, who=getpass.getuser(), why=options.why)
    answer = {"model": options.model, "version": version.number, "stage": str(stage)}
    said = (
        f"{options.model} version {version.number}: {version.stage} → {stage}. The bot follows "
        "at the next bar; what is open is managed to its end."
    )
    say(answer, said, as_json=options.json)
    return 0


def _orchestrate(options: argparse.Namespace) -> int:
    from serving.orchestration.steps import orchestrate, propose
    from serving.orchestration.table import outcome_table
    from strategy.errors import exit_status

    orchestrator = _orchestrator(options)
    outcomes = propose(orchestrator) if options.dry_run else orchestrate(orchestrator)
    if not options.dry_run:
        orchestrator.record(orchestrator.stack.clock())
    if options.json:
        print(json.dumps([outcome.record for outcome in outcomes], indent=2))
    else:
        console.print(outcome_table(outcomes))
    failed = [error for outcome in outcomes for error in outcome.errors]
    return exit_status(failed[0]) if failed else 0


def _orchestrator(options: argparse.Namespace) -> Orchestrator:
    if options.state.startswith("dynamodb:"):
        from serving.orchestrator import deployed_orchestrator

        return deployed_orchestrator(os.environ)
    return _local_orchestrator(options)


def _local_orchestrator(options: argparse.Namespace) -> Orchestrator:
    """The orchestrator of this machine: it retrains by itself, and campaigns wait to be run."""
    from dataclasses import replace
    from functools import partial

    from registry.connection import connect
    from registry.loading import load_bundle
    from serving.journal import Journal
    from serving.live_record import LiveParts, record_live_runs
    from serving.model_retrainer import Retrainer, retrain
    from serving.orchestration.parts import Orchestrator, markets_of
    from serving.stack import local_stack
    from store.candle_arguments import candle_source
    from store.config_file import read_config

    config = read_config(Path(options.config))
    for asset, timeframes in config.asset_timeframes.items():
        options.asset, options.timeframe = asset, timeframes[0]  # what a download brings along
    source = candle_source(options, config)
    stack = replace(local_stack(embedded.FOLDER, tracking_uri()), state=state_of(options))
    client = connect(tracking_uri())
    retrainer = Retrainer(client, source, config, stack.state, stack.notifier, stack.clock)

    def retrain_here(model: str, version: int) -> None:
        retrain({"model": model, "version": version}, retrainer)

    return Orchestrator(
        stack=stack,
        config=config,
        client=client,
        bundle=partial(load_bundle, client),
        retrain=retrain_here,
        source=source,
        record=partial(
            record_live_runs,
            LiveParts(client, Journal(stack.state), source, config.costs, markets_of(config)),
        ),
    )
