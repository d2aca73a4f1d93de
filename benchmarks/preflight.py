"""The preflight's default grid: seconds, and what it shares beside asking for cell after cell.

python -m benchmarks.preflight [--candles PATH]
"""

from __future__ import annotations

import time

from benchmarks._common import TIMEFRAME, load_market, show
from strategy.config import BreakEven
from training.preflight import Scenario, estimate
from training.preflight_command import MAKER_FEE, MULTIPLIERS, TIMEFRAMES
from training.preflight_grid import Grid, evaluate

SAMPLED = 8
"""One cell in so many is also estimated alone."""


def main() -> None:
    candles, config = load_market(__doc__, "1 minute")
    simulations = config.monte_carlo_config.n_simulations
    alone = config.model_copy(
        update={"preflight": config.preflight.model_copy(update={"n_simulations": simulations})}
    )
    window = config.break_even.historical_atr_window
    grid = Grid(
        TIMEFRAMES,
        tuple(
            BreakEven(min_multiplier=low, max_multiplier=high, historical_atr_window=window)
            for low, high in MULTIPLIERS
        ),
        tuple(config.indicator_parameters.atr.period.values),
        (0.0, MAKER_FEE, config.costs.fee_per_side),
    )
    start = time.perf_counter()
    cells = list(evaluate(candles, TIMEFRAME, grid, config))
    seconds = time.perf_counter() - start

    start = time.perf_counter()
    differ = 0
    for cell in cells[::SAMPLED]:
        timeframe, rule, period = cell.rules
        costs = config.costs.model_copy(update={"fee_per_side": cell.fee})
        scenario = Scenario("alone", timeframe, period, rule, costs)
        differ += estimate(candles, TIMEFRAME, alone, scenario).passes != cell.passes
    each = (time.perf_counter() - start) / len(cells[::SAMPLED])

    print(f"{grid.size} cells of {simulations:,} simulations, one process:")
    show("the whole grid", f"{seconds:.1f} s", "<= 60 s", seconds <= 60)
    show("a cell", f"{1000 * seconds / grid.size:.0f} ms")
    show("a cell estimated alone, as a campaign's preflight does", f"{1000 * each:.0f} ms")
    show(
        "alone over shared",
        f"{each * grid.size / seconds:.1f}",
        ">= 3",
        each * grid.size >= 3 * seconds,
    )
    show("verdicts that differ between the two", f"{differ}", "0", differ == 0)


if __name__ == "__main__":
    main()
