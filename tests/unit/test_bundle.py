"""The strategy bundle: saved, loaded, refused, and what it says about candles."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from registry.bundle import BOOSTER_FILE, BUNDLE_FILE, StrategyBundle, _digest
from strategy.errors import DataError, FixError, StoreError
from strategy.features import FEATURE_NAMES, FeatureFactory
from tests.strategy_bundles import INDICATORS, random_candles, trained_bundle


@pytest.fixture(scope="module")
def candles() -> pd.DataFrame:
    return random_candles(1000)


@pytest.fixture(scope="module")
def bundle(candles: pd.DataFrame) -> StrategyBundle:
    return trained_bundle(candles)


def test_a_bundle_reads_back_as_it_was_saved(bundle: StrategyBundle, tmp_path: Path) -> None:
    bundle.save(tmp_path / "new" / "folder")
    loaded = StrategyBundle.load(tmp_path / "new" / "folder")
    assert loaded == bundle
    assert loaded.digest == bundle.digest
    assert loaded.training_start.tz is not None


@pytest.mark.parametrize("carriage", ["\n", "\r\n"])
def test_the_booster_keeps_every_byte(
    bundle: StrategyBundle, tmp_path: Path, carriage: str
) -> None:
    changed = dataclasses.replace(bundle, booster_text=bundle.booster_text.replace("\n", carriage))
    changed.save(tmp_path)
    assert StrategyBundle.load(tmp_path).booster_text == changed.booster_text


def test_the_digest_tells_any_two_bundles_apart(bundle: StrategyBundle) -> None:
    others = [
        dataclasses.replace(bundle, strategy_id="another"),
        dataclasses.replace(bundle, booster_text=bundle.booster_text + " "),
        dataclasses.replace(bundle, indicators=INDICATORS._replace(atr_period=21)),
        dataclasses.replace(bundle, training_end=bundle.training_end + pd.Timedelta(hours=1)),
        dataclasses.replace(bundle, metadata={}),
    ]
    assert len({bundle.digest, *(other.digest for other in others)}) == 1 + len(others)
    assert dataclasses.replace(bundle).digest == bundle.digest


@pytest.mark.parametrize("file", [BUNDLE_FILE, BOOSTER_FILE])
def test_a_file_that_was_changed_after_saving_is_refused(
    bundle: StrategyBundle, tmp_path: Path, file: str
) -> None:
    bundle.save(tmp_path)
    text = (tmp_path / file).read_text()
    (tmp_path / file).write_text(text.replace("0.1", "0.2"))
    with pytest.raises(DataError, match="changed after it was saved"):
        StrategyBundle.load(tmp_path)


def test_a_file_that_was_cut_off_is_refused(bundle: StrategyBundle, tmp_path: Path) -> None:
    bundle.save(tmp_path)
    text = (tmp_path / BUNDLE_FILE).read_text()
    (tmp_path / BUNDLE_FILE).write_text(text[: len(text) // 2])
    with pytest.raises(DataError, match="damaged"):
        StrategyBundle.load(tmp_path)


def test_a_bundle_with_fields_of_another_version_of_the_code_is_refused(
    bundle: StrategyBundle, tmp_path: Path
) -> None:
    bundle.save(tmp_path)
    document = json.loads((tmp_path / BUNDLE_FILE).read_text())
    document.pop("digest")
    document["of_the_future"] = 1
    document["digest"] = _digest(document, bundle.booster_text)
    (tmp_path / BUNDLE_FILE).write_text(json.dumps(document))
    with pytest.raises(DataError, match=r"another version of this code.*of_the_future"):
        StrategyBundle.load(tmp_path)


@pytest.mark.parametrize("file", [BUNDLE_FILE, BOOSTER_FILE])
def test_a_folder_that_lacks_a_file_is_no_bundle(
    bundle: StrategyBundle, tmp_path: Path, file: str
) -> None:
    bundle.save(tmp_path)
    (tmp_path / file).unlink()
    with pytest.raises(StoreError, match=f"{file} is missing"):
        StrategyBundle.load(tmp_path)


@pytest.mark.parametrize(
    ("names", "complaint"),
    [
        ((*FEATURE_NAMES[:-1], "moon_phase"), f"moon_phase; new: {FEATURE_NAMES[-1]}"),
        (FEATURE_NAMES[:-1], f"none; new: {FEATURE_NAMES[-1]}"),
        (
            (FEATURE_NAMES[1], FEATURE_NAMES[0], *FEATURE_NAMES[2:]),
            f"another order: {FEATURE_NAMES[1]}, {FEATURE_NAMES[0]}",
        ),
    ],
)
def test_a_bundle_of_other_features_is_refused_by_their_names(
    bundle: StrategyBundle, tmp_path: Path, names: tuple[str, ...], complaint: str
) -> None:
    dataclasses.replace(bundle, feature_names=names).save(tmp_path)
    with pytest.raises(FixError, match=complaint):
        StrategyBundle.load(tmp_path)


def test_signals_are_the_most_probable_class_and_nan_while_features_warm_up(
    bundle: StrategyBundle, candles: pd.DataFrame
) -> None:
    signals = bundle.signals(candles)
    features = FeatureFactory(candles).matrix(INDICATORS)
    warm_up = np.isnan(features).any(axis=1)
    assert 0 < warm_up.sum() < len(candles)
    assert signals.index.equals(candles.index)
    assert list(signals.columns) == ["signal", "p_sell", "p_neutral", "p_buy"]
    assert (signals.dtypes == np.float64).all()
    assert signals[warm_up].isna().all(axis=None)
    known = signals[~warm_up]
    probabilities = known[["p_sell", "p_neutral", "p_buy"]].to_numpy()
    np.testing.assert_array_equal(probabilities, bundle.booster.predict(features[~warm_up]))
    np.testing.assert_array_equal(known["signal"], probabilities.argmax(axis=1) - 1)
    assert set(known["signal"]) == {-1.0, 0.0, 1.0}


def test_candles_too_few_for_one_feature_row_give_no_signal(
    bundle: StrategyBundle, candles: pd.DataFrame
) -> None:
    assert bundle.signals(candles.head(10)).isna().all(axis=None)


def test_the_last_signal_needs_no_more_than_the_required_history(
    bundle: StrategyBundle, candles: pd.DataFrame
) -> None:
    full = bundle.signals(candles).iloc[-1]
    short = bundle.signals(candles.tail(bundle.required_history)).iloc[-1]
    assert short["signal"] == full["signal"]
    np.testing.assert_allclose(short, full, rtol=1e-9)


def test_a_bundle_is_registered_under_its_market(bundle: StrategyBundle) -> None:
    assert bundle.model_name == "BTCUSDT-1h"
