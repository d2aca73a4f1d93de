"""Planted faults must be found and named with their bar, and what is sound must pass."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from store.synthetic import synthetic_candles
from strategy.config import IndicatorParameters
from strategy.errors import ConfigError, DataError
from strategy.features.catalogue import FeatureDefinition
from training.feature_checks import (
    Fault,
    FeatureSet,
    Verdict,
    catalogue,
    columns_of,
    find_faults,
)

SMALL = IndicatorParameters(3, 5, 8, 3, 4)
START = pd.Timestamp("2024-01-01", tz="UTC")
CANDLES = synthetic_candles(np.random.default_rng(5), 1200, START)
CLOSE = CANDLES["close"]

Formula = Callable[[pd.DataFrame], pd.Series]


def definition(name: str, history: int) -> FeatureDefinition:
    return FeatureDefinition(name, "combined", "Planted.", "-", (), lambda _: history, None)


def features(**planted: tuple[int, Formula]) -> FeatureSet:
    definitions = tuple(definition(name, history) for name, (history, _) in planted.items())

    def compute(candles: pd.DataFrame, parameters: IndicatorParameters) -> np.ndarray:
        columns = {name: formula(candles) for name, (_, formula) in planted.items()}
        return columns_of("planted", definitions, columns)

    return FeatureSet("planted", definitions, compute)


def faults(tries: int = 20, seed: int = 1, **planted: tuple[int, Formula]) -> dict[str, Fault]:
    rng = np.random.default_rng(seed)
    return find_faults(features(**planted), CANDLES, SMALL, rng, tries)


def day_mean(candles: pd.DataFrame) -> pd.Series:
    return candles["close"].rolling(24).mean()


def time_in(when: str) -> pd.Timestamp:
    return pd.Timestamp(when.split(" after ")[1], tz="UTC")


def test_the_next_bars_close_is_a_leak_at_the_very_bar_that_is_cut_off() -> None:
    found = faults(tomorrow=(1, lambda candles: candles["close"].shift(-1)))
    fault = found["tomorrow"]
    assert fault.verdict == Verdict.LEAK
    assert fault.time == time_in(fault.when) == CANDLES.index[fault.bar]
    assert fault.value == CLOSE.iloc[fault.bar + 1]
    assert np.isnan(fault.other)
    assert fault.when.startswith("without candles after")


def test_the_next_bar_is_a_leak_even_where_its_absence_is_filled() -> None:
    found = faults(filled=(1, lambda candles: candles["close"].shift(-1).ffill()))
    assert found["filled"].verdict == Verdict.LEAK


def test_a_centred_mean_is_a_leak_from_the_first_bar_whose_window_is_cut() -> None:
    found = faults(centred=(3, lambda candles: candles["close"].rolling(5, center=True).mean()))
    fault = found["centred"]
    assert fault.verdict == Verdict.LEAK
    assert fault.time == time_in(fault.when) - pd.Timedelta(hours=1)
    assert fault.value == pytest.approx(CLOSE.iloc[fault.bar - 2 : fault.bar + 3].mean())


def test_a_scale_of_the_whole_sample_is_a_leak_from_its_first_bar_on() -> None:
    found = faults(scaled=(1, lambda candles: candles["close"] / candles["close"].mean()))
    fault = found["scaled"]
    assert (fault.verdict, fault.bar, fault.time) == (Verdict.LEAK, 0, START)
    assert fault.value == pytest.approx(CLOSE.iloc[0] / CLOSE.mean())
    known = CLOSE[: time_in(fault.when)]
    assert fault.other == pytest.approx(CLOSE.iloc[0] / known.mean())


def test_a_leak_of_a_condition_that_is_rarely_met_is_found_where_it_is() -> None:
    bodies = CANDLES["close"] / CANDLES["open"]
    rare = bodies.nsmallest(4).iloc[-1]

    def before_a_crash(candles: pd.DataFrame) -> pd.Series:
        return (candles["close"] / candles["open"] <= rare).shift(-1, fill_value=False) * 1.0

    for seed in range(5):
        fault = faults(tries=1, seed=seed, crash=(1, before_a_crash))["crash"]
        assert fault.verdict == Verdict.LEAK
        assert bodies.iloc[fault.bar + 1] <= rare


def test_a_leak_that_these_candles_do_not_show_is_found_with_other_candles_after_the_bar() -> None:
    def before_a_collapse(candles: pd.DataFrame) -> pd.Series:
        return (candles["close"].shift(-1) < 0.5 * candles["close"]).astype(float)

    assert not before_a_collapse(CANDLES).any()
    fault = faults(collapse=(1, before_a_collapse))["collapse"]
    assert fault.verdict == Verdict.LEAK
    assert fault.when.startswith("with other candles after")
    assert (fault.value, fault.other) == (0.0, 1.0)


def test_a_long_average_on_a_short_history_is_named_with_both_figures() -> None:
    def average(candles: pd.DataFrame) -> pd.Series:
        return candles["close"].ewm(span=200, min_periods=50).mean()

    fault = faults(average=(50, average))["average"]
    assert fault.verdict == Verdict.SHORT
    assert fault.when == "on its history of 50 bars"
    assert fault.value == pytest.approx(average(CANDLES).iloc[fault.bar])
    short = CANDLES.iloc[fault.bar - 49 : fault.bar + 1]
    assert fault.other == pytest.approx(average(short).iloc[-1])


def test_a_history_one_bar_too_short_is_found() -> None:
    assert faults(mean=(23, day_mean))["mean"].verdict == Verdict.SHORT
    assert not faults(mean=(24, day_mean))


def test_what_remembers_the_whole_past_has_too_short_a_history_but_sees_no_future() -> None:
    found = faults(peak=(1, lambda candles: candles["close"].cummax()))
    assert found["peak"].verdict == Verdict.SHORT


def test_a_warm_up_of_zeros_is_named_at_its_first_bar() -> None:
    fault = faults(mean=(24, lambda candles: day_mean(candles).fillna(0.0)))["mean"]
    assert (fault.verdict, fault.bar, fault.value) == (Verdict.FILLED, 0, 0.0)
    assert np.isnan(fault.other)
    assert fault.when == "in its warm-up of 23 bars"


@pytest.mark.parametrize("hole", [np.nan, np.inf])
def test_a_hole_after_the_warm_up_is_named_at_its_bar(hole: float) -> None:
    def holed(candles: pd.DataFrame) -> pd.Series:
        return candles["close"].where(candles["close"] != CLOSE.iloc[700], hole)

    fault = faults(holed=(1, holed))["holed"]
    assert (fault.verdict, fault.bar) == (Verdict.UNKNOWN, 700)


def test_a_feature_beside_one_at_fault_is_sound_all_the_same() -> None:
    found = faults(
        mean=(24, day_mean),
        tomorrow=(1, lambda candles: candles["close"].shift(-1)),
        correlation=(
            30,
            lambda candles: candles["close"].diff().rolling(29).corr(candles["volume"].diff()),
        ),
    )
    assert set(found) == {"tomorrow"}


def test_the_projects_own_58_features_are_sound() -> None:
    features_found = catalogue()
    candles = synthetic_candles(np.random.default_rng(5), 1600, START)
    assert len(features_found.definitions) == 58
    assert not find_faults(features_found, candles, SMALL, np.random.default_rng(2), 8)


def test_the_same_seed_finds_the_same_faults() -> None:
    planted = {"tomorrow": (1, lambda candles: candles["close"].shift(-1).fillna(0))}
    assert faults(**planted) == faults(**planted)


def test_checking_leaves_the_candles_as_they_are() -> None:
    def careless(candles: pd.DataFrame) -> pd.Series:
        candles["close"] /= 2
        return candles["close"]

    before = CANDLES.copy()
    assert not faults(careless=(1, careless))
    pd.testing.assert_frame_equal(CANDLES, before)


def test_too_few_candles_are_refused_by_the_name_of_what_needs_them() -> None:
    with pytest.raises(DataError, match="mean alone needs 1150 bars"):
        faults(mean=(1150, lambda candles: candles["close"].rolling(1150).mean()))


def test_a_column_that_is_not_computed_is_named() -> None:
    with pytest.raises(ConfigError, match=r"gives no 'b'.*it gives a"):
        columns_of("mine", (definition("a", 1), definition("b", 1)), {"a": np.zeros(3)})


def test_columns_of_different_lengths_are_named() -> None:
    unequal = {"a": np.zeros(3), "b": np.zeros(2)}
    with pytest.raises(ConfigError, match=r"a \(3,\), b \(2,\)"):
        columns_of("mine", (definition("a", 1), definition("b", 1)), unequal)


def test_an_array_that_does_not_fit_the_candles_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"shape \(1199, 1\).*\(1200, 1\)"):
        faults(cut=(1, lambda candles: candles["close"].iloc[1:]))
