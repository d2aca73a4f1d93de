"""Lambda function that hears how training jobs end: EventBridge's state-change events.

SageMaker restarts an interrupted Spot job by itself; only a job that has ended comes here. An
event may come twice, late, or out of order: what counts is what SageMaker says of the job now.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.logging import correlation_paths

from serving.campaign_requests import CampaignRequest, Shard, nudge
from serving.lambda_logs import logger, structured
from serving.notices import tell_outcome
from serving.stack import Stack, deployed_stack
from strategy.errors import DataError, RetryError

if TYPE_CHECKING:
    from store.job_records import Values
    from store.training_jobs import JobDescription

_log = logging.getLogger(__name__)

ENDED = frozenset({"Completed", "Failed", "Stopped"})
_OUT_OF_TIME = frozenset({"MaxRuntimeExceeded", "MaxWaitTimeExceeded"})


@logger.inject_lambda_context(correlation_id_path=correlation_paths.EVENT_BRIDGE, clear_state=True)
def handler(event: dict[str, Any], context: Any) -> None:
    """What Lambda calls; an error makes EventBridge call again."""
    structured()
    hear(event, deployed_stack())


@dataclass(frozen=True)
class _News:
    """Which job the event is about, by what was handed to it."""

    job_name: str
    campaign_id: str
    shard: int


def hear(event: Mapping[str, Any], stack: Stack) -> None:
    """Settle what a job that has ended cost, and go on with its campaign; may be repeated.

    Raises
    ------
    DataError
        The event is not one of a training job.
    RetryError, StoreError
        To be repeated.
    """
    news = _read(event)
    if news is None:
        return
    with logger.append_context_keys(campaign_id=news.campaign_id, job_name=news.job_name):
        job = stack.jobs.describe(news.job_name)
        if job is None:
            raise RetryError(f"training job {news.job_name} has ended, but cannot be found")
        _take_up(stack, news, job)


def look_for_ends(stack: Stack) -> None:
    """Hear of jobs that have ended but whose event was lost; raises as :func:`hear`."""
    for request in stack.requests.all():
        for shard in request.shards:
            name = request.job_name(shard)
            job = stack.jobs.describe(name) if shard.status == "submitted" else None
            if job is not None:
                _take_up(stack, _News(name, request.campaign_id, shard.number), job)


def _take_up(stack: Stack, news: _News, job: JobDescription) -> None:
    if job.status not in ENDED:
        _log.info("it is %s now: there will be another event", job.status)
        return
    usd = stack.gate.settle(job)
    _log.info("%s, %s: cost $%.4f", job.status, job.detail, usd)
    _go_on(stack, news, job, usd)


def _read(event: Mapping[str, Any]) -> _News | None:
    """None for a job that has not ended, or is not one of a campaign."""
    try:
        detail = event["detail"]
        name, status = detail["TrainingJobName"], detail["TrainingJobStatus"]
    except (KeyError, TypeError) as error:
        raise DataError(f"not an event of a training job: {error!r} is missing") from error
    handed = detail.get("HyperParameters") or {}
    if status not in ENDED:
        _log.info("%s is %s", name, status)
        return None
    try:
        return _News(name, handed["campaign_id"], int(handed["shard"]))
    except (KeyError, ValueError):
        _log.info("%s is not a job of a campaign", name)
        return None


def _go_on(stack: Stack, news: _News, job: JobDescription, usd: float) -> None:
    request = stack.requests.get(news.campaign_id)
    if request is None:
        _log.warning("nobody asked for campaign %s", news.campaign_id)
        return
    shard = request.shard(news.shard)
    if shard and shard.open and request.job_name(shard) == job.name:
        record = request.job_record(shard, stack.state, stack.clock)
        told = record.values
        record.write(
            job_status=job.status,
            interruptions=job.interruptions,
            training_seconds=job.training_seconds,
            billable_seconds=job.billable_seconds,
            savings=job.savings,
            cost_usd=usd,
        )

        def ended(present: CampaignRequest) -> CampaignRequest:
            unchanged = present.shard(shard.number)
            if unchanged is None or present.job_name(unchanged) != job.name:
                return present
            return after_end(present, unchanged, job, told)

        request = stack.requests.change(news.campaign_id, ended)
    # Also for an event that comes again: what it led to then may have been broken off here.
    if request.status == "waiting":
        nudge(stack.queue, request)
    tell_outcome(stack, request)


def after_end(
    request: CampaignRequest, shard: Shard, job: JobDescription, told: Values
) -> CampaignRequest:
    """The request when the job of a shard's present submission has ended.

    A job that a person stopped is not submitted again, nor one that says that this is of no
    use, nor one that ended too often in a row without a new checkpoint. Any other is: alone,
    as the shard's next submission, from its checkpoints.

    Parameters
    ----------
    told
        What the job itself has written on its record.
    """
    if not shard.open:
        return request
    if told.get("status") == "completed":
        request = request.with_shard(_moved(shard, status="completed"))
        judged = told.get("verdict")
        return request.changed(reason=f"{judged}: {told['reason']}") if judged else request
    who = f"shard {shard.number} of {len(request.shards)}"
    if job.status == "Stopped" and job.detail not in _OUT_OF_TIME:
        return _failed(request, shard, f"{who} was stopped by a person")
    why = _why(job, told)
    if told.get("status") == "failed" and told.get("worth_retrying") is False:
        return _failed(request, shard, f"{who}: {why}")
    failures = 0 if told.get("checkpoint") != shard.checkpoint else shard.failures + 1
    if failures > request.max_resume_attempts:
        return _failed(
            request,
            shard,
            f"{who} ended {failures} times in a row without finishing a window "
            f"(checkpoint_config.max_resume_attempts = {request.max_resume_attempts}), the last "
            f"time by: {why}",
        )
    again = _moved(
        shard,
        status="waiting",
        submission=shard.submission + 1,
        failures=failures,
        checkpoint=told.get("checkpoint"),
    )
    return request.with_shard(again).changed(reason=f"{who} is launched again, after: {why}")


def _failed(request: CampaignRequest, shard: Shard, reason: str) -> CampaignRequest:
    return request.with_shard(_moved(shard, status="failed")).changed(reason=reason)


def _why(job: JobDescription, told: Values) -> str:
    own = told.get("reason") if told.get("status") == "failed" else None
    return str(own or job.failure_reason or job.detail)


def _moved(shard: Shard, **changes: Any) -> Shard:
    return shard.model_copy(update=changes)
