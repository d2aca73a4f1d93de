from __future__ import annotations

import io
import itertools

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.dates import num2date
from matplotlib.figure import Figure

from strategy.windows import Window
from training import report

SUBTITLE = "SYNTHETIC candles, seed 7"


def time(text: str) -> pd.Timestamp:
    return pd.Timestamp(text, tz="UTC")


def window(number: int, start: str, end: str) -> Window:
    return Window(number, 0, 0, 0, time("2023-01-01"), time(start), time(end))


WINDOWS = (
    window(1, "2024-01-01", "2024-04-01"),
    window(2, "2024-04-01", "2024-07-01"),
    window(3, "2024-07-01", "2024-10-01"),
)


def trades_with(r: list[float], reasons: list[str] | None = None) -> pd.DataFrame:
    """Trades that exit a week apart from 2024-01-08 on, listed latest first."""
    exits = pd.date_range("2024-01-08", periods=len(r), freq="7D", tz="UTC")
    trades = pd.DataFrame(
        {
            "window": 1,
            "entry_time": exits - pd.Timedelta(hours=5),
            "exit_time": exits,
            "side": 1,
            "entry_price": 100.0,
            "exit_price": 101.0,
            "risk": 1.0,
            "reason": reasons or ["stop_loss"] * len(r),
            "r": np.array(r, dtype=np.float64),
        }
    )
    return trades.iloc[::-1]


def trials_with(**columns: object) -> pd.DataFrame:
    """Four trials over two values of tenkan_sen and of rsi_period."""
    grid = pd.DataFrame(
        itertools.product([8, 9], [7, 14]), columns=["tenkan_sen", "rsi_period"]
    ).assign(kijun_sen=26, senkou_span_b=52, atr_period=14)
    return grid.assign(
        **{"sqn": [1.0, 4.0, 2.0, 3.0], "expectancy": [0.1, 0.4, 0.2, 0.3], "pruned": False}
        | columns
    )


def text_of(figure: Figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(plt.Text))


def png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=40)
    return buffer.getvalue()


def all_figures(trades: pd.DataFrame, trials: pd.DataFrame, n: int) -> dict[str, Figure]:
    """Every figure of the module, on n points where it takes arrays."""
    times = pd.date_range("2024-01-01", periods=n, freq="D", tz="UTC")
    of_windows = {"confirmation_windows": 1, "subtitle": SUBTITLE}
    return {
        "equity_curve": report.equity_curve(trades, WINDOWS, **of_windows),
        "drawdown": report.drawdown(trades, WINDOWS, **of_windows),
        "r_histogram": report.r_histogram(trades, subtitle=SUBTITLE),
        "monte_carlo_fan": report.monte_carlo_fan(
            times, np.zeros((n, 3)), (5, 50, 95), np.ones(n), subtitle=SUBTITLE
        ),
        "monte_carlo_histogram": report.monte_carlo_histogram(
            np.linspace(-1, 1, n), 0.5, verdict="passed", subtitle=SUBTITLE
        ),
        "confusion_matrix": report.confusion_matrix(
            n * np.eye(3, dtype=np.int64), subtitle=SUBTITLE
        ),
        "optuna_importance": report.optuna_importance(
            {"learning_rate": 1.0} if n else {}, subtitle=SUBTITLE
        ),
        "parameter_heatmaps": report.parameter_heatmaps(trials, subtitle=SUBTITLE),
        "trial_ranking": report.trial_ranking(trials, subtitle=SUBTITLE),
        "cost_sensitivity": report.cost_sensitivity(
            np.array([0.0, 0.001]), np.array([0.2, -0.2]) if n else np.full(2, np.nan),
            np.array([0.1, 0.1]), charged=0.001, break_even=0.0005, subtitle=SUBTITLE,
        ),
        "neighbours": report.neighbours(
            {"candidate": trials.head(1).assign(standard_error=0.1)}, subtitle=SUBTITLE
        ),
    }  # fmt: skip


FULL = all_figures(trades_with([1.0, -1.0, 2.5]), trials_with(), 9)
EMPTY = all_figures(trades_with([]), trials_with().head(0), 0)


@pytest.mark.parametrize("name", FULL)
def test_every_figure_carries_its_subtitle_and_can_be_saved(name: str):
    assert SUBTITLE in text_of(FULL[name])
    assert png(FULL[name]).startswith(b"\x89PNG")


@pytest.mark.parametrize("name", EMPTY)
def test_a_figure_of_nothing_says_so_under_its_subtitle(name: str):
    assert SUBTITLE in text_of(EMPTY[name])
    assert EMPTY[name].axes[0].texts[0].get_text().startswith("no ")
    assert png(EMPTY[name]).startswith(b"\x89PNG")


