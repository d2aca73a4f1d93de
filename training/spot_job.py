"""Looks at a training job, and starts one from a notebook.

::

    python -m training.spot_job describe BTCUSDT-1h-0a1b2c3d4e5f-shard1of2-0
"""

# What takes seconds to import stands inside the functions: none of it is needed for --help.

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from rich import box
from rich.markup import escape
from rich.table import Table

from store.aws import client, patient, translated
from store.prices import PriceTable, load_prices
from store.sagemaker_jobs import (
    CHANNEL,
    CHECKPOINT_FOLDER,
    ENTRY_POINT,
    describe_training_job,
    sdk_session,
    training_job_request,
)
from store.training_jobs import JobDescription, JobSpec
from strategy.errors import ConfigError

NO_TELEMETRY: Mapping[str, Any] = {
    "SchemaVersion": "1.0",
    "SageMaker": {"PythonSDK": {"Modules": {"TelemetryOptOut": True}}},
}
"""The SDK's settings, instead of those in its files: else it reports its use to its makers."""


def launch_with_model_trainer(spec: JobSpec, *, role_arn: str, image_uri: str) -> None:
    """Start the job that :class:`store.sagemaker_jobs.SageMakerJobs` starts, by the SageMaker SDK.

    For notebooks with ``requirements-sagemaker.txt`` installed. It returns when the job is
    created; ``sagemaker.core.resources.TrainingJob.get(spec.name).wait(logs=True)`` follows it.

    Parameters
    ----------
    role_arn, image_uri
        As for :func:`store.sagemaker_jobs.training_job_request`.

    Raises
    ------
    ConfigError
        SageMaker would refuse the job, or has one of that name already.
    RetryError, StoreError
        As :func:`store.aws.translated` says.
    """
    training_job_request(spec, role_arn=role_arn, image_uri=image_uri)  # for its clear errors
    from sagemaker.core.helper.session_helper import Session
    from sagemaker.core.training import configs as sdk
    from sagemaker.train import ModelTrainer

    class NamedTrainer(ModelTrainer):  # type: ignore[misc]
        """A ModelTrainer whose job has exactly the name and the entry point that we say.

        The SDK's own appends the time to the name, so that a job could be started twice and
        would not be found in the campaign's record; and it has no entry point but that of a
        shell script, which would start our program as its child, out of SIGTERM's reach.
        """

        def _create_training_job_args(self, *arguments: Any, **options: Any) -> dict[str, Any]:
            request: dict[str, Any] = super()._create_training_job_args(*arguments, **options)
            request["training_job_name"] = spec.name
            request["algorithm_specification"].container_entrypoint = list(ENTRY_POINT)
            return request

    with translated(f"training job {spec.name}"):
        NamedTrainer(
            sagemaker_session=Session(sdk_session(), sagemaker_config=dict(NO_TELEMETRY)),
            role=role_arn,
            base_job_name=spec.name,
            training_image=image_uri,
            training_input_mode="File",
            compute=sdk.Compute(
                instance_type=spec.instance_type,
                instance_count=1,
                volume_size_in_gb=spec.volume_gb,
                enable_managed_spot_training=True,
            ),
            stopping_condition=sdk.StoppingCondition(
                max_runtime_in_seconds=spec.max_runtime_seconds,
                max_wait_time_in_seconds=spec.max_wait_seconds,
            ),
            checkpoint_config=sdk.CheckpointConfig(
                s3_uri=spec.checkpoint_uri, local_path=CHECKPOINT_FOLDER
            ),
            input_data_config=[sdk.InputData(channel_name=CHANNEL, data_source=spec.input_uri)],
            output_data_config=sdk.OutputDataConfig(
                s3_output_path=spec.output_uri, compression_type="GZIP"
            ),
            hyperparameters=dict(spec.hyperparameters),
            environment=dict(spec.environment),
            tags=[sdk.Tag(key=key, value=value) for key, value in spec.all_tags.items()],
        ).train(wait=False, logs=False)


def job_cost(job: JobDescription, prices: PriceTable) -> float | None:
    """What a job cost, USD; None until SageMaker says what is billable, or without a price."""
    if job.billable_seconds is None or job.instance_type not in prices.instances:
        return None
    return prices.usd(job.instance_type, job.billable_seconds, job.volume_gb, job.training_seconds)


def job_table(job: JobDescription, prices: PriceTable) -> Table:
    """A job for the screen; what is not known is a dash."""
    cost = job_cost(job, prices)
    rows = {
        "status": job.status if job.detail == job.status else f"{job.status}, {job.detail}",
        "reason": job.failure_reason or "-",
        "instance": job.instance_type,
        "interruptions": str(job.interruptions),
        "billable time": f"{_duration(job.billable_seconds)} of {_duration(job.training_seconds)}",
        "saved by Spot": "-" if job.savings is None else f"{job.savings:.1%}",
        "cost": "-" if cost is None else f"${cost:.4f} at the prices of {prices.as_of}",
        "ended": "-" if job.ended_at is None else f"{job.ended_at:%Y-%m-%d %H:%M:%S} UTC",
    }
    table = Table(title=job.name, title_justify="left", box=box.SIMPLE_HEAD, show_header=False)
    for name, value in rows.items():
        table.add_row(name, escape(value))
    return table


def job_document(job: JobDescription, prices: PriceTable) -> dict[str, Any]:
    """A job for other programs: JSON, null where something is not known."""
    return {
        **asdict(job),
        "ended_at": job.ended_at.isoformat() if job.ended_at else None,
        "savings": job.savings,
        "cost_usd": job_cost(job, prices),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m training.spot_job", description=__doc__.split("\n")[0]
    )
    commands = parser.add_subparsers(dest="command", required=True)
    describe = commands.add_parser("describe", help="how a job fares, and what it cost")
    describe.add_argument("name", help="as the SageMaker console shows it")
    describe.add_argument("--json", action="store_true", help="for other programs")
    options = parser.parse_args(arguments)
    from training.console import run_command

    return run_command(lambda: _describe(options))


def _describe(options: argparse.Namespace) -> int:
    from training.console import console

    sagemaker = client("sagemaker")
    job = describe_training_job(sagemaker, options.name, patient())
    if job is None:
        raise ConfigError(
            f"there is no training job {options.name!r} in {sagemaker.meta.region_name}; the "
            "SageMaker console lists those there are"
        )
    if options.json:
        print(json.dumps(job_document(job, load_prices()), indent=2))
    else:
        console.print(job_table(job, load_prices()))
    return 0


def _duration(seconds: int | None) -> str:
    return "-" if seconds is None else str(timedelta(seconds=seconds))


if __name__ == "__main__":
    sys.exit(main())
