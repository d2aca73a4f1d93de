"""The run tree of a campaign in MLflow: campaign -> trial -> window, and Monte Carlo.

Every run carries its place in the tree as a tag (``run_key``), the same for the same campaign
whoever computes it and however often. So nothing is logged twice: a finished run is left
alone, and one that an interruption has torn is completed where it is.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException

from registry.connection import translated
from registry.runs import (
    CAMPAIGN_ID,
    PARENT,
    REASON,
    RUN_KEY,
    RUN_KIND,
    RunKind,
    logged_points,
    search,
)
from strategy.errors import ConfigError

Clock = Callable[[], int]
"""Milliseconds since the epoch, UTC."""
Status = Literal["FINISHED", "FAILED", "KILLED"]
Values = Mapping[str, object]
"""Parameters or tags, logged as text."""
Metrics = Mapping[str, float]
Series = Mapping[str, Mapping[int, float]]
"""By metric, the figure of every window number."""

Agree = Callable[[str, Callable[[str], bool]], str]
"""Given a run's id and a function that says whether a run is there: the id that all use."""

SERIES_PREFIX = "window/"
"""Metrics by window are grouped under this name in the UI, apart from the summary."""
DATASET_DIGEST_LENGTH = 36
_NOT_A_WINDOW = f"tags.{RUN_KIND} != 'window'"
_NOTHING: Mapping[str, object] = MappingProxyType({})
_NO_METRICS: Metrics = MappingProxyType({})
_NO_SERIES: Series = MappingProxyType({})


@dataclass(frozen=True)
class CandleSource:
    """The candles that a campaign reads, as MLflow shows them: a dataset input of its run."""

    name: str
    digest: str
    """Hexadecimal digest of the candles; MLflow keeps its first 36 characters."""
    uri: str
    kind: Literal["local", "exchange", "synthetic"]


def _mine(run_id: str, is_there: Callable[[str], bool]) -> str:
    """The only process that opens the campaign agrees with itself."""
    return run_id


@dataclass
class _KnownRun:
    run_id: str
    status: str
    start_time: int
    points: set[tuple[str, int]]
    """(metric, step) pairs that the run already has; the first value logged stands."""


