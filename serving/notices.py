"""What the operator is told of campaigns: each thing once, however often its cause comes by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from serving.campaign_requests import CampaignRequest
from store.notifications import notify_once

if TYPE_CHECKING:
    from serving.stack import Stack


def tell_outcome(stack: Stack, request: CampaignRequest) -> None:
    """That a campaign is completed or has failed; nothing while it goes on."""
    if request.status == "completed":
        _tell(stack, request, "completed", *_completion(stack, request))
    elif request.status == "failed":
        text = (
            f"{request.reason}\n\nNothing of it is launched until it is asked for again; what it "
            "has computed is kept, and found then."
        )
        _tell(stack, request, "failed", f"{request.market}: campaign failed", text)


def tell_waiting(
    stack: Stack, request: CampaignRequest, obstacle: str, reason: str, which: str = ""
) -> None:
    """That a campaign cannot be launched now: once for every obstacle.

    Parameters
    ----------
    obstacle
        In a few words: what kind of reason it is.
    which
        Tells obstacles of one kind apart that have to be put right one by one.
    """
    text = f"{reason}\n\nThe campaign keeps waiting, and is tried again when the window opens."
    subject = f"{request.market}: campaign waits, {obstacle}"
    _tell(stack, request, f"waiting/{obstacle}/{which}", subject, text)


def tell_unreadable(stack: Stack, message_id: str, body: str, why: str) -> None:
    """That a message means nothing; it ends in the dead-letter queue."""
    text = (
        f"{why}\n\nMessage {message_id}:\n{body[:1000]}\n\nIt is delivered a few times more and "
        'then put into the dead-letter queue. A nudge is {"campaign_id": "..."}.'
    )
    key = f"message/{message_id}"
    subject = "A message on the launch queue cannot be read"
    notify_once(stack.state, stack.notifier, key, subject, text, stack.clock())


def tell_of_setting(stack: Stack, error: Exception) -> None:
    """That the launch window cannot be opened: once a day."""
    now = stack.clock()
    key = f"window/{now:%Y-%m-%d}"
    subject = "The launch window cannot be opened"
    notify_once(stack.state, stack.notifier, key, subject, f"{error}", now)


def _tell(stack: Stack, request: CampaignRequest, what: str, subject: str, text: str) -> None:
    # Asked for again, it is told of again.
    key = f"campaign/{request.campaign_id}/{request.requested_at.isoformat()}/{what}"
    text = f"{text}\n\n{_whose(request)}"
    notify_once(stack.state, stack.notifier, key, subject, text, stack.clock())


def _completion(stack: Stack, request: CampaignRequest) -> tuple[str, str]:
    judged = verdict(stack, request)
    version = judged.get("model_version")
    lines = [f"{judged['verdict'].capitalize()}: {judged['reason']}."]
    if version is not None:
        lines.append(f"Version {version} of the model {request.market} in MLflow.")
    lines.append(f"MLflow: {stack.environment.get('MLFLOW_TRACKING_URI', '-')}")
    for shard in request.shards:
        values = request.job_record(shard, stack.state, stack.clock).values
        lines.append(_shard_line(shard.number, values))
    return f"{request.market}: validation complete, {judged['verdict']}", "\n".join(lines)


def verdict(stack: Stack, request: CampaignRequest) -> dict[str, Any]:
    """The record of the job that judged the campaign."""
    for shard in request.shards:
        values = request.job_record(shard, stack.state, stack.clock).values
        if values.get("verdict"):
            return dict(values)
    return {"verdict": "not judged", "reason": "no job of it has left a verdict"}


def _shard_line(number: int, values: Any) -> str:
    cost, savings = values.get("cost_usd"), values.get("savings")
    parts = [f"{values.get('windows_done', 0)} windows"]
    if values.get("interruptions") is not None:
        parts.append(f"{values['interruptions']} interruptions")
    if savings is not None:
        parts.append(f"{savings:.0%} saved by Spot")
    if cost is not None:
        parts.append(f"${cost:.2f}")
    return f"Shard {number}: {', '.join(parts)}."


def _whose(request: CampaignRequest) -> str:
    return (
        f"Campaign {request.campaign_id} ({request.market}), asked for by {request.requested_by} "
        f"on {request.requested_at:%Y-%m-%d %H:%M} UTC."
    )
