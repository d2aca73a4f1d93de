"""A window's evaluation is a pure function that sees nothing beyond its window."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from registry.fitting import predict
from store.synthetic import synthetic_candles
from strategy import training_set
from strategy.config import Config, IndicatorParameters, LightGBMParameters, config_from
from strategy.errors import DataError
from strategy.windows import Window
from training.walk_forward import PreparedMarket, TrialParameters, WindowResult

START = pd.Timestamp("2024-01-01", tz="UTC")
PARAMETERS = TrialParameters(
    IndicatorParameters(9, 26, 52, 7, 7),
    LightGBMParameters(learning_rate=0.1, num_leaves=7, min_data_in_leaf=20, n_estimators=10),
)


def config() -> Config:
    document = json.loads((Path(__file__).parents[2] / "config.json").read_text())
    document["walk_forward_config"] = {
        "history_years": 1, "training_months": 2, "validation_months": 1, "step_months": 1,
    }  # fmt: skip
    document["break_even"]["historical_atr_window"] = 50
    return config_from(document)


@cache
def candles() -> pd.DataFrame:
    return synthetic_candles(np.random.default_rng(11), 24 * 244, START)


@cache
def market() -> PreparedMarket:
    return PreparedMarket(candles(), "1h", config())


def changed_from(bar: int) -> PreparedMarket:
    """The same market up to a bar, and quite another one from it on."""
    frame = candles().copy()
    later = frame.index[bar:]
    scale = np.linspace(1.5, 3.0, len(later))[:, None]
    frame.loc[later, ["open", "high", "low", "close"]] *= scale
    frame.loc[later, "high"] *= 1.01
    frame.loc[later, "volume"] *= 7
    return PreparedMarket(frame, "1h", config())


def same(one: WindowResult, other: WindowResult) -> bool:
    return (one.trades == other.trades).all() and one.signal_counts == other.signal_counts


def test_the_same_window_evaluated_again_gives_the_same_trades() -> None:
    window = market().windows[2]
    fresh = PreparedMarket(candles(), "1h", config())
    one, other = market().evaluate(PARAMETERS, window), fresh.evaluate(PARAMETERS, window)
    assert len(one.trades) > 10
    assert same(one, other)
    assert one.log_loss == other.log_loss


def test_no_candle_after_a_window_changes_anything_in_it() -> None:
    window = market().windows[1]
    before = market().evaluate(PARAMETERS, window)
    after = changed_from(window.validation_end).evaluate(PARAMETERS, window)
    assert len(before.trades) > 10
    assert same(before, after)


def test_no_validation_candle_reaches_the_model() -> None:
    window = market().windows[1]
    changed = changed_from(window.train_end)
    models = [
        each.fit(PARAMETERS, window.train_start, window.train_end).model_to_string()
        for each in (market(), changed)
    ]
    assert models[0] == models[1]


def test_without_the_purge_validation_candles_would_reach_the_model(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The test above can fail: it does as soon as labels may end after their window."""

    def unpurged(usable: np.ndarray, resolved: np.ndarray, start: int, end: int) -> np.ndarray:
        return start + np.flatnonzero(usable[start:end])

    window = market().windows[1]
    monkeypatch.setattr(training_set, "training_rows", unpurged)
    models = [
        each.fit(PARAMETERS, window.train_start, window.train_end).model_to_string()
        for each in (market(), changed_from(window.train_end))
    ]
    assert models[0] != models[1]


def test_signals_and_stop_distances_are_unchanged_by_later_candles() -> None:
    bar = market().windows[3].train_end
    booster = market().fit(PARAMETERS, market().windows[0].train_start, bar - 500)
    signals = []
    distances = []
    for each in (market(), changed_from(bar)):
        matrix, usable = each.features(PARAMETERS.indicators)
        signals.append(predict(booster, matrix[:bar][usable[:bar]]))
        distances.append(each.stop_distance(7)[:bar])
    np.testing.assert_array_equal(*signals)
    np.testing.assert_array_equal(*distances)


def test_no_training_label_ends_after_its_window() -> None:
    for window in market().windows:
        rows = np.flatnonzero(market().features(PARAMETERS.indicators).usable)
        inside = rows[(rows >= window.train_start) & (rows < window.train_end)]
        _, resolved = market().labels(7)
        features, label = market().training_set(
            PARAMETERS.indicators, window.train_start, window.train_end
        )
        assert len(features) == len(label) == (resolved[inside] < window.train_end).sum()
        assert len(features) < len(inside)  # there is always something to purge


def test_counts_cover_every_validation_bar_and_the_confusion_only_known_labels() -> None:
    for window in (market().windows[0], market().windows[-1]):
        result = market().evaluate(PARAMETERS, window)
        bars = window.validation_end - window.train_end
        assert sum(result.signal_counts) == bars
        _, resolved = market().labels(7)
        known = resolved[window.train_end : window.validation_end] < len(candles())
        assert result.confusion.sum() == known.sum()
    assert known.sum() < bars  # the newest labels are not known yet


def test_bars_without_probabilities_are_neutral() -> None:
    window = market().windows[0]
    bars = window.validation_end - window.train_end
    probabilities = np.full((bars, 3), np.nan)
    probabilities[100] = (0.1, 0.2, 0.7)
    result = market().validate(PARAMETERS, window, probabilities)
    assert result.signal_counts == (0, bars - 1, 1)
    (trade,) = result.trades
    assert (trade["decision_bar"], trade["side"]) == (window.train_end + 100, 1)
    assert result.confusion.sum() == 1


def test_too_few_training_rows_name_the_window() -> None:
    start = market().windows[0].train_start
    with pytest.raises(DataError, match=r"training window 2024-.* usable rows after warm-up"):
        market().fit(PARAMETERS, start, start + 700)


def test_windows_know_nothing_of_each_other() -> None:
    window: Window = market().windows[-1]
    alone = PreparedMarket(candles(), "1h", config()).evaluate(PARAMETERS, window)
    for each in market().windows:
        market().evaluate(PARAMETERS, each)
    assert same(alone, market().evaluate(PARAMETERS, window))
