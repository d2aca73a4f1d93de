"""What a seed fixes, and what a record rests on."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from store.config_file import read_config
from strategy.config import Config, Section
from training.calibration import campaign
from training.calibration.markets import (
    GEOMETRY,
    MARKETS,
    WINDOWS,
    calibration_config,
    geometry_digest,
    market_candles,
    market_config,
)
from training.walk_forward import PreparedMarket

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def config() -> Config:
    return calibration_config(read_config(ROOT / "config.json"), GEOMETRY)


def changed(config: Config, section: str, **values: object) -> Config:
    part: Section = getattr(config, section)
    return config.model_copy(update={section: part.model_copy(update=values)})


def test_candles_give_the_windows_of_the_geometry_and_no_more(config: Config) -> None:
    market = PreparedMarket(market_candles(MARKETS["no-edge"], 0, config, None), "1h", config)
    assert len(market.windows) == WINDOWS


def test_markets_of_one_seed_differ_in_their_edge_and_costs_alone(config: Config) -> None:
    free, charged, trending = (
        market_candles(MARKETS[name], 3, config, None)
        for name in ("no-edge-free", "no-edge", "trend-0.1")
    )
    pd.testing.assert_frame_equal(free, charged)
    spread = np.log(trending["close"] / trending["open"]) - np.log(free["close"] / free["open"])
    volatility = np.log(free["close"] / free["open"]).std()
    assert 0 < np.abs(spread).max() < volatility  # drift, and the same noise
    costs = {name: market_config(MARKETS[name], 3, config).costs for name in MARKETS}
    assert costs["no-edge-free"].per_side == costs["shuffled-free"].funding_per_8h == 0
    assert costs["no-edge"] == costs["trend-0.3"] == config.costs
    assert market_config(MARKETS["no-edge"], 3, config).monte_carlo_config.random_seed == 3


def test_a_shuffled_market_needs_recorded_candles(config: Config) -> None:
    with pytest.raises(ValueError, match="shuffled is made from recorded candles"):
        market_candles(MARKETS["shuffled"], 0, config, None)
    recorded = market_candles(MARKETS["no-edge"], 0, config, None).iloc[:1000]
    made = [market_candles(MARKETS["shuffled"], seed, config, recorded) for seed in (0, 1)]
    assert len(made[0]) == len(market_candles(MARKETS["no-edge"], 0, config, None))
    assert not made[0].equals(made[1])


def test_thresholds_of_gates_are_no_part_of_a_records_identity_but_costs_are(
    config: Config,
) -> None:
    before = geometry_digest(config)
    assert geometry_digest(changed(config, "incubation_promotion", min_trades=99)) == before
    assert geometry_digest(changed(config, "monte_carlo_config", confidence_level=0.5)) == before
    assert geometry_digest(changed(config, "monte_carlo_config", n_simulations=999)) != before
    assert geometry_digest(changed(config, "costs", fee_per_side=0.001)) != before
    assert geometry_digest(changed(config, "selection", min_trades_per_window=1)) != before


def test_the_code_digest_covers_every_module_that_a_result_comes_from() -> None:
    """A module that walking a trial imports, and that the digest does not know, is found here."""
    left_out = {
        "strategy", "store", "registry", "training",  # nothing but a docstring
        "strategy.config", "strategy.config_errors",  # what of it matters is in the geometry
        "strategy.errors", "strategy.jit",
        "training.calibration",
        "training.checkpointing", "training.processes",  # not used here
    }  # fmt: skip
    covered = {*campaign._MODULES, *campaign._FUNCTIONS}
    seen: set[str] = set()
    waiting = ["training.walk_forward", "training.discovery", "store.synthetic", "store.bootstrap"]
    while waiting:
        name = waiting.pop()
        if name in seen or name in left_out:
            continue
        seen.add(name)
        waiting += imported(name)
    assert len(seen) > 20
    assert seen - covered == set()


def imported(name: str) -> list[str]:
    """Modules of this project that one imports at its top."""
    path = ROOT / name.replace(".", "/")
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    found = []
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ImportFrom) and node.module:
            if node.module.split(".")[0] not in ("strategy", "store", "registry", "training"):
                continue
            below = [f"{node.module}.{each.name}" for each in node.names]
            modules = [each for each in below if (ROOT / f"{each.replace('.', '/')}.py").is_file()]
            found += modules or [node.module]
    return found
