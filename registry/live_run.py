"""Live runs: how a strategy does by day, on paper and with money, in its market's experiment.

A live run carries its place as a tag (``run_key``): the same strategy with the same book always
finds the same run, across its retrains. Days are logged once: a day that was logged stands.
Everything in a run follows from other records, so that one which is lost is made again.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Metric, Run

from registry.connection import translated
from registry.runs import RUN_KEY, RUN_KIND, search
from strategy.errors import StoreError

LIVE = "live"
"""Kind of the run, beside the :data:`registry.runs.RunKind` of a campaign's."""
STRATEGY_ID, BOOK, VERSION, STAGE = "strategy_id", "book", "version", "stage"
DESCRIPTION = "mlflow.note.content"
"""Tag that the UI shows on top of a run, as Markdown."""
_MILLISECOND = pd.Timedelta(milliseconds=1)


class LiveRun:
    """One strategy's run with one book.

    Every method raises StoreError or RetryError as :func:`registry.connection.translated` says.
    """

    def __init__(self, client: MlflowClient, run: Run) -> None:
        self._client = client
        self._run = run
        self.run_id: str = run.info.run_id
        self.strategy_id: str = run.data.tags[STRATEGY_ID]
        self.book: str = run.data.tags[BOOK]
        self.tags: Mapping[str, str] = run.data.tags
        """As they were when the run was read."""
        self._newest = {each.key: each.step for each in run.data.to_proto().metrics}
        """The last step of each metric."""

    @property
    def is_open(self) -> bool:
        """Whether the strategy was still in its stage when the run was written last."""
        return bool(self._run.info.status == "RUNNING")

    def metric(self, name: str) -> float:
        """The last value of a metric when the run was read; NaN where it has none."""
        return float(self._run.data.metrics.get(name, math.nan))

    def days(self) -> pd.DataFrame:
        """What was logged by day: a column a metric; the index are UTC midnights."""
        with translated(self._client):
            histories = {
                name: self._client.get_metric_history(self.run_id, name)
                for name in sorted(self._run.data.metrics)
            }
        columns = {
            name: pd.Series({each.timestamp: each.value for each in points}, dtype=float)
            for name, points in histories.items()
        }
        table = pd.DataFrame(columns).sort_index()
        return table.set_index(pd.to_datetime(table.index, unit="ms", utc=True))

    def log_days(self, figures: pd.DataFrame, start: pd.Timestamp) -> None:
        """Log figures by day: of each those days that are newer than its newest.

        So a day that was logged stands. What is not finite is left out.

        Parameters
        ----------
        figures
            A column for each metric; the index are UTC midnights.
        start
            The day that is step 0.
        """
        fresh = [
            Metric(name, value, _milliseconds(day), step)
            for name, step, day, value in _known(figures, start)
            if step > self._newest.get(name, -1)
        ]
        if fresh:
            with translated(self._client):  # the client splits what is beyond MLflow's limits
                self._client.log_batch(self.run_id, metrics=fresh)
            self._newest |= {each.key: each.step for each in fresh}

    def tell(self, version: int, stage: str, description: str) -> None:
        """Say which version trades now, in which stage, and how the strategy does (Markdown)."""
        for key, value in {VERSION: version, STAGE: stage, DESCRIPTION: description}.items():
            if self._run.data.tags.get(key) != str(value):
                with translated(self._client):
                    self._client.set_tag(self.run_id, key, str(value))

    def save_table(self, table: pd.DataFrame, path: str) -> None:
        """Save a table with the run, in place of the one before; ``registry.runs`` reads it."""
        with translated(self._client):
            self._client.log_text(self.run_id, table.to_csv(index=False), path)

    def reopen(self) -> None:
        """Show that the strategy trades, in case the run was closed."""
        if not self.is_open:
            with translated(self._client):
                self._client.update_run(self.run_id, status="RUNNING")

    def close(self, now: datetime) -> None:
        """Show that the strategy has left its stage; more may be logged all the same."""
        if self.is_open:
            with translated(self._client):
                self._client.set_terminated(
                    self.run_id, "FINISHED", end_time=_milliseconds(pd.Timestamp(now))
                )


class LiveRuns:
    """The live runs of one market, as they are now.

    Parameters
    ----------
    model_name
        Of the market's registered model, whose name its experiment bears.

    Raises
    ------
    StoreError, RetryError
        The experiment is not there, or the store cannot be read.
    """

    def __init__(self, client: MlflowClient, model_name: str) -> None:
        self._client = client
        with translated(client):
            experiment = client.get_experiment_by_name(model_name)
        if experiment is None:
            raise StoreError(
                f"{client.tracking_uri}: there is no MLflow experiment {model_name!r}, in which "
                "the campaigns of this model were logged; check the tracking URI"
            )
        self._experiment_id: str = experiment.experiment_id
        self._runs: dict[tuple[str, str], LiveRun] = {}
        # Newest first: should two processes ever have made the same run, the older one counts.
        for run in search(client, self._experiment_id, f"tags.{RUN_KIND} = '{LIVE}'"):
            found = LiveRun(client, run)
            place = found.strategy_id, found.book
            if place in self._runs:
                with translated(client):
                    client.delete_run(self._runs[place].run_id)
            self._runs[place] = found

    def __iter__(self) -> Iterator[LiveRun]:
        """The newest first."""
        return iter(self._runs.values())

    def find(self, strategy_id: str, book: str) -> LiveRun | None:
        return self._runs.get((strategy_id, book))

    def begin(self, strategy_id: str, book: str, now: datetime) -> LiveRun:
        """Make the run of a strategy that has none with this book."""
        place = {
            RUN_KEY: f"{LIVE}/{strategy_id}/{book}",
            RUN_KIND: LIVE,
            STRATEGY_ID: strategy_id,
            BOOK: book,
        }
        with translated(self._client):
            run = self._client.create_run(
                self._experiment_id,
                start_time=_milliseconds(pd.Timestamp(now)),
                tags=place,
                run_name=f"{strategy_id} {book}",
            )
        made = self._runs[strategy_id, book] = LiveRun(self._client, run)
        return made


def _known(
    figures: pd.DataFrame, start: pd.Timestamp
) -> Iterator[tuple[str, int, pd.Timestamp, float]]:
    """Metric, step, day and value of every figure that is known."""
    for day, row in zip(pd.DatetimeIndex(figures.index), figures.to_dict("records"), strict=True):
        for name, value in row.items():
            if math.isfinite(value):
                yield str(name), (day - start).days, day, float(value)


def _milliseconds(time: pd.Timestamp) -> int:
    """Since the epoch, UTC."""
    return int((time.tz_convert(UTC) - pd.Timestamp(0, tz=UTC)) // _MILLISECOND)
