"""One campaign from candles to registry: search, judge, publish, register.

Several jobs may share a campaign. Each walks its part of the coverage; the one that ends last
finds all their results among the checkpoints, and does the rest as one job alone would.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property

import pandas as pd

from registry.connection import Client, connect, ensure_store
from registry.gates import GateVerdict
from registry.identity import Identity
from registry.registration import registered_version
from registry.runs import REASON, read_json
from registry.tracking import CampaignTracker
from store.checkpoints import Checkpoints, Origin, checkpoints_at
from store.job_records import JobRecord
from strategy.candles import find_gaps
from strategy.errors import FixError
from strategy.windows import Window
from training.campaign_log import CampaignLog
from training.campaign_run import ended, open_run
from training.candidate import Candidate, judge, leading_trial, trades_table
from training.checkpointing import Recalled, WindowCheckpoints
from training.console import SearchProgress, console, show_closing, show_header
from training.discovery import (
    Several,
    Workforce,
    confirm,
    cover,
    discover,
    split_windows,
    train_again,
)
from training.job_progress import JobProgress
from training.preflight import preflight, preflight_table
from training.promotion import register_winner
from training.publication import GATES, publish, publish_stopped
from training.random_signal_simulator import publish_monte_carlo
from training.request import CampaignRequest, run_tags
from training.scheduler import evaluate_in_worker, worker_pool
from training.search import coverage_size
from training.trial import Trial
from training.walk_forward import PreparedMarket

STOPPED = "rejected by the preflight; nothing was searched"
PREFLIGHT = "preflight"
"""Tag of the campaign's run: what the preflight said."""
UNITS_PER_JOB = 2
"""In flight at a time: one evaluated, one waiting, so that no process idles between them."""


def run_campaign(request: CampaignRequest) -> tuple[GateVerdict, ...] | None:
    """Run a campaign, or one job's part of it, to its end.

    The same campaign run again finds itself finished and shows what it found; one that was
    interrupted recalls what its checkpoints hold, and goes on in its own runs.

    Returns
    -------
    The verdicts of its gates; None if other jobs of the campaign are still at work, of which
    the last one will judge.

    Raises
    ------
    ConfigError, DataError
        Before anything is logged: config and candles are checked first.
    FixError
        It was resumed too often in a row without finishing a window.
    StoreError, RetryError
        The MLflow store, the candles' source, the checkpoints or the state table cannot be
        used, or hold what belongs to another campaign.
    """
    ensure_store(request.tracking_uri)
    client = connect(request.tracking_uri)
    candles = request.source.load(request.asset, request.timeframe)
    market = PreparedMarket(candles, request.timeframe, request.config)
    campaign = _Campaign(client, request, market, Identity.of(request.config, candles))
    campaign.windows  # noqa: B018 - raises, if the history is too short, before anything is logged
    attempts = campaign.job.begin()
    tracker = campaign.open()
    show_header(request.model_name, request.source, candles, market.windows, request.config)
    console.print(_gaps_line(candles, request.timeframe))
    if tracker.is_finished:
        console.print("This very campaign has already been run to its end:")
        if tracker.tags.get(REASON) == STOPPED:
            return _stop(campaign.job)
        return _close(campaign, tracker, _stored_gates(client, tracker))
    with ended(tracker, campaign.job):
        _refuse_to_loop(attempts, request)
        return _run(campaign, tracker)


@dataclass(frozen=True)
class _Campaign:
    """What every step of a campaign needs."""

    client: Client
    request: CampaignRequest
    market: PreparedMarket
    identity: Identity

    @property
    def id(self) -> str:
        return self.identity.campaign_id(self.request.model_name)

    @cached_property
    def windows(self) -> tuple[Sequence[Window], Sequence[Window]]:
        """Those that rank, and those that are hidden from the ranking."""
        return split_windows(self.market.windows, self.market.config.selection)

    @cached_property
    def job(self) -> JobRecord:
        part = self.request.part
        return JobRecord(self.request.state, self.id, part.number, part.parts, self.request.clock)

    @cached_property
    def checkpoints(self) -> Checkpoints:
        which = self.identity
        origin = Origin(self.id, which.config_digest, which.data_digest, which.code_digest)
        return checkpoints_at(self.request.checkpoints, origin)

    def open(self) -> CampaignTracker:
        """The runs in MLflow as they are now, other jobs' runs included."""
        return open_run(self.client, self.request, self.identity, self.market.candles, self.job)

    def log(self, tracker: CampaignTracker) -> CampaignLog:
        return CampaignLog(tracker, self.market, run_tags(self.request, self.identity))


