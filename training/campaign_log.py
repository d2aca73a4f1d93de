"""Writes a search into MLflow while it runs: a run a trial, a run a window below it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from registry.tracking import CampaignTracker
from strategy.performance import summary
from strategy.windows import Window
from training.discovery import split_windows
from training.search import coverage_size
from training.trial import Trial
from training.walk_forward import PreparedMarket, TrialParameters, WindowResult

WINDOW_TAGS = ("asset", "timeframe", "config_digest", "git_commit")
"""Of the campaign's tags; the others are on the trial above, and each one costs time."""
CHARTED = ("expectancy", "sqn", "trades", "hit_rate", "total_r", "log_loss")


class CampaignLog:
    """A :class:`training.discovery.Listener` that logs to MLflow."""

    def __init__(
        self, tracker: CampaignTracker, market: PreparedMarket, tags: Mapping[str, str]
    ) -> None:
        self._tracker = tracker
        self._windows: dict[int, Window] = {window.number: window for window in market.windows}
        _, hidden = split_windows(market.windows, market.config.selection)
        self._hidden = {window.number for window in hidden}
        self._coverage = coverage_size(market.config)
        self._tags = dict(tags)
        self._opened: dict[int, str] = {}

    def window_done(self, number: int, parameters: TrialParameters, result: WindowResult) -> None:
        if self._tracker.trial_is_finished(number) and result.window not in self._hidden:
            return  # recalled by a campaign that goes on: it was logged before
        self.trial_run(number, parameters)
        window = self._windows[result.window]
        self._tracker.log_window(
            number,
            result.window,
            metrics=window_metrics(result),
            tags={
                **{name: self._tags[name] for name in WINDOW_TAGS},
                "training_start": f"{window.training_start_time:%Y-%m-%dT%H:%MZ}",
                "validation_start": f"{window.validation_start_time:%Y-%m-%dT%H:%MZ}",
                "validation_end": f"{window.validation_end_time:%Y-%m-%dT%H:%MZ}",
            },
            seconds=result.seconds,
        )

    def trial_done(self, trial: Trial) -> None:
        if self._tracker.trial_is_finished(trial.number):
            return
        windows = {result.window: window_metrics(result) for result in trial.results}
        self._tracker.close_trial(
            trial.number,
            summary=trial_metrics(trial.results),
            series={
                name: {number: metrics[name] for number, metrics in windows.items()}
                for name in CHARTED
            },
            tags={"pruned": str(trial.pruned).lower()},
        )

    def trial_run(self, number: int, parameters: TrialParameters) -> str:
        """Run id of a trial, which is opened at its first window."""
        if number not in self._opened:
            phase = "coverage" if number < self._coverage else "refinement"
            self._opened[number] = self._tracker.open_trial(
                number, params=parameters.flat(), tags={**self._tags, "phase": phase}
            )
        return self._opened[number]


def window_metrics(result: WindowResult) -> dict[str, float]:
    """Figures of one window, for its run."""
    shares = dict(zip(("sell", "neutral", "buy"), result.signal_counts, strict=True))
    bars = sum(result.signal_counts)
    return {
        **figures(result.r),
        "log_loss": result.log_loss,
        **{f"{name}_share": count / bars for name, count in shares.items()},
    }


def trial_metrics(results: Sequence[WindowResult]) -> dict[str, float]:
    """Figures of a trial over its windows, for the table in which trials are compared."""
    pooled = np.concatenate([result.r for result in results])
    known = sum(result.confusion for result in results)
    assert isinstance(known, np.ndarray)
    return {
        **figures(pooled),
        "windows": float(len(results)),
        "log_loss": float(np.mean([result.log_loss for result in results])),
        "accuracy": float(np.trace(known) / known.sum()) if known.sum() else math.nan,
    }


def figures(r: np.ndarray) -> dict[str, float]:
    """The summary of some trades as metrics; a figure that is not known stays out."""
    return {
        name: float(value) for name, value in summary(r)._asdict().items() if math.isfinite(value)
    }
