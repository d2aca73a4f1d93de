"""What is registered: a strategy, whole, so that whoever loads it needs nothing else.

A bundle lives in a folder of two files: ``booster.txt`` (LightGBM's own text format) and
``bundle.json`` (everything else, and a digest over both).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import pandas as pd

from strategy.config import BreakEven, IndicatorParameters, LightGBMParameters
from strategy.errors import DataError, FixError, StoreError
from strategy.features import FEATURE_NAMES, FeatureFactory, required_history
from strategy.signal import signal_of

BOOSTER_FILE, BUNDLE_FILE = "booster.txt", "bundle.json"
BUNDLE_ARTIFACT = "bundle"
"""Name of the bundle's folder among the artifacts of its MLflow model."""
SIGNAL_COLUMNS = ("signal", "p_sell", "p_neutral", "p_buy")


@dataclass(frozen=True)
class StrategyBundle:
    """One strategy with the model that was trained for it.

    A retrain makes another bundle with the same ``strategy_id`` and the same parameters.
    """

    strategy_id: str
    asset: str
    timeframe: str
    indicators: IndicatorParameters
    hyperparameters: LightGBMParameters
    max_bin: int
    seed: int
    break_even: BreakEven
    feature_names: tuple[str, ...]
    """Columns of the matrix that the booster was trained on, in order."""
    training_start: pd.Timestamp
    """UTC, the first bar's open."""
    training_end: pd.Timestamp
    """UTC, exclusive: the open of the first bar after the training window."""
    config_digest: str
    data_digest: str
    code_version: str
    booster_text: str = field(repr=False)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """What else is worth knowing, as JSON: the share of SHAP's top ten, flagged features."""

    @property
    def model_name(self) -> str:
        """Name of the registered model whose versions are this market's strategies."""
        return f"{self.asset}-{self.timeframe}"

    @property
    def required_history(self) -> int:
        """Bars needed so that the last one has a signal and a stop distance."""
        return required_history(self.indicators, self.break_even.historical_atr_window)

    @property
    def digest(self) -> str:
        """SHA-256 over the content: equal bundles, equal digests."""
        return _digest(self._document(), self.booster_text)

    @cached_property
    def booster(self) -> lgb.Booster:
        """The LightGBM model, parsed when it is first needed."""
        return lgb.Booster(model_str=self.booster_text)

    def signals(self, candles: pd.DataFrame) -> pd.DataFrame:
        """What the strategy says at the close of every bar.

        Parameters
        ----------
        candles
            A candle frame (see :mod:`strategy.candles`) of n bars of this timeframe.

        Returns
        -------
        Shape (n, 4), float64, on the candles' index: ``signal`` (-1 sell, 0 neutral, 1 buy)
        and the probabilities ``p_sell``, ``p_neutral``, ``p_buy``. Bars of the features'
        warm-up are NaN throughout.
        """
        features = FeatureFactory(candles).matrix(self.indicators)
        known = ~np.isnan(features).any(axis=1)
        table = np.full((len(candles), len(SIGNAL_COLUMNS)), np.nan)
        if known.any():
            probabilities = np.asarray(self.booster.predict(features[known], num_threads=1))
            table[known, 0] = signal_of(probabilities)
            table[known, 1:] = probabilities
        return pd.DataFrame(table, index=candles.index, columns=list(SIGNAL_COLUMNS))

    def save(self, folder: Path) -> None:
        """Write the bundle's two files into the folder, which is made if it is not there."""
        folder.mkdir(parents=True, exist_ok=True)
        document = {**self._document(), "digest": self.digest}
        (folder / BUNDLE_FILE).write_text(json.dumps(document, indent=2), encoding="utf-8")
        (folder / BOOSTER_FILE).write_bytes(self.booster_text.encode())

    @classmethod
    def load(cls, folder: Path) -> StrategyBundle:
        """Read a bundle from its folder.

        Raises
        ------
        StoreError
            A file is missing.
        DataError
            The files are not what was saved.
        FixError
            The booster was trained on other features than this code computes.
        """
        try:
            document = json.loads((folder / BUNDLE_FILE).read_text(encoding="utf-8"))
            booster_text = (folder / BOOSTER_FILE).read_bytes().decode()
        except FileNotFoundError as error:
            raise StoreError(f"{error.filename} is missing: this is no strategy bundle") from error
        except ValueError as error:
            raise DataError(
                f"{folder}: the strategy bundle is damaged ({error}); restore it, or register it "
                "anew"
            ) from error
        digest = document.pop("digest", None)
        if digest != _digest(document, booster_text):
            raise DataError(
                f"{folder}: the strategy bundle was changed after it was saved (its digest does "
                "not fit); restore it or register it anew"
            )
        try:
            _check_features(document["feature_names"], FEATURE_NAMES)
            return cls(
                **document
                | {
                    "indicators": IndicatorParameters(**document["indicators"]),
                    "hyperparameters": LightGBMParameters(**document["hyperparameters"]),
                    "break_even": BreakEven(**document["break_even"]),
                    "feature_names": tuple(document["feature_names"]),
                    "training_start": pd.Timestamp(document["training_start"]),
                    "training_end": pd.Timestamp(document["training_end"]),
                    "booster_text": booster_text,
                }
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{folder}: the strategy bundle is of another version of this code ({error}); "
                "load it with the code version that made it, or retrain it"
            ) from error

    def _document(self) -> dict[str, Any]:
        """Everything but the booster, as JSON."""
        plain = {each.name: getattr(self, each.name) for each in fields(self)}
        del plain["booster_text"]
        return plain | {
            "indicators": self.indicators._asdict(),
            "hyperparameters": self.hyperparameters.model_dump(mode="json"),
            "break_even": self.break_even.model_dump(mode="json"),
            "feature_names": list(self.feature_names),
            "training_start": self.training_start.isoformat(),
            "training_end": self.training_end.isoformat(),
            "metadata": dict(self.metadata),
        }


def _digest(document: Mapping[str, Any], booster_text: str) -> str:
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(f"{canonical}\n{booster_text}".encode()).hexdigest()


def _check_features(trained: Sequence[str], computed: Sequence[str]) -> None:
    if tuple(trained) == tuple(computed):
        return
    unknown = sorted(set(trained) - set(computed))
    new = sorted(set(computed) - set(trained))
    moved = [name for name, now in zip(trained, computed, strict=False) if name != now]
    difference = (
        f"no longer computed: {', '.join(unknown) or 'none'}; new: {', '.join(new) or 'none'}"
        if unknown or new
        else f"in another order: {', '.join(moved)}"
    )
    raise FixError(
        f"the strategy was trained on other features than this code computes ({difference}): "
        "retrain it, or load it with the code version that made it"
    )
