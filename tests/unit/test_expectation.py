"""What a strategy's trades came to by day, and the band that its backtest lets one expect."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from strategy.expectation import by_day, expectation_band


def test_the_band_is_worked_out_by_hand() -> None:
    # Mean 0.5; deviations -1.5, 0.5, 0.5, 0.5: sum of squares 3, over 3 is 1, so sd is 1.
    backtest = np.array([-1.0, 1.0, 1.0, 1.0])
    band = expectation_band(backtest, np.array([1, 4, 100]))
    assert band.mid == pytest.approx([0.5, 2.0, 50.0])
    assert band.low == pytest.approx([0.5 - 1.959964, 2 - 3.919928, 50 - 19.59964])
    assert band.high == pytest.approx([0.5 + 1.959964, 2 + 3.919928, 50 + 19.59964])


def test_the_band_is_as_wide_as_is_asked_for() -> None:
    band = expectation_band(np.array([-1.0, 1.0]), np.array([1]), coverage=0.6826894921)
    assert band.high == pytest.approx([2**0.5]), "one standard deviation"


def test_as_many_paths_as_wanted_end_inside_the_band() -> None:
    rng = np.random.default_rng(5)
    backtest = rng.choice([-1.0, -0.2, 3.0], 4000)
    band = expectation_band(backtest, np.array([60]))
    totals = rng.choice(backtest, (20_000, 60)).sum(axis=1)
    inside = ((totals > band.low[0]) & (totals < band.high[0])).mean()
    assert inside == pytest.approx(0.95, abs=0.01)


@pytest.mark.parametrize("backtest", [[], [0.4]])
def test_a_backtest_of_no_spread_expects_nothing(backtest: list[float]) -> None:
    band = expectation_band(np.array(backtest), np.array([1, 2]))
    assert np.isnan(band).all()


def exits(*times: str) -> pd.DatetimeIndex:
    return pd.to_datetime([f"2024-03-{time}" for time in times], format="ISO8601", utc=True)


def day(number: int) -> pd.Timestamp:
    return pd.Timestamp(2024, 3, number, tz="UTC")


def test_each_day_shows_what_had_ended_by_its_end() -> None:
    times = exits("01T09:00", "01T23:59:59", "02T00:00", "04T12:00")
    table = by_day(times, np.array([2.0, -1.0, -1.5, 1.0]), pd.Timestamp("2024-03-05T10:00Z"))
    assert list(table.index) == [day(1), day(2), day(3), day(4)]
    assert table["trades"].tolist() == [2, 3, 3, 4]
    assert table["equity_r"].tolist() == [1.0, -0.5, -0.5, 0.5]
    assert table["expectancy"].tolist() == pytest.approx([0.5, -0.5 / 3, -0.5 / 3, 0.125])
    assert table["drawdown_r"].tolist() == [1.0, 2.5, 2.5, 1.5], "from the 2 R after one trade"


def test_the_start_counts_as_a_peak() -> None:
    table = by_day(exits("01T09:00"), np.array([-1.0]), day(2))
    assert table["drawdown_r"].tolist() == [1.0]


@pytest.mark.parametrize(
    ("until", "days"),
    [("2024-03-01T23:59:59Z", 0), ("2024-03-02T00:00Z", 1), ("2024-03-03T00:00Z", 2)],
)
def test_a_day_that_is_not_over_has_no_row(until: str, days: int) -> None:
    assert len(by_day(exits("01T09:00"), np.array([1.0]), pd.Timestamp(until))) == days


def test_without_a_trade_there_is_no_day() -> None:
    table = by_day(exits(), np.empty(0), day(9))
    assert table.empty
    assert list(table) == ["trades", "equity_r", "expectancy", "drawdown_r"]
