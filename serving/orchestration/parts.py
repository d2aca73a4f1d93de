"""What an orchestrator works with, and how it sees a model."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from registry.bundle import StrategyBundle
from registry.connection import Client
from registry.lifecycle import Lifecycle, Stage, StrategyVersion
from serving.journal import Book, Journal
from serving.orchestration.situation import Result, Situation, Trained
from serving.stack import Stack
from store.clock import milliseconds
from strategy.config import Config
from strategy.errors import FixError

if TYPE_CHECKING:
    from serving.campaign_requests import CampaignRequest
    from store.candles import CandleSource

RETRAINS = "retrains"
"""Partition of the state table: by model and version, when a retrain was asked for last."""
_BOOKS: Mapping[Stage, Book] = {Stage.STAGING: "paper", Stage.PRODUCTION: "live"}


class Market(NamedTuple):
    """Whose strategies are led."""

    asset: str
    timeframe: str

    @property
    def model(self) -> str:
        """The registered model."""
        return f"{self.asset}-{self.timeframe}"


@dataclass(frozen=True)
class Orchestrator:
    """What it takes.

    Parameters
    ----------
    client
        Of the registry.
    bundle
        Reads a version's (:func:`registry.loading.load_bundle`).
    retrain
        Has a version of a model retrained, now or soon.
    source
        Of the candles for new campaigns.
    record
        Brings the live runs in MLflow up to a moment (UTC).
    """

    stack: Stack
    config: Config
    client: Client
    bundle: Callable[[str, int], StrategyBundle]
    retrain: Callable[[str, int], None]
    source: CandleSource
    record: Callable[[datetime], None]

    @property
    def markets(self) -> list[Market]:
        """All that config.json lists."""
        return markets_of(self.config)

    def lifecycle(self, model: str) -> Lifecycle:
        """Of a registered model."""
        return Lifecycle(self.client, model, milliseconds(self.stack.clock))

    def campaigns(self, market: Market) -> tuple[CampaignRequest, ...]:
        """All that were ever asked for."""
        return tuple(each for each in self.stack.requests.all() if each.market == market.model)


def markets_of(config: Config) -> list[Market]:
    """All markets of a config.json."""
    return [Market(*market) for market in config.markets]


def read_situation(orchestrator: Orchestrator, market: Market) -> Situation:
    """How a model stands now.

    Raises
    ------
    StoreError, RetryError, DataError
        Registry or state table cannot be read, or not now, or hold what is no record.
    """
    stack, model = orchestrator.stack, market.model
    versions = orchestrator.lifecycle(model).versions()
    traded = [version for version in versions if version.stage in _BOOKS]
    journal = Journal(stack.state)
    return Situation(
        model=model,
        now=stack.clock(),
        config=orchestrator.config,
        versions=versions,
        bundles={each.number: _trained(orchestrator, model, each) for each in traded},
        results={
            (_BOOKS[each.stage], each.strategy_id): [
                Result(trade.decision_time, trade.r)
                for trade in journal.trades(each.strategy_id, _BOOKS[each.stage])
            ]
            for each in traded
            if each.strategy_id
        },
        campaigns=orchestrator.campaigns(market),
        retrains={
            int(item.key.rpartition("/")[2]): datetime.fromisoformat(item.value["asked_at"])
            for item in stack.state.items(RETRAINS, f"{model}/")
        },
    )


def _trained(orchestrator: Orchestrator, model: str, version: StrategyVersion) -> Trained | str:
    try:
        bundle = orchestrator.bundle(model, version.number)
    except FixError as error:
        return str(error)
    share = bundle.metadata.get("shap_top10_share")
    return Trained(bundle.training_end.to_pydatetime(), math.nan if share is None else float(share))
