"""What the functions of this package work with: deployed on AWS, or on this machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serving.campaign_requests import Requests
from serving.cost_gate import CostGate
from serving.launch_window import LaunchWindow
from store.clock import Clock, utc_now
from strategy.errors import ConfigError

if TYPE_CHECKING:
    from store.local_jobs import LocalJobs
    from store.notifications import Notifier
    from store.prices import PriceTable
    from store.queue import Queue
    from store.settings import Settings
    from store.settings_sections import (
        CostSettings,
        EnvironmentSettings,
        OpsSettings,
        RiskSettings,
    )
    from store.spending import Spending
    from store.sqlite_queue import SqliteQueue
    from store.state import StateTable
    from store.training_jobs import Jobs
    from strategy.config import CheckpointConfig

LAMBDA_TIMEOUT = timedelta(minutes=5)
"""Of every function; a message is hidden for longer while it is worked on."""
LOCAL_LEASE = timedelta(seconds=15)


@dataclass(frozen=True)
class Stack:
    """Everything that a function needs, so that it can be given something else.

    Parameters
    ----------
    inputs_uri, output_uri
        Where campaigns' inputs are set aside, and where jobs' results go: ``s3://bucket/prefix``,
        or folders.
    checkpoints
        Where the checkpoints of a campaign with that config go.
    environment
        Variables of every training job.
    lease
        For how long one launcher may keep others from a request: longer than it lives.
    """

    state: StateTable
    queue: Queue
    jobs: Jobs
    notifier: Notifier
    settings: Settings
    spending: Spending
    prices: PriceTable
    clock: Clock
    inputs_uri: str
    checkpoints: Callable[[CheckpointConfig], str]
    output_uri: str
    environment: Mapping[str, str] = field(default_factory=dict)
    lease: timedelta = LAMBDA_TIMEOUT

    @property
    def requests(self) -> Requests:
        return Requests(self.state, self.clock)

    @property
    def window(self) -> LaunchWindow:
        return LaunchWindow(self.state, self.clock)

    @property
    def gate(self) -> CostGate:
        return CostGate(self.state, self.spending, self.prices, self.clock)

    def input_uri(self, campaign_id: str) -> str:
        """Where the input of one campaign is set aside."""
        return f"{self.inputs_uri}/{campaign_id}/input"


_VARIABLES = {
    "STATE_URI": "the state table, as dynamodb://TABLE",
    "QUEUE_URL": "the queue of nudges",
    "TOPIC_ARN": "the topic that the operator listens to",
    "BUCKET": "the bucket for campaigns",
    "ROLE_ARN": "the role of training jobs",
    "IMAGE_URI": "the training image",
    "MLFLOW_TRACKING_URI": "the MLflow store",
}


def aws_stack(environment: Mapping[str, str], clock: Clock = utc_now) -> Stack:
    """The parts on AWS, by the variables of a Lambda function or a shell.

    Raises
    ------
    ConfigError
        A variable is not set; all that are not are named.
    """
    missing = [f"{name} ({what})" for name, what in _VARIABLES.items() if not environment.get(name)]
    if missing:
        raise ConfigError(f"set the environment variables {', '.join(missing)}")
    from store.aws import client
    from store.notifications import SnsNotifier
    from store.prices import load_prices
    from store.queue import SqsQueue
    from store.sagemaker_jobs import SageMakerJobs
    from store.settings import SsmSettings
    from store.spending import AwsSpending
    from store.state import open_state

    state = open_state(environment["STATE_URI"], clock)
    bucket = f"s3://{environment['BUCKET']}"
    return Stack(
        state=state,
        queue=SqsQueue(client("sqs"), environment["QUEUE_URL"]),
        jobs=SageMakerJobs(client("sagemaker"), environment["ROLE_ARN"], environment["IMAGE_URI"]),
        notifier=SnsNotifier(client("sns"), environment["TOPIC_ARN"]),
        settings=SsmSettings(client("ssm")),
        spending=AwsSpending(client("ce"), client("ec2"), state),
        prices=load_prices(),
        clock=clock,
        inputs_uri=f"{bucket}/campaigns",
        checkpoints=lambda config: config.in_bucket(environment["BUCKET"]),
        output_uri=f"{bucket}/jobs",
        environment={name: environment[name] for name in ("STATE_URI", "MLFLOW_TRACKING_URI")},
    )


@cache
def deployed_stack() -> Stack:
    """The parts of the function that this process is: made at its first call, then kept."""
    return aws_stack(os.environ)


def local_stack(folder: Path, tracking_uri: str, clock: Clock = utc_now) -> Stack:
    """The parts on this machine, all of them below one folder; jobs are processes, and free.

    Parameters
    ----------
    tracking_uri
        The MLflow store.
    """
    from store.notifications import LogNotifier
    from store.prices import LOCAL_PRICES
    from store.settings import SettingsFile
    from store.spending import FreeOfCharge
    from store.state import open_state

    state_uri = f"sqlite:///{folder / 'state.db'}"
    return Stack(
        state=open_state(state_uri, clock),
        queue=local_queue(folder, clock),
        jobs=local_jobs(folder, clock),
        notifier=LogNotifier(folder / "notifications.log", clock),
        settings=_OnThisMachine(SettingsFile(folder / "settings.json")),
        spending=FreeOfCharge(),
        prices=LOCAL_PRICES,
        clock=clock,
        inputs_uri=str(folder / "campaigns"),
        checkpoints=lambda _: str(folder / "checkpoints"),
        output_uri=str(folder / "jobs"),
        environment={"STATE_URI": state_uri, "MLFLOW_TRACKING_URI": tracking_uri},
        lease=LOCAL_LEASE,
    )


def local_queue(folder: Path, clock: Clock = utc_now) -> SqliteQueue:
    """The queue of :func:`local_stack`, with the side that receives."""
    from store.sqlite_queue import SqliteQueue

    return SqliteQueue(folder / "queue.db", clock, LOCAL_LEASE.total_seconds())


def local_jobs(folder: Path, clock: Clock = utc_now) -> LocalJobs:
    """The jobs of :func:`local_stack`, which can be stopped, too."""
    from store.local_jobs import LocalJobs

    return LocalJobs(folder / "jobs", clock)


@dataclass(frozen=True)
class _OnThisMachine:
    """The settings of a file, but for where jobs run."""

    file: Settings

    def cost(self) -> CostSettings:
        from store.prices import LOCAL

        return self.file.cost().model_copy(update={"spot_instance_type": (LOCAL,)})

    def risk(self) -> RiskSettings:
        return self.file.risk()

    def ops(self) -> OpsSettings:
        return self.file.ops()

    def environment(self) -> EnvironmentSettings:
        return self.file.environment()

    def set(self, name: str, value: Any) -> None:
        self.file.set(name, value)