def test_no_figure_is_left_with_pyplot():
    all_figures(trades_with([1.0]), trials_with(), 3)
    assert plt.get_fignums() == []


def curve(figure: Figure) -> np.ndarray:
    """The y values of the last line drawn before the window borders: the curve itself."""
    (line,) = (line for line in figure.axes[0].lines if line.get_drawstyle() == "steps-post")
    return line.get_ydata()


def test_the_equity_curve_adds_up_r_in_order_of_exit():
    figure = FULL["equity_curve"]
    assert curve(figure).tolist() == [1.0, 0.0, 2.5]
    assert "+2.5 R in 3 trades" in text_of(figure)
    assert "net R" in figure.axes[0].get_ylabel()
    assert "UTC" in figure.axes[0].get_xlabel()


def test_the_drawdown_counts_the_start_as_a_peak():
    figure = report.drawdown(
        trades_with([-1.0, 2.0, -0.5, -1.0, 3.0]), WINDOWS, confirmation_windows=1, subtitle=""
    )
    assert curve(figure).tolist() == [-1.0, 0.0, -0.5, -1.5, 0.0]
    assert "1.5 R at the deepest" in text_of(figure)


@pytest.mark.parametrize(("confirmation", "shaded"), [(0, []), (1, [3]), (2, [2, 3])])
def test_the_last_windows_are_shaded_as_confirmation(confirmation: int, shaded: list[int]):
    figure = report.equity_curve(
        trades_with([1.0]), WINDOWS, confirmation_windows=confirmation, subtitle=""
    )
    starts = [num2date(span.get_x()) for span in figure.axes[0].patches]
    assert starts == [WINDOWS[number - 1].validation_start_time for number in shaded]
    assert ("hidden from the ranking" in text_of(figure)) == bool(shaded)


def test_times_in_another_zone_are_drawn_in_utc():
    trades = trades_with([1.0])
    elsewhere = trades.assign(exit_time=trades["exit_time"].dt.tz_convert("Asia/Tokyo"))
    figure = report.equity_curve(elsewhere, WINDOWS, confirmation_windows=0, subtitle="")
    (line,) = (line for line in figure.axes[0].lines if line.get_drawstyle() == "steps-post")
    assert line.get_xdata()[0] == np.datetime64("2024-01-08T00:00")


def test_the_histogram_counts_every_trade_once_and_names_the_reasons():
    reasons = ["stop_loss", "stop_loss", "trailing_stop", "a_new_reason"]
    figure = report.r_histogram(trades_with([-1.0, -1.05, 12.1, 0.25], reasons), subtitle="")
    assert sum(bar.get_height() for bar in figure.axes[0].patches) == 4
    assert "stop loss (2)" in text_of(figure)
    assert "a new reason (1)" in text_of(figure)
    assert "+2.575 ± 3.189 R per trade" in text_of(figure)


def test_the_fan_pairs_the_percentiles_from_the_outside_in():
    times = pd.date_range("2024-01-01", periods=2, freq="D", tz="UTC")
    percentiles = np.array([[-2.0, -1.0, 0.0, 1.0, 2.0], [-4.0, -2.0, 0.5, 2.0, 4.0]])
    figure = report.monte_carlo_fan(
        times, percentiles, (5, 25, 50, 75, 95), np.array([1.0, 3.0]), subtitle=""
    )
    axes = figure.axes[0]
    outer, inner = (band.get_paths()[0].get_extents() for band in axes.collections)
    assert (outer.y0, outer.y1) == (-4.0, 4.0)
    assert (inner.y0, inner.y1) == (-2.0, 2.0)
    lines = {line.get_label(): line.get_ydata() for line in axes.lines}
    assert lines["random, median"].tolist() == [0.0, 0.5]
    assert lines["model"].tolist() == [1.0, 3.0]
    assert "random, 5th to 95th percentile" in text_of(figure)


def test_the_monte_carlo_histogram_places_the_model_among_the_simulations():
    figure = report.monte_carlo_histogram(
        np.array([-0.2, -0.1, 0.1, 0.3, np.nan]), 0.2, verdict="gate: FAILED", subtitle=""
    )
    text = text_of(figure)
    assert "50.0% of simulations above 0" in text
    assert "model +0.200 R, above 75.0% of simulations" in text
    assert "mean +0.025 R" in text
    assert "gate: FAILED" in text


def test_a_model_without_trades_has_no_place_among_the_simulations():
    figure = report.monte_carlo_histogram(
        np.array([0.1, 0.2]), float("nan"), verdict="", subtitle=""
    )
    assert "model" not in text_of(figure)


