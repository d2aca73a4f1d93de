"""The program in a training container: SageMaker's files and variables in, a campaign out.

::

    python -m training.job

Below ``/opt/ml`` (or SAGEMAKER_BASE_DIR) it reads ``input/config/hyperparameters.json`` and the
channel ``input/data/campaign``, and writes ``model/result.json`` and, in plain words,
``output/failure``. MLFLOW_TRACKING_URI, STATE_URI and CHECKPOINT_URI say where its stores are,
WORKERS how many processes evaluate (default: one a core).

SIGTERM, which SageMaker sends two minutes before the end, lets each process finish the window
in hand. Nothing depends on being sent it: what was finished before is kept in any case.
"""

# Imports that take seconds stand inside the functions, as in training/model_validator.py.

from __future__ import annotations

import json
import logging
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from store.clock import Clock, utc_now
from strategy.errors import ConfigError, RetryError, TradingSystemError, exit_status

if TYPE_CHECKING:
    from registry.identity import Identity
    from store.job_records import JobRecord
    from training.request import CampaignRequest

TERMINATED = 128 + signal.SIGTERM
"""Exit status after SIGTERM, as shells have it."""
FAILURE_LENGTH = 1024  # SageMaker shows no more of it

log = logging.getLogger("training.job")


@dataclass(frozen=True)
class Layout:
    """SageMaker's folders in the container."""

    base: Path

    @property
    def hyperparameters(self) -> Path:
        return self.base / "input" / "config" / "hyperparameters.json"

    @property
    def campaign(self) -> Path:
        return self.base / "input" / "data" / "campaign"

    @property
    def result(self) -> Path:
        return self.base / "model" / "result.json"

    @property
    def failure(self) -> Path:
        return self.base / "output" / "failure"


@dataclass(frozen=True)
class Task:
    """The hyperparameters of the job, which SageMaker hands over as text."""

    campaign_id: str
    asset: str
    timeframe: str
    shard: int
    shards: int
    config_digest: str
    data_digest: str
    code_digest: str


def main(environment: Mapping[str, str] = os.environ, clock: Clock = utc_now) -> int:
    """Run the job; returns its exit status."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    layout = Layout(Path(environment.get("SAGEMAKER_BASE_DIR", "/opt/ml")))
    try:
        task = read_task(layout.hyperparameters)
        return _recorded(layout, task, environment, clock)
    except KeyboardInterrupt:
        log.warning("stopped; the next start goes on from the checkpoints")
        return TERMINATED
    except TradingSystemError as error:
        fail(layout, error)
        return exit_status(error)
    except Exception as error:
        fail(layout, error)
        raise  # the traceback belongs into the log


def read_task(path: Path) -> Task:
    """The hyperparameters.

    Raises
    ------
    ConfigError
        The file cannot be read, or a hyperparameter is missing, unknown or malformed.
    """
    try:
        found = json.loads(path.read_bytes())
        found |= {name: int(found[name]) for name in ("shard", "shards")}
        task = Task(**found)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"{path}: the job's hyperparameters cannot be used ({type(error).__name__}: {error}); "
            f"wanted are {', '.join(Task.__dataclass_fields__)}"
        ) from error
    if not 1 <= task.shard <= task.shards:
        raise ConfigError(f"{path}: shard {task.shard} of {task.shards} does not exist")
    return task


def fail(layout: Layout, error: Exception) -> None:
    """Write the failure file, which SageMaker shows as the job's failure reason."""
    reason = f"{type(error).__name__}: {error}"
    log.error("%s", reason)
    layout.failure.parent.mkdir(parents=True, exist_ok=True)
    layout.failure.write_text(reason[:FAILURE_LENGTH], encoding="utf-8")


def _recorded(layout: Layout, task: Task, environment: Mapping[str, str], clock: Clock) -> int:
    """Run the campaign; whatever ends it is on the job's record too."""
    from store.job_records import JobRecord
    from store.state import open_state

    state = open_state(_variable(environment, "STATE_URI"), clock)
    job = JobRecord(state, task.campaign_id, task.shard, task.shards, clock)
    try:
        return _run(layout, task, environment, job)
    except Exception as error:
        reason, retry = f"{type(error).__name__}: {error}", isinstance(error, RetryError)
        try:
            job.write(status="failed", reason=reason, worth_retrying=retry)
        except TradingSystemError as second:  # what failed first is what must be told
            log.error("and the job's record cannot be written: %s", second)
        raise


def _run(layout: Layout, task: Task, environment: Mapping[str, str], job: JobRecord) -> int:
    from registry.identity import Identity
    from store.campaign_input import read_input
    from training.campaign import run_campaign
    from training.discovery import Part
    from training.request import CampaignRequest

    config, source = read_input(layout.campaign)
    identity = Identity.of(config, source.load(task.asset, task.timeframe))
    request = CampaignRequest(
        asset=task.asset,
        timeframe=task.timeframe,
        config=config,
        source=source,
        tracking_uri=_variable(environment, "MLFLOW_TRACKING_URI"),
        jobs=_workers(environment),
        checkpoints=_variable(environment, "CHECKPOINT_URI"),
        state=job.state,
        clock=job.clock,
        part=Part(task.shard, task.shards),
        resume_limit=config.checkpoint_config.max_resume_attempts,
    )
    _refuse_another(task, identity, request)
    run_campaign(request)
    result: dict[str, Any] = {"campaign_id": task.campaign_id, **job.values}
    layout.result.parent.mkdir(parents=True, exist_ok=True)
    layout.result.write_text(json.dumps(result, indent=2), encoding="utf-8")
    return 0


def _refuse_another(task: Task, identity: Identity, request: CampaignRequest) -> None:
    """The job was asked for one campaign; its input and this image must make that one."""
    found = {
        "config_digest": (identity.config_digest, "the config that was set aside was changed"),
        "data_digest": (identity.data_digest, "the candles that were set aside were changed"),
        "code_digest": (
            identity.code_digest,
            "the image holds another version of the code than the one that asked",
        ),
        "campaign_id": (identity.campaign_id(request.model_name), "it is another campaign's"),
    }
    for name, (value, why) in found.items():
        wanted = getattr(task, name)
        if value != wanted:
            raise ConfigError(
                f"{name} is {value[:12]} here, but the job was asked for {wanted[:12]}: {why}; "
                "ask for the campaign again"
            )


def _variable(environment: Mapping[str, str], name: str) -> str:
    if not environment.get(name):
        raise ConfigError(f"the environment variable {name} is not set on the training job")
    return environment[name]


def _workers(environment: Mapping[str, str]) -> int:
    given = environment.get("WORKERS") or str(os.cpu_count() or 1)
    if not given.isdecimal() or int(given) < 1:
        raise ConfigError(f"the environment variable WORKERS is {given!r}: give a number from 1")
    return int(given)


def _stop(*_: object) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):  # once is enough: cleaning up takes a while
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
