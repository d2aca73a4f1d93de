"""A live run beside the backtest of its strategy."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
from mlflow.entities import Metric, RunData, RunTag

from registry.live_run import LiveRun
from training.research.live import (
    FoundLiveRun,
    comparison,
    conclusion,
    deviations,
    distribution_figure,
    divergence_table,
    equity_figure,
    explanations,
)

DAY = pd.Timestamp("2026-03-01", tz="UTC")


def days_of(*equity: float, low: float = -5.0, high: float = 5.0) -> pd.DataFrame:
    index = pd.date_range(DAY, periods=len(equity), freq="D")
    return pd.DataFrame(
        {
            "equity_r": equity,
            "trades": np.arange(1.0, len(equity) + 1),
            "band_low": low,
            "band_mid": 1.0,
            "band_high": high,
        },
        index=index,
    )


def divergence_of(*rows: tuple[float, float, str]) -> pd.DataFrame:
    """Trades by their live and simulated R, and what explains the difference."""
    table = pd.DataFrame(rows, columns=["r_live", "r_simulated", "explained"])
    return table.assign(
        decision_time=pd.date_range(DAY, periods=len(rows), freq="h"),
        side=1, reason_live="stop_loss", reason_simulated="stop_loss",
        entry_price_difference=0.0, exit_price_difference=0.0,
        r_difference=table["r_live"] - table["r_simulated"],
    )  # fmt: skip


def found(days: pd.DataFrame, divergence: pd.DataFrame, backtest: list[float]) -> FoundLiveRun:
    run = FoundLiveRun(cast(Any, None), "BTCUSDT-1h", cast(Any, None))
    vars(run).update(days=days, divergence=divergence, backtest_r=np.array(backtest))
    return run


DIVERGENT = divergence_of(
    (-1.0, -1.0, "same"),
    (2.0, 2.0, "same"),
    (0.5, 0.7, "costs"),
    (1.0, math.nan, "missing in simulation"),
)


def test_the_live_expectancy_is_measured_in_standard_errors_of_both() -> None:
    # Means 1 and 0; each has a standard error of 1: the difference's is the root of 2.
    live, backtest = np.array([0.0, 2.0]), np.array([-1.0, 1.0])
    assert deviations(live, backtest) == pytest.approx(1 / math.sqrt(2))
    assert deviations(backtest, live) == pytest.approx(-1 / math.sqrt(2))
    assert math.isnan(deviations(np.array([1.0]), backtest))
    assert math.isnan(deviations(np.array([1.0, 1.0]), np.array([2.0, 2.0])))


def test_both_sides_have_the_same_figures() -> None:
    table = comparison(np.array([1.0, -1.0, 3.0]), np.array([1.0, -1.0]))
    assert table.loc["trades"].tolist() == [3, 2]
    assert table.loc["expectancy"].tolist() == [1.0, 0.0]
    assert table.loc["hit_rate"].tolist() == [pytest.approx(2 / 3), 0.5]


def test_differences_are_summed_by_what_explains_them() -> None:
    table = explanations(DIVERGENT)
    assert table["trades"].to_dict() == {"same": 2, "costs": 1, "missing in simulation": 1}
    assert table["r_difference"].tolist() == [0.0, pytest.approx(-0.2), 1.0]


def test_the_last_trades_are_shown() -> None:
    assert divergence_table(DIVERGENT, rows=2)["explained"].tolist() == [
        "costs",
        "missing in simulation",
    ]


@pytest.mark.parametrize(
    ("equity", "place"), [((1.0, 6.0), "above"), ((1.0, -6.0), "below"), ((9.0, 2.0), "inside")]
)
def test_the_sentences_say_where_the_total_lies_in_the_band(
    equity: tuple[float, ...], place: str
) -> None:
    text = conclusion(found(days_of(*equity), DIVERGENT, [1.0, -1.0]))
    assert f"which is **{place}** what the backtest lets one expect" in text
    assert "on 1 of 2 days" in text
    assert f"By the end of 2026-03-02 2 trades came to {equity[-1]:+.2f} R" in text


def test_the_sentences_count_the_trades_that_differ_and_why() -> None:
    text = conclusion(found(days_of(1.0), DIVERGENT, [1.0, -1.0]))
    assert (
        "Of 4 trades 2 differ from those that the simulator makes on the same candles "
        "(1 costs, 1 missing in simulation), 1 without an explanation; all differences come to "
        "+0.80 R." in text
    )
    # live: mean 0.625, backtest: mean 0, standard error 1
    assert "+0.625 ± " in text
    assert "standard errors above, which chance explains" in text


def test_the_sentences_say_so_when_nothing_is_known_yet() -> None:
    text = conclusion(found(days_of(), divergence_of(), [1.0, -1.0]))
    assert "No trade has ended yet" in text
    assert "too few trades to tell" in text
    unknown = days_of(1.0).assign(band_low=math.nan, band_mid=math.nan, band_high=math.nan)
    assert "too few trades to expect" in conclusion(found(unknown, DIVERGENT, [1.0]))


def test_figures_show_both_sides_or_say_that_there_is_nothing() -> None:
    lines = equity_figure(days_of(1.0, 3.0), subtitle="a test").axes[0].lines
    assert [line.get_ydata().tolist() for line in lines if line.get_label() == "live"] == [[1, 3]]
    shown = distribution_figure(np.array([1.0, -1.0]), np.array([0.5]), subtitle="a test")
    assert {line.get_label() for line in shown.axes[0].lines} >= {
        "live (2 trades)",
        "backtest (1 trades)",
    }
    for empty in (
        equity_figure(days_of(), subtitle="a test"),
        distribution_figure(np.array([]), np.array([0.5]), subtitle="a test"),
    ):
        assert empty.axes[0].texts[0].get_text().startswith("no trade")


def test_a_live_run_is_read_by_day() -> None:
    midnight = round(1000 * DAY.timestamp())
    points = {
        "equity_r": [Metric("equity_r", 2.0, midnight + 86_400_000, 1),
                     Metric("equity_r", 1.0, midnight, 0)],
        "divergent_trades": [Metric("divergent_trades", 0.0, midnight + 86_400_000, 1)],
    }  # fmt: skip
    client = SimpleNamespace(
        get_metric_history=lambda run_id, name: points[name], tracking_uri="http://mlflow"
    )
    tags = [RunTag("strategy_id", "s"), RunTag("book", "paper")]
    run = SimpleNamespace(
        info=SimpleNamespace(run_id="r", status="RUNNING"),
        data=RunData([each[0] for each in points.values()], tags=tags),
    )
    days = LiveRun(cast(Any, client), cast(Any, run)).days()
    assert days.index.tolist() == [DAY, DAY + pd.Timedelta(days=1)]
    assert days["equity_r"].tolist() == [1.0, 2.0]
    assert np.isnan(days["divergent_trades"].iloc[0])
