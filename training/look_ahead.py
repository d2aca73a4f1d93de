"""Checks that no feature sees the future, nor more of the past than it says.

::

    python -m training.look_ahead                          # the catalogue in strategy/features
    python -m training.look_ahead --features my_features   # features of your own

Whoever adds a feature to the catalogue runs the first. The second is for trying one out before:
``my_features.py`` needs ``DEFINITIONS``, which are catalogue entries, and ``columns``, which
computes them all::

    import pandas as pd

    from strategy.features.catalogue import FeatureDefinition

    DEFINITIONS = (
        FeatureDefinition(
            name="momentum",
            group="combined",
            meaning="Change of the price over a day.",
            formula="close / (close of 24 bars earlier) - 1",
            parameters=(),
            history=lambda parameters: 25,
            expected_direction=1,
        ),
    )

    def columns(candles, parameters):
        return {"momentum": candles["close"] / candles["close"].shift(24) - 1}

Ends with status 1 if a feature is at fault, and names it, the bar and the figures.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from rich import box
from rich.table import Table

from store.candle_arguments import add_market_arguments, candle_source
from store.config_file import read_config
from strategy.config import Config, IndicatorParameters
from strategy.errors import ConfigError
from strategy.features.catalogue import FeatureDefinition
from training.console import console, run_command
from training.feature_checks import Fault, FeatureSet, catalogue, columns_of, find_faults

AT_FAULT = 1
"""Exit status if a feature is at fault; 2 says that nothing could be checked."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and check the features; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m training.look_ahead", description=__doc__.split("\n")[0]
    )
    parser.add_argument(
        "--features",
        action="append",
        metavar="MODULE",
        help="instead of the catalogue: an importable module with DEFINITIONS and columns; "
        "several may be given",
    )
    add_market_arguments(parser)
    parser.add_argument("--bars", type=int, default=3000, help="newest candles (%(default)s)")
    parser.add_argument(
        "--tries", type=int, default=40, help="bars drawn at random to try at (%(default)s)"
    )
    parser.add_argument("--seed", type=int, default=42, help="(%(default)s)")
    parser.add_argument("--config", default="config.json", help="(%(default)s)")
    options = parser.parse_args(arguments)
    if options.bars < 1 or options.tries < 1:
        parser.error("--bars, --tries: at least 1")
    return run_command(lambda: _command(options))


def feature_set(module: str) -> FeatureSet:
    """The features of a user's module.

    Raises
    ------
    ConfigError
        There is no such module, or it lacks ``DEFINITIONS`` or ``columns``.
    """
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"--features {module}: {error}; give the name of a module that can be imported from "
            "here, without .py"
        ) from error
    for name in ("DEFINITIONS", "columns"):
        if not hasattr(found, name):
            raise ConfigError(f"--features {module}: it has no {name}; see training/look_ahead.py")
    definitions = tuple(found.DEFINITIONS)
    if not definitions:
        raise ConfigError(f"--features {module}: its DEFINITIONS are empty")
    return FeatureSet(
        module,
        definitions,
        lambda candles, parameters: columns_of(
            module, definitions, found.columns(candles, parameters)
        ),
    )


def _command(options: argparse.Namespace) -> int:
    config = read_config(Path(options.config))
    sets = [feature_set(name) for name in options.features or ()] or [catalogue()]
    source = candle_source(options, config)
    candles = source.load(options.asset, options.timeframe).iloc[-options.bars :]
    console.print(
        f"{options.asset} · {source.name} · {len(candles):,} candles of {options.timeframe}, "
        f"{candles.index[0]:%Y-%m-%d %H:%M} .. {candles.index[-1]:%Y-%m-%d %H:%M} UTC"
    )
    faulty = 0
    for features in sets:
        faults: dict[str, tuple[IndicatorParameters, Fault]] = {}
        for parameters in _extremes(config):
            with console.status(f"{features.name} with {_named(parameters)}"):
                rng = np.random.default_rng(options.seed)
                found = find_faults(features, candles, parameters, rng, options.tries)
            for name, fault in found.items():
                faults.setdefault(name, (parameters, fault))
        console.print(faults_table(features, faults))
        faulty += len(faults)
        sound = len(features.definitions) - len(faults)
        console.print(f"{sound} of {len(features.definitions)} features are sound.")
        if faults:
            console.print(f"[red bold]At fault[/]: {', '.join(faults)}.")
    return AT_FAULT if faulty else 0


def _extremes(config: Config) -> list[IndicatorParameters]:
    """The shortest periods of the config's grid, and the longest."""
    combinations = list(config.indicator_parameters.combinations())
    return list(dict.fromkeys((combinations[0], combinations[-1])))


def faults_table(
    features: FeatureSet, faults: Mapping[str, tuple[IndicatorParameters, Fault]]
) -> Table:
    """Every feature with its verdict and, if it is at fault, where and how."""
    table = Table(
        title=f"Features of {features.name}",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    for heading in ("feature", "verdict", "first bar at fault (UTC)", "value", "instead", "when"):
        table.add_column(heading, justify="right" if heading in ("value", "instead") else "left")
    for definition in features.definitions:
        if definition.name not in faults:
            table.add_row(definition.name, "[green]sound[/]")
            continue
        parameters, fault = faults[definition.name]
        table.add_row(
            definition.name,
            f"[red]{fault.verdict}[/]",
            f"{fault.time:%Y-%m-%d %H:%M}",
            f"{fault.value:.6g}",
            f"{fault.other:.6g}",
            f"{fault.when}{_under(definition, parameters)}",
        )
    return table


def _under(definition: FeatureDefinition, parameters: IndicatorParameters) -> str:
    values = [f"{name} {getattr(parameters, name)}" for name in definition.parameters]
    return f", with {', '.join(values)}" if values else ""


def _named(parameters: IndicatorParameters) -> str:
    return ", ".join(f"{name} {value}" for name, value in parameters._asdict().items())


if __name__ == "__main__":
    sys.exit(main())
