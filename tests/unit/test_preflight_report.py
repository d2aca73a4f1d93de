"""The heat map and the tables must show each cell where its rules and fee say, and mark passes."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import CenteredNorm, to_hex
from matplotlib.figure import Figure
from rich.console import Console

from strategy.config import BreakEven, Config, config_from
from training.preflight_grid import Cell, ExitRules, Grid
from training.preflight_report import PASSED, best_rules, cells_frame, grid_table, heat_map

NARROW = BreakEven(min_multiplier=1.0, max_multiplier=1.5, historical_atr_window=252)
WIDE = BreakEven(min_multiplier=2.0, max_multiplier=3.0, historical_atr_window=252)
GRID = Grid(("1h", "4h"), (NARROW, WIDE), (7, 14, 21), (0.0, 0.0005))


def config() -> Config:
    return config_from(json.loads((Path(__file__).parents[2] / "config.json").read_text()))


def cell(
    timeframe: str = "1h",
    rule: BreakEven = NARROW,
    period: int = 7,
    fee: float = 0.0,
    *,
    mean: float = -0.1,
    share: float = 0.5,
    trades: float = 50.0,
    limit: float = -0.001,
    passes: bool = False,
) -> Cell:
    rules = ExitRules(timeframe, rule, period)
    return Cell(rules, fee, mean, share, 0.5, trades, limit, passes)


def cells(**special: Cell) -> list[Cell]:
    """The whole grid of cells that fail, but for the special ones."""
    instead = {(each.rules, each.fee): each for each in special.values()}
    ordinary = [
        cell(timeframe, rule, period, fee)
        for timeframe in GRID.timeframes
        for period in GRID.atr_periods
        for rule in GRID.break_evens
        for fee in GRID.fees
    ]
    return [instead.get((each.rules, each.fee), each) for each in ordinary]


def drawn(found: list[Cell]) -> Figure:
    return heat_map(found, GRID, config(), subtitle="SYNTHETIC candles, seed 7")


def printed(found: list[Cell]) -> str:
    screen = Console(file=io.StringIO(), width=150)
    screen.print(grid_table(found, config()))
    assert isinstance(screen.file, io.StringIO)
    return screen.file.getvalue()


PASSING = cell("4h", WIDE, 14, 0.0005, mean=0.3, share=0.97, limit=0.0008, passes=True)


def test_every_fee_has_a_panel_that_counts_what_passes_in_it() -> None:
    panels = drawn(cells(passing=PASSING)).axes[:2]
    titles = [axes.get_title() for axes in panels]
    assert titles == ["fee 0% a side: 0 of 12 pass", "fee 0.05% a side: 1 of 12 pass"]


def test_a_cell_that_passes_is_framed_where_it_lies_and_no_other() -> None:
    free, paying = drawn(cells(passing=PASSING)).axes[:2]
    assert not free.patches
    (frame,) = paying.patches
    assert to_hex(frame.get_edgecolor()) == PASSED
    x, y = frame.get_center()
    assert (x, y) == pytest.approx((1, 3))  # the second period, the last of four rows
    bold = [text for text in paying.texts if text.get_weight() == "bold"]
    assert [(text.get_text(), text.get_position()) for text in bold] == [("+0.300  97%", (1, 3))]


def test_the_colours_are_centred_on_0_and_the_same_in_all_panels() -> None:
    images = [axes.images[0] for axes in drawn(cells(passing=PASSING)).axes[:2]]
    for image in images:
        assert isinstance(image.norm, CenteredNorm)
        assert image.norm.vcenter == 0
        assert image.norm.halfrange == pytest.approx(0.3)
    np.testing.assert_allclose(images[1].get_array()[3], [-0.1, 0.3, -0.1])


def test_rows_name_their_timeframe_once_and_their_multipliers_always() -> None:
    labels = [label.get_text() for label in drawn(cells()).axes[0].get_yticklabels()]
    assert [label.split() for label in labels] == [
        ["1h", "1-1.5"],
        ["2-3"],
        ["4h", "1-1.5"],
        ["2-3"],
    ]


def test_few_trades_stand_in_brackets_and_none_are_said_to_be_none() -> None:
    few = cell(period=14, trades=9.9)
    none = cell(period=21, mean=float("nan"), share=0.0, trades=0.0)
    texts = {
        text.get_position(): text.get_text() for text in drawn(cells(a=few, b=none)).axes[0].texts
    }
    assert texts[0, 0] == "-0.100  50%"
    assert texts[1, 0] == "(-0.100  50%)"
    assert texts[2, 0] == "(no trades)"


def test_a_grid_without_any_trades_is_drawn_all_the_same() -> None:
    nothing = Grid(("1h",), (NARROW,), (7,), (0.0,))
    found = [cell(mean=float("nan"), share=0.0, trades=0.0)]
    heat_map(found, nothing, config(), subtitle="-").savefig(io.BytesIO())


def test_the_best_rules_pass_under_most_fees_and_then_do_best_under_the_highest() -> None:
    found = cells(
        free=cell("4h", WIDE, 14, 0.0, mean=0.4, share=0.98, passes=True),
        passing=PASSING,
        only_free=cell("4h", NARROW, 7, 0.0, share=0.99, passes=True),
        near=cell("1h", WIDE, 21, 0.0005, share=0.94),
    )
    first, second, third = best_rules(found)[:3]
    assert first[0].rules == ExitRules("4h", WIDE, 14)
    assert [each.fee for each in first] == [0.0, 0.0005]
    assert second[0].rules == ExitRules("4h", NARROW, 7)
    assert third[0].rules == ExitRules("1h", WIDE, 21)


def test_the_screens_table_has_one_row_for_each_of_the_best_rules() -> None:
    text = printed(cells(passing=PASSING))
    assert "The best 12 of 12 exit rules" in text
    row = next(line for line in text.splitlines() if line.lstrip().startswith("4h"))
    assert row.split() == ["4h", "2-3", "14", "50.0", "none", "-0.100", "50%", "+0.300", "97%"]


def test_the_screens_table_says_what_passing_asks_for() -> None:
    text = " ".join(printed(cells()).split())
    assert "more than 95% of 1,000 simulations positive" in text
    assert "10 trades a window" in text


def test_the_files_table_has_a_row_for_every_cell() -> None:
    frame = cells_frame(cells(passing=PASSING))
    assert len(frame) == GRID.size
    (row,) = frame[frame["passes"]].to_dict("records")
    assert row == {
        "timeframe": "4h", "min_multiplier": 2.0, "max_multiplier": 3.0, "atr_period": 14,
        "fee_per_side": 0.0005, "mean_expectancy": 0.3, "share_positive": 0.97, "p_value": 0.5,
        "trades_per_window": 50.0, "fee_limit": 0.0008, "passes": True,
    }  # fmt: skip
