"""The model beside random entries, window by window."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from strategy.config import MonteCarlo, config_from
from tests.campaign_place import small_config
from tests.strategy_bundles import random_candles
from training.random_entries import RandomEntries
from training.random_signal_simulator import Simulation
from training.research.chance import by_window, conclusion, luck, whole, window_figure
from training.walk_forward import PreparedMarket

CONFIG = config_from(small_config(), source="a test")
RULE: MonteCarlo = CONFIG.monte_carlo_config


def windows_of(*beaten: float) -> pd.DataFrame:
    starts = pd.date_range("2024-01-01", periods=len(beaten), freq="QS", tz="UTC")
    table = pd.DataFrame(
        {
            "start": starts,
            "expectancy": 0.2,
            "mean": 0.0,
            "low": -0.1,
            "high": 0.1,
            "beaten": beaten,
        },
        index=pd.RangeIndex(1, len(beaten) + 1, name="window"),
    )
    return table


def simulation_of(expectancies: list[float], beaten: float) -> Simulation:
    known = np.array(expectancies)
    entries = RandomEntries(
        known, known, known, known, known, np.zeros((len(known), 2), np.float32)
    )
    return Simulation(entries, pd.DatetimeIndex([]), beaten, 0.0)


def test_luck_is_how_probable_as_many_good_windows_are_with_entries_at_random() -> None:
    # Three of four, by the toss of a coin: 4 of 16 ways, and 1 of 16 for all four.
    assert luck(windows_of(0.9, 0.6, 0.51, 0.2)) == (4, 3, pytest.approx(5 / 16))


def test_a_window_without_a_trade_does_not_count() -> None:
    assert luck(windows_of(0.9, math.nan, 0.8)) == (2, 2, pytest.approx(1 / 4))
    windows, better, probability = luck(windows_of(math.nan))
    assert (windows, better) == (0, 0)
    assert math.isnan(probability)


@pytest.mark.parametrize(
    ("beaten", "windows", "verdict"),
    [
        (0.99, [0.9] * 5, "would not have done as well"),  # 1 in 32
        (0.99, [0.9] * 4, "one of the two tests is not met"),  # 1 in 16
        (0.9, [0.9] * 5, "one of the two tests is not met"),
        (0.9, [0.9, 0.1], "may well have done as well"),
    ],
)
def test_the_verdict_needs_the_whole_and_the_windows(
    beaten: float, windows: list[float], verdict: str
) -> None:
    text = conclusion(simulation_of([0.1, -0.1], beaten), windows_of(*windows), RULE)
    assert verdict in text.splitlines()[-1]


def test_the_sentences_count_windows_and_quote_the_gate() -> None:
    text = conclusion(simulation_of([0.1, 0.3], 0.5), windows_of(0.99, 0.6, 0.1), RULE)
    assert "beats 50.0% of 2 random simulations" in text
    assert "most of them in 2 of 3 windows, and more than 95% of them in 1" in text
    assert "made +0.200 R a trade on average, and 100.0% of the simulations gained" in text
    assert "the gate fails" in text  # two simulations prove no mean
    carried = conclusion(simulation_of([0.1, 0.11, 0.12], 0.5), windows_of(0.6), RULE)
    assert "carry even random entries" in carried


def test_each_window_is_simulated_alone_with_its_own_signals_and_trades() -> None:
    market = PreparedMarket(random_candles(365 * 24), "1h", CONFIG)
    first, second = (window.number for window in market.windows[:2])
    bars = [each.validation_end - each.train_end for each in market.windows[:2]]
    signals = {first: (bars[0] // 4, bars[0] // 2, bars[0] // 4), second: (0, bars[1], 0)}
    trades = pd.DataFrame({"window": [first, first], "r": [90.0, 110.0]})
    table = by_window(market, 7, signals, trades)
    assert table.index.tolist() == [first, second]
    assert table["trades"].tolist() == [2, 0]
    assert table.loc[first, ["expectancy", "beaten"]].tolist() == [100.0, 1.0]
    assert table.loc[first, "low"] < table.loc[first, "mean"] < table.loc[first, "high"]
    # No signal: neither the model nor any simulation trades there.
    assert table.loc[second, ["expectancy", "mean", "low", "high", "beaten"]].isna().all()
    together = whole(market, 7, signals, trades)
    assert together.entries.mean_expectancy == pytest.approx(table.loc[first, "mean"])
    assert len(window_figure(table, subtitle="a test").axes[0].get_xticks()) == 2


def test_a_figure_of_no_windows_says_so() -> None:
    figure = window_figure(windows_of(), subtitle="a test")
    assert figure.axes[0].texts[0].get_text() == "no windows"