def open_campaign(
    client: MlflowClient,
    experiment_id: str,
    campaign_id: str,
    *,
    name: str,
    params: Values,
    tags: Values,
    candles: CandleSource,
    clock: Clock,
    agree: Agree = _mine,
) -> CampaignTracker:
    """Open the run of a campaign: a new one, or the one that was begun before.

    Parameters
    ----------
    campaign_id
        What makes this campaign the same as another: equal ids share their runs.
    name
        Name of the run in the UI.
    agree
        Settles which run is the campaign's where several processes may open it at once, which
        MLflow itself cannot; what the others made by mistake is deleted.

    Raises
    ------
    ConfigError
        The id has characters that do not fit into a filter or a path.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", campaign_id):
        raise ConfigError(
            f"campaign id {campaign_id!r}: only letters, digits, dot, dash and underscore"
        )
    place = {RUN_KEY: campaign_id, RUN_KIND: "campaign", CAMPAIGN_ID: campaign_id}
    begun = search(client, experiment_id, f"tags.{RUN_KEY} = '{campaign_id}'")
    with translated(client):
        if not begun:
            tagged = _texts({**tags, **place})
            begun = [
                client.create_run(experiment_id, start_time=clock(), tags=tagged, run_name=name)
            ]
        agreed = agree(begun[-1].info.run_id, lambda run_id: _is_there(client, run_id))
        for stray in begun:
            if stray.info.run_id != agreed:
                client.delete_run(stray.info.run_id)
        run = client.get_run(agreed)
    tracker = CampaignTracker(client, run, clock)
    if not tracker.is_finished:
        tracker.log(run.info.run_id, params=params)
        with translated(client):
            client.log_inputs(run.info.run_id, datasets=[dataset_input(candles)])
    return tracker


class CampaignTracker:
    """Writes one campaign's runs: a run is one creation, one batch and one termination.

    NaN ("not known") is logged as NaN, which MLflow shows as such. So is an infinite figure,
    because MLflow's SQL store would turn it into 1.8e308, which sorts first and flattens every
    chart. Metrics bear the start time of their run, so a repeated batch falls on the same rows.

    Every method raises StoreError or RetryError as
    :func:`registry.connection.translated` says. Not for several threads at once.

    Parameters
    ----------
    campaign_run
        The campaign's own run (:func:`open_campaign`, :func:`registry.runs.find_campaign`).
    """

    def __init__(self, client: MlflowClient, campaign_run: Run, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._experiment_id = campaign_run.info.experiment_id
        self.run_id: str = campaign_run.info.run_id
        self.tags: Mapping[str, str] = campaign_run.data.tags
        """Of the campaign's own run, as they were when it was opened."""
        self.campaign_id: str = self.tags[CAMPAIGN_ID]
        # Newest first: should two processes ever have made the same run, the older one counts.
        # Windows, of which there are thousands, are looked up when their trial needs them.
        self._runs: dict[str, _KnownRun] = {}
        self._by_id: dict[str, _KnownRun] = {}
        self._with_windows: set[int] = set()
        self._meet(search(client, self._experiment_id, f"{self._mine} and {_NOT_A_WINDOW}"))
        self._own: list[_KnownRun] = []
        if not self.is_finished:
            self._reopen(self._by_id[self.run_id])

    @property
    def is_finished(self) -> bool:
        """Whether the campaign came to its end: there is nothing left to compute."""
        return self._by_id[self.run_id].status == "FINISHED"

    def trial_is_finished(self, trial: int) -> bool:
        """Whether the trial's run is there and complete, its ranking windows with it."""
        return self._has_finished(self.trial_key(trial))

    def window_is_finished(self, trial: int, window: int) -> bool:
        """Whether the window's run is there and complete."""
        if self.trial_key(trial) in self._runs:
            self._meet_windows(trial)
        return self._has_finished(self.window_key(trial, window))

    def trial_key(self, trial: int) -> str:
        """Place of a trial in the tree, for example ``<campaign>/trial-0007``."""
        return f"{self.campaign_id}/trial-{trial:04d}"

    def window_key(self, trial: int, window: int) -> str:
        """Place of a window in the tree, for example ``<campaign>/trial-0007/window-03``."""
        return f"{self.trial_key(trial)}/window-{window:02d}"

    def monte_carlo_key(self, name: str) -> str:
        """Place of a Monte Carlo in the tree, for example ``<campaign>/monte-carlo-seed-42``."""
        return f"{self.campaign_id}/monte-carlo-{name}"

    def open_trial(self, trial: int, *, params: Values, tags: Values) -> str:
        """Open a trial's run, so that its windows can name it as parent; returns the run's id."""
        key, name = self.trial_key(trial), f"trial {trial:04d}"
        if key not in self._runs:
            self._with_windows.add(trial)  # it can have none yet
        known = self._begin(key, "trial", name, self.run_id, self._clock(), tags)
        if known.status != "FINISHED":
            self._reopen(known)
            self.log(known.run_id, params=params)
        return known.run_id

    def log_window(
        self, trial: int, window: int, *, metrics: Metrics, tags: Values, seconds: float
    ) -> None:
        """Log one evaluated window, whole, below its trial (which must have been opened).

        Parameters
        ----------
        seconds
            How long the evaluation took: the run ends now and began that long ago.
        """
        key, name = self.window_key(trial, window), f"trial {trial:04d} window {window:02d}"
        if not self.window_is_finished(trial, window):
            now = self._clock()
            parent = self._runs[self.trial_key(trial)].run_id
            known = self._begin(key, "window", name, parent, now - round(1000 * seconds), tags)
            self.log(known.run_id, metrics=metrics)
            self._end(known, "FINISHED", now)

    def close_trial(self, trial: int, *, summary: Metrics, series: Series, tags: Values) -> None:
        """Complete a trial's run.

        Parameters
        ----------
        summary
            Figures without a step, which the UI's table shows and sorts by.
        series
            By metric, the figure of every window number; charted as ``window/<metric>``.
        """
        known = self._runs[self.trial_key(trial)]
        if known.status != "FINISHED":
            self.log(known.run_id, metrics=summary, series=series, tags=tags)
            self._end(known, "FINISHED", self._clock())

    def log_monte_carlo(
        self, name: str, *, params: Values, metrics: Metrics, tags: Values, seconds: float
    ) -> str:
        """Log one Monte Carlo, whole; ``name`` tells repetitions apart. Returns the run's id.

        ``seconds`` as in :meth:`log_window`. It may be added to a finished campaign.
        """
        key = self.monte_carlo_key(name)
        if not self._has_finished(key):
            now = self._clock()
            begun = now - round(1000 * seconds)
            title = f"monte carlo {name}"
            known = self._begin(key, "monte_carlo", title, self.run_id, begun, tags)
            self.log(known.run_id, params=params, metrics=metrics)
            self._end(known, "FINISHED", now)
        return self._runs[key].run_id

    def log(
        self,
        run_id: str,
        *,
        params: Values = _NOTHING,
        metrics: Metrics = _NO_METRICS,
        series: Series = _NO_SERIES,
        tags: Values = _NOTHING,
    ) -> None:
        """Add to a run of this campaign, in one batch.

        A metric that the run already has at the same step keeps its first value; a parameter
        never changes (StoreError); a tag is overwritten.
        """
        known = self._by_id[run_id]
        points = {(key, 0): value for key, value in metrics.items()}
        for key, values in series.items():
            points |= {(SERIES_PREFIX + key, step): value for step, value in values.items()}
        fresh = {point: value for point, value in points.items() if point not in known.points}
        with translated(self._client):  # the client splits what is beyond MLflow's limits
            self._client.log_batch(
                run_id,
                metrics=[_metric(at, value, known) for at, value in fresh.items()],
                params=[Param(key, value) for key, value in _texts(params).items()],
                tags=[RunTag(key, value) for key, value in _texts(tags).items()],
            )
        known.points |= fresh.keys()

    def log_folder(self, run_id: str, folder: Path) -> None:
        """Save all files of a folder with a run, under their own names (:mod:`registry.runs`
        reads them back).
        """
        with translated(self._client):
            self._client.log_artifacts(run_id, str(folder))

    def finish(self, status: Status, reason: str) -> None:
        """End the campaign, saying why (tag ``reason``); what of it still runs was KILLED.

        A campaign that ended FAILED or KILLED is taken up again by :func:`open_campaign`.
        """
        campaign, now = self._by_id[self.run_id], self._clock()
        if self.is_finished:
            return
        running = f"{self._mine} and attributes.status = 'RUNNING'"
        self._meet(search(self._client, self._experiment_id, running))
        for known in self._by_id.values():
            if known.status == "RUNNING" and known is not campaign:
                self._end(known, "KILLED", now)
        self.log(self.run_id, tags={REASON: reason})
        self._end(campaign, status, now)

    def pause(self, status: Status, reason: str) -> None:
        """Stop this process's share of a campaign that other processes go on with.

        As :meth:`finish`, but of what still runs only this process's own was KILLED.
        """
        now = self._clock()
        campaign = self._by_id[self.run_id]
        for known in self._own:
            if known.status == "RUNNING" and known is not campaign:
                self._end(known, "KILLED", now)
        self.log(self.run_id, tags={REASON: reason})
        self._end(campaign, status, now)

    @property
    def _mine(self) -> str:
        """MLflow's filter of this campaign's runs."""
        return f"tags.{CAMPAIGN_ID} = '{self.campaign_id}'"

    def _has_finished(self, key: str) -> bool:
        return key in self._runs and self._runs[key].status == "FINISHED"

    def _meet(self, runs: Iterable[Run]) -> None:
        """Take up runs that the store has, newest first."""
        for run in runs:
            if run.info.run_id not in self._by_id:
                known = self._known(run)
                self._by_id[known.run_id] = self._runs[run.data.tags[RUN_KEY]] = known

    def _meet_windows(self, trial: int) -> None:
        if trial not in self._with_windows:
            parent = self._runs[self.trial_key(trial)].run_id
            below = f"{self._mine} and tags.`{PARENT}` = '{parent}'"
            self._meet(search(self._client, self._experiment_id, below))
            self._with_windows.add(trial)

    def _known(self, run: Run) -> _KnownRun:
        """A run as the store has it; only those that may be written to again are looked into."""
        info = run.info
        closed = info.status == "FINISHED" and info.run_id != self.run_id
        points = set() if closed else logged_points(self._client, run)
        return _KnownRun(info.run_id, info.status, info.start_time, points)

    def _begin(
        self, key: str, kind: RunKind, name: str, parent: str, start_time: int, tags: Values
    ) -> _KnownRun:
        """The run of this key, made if it is not there."""
        if key not in self._runs:
            place = {RUN_KEY: key, RUN_KIND: kind, CAMPAIGN_ID: self.campaign_id, PARENT: parent}
            with translated(self._client):
                info = self._client.create_run(
                    self._experiment_id,
                    start_time=start_time,
                    tags=_texts({**tags, **place}),
                    run_name=name,
                ).info
            known = _KnownRun(info.run_id, info.status, info.start_time, set())
            self._runs[key] = self._by_id[known.run_id] = known
            self._own.append(known)
        return self._runs[key]

    def _end(self, known: _KnownRun, status: Status, now: int) -> None:
        with translated(self._client):
            self._client.set_terminated(known.run_id, status, end_time=now)
        known.status = status

    def _reopen(self, known: _KnownRun) -> None:
        if known.status != "RUNNING":
            with translated(self._client):
                self._client.update_run(known.run_id, status="RUNNING")
            known.status = "RUNNING"
        self._own.append(known)


def _is_there(client: MlflowClient, run_id: str) -> bool:
    try:
        return bool(client.get_run(run_id).info.lifecycle_stage == "active")
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return False


def _metric(at: tuple[str, int], value: float, run: _KnownRun) -> Metric:
    key, step = at
    return Metric(key, math.nan if math.isinf(value) else float(value), run.start_time, step)


def _texts(values: Values) -> dict[str, str]:
    return {key: str(value) for key, value in values.items()}


def dataset_input(candles: CandleSource) -> DatasetInput:
    """Candles as MLflow takes them for a run's dataset."""
    dataset = Dataset(
        name=candles.name,
        digest=candles.digest[:DATASET_DIGEST_LENGTH],
        source_type=candles.kind,
        source=json.dumps({"uri": candles.uri}),
    )
    return DatasetInput(dataset, [InputTag("mlflow.data.context", "walk-forward")])
