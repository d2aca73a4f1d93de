"""What a version said is remembered, and is what it would say."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pytest

from registry.bundle import StrategyBundle
from serving.deciding_version import DecidingVersion
from tests.strategy_bundles import random_candles, trained_bundle

CANDLES = random_candles(1400)
BEGIN, DAY = 900, 24


@dataclass
class Asked:
    """A bundle that counts the bars it was asked about."""

    bundle: StrategyBundle
    bars: list[int] = field(default_factory=list)

    @property
    def required_history(self) -> int:
        return self.bundle.required_history

    def signals(self, candles: pd.DataFrame) -> pd.DataFrame:
        self.bars.append(len(candles))
        return self.bundle.signals(candles)


@pytest.fixture(scope="module")
def bundle() -> StrategyBundle:
    return trained_bundle(CANDLES)


@pytest.fixture
def asked(bundle: StrategyBundle) -> Asked:
    return Asked(bundle)


@pytest.fixture
def version(asked: Asked) -> DecidingVersion:
    as_bundle: Any = asked
    return DecidingVersion(as_bundle)


def computed(bundle: StrategyBundle, candles: pd.DataFrame, begin: int, end: int) -> list[int]:
    """By a version that remembers nothing."""
    return DecidingVersion(bundle).signals(candles, begin, end).tolist()


def test_it_speaks_in_its_time_alone(bundle: StrategyBundle) -> None:
    signals = DecidingVersion(bundle).signals(CANDLES, BEGIN, 1200)
    expected = np.zeros(len(CANDLES))
    expected[BEGIN:1200] = bundle.signals(CANDLES)["signal"][BEGIN:1200]
    assert signals.tolist() == expected.tolist()
    assert set(signals[BEGIN:1200]) == {-1, 0, 1}


def test_day_by_day_it_says_what_it_says_of_all_days_at_once(
    version: DecidingVersion, bundle: StrategyBundle, asked: Asked
) -> None:
    for bars in range(BEGIN + 7, len(CANDLES), DAY):
        candles = CANDLES.iloc[:bars].copy()
        said = version.signals(candles, BEGIN, bars)
        assert said.tolist() == computed(bundle, candles, BEGIN, bars)
    assert set(asked.bars[1:]) == {bundle.required_history + DAY}


def test_what_is_known_is_not_computed_again(version: DecidingVersion, asked: Asked) -> None:
    once = version.signals(CANDLES, BEGIN, 1200)
    assert version.signals(CANDLES, BEGIN, 1200).tolist() == once.tolist()
    shorter = version.signals(CANDLES.iloc[:1100], BEGIN, 1100)
    assert shorter.tolist() == once[:1100].tolist()
    assert len(asked.bars) == 1


@pytest.mark.parametrize("row", [BEGIN - 3, BEGIN + 50])
def test_after_a_revision_everything_is_computed_anew(
    version: DecidingVersion, bundle: StrategyBundle, row: int
) -> None:
    version.signals(CANDLES, BEGIN, 1000)
    revised = CANDLES.copy()
    revised.iloc[row, revised.columns.get_loc("low")] *= 0.8
    said = version.signals(revised, BEGIN, 1100)
    assert said.tolist() == computed(bundle, revised, BEGIN, 1100)
    assert said[:1000].tolist() != version.signals(CANDLES, BEGIN, 1000)[:1000].tolist()


def test_a_candle_that_was_missing_makes_all_others_others(
    version: DecidingVersion, bundle: StrategyBundle
) -> None:
    gap = CANDLES.drop(index=CANDLES.index[BEGIN + 10])
    version.signals(gap, BEGIN, 1000)
    assert version.signals(CANDLES, BEGIN, 1100).tolist() == computed(bundle, CANDLES, BEGIN, 1100)


def test_each_of_its_times_is_remembered(version: DecidingVersion, asked: Asked) -> None:
    for begin, end in ((BEGIN, 1000), (1200, 1300)) * 2:
        version.signals(CANDLES, begin, end)
    assert len(asked.bars) == 2


def test_where_its_time_is_empty_it_says_nothing(version: DecidingVersion, asked: Asked) -> None:
    assert not version.signals(CANDLES, 1000, 1000).any()
    assert asked.bars == []
