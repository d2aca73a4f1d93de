"""Finds features that see the future, or more of the past than their catalogue entry says.

A feature's value at a bar must be the same whatever comes after the bar, and the same on exactly
``history`` bars as on any longer history; before that it is NaN. Each is tried at many bars: at
random ones, and at some where the feature changes, so that a condition that is rarely met is
tried where it is. What is found is wrong for certain; what is not found is very likely right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from strategy.config import IndicatorParameters
from strategy.errors import ConfigError, DataError
from strategy.features import CATALOGUE, FeatureFactory
from strategy.features.catalogue import FeatureDefinition

Floats = NDArray[np.float64]
Compute = Callable[[pd.DataFrame, IndicatorParameters], Floats]

RELATIVE, ABSOLUTE = 1e-9, 1e-12
"""Differences that rounding may make."""
BARS_A_FEATURE = 2
"""Bars at which a feature changes, tried for each feature besides the random ones."""
LEAST_TRIED = 100
"""Bars after the longest history from which those to try are drawn."""


class FeatureSet(NamedTuple):
    """Features that are computed together: the catalogue's, or those of a user's module."""

    name: str
    definitions: tuple[FeatureDefinition, ...]
    compute: Compute
    """Shape (n_bars, n_definitions), columns as the definitions stand."""


class Verdict(StrEnum):
    """What is wrong with a feature, the gravest first."""

    LEAK = "sees the future"
    SHORT = "history too short"
    FILLED = "warm-up is not NaN"
    UNKNOWN = "unknown after its warm-up"


@dataclass(frozen=True)
class Fault:
    """The first bar at which a feature was found at fault, with its figures on both sides."""

    verdict: Verdict
    bar: int
    time: pd.Timestamp
    """Open time of the bar, UTC."""
    value: float
    """At that bar, on all candles."""
    other: float
    """At the same bar, as ``when`` says."""
    when: str


def catalogue() -> FeatureSet:
    """The project's own features."""
    return FeatureSet(
        "strategy.features",
        CATALOGUE,
        lambda candles, parameters: FeatureFactory(candles).matrix(parameters),
    )


