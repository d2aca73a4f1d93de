"""A campaign's own run in MLflow: opened with what identifies it, ended whatever happens."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import pandas as pd

from registry.connection import Client, ensure_experiment
from registry.identity import Identity
from registry.tracking import CampaignTracker, CandleSource, open_campaign
from store.clock import milliseconds
from store.job_records import JobRecord
from strategy.candles import find_gaps
from strategy.config import Section
from strategy.errors import TradingSystemError
from training.arguments import artifact_root
from training.request import CampaignRequest, run_tags


def open_run(
    client: Client,
    request: CampaignRequest,
    identity: Identity,
    candles: pd.DataFrame,
    job: JobRecord,
) -> CampaignTracker:
    """The campaign's run: a new one, or the one that an earlier process or another job began."""
    source, config = request.source, request.config
    experiment = ensure_experiment(client, request.model_name, artifact_root(request.tracking_uri))
    campaign_id = identity.campaign_id(request.model_name)
    label = "synthetic " if source.synthetic else ""
    market: Literal["synthetic", "local"] = "synthetic" if source.synthetic else "local"
    return open_campaign(
        client,
        experiment,
        campaign_id,
        name=f"{label}campaign {candles.index[-1]:%Y-%m-%d} {campaign_id[:6]}",
        params={
            "max_trials": config.search.max_trials,
            "seed": config.monte_carlo_config.random_seed,
            **_prefixed("costs", config.costs),
            **_prefixed("break_even", config.break_even),
            **_prefixed("walk_forward", config.walk_forward_config),
        },
        tags={
            **run_tags(request, identity),
            "first_candle": f"{candles.index[0]:%Y-%m-%dT%H:%MZ}",
            "last_candle": f"{candles.index[-1]:%Y-%m-%dT%H:%MZ}",
            "gaps": len(find_gaps(candles, request.timeframe)),
        },
        candles=CandleSource(source.name, identity.data_digest, source.name, market),
        clock=milliseconds(request.clock),
        agree=job.agree_on_run,
    )


@contextmanager
def ended(tracker: CampaignTracker, job: JobRecord) -> Iterator[None]:
    """Never leave a run RUNNING in MLflow that no process works on, nor the job's record."""
    try:
        yield
    except BaseException as error:
        stopped = isinstance(error, KeyboardInterrupt)
        reason = "interrupted" if stopped else f"{type(error).__name__}: {error}"
        end = tracker.finish if job.shards == 1 else tracker.pause
        try:
            end("KILLED" if stopped else "FAILED", reason)
            # An interrupted job goes on when it is begun again; a failed one needs a person.
            job.write(status="running" if stopped else "failed", reason=reason)
        except TradingSystemError as second:  # the store is often what failed in the first place
            error.add_note(f"and its run {tracker.run_id} is still marked as running: {second}")
        raise


def _prefixed(prefix: str, section: Section) -> dict[str, object]:
    return {f"{prefix}.{name}": value for name, value in section}
