"""Training jobs as the state table has them: how they fare, what Spot saves, what they cost."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from store.aws import client, patient
from store.job_records import campaign_partition
from store.sagemaker_jobs import describe_training_job
from store.state import StateTable
from store.training_jobs import JobDescription, JobSpec
from strategy.errors import ConfigError
from training.report import FAINT, GAIN, LOSS, styled, titled_figure
from training.research.empty import empty_figure
from training.spot_job import launch_with_model_trainer

COLUMNS = (
    "campaign", "job", "status", "instance_type", "windows_done", "resume_attempts",
    "interruptions", "training_seconds", "billable_seconds", "savings", "cost_usd",
    "updated_at", "reason",
)  # fmt: skip
_NUMBERS = (
    "windows_done", "resume_attempts", "interruptions", "training_seconds", "billable_seconds",
    "savings", "cost_usd",
)  # fmt: skip


@dataclass(frozen=True)
class ModelTrainerJobs:
    """Jobs that the SageMaker SDK's ModelTrainer starts; implements
    :class:`store.training_jobs.Jobs`.

    In the place of a launcher's own jobs, so that what it looks at before a launch (the window,
    the budget, the discount) is looked at in a notebook, too.
    """

    role_arn: str
    image_uri: str

    def create(self, spec: JobSpec) -> None:
        launch_with_model_trainer(spec, role_arn=self.role_arn, image_uri=self.image_uri)

    def describe(self, name: str) -> JobDescription | None:
        return describe_training_job(client("sagemaker"), name, patient())


def jobs_table(state: StateTable, campaigns: Sequence[str]) -> pd.DataFrame:
    """The jobs of some campaigns, one row a shard: what it, and who launched it, have told.

    Parameters
    ----------
    campaigns
        Their ids.

    Returns
    -------
    :data:`COLUMNS`. ``status`` is SageMaker's once the job has ended. Times in seconds,
    ``savings`` as a share of the price without Spot, ``cost_usd`` in USD; NaN while it is not
    known, and for a job that was begun by hand, which nobody bills.
    """
    rows = []
    for campaign in campaigns:
        for item in state.items(campaign_partition(campaign), "shard-"):
            told = dict(item.value)
            told["job"] = told.get("job_name", f"{item.key}, begun by hand")
            told["status"] = told.get("job_status") or told.get("status", "unknown")
            rows.append({**told, "campaign": campaign})
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return table.astype(dict.fromkeys(_NUMBERS, float))


def requests_table(requests: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Campaigns that were asked for, the newest first: what they are, and why.

    Parameters
    ----------
    requests
        As the command ``status --json`` gives them.
    """
    columns = ["campaign_id", "asset", "timeframe", "status", "reason", "requested_at"]
    rows = [[each[name] for name in columns] for each in requests]
    return pd.DataFrame(rows, columns=columns)


def campaign_costs(jobs: pd.DataFrame, ledger: Mapping[str, Any]) -> pd.DataFrame:
    """What each campaign cost, and what jobs that run may still cost at most.

    Parameters
    ----------
    jobs
        Of :func:`jobs_table`.
    ledger
        The cost ledger of the state table: ``jobs`` by name with ``usd`` and ``ended_at``. It
        has earlier submissions of a shard, too, but forgets jobs days after they ended.

    Returns
    -------
    One row a campaign: ``jobs``, ``interruptions``, ``training_hours``, ``billable_hours``,
    ``savings`` (share of the price without Spot; NaN if unknown), ``cost_usd`` of ended jobs,
    ``reserved_usd`` of those that run.
    """
    entries = ledger.get("jobs", {})
    rows = {}
    for campaign, own in jobs.groupby("campaign", sort=False):
        known = own.set_index("job")["cost_usd"].dropna().to_dict()
        noted = {name: each for name, each in entries.items() if f"-{str(campaign)[:12]}-" in name}
        ended = {name: each["usd"] for name, each in noted.items() if each["ended_at"]}
        billed = own.dropna(subset=["billable_seconds", "training_seconds"])
        training, billable = billed["training_seconds"].sum(), billed["billable_seconds"].sum()
        rows[campaign] = {
            "jobs": len(set(own["job"]) | set(noted)),
            "interruptions": own["interruptions"].sum(),
            "training_hours": own["training_seconds"].sum() / 3600,
            "billable_hours": billable / 3600,
            "savings": 1 - billable / training if training else np.nan,
            "cost_usd": sum({**ended, **known}.values()),
            "reserved_usd": sum(each["usd"] for each in noted.values() if not each["ended_at"]),
        }
    names = ["jobs", "interruptions", "training_hours", "billable_hours", "savings", "cost_usd"]
    table = pd.DataFrame.from_dict(rows, orient="index", columns=[*names, "reserved_usd"])
    return table.rename_axis("campaign")


