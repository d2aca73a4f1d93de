"""A training job for tests."""

from __future__ import annotations

from typing import Any

from store.training_jobs import JobSpec, job_name

ROLE_ARN = "arn:aws:iam::123456789012:role/trading-training-job"
IMAGE_URI = "123456789012.dkr.ecr.ap-southeast-1.amazonaws.com/trading-training:4d52355"


def job_spec(**changes: Any) -> JobSpec:
    """The first of two jobs of a campaign, with some of its fields changed."""
    fields: dict[str, Any] = {
        "name": job_name("BTCUSDT", "1h", "0a1b2c3d4e5f", shard=1, shards=2, submission=0),
        "hyperparameters": {"campaign_id": "0a1b2c3d4e5f", "shard": "1", "shards": "2"},
        "input_uri": "s3://trading/campaigns/0a1b2c3d4e5f/input",
        "checkpoint_uri": "s3://trading/campaigns/0a1b2c3d4e5f/checkpoints",
        "output_uri": "s3://trading/campaigns/0a1b2c3d4e5f/output",
        "instance_type": "ml.m5.large",
        "volume_gb": 30,
        "max_runtime_seconds": 6 * 3600,
        "max_wait_seconds": 24 * 3600,
        "environment": {"MLFLOW_TRACKING_URI": "sqlite:///var/mlflow.db"},
        "tags": {
            "campaign_id": "0a1b2c3d4e5f",
            "shard": "1of2",
            "asset": "BTCUSDT",
            "timeframe": "1h",
        },
    }
    return JobSpec(**(fields | changes))
