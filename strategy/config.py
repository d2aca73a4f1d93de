"""Typed, frozen view of config.json.

Every key has a type and an allowed range; an unknown or out-of-range key raises
:class:`~strategy.errors.ConfigError` naming the key and what is allowed.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from strategy.config_errors import describe
from strategy.errors import ConfigError

Timeframe = Literal["1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d"]
Fraction = Annotated[float, Field(gt=0, lt=1)]
PositiveInt = Annotated[int, Field(ge=1)]


class IndicatorParameters(NamedTuple):
    """One indicator combination; all periods in bars."""

    tenkan_sen: int
    kijun_sen: int
    senkou_span_b: int
    rsi_period: int
    atr_period: int


class Section(BaseModel):
    """A section of config.json: immutable, and refusing keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class PeriodRange(Section):
    """An inclusive arithmetic range of indicator periods, in bars."""

    start: Annotated[int, Field(ge=2, le=500)]
    end: Annotated[int, Field(ge=2, le=500)]
    step: Annotated[int, Field(ge=1, le=500)]

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if self.end < self.start:
            raise ValueError(f"the grid is empty: end {self.end} lies below start {self.start}")
        return self

    @property
    def values(self) -> range:
        return range(self.start, self.end + 1, self.step)


class IchimokuGrid(Section):
    tenkan_sen: PeriodRange
    kijun_sen: PeriodRange
    senkou_span_b: PeriodRange


class PeriodGrid(Section):
    period: PeriodRange


class IndicatorGrid(Section):
    ichimoku: IchimokuGrid
    rsi: PeriodGrid
    atr: PeriodGrid

    def combinations(self) -> Iterator[IndicatorParameters]:
        """Every combination of the grid, in the order of the axes."""
        axes = (
            self.ichimoku.tenkan_sen.values,
            self.ichimoku.kijun_sen.values,
            self.ichimoku.senkou_span_b.values,
            self.rsi.period.values,
            self.atr.period.values,
        )
        return itertools.starmap(IndicatorParameters, itertools.product(*axes))

    @property
    def size(self) -> int:
        return sum(1 for _ in self.combinations())


class FloatRange(Section):
    type: Literal["float"]
    min: Annotated[float, Field(gt=0)]
    max: Annotated[float, Field(gt=0)]
    log: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.max < self.min:
            raise ValueError(f"the range is empty: max {self.max} lies below min {self.min}")
        return self


class IntRange(Section):
    type: Literal["int"]
    min: PositiveInt
    max: PositiveInt
    log: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.max < self.min:
            raise ValueError(f"the range is empty: max {self.max} lies below min {self.min}")
        return self


class LightGBMSpace(Section):
    """The hyperparameters that refinement searches."""

    learning_rate: FloatRange
    num_leaves: IntRange
    min_data_in_leaf: IntRange
    n_estimators: IntRange


class ModelHyperparameters(Section):
    LightGBM: LightGBMSpace
    max_bin: Annotated[int, Field(ge=15, le=255, description="Histogram bins a feature")] = 63


class LightGBMParameters(Section):
    """One point of :class:`LightGBMSpace`."""

    learning_rate: Annotated[float, Field(gt=0, le=1)]
    num_leaves: Annotated[int, Field(ge=2, le=1024)]
    min_data_in_leaf: PositiveInt
    n_estimators: Annotated[int, Field(ge=1, le=10_000)]


class WalkForward(Section):
    history_years: Annotated[int, Field(ge=1, le=20)] = 5
    training_months: Annotated[int, Field(ge=1, le=60)]
    validation_months: Annotated[int, Field(ge=1, le=24)]
    step_months: Annotated[int, Field(ge=1, le=24)]


def _trade_period(value: str) -> str:
    if not re.fullmatch(r"last_[1-9]\d*_trades", value):
        raise ValueError("must read last_<number>_trades, for example last_30_trades")
    return value


TradePeriod = Annotated[
    str,
    AfterValidator(_trade_period),
    Field(json_schema_extra={"pattern": r"^last_[1-9]\d*_trades$"}),
]


