"""One campaign from candles to registry: search, judge, publish, register."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import pandas as pd

from registry import tracking
from registry.connection import Client, connect, ensure_experiment, ensure_store
from registry.lifecycle import GateVerdict
from registry.registration import registered_version
from registry.runs import read_json
from registry.tracking import CampaignTracker, open_campaign
from strategy.candles import find_gaps
from strategy.config import Section
from strategy.errors import TradingSystemError
from strategy.windows import Window
from training.arguments import artifact_root, epoch_ms
from training.campaign_log import CampaignLog
from training.candidate import Candidate, judge, leading_trial, trades_table
from training.console import (
    SearchProgress,
    console,
    show_closing,
    show_header,
)
from training.discovery import Workforce, confirm, discover, split_windows
from training.preflight import preflight, preflight_table
from training.promotion import register_winner
from training.publication import GATES, publish
from training.random_signal_simulator import publish_monte_carlo
from training.request import CampaignRequest, Identity, run_tags
from training.scheduler import evaluate_in_worker, worker_pool
from training.trial import Trial
from training.walk_forward import PreparedMarket, TrialParameters, WindowResult

UNITS_PER_JOB = 2
"""In flight at a time: one evaluated, one waiting, so that no process idles between them."""


def run_campaign(request: CampaignRequest) -> tuple[GateVerdict, ...]:
    """Run a campaign to its end and return the verdicts of its gates.

    The same campaign run again finds itself finished and shows what it found; one that was
    interrupted goes on in its own runs.

    Raises
    ------
    ConfigError, DataError
        Before anything is logged: config and candles are checked first.
    StoreError, RetryError
        The MLflow store or the candles' source cannot be used.
    """
    config = request.config
    ensure_store(request.tracking_uri)
    client = connect(request.tracking_uri)
    candles = request.source.load(request.asset, request.timeframe)
    market = PreparedMarket(candles, request.timeframe, config)
    windows, hidden = split_windows(market.windows, config.selection)
    identity = Identity.of(config, candles)
    tracker = _open(client, request, identity, candles)
    show_header(request.model_name, request.source, candles, market.windows, config)
    console.print(_gaps_line(candles, request.timeframe))
    if tracker.is_finished:
        gates = _stored_gates(client, tracker)
        console.print("This very campaign has already been run to its end:")
        _close(client, request, tracker, gates)
        return gates
    with _ended(tracker):
        return _run(client, request, market, windows, hidden, identity, tracker)


def _run(
    client: Client,
    request: CampaignRequest,
    market: PreparedMarket,
    windows: Sequence[Window],
    hidden: Sequence[Window],
    identity: Identity,
    tracker: CampaignTracker,
) -> tuple[GateVerdict, ...]:
    if not _preflight(market, tracker):
        return ()
    log = CampaignLog(tracker, market, run_tags(request, identity))
    trials, candidate = _search(request, market, windows, hidden, log)
    subtitle = request.subtitle
    trades = trades_table(market, candidate.results)
    publish(
        tracker,
        log.trial_run(candidate.trial.number, candidate.trial.parameters),
        market,
        trials,
        candidate,
        trades,
        subtitle,
    )
    publish_monte_carlo(
        tracker, "campaign", candidate.simulation, trades, market.config, subtitle=subtitle
    )
    if candidate.eligible:
        register_winner(client, request, market, identity, tracker, candidate)
    failed = [gate.name for gate in candidate.gates if not gate.passed]
    reason = f"failed: {', '.join(failed)}" if failed else "all gates passed"
    tracker.log(tracker.run_id, tags={"verdict": "rejected" if failed else "promoted"})
    tracker.finish("FINISHED", reason)
    _close(client, request, tracker, candidate.gates)
    return candidate.gates


def _close(
    client: Client,
    request: CampaignRequest,
    tracker: CampaignTracker,
    gates: Sequence[GateVerdict],
) -> None:
    version = registered_version(client, request.model_name, tracker.run_id)
    show_closing(request.model_name, tracker.run_id, gates, version, request.tracking_uri)


def _open(
    client: Client, request: CampaignRequest, identity: Identity, candles: pd.DataFrame
) -> CampaignTracker:
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
        candles=tracking.CandleSource(source.name, identity.data_digest, source.name, market),
        clock=epoch_ms,
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


def _prefixed(prefix: str, section: Section) -> dict[str, object]:
    return {f"{prefix}.{name}": value for name, value in section}


def _preflight(market: PreparedMarket, tracker: CampaignTracker) -> bool:
    """Tell what random entries would make of the gate; False if the search is not worth it."""
    mode = market.config.preflight.mode
    if mode == "off":
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
        tags={"preflight": "passes" if result.passes else "fails"},
    )
    if result.passes:
        return True
    console.print(
        "[yellow]Random entries lose under these rules on this market: whatever the search "
        "finds, the Monte Carlo gate will reject it.[/]"
    )
    if mode == "warn":
        return True
    tracker.log(tracker.run_id, tags={"verdict": "rejected"})
    tracker.finish("FINISHED", "rejected by the preflight; nothing was searched")
    console.print("preflight.mode is stop: nothing was searched.")
    return False


def _search(
    request: CampaignRequest,
    market: PreparedMarket,
    windows: Sequence[Window],
    hidden: Sequence[Window],
    log: CampaignLog,
) -> tuple[list[Trial], Candidate]:
    config = market.config
    with (
        worker_pool(request.jobs, market.candles, market.timeframe, config) as executor,
        SearchProgress(config.search.max_trials, len(windows)) as progress,
    ):
        listener = _Both(log, progress)
        workforce = Workforce(executor, evaluate_in_worker, UNITS_PER_JOB * request.jobs)
        trials = discover(windows, config, workforce, listener)
        leader, eligible = leading_trial(trials, config.selection)
        confirmation = confirm(leader, hidden, workforce, log) if eligible else ()
    with console.status("judging the leading trial: Monte Carlo, SHAP, overfitting"):
        return trials, judge(market, trials, leader, eligible, confirmation)


def _stored_gates(client: Client, tracker: CampaignTracker) -> tuple[GateVerdict, ...]:
    return tuple(GateVerdict(**gate) for gate in read_json(client, tracker.run_id, GATES))


@contextmanager
def _ended(tracker: CampaignTracker) -> Iterator[None]:
    """Never leave a campaign RUNNING in MLflow that no process works on."""
    try:
        yield
    except BaseException as error:
        stopped = isinstance(error, KeyboardInterrupt)
        reason = "interrupted" if stopped else f"{type(error).__name__}: {error}"
        try:
            tracker.finish("KILLED" if stopped else "FAILED", reason)
        except TradingSystemError as second:  # the store is often what failed in the first place
            error.add_note(f"and its run {tracker.run_id} is still marked as running: {second}")
        raise


class _Both:
    """Tells the log and the screen."""

    def __init__(self, log: CampaignLog, progress: SearchProgress) -> None:
        self._listeners = (log, progress)

    def window_done(self, number: int, parameters: TrialParameters, result: WindowResult) -> None:
        for listener in self._listeners:
            listener.window_done(number, parameters, result)

    def trial_done(self, trial: Trial) -> None:
        for listener in self._listeners:
            listener.trial_done(trial)
