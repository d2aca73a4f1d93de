"""Asks for a campaign: what it reads is set aside, then it is requested."""

# Imports that take seconds stand inside the functions: the other commands need none of them.

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING

from serving.campaign_requests import Campaign, CampaignRequest

if TYPE_CHECKING:
    import argparse

    from serving.stack import Stack
    from store.candles import CandleSource
    from strategy.config import Config


def ask_for(
    stack: Stack,
    config: Config,
    source: CandleSource,
    asset: str,
    timeframe: str,
    *,
    shards: int,
    requested_by: str,
) -> CampaignRequest:
    """Ask for a campaign on all candles that the source has now.

    Raises
    ------
    ConfigError, DataError
        The market is not in the config, or its candles cannot be used.
    StoreError, RetryError
        A store cannot be used, or not now.
    """
    from registry.identity import Identity
    from store.campaign_input import set_aside

    config.require_market(asset, timeframe)
    candles = source.load(asset, timeframe)
    identity = Identity.of(config, candles)
    campaign_id = identity.campaign_id(f"{asset}-{timeframe}")
    campaign = Campaign(
        campaign_id=campaign_id,
        asset=asset,
        timeframe=timeframe,
        config_digest=identity.config_digest,
        data_digest=identity.data_digest,
        code_digest=identity.code_digest,
        input_uri=stack.input_uri(campaign_id),
        checkpoint_uri=stack.checkpoints(config.checkpoint_config),
        max_resume_attempts=config.checkpoint_config.max_resume_attempts,
    )
    set_aside(
        campaign.input_uri,
        asset=asset,
        timeframe=timeframe,
        config=config,
        candles=candles,
        source_name=source.name,
        synthetic=source.synthetic,
    )
    return stack.requests.ask(stack.queue, campaign, shards=shards, requested_by=requested_by)


def ask_as_told(stack: Stack, options: argparse.Namespace) -> CampaignRequest:
    """Ask for the campaign that the command line describes; raises as :func:`ask_for`."""
    from store.candle_arguments import candle_source
    from store.config_file import chosen_config

    config = chosen_config(options)
    config.require_market(options.asset, options.timeframe)  # before anything is downloaded
    return ask_for(
        stack,
        config,
        candle_source(options, config),
        options.asset,
        options.timeframe,
        shards=options.shards,
        requested_by=getpass.getuser(),
    )