def hours_figure(jobs: pd.DataFrame, *, subtitle: str) -> Figure:
    """Each job's time on instances: what of it is billed, and what Spot saved."""
    title = "Time of training jobs"
    known = jobs.dropna(subset=["training_seconds"]).iloc[::-1]
    if known.empty:
        return empty_figure(title, subtitle, "no launched job has ended yet")
    figure = titled_figure(
        f"{title}: billed and saved", subtitle, size=(11, 1.8 + 0.42 * len(known))
    )
    axes = styled(figure.add_subplot(), x="minutes on instances")
    axes.grid(False, axis="y")
    total = known["training_seconds"].to_numpy() / 60
    billed = known["billable_seconds"].fillna(known["training_seconds"]).to_numpy() / 60
    places = np.arange(len(known))
    axes.barh(places, billed, color=LOSS, alpha=0.8, label="billed, or not billed by anybody")
    axes.barh(places, total - billed, left=billed, color=GAIN, alpha=0.45, label="saved by Spot")
    for place, (minutes, count) in enumerate(zip(total, known["interruptions"], strict=True)):
        if count > 0:
            axes.text(
                minutes, place, f" {count:.0f} × interrupted", va="center", fontsize=9, color=FAINT
            )  # fmt: skip
    axes.set_yticks(places, list(known["job"]))
    axes.legend(fontsize=9, framealpha=0.85, edgecolor="none", loc="lower right")
    return figure


def missing_for_launch(connect: Callable[[], object]) -> list[str]:
    """What a job cannot be launched without and is not here: variables, the SageMaker SDK.

    Parameters
    ----------
    connect
        Makes the launcher's surroundings on AWS, without asking AWS anything.
    """
    missing = []
    try:
        connect()
    except ConfigError as error:
        missing.append(str(error))
    if importlib.util.find_spec("sagemaker") is None:
        missing.append(
            "install the SageMaker SDK, in an environment of its own: pip install "
            "--require-hashes -r requirements-sagemaker.txt"
        )
    return missing


def conclusion(jobs: pd.DataFrame, costs: pd.DataFrame) -> str:
    """How the jobs fare and what they cost: sentences in Markdown."""
    if jobs.empty:
        return "- No job is known here yet."
    counts = ", ".join(
        f"{count} {status}" for status, count in jobs["status"].value_counts().items()
    )
    taken = jobs["interruptions"].dropna()
    told = f"Spot took away the instances of {(taken > 0).sum()} of {len(taken)} launched jobs"
    return "\n".join(
        (
            f"- **Status.** Jobs: {len(jobs)} ({counts}), of campaigns: "
            f"{jobs['campaign'].nunique()}.",
            f"- **Interruptions.** {told}, {taken.sum():.0f} times in all.",
            f"- **Savings.** {_savings(jobs)}",
            f"- **Cost.** ${costs['cost_usd'].sum():.2f} for jobs that have ended, at most "
            f"${costs['reserved_usd'].sum():.2f} for those that run; the dearest campaign cost "
            f"${costs['cost_usd'].max():.2f}.",
        )
    )


def _savings(jobs: pd.DataFrame) -> str:
    billed = jobs.dropna(subset=["billable_seconds", "training_seconds"])
    training, billable = billed["training_seconds"].sum(), billed["billable_seconds"].sum()
    if not training:
        return "None of these jobs was billed: processes of this machine cost nothing."
    return (
        f"Of {training / 3600:.2f} hours on instances {billable / 3600:.2f} were billed: Spot "
        f"saved {1 - billable / training:.0%}."
    )
