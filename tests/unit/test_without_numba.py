"""The same trades, labels and outcomes to the bit, compiled or not."""

from __future__ import annotations

import pickle
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from strategy.config import Costs
from strategy.costs import charges_on
from strategy.simulate import Bars, Intervention, InterventionKind, outcomes, simulate
from strategy.target import labels

ROOT = Path(__file__).parents[2]
N = 700

INTERPRETED = """
import pickle, runpy, sys
sys.modules["numba"] = None  # every import of it raises ImportError
results = runpy.run_path(sys.argv[1])["results"]()
sys.stdout.buffer.write(pickle.dumps(results))
"""


def results() -> dict[str, tuple[str, bytes]]:
    """Everything that the compiled loops compute on one market, as dtypes and bytes."""
    random = np.random.default_rng(3)
    close = 1000 * np.exp(np.cumsum(random.normal(0, 0.01, N)))
    open_ = np.r_[1000.0, close[:-1]] * (1 + random.normal(0, 0.002, N))
    high = np.maximum(open_, close) * (1 + random.exponential(0.003, N))
    low = np.minimum(open_, close) * (1 - random.exponential(0.003, N))
    index = pd.date_range("2024-01-01", periods=N, freq="1h", tz="UTC").as_unit("ns")
    bars = Bars(index.asi8, open_, high, low, close)
    distance = 0.012 * close * random.uniform(1, 1.5, N)
    distance[:20] = np.nan
    signals = random.choice(np.array([-1, 0, 1], dtype=np.int8), N)
    charges = charges_on(index, "1h", Costs())

    kinds = random.choice(list(InterventionKind), 60)
    moments = index[0] + pd.to_timedelta(random.uniform(0, N * 60, 60), unit="min")
    interventions = [
        Intervention(moment, InterventionKind(kind), float(close[index.searchsorted(moment) - 1]))
        for moment, kind in zip(moments, kinds, strict=True)
    ]
    trade = partial(
        simulate, bars, signals, distance, charges, timeframe="1h", start=10, end=N - 10
    )
    trades, intervened = trade(), trade(interventions=interventions)
    assert len(trades) > 50
    assert len(np.unique(trades["reason"])) > 2
    assert not np.array_equal(trades, intervened)
    exit_bar, r = outcomes(bars, distance, charges, start=10, end=N - 10)
    label, resolved = labels(bars, distance)
    arrays = {
        "trades": trades,
        "intervened": intervened,
        "exit_bar": exit_bar,
        "r": r,
        "label": label,
        "resolved": resolved,
    }
    return {name: (str(values.dtype), values.tobytes()) for name, values in arrays.items()}


def test_without_numba_everything_is_the_same_to_the_bit():
    pytest.importorskip("numba", reason="without Numba there is nothing to compare with")
    child = subprocess.run(
        [sys.executable, "-c", INTERPRETED, __file__], cwd=ROOT, capture_output=True, check=True
    )
    interpreted = pickle.loads(child.stdout)
    compiled = results()
    assert interpreted.keys() == compiled.keys()
    for name, values in compiled.items():
        assert interpreted[name] == values, f"{name} differs"


def test_with_numba_the_loops_really_are_compiled():
    dispatcher = pytest.importorskip("numba.core.dispatcher").Dispatcher
    from strategy import simulate, target

    for kernel in (simulate._simulate, simulate._outcomes, simulate._hold, target._label):
        assert isinstance(kernel, dispatcher)
