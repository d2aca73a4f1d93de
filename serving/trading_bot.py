"""Lambda function that trades: every five minutes, on paper and with real orders alike.

EventBridge calls it with ``{}``; see :mod:`serving.trading.bot` for what a tick does.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.metrics import MetricUnit

from serving.lambda_logs import logger, metrics, structured
from serving.trading.bot import TradingBot
from serving.trading.roster import Roster
from store.clock import utc_now
from store.exchange import Exchange
from store.notifications import Notifier
from strategy.errors import ConfigError, TradingSystemError

if TYPE_CHECKING:
    from store.settings import Settings

_log = logging.getLogger(__name__)


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """What Lambda calls; an error makes EventBridge call again, which does no harm."""
    structured()
    metrics.add_metric("Ticks", MetricUnit.Count, 1)
    report = deployed_bot().tick()
    metrics.add_metric("BarsClosed", MetricUnit.Count, len(report.bars))
    return {
        "time": report.time.isoformat(),
        "bars": list(report.bars),
        "accounts": list(report.accounts),
        "notices": [notice.subject for notice in report.notices],
    }


@dataclass(frozen=True)
class Operator:
    """Hears by the topic, and by Telegram where a token is set by then.

    A setting that cannot be read keeps neither the bot from its positions, nor the operator from
    being told by the topic.
    """

    settings: Settings
    topic: Notifier

    def send(self, subject: str, text: str) -> None:
        """Send a message; raises as any :class:`store.notifications.Notifier`."""
        from store.telegram import notifier_of

        notifier = self.topic
        try:
            notifier = notifier_of(self.settings, self.topic)
        except TradingSystemError as error:
            _log.error("whether Telegram is to be told is not known: %s", error)
        notifier.send(subject, text)


_VARIABLES = {
    "BUCKET": "the bucket of config.json",
    "STATE_URI": "the state table, as dynamodb://TABLE",
    "TOPIC_ARN": "the topic that the operator listens to",
    "MLFLOW_TRACKING_URI": "the MLflow store",
}


@cache
def deployed_bot() -> TradingBot:
    """The parts on AWS: made at this process's first tick, then kept.

    Raises
    ------
    ConfigError
        A variable is not set; all that are not are named.
    StoreError, RetryError
        config.json or the settings cannot be read, or not now.
    """
    missing = [f"{name} ({what})" for name, what in _VARIABLES.items() if not os.environ.get(name)]
    if missing:
        raise ConfigError(f"set the environment variables {', '.join(missing)}")
    from registry.connection import connect
    from store.aws import client
    from store.binance_futures import BinanceFutures, connect_futures
    from store.binance_klines import connect as connect_klines
    from store.binance_market import BinanceMarket
    from store.config_file import config_at
    from store.notifications import SnsNotifier
    from store.settings import SsmSettings
    from store.state import open_state

    config = config_at(f"s3://{os.environ['BUCKET']}/config.json")
    settings = SsmSettings(client("ssm"))

    def open_live() -> Exchange:
        environment = settings.environment()
        return BinanceFutures(
            connect_futures(
                environment.binance_api_key.get_secret_value(),
                environment.binance_api_secret.get_secret_value(),
                environment.binance_environment,
            )
        )

    return TradingBot(
        config=config,
        settings=settings,
        state=open_state(os.environ["STATE_URI"]),
        market=BinanceMarket(connect_klines(), utc_now, config.candles.max_gap_bars),
        roster=Roster(
            lambda: connect(os.environ["MLFLOW_TRACKING_URI"]),
            config.walk_forward_config.step_months,
            utc_now,
        ),
        notifier=Operator(settings, SnsNotifier(client("sns"), os.environ["TOPIC_ARN"])),
        clock=utc_now,
        open_live=open_live,
    )
