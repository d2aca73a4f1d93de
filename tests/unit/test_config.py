from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from strategy.config import Config, IndicatorParameters, config_from, parse_config
from strategy.config_schema import schema_text
from strategy.errors import ConfigError

ROOT = Path(__file__).parents[2]
DOCUMENT: dict[str, Any] = json.loads((ROOT / "config.json").read_text())


def edited(path: str, value: Any) -> dict[str, Any]:
    """The checked-in config.json with one key, given by its dotted path, set to a value."""
    document = copy.deepcopy(DOCUMENT)
    *sections, key = path.split(".")
    node = document
    for section in sections:
        node = node[section]
    node[key] = value
    return document


@pytest.fixture(scope="module")
def config() -> Config:
    return parse_config((ROOT / "config.json").read_text())


def test_the_default_grid_has_432_combinations_in_the_order_of_its_axes(config: Config):
    combinations = list(config.indicator_parameters.combinations())
    assert len(set(combinations)) == len(combinations) == config.indicator_parameters.size == 432
    assert combinations[0] == IndicatorParameters(8, 24, 48, 7, 7)
    assert combinations[1] == IndicatorParameters(8, 24, 48, 7, 14)
    assert combinations[-1] == IndicatorParameters(10, 28, 56, 28, 28)


def test_a_range_whose_step_overshoots_stops_below_its_end():
    config = config_from(
        edited("indicator_parameters.rsi.period", {"start": 7, "end": 20, "step": 7})
    )
    assert list(config.indicator_parameters.rsi.period.values) == [7, 14]


def test_the_config_is_frozen(config: Config):
    with pytest.raises(ValueError, match="frozen"):
        config.costs.fee_per_side = 0.0


@pytest.mark.parametrize(
    ("path", "value", "allowed"),
    [
        ("walk_forward_config.training_months", 0, ">= 1 and <= 60"),
        ("costs.fee_per_side", -0.1, ">= 0 and <= 0.01"),
        ("costs.fee_per_side", "cheap", ">= 0 and <= 0.01"),
        ("circuit_breaker.daily", 1.0, "> 0 and < 1"),
        ("preflight.mode", "loud", "one of ['warn', 'stop', 'off']"),
        ("preflight.entry_probability", 0.51, "> 0 and <= 0.5"),
        ("checkpoint_config.s3_checkpoint_path", "/tmp", "text matching ^s3://"),
        ("monte_carlo_config.random_seed", 2**32, ">= 0 and < 4294967296"),
        ("indicator_parameters.atr.period.start", 1, ">= 2 and <= 500"),
        ("search.coverage_hyperparameters.num_leaves", 1, ">= 2 and <= 1024"),
    ],
)
def test_a_value_out_of_range_names_its_key_and_the_whole_range(
    path: str, value: Any, allowed: str
):
    with pytest.raises(ConfigError) as error:
        config_from(edited(path, value))
    assert f"{path}: " in str(error.value)
    assert f"got {value!r}" in str(error.value)
    assert allowed in str(error.value)


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        (
            "indicator_parameters.rsi.period",
            {"start": 14, "end": 7, "step": 7},
            "the grid is empty: end 7 lies below start 14",
        ),
        (
            "model_hyperparameters.LightGBM.num_leaves",
            {"type": "int", "min": 30, "max": 20},
            "the range is empty: max 20 lies below min 30",
        ),
        ("break_even.max_multiplier", 0.5, "max_multiplier 0.5 lies below min_multiplier 1.0"),
        ("incubation_promotion.period", "last_0_trades", "must read last_<number>_trades"),
    ],
)
def test_values_that_contradict_each_other_are_refused(path: str, value: Any, complaint: str):
    with pytest.raises(ConfigError) as error:
        config_from(edited(path, value))
    section = path.rsplit(".", 1)[0]
    assert section in str(error.value)
    assert complaint in str(error.value)


@pytest.mark.parametrize("path", ["cost", "costs.fee", "search.pruning.enabeld"])
def test_an_unknown_key_is_named(path: str):
    with pytest.raises(ConfigError, match=f"{path}: unknown key"):
        config_from(edited(path, 1))


def test_a_missing_key_is_named():
    document = copy.deepcopy(DOCUMENT)
    del document["walk_forward_config"]["training_months"]
    with pytest.raises(ConfigError, match=r"walk_forward_config\.training_months: required key"):
        config_from(document)


def test_every_invalid_key_is_reported_at_once():
    document = edited("costs.fee_per_side", -1)
    document["leverage"]["max_leverage"] = 0
    with pytest.raises(ConfigError) as error:
        config_from(document, source="mine.json")
    assert "mine.json: 2 invalid key(s)" in str(error.value)
    assert "costs.fee_per_side" in str(error.value)
    assert "leverage.max_leverage" in str(error.value)


def test_a_stray_comma_is_reported_with_its_line():
    with pytest.raises(ConfigError, match=r"mine\.json: not valid JSON at line 3"):
        parse_config('{\n  "candles": {},\n}', source="mine.json")


def test_an_unknown_asset_or_timeframe_is_named_with_those_that_are_known(config: Config):
    config.require_market("BTCUSDT", "1h")
    with pytest.raises(ConfigError, match=r"unknown asset 'ETHUSDT'.*BTCUSDT"):
        config.require_market("ETHUSDT", "1h")
    with pytest.raises(ConfigError, match=r"unknown timeframe '5m'.*1h"):
        config.require_market("BTCUSDT", "5m")


def test_the_digest_knows_values_and_not_their_spelling(config: Config):
    reordered = dict(reversed(DOCUMENT.items()))
    assert config_from(reordered).digest == config.digest
    two = {"BTCUSDT": ["1h"], "ETHUSDT": ["4h"]}
    assert (
        config_from(edited("asset_timeframes", two)).digest
        == config_from(edited("asset_timeframes", dict(reversed(two.items())))).digest
    )
    assert config_from(edited("$schema", None)).digest == config.digest
    assert config_from(edited("leverage.max_leverage", 3)).digest == config.digest
    assert config_from(edited("leverage.max_leverage", 2.5)).digest != config.digest


def test_the_promotion_period_tells_how_many_trades_it_looks_at(config: Config):
    assert config.incubation_promotion.last_trades == 100
    assert config.production_promotion.last_trades == 30


def test_the_checked_in_schema_is_the_generated_one():
    assert (ROOT / "config.schema.json").read_text() == schema_text(), "run: make schema"


def test_mlproject_overrides_nothing_of_config_json_unasked(config: Config):
    project = yaml.safe_load((ROOT / "MLproject").read_text())
    parameters = project["entry_points"]["discover"]["parameters"]
    for name in ("max_trials", "seed", "preflight"):
        assert parameters[name]["default"] == ""
    config.require_market(parameters["asset"]["default"], parameters["timeframe"]["default"])
