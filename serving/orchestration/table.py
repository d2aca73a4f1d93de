"""What the orchestrator did, or would do, for the screen."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.markup import escape
from rich.table import Table

from serving.orchestration.actions import Action, VersionAction
from serving.orchestration.steps import Outcome

_COLOURS = {"promote": "green", "bury": "red", "reject": "red", "alarm": "red bold"}


def outcome_table(outcomes: Sequence[Outcome]) -> Table:
    """One row an action, and below it what the gates said; what went wrong at the end of a model.

    For programs: ``[outcome.record for outcome in outcomes]``.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("model", "version", "action"):
        table.add_column(column, no_wrap=True)
    table.add_column("why", overflow="fold")
    for outcome in outcomes:
        for action in outcome.actions:
            table.add_row(action.model, _version(action), _coloured(action), _why(action))
        for error in outcome.errors:
            table.add_row(outcome.model, "", "[red]failed[/]", escape(str(error)))
    return table


def _version(action: Action) -> str:
    return str(action.version) if isinstance(action, VersionAction) else ""


def _coloured(action: Action) -> str:
    if not action.changes:
        return f"[dim]{action.name}[/]"
    colour = _COLOURS.get(action.name, "yellow")
    return f"[{colour}]{action.name}[/]"


def _why(action: Action) -> str:
    lines = [escape(action.why)]
    if isinstance(action, VersionAction):
        lines += [f"[dim]{gate.name}: {escape(gate.text)}[/]" for gate in action.gates]
    return "\n".join(lines)
