"""From the winner of a campaign to a version of the registered model."""

from __future__ import annotations

from registry.bundle import StrategyBundle
from registry.connection import Client
from registry.gates import verdict_tags
from registry.identity import Identity
from registry.lifecycle import Lifecycle, Stage
from registry.registration import register
from registry.tracking import CampaignTracker
from store.clock import milliseconds
from strategy.features import FEATURE_NAMES
from strategy.windows import newest_training_span
from training.candidate import Candidate
from training.explain import against_theory, ranking, top_share
from training.publication import candidate_description
from training.request import CampaignRequest
from training.walk_forward import PreparedMarket

EXAMPLE_BARS = 5


def register_winner(
    client: Client,
    request: CampaignRequest,
    market: PreparedMarket,
    identity: Identity,
    tracker: CampaignTracker,
    candidate: Candidate,
) -> None:
    """Register the winner, trained on the newest full window; into Staging if it passed."""
    config, parameters = market.config, candidate.trial.parameters
    start, end = newest_training_span(market.index, market.timeframe, config.walk_forward_config)
    ranked = ranking(candidate.explanation)
    bundle = StrategyBundle(
        strategy_id=f"{request.model_name}-{tracker.campaign_id}",
        asset=request.asset,
        timeframe=request.timeframe,
        indicators=parameters.indicators,
        hyperparameters=parameters.model,
        max_bin=config.model_hyperparameters.max_bin,
        seed=config.monte_carlo_config.random_seed,
        break_even=config.break_even,
        feature_names=FEATURE_NAMES,
        training_start=market.index[start],
        training_end=market.close_time(end - 1),
        config_digest=identity.config_digest,
        data_digest=identity.data_digest,
        code_version=identity.code_digest,
        booster_text=market.fit(parameters, start, end).model_to_string(),
        metadata={
            "shap_top10_share": top_share(ranked),
            "against_theory": against_theory(ranked),
            "synthetic": request.source.synthetic,
        },
    )
    version = register(
        client,
        tracker.run_id,
        bundle,
        model_name=request.model_name,
        input_example=market.candles.tail(EXAMPLE_BARS),
        description=candidate_description(candidate, request.subtitle),
        tags={
            "synthetic": str(request.source.synthetic).lower(),
            "campaign_id": tracker.campaign_id,
            **verdict_tags(candidate.gates),
        },
    )
    if candidate.passed:
        Lifecycle(client, request.model_name, milliseconds(request.clock)).move(
            version, Stage.STAGING, who="model_validator", why="all gates of the campaign passed"
        )