def find_faults(
    features: FeatureSet,
    candles: pd.DataFrame,
    parameters: IndicatorParameters,
    rng: np.random.Generator,
    tries: int,
) -> dict[str, Fault]:
    """Try every feature; returns the gravest fault of each that has one, by its name.

    Parameters
    ----------
    candles
        A candle frame, longer than the longest history by :data:`LEAST_TRIED` bars.
    rng
        Chooses the bars to try and draws the other futures.
    tries
        Random bars at which the future is taken away.

    Raises
    ------
    ConfigError
        The features are not computed in the shape that their definitions ask for.
    DataError
        Too few candles.
    """
    histories = np.array([each.history(parameters) for each in features.definitions])
    first = int(histories.max())
    if len(candles) < first + LEAST_TRIED:
        name = features.definitions[int(histories.argmax())].name
        raise DataError(
            f"{len(candles)} candles are too few: {name} alone needs {first} bars of history, and "
            f"{LEAST_TRIED} more to be tried on"
        )
    trial = _Trial(features, candles, parameters, histories, rng)
    found: dict[str, Fault] = {}
    for verdict in (
        trial.leaks(tries),
        trial.short(-(-tries // 4)),
        trial.filled(),
        trial.unknown(),
    ):
        for column, fault in verdict:
            name = features.definitions[column].name
            known = found.get(name)
            if known is None or (known.verdict == fault.verdict and fault.bar < known.bar):
                found[name] = fault
    return found


Faults = Iterator[tuple[int, Fault]]
"""Faults by column, any number of a column."""


class _Trial:
    """One feature set on one candle frame under one combination of parameters."""

    def __init__(
        self,
        features: FeatureSet,
        candles: pd.DataFrame,
        parameters: IndicatorParameters,
        histories: NDArray[np.int64],
        rng: np.random.Generator,
    ) -> None:
        self._features = features
        self._candles = candles
        self._parameters = parameters
        self._histories = histories
        self._rng = rng
        self._full = self._compute(candles)

    def leaks(self, tries: int) -> Faults:
        """Take the candles after a bar away, and put others in their place."""
        for bar in self._bars(self._full, tries):
            without, other = self._candles.iloc[: bar + 1], self._with_another_future(bar)
            time = _utc(self._candles.index[bar])
            for candles, when in ((without, "without candles"), (other, "with other candles")):
                seen = self._compute(candles)[: bar + 1]
                differs = ~_equal(self._full[: bar + 1], seen)
                for column in map(int, np.flatnonzero(differs.any(axis=0))):
                    row = int(differs[:, column].argmax())
                    yield self._fault(
                        Verdict.LEAK, row, column, seen[row, column], f"{when} after {time}"
                    )

    def short(self, tries: int) -> Faults:
        """Give every feature exactly the bars that it says it needs."""
        for history in np.unique(self._histories):
            columns = np.flatnonzero(self._histories == history)
            for bar in self._bars(self._full[:, columns], tries):
                last = self._compute(self._candles.iloc[bar + 1 - history : bar + 1])[-1]
                differs = ~_equal(self._full[bar], last)
                for column in columns[differs[columns]]:
                    yield self._fault(
                        Verdict.SHORT,
                        bar,
                        column,
                        last[column],
                        f"on its history of {history} bars",
                    )

    def filled(self) -> Faults:
        """Look for values before the history that they are said to need."""
        for column, history in enumerate(self._histories):
            known = np.flatnonzero(~np.isnan(self._full[: history - 1, column]))
            if len(known):
                when = f"in its warm-up of {history - 1} bars"
                yield self._fault(Verdict.FILLED, int(known[0]), column, np.nan, when)

    def unknown(self) -> Faults:
        """Look for NaN and infinite values from the first full history on."""
        for column, history in enumerate(self._histories):
            holes = np.flatnonzero(~np.isfinite(self._full[history - 1 :, column]))
            if len(holes):
                bar = int(history - 1 + holes[0])
                when = f"although {history} bars are there"
                yield self._fault(Verdict.UNKNOWN, bar, column, np.nan, when)

    def _compute(self, candles: pd.DataFrame) -> Floats:
        values = self._features.compute(candles.copy(), self._parameters)
        expected = (len(candles), len(self._features.definitions))
        if values.shape != expected:
            raise ConfigError(
                f"{self._features.name}: computes an array of shape {values.shape}, and its "
                f"definitions ask for {expected} (bars, features)"
            )
        return values

    def _bars(self, values: Floats, tries: int) -> list[int]:
        """Bars to try, in order: some at random, and some at which each column changes."""
        first, end = int(self._histories.max()), len(values) - 1  # something must come after
        chosen = {int(bar) for bar in self._rng.integers(first, end, tries)}
        for column in values.T:
            changes = first + np.flatnonzero(column[first:end] != column[first - 1 : end - 1])
            few = min(BARS_A_FEATURE, len(changes))
            chosen |= {int(bar) for bar in self._rng.choice(changes, few, replace=False)}
        return sorted(chosen)

    def _with_another_future(self, bar: int) -> pd.DataFrame:
        """The candles after the bar in another order, at other prices and volumes."""
        later = self._candles.iloc[bar + 1 :]
        drawn = later.to_numpy()[self._rng.permutation(len(later))]
        level = np.exp(self._rng.normal(0.0, 1.0))
        prices = level * np.exp(self._rng.normal(0.0, 0.05, (len(later), 1)))
        volumes = np.exp(self._rng.normal(0.0, 1.0, (len(later), 1)))
        is_volume = later.columns == "volume"
        result = self._candles.copy()
        result.iloc[bar + 1 :] = drawn * np.where(is_volume, volumes, prices)
        return result

    def _fault(
        self, verdict: Verdict, bar: int, column: int, other: float, when: str
    ) -> tuple[int, Fault]:
        time = self._candles.index[bar]
        value = float(self._full[bar, column])
        return int(column), Fault(verdict, bar, time, value, float(other), when)


def _equal(first: Floats, second: Floats) -> NDArray[np.bool_]:
    return np.isclose(first, second, rtol=RELATIVE, atol=ABSOLUTE, equal_nan=True)


def _utc(time: pd.Timestamp) -> str:
    return f"{time:%Y-%m-%d %H:%M}"


def columns_of(
    name: str, definitions: Sequence[FeatureDefinition], columns: dict[str, Floats]
) -> Floats:
    """Columns by name as an array, in the order of the definitions.

    Raises
    ------
    ConfigError
        A column is missing or has another length than the others.
    """
    missing = [each.name for each in definitions if each.name not in columns]
    if missing:
        raise ConfigError(
            f"{name}: columns() gives no {missing[0]!r}, which DEFINITIONS lists; it gives "
            f"{', '.join(columns) or 'nothing'}"
        )
    arrays = [np.asarray(columns[each.name], dtype=np.float64) for each in definitions]
    if len({array.shape for array in arrays}) > 1:
        shapes = ", ".join(f"{e.name} {a.shape}" for e, a in zip(definitions, arrays, strict=True))
        raise ConfigError(f"{name}: the columns differ in shape: {shapes}")
    return np.column_stack(arrays)
