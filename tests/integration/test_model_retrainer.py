"""A strategy's model is fitted anew, judged by its twin, and put in the incumbent's place."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from registry.lifecycle import Stage
from registry.loading import load_bundle
from registry.retrain_run import origin
from serving.retraining import market as retrain_market
from store.clock import milliseconds
from strategy.errors import ConfigError, DataError, FixError, RetryError
from tests.retrain_world import (
    BY_MARKET,
    EVENT,
    FOUND,
    MISLEADING,
    MODEL,
    RETRAINED,
    RetrainWorld,
    at,
    config,
    copy_of,
    found_strategy,
    moved_by_a_person,
    register_as_campaign,
)


@pytest.fixture(scope="module")
def in_production(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return found_strategy(tmp_path_factory.mktemp("production"), Stage.PRODUCTION)


@pytest.fixture(scope="module")
def in_staging(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return found_strategy(tmp_path_factory.mktemp("staging"), Stage.STAGING)


@pytest.fixture
def world(in_production: Path, tmp_path: Path) -> RetrainWorld:
    return RetrainWorld(copy_of(in_production, tmp_path))


@pytest.fixture
def misled(in_production: Path, tmp_path: Path) -> RetrainWorld:
    return RetrainWorld(copy_of(in_production, tmp_path), MISLEADING)


@pytest.fixture
def no_fit(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From when it is called on, nothing can be trained."""

    def training(*_: Any, **__: Any) -> None:
        raise AssertionError("it was trained again")

    return lambda: monkeypatch.setattr(retrain_market, "fit", training)


def test_a_retrain_that_is_not_worse_takes_the_place_of_the_incumbent(world: RetrainWorld) -> None:
    result = world.retrain()
    assert (result.verdict, result.retrain_of, result.version) == ("admitted", 1, 2)
    assert world.stages == {2: "Production", 1: "Archived"}
    old, new = world.version(1), world.version(2)
    assert old.tags["superseded_by"] == "2"
    assert old.tags["archived.why"] == f"superseded by version 2: {result.why}"
    assert new.tags["production.by"] == "model_retrainer"
    assert new.tags["retrain_of"] == "1"
    assert new.strategy_id == old.strategy_id == f"{MODEL}-c0ffee"
    assert (new.tags["synthetic"], new.tags["campaign_id"]) == ("true", "c0ffee")
    assert new.run_id == result.run_id


def test_the_model_is_the_one_that_a_campaign_would_register_on_these_candles(
    world: RetrainWorld, tmp_path: Path
) -> None:
    world.retrain()
    register_as_campaign(world.client, tmp_path, world.candles.held, "c0ffee2")
    retrained, found = (load_bundle(world.client, MODEL, number) for number in (2, 3))
    assert retrained.booster_text == found.booster_text
    assert retrained.training_end == RETRAINED
    explained = {"metadata": retrained.metadata, "strategy_id": retrained.strategy_id}
    assert dataclasses.replace(found, **explained).digest == retrained.digest


def test_what_was_known_of_the_strategy_is_kept(world: RetrainWorld) -> None:
    world.retrain()
    before, after = (load_bundle(world.client, MODEL, number) for number in (1, 2))
    assert before.metadata == after.metadata
    assert after.metadata["synthetic"] is True
    assert before.booster_text != after.booster_text
    fitted = {"training_start", "training_end", "data_digest", "code_version", "booster_text"}
    for field in dataclasses.fields(before):
        if field.name not in fitted:
            assert getattr(before, field.name) == getattr(after, field.name), field.name
    assert before.training_end == FOUND


def test_the_retrain_is_a_run_of_the_markets_experiment(world: RetrainWorld) -> None:
    result = world.retrain()
    (run,) = world.runs
    assert (run.info.run_id, run.info.status) == (result.run_id, "FINISHED")
    metrics, tags = run.data.metrics, run.data.tags
    for whose in ("twin", "incumbent"):
        assert metrics[f"{whose}_trades"] > 50
        assert 0 < metrics[f"{whose}_log_loss"] < math.log(3)
    assert metrics["p_value"] > 0.05
    assert metrics["seconds"] >= 0
    assert (tags["verdict"], tags["retrain_of"], tags["synthetic"]) == ("admitted", "1", "true")
    assert tags["twin_start"] == "2025-06-01T00:00Z"
    assert tags["examination_start"] == "2025-08-01T00:00Z"
    assert tags["training_start"] == "2025-07-01T00:00Z"
    assert (run.data.params["atr_period"], run.data.params["num_leaves"]) == ("7", "7")
    (dataset,) = run.inputs.dataset_inputs
    assert tags["data_digest"].startswith(dataset.dataset.digest)