def _run(campaign: _Campaign, tracker: CampaignTracker) -> tuple[GateVerdict, ...] | None:
    request, market, job = campaign.request, campaign.market, campaign.job
    kept = WindowCheckpoints(campaign.checkpoints)
    pool = worker_pool(request.jobs, market.candles, market.timeframe, market.config, kept)
    with pool as executor:
        if not _preflight(market, tracker):
            return _stop(job)
        if job.shards > 1:
            _cover(campaign, tracker, executor, kept.recall())
            if not job.covered():
                job.write(status="completed", reason="its part of the coverage is walked")
                console.print(f"Shard {job.shard} of {job.shards} is walked; the last one judges.")
                return None
            tracker = campaign.open()
        trials, candidate = _search(campaign, tracker, executor, kept.recall())
    _publish(campaign, tracker, trials, candidate)
    retained = timedelta(days=market.config.checkpoint_config.checkpoint_retention_days)
    campaign.checkpoints.remove_others(request.clock() - retained)
    return _close(campaign, tracker, candidate.gates)


def _cover(
    campaign: _Campaign, tracker: CampaignTracker, executor: Executor, recalled: Recalled
) -> None:
    """Walk this job's part of the coverage."""
    windows, _ = campaign.windows
    part, config = campaign.request.part, campaign.market.config
    trials = len(range(part.number - 1, coverage_size(config), part.parts))
    with SearchProgress(trials, len(windows)) as screen:
        progress = JobProgress(campaign.job, recalled)
        listener = Several(progress, campaign.log(tracker), screen)
        cover(part, windows, config, _workforce(campaign, executor, recalled), listener)
    progress.record()


def _search(
    campaign: _Campaign, tracker: CampaignTracker, executor: Executor, recalled: Recalled
) -> tuple[list[Trial], Candidate]:
    market, config = campaign.market, campaign.market.config
    windows, hidden = campaign.windows
    workforce = _workforce(campaign, executor, recalled)
    with SearchProgress(config.search.max_trials, len(windows)) as screen:
        progress, log = JobProgress(campaign.job, recalled), campaign.log(tracker)
        trials = discover(windows, config, workforce, Several(progress, log, screen))
        leader, eligible = leading_trial(trials, config.selection)
        unseen = hidden if eligible else ()
        confirmation = confirm(leader, unseen, workforce, Several(progress, log))
    progress.record()
    with console.status("judging the leading trial: Monte Carlo, SHAP, overfitting"):
        campaign.job.write(monte_carlo="running")
        walked = [*windows, *unseen] if eligible else windows[:1]
        models = train_again(leader.parameters, walked, executor, recalled.booster)
        candidate = judge(market, trials, leader, eligible, confirmation, models[0])
        campaign.job.write(monte_carlo="completed")
        return trials, candidate


def _workforce(campaign: _Campaign, executor: Executor, recalled: Recalled) -> Workforce:
    in_flight = UNITS_PER_JOB * campaign.request.jobs
    return Workforce(executor, evaluate_in_worker, in_flight, recalled.result)


