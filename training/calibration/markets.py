"""Markets of which it is known whether there is an edge, and the geometry to search them on.

One campaign on config.json's own geometry takes minutes, and thousands are needed: so all of it
is here, and all of it small. Why these numbers:

- 8 windows: 6 that rank, as many as halve into 20 splits for the probability of overfitting and
  enough for trials to be pruned after config.json's 4; and its 2 that are hidden.
- 3 months of validation and of step as in config.json, so that the gates are judged on as many
  trades as in earnest (100 to 400), and clusters of trends are as long against a window.
- 4 months of training in place of 12: they cost most of the time, and 2,900 bars with 20 trees
  of 8 leaves see a planted trend well.
- 8 trials, 6 of them coverage over the whole grid of config.json and 2 refinement: several to
  choose the best of, so that the ranking flatters its winner.
- 200 random simulations in place of 1,000: a share of 95 % has a standard error of 1.5 % then.

Exits, costs, pruning, selection and gates are config.json's own.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from store.bootstrap import block_bootstrap
from store.synthetic import NO_EDGE, PLANTED_TREND, SyntheticSource
from strategy.config import Config, Costs, config_from

ASSET, TIMEFRAME = "BTCUSDT", "1h"
END = pd.Timestamp("2026-01-01T00:00:00Z")
"""Fixed, so that a seed's market is the same on every day."""
BLOCK = 24
"""Bars in a block of recorded candles: a day, so that its rhythm of volatility is kept."""
WINDOWS = 8
GEOMETRY: Mapping[str, Mapping[str, Any]] = {
    "walk_forward_config": {
        "history_years": 3,
        "training_months": 4,
        "validation_months": 3,
        "step_months": 3,
    },
    "model_hyperparameters": {
        "LightGBM": {
            "learning_rate": {"type": "float", "min": 0.05, "max": 0.2, "log": True},
            "num_leaves": {"type": "int", "min": 4, "max": 16},
            "min_data_in_leaf": {"type": "int", "min": 20, "max": 80},
            "n_estimators": {"type": "int", "min": 10, "max": 30},
        }
    },
    "search": {
        "max_trials": 8,
        "generation_size": 2,
        "coverage_hyperparameters": {
            "learning_rate": 0.1,
            "num_leaves": 8,
            "min_data_in_leaf": 50,
            "n_estimators": 20,
        },
    },
    "monte_carlo_config": {"n_simulations": 200},
}
"""What is other than in config.json, by section."""

STRENGTHS = (0.1, 0.15, 0.2, 0.25, PLANTED_TREND)
"""Of planted trends: drift over volatility, per hour, while a trend lasts."""


@dataclass(frozen=True)
class Market:
    """One kind of market; a seed makes one of it."""

    name: str
    what: str
    free: bool
    """Whether nothing is charged; else what config.json charges."""
    trend_strength: float | None
    """None: recorded candles in blocks."""

    @property
    def has_edge(self) -> bool:
        return bool(self.trend_strength)

    @property
    def recorded(self) -> bool:
        """Whether it is made from recorded candles."""
        return self.trend_strength is None


MARKETS: Mapping[str, Market] = {
    market.name: market
    for market in (
        Market("no-edge-free", "martingale, no costs", True, NO_EDGE),
        Market("no-edge", "martingale, default costs", False, NO_EDGE),
        Market("shuffled-free", "recorded candles in random blocks, no costs", True, None),
        Market("shuffled", "recorded candles in random blocks, default costs", False, None),
        *(
            Market(f"trend-{strength:g}", f"planted trends of {strength:g}", False, strength)
            for strength in STRENGTHS
        ),
    )
}


def calibration_config(config: Config, geometry: Mapping[str, Mapping[str, Any]]) -> Config:
    """The project's config with the values of a geometry in place of its own."""
    document = config.model_dump(mode="json")
    for section, values in geometry.items():
        document[section] = {**document[section], **values}
    return config_from(document, source="config.json in the calibration's geometry")


def geometry_digest(config: Config) -> str:
    """Of all that config.json has to do with a campaign's result, the thresholds of gates left
    out: those are judged afterwards.
    """
    sections = config.model_dump(
        mode="json",
        include={
            "indicator_parameters", "model_hyperparameters", "walk_forward_config", "break_even",
            "costs", "search", "selection", "monte_carlo_config",
        },
    )  # fmt: skip
    rule = sections.pop("monte_carlo_config")
    sections |= {"simulations": rule["n_simulations"], "windows": WINDOWS, "block": BLOCK}
    return hashlib.sha256(json.dumps(sections, sort_keys=True).encode()).hexdigest()[:12]


def market_config(market: Market, seed: int, config: Config) -> Config:
    """A campaign's config: everything by chance in it follows from the seed."""
    rule = config.monte_carlo_config.model_copy(update={"random_seed": seed})
    costs = config.costs
    if market.free:
        costs = Costs(fee_per_side=0, slippage_per_side=0, funding_per_8h=0)
    return config.model_copy(update={"monte_carlo_config": rule, "costs": costs})


def market_candles(
    market: Market, seed: int, config: Config, recorded: pd.DataFrame | None
) -> pd.DataFrame:
    """Hours for :data:`WINDOWS` windows.

    The same seed draws the same chance on every market: planted trends of all strengths, and
    the markets with and without costs, differ in nothing else.
    """
    rule = config.walk_forward_config
    months = rule.training_months + rule.validation_months + (WINDOWS - 1) * rule.step_months
    start = END - pd.DateOffset(months=months)
    bars = (END - start) // pd.Timedelta(hours=1)
    if market.trend_strength is not None:
        return SyntheticSource(seed, bars, END, market.trend_strength).load(ASSET, TIMEFRAME)
    if recorded is None:
        raise ValueError(f"{market.name} is made from recorded candles, of which there are none")
    rng = np.random.default_rng([zlib.crc32(b"shuffled"), seed + 1])
    return block_bootstrap(rng, recorded, TIMEFRAME, bars, start, block=BLOCK)