def test_a_figure_that_is_logged_again_keeps_its_first_value(world: RetrainWorld) -> None:
    run_id = world.retrain().run_id
    _, run = origin(world.client, run_id, milliseconds(world.retrainer.clock))
    assert run is not None
    run.log(metrics={"seconds": 7.0}, tags={})
    assert [each.value for each in world.client.get_metric_history(run_id, "seconds")] == [0.0]


def test_the_incumbent_is_judged_on_what_it_has_not_seen(world: RetrainWorld) -> None:
    """Its own trades, made again: those of its model over the last month."""
    result = world.retrain()
    bundle = load_bundle(world.client, MODEL, 1)
    market = retrain_market.StrategyMarket.of(bundle, world.candles.held, config().costs)
    start = market.index.get_loc(pd.Timestamp("2025-08-01", tz="UTC"))
    traded = market.trade(bundle.booster, (start, len(market.index)))
    (run,) = world.runs
    assert run.data.metrics["incumbent_expectancy"] == pytest.approx(traded.r.mean())
    assert f"{traded.r.mean():+.2f} R a trade over {len(traded.r)}" in result.why


def test_a_retrain_that_is_worse_is_dropped_and_the_incumbent_stays(misled: RetrainWorld) -> None:
    result = misled.retrain()
    assert (result.verdict, result.version) == ("dropped", None)
    assert misled.stages == {1: "Production"}
    assert "superseded_by" not in misled.version(1).tags
    (run,) = misled.runs
    assert (run.info.status, run.data.tags["verdict"]) == ("FINISHED", "dropped")
    assert run.data.metrics["p_value"] < 0.05
    assert run.data.metrics["twin_expectancy"] < run.data.metrics["incumbent_expectancy"]


def test_the_operator_is_told_what_came_of_it(world: RetrainWorld) -> None:
    admitted = world.retrain()
    ((subject, text),) = world.told
    assert subject == f"{MODEL}: version 2 takes the place of version 1, retrained"
    assert admitted.why[1:] in text
    assert "Version 2 is in Production, version 1 archived" in text
    assert "planted (synthetic)" in text


def test_the_operator_is_told_that_a_retrain_was_dropped(misled: RetrainWorld) -> None:
    dropped = misled.retrain()
    ((subject, text),) = misled.told
    assert subject == f"{MODEL}: retrain of version 1 dropped"
    assert dropped.why[1:] in text
    assert "Nothing was registered; version 1 stays in Production" in text


def test_a_strategy_in_staging_is_retrained_in_the_same_way(
    in_staging: Path, tmp_path: Path
) -> None:
    world = RetrainWorld(copy_of(in_staging, tmp_path))
    register_as_campaign(world.client, tmp_path, world.candles.held, "another")
    assert world.retrain().version == 3
    assert world.stages == {3: "Staging", 2: "Staging", 1: "Archived"}


@pytest.mark.parametrize("drifts", ["steady", "misleading"])
def test_the_same_event_again_finds_what_came_of_it(
    drifts: str, world: RetrainWorld, no_fit: Callable[[], None], request: pytest.FixtureRequest
) -> None:
    here = world if drifts == "steady" else request.getfixturevalue("misled")
    first, stages = here.retrain(), here.stages
    no_fit()
    here.clock.forward(hours=20)  # when the candles would be stale
    assert here.retrain() == first
    assert here.stages == stages
    assert len(here.told) == len(here.runs) == 1


def test_the_same_event_after_new_candles_finds_what_came_of_it(
    world: RetrainWorld, no_fit: Callable[[], None]
) -> None:
    here = at(world, RETRAINED - timedelta(days=1))
    first = here.retrain()
    no_fit()
    assert at(here, RETRAINED).retrain() == first
    assert len(here.told) == len(here.runs) == 1


def test_a_market_stands_for_its_version_in_production(
    world: RetrainWorld, no_fit: Callable[[], None]
) -> None:
    first = world.retrain(BY_MARKET)
    assert (first.retrain_of, first.version) == (1, 2)
    no_fit()
    assert world.retrain(BY_MARKET) == first


