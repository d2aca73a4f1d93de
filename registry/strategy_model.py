"""The registered strategy as an MLflow model: from plain candles to signals.

MLflow runs this file as the model's code ("models from code"), with copies of the packages
``strategy`` and ``registry`` that are stored beside it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from registry.bundle import BUNDLE_ARTIFACT, StrategyBundle
from strategy.candles import candle_frame


class StrategyModel(PythonModel):
    """``predict`` takes plain candles and returns what the strategy says at each close."""

    def load_context(self, context: PythonModelContext) -> None:
        """Read the bundle that was registered with the model."""
        self.bundle = StrategyBundle.load(Path(context.artifacts[BUNDLE_ARTIFACT]))

    def predict(
        self,
        context: PythonModelContext,
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,
    ) -> pd.DataFrame:
        """Signals of plain candles.

        Parameters
        ----------
        model_input
            Columns open, high, low, close, volume (any numbers) and the open time with its
            time zone: the column ``timestamp`` (times, or text in ISO 8601) or the index. Gaps
            in time are taken as they are: whoever collects candles judges them.

        Returns
        -------
        As :meth:`registry.bundle.StrategyBundle.signals`, on the open times in UTC.

        Raises
        ------
        DataError
            As :func:`strategy.candles.candle_frame`.
        """
        plain = model_input
        if "timestamp" in plain and not pd.api.types.is_datetime64_any_dtype(plain["timestamp"]):
            plain = plain.assign(timestamp=pd.to_datetime(plain["timestamp"]))
        candles = candle_frame(plain, self.bundle.timeframe, max_gap_bars=sys.maxsize)
        return self.bundle.signals(candles)


set_model(StrategyModel())