class IncubationPromotion(Section):
    """Gate None -> Staging, judged on the confirmation windows."""

    expectancy_threshold: Annotated[float, Field(ge=-1, le=5, description="R per trade")]
    min_trades: PositiveInt
    period: TradePeriod

    @property
    def last_trades(self) -> int:
        return int(self.period.split("_")[1])


class ProductionPromotion(IncubationPromotion):
    """Gate Staging -> Production, judged on paper trades."""

    minimum_duration_months: PositiveInt
    maximum_duration_months: PositiveInt = 6


class Gravedigger(Section):
    """Gate Production -> Archived."""

    minimum_duration_months: PositiveInt
    min_trades: PositiveInt
    expectancy_threshold: Annotated[float, Field(ge=-1, le=5, description="R per trade")]


class CircuitBreaker(Section):
    """Drawdown limits as fractions of the period's opening equity."""

    daily: Fraction
    weekly: Fraction
    monthly: Fraction
    auto_reset_threshold: Fraction
    breakeven_alert_threshold: Fraction


class BreakEven(Section):
    """Bounds of the volatility multiplier that scales ATR into one R."""

    min_multiplier: Annotated[float, Field(gt=0, le=20)]
    max_multiplier: Annotated[float, Field(gt=0, le=20)]
    historical_atr_window: Annotated[int, Field(ge=2, le=2000, description="bars")]

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.max_multiplier < self.min_multiplier:
            raise ValueError(
                f"max_multiplier {self.max_multiplier} lies below "
                f"min_multiplier {self.min_multiplier}"
            )
        return self


class CheckpointConfig(Section):
    checkpoint_interval: Literal["after_each_validation_window"]
    s3_checkpoint_path: Annotated[str, Field(pattern=r"^s3://")]
    max_resume_attempts: Annotated[int, Field(ge=0, le=100)]
    checkpoint_retention_days: PositiveInt

    def in_bucket(self, bucket: str) -> str:
        """``s3_checkpoint_path`` with the bucket that was deployed in place of [BUCKET_NAME]."""
        return self.s3_checkpoint_path.replace("[BUCKET_NAME]", bucket)


class MonteCarlo(Section):
    n_simulations: Annotated[int, Field(ge=10, le=100_000)]
    confidence_level: Fraction
    p_value_threshold: Fraction
    random_seed: Annotated[int, Field(ge=0, lt=2**32)]


class CandlePolicy(Section):
    max_gap_bars: Annotated[int, Field(ge=0, le=10_000, description="longest tolerated gap")] = 24


class Costs(Section):
    """Costs as fractions of the notional, charged on every fill or funding event."""

    fee_per_side: Annotated[float, Field(ge=0, le=0.01)] = 0.0005
    slippage_per_side: Annotated[float, Field(ge=0, le=0.01)] = 0.0001
    funding_per_8h: Annotated[
        float, Field(ge=0, le=0.01, description="paid by longs, not received by shorts")
    ] = 0.0001

    @property
    def per_side(self) -> float:
        """Fee and slippage of one fill, as a fraction of its notional."""
        return self.fee_per_side + self.slippage_per_side


class Pruning(Section):
    enabled: bool = True
    min_windows: PositiveInt = 4
    confidence: Annotated[
        float, Field(gt=0.5, lt=1, description="of the upper bound on pooled expectancy")
    ] = 0.975


class Search(Section):
    """Coverage walks the grid under one set of hyperparameters, refinement spends the rest."""

    max_trials: PositiveInt = 576
    coverage_share: Annotated[float, Field(gt=0, le=1)] = 0.75
    coverage_hyperparameters: LightGBMParameters
    generation_size: PositiveInt = 8
    pruning: Pruning = Pruning()


class Selection(Section):
    confirmation_windows: PositiveInt = 2
    min_trades_per_window: Annotated[int, Field(ge=0)] = 10


