"""Results of windows as checkpoints: written by whoever evaluates, recalled by whoever resumes."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from store.checkpoints import Checkpoints
from strategy.config import IndicatorParameters, LightGBMParameters
from strategy.performance import summary
from strategy.simulate import TRADE
from strategy.windows import Window
from training.walk_forward import TrialParameters, WindowResult

BOOSTER = "booster"


@dataclass(frozen=True)
class WindowCheckpoints:
    """Keeps the results of windows with a campaign's checkpoints.

    The name of a checkpoint is what was computed, as in
    ``9-26-52-14-7_0.05-20-50-100/window-03``, so that no second trial, process or shard
    computes it again.
    """

    checkpoints: Checkpoints

    def keep(self, parameters: TrialParameters, result: WindowResult) -> WindowResult:
        """Write a result down; returns it with the hash of its checkpoint."""
        name = f"{_folder(parameters)}/window-{result.window:02d}"
        return replace(result, checkpoint=self.checkpoints.write(name, encode(parameters, result)))

    def keep_booster(self, parameters: TrialParameters, window: Window, text: str) -> None:
        """Keep the model of one window, as LightGBM writes it."""
        name = f"{_folder(parameters)}/{BOOSTER}-{window.number:02d}.txt"
        self.checkpoints.write(name, text.encode())

    def recall(self) -> Recalled:
        """Everything that is kept and holds (:meth:`store.checkpoints.Checkpoints.read_all`)."""
        results, boosters = {}, {}
        for checkpoint in self.checkpoints.read_all():
            folder, _, file = checkpoint.name.rpartition("/")
            kind, _, number = file.removesuffix(".txt").partition("-")
            if kind == BOOSTER:
                boosters[folder, int(number)] = checkpoint.content.decode()
            else:
                parameters, result = decode(checkpoint.content)
                kept = replace(result, checkpoint=checkpoint.sha256)
                results[parameters, result.window] = kept
        return Recalled(results, boosters)


@dataclass(frozen=True)
class Recalled:
    """What need not be computed again."""

    results: Mapping[tuple[TrialParameters, int], WindowResult]
    boosters: Mapping[tuple[str, int], str]

    def result(self, parameters: TrialParameters, window: Window) -> WindowResult | None:
        return self.results.get((parameters, window.number))

    def booster(self, parameters: TrialParameters, window: Window) -> str | None:
        return self.boosters.get((_folder(parameters), window.number))


NOTHING_RECALLED = Recalled({}, {})


def encode(parameters: TrialParameters, result: WindowResult) -> bytes:
    """A line of JSON that a person can read, then the trades as they lie in memory."""
    head = {
        "window": result.window,
        "indicators": parameters.indicators._asdict(),
        "model": parameters.model.model_dump(),
        "metrics": {name: _known(value) for name, value in summary(result.r)._asdict().items()},
        "signal_counts": result.signal_counts,
        "confusion": result.confusion.tolist(),
        "log_loss": _known(result.log_loss),
        "seconds": _known(result.seconds),
    }
    return json.dumps(head, separators=(",", ":")).encode() + b"\n" + result.trades.tobytes()


def decode(content: bytes) -> tuple[TrialParameters, WindowResult]:
    """What :func:`encode` wrote; equal to the last bit."""
    first, _, trades = content.partition(b"\n")
    head: dict[str, Any] = json.loads(first)
    sells, neutrals, buys = head["signal_counts"]
    result = WindowResult(
        window=head["window"],
        trades=np.frombuffer(trades, dtype=TRADE),
        signal_counts=(sells, neutrals, buys),
        confusion=np.array(head["confusion"], dtype=np.int64),
        log_loss=_or_nan(head["log_loss"]),
        seconds=_or_nan(head["seconds"]),
    )
    return (
        TrialParameters(
            IndicatorParameters(**head["indicators"]), LightGBMParameters(**head["model"])
        ),
        result,
    )


def _folder(parameters: TrialParameters) -> str:
    model = parameters.model.model_dump().values()
    return f"{'-'.join(map(str, parameters.indicators))}_{'-'.join(map(str, model))}"


def _known(value: float) -> float | None:
    """JSON has no NaN or infinity."""
    return float(value) if math.isfinite(value) else None


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value
