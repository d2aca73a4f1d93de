"""What the preflight's grid has shown: a table for the screen, one for a file, and a heat map."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import CenteredNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from rich import box
from rich.table import Table

from strategy.config import BreakEven, Config
from training.preflight_grid import Cell, ExitRules, Grid
from training.report import FAINT, GRID, INK, titled_figure

COLOURS = "RdBu"
DARK = 0.62
"""Share of the colour scale beyond which its colours are too dark for dark letters."""
BEST = 15
"""Rows of the table on the screen; the file has all."""
PASSED = "#1a7f37"


def cells_frame(cells: Sequence[Cell]) -> pd.DataFrame:
    """Every cell as a row, in the grid's order."""
    return pd.DataFrame(
        {
            "timeframe": cell.rules.timeframe,
            "min_multiplier": cell.rules.break_even.min_multiplier,
            "max_multiplier": cell.rules.break_even.max_multiplier,
            "atr_period": cell.rules.atr_period,
            "fee_per_side": cell.fee,
            "mean_expectancy": cell.mean_expectancy,
            "share_positive": cell.share_positive,
            "p_value": cell.p_value,
            "trades_per_window": cell.trades_per_window,
            "fee_limit": cell.fee_limit,
            "passes": cell.passes,
        }
        for cell in cells
    )


def best_rules(cells: Sequence[Cell]) -> list[list[Cell]]:
    """Cells by exit rules, best rules first, each with its fees from low to high.

    Best is what passes under most of the fees, and then what does best under the highest.
    """
    by_rules: dict[ExitRules, list[Cell]] = {}
    for cell in cells:
        by_rules.setdefault(cell.rules, []).append(cell)
    rows = [sorted(row, key=lambda cell: cell.fee) for row in by_rules.values()]
    return sorted(rows, key=_merit, reverse=True)


def _merit(row: list[Cell]) -> tuple[int, float, float]:
    dearest = row[-1]
    return sum(cell.passes for cell in row), dearest.share_positive, dearest.fee_limit


def grid_table(cells: Sequence[Cell], config: Config) -> Table:
    """The best exit rules, one a row, with mean R and share of positive simulations by fee."""
    rule, minimum = config.monte_carlo_config, config.selection.min_trades_per_window
    rows = best_rules(cells)
    shown = rows[:BEST]
    table = Table(
        title=f"The best {len(shown)} of {len(rows)} exit rules: mean R of random entries, and "
        "share of positive simulations",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        caption_justify="left",
        caption=(
            "Fees are per side. "
            f"[green]Passes[/]: more than {rule.confidence_level:.0%} of {rule.n_simulations:,} "
            f"simulations positive, mean above 0 with p < {rule.p_value_threshold:g}. Below the "
            "fee limit enough simulations are positive. Slippage of "
            f"{_percent(config.costs.slippage_per_side)} a side and funding are charged in all. "
            f"[yellow]Few[/]: a campaign asks for {minimum} trades a window, which even entries "
            "at every other bar do not reach. All rules are tried on one price path, so the best "
            "of them flatters: trust rules whose neighbours pass as well."
        ),
    )
    for heading in ("timeframe", "multiplier", "ATR", "trades/window", "fee limit"):
        table.add_column(heading, justify="right", no_wrap=True)
    for cell in rows[0]:
        table.add_column(f"fee {_percent(cell.fee)}", justify="right", no_wrap=True)
    for row in shown:
        first = row[0]
        trades = f"{first.trades_per_window:,.1f}"
        table.add_row(
            first.rules.timeframe,
            multiplier_name(first.rules.break_even),
            str(first.rules.atr_period),
            f"[yellow]{trades}[/]" if first.trades_per_window < minimum else trades,
            f"{first.fee_limit:.3%}" if first.fee_limit > 0 else "none",
            *(f"[green]{_figures(cell)}[/]" if cell.passes else _figures(cell) for cell in row),
        )
    return table


