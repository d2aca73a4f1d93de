"""Lambda function that opens and closes the hours in which training jobs are launched.

EventBridge calls it with ``{"action": "open"}`` and ``{"action": "close"}``. It may be opened
more than once in one night: each time the requests that wait are looked at again, and jobs
whose end nobody heard of.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from serving.campaign_requests import nudge
from serving.lambda_logs import logger, structured
from serving.notices import tell_of_setting
from serving.stack import Stack, deployed_stack
from serving.training_job_events import look_for_ends
from strategy.errors import ConfigError, DataError

_log = logging.getLogger(__name__)


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: Any) -> None:
    """What Lambda calls; an error makes EventBridge call again."""
    structured()
    initiate(event, deployed_stack())


def initiate(event: Mapping[str, Any], stack: Stack) -> None:
    """Open or close the window; doing it twice changes nothing more.

    Raises
    ------
    DataError
        The event asks for neither.
    ConfigError, StoreError, RetryError
        As the settings, the state table and the queue say.
    """
    match event.get("action"):
        case "open":
            _open(stack)
        case "close":
            stack.window.close()
            _log.info("launch window closed")
        case other:
            raise DataError(f'event with action {other!r}: it must be "open" or "close"')


def _open(stack: Stack) -> None:
    try:
        length = timedelta(hours=stack.settings.cost().launch_window_hours)
    except ConfigError as error:
        tell_of_setting(stack, error)
        raise
    closes_at = stack.window.open(length)
    look_for_ends(stack)
    waiting = stack.requests.waiting()
    for request in waiting:
        nudge(stack.queue, request)
    _log.info("launch window open until %s, %d waiting", closes_at, len(waiting))
