"""A retrain, step by step: judged by its twin, registered, put in the incumbent's place.

Each step may be broken off and repeated, and what has happened says where to go on: a version
that is in the stage already is only completed, a run that was begun is taken up, and a fit that
is made again gives the same model, which is registered once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from registry.bundle import StrategyBundle
from registry.lifecycle import ALIASED, SUPERSEDED_BY, Lifecycle, Stage, StrategyVersion
from registry.loading import load_bundle
from registry.registration import register, registered_version
from registry.retrain_run import (
    RETRAIN_OF,
    UNTIL,
    RetrainRun,
    begin_retrain,
    find_retrain,
    origin,
    retrain_key,
)
from serving.retraining.market import StrategyMarket, examine
from serving.retraining.material import CAMPAIGN_ID, SYNTHETIC, Material
from serving.retraining.result import ADMITTED, DROPPED, RetrainResult, tell_result
from store.clock import milliseconds
from strategy.candles import open_times, timeframe_delta
from strategy.errors import DataError, FixError, TradingSystemError
from strategy.performance import Summary
from strategy.retraining import compare, retrain_calendar

if TYPE_CHECKING:
    from serving.model_retrainer import Retrainer

WHO = "model_retrainer"
VERDICT, WHY = "verdict", "why"
"""Tags of the run: what came of the retrain, and the figures."""
STALE_BARS = 2
"""By which the candles may lag behind the clock."""
EXAMPLE_BARS = 5


@dataclass(frozen=True)
class Retraining:
    """The retrain of one version of a registered model, for one process at a time.

    Every method raises as :func:`serving.model_retrainer.retrain`.
    """

    retrainer: Retrainer
    life: Lifecycle
    asset: str
    timeframe: str
    number: int

    @property
    def model(self) -> str:
        """The registered model."""
        return f"{self.asset}-{self.timeframe}"

    def result(self) -> RetrainResult:
        """Carry it out, or go on with it, or find what came of it."""
        client, clock = self.retrainer.client, milliseconds(self.retrainer.clock)
        incumbent = self.life.version(self.number)
        if incumbent.strategy_id is None or incumbent.run_id is None:
            raise FixError(f"{self._named} has no strategy_id: this program did not register it")
        for successor in _successors(self.life.versions(), incumbent):
            _, run = origin(client, f"{successor.run_id}", clock)
            if run and (incumbent.stage is Stage.ARCHIVED or not run.is_finished):
                return self._conclude(run)
        candles = self.retrainer.candles.load(self.asset, self.timeframe)
        end = open_times(candles)[-1] + timeframe_delta(self.timeframe)
        until = f"{end:%Y-%m-%dT%H:%MZ}"
        experiment, run = origin(client, incumbent.run_id, clock)
        if run:
            before = self._conclude(run)  # what a call that got no further has left to do
            if run.tags[UNTIL] == until:
                return before
        key = retrain_key(incumbent.strategy_id, self.number, until)
        run = find_retrain(client, experiment, key, clock)
        if run and run.is_finished:
            return self._conclude(run)
        self._check_stage(incumbent.stage)
        self._check_fresh(end)
        material = self._material(candles)
        run = begin_retrain(
            client,
            experiment,
            key,
            name=f"retrain {end:%Y-%m-%d} of version {self.number}",
            params=material.params(),
            tags=material.run_tags() | {UNTIL: until},
            candles=material.dataset(),
            clock=clock,
        )
        with _ended(run):
            if bundle := self._fitted(run, material):
                self._register(run, material, bundle, incumbent)
            return self._conclude(run)

    def _material(self, candles: pd.DataFrame) -> Material:
        bundle = load_bundle(self.retrainer.client, self.model, self.number)
        config, source = self.retrainer.config, self.retrainer.candles
        calendar = retrain_calendar(
            open_times(candles), self.timeframe, config.walk_forward_config, bundle.training_end
        )
        return Material(bundle, self.number, candles, source, calendar, config)

    def _fitted(self, run: RetrainRun, material: Material) -> StrategyBundle | None:
        """The new model, if its twin is not worse; the figures are on the run then."""
        begun = self.retrainer.clock()
        market = StrategyMarket.of(material.incumbent, material.candles, material.config.costs)
        twin, incumbent = examine(market, material.calendar)
        comparison = compare(twin.r, incumbent.r)
        fitted = None
        if not comparison.worse:
            fitted = material.bundle(market.fit(material.calendar.training))
        run.log(
            metrics={
                **_figures("twin", comparison.twin, twin.log_loss),
                **_figures("incumbent", comparison.incumbent, incumbent.log_loss),
                "p_value": comparison.p_value,
                "seconds": (self.retrainer.clock() - begun).total_seconds(),
            },
            tags={
                VERDICT: ADMITTED if fitted else DROPPED,
                WHY: f"the twin of the retrained model is {comparison.text}",
            },
        )
        return fitted

    def _register(
        self,
        run: RetrainRun,
        material: Material,
        bundle: StrategyBundle,
        incumbent: StrategyVersion,
    ) -> None:
        self._check_stage(self.life.version(self.number).stage)  # it took a while
        synthetic = "SYNTHETIC MARKET, " if material.synthetic else ""
        kept = {CAMPAIGN_ID: incumbent.tags[CAMPAIGN_ID]} if CAMPAIGN_ID in incumbent.tags else {}
        register(
            self.retrainer.client,
            run.run_id,
            bundle,
            model_name=self.model,
            input_example=material.candles.tail(EXAMPLE_BARS),
            description=(
                f"**{self.asset} {self.timeframe} · {synthetic}{material.source.name}**\n\n"
                f"Version {self.number} retrained on {bundle.training_start} to "
                f"{bundle.training_end}, parameters unchanged: {run.tags[WHY]}."
            ),
            tags={
                **kept,
                SYNTHETIC: str(material.synthetic).lower(),
                RETRAIN_OF: self.number,
            },
        )

    def _conclude(self, run: RetrainRun) -> RetrainResult:
        """What is left to do once the verdict is there: the stage, the notice, the run's end."""
        admitted, old = run.tags[VERDICT] == ADMITTED, int(run.tags[RETRAIN_OF])
        client = self.retrainer.client
        new = registered_version(client, self.model, run.run_id) if admitted else None
        result = RetrainResult(self.model, old, run.tags[VERDICT], new, run.tags[WHY], run.run_id)
        if not run.is_finished:
            if new is not None and not self._placed_by_hand(old, new):
                self.life.supersede(old, new, who=WHO, why=result.why)
            trading = self.life.version(old if new is None else new)
            tell_result(self.retrainer, run, result, trading.stage)
            run.finish("FINISHED", result.why)
        return result

    def _placed_by_hand(self, old: int, new: int) -> bool:
        """Whether a person has made the exchange that an interrupted call did not come to."""
        before, after = self.life.version(old), self.life.version(new)
        ours = before.tags.get(SUPERSEDED_BY) == str(new)
        return after.stage in ALIASED and before.stage not in ALIASED and not ours

    @property
    def _named(self) -> str:
        return f"{self.model} version {self.number}"

    def _check_stage(self, stage: Stage) -> None:
        if stage not in ALIASED:
            raise FixError(
                f"{self._named} is in stage {stage}: only what is in Staging or Production is "
                "retrained"
            )

    def _check_fresh(self, end: pd.Timestamp) -> None:
        now = pd.Timestamp(self.retrainer.clock())
        if now - end > STALE_BARS * timeframe_delta(self.timeframe):
            raise DataError(
                f"{self.retrainer.candles.name}: the {self.timeframe} candles of {self.asset} end "
                f"at {end}, and it is {now:%Y-%m-%d %H:%M}: download them (data_downloader, or "
                "python -m store.download), then ask for the retrain again"
            )


def _successors(
    versions: Sequence[StrategyVersion], incumbent: StrategyVersion
) -> list[StrategyVersion]:
    """Its retrains that are beside it in its stage or have taken its place; newest first."""
    retrains = [each for each in versions if each.tags.get(RETRAIN_OF) == str(incumbent.number)]
    if incumbent.stage in ALIASED:
        return [each for each in retrains if each.stage is incumbent.stage]
    by = incumbent.tags.get(SUPERSEDED_BY)
    return [each for each in retrains if str(each.number) == by and each.stage is not Stage.NONE]


def _figures(whose: str, trades: Summary, log_loss: float) -> Mapping[str, float]:
    figures = {**trades._asdict(), "log_loss": log_loss}
    return {f"{whose}_{name}": value for name, value in figures.items() if math.isfinite(value)}


@contextmanager
def _ended(run: RetrainRun) -> Iterator[None]:
    """Never leave a run RUNNING in MLflow that no process works on."""
    try:
        yield
    except BaseException as error:
        try:
            run.finish("FAILED", f"{type(error).__name__}: {error}")
        except TradingSystemError as second:  # the store is often what failed in the first place
            error.add_note(f"and its run {run.run_id} is still marked as running: {second}")
        raise
