"""What is to be traded now: the registry's stages are the only place that says so."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

import pandas as pd

from serving.journal import Book
from strategy.errors import FixError, TradingSystemError

if TYPE_CHECKING:
    from registry.bundle import StrategyBundle
    from registry.connection import Client
    from registry.lifecycle import StrategyVersion

_log = logging.getLogger(__name__)

STALE_AFTER_STEPS = 2
"""A model that has missed as many retrains opens nothing any more."""


@dataclass(frozen=True)
class Entrant:
    """A version in Staging or Production.

    Parameters
    ----------
    book
        What it trades with.
    bundle
        None where it cannot be loaded.
    problem
        Why it must not open anything; None where nothing speaks against it.
    """

    model: str
    version: int
    strategy_id: str
    book: Book
    bundle: StrategyBundle | None
    problem: str | None = None


@dataclass
class Roster:
    """Reads the registry, and keeps the bundles that it has read: a version never changes.

    Parameters
    ----------
    connect
        Opens the MLflow store; called when it is first needed.
    step_months
        After which a model is due to be retrained.
    """

    connect: Callable[[], Client]
    step_months: int
    clock: Callable[[], datetime]
    _client: Client | None = field(default=None, init=False, repr=False)
    _bundles: dict[tuple[str, int], StrategyBundle] = field(
        default_factory=dict, init=False, repr=False
    )

    def read(self, models: Sequence[str], *, synthetic_market: bool) -> list[Entrant]:
        """The versions of these models that are to be traded.

        Parameters
        ----------
        synthetic_market
            Whether candles are generated; elsewhere no real money follows a strategy that was
            found on such candles.

        Raises
        ------
        StoreError, RetryError
            The registry cannot be read, or not now.
        """
        from registry.lifecycle import Lifecycle, Stage

        if self._client is None:
            self._client = self.connect()
        found: list[Entrant] = []
        for model in models:
            versions = Lifecycle(self._client, model, self._milliseconds).versions()
            paper = [each for each in versions if each.stage is Stage.STAGING]
            live = [each for each in versions if each.stage is Stage.PRODUCTION]
            found += [self._entrant(model, each, "paper", None) for each in paper]
            crowd = _crowd(live)
            for each in live:
                unreal = each.tags.get("synthetic") == "true" and not synthetic_market
                problem = "it was found on synthetic candles" if unreal else crowd
                found.append(self._entrant(model, each, "live", problem))
        return found

    def _entrant(
        self, model: str, version: StrategyVersion, book: Book, problem: str | None
    ) -> Entrant:
        strategy_id = version.tags.get("strategy_id", f"{model}-version-{version.number}")
        bundle = None
        try:
            bundle = self._bundle(model, version.number)
            problem = problem or self._too_old(bundle)
        except TradingSystemError as error:
            problem = str(error)
        except Exception as error:  # whatever is registered, open positions must be managed
            _log.exception("%s version %d", model, version.number)
            problem = f"its bundle cannot be loaded: {type(error).__name__}: {error}"
        return Entrant(model, version.number, strategy_id, book, bundle, problem)

    def _bundle(self, model: str, version: int) -> StrategyBundle:
        from registry.loading import load_bundle

        if (model, version) not in self._bundles:
            if self._client is None:
                raise FixError("the registry is not connected")
            self._bundles[model, version] = load_bundle(self._client, model, version)
            _log.info("loaded %s version %d", model, version)
        return self._bundles[model, version]

    def _too_old(self, bundle: StrategyBundle) -> str | None:
        limit = bundle.training_end + pd.DateOffset(months=STALE_AFTER_STEPS * self.step_months)
        if pd.Timestamp(self.clock()) <= limit:
            return None
        return (
            f"its model was trained until {bundle.training_end:%Y-%m-%d} and should have been "
            f"retrained by {limit:%Y-%m-%d}; see what the retrainer says"
        )

    def _milliseconds(self) -> int:
        return int(self.clock().timestamp() * 1000)


def _crowd(live: Sequence[StrategyVersion]) -> str | None:
    if len(live) < 2:
        return None
    numbers = ", ".join(str(each.number) for each in live)
    return f"versions {numbers} are in Production at once: archive all but one"
