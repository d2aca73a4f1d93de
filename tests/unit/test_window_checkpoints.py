"""What a worker writes down of a window is what a resumed campaign recalls, to the last bit."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.checkpoints import Checkpoints, Origin
from store.objects import FolderObjects
from strategy.config import IndicatorParameters, LightGBMParameters
from strategy.simulate import TRADE
from strategy.windows import Window
from tests.unit.test_scheduler import TIME
from training.checkpointing import NOTHING_RECALLED, WindowCheckpoints, decode, encode
from training.walk_forward import TrialParameters, WindowResult

INDICATORS = IndicatorParameters(9, 26, 52, 14, 7)
MODEL = LightGBMParameters(learning_rate=0.05, num_leaves=20, min_data_in_leaf=50, n_estimators=100)
PARAMETERS = TrialParameters(INDICATORS, MODEL)

counts = st.integers(0, 10_000)
reals = st.floats(-1e6, 1e6)


@st.composite
def results(draw: st.DrawFn) -> WindowResult:
    """Trades of any bits but for finite R-multiples, from which figures are made."""
    n = draw(st.integers(0, 5))
    size = TRADE.itemsize * n
    trades = np.frombuffer(draw(st.binary(min_size=size, max_size=size)), TRADE).copy()
    trades["r"] = draw(st.lists(reals, min_size=n, max_size=n))
    return WindowResult(
        window=draw(st.integers(1, 99)),
        trades=trades,
        signal_counts=(draw(counts), draw(counts), draw(counts)),
        confusion=np.array(draw(st.lists(counts, min_size=9, max_size=9))).reshape(3, 3),
        log_loss=draw(st.floats(0, 35) | st.just(math.nan)),
        seconds=draw(st.floats(0, 1e5) | st.just(math.nan)),
    )


parameters = st.builds(
    TrialParameters,
    st.builds(IndicatorParameters, *[st.integers(2, 60)] * 5),
    st.builds(
        LightGBMParameters,
        learning_rate=st.floats(1e-6, 1.0),
        num_leaves=st.integers(2, 100),
        min_data_in_leaf=st.integers(1, 50),
        n_estimators=st.integers(1, 500),
    ),
)


def assert_same(found: WindowResult, expected: WindowResult) -> None:
    assert found.window == expected.window
    assert found.trades.dtype == expected.trades.dtype
    assert found.trades.tobytes() == expected.trades.tobytes()
    assert found.signal_counts == expected.signal_counts
    assert found.confusion.dtype == expected.confusion.dtype
    np.testing.assert_array_equal(found.confusion, expected.confusion)
    np.testing.assert_equal((found.log_loss, found.seconds), (expected.log_loss, expected.seconds))


@given(tried=parameters, result=results())
def test_a_result_comes_back_equal_to_the_last_bit(
    tried: TrialParameters, result: WindowResult
) -> None:
    known, found = decode(encode(tried, result))
    assert known == tried
    assert_same(found, result)
    assert found.r.tobytes() == result.r.tobytes()


@given(tried=parameters, result=results())
def test_a_person_can_read_what_was_tried_and_how_it_went(
    tried: TrialParameters, result: WindowResult
) -> None:
    first = encode(tried, result).partition(b"\n")[0].decode()
    for name in ("tenkan_sen", "learning_rate", "expectancy", "sqn", "log_loss"):
        assert f'"{name}":' in first
    assert "NaN" not in first and "Infinity" not in first


@pytest.fixture
def kept(tmp_path: Path) -> WindowCheckpoints:
    origin = Origin("0123456789ab", "c" * 64, "d" * 64, "e" * 64)
    return WindowCheckpoints(Checkpoints(FolderObjects(tmp_path), origin))


def window(number: int) -> Window:
    return Window(number, 0, 1, 2, TIME, TIME, TIME)


def result(number: int, *r: float) -> WindowResult:
    trades = np.zeros(len(r), TRADE)
    trades["r"] = r
    return WindowResult(number, trades, (1, 2, 3), np.eye(3, dtype=np.int64), 1.0)


def test_what_was_kept_is_recalled_with_the_hash_of_its_checkpoint(kept: WindowCheckpoints) -> None:
    written = kept.keep(PARAMETERS, result(3, 0.5, -1.0))
    recalled = kept.recall()
    found = recalled.result(PARAMETERS, window(3))
    assert found is not None
    assert_same(found, result(3, 0.5, -1.0))
    assert found.checkpoint == written.checkpoint is not None
    assert recalled.result(PARAMETERS, window(4)) is None


@pytest.mark.parametrize(
    "other",
    [
        *(TrialParameters(INDICATORS._replace(**{name: 30}), MODEL) for name in INDICATORS._fields),
        *(
            TrialParameters(INDICATORS, MODEL.model_copy(update={name: value}))
            for name, value in (
                ("learning_rate", math.nextafter(MODEL.learning_rate, 1)),
                ("num_leaves", 30),
                ("min_data_in_leaf", 30),
                ("n_estimators", 30),
            )
        ),
    ],
    ids=str,
)
def test_a_result_of_other_parameters_is_not_taken_for_it(
    kept: WindowCheckpoints, other: TrialParameters
) -> None:
    kept.keep(PARAMETERS, result(3, 0.5))
    kept.keep(other, result(3, -0.5))
    for tried, r in ((PARAMETERS, 0.5), (other, -0.5)):
        found = kept.recall().result(tried, window(3))
        assert found is not None
        assert found.r.tolist() == [r]


def test_a_model_is_recalled_by_trial_and_window_as_lightgbm_wrote_it(
    kept: WindowCheckpoints,
) -> None:
    other = replace(PARAMETERS, indicators=INDICATORS._replace(rsi_period=28))
    kept.keep_booster(PARAMETERS, window(3), "tree\nversion=v4\n\n")
    kept.keep(PARAMETERS, result(3, 0.5))
    recalled = kept.recall()
    assert recalled.booster(PARAMETERS, window(3)) == "tree\nversion=v4\n\n"
    assert recalled.booster(PARAMETERS, window(4)) is None
    assert recalled.booster(other, window(3)) is None
    assert recalled.result(PARAMETERS, window(3)) is not None


def test_nothing_is_recalled_of_a_campaign_that_kept_nothing(kept: WindowCheckpoints) -> None:
    assert kept.recall() == NOTHING_RECALLED
