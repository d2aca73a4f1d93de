"""The training job of one shard of a campaign."""

from __future__ import annotations

from typing import TYPE_CHECKING

from serving.campaign_requests import CampaignRequest, Shard
from store.training_jobs import JobSpec

if TYPE_CHECKING:
    from serving.stack import Stack
    from store.settings_sections import CostSettings

VOLUME_GB = 20
"""Disk of a job: the image's libraries, its input and its results take a fraction of it."""


def job_spec(
    stack: Stack, request: CampaignRequest, shard: Shard, instance_type: str, settings: CostSettings
) -> JobSpec:
    """The training job of one shard.

    Jobs write their checkpoints straight to where all of them read: the one that ends last
    needs what the others wrote while it ran. So the folder that SageMaker synchronises (without
    which it lets no job wait for Spot instances) is one of the job's own, and stays empty.
    """
    shards = len(request.shards)
    name = request.job_name(shard)
    return JobSpec(
        name=name,
        hyperparameters={
            "campaign_id": request.campaign_id,
            "asset": request.asset,
            "timeframe": request.timeframe,
            "shard": str(shard.number),
            "shards": str(shards),
            "config_digest": request.config_digest,
            "data_digest": request.data_digest,
            "code_digest": request.code_digest,
        },
        input_uri=request.input_uri,
        checkpoint_uri=f"{stack.output_uri}/{name}/checkpoints",
        output_uri=stack.output_uri,
        instance_type=instance_type,
        volume_gb=VOLUME_GB,
        max_runtime_seconds=seconds(settings.max_runtime_hours),
        max_wait_seconds=seconds(settings.max_wait_hours),
        environment={**stack.environment, "CHECKPOINT_URI": request.checkpoint_uri},
        tags={
            "campaign_id": request.campaign_id,
            "shard": f"{shard.number}of{shards}",
            "asset": request.asset,
            "timeframe": request.timeframe,
        },
    )


def seconds(hours: float) -> int:
    """As SageMaker counts time."""
    return round(hours * 3600)