def _publish(
    campaign: _Campaign, tracker: CampaignTracker, trials: Sequence[Trial], candidate: Candidate
) -> None:
    """Log what was found, and register the winner, if there is one."""
    market, subtitle = campaign.market, campaign.request.subtitle
    trades = trades_table(market, candidate.results)
    candidate_run = campaign.log(tracker).trial_run(
        candidate.trial.number, candidate.trial.parameters
    )
    publish(tracker, candidate_run, market, trials, candidate, trades, subtitle)
    publish_monte_carlo(
        tracker, "campaign", candidate.simulation, trades, market.config, subtitle=subtitle
    )
    if candidate.eligible:
        register_winner(
            campaign.client, campaign.request, market, campaign.identity, tracker, candidate
        )
    tracker.log(tracker.run_id, tags={"verdict": _verdict(candidate.gates)})
    tracker.finish("FINISHED", _reason(candidate.gates))


def _close(
    campaign: _Campaign, tracker: CampaignTracker, gates: tuple[GateVerdict, ...]
) -> tuple[GateVerdict, ...]:
    request = campaign.request
    version = registered_version(campaign.client, request.model_name, tracker.run_id)
    campaign.job.write(
        status="completed",
        verdict=_verdict(gates),
        reason=_reason(gates),
        model_version=version,
    )
    show_closing(request.model_name, tracker.run_id, gates, version, request.tracking_uri)
    return gates


def _verdict(gates: Sequence[GateVerdict]) -> str:
    return "promoted" if all(gate.passed for gate in gates) else "rejected"


def _reason(gates: Sequence[GateVerdict]) -> str:
    failed = [gate.name for gate in gates if not gate.passed]
    return f"failed: {', '.join(failed)}" if failed else "all gates passed"


def _refuse_to_loop(attempts: int, request: CampaignRequest) -> None:
    if attempts > request.resume_limit:
        raise FixError(
            f"the job was resumed {attempts} times in a row without finishing a single window "
            f"(checkpoint_config.max_resume_attempts = {request.resume_limit:g}): find in its log "
            "what ends it, then ask for the campaign again"
        )


def _gaps_line(candles: pd.DataFrame, timeframe: str) -> str:
    gaps = find_gaps(candles, timeframe)
    if gaps.empty:
        return "No gaps in the candles."
    places = ", ".join(
        f"{gap.missing_bars} after {gap.after:%Y-%m-%d %H:%M}" for gap in gaps.itertuples()
    )
    missing = gaps["missing_bars"].sum()
    return f"{len(gaps)} gaps in the candles, {missing} bars in all, none filled: {places}."


def _preflight(market: PreparedMarket, tracker: CampaignTracker) -> bool:
    """Tell what random entries would make of the gate; False if the search is not worth it."""
    mode = market.config.preflight.mode
    if mode == "off":
        return True
    if mode == "warn" and PREFLIGHT in tracker.tags:
        console.print(f"Preflight: random entries as before, {tracker.tags[PREFLIGHT]}.")
        return True
    with console.status("preflight: random entries under these exits and costs"):
        result = preflight(market.candles, market.timeframe, market.config)
    console.print(preflight_table(result, market.config))
    best = max(result.configured, key=lambda estimate: estimate.mean_expectancy)
    tracker.log(
        tracker.run_id,
        metrics={
            "preflight_mean_expectancy": best.mean_expectancy,
            "preflight_share_positive": best.share_positive,
        },
        tags={PREFLIGHT: "passes" if result.passes else "fails"},
    )
    if result.passes:
        return True
    console.print(
        "[yellow]Random entries lose under these rules on this market: whatever the search "
        "finds, the Monte Carlo gate will reject it.[/]"
    )
    if mode == "warn":
        return True
    publish_stopped(tracker, result, market.config)
    tracker.log(tracker.run_id, tags={"verdict": "rejected"})
    tracker.finish("FINISHED", STOPPED)
    return False


def _stop(job: JobRecord) -> tuple[()]:
    """End a campaign that the preflight has rejected."""
    job.write(status="completed", verdict="rejected", reason=STOPPED)
    console.print("preflight.mode is stop: nothing was searched.")
    return ()


def _stored_gates(client: Client, tracker: CampaignTracker) -> tuple[GateVerdict, ...]:
    return tuple(GateVerdict(**gate) for gate in read_json(client, tracker.run_id, GATES))
