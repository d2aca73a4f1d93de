"""R-multiples that differ by less than a float can square used to divide by zero."""

from __future__ import annotations

import math

import numpy as np

from strategy.performance import sqn, summary


def test_trades_whose_spread_vanishes_when_squared_have_no_sqn() -> None:
    r = np.array([0.0, 1.8e-276])
    assert math.isnan(sqn(r))
    assert summary(r).trades == 2
