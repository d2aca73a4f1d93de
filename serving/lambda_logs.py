"""What Lambda functions log: JSON with the id of the message or event that it is about."""

from __future__ import annotations

import logging
from functools import cache

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.logging.utils import copy_config_to_registered_loggers

logger = Logger(service="trading-system")
"""The functions' own; keys that are appended to it appear in what the packages log, too."""

metrics = Metrics(namespace="TradingSystem", service="trading-system")
"""CloudWatch reads them out of the log: alarms are set on them."""

_PACKAGES = {"serving", "store", "strategy"}


@cache
def structured() -> None:
    """Have our packages, which use Python's own logging, log as the functions do."""
    for name in _PACKAGES:
        logging.getLogger(name)  # only a logger that exists is configured
    copy_config_to_registered_loggers(logger, include=set(_PACKAGES))
