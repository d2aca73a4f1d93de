"""Asks for a campaign from the command line: what it reads is set aside, then it is requested."""

# Imports that take seconds stand inside the functions: the other commands need none of them.

from __future__ import annotations

import argparse
import getpass
from typing import TYPE_CHECKING

from serving.campaign_requests import Campaign, CampaignRequest

if TYPE_CHECKING:
    from serving.stack import Stack


def ask_for(stack: Stack, options: argparse.Namespace) -> CampaignRequest:
    """Ask for the campaign that the command line describes.

    Raises
    ------
    ConfigError, DataError
        Config or candles cannot be used, or the asset is not in the config.
    StoreError, RetryError
        A store cannot be used, or not now.
    """
    from registry.identity import Identity
    from store.campaign_input import set_aside
    from store.candle_arguments import candle_source
    from store.config_file import chosen_config

    config = chosen_config(options)
    config.require_market(options.asset, options.timeframe)
    source = candle_source(options, config)
    candles = source.load(options.asset, options.timeframe)
    identity = Identity.of(config, candles)
    campaign_id = identity.campaign_id(f"{options.asset}-{options.timeframe}")
    campaign = Campaign(
        campaign_id=campaign_id,
        asset=options.asset,
        timeframe=options.timeframe,
        config_digest=identity.config_digest,
        data_digest=identity.data_digest,
        code_digest=identity.code_digest,
        input_uri=stack.input_uri(campaign_id),
        checkpoint_uri=stack.checkpoints(config.checkpoint_config),
        max_resume_attempts=config.checkpoint_config.max_resume_attempts,
    )
    set_aside(
        campaign.input_uri,
        asset=options.asset,
        timeframe=options.timeframe,
        config=config,
        candles=candles,
        source_name=source.name,
        synthetic=source.synthetic,
    )
    return stack.requests.ask(
        stack.queue, campaign, shards=options.shards, requested_by=getpass.getuser()
    )
