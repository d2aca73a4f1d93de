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

from store import embedded
from store.config_file import add_config_arguments, chosen_config


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and run the campaign; returns the exit status."""
    from store.candle_arguments import add_market_arguments
    from training.arguments import add_store_argument
    from training.console import run_command

    parser = argparse.ArgumentParser(
        prog="python -m training.model_validator", description=__doc__.split("\n")[0]
    )
    add_market_arguments(parser)
    add_config_arguments(parser)
    parser.add_argument("--jobs", type=int, default=2, help="processes (%(default)s)")
    parser.add_argument(
        "--checkpoints",
        default=embedded.CHECKPOINTS,
        metavar="FOLDER|s3://BUCKET/PREFIX",
        help="where an interrupted campaign finds what it had computed (%(default)s)",
    )
    add_store_argument(parser)
    options = parser.parse_args(arguments)
    if options.jobs < 1:
        parser.error("--jobs: at least 1")
    return run_command(lambda: _discover(options))


def _discover(options: argparse.Namespace) -> int:
    from store.candle_arguments import candle_source
    from store.clock import utc_now
    from store.state import open_state
    from training.arguments import tracking_uri
    from training.campaign import run_campaign
    from training.request import CampaignRequest

    config = chosen_config(options)
    config.require_market(options.asset, options.timeframe)
    request = CampaignRequest(
        asset=options.asset,
        timeframe=options.timeframe,
        config=config,
        source=candle_source(options, config),
        tracking_uri=tracking_uri(options.tracking_uri),
        jobs=options.jobs,
        checkpoints=options.checkpoints,
        state=open_state(embedded.STATE),
        clock=utc_now,
    )
    run_campaign(request)
    return 0


if __name__ == "__main__":
    sys.exit(main())
