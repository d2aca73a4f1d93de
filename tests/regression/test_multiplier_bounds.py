"""Why the volatility multiplier is clamped and not computed as the requirement writes it.

The requirement document has ``max(max_multiplier, min(min_multiplier, ratio))``. The inner
minimum is never above min_multiplier, hence never above max_multiplier: the outer maximum
always returns max_multiplier, and the volatility has no say.
"""

from __future__ import annotations

import numpy as np
import pytest

from strategy.config import BreakEven
from strategy.exits import volatility_multiplier

RATIOS = np.concatenate([[0.0], np.geomspace(1e-6, 1e6, 1201)])
RULES = [
    BreakEven(min_multiplier=low, max_multiplier=high, historical_atr_window=252)
    for low, high in [(1.0, 1.5), (0.5, 3.0), (2.0, 2.0), (0.1, 20.0)]
]


def as_written(ratio: float, rule: BreakEven) -> float:
    return max(rule.max_multiplier, min(rule.min_multiplier, ratio))


@pytest.mark.parametrize("rule", RULES)
def test_the_formula_as_written_always_equals_the_maximum(rule: BreakEven):
    assert {as_written(ratio, rule) for ratio in RATIOS} == {rule.max_multiplier}


@pytest.mark.parametrize("rule", RULES)
def test_the_clamp_follows_the_volatility_between_its_bounds(rule: BreakEven):
    multiplier = volatility_multiplier(RATIOS, np.ones_like(RATIOS), rule)
    between = (rule.min_multiplier <= RATIOS) & (rule.max_multiplier >= RATIOS)
    np.testing.assert_array_equal(multiplier[between], RATIOS[between])
    assert (multiplier[rule.min_multiplier > RATIOS] == rule.min_multiplier).all()
    assert (multiplier[rule.max_multiplier < RATIOS] == rule.max_multiplier).all()
    assert (np.diff(multiplier) >= 0).all()
