"""Recorded candles in random blocks: consistent, without what could be foreseen."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from store.bootstrap import PRICES, block_bootstrap
from store.synthetic import synthetic_candles
from strategy.candles import candle_frame
from strategy.errors import DataError

START = pd.Timestamp("2025-01-01T00:00:00Z")
FIRST = pd.Timestamp("2020-01-01T00:00:00Z")


@pytest.fixture(scope="module")
def recorded() -> pd.DataFrame:
    """500 hours that rise, with a gap of three bars after the 200th."""
    hours = synthetic_candles(np.random.default_rng(5), 503, FIRST)
    rising = np.exp(0.004 * np.arange(503))
    hours = hours.assign(**{name: hours[name] * rising for name in PRICES})
    return pd.concat([hours.iloc[:200], hours.iloc[203:]])


def bootstrapped(recorded: pd.DataFrame, *, seed: int = 1, bars: int = 1000, block: int = 24):
    rng = np.random.default_rng(seed)
    return block_bootstrap(rng, recorded, "1h", bars, START, block=block)


def shapes(candles: pd.DataFrame) -> np.ndarray:
    prices = candles[PRICES].to_numpy()
    return prices[1:] / prices[:-1, -1:]


def test_it_is_a_candle_frame_without_gaps(recorded: pd.DataFrame) -> None:
    made = bootstrapped(recorded)
    pd.testing.assert_frame_equal(candle_frame(made, "1h", max_gap_bars=0), made, check_freq=False)
    assert (made.index[0], len(made)) == (START, 1000)


def test_the_same_seed_makes_the_same_market_and_another_another(recorded: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(bootstrapped(recorded), bootstrapped(recorded))
    assert not bootstrapped(recorded).equals(bootstrapped(recorded, seed=2))


def test_every_bar_has_a_recorded_shape_and_blocks_follow_the_record_but_across_no_gap(
    recorded: pd.DataFrame,
) -> None:
    made = bootstrapped(recorded, bars=24 * 40)
    row = recorded.index.get_indexer_for(  # a volume says which bar it is
        recorded.reset_index().set_index("volume").loc[made["volume"], "timestamp"]
    )
    scale = shapes(made) / shapes(recorded)[row[1:] - 1]
    np.testing.assert_allclose(scale, scale[0, 0], rtol=1e-12)
    for block in row.reshape(40, 24):
        assert (np.diff(block) == 1).all()
        assert block[0] > 0  # the first bar has no close before it
        assert not (block[0] <= 200 <= block[-1])  # nor has the one after the gap


def test_the_recorded_trend_is_taken_out(recorded: pd.DataFrame) -> None:
    assert shapes(recorded)[:, -1].mean() > 1.001
    made = bootstrapped(recorded, bars=200_000)[PRICES].to_numpy()
    growth = made[1:, -1] / made[:-1, -1]
    error = growth.std() / np.sqrt(len(growth))
    assert abs(growth.mean() - 1) < 4 * error


def test_candles_that_are_too_short_for_a_block_are_refused(recorded: pd.DataFrame) -> None:
    with pytest.raises(DataError, match="longer than 400 bars"):
        bootstrapped(recorded, block=400)
    with pytest.raises(DataError, match="longer than 24 bars"):
        bootstrapped(recorded.iloc[:24])
    assert len(bootstrapped(recorded.iloc[:25])) == 1000
