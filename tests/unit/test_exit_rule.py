"""What a position needs of its strategy: the distance of its stop at every bar."""

from __future__ import annotations

import numpy as np

from strategy.config import BreakEven
from strategy.exit_rule import ExitRule
from tests.strategy_bundles import random_candles

RULE = ExitRule(14, BreakEven(min_multiplier=1.0, max_multiplier=1.5, historical_atr_window=50))


def test_the_last_bar_of_the_required_history_has_a_distance_and_the_one_before_has_none() -> None:
    candles = random_candles(RULE.required_history)
    distances = RULE.distances(candles)
    assert distances[-1] > 0
    assert np.isnan(distances[:-1]).all()


def test_a_distance_does_not_depend_on_older_candles() -> None:
    candles = random_candles(1000)
    short = RULE.distances(candles.iloc[-RULE.required_history :])
    assert np.isclose(short[-1], RULE.distances(candles)[-1], rtol=1e-9, atol=0)
