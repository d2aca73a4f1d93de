"""Discovers a strategy by walk-forward validation: the main job.

::

    python -m training.model_validator --asset BTCUSDT --timeframe 1h --candles synthetic

Candles go in; a campaign in MLflow comes out and, if every gate holds, a version of the
registered model ``BTCUSDT-1h`` in ``Staging``. A campaign that promotes nothing is a result:
it ends successfully and says why.
"""

# Imports that take seconds stand inside the functions: every worker process imports this
# module again, because it is their parent's main one, and needs none of them.

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from store.config_file import read_config
from strategy.config import Config, config_from


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and run the campaign; returns the exit status."""
    from training.arguments import add_market_arguments, add_store_argument
    from training.console import run_command

    parser = argparse.ArgumentParser(
        prog="python -m training.model_validator", description=__doc__.split("\n")[0]
    )
    add_market_arguments(parser)
    parser.add_argument("--config", default="config.json", help="(%(default)s)")
    parser.add_argument("--max-trials", type=int, help="instead of search.max_trials")
    parser.add_argument("--jobs", type=int, default=2, help="processes (%(default)s)")
    parser.add_argument(
        "--seed",
        type=int,
        help="of search, simulations and embedded market; instead of the config's",
    )
    parser.add_argument(
        "--preflight", choices=("warn", "stop", "off"), help="instead of preflight.mode"
    )
    add_store_argument(parser)
    options = parser.parse_args(arguments)
    if options.jobs < 1:
        parser.error("--jobs: at least 1")
    return run_command(lambda: _discover(options))


def _discover(options: argparse.Namespace) -> int:
    from training.arguments import candle_source, tracking_uri
    from training.campaign import run_campaign
    from training.request import CampaignRequest

    config = _overridden(read_config(Path(options.config)), options)
    config.require_market(options.asset, options.timeframe)
    request = CampaignRequest(
        asset=options.asset,
        timeframe=options.timeframe,
        config=config,
        source=candle_source(options, config),
        tracking_uri=tracking_uri(options.tracking_uri),
        jobs=options.jobs,
    )
    run_campaign(request)
    return 0


def _overridden(config: Config, options: argparse.Namespace) -> Config:
    """The config with the command line's values in it, validated like the file's own."""
    document = config.model_dump(mode="json")
    if options.max_trials is not None:
        document["search"]["max_trials"] = options.max_trials
    if options.seed is not None:
        document["monte_carlo_config"]["random_seed"] = options.seed
    if options.preflight is not None:
        document["preflight"]["mode"] = options.preflight
    return config_from(document, source=f"{options.config} with the command line's values")


if __name__ == "__main__":
    sys.exit(main())
