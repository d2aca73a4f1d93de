"""Lambda function that launches campaigns: it takes nudges off the queue.

Each message of a batch stands alone: those that failed are delivered again, and in the end put
into the dead-letter queue; the others are done with.
"""

from __future__ import annotations

import json
import logging
from functools import partial
from typing import Any

from aws_lambda_powertools.utilities.batch import (
    BatchProcessor,
    EventType,
    process_partial_response,
)
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from serving.lambda_logs import logger, structured
from serving.launching import launch_request
from serving.notices import tell_unreadable
from serving.stack import Stack, deployed_stack
from strategy.errors import DataError, TradingSystemError

_log = logging.getLogger(__name__)


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """What Lambda calls; returns which messages are to be delivered again."""
    structured()
    return launch(event, deployed_stack())


def launch(event: dict[str, Any], stack: Stack) -> dict[str, Any]:
    """Launch what a batch of messages asks for; returns SQS's partial-batch response."""
    processor = BatchProcessor(EventType.SQS, raise_on_entire_batch_failure=False)
    return dict(process_partial_response(event, partial(_launch_one, stack), processor))


def _launch_one(stack: Stack, record: SQSRecord) -> None:
    with logger.append_context_keys(correlation_id=record.message_id):
        try:
            campaign_id = _campaign_id(stack, record)
            with logger.append_context_keys(campaign_id=campaign_id):
                launch_request(stack, campaign_id)
        except TradingSystemError as error:
            _log.error("message %s is to come again: %s", record.message_id, error)
            raise
        except Exception:
            _log.exception("message %s is to come again", record.message_id)
            raise


def _campaign_id(stack: Stack, record: SQSRecord) -> str:
    """Whom the nudge is about; the operator is told of one that cannot be understood."""
    try:
        try:
            campaign_id = json.loads(record.body)["campaign_id"]
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"the message is no nudge ({type(error).__name__}: {error}): {record.body[:100]!r}"
            ) from error
        if not isinstance(campaign_id, str) or stack.requests.get(campaign_id) is None:
            raise DataError(f"the message names a campaign nobody asked for: {campaign_id!r}")
    except DataError as error:
        tell_unreadable(stack, record.message_id, record.body, str(error))
        raise
    return campaign_id
