"""Before hours of search are bought: would random entries pass the Monte Carlo gate at all?

Random entries need only the exits and the costs, so the gate that a strategy must pass at
the end can be estimated in seconds at the start, with what would change the answer. Every
campaign begins with it; as a command it tries a whole grid of exit rules and fees::

    python -m training.preflight --candles BTCUSDT-1h.parquet
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
from rich import box
from rich.table import Table

from strategy.candles import resample, timeframe_delta
from strategy.config import BreakEven, Config, Costs
from strategy.costs import charges_on
from strategy.errors import DataError
from strategy.exits import stop_distance
from strategy.indicators import atr, rolling_mean
from strategy.simulate import Bars, outcomes
from strategy.windows import walk_forward_windows
from training.random_entries import EntryWindow, passes_gate, simulate_random_entries


class Scenario(NamedTuple):
    """One set of exit rules and costs to try random entries under."""

    name: str
    timeframe: str
    atr_period: int
    break_even: BreakEven
    costs: Costs


class Estimate(NamedTuple):
    """What the Monte Carlo gate would say of one scenario."""

    scenario: Scenario
    mean_expectancy: float
    """R per trade, over the simulations."""
    share_positive: float
    p_value: float
    trades: float
    """Per simulation, mean."""
    passes: bool


class Preflight(NamedTuple):
    """Estimates under the configured rules, one an ATR period, and under changed ones."""

    configured: tuple[Estimate, ...]
    changed: tuple[Estimate, ...]

    @property
    def passes(self) -> bool:
        """Whether the gate can be passed under at least one configured ATR period."""
        return any(estimate.passes for estimate in self.configured)


def preflight(candles: pd.DataFrame, timeframe: str, config: Config) -> Preflight:
    """Estimate the gate for every ATR period of the grid, and for what would change it."""
    rules, costs = config.break_even, config.costs
    periods = config.indicator_parameters.atr.period.values
    configured = [
        estimate(
            candles, timeframe, config, Scenario(f"ATR {period}", timeframe, period, rules, costs)
        )
        for period in periods
    ]
    middle = periods[len(periods) // 2]
    changed = []
    for scenario in _changes(timeframe, middle, rules, costs):
        try:
            changed.append(estimate(candles, timeframe, config, scenario))
        except DataError:
            continue  # too few candles on the coarser timeframe: nothing to say about it
    return Preflight(tuple(configured), tuple(changed))


def estimate(candles: pd.DataFrame, timeframe: str, config: Config, scenario: Scenario) -> Estimate:
    """Random entries over all validation windows under one scenario."""
    if scenario.timeframe != timeframe:
        candles = resample(candles, timeframe, scenario.timeframe)
    index = pd.DatetimeIndex(candles.index)
    bars = Bars.of(candles)
    windows = walk_forward_windows(index, scenario.timeframe, config.walk_forward_config)
    current = atr(bars.high, bars.low, bars.close, scenario.atr_period)
    rule = scenario.break_even
    distance = stop_distance(current, rolling_mean(current, rule.historical_atr_window), rule)
    charges = charges_on(index, scenario.timeframe, scenario.costs)
    probability = config.preflight.entry_probability
    entries = simulate_random_entries(
        [
            EntryWindow(
                window.train_end,
                *outcomes(
                    bars, distance, charges, start=window.train_end, end=window.validation_end
                ),
                probability,
                probability,
            )
            for window in windows
        ],
        n_simulations=config.preflight.n_simulations,
        seed=config.monte_carlo_config.random_seed,
        equity_bars=np.empty(0, dtype=np.int64),
    )
    return Estimate(
        scenario,
        entries.mean_expectancy,
        entries.share_positive,
        entries.p_value,
        float(entries.trades.mean()),
        passes_gate(entries, config.monte_carlo_config),
    )


def _changes(timeframe: str, period: int, rules: BreakEven, costs: Costs) -> Iterator[Scenario]:
    free = costs.model_copy(
        update={"fee_per_side": 0.0, "slippage_per_side": 0.0, "funding_per_8h": 0.0}
    )
    wide = rules.model_copy(update={"min_multiplier": 2.0, "max_multiplier": 3.0})
    slower = "4h" if timeframe_delta(timeframe) < timeframe_delta("4h") else "1d"
    yield Scenario(f"ATR {period}, no costs", timeframe, period, rules, free)
    yield Scenario(f"ATR {period}, multiplier 2-3", timeframe, period, wide, costs)
    if slower != timeframe:
        yield Scenario(f"ATR {period}, {slower} candles", slower, period, rules, costs)
        yield Scenario(f"ATR {period}, {slower}, multiplier 2-3", slower, period, wide, costs)


def preflight_table(result: Preflight, config: Config) -> Table:
    """The estimates as a table for the screen."""
    rule = config.monte_carlo_config
    table = Table(
        title="Preflight: random entries under the exits and costs of config.json",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        caption_justify="left",
        caption=(
            f"The Monte Carlo gate asks for more than {rule.confidence_level:.0%} positive "
            f"simulations and a mean above 0 with p < {rule.p_value_threshold:g}. "
            f"{config.preflight.n_simulations} simulations a row."
        ),
    )
    for heading in ("rules", "mean R", "positive", "p", "trades", "gate"):
        table.add_column(heading, justify="left" if heading == "rules" else "right")
    for section, estimates in (("", result.configured), ("if: ", result.changed)):
        for each in estimates:
            table.add_row(
                section + each.scenario.name,
                f"{each.mean_expectancy:+.3f}",
                f"{each.share_positive:.0%}",
                f"{each.p_value:.3g}",
                f"{each.trades:,.0f}",
                "[green]passes[/]" if each.passes else "[red]fails[/]",
            )
        table.add_section()
    return table


if __name__ == "__main__":
    from training.preflight_command import main

    sys.exit(main())
