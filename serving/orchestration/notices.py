"""What the operator is told of strategies' lives: each thing once.

Moves and campaigns are told of as the registry and the state table have them, not as they are
made: what an interrupted run did not tell, the next one does.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from registry.lifecycle import PERSON, Entry, Stage, StrategyVersion
from serving.campaign_requests import CampaignRequest
from serving.notices import tell_outcome
from serving.orchestration.actions import Alarm
from serving.orchestration.situation import BURIED, WHO, Situation
from serving.stack import Stack
from store.notifications import notify_once
from strategy.errors import RetryError, TradingSystemError

RECENT = timedelta(days=7)
"""What could not be told for longer is history."""


def tell_news(stack: Stack, situation: Situation) -> None:
    """Where versions came to, by the orchestrator or by hand, and what becomes of campaigns."""
    now = situation.now
    for version in situation.versions:
        entry = version.entry(version.stage)
        if entry and entry.who in (WHO, PERSON) and _recent(entry.at, now):
            _tell_move(stack, situation.model, version, entry)
    for request in situation.campaigns:
        if request.requested_by == WHO and _recent(request.requested_at, now):
            _tell_queued(stack, request)
        if _recent(request.updated_at, now):
            tell_outcome(stack, request)  # as when its last job ended: whoever is first tells


def tell_alarm(stack: Stack, alarm: Alarm) -> None:
    """What only a person can put right."""
    _tell(stack, f"alarm/{alarm.model}/{alarm.key}", f"{alarm.model}: needs you", alarm.why)


def tell_failure(stack: Stack, model: str, error: TradingSystemError) -> None:
    """That a model's strategies could not be led on: once a day."""
    after = "It is tried again." if isinstance(error, RetryError) else "It needs you."
    key = f"orchestrator/{model}/{stack.clock():%Y-%m-%d}"
    text = f"{error}\n\n{after} What is in Staging and Production is traded as before."
    _tell(stack, key, f"{model}: the orchestrator failed", text)


def _tell_move(stack: Stack, model: str, version: StrategyVersion, entry: Entry) -> None:
    number, stage = version.number, version.stage
    if entry.who == PERSON:
        subject = f"version {number} moved to {stage} by hand"
        text = f"{entry.why}. It is obeyed, and its time and trades in {stage} count anew."
    elif stage is Stage.PRODUCTION:
        subject, text = f"version {number} promoted to Production", entry.why
    elif entry.why.startswith(BURIED):
        subject = f"version {number} buried"
        text = f"{entry.why}\n\nIts open position is managed to its end. A campaign is asked for."
    else:
        subject, text = f"version {number} rejected from Staging", entry.why
    text = f"{text}\n\n{model}, strategy {version.strategy_id}, {entry.at:%Y-%m-%d %H:%M} UTC."
    _tell(
        stack, f"life/{model}/{number}/{stage}/{entry.at.isoformat()}", f"{model}: {subject}", text
    )


def _tell_queued(stack: Stack, request: CampaignRequest) -> None:
    key = f"campaign/{request.campaign_id}/{request.requested_at.isoformat()}/queued"
    text = (
        f"Campaign {request.campaign_id}, {len(request.shards)} job(s). It is launched when the "
        "launch window is open and the cost gate lets it."
    )
    _tell(stack, key, f"{request.market}: campaign queued", text)


def _tell(stack: Stack, key: str, subject: str, text: str) -> None:
    notify_once(stack.state, stack.notifier, key, subject, text, stack.clock())


def _recent(time: datetime, now: datetime) -> bool:
    return now - time < RECENT
