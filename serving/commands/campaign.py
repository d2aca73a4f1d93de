"""``campaign``: asks for a discovery, and runs it here or leaves it to AWS."""

# Imports that take seconds stand inside the functions: each command needs some of them only.

from __future__ import annotations

import argparse
import logging
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.live import Live

from store import embedded
from strategy.errors import INTERRUPTED, FixError

if TYPE_CHECKING:
    from serving.campaign_requests import CampaignRequest
    from serving.stack import Stack

TERMINATED = 128 + signal.SIGTERM
console = Console()


def add(commands: Any) -> None:
    """Add it to the command line."""
    from store.candle_arguments import add_market_arguments
    from store.config_file import add_config_arguments

    parser = commands.add_parser("campaign", help="ask for a campaign, and run it here")
    add_market_arguments(parser)
    add_config_arguments(parser)
    parser.add_argument(
        "--shards", type=_shards, default=1, help="jobs that share it (%(default)s)"
    )
    parser.add_argument(
        "--launcher",
        choices=("local", "sagemaker"),
        default="local",
        help="run it as processes on this machine, or leave it to the launcher on AWS, whose "
        "variables (STATE_URI, QUEUE_URL, ...) must be set (%(default)s)",
    )
    parser.set_defaults(run=_run)


def _shards(text: str) -> int:
    shards = int(text)
    if shards < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return shards


def _run(options: argparse.Namespace) -> int:
    return _run_here(options) if options.launcher == "local" else _leave_to_aws(options)


def _leave_to_aws(options: argparse.Namespace) -> int:
    from serving.asking import ask_as_told
    from serving.stack import aws_stack

    stack = aws_stack(os.environ)
    request = ask_as_told(stack, options)
    console.print(f"Campaign [bold]{request.campaign_id}[/] is {request.status}: {request.reason}.")
    console.print(
        "Look next: python -m serving status --state "
        f"{stack.environment['STATE_URI']}, jobs named {request.market}-{request.campaign_id}-… "
        f"in the SageMaker console, and experiment {request.market} in MLflow "
        f"({stack.environment['MLFLOW_TRACKING_URI']})."
    )
    return 0


def _run_here(options: argparse.Namespace) -> int:
    from serving.asking import ask_as_told
    from serving.local_launcher import LocalLauncher
    from serving.stack import local_jobs, local_queue, local_stack

    folder = embedded.FOLDER
    stack = local_stack(folder, os.environ.get("MLFLOW_TRACKING_URI") or embedded.TRACKING)
    launcher = LocalLauncher(stack, local_queue(folder), local_jobs(folder), time.sleep)
    _log_to(folder / "launcher.log")
    launcher.report_ends()  # of jobs that an earlier launcher left alone
    request = ask_as_told(stack, options)
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
