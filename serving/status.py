"""What the state table knows of campaigns, for the screen and for other programs."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.markup import escape
from rich.table import Table

from serving.campaign_requests import CampaignRequest, Requests
from serving.launch_window import LaunchWindow
from store.clock import Clock
from store.state import StateTable

_COLOURS = {"completed": "green", "failed": "red", "waiting": "yellow"}


def shard_table(request: CampaignRequest, state: StateTable, clock: Clock) -> Table:
    """The jobs of a campaign and how far they are."""
    title = f"{request.market} · {request.campaign_id} · {_coloured(request.status)}"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("shard")
    table.add_column("status")
    table.add_column("windows done", justify="right")
    table.add_column("last checkpoint", no_wrap=True)
    table.add_column("launches", justify="right")
    table.add_column("resumed without progress", justify="right")
    table.add_column("job", no_wrap=True)
    for shard in request.shards:
        values = request.job_record(shard, state, clock).values
        status = values.get("status", "") if shard.status == "submitted" else shard.status
        table.add_row(
            f"{shard.number} of {len(request.shards)}",
            _coloured(status),
            str(values.get("windows_done", 0)),
            str(values.get("checkpoint_at", "-")),
            str(shard.submission + (shard.status != "waiting")),
            str(values.get("resume_attempts", 0)),
            str(values.get("job_name", "-")),
        )
    return table


def status_document(state: StateTable, clock: Clock) -> dict[str, Any]:
    """Requests with their jobs, the launch window and the cost ledger: JSON."""
    closes_at = LaunchWindow(state, clock).closes_at
    return {
        "requests": [_request_document(each, state, clock) for each in _newest_first(state, clock)],
        "launch_window_closes_at": closes_at.isoformat() if closes_at else None,
        "cost": {item.key: dict(item.value) for item in state.items("cost")},
    }


def status_tables(state: StateTable, clock: Clock) -> list[Table | str]:
    """The same for a person."""
    shown: list[Table | str] = []
    for request in _newest_first(state, clock):
        shown += [shard_table(request, state, clock), f"  {escape(request.reason)}"]
        if request.decision:
            reason = escape(str(request.decision["reason"]))
            shown.append(f"  cost gate at {request.decision['time']}: {reason}")
        shown.append("")
    closes_at = LaunchWindow(state, clock).closes_at
    until = f"open until {closes_at:%Y-%m-%d %H:%M} UTC" if closes_at else "shut"
    return [*(shown or ["No campaign was asked for."]), f"Launch window: {until}.", _cost(state)]


def _request_document(request: CampaignRequest, state: StateTable, clock: Clock) -> dict[str, Any]:
    shards = [
        {
            **shard.model_dump(mode="json"),
            "job_name": request.job_name(shard),
            "job": dict(request.job_record(shard, state, clock).values),
        }
        for shard in request.shards
    ]
    return {**request.model_dump(mode="json"), "shards": shards}


def _cost(state: StateTable) -> str:
    item = state.get("cost", "ledger")
    jobs = item.value["jobs"] if item else {}
    reserved = sum(entry["usd"] for entry in jobs.values() if entry["ended_at"] is None)
    ended = sum(entry["usd"] for entry in jobs.values() if entry["ended_at"] is not None)
    return f"Cost: ${reserved:.2f} reserved by jobs that run, ${ended:.2f} for those just ended."


def _newest_first(state: StateTable, clock: Clock) -> list[CampaignRequest]:
    found = Requests(state, clock).all()
    return sorted(found, key=lambda request: request.requested_at, reverse=True)


def _coloured(status: str) -> str:
    colour = _COLOURS.get(status)
    return f"[{colour}]{status}[/]" if colour else status
