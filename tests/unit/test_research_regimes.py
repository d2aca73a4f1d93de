"""Of which kind a market is at each bar."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from training.research.regimes import REGIMES, Regime, of_kind, regimes


def candles_of(returns: list[float]) -> pd.DataFrame:
    """Candles whose closes move by these logarithmic returns."""
    closes = 100 * np.exp(np.cumsum([0.0, *returns]))
    index = pd.date_range("2024-01-01", periods=len(closes), freq="h", tz="UTC")
    return pd.DataFrame({"close": closes}, index=index)


def names(kind: str, candles: pd.DataFrame, span: int) -> list[str]:
    """The regime of each bar; a dash for none."""
    masks = regimes(candles, span)
    return [
        "".join(each.name for each in of_kind(kind) if masks[each][bar]) or "-"
        for bar in range(len(candles))
    ]


def test_a_trend_is_a_move_beyond_that_of_a_random_walk() -> None:
    # Over four returns of size s the volatility is s: a random walk moves by 2 s, one that goes
    # on by 4 s, and one that turns half way by nothing.
    candles = candles_of([0.01] * 4 + [-0.01] * 4)
    said = names("trend", candles, span=4)
    assert said[:4] == ["-"] * 4
    assert said[4] == "rising"
    assert said[6] == "sideways"
    assert said[8] == "falling"


def test_a_move_of_just_a_random_walks_size_is_sideways() -> None:
    # Three up, one down: moved by 2 s, which is 1 in units of s times the root of 4.
    assert names("trend", candles_of([0.01, 0.01, 0.01, -0.01]), span=4)[4] == "sideways"


def test_volatility_is_split_into_thirds_by_the_last_returns() -> None:
    # Root mean squares over 2: .01, then (.01, .02), .02, (.02, .03), .03.
    candles = candles_of([0.01, -0.01, 0.02, -0.02, 0.03, -0.03])
    said = names("volatility", candles, span=2)
    assert said == ["-", "-", "calm", "calm", "usual", "wild", "wild"]


def test_a_bar_just_on_the_border_of_a_third_is_usual() -> None:
    said = names("volatility", candles_of([0.01, 0.02, 0.03, 0.04]), span=1)
    assert said == ["-", "calm", "usual", "usual", "wild"]


def test_where_the_price_stands_still_a_bar_is_of_no_regime() -> None:
    masks = regimes(candles_of([0.0] * 10), span=4)
    assert not any(mask.any() for mask in masks.values())


@pytest.mark.parametrize("bars", [0, 1, 3])
def test_a_history_shorter_than_the_span_has_no_regimes(bars: int) -> None:
    candles = candles_of([0.01] * 5).iloc[:bars]
    assert not any(mask.any() for mask in regimes(candles, span=4).values())


def test_no_bar_is_of_two_regimes_of_a_kind_and_a_random_walk_is_sideways_in_two_of_three() -> None:
    returns = np.random.default_rng(3).normal(0, 0.01, 20_000)
    masks = regimes(candles_of(returns.tolist()))
    for kind in ("volatility", "trend"):
        of = np.sum([masks[each] for each in of_kind(kind)], axis=0)
        assert of.max() == 1
        assert of[48:].all()
    assert masks[Regime("trend", "sideways")].mean() == pytest.approx(0.68, abs=0.05)
    assert masks[Regime("volatility", "calm")].mean() == pytest.approx(1 / 3, abs=0.01)
    assert list(masks) == list(REGIMES)
