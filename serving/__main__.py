"""Asks for campaigns, and shows how they fare.

::

    python -m serving campaign --asset BTCUSDT --timeframe 1h --candles synthetic --shards 2
    python -m serving status
"""

# Imports that take seconds stand inside the functions: each command needs some of them only.

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.live import Live
from rich.markup import escape

from store import embedded
from strategy.errors import INTERRUPTED, FixError, TradingSystemError, exit_status

if TYPE_CHECKING:
    from serving.campaign_requests import CampaignRequest
    from serving.stack import Stack

TERMINATED = 128 + signal.SIGTERM
console = Console()


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    from store.candle_arguments import add_market_arguments
    from store.config_file import add_config_arguments

    parser = argparse.ArgumentParser(prog="python -m serving", description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    campaign = commands.add_parser("campaign", help="ask for a campaign, and run it here")
    add_market_arguments(campaign)
    add_config_arguments(campaign)
    campaign.add_argument("--shards", type=int, default=1, help="jobs that share it (%(default)s)")
    campaign.add_argument(
        "--launcher",
        choices=("local", "sagemaker"),
        default="local",
        help="run it as processes on this machine, or leave it to the launcher on AWS, whose "
        "variables (STATE_URI, QUEUE_URL, ...) must be set (%(default)s)",
    )
    status = commands.add_parser("status", help="requests, their jobs and what they cost")
    status.add_argument("--json", action="store_true", help="for other programs")
    status.add_argument(
        "--state",
        default=os.environ.get("STATE_URI", embedded.STATE),
        help="state table (STATE_URI, else %(default)s)",
    )
    options = parser.parse_args(arguments)
    if options.command == "campaign" and options.shards < 1:
        parser.error("--shards: at least 1")
    actions: dict[str, Callable[[argparse.Namespace], int]] = {
        "local": _run_here,
        "sagemaker": _leave_to_aws,
        "status": _show_status,
    }
    action = actions[options.launcher if options.command == "campaign" else "status"]
    try:
        return action(options)
    except KeyboardInterrupt:  # before anything runs
        Console(stderr=True).print("[red bold]error:[/] interrupted")
        return INTERRUPTED
    except TradingSystemError as error:
        Console(stderr=True).print(f"[red bold]error:[/] {escape(str(error))}", highlight=False)
        return exit_status(error)


def _leave_to_aws(options: argparse.Namespace) -> int:
    from serving.asking import ask_for
    from serving.stack import aws_stack

    stack = aws_stack(os.environ)
    request = ask_for(stack, options)
    console.print(f"Campaign [bold]{request.campaign_id}[/] is {request.status}: {request.reason}.")
    console.print(
        "Look next: python -m serving status --state "
        f"{stack.environment['STATE_URI']}, jobs named {request.market}-{request.campaign_id}-… "
        f"in the SageMaker console, and experiment {request.market} in MLflow "
        f"({stack.environment['MLFLOW_TRACKING_URI']})."
    )
    return 0


def _run_here(options: argparse.Namespace) -> int:
    from serving.asking import ask_for
    from serving.local_launcher import LocalLauncher
    from serving.stack import local_jobs, local_queue, local_stack

    folder = embedded.FOLDER
    stack = local_stack(folder, os.environ.get("MLFLOW_TRACKING_URI") or embedded.TRACKING)
    launcher = LocalLauncher(stack, local_queue(folder), local_jobs(folder), time.sleep)
    _log_to(folder / "launcher.log")
    launcher.report_ends()  # of jobs that an earlier launcher left alone
    request = ask_for(stack, options)
    console.print(f"Campaign [bold]{request.campaign_id}[/]: {request.reason}.")
    signals: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda received, _: _stop(signals, received))
    try:
        with Live(console=console, refresh_per_second=2, transient=True) as live:
            request = launcher.run(request.campaign_id, lambda now: live.update(_table(stack, now)))
        console.print(_table(stack, request))
    except KeyboardInterrupt:
        console.print("Stopping: each job finishes the window in hand.")
        stopped = launcher.stop(request.campaign_id)
        console.print("Stopped." if stopped else "A job still runs; it goes on by itself.")
        console.print("The same command goes on where it was.")
        return TERMINATED if signal.SIGTERM in signals else INTERRUPTED
    return _close(stack, request)


def _close(stack: Stack, request: CampaignRequest) -> int:
    from serving.notices import verdict

    if request.status == "failed":
        logs = ", ".join(
            str(embedded.FOLDER / "jobs" / request.job_name(shard) / "job.log")
            for shard in request.shards
            if shard.status == "failed"
        )
        raise FixError(f"{request.reason}. See {logs}; the same command asks for it again")
    judged = verdict(stack, request)
    console.print(f"[bold]{judged['verdict'].capitalize()}[/]: {judged['reason']}.")
    console.print(
        f"Look next: experiment [bold]{request.market}[/] in the MLflow UI (make ui, or: "
        f"mlflow ui --backend-store-uri {stack.environment['MLFLOW_TRACKING_URI']})."
    )
    return 0


def _show_status(options: argparse.Namespace) -> int:
    from serving.status import status_document, status_tables
    from store.clock import utc_now
    from store.state import open_state

    state = open_state(options.state)
    if options.json:
        print(json.dumps(status_document(state, utc_now), indent=2))
    else:
        for part in status_tables(state, utc_now):
            console.print(part, highlight=False)
    return 0


def _table(stack: Stack, request: CampaignRequest) -> Any:
    from serving.status import shard_table

    return shard_table(request, stack.state, stack.clock)


def _stop(signals: list[int], received: int) -> None:
    signals.append(received)
    for number in (signal.SIGINT, signal.SIGTERM):  # once is enough: jobs take a while to stop
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _log_to(path: Path) -> None:
    """What Lambda functions would log, beside the jobs' own logs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    form = "%(asctime)s %(levelname)s %(name)s %(message)s"
    logging.basicConfig(filename=path, level=logging.INFO, format=form)


if __name__ == "__main__":
    sys.exit(main())
