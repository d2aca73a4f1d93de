"""The deployed bot on recorded candles, at the close of a bar. Imported on the layer alone."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import datetime
from typing import Any

from registry.connection import connect
from registry.loading import load_bundle
from serving import trading_bot
from store.candle_archive import open_archive
from store.market import ReplayMarket


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Tick once at the event's time; also what the version says at the bar, to the last bit."""
    now = datetime.fromisoformat(event["now"])
    asset, timeframe = event["model"].split("-")
    candles = open_archive(f"s3://{os.environ['BUCKET']}/candles", 0).load(asset, timeframe)

    def clock() -> datetime:
        return now

    deployed = trading_bot.deployed_bot()
    recorded = replace(
        deployed,
        market=ReplayMarket({(asset, timeframe): candles}, clock, synthetic=True),
        roster=replace(deployed.roster, clock=clock),
        clock=clock,
    )
    trading_bot.deployed_bot = lambda: recorded  # type: ignore[assignment]
    report = trading_bot.handler({}, context)
    registry = connect(os.environ["MLFLOW_TRACKING_URI"])
    bundle = load_bundle(registry, event["model"], event["version"])
    last = bundle.signals(candles[candles.index < now]).iloc[-1]
    return {**report, "says": {str(name): float(value).hex() for name, value in last.items()}}