class Preflight(Section):
    mode: Literal["warn", "stop", "off"] = "warn"
    n_simulations: Annotated[int, Field(ge=10, le=100_000)] = 200
    entry_probability: Annotated[
        float, Field(gt=0, le=0.5, description="of a buy, and as much again of a sell, per bar")
    ] = 0.25


class Leverage(Section):
    max_leverage: Annotated[float, Field(ge=1, le=20, description="notional over equity")] = 3.0


class Config(Section):
    """config.json, whole."""

    schema_: Annotated[str | None, Field(alias="$schema", exclude=True)] = None
    asset_timeframes: dict[
        Annotated[str, Field(pattern=r"^[A-Z0-9]{3,20}$")],
        Annotated[list[Timeframe], Field(min_length=1)],
    ] = Field(min_length=1)
    indicator_parameters: IndicatorGrid
    model_hyperparameters: ModelHyperparameters
    walk_forward_config: WalkForward
    incubation_promotion: IncubationPromotion
    production_promotion: ProductionPromotion
    gravedigger: Gravedigger
    circuit_breaker: CircuitBreaker
    break_even: BreakEven
    checkpoint_config: CheckpointConfig
    monte_carlo_config: MonteCarlo
    candles: CandlePolicy = CandlePolicy()
    costs: Costs = Costs()
    search: Search
    selection: Selection = Selection()
    preflight: Preflight = Preflight()
    leverage: Leverage = Leverage()

    @model_validator(mode="after")
    def _coverage_inside_the_space(self) -> Self:
        # Refinement learns from coverage, so coverage must be a point of refinement's space.
        for name, point in self.search.coverage_hyperparameters:
            space = getattr(self.model_hyperparameters.LightGBM, name)
            if not space.min <= point <= space.max:
                raise ValueError(
                    f"search.coverage_hyperparameters.{name} = {point} lies outside "
                    f"model_hyperparameters.LightGBM.{name} ({space.min} to {space.max})"
                )
        return self

    @property
    def digest(self) -> str:
        """SHA-256 over the canonical JSON of all sections: equal configs, equal digests."""
        canonical = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    @property
    def markets(self) -> list[tuple[str, str]]:
        """Asset and timeframe of every market that is listed."""
        return [
            (asset, timeframe)
            for asset, timeframes in self.asset_timeframes.items()
            for timeframe in timeframes
        ]

    def require_market(self, asset: str, timeframe: str) -> None:
        """Raise ConfigError unless config.json lists this asset with this timeframe."""
        if asset not in self.asset_timeframes:
            known = ", ".join(sorted(self.asset_timeframes))
            raise ConfigError(
                f"asset_timeframes: unknown asset {asset!r}; config.json lists {known}. "
                "Add it there or pass one of these."
            )
        if timeframe not in self.asset_timeframes[asset]:
            known = ", ".join(self.asset_timeframes[asset])
            raise ConfigError(
                f"asset_timeframes.{asset}: unknown timeframe {timeframe!r}; config.json lists "
                f"{known}. Add it there or pass one of these."
            )


def parse_config(text: str, *, source: str = "config.json") -> Config:
    """Read config.json's text.

    Parameters
    ----------
    text
        JSON text of the whole file.
    source
        Name of the file, for error messages.

    Raises
    ------
    ConfigError
        Naming the line (malformed JSON) or every offending key with its allowed range.
    """
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(
            f"{source}: not valid JSON at line {error.lineno}, column {error.colno}: {error.msg}"
        ) from error
    return config_from(document, source=source)


def config_from(document: Any, *, source: str = "config.json") -> Config:
    """Build a Config from an already parsed JSON document; raises as :func:`parse_config`."""
    try:
        return Config.model_validate(document)
    except ValidationError as error:
        schema = json_schema()
        problems = "\n".join(f"  {describe(detail, schema)}" for detail in error.errors())
        raise ConfigError(f"{source}: {error.error_count()} invalid key(s)\n{problems}") from error


def json_schema() -> dict[str, Any]:
    """JSON Schema of config.json, generated from these types (checked in as config.schema.json)."""
    schema = Config.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "config.json of the quantitative trading system"
    return schema
