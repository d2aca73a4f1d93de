"""What a retrain is made of, and what is written down about it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import lightgbm as lgb
import pandas as pd

from registry.bundle import StrategyBundle
from registry.code_version import git_commit
from registry.identity import Identity
from registry.retrain_run import RETRAIN_OF
from registry.tracking import CandleSource as Dataset
from store.candles import CandleSource
from strategy.candles import open_times, timeframe_delta
from strategy.config import Config
from strategy.retraining import RetrainCalendar

SYNTHETIC, CAMPAIGN_ID = "synthetic", "campaign_id"
"""Tags of a version that its retrains keep."""


@dataclass(frozen=True, eq=False)
class Material:
    """The incumbent, and the candles on which it is fitted anew.

    Parameters
    ----------
    number
        Of the incumbent's version.
    source
        Where the candles are from.
    """

    incumbent: StrategyBundle
    number: int
    candles: pd.DataFrame
    source: CandleSource
    calendar: RetrainCalendar
    config: Config

    @cached_property
    def identity(self) -> Identity:
        """Of the config, the candles and the code that made the new model."""
        return Identity.of(self.config, self.candles)

    @cached_property
    def index(self) -> pd.DatetimeIndex:
        """Open times of the candles, UTC."""
        return open_times(self.candles)

    @property
    def synthetic(self) -> bool:
        """Whether it is, or was, made from generated candles: then everything says so."""
        return self.source.synthetic or bool(self.incumbent.metadata.get(SYNTHETIC))

    def bundle(self, booster: lgb.Booster) -> StrategyBundle:
        """The incumbent's strategy with another model: all else stays."""
        start, end = self.calendar.training
        return replace(
            self.incumbent,
            training_start=self.index[start],
            training_end=self.index[end - 1] + timeframe_delta(self.incumbent.timeframe),
            config_digest=self.identity.config_digest,
            data_digest=self.identity.data_digest,
            code_version=self.identity.code_digest,
            booster_text=booster.model_to_string(),
            metadata={**self.incumbent.metadata, SYNTHETIC: self.synthetic},
        )

    def params(self) -> dict[str, Any]:
        """Parameters of the run."""
        strategy = self.incumbent
        return {
            **strategy.indicators._asdict(),
            **strategy.hyperparameters.model_dump(),
            **{f"break_even.{name}": value for name, value in strategy.break_even},
            "max_bin": strategy.max_bin,
            "seed": strategy.seed,
        }

    def run_tags(self) -> dict[str, Any]:
        """Tags of the run, named as those of a campaign's runs."""
        spans = zip(RetrainCalendar._fields, self.calendar, strict=True)
        return {
            "asset": self.incumbent.asset,
            "timeframe": self.incumbent.timeframe,
            "strategy_id": self.incumbent.strategy_id,
            RETRAIN_OF: self.number,
            "candles": self.source.name,
            SYNTHETIC: str(self.synthetic).lower(),
            "config_digest": self.identity.config_digest,
            "data_digest": self.identity.data_digest,
            "code_digest": self.identity.code_digest,
            "git_commit": git_commit(),
            **{f"{name}_start": f"{self.index[bars[0]]:%Y-%m-%dT%H:%MZ}" for name, bars in spans},
        }

    def dataset(self) -> Dataset:
        """The candles as MLflow shows them."""
        name, digest = self.source.name, self.identity.data_digest
        return Dataset(name, digest, name, "synthetic" if self.source.synthetic else "local")