def heat_map(cells: Sequence[Cell], grid: Grid, config: Config, *, subtitle: str) -> Figure:
    """Mean R of random entries by exit rules, one panel a fee; what passes the gate is framed."""
    known = {(cell.rules, cell.fee): cell for cell in cells}
    groups, periods = [*_rows(grid)], grid.atr_periods
    width = max(9.0, 2.2 + len(grid.fees) * max(2.4, 1.02 * len(periods)))
    figure = titled_figure(
        "What would pass: random entries under other exit rules, by fee",
        subtitle,
        size=(width, max(4.4, 2.4 + 0.29 * len(groups))),
    )
    largest = max((abs(c.mean_expectancy) for c in cells if c.trades_per_window), default=0.0)
    norm = CenteredNorm(0.0, halfrange=largest or 1.0)
    panels = figure.subplots(1, len(grid.fees), sharey=True, squeeze=False)[0]
    for axes, fee in zip(panels, grid.fees, strict=True):
        shown = [
            [known[ExitRules(timeframe, rule, period), fee] for period in periods]
            for timeframe, rule in groups
        ]
        _panel(axes, shown, norm, config)
        passing = sum(cell.passes for row in shown for cell in row)
        axes.set_title(
            f"fee {_percent(fee)} a side: {passing} of {len(groups) * len(periods)} pass",
            fontsize=10, color=INK,
        )  # fmt: skip
        axes.set_xticks(range(len(periods)), [str(period) for period in periods])
        axes.set_xlabel("ATR period (bars)", fontsize=9, color=INK)
    names = [
        f"{timeframe}    {multiplier_name(rule)}"
        if rule == grid.break_evens[0]
        else multiplier_name(rule)
        for timeframe, rule in groups
    ]
    panels[0].set_yticks(range(len(groups)), names)
    panels[0].set_ylabel("timeframe and multiplier", fontsize=9, color=INK)
    colourbar = figure.colorbar(
        ScalarMappable(norm, COLOURS), ax=panels.tolist(), aspect=45, pad=0.01
    )
    colourbar.set_label("net R per trade", fontsize=9, color=INK)
    colourbar.ax.tick_params(labelsize=8, labelcolor=INK)
    rule, minimum = config.monte_carlo_config, config.selection.min_trades_per_window
    note = (
        "Mean net R per trade and share of positive simulations. Framed: passes the Monte Carlo "
        f"gate (more than {rule.confidence_level:.0%} positive, mean above 0 with p < "
        f"{rule.p_value_threshold:g}). In brackets: fewer than the {minimum} trades a window that "
        "a campaign asks for. One price path for all: one cell that passes among others that "
        "fail may be luck."
    )
    figure.supxlabel(textwrap.fill(note, int(12 * width)), fontsize=8.5, color=FAINT)
    return figure


def multiplier_name(rule: BreakEven) -> str:
    """The range of the multiplier as the command line takes it, for example ``1-1.5``."""
    return f"{rule.min_multiplier:g}-{rule.max_multiplier:g}"


def _rows(grid: Grid) -> list[tuple[str, BreakEven]]:
    return [(timeframe, rule) for timeframe in grid.timeframes for rule in grid.break_evens]


def _panel(axes: Axes, shown: list[list[Cell]], norm: CenteredNorm, config: Config) -> None:
    values = np.array([[cell.mean_expectancy for cell in row] for row in shown])
    axes.set_facecolor(GRID)
    axes.imshow(values, cmap=COLOURS, norm=norm, aspect="auto")
    axes.tick_params(length=0, labelsize=9, labelcolor=INK)
    axes.spines[:].set_visible(False)
    for row, cells in enumerate(shown):
        if row and cells[0].rules.timeframe != shown[row - 1][0].rules.timeframe:
            axes.axhline(row - 0.5, color="white", linewidth=4)
        for column, cell in enumerate(cells):
            few = cell.trades_per_window < config.selection.min_trades_per_window
            axes.text(
                column, row, f"({_figures(cell)})" if few else _figures(cell),
                ha="center", va="center", fontsize=7.5,
                weight="bold" if cell.passes else "normal",
                color="white" if abs(cell.mean_expectancy) > DARK * norm.halfrange else INK,
            )  # fmt: skip
            if cell.passes:
                frame = Rectangle(
                    (column - 0.46, row - 0.42),
                    0.92,
                    0.84,
                    fill=False,
                    edgecolor=PASSED,
                    linewidth=2,
                )
                axes.add_patch(frame)


def _figures(cell: Cell) -> str:
    if not cell.trades_per_window:
        return "no trades"
    return f"{cell.mean_expectancy:+.3f} {cell.share_positive:>4.0%}"


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.4g}%"
