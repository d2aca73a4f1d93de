"""What the catalogue says about a feature."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from strategy.indicators import FloatArray

if TYPE_CHECKING:
    from strategy.config import IndicatorParameters

Columns = dict[str, FloatArray]
"""Feature columns by name, each of shape (n_bars,), NaN in its warm-up."""


@dataclass(frozen=True)
class FeatureDefinition:
    """One feature: what it means, how it is computed and what it needs.

    Attributes
    ----------
    name
        As in the requirement document, section 3.2; the name of the feature's column.
    group
        ``ichimoku``, ``rsi``, ``atr``, ``candlestick`` or ``combined``.
    meaning
        What the feature says about the market.
    formula
        The exact definition, where the document leaves room for more than one too. "Price" is
        the close; a moving window includes the current bar; a ratio or correlation over a zero
        range is 0; a standard deviation is the population's.
    parameters
        The fields of IndicatorParameters that the feature depends on.
    history
        Bars needed for one valid row, given the parameters: on that many bars the last row
        is the same as on any longer history.
    expected_direction
        1 if a higher value is bullish by theory, -1 if it is bearish, None if theory expects
        neither.
    """

    name: str
    group: Literal["ichimoku", "rsi", "atr", "candlestick", "combined"]
    meaning: str
    formula: str
    parameters: tuple[str, ...]
    history: Callable[[IndicatorParameters], int]
    expected_direction: Literal[1, -1] | None
