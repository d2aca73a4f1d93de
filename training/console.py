"""What the commands of this package show on the screen."""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

import pandas as pd
from rich import box
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from registry.gates import GateVerdict
from store.candles import CandleSource
from strategy.config import Config
from strategy.errors import INTERRUPTED, TradingSystemError, exit_status
from strategy.windows import Window
from training.trial import Trial
from training.walk_forward import TrialParameters, WindowResult

console = Console()


def run_command(command: Callable[[], int]) -> int:
    """Run a command; an error on purpose becomes one message and an exit code."""
    logging.getLogger("mlflow").setLevel(logging.WARNING)  # its progress is not the user's
    try:
        return command()
    except KeyboardInterrupt:
        _complain("interrupted")
        return INTERRUPTED
    except TradingSystemError as error:
        _complain(str(error))
        return exit_status(error)


def _complain(message: str) -> None:
    Console(file=sys.stderr).print(f"[red bold]error:[/] {message}", highlight=False)


def gate_table(title: str, gates: Sequence[GateVerdict]) -> Table:
    """Gates with their figures beside their thresholds."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("gate", "figure", "threshold", "verdict"):
        right = heading in ("figure", "threshold")
        table.add_column(heading, justify="right" if right else "left", no_wrap=True)
    table.add_column("what it is")
    for gate in gates:
        table.add_row(
            gate.name,
            "-" if math.isnan(gate.figure) else f"{gate.figure:.4g}",
            f"{gate.comparison} {gate.threshold:g}",
            "[green]passed[/]" if gate.passed else "[red]failed[/]",
            gate.detail,
        )
    return table


class SearchProgress:
    """A :class:`training.discovery.Listener` that draws a bar: done, best so far, time left.

    A pruned trial takes its remaining windows out of the total.
    """

    def __init__(self, trials: int, windows: int) -> None:
        self._windows = windows
        self._best: Trial | None = None
        self._pruned = 0
        self._progress = Progress(
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("windows · {task.fields[best]} ·"),
            TimeRemainingColumn(),
            TextColumn("left"),
            expand=True,
            console=console,
        )
        self._task = self._progress.add_task("search", total=trials * windows, best="no trial yet")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def window_done(self, number: int, parameters: TrialParameters, result: WindowResult) -> None:
        self._progress.advance(self._task)

    def trial_done(self, trial: Trial) -> None:
        if trial.pruned:
            self._pruned += 1
        elif self._best is None or trial.sqn > self._best.sqn:
            self._best = trial
        left = self._windows - len(trial.results)
        total = self._progress.tasks[self._task].total or 0
        best = f"best SQN {self._best.sqn:.2f}" if self._best else "no survivor yet"
        self._progress.update(self._task, total=total - left, best=f"{best}, {self._pruned} pruned")


def show_header(
    model_name: str,
    source: CandleSource,
    candles: pd.DataFrame,
    windows: Sequence[Window],
    config: Config,
) -> None:
    """Say what is about to be searched, and whether the market is real."""
    kind = "[black on yellow] SYNTHETIC MARKET [/] " if source.synthetic else ""
    console.print(
        f"{kind}[bold]{model_name}[/] · {source.name} · {len(candles):,} candles "
        f"{candles.index[0]:%Y-%m-%d} .. {candles.index[-1]:%Y-%m-%d} UTC · "
        f"{len(windows)} walk-forward windows, the last "
        f"{config.selection.confirmation_windows} hidden from the ranking"
    )


def show_closing(
    model_name: str,
    run_id: str,
    gates: Sequence[GateVerdict],
    version: int | None,
    tracking_uri: str,
) -> None:
    """Which gates held, what became of the candidate, and where to look next."""
    console.print(gate_table("Gates", gates))
    if all(gate.passed for gate in gates):
        console.print(f"[green bold]Promoted[/]: {model_name} version {version} is in Staging.")
    elif version is not None:
        console.print(
            f"[red bold]Rejected[/]: {model_name} version {version} stays out of Staging."
        )
    else:
        console.print("[red bold]Rejected[/]: no trial survived to be registered.")
    console.print(
        f"Look next: experiment [bold]{model_name}[/], run [bold]{run_id}[/] in the MLflow UI "
        f"(make ui, or: mlflow ui --backend-store-uri {tracking_uri}). Its artifact report.html "
        "tells it all on one page."
    )