def test_the_confusion_matrix_has_labels_in_rows_and_signals_in_columns():
    counts = np.array([[1, 1, 2], [0, 1, 0], [0, 1, 0]])
    figure = report.confusion_matrix(counts, subtitle="")
    axes = figure.axes[0]
    np.testing.assert_allclose(
        axes.images[0].get_array(), [[0.25, 0.25, 0.5], [0.0, 1.0, 0.0], [0.0, 1.0, 0.0]]
    )
    cells = {text.get_position(): text.get_text() for text in axes.texts}
    assert cells[(0, 0)] == "1\n25.0% of row"
    assert cells[(2, 0)] == "2\n50.0% of row"  # sold off, and the model said buy
    assert cells[(1, 2)] == "1\n100.0% of row"
    assert cells[(0, 2)] == "0\n0.0% of row"
    assert "33.3% of 6 bars right" in text_of(figure)


def test_importances_are_drawn_with_the_largest_on_top():
    figure = report.optuna_importance({"a": 0.2, "b": 0.7, "c": 0.1}, subtitle="")
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == ["c", "a", "b"]
    assert "70.0%" in text_of(figure)


def test_the_heatmaps_average_expectancy_over_all_ten_pairs():
    figure = FULL["parameter_heatmaps"]
    panels = {
        (axes.get_ylabel(), axes.get_xlabel()): axes.images[0].get_array()
        for axes in figure.axes
        if axes.images
    }
    assert len(panels) == 10
    np.testing.assert_allclose(
        panels["tenkan_sen (bars)", "rsi_period (bars)"], [[0.1, 0.4], [0.2, 0.3]]
    )
    np.testing.assert_allclose(panels["tenkan_sen (bars)", "kijun_sen (bars)"], [[0.25], [0.25]])


def test_trials_without_an_expectancy_leave_the_heatmaps_alone():
    trials = trials_with(expectancy=[np.nan, 0.4, 0.2, 0.3])
    figure = report.parameter_heatmaps(trials, subtitle="")
    assert "3 trials" in text_of(figure)
    nothing = report.parameter_heatmaps(trials_with(expectancy=np.nan), subtitle="")
    assert "no trials" in text_of(nothing)


def test_the_ranking_lists_the_best_first_and_marks_the_pruned():
    figure = report.trial_ranking(trials_with(pruned=[False, False, True, False]), subtitle="")
    listing = figure.axes[1].texts[0].get_text().splitlines()
    assert listing[1].split() == ["1", "8/26/52", "14", "14", "4.00", "+0.400"]
    assert listing[3].split() == ["3", "9/26/52", "7", "14", "2.00", "+0.200", "x"]
    assert "pruned (1)" in text_of(figure)


def test_a_trial_without_an_sqn_is_not_ranked():
    figure = report.trial_ranking(trials_with(sqn=[1.0, np.nan, 2.0, 3.0]), subtitle="")
    assert "3 of 4 have an SQN" in text_of(figure)
    assert figure.axes[1].texts[0].get_text().splitlines()[1].split()[1] == "9/26/52"


def test_costs_are_drawn_with_what_was_charged_and_where_nothing_is_left():
    figure = FULL["cost_sensitivity"]
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0.000%", "0.100%"]
    text = text_of(figure)
    assert "charged 0.100%" in text
    assert "earns nothing at 0.050%" in text
    hopeless = report.cost_sensitivity(
        np.array([0.0, 0.001]), np.array([-0.1, -0.2]), np.full(2, 0.1),
        charged=0.001, break_even=-0.001, subtitle="",
    )  # fmt: skip
    assert "earns nothing" not in text_of(hopeless)


def test_the_candidate_stands_left_of_its_neighbours_and_the_pruned_are_hollow():
    trials = trials_with(pruned=[False, False, True, True]).assign(standard_error=0.1)
    groups = {"candidate": trials.head(1), "1 step away": trials.tail(3)}
    axes = report.neighbours(groups, subtitle="").axes[0]
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert labels == ["candidate (1)", "1 step away (3)"]
    points = [
        (line.get_xdata().round(), line.get_ydata(), line.get_markerfacecolor())
        for line in axes.lines
        if line.get_marker() == "o" and len(line.get_xdata())
    ]
    assert [(place.tolist(), of.tolist()) for place, of, _ in points] == [
        ([0.0], [0.1]), ([1.0], [0.4]), ([1.0, 1.0], [0.2, 0.3]),
    ]  # fmt: skip
    assert [colour == "white" for _, _, colour in points] == [False, False, True]