def test_a_retrained_version_is_retrained_in_its_turn(world: RetrainWorld) -> None:
    first = at(world, FOUND + pd.DateOffset(months=1)).retrain()
    second = at(world, RETRAINED).retrain({"model": MODEL, "version": first.version})
    assert (second.retrain_of, second.version) == (2, 3)
    assert world.stages == {3: "Production", 2: "Archived", 1: "Archived"}
    assert world.version(3).tags["campaign_id"] == "c0ffee"


def test_a_dropped_retrain_may_be_tried_again_on_newer_candles(misled: RetrainWorld) -> None:
    assert at(misled, RETRAINED - timedelta(days=1)).retrain().verdict == "dropped"
    assert at(misled, RETRAINED).retrain().verdict == "dropped"
    assert len(misled.runs) == len(misled.told) == 2


def test_a_person_who_takes_a_retrain_back_is_obeyed(world: RetrainWorld) -> None:
    at(world, RETRAINED - timedelta(days=1)).retrain()
    moved_by_a_person(world, "2", "Archived")
    moved_by_a_person(world, "1", "Production")
    assert at(world, RETRAINED).retrain().version == 3
    assert world.stages == {3: "Production", 2: "Archived", 1: "Archived"}


def test_candles_that_lag_behind_the_clock_are_refused(world: RetrainWorld) -> None:
    world.clock.now = RETRAINED.to_pydatetime() + timedelta(hours=2)
    world.candles.until -= pd.Timedelta(hours=1)
    with pytest.raises(DataError, match=r"candles of BTCUSDT end at 2025-08-31 23:00.* download"):
        world.retrain()
    nothing_happened(world)
    world.candles.until = RETRAINED  # two bars are not too many
    assert world.retrain().verdict == "admitted"


def test_a_version_that_a_person_has_archived_is_refused(world: RetrainWorld) -> None:
    moved_by_a_person(world, "1", "Archived")
    with pytest.raises(FixError, match="version 1 is in stage Archived: only what is in Staging"):
        world.retrain()
    assert world.stages == {1: "Archived"}
    assert world.runs == []


def test_a_version_that_a_person_archives_meanwhile_is_refused_before_anything_is_registered(
    world: RetrainWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit = retrain_market.fit

    def fitting(*arguments: Any, **named: Any) -> Any:
        moved_by_a_person(world, "1", "Archived")
        return fit(*arguments, **named)

    monkeypatch.setattr(retrain_market, "fit", fitting)
    with pytest.raises(FixError, match="version 1 is in stage Archived"):
        world.retrain()
    assert world.stages == {1: "Archived"}
    (run,) = world.runs
    assert run.info.status == "FAILED"
    assert "is in stage Archived" in run.data.tags["reason"]
    assert world.told == []


@pytest.mark.parametrize(
    ("event", "error", "named"),
    [
        ({}, DataError, "names no model"),
        ({"model": 7, "version": 1}, DataError, "names no model"),
        (EVENT | {"version": "1"}, DataError, "version '1'"),
        (EVENT | {"version": True}, DataError, "version True"),
        (EVENT | {"version": 9}, FixError, "has no version 9"),
        ({"model": "DOGEUSDT-1h", "version": 1}, ConfigError, "unknown asset 'DOGEUSDT'"),
        ({"model": "BTCUSDT-4h", "version": 1}, ConfigError, "unknown timeframe '4h'"),
    ],
)
def test_an_event_that_means_nothing_is_refused(
    world: RetrainWorld, event: dict[str, Any], error: type[Exception], named: str
) -> None:
    with pytest.raises(error, match=named):
        world.retrain(event)
    nothing_happened(world)


def test_without_a_version_in_production_one_must_be_named(
    in_staging: Path, tmp_path: Path
) -> None:
    world = RetrainWorld(copy_of(in_staging, tmp_path))
    with pytest.raises(FixError, match="has 0 versions in Production: name the version"):
        world.retrain(BY_MARKET)


def test_two_calls_at_once_do_not_retrain_the_same_strategy(
    world: RetrainWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit = retrain_market.fit

    def meanwhile(*arguments: Any, **named: Any) -> Any:
        with pytest.raises(RetryError, match="is being retrained by another call"):
            world.retrain()
        return fit(*arguments, **named)

    monkeypatch.setattr(retrain_market, "fit", meanwhile)
    assert world.retrain().verdict == "admitted"
    assert world.stages == {2: "Production", 1: "Archived"}


def nothing_happened(world: RetrainWorld) -> None:
    assert world.stages == {1: "Production"}
    assert world.runs == []
    assert world.told == []
