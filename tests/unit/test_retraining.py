"""What a retrain is fitted and judged on, and when it counts as worse."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pandas as pd
import pytest

from strategy.config import WalkForward
from strategy.errors import DataError
from strategy.retraining import RetrainCalendar, compare, retrain_calendar
from strategy.windows import newest_training_span

GEOMETRY = WalkForward(history_years=5, training_months=12, validation_months=3, step_months=3)
LONG_AGO = pd.Timestamp("2024-01-01", tz="UTC")
INDEX = pd.date_range("2024-01-01", "2026-03-01", freq="h", tz="UTC", inclusive="left")


def calendar(
    seen_until: str = "2025-12-01", index: pd.DatetimeIndex = INDEX
) -> dict[str, tuple[str, str]]:
    """First and last open time of each span."""
    found = retrain_calendar(index, "1h", GEOMETRY, pd.Timestamp(seen_until, tz="UTC"))
    return {
        name: (f"{index[start]:%Y-%m-%d %H}", f"{index[end - 1]:%Y-%m-%d %H}")
        for name, (start, end) in zip(RetrainCalendar._fields, found, strict=True)
    }


def test_the_twin_is_fitted_a_month_earlier_and_judged_on_that_month() -> None:
    assert calendar() == {
        "training": ("2025-03-01 00", "2026-02-28 23"),
        "twin": ("2025-02-01 00", "2026-01-31 23"),
        "examination": ("2026-02-01 00", "2026-02-28 23"),
    }


def test_the_model_is_fitted_on_the_window_that_a_campaign_registers_its_winner_on() -> None:
    found = retrain_calendar(INDEX, "1h", GEOMETRY, LONG_AGO)
    assert found.training == newest_training_span(INDEX, "1h", GEOMETRY)


def test_what_the_incumbent_has_seen_of_the_month_is_not_judged_on() -> None:
    found = calendar(seen_until="2026-02-10")
    assert found["examination"] == ("2026-02-10 00", "2026-02-28 23")
    assert found["twin"] == calendar()["twin"]


@pytest.mark.parametrize(("seen_until", "enough"), [("2026-02-14", True), ("2026-02-15", False)])
def test_an_incumbent_that_was_just_trained_is_not_retrained(seen_until: str, enough: bool) -> None:
    if enough:
        calendar(seen_until)
        return
    with pytest.raises(DataError, match=r"retrain it from 2026-03-02 .* on"):
        calendar(seen_until)


@pytest.mark.parametrize(("first", "enough"), [("2025-02-04", True), ("2025-02-06", False)])
def test_candles_that_begin_too_late_for_the_twin_are_refused(first: str, enough: bool) -> None:
    """A hundredth of the twin's year, three and a half days, may be missing."""
    late = INDEX[INDEX.searchsorted(pd.Timestamp(first, tz="UTC")) :]
    if enough:
        assert calendar(index=late)["twin"] == (f"{first} 00", "2026-01-31 23")
        return
    with pytest.raises(DataError, match=r"too little history .* need them from 2025-02-01"):
        calendar(index=late)


def test_missing_candles_at_the_border_keep_the_spans_apart() -> None:
    border = INDEX.get_loc(pd.Timestamp("2026-02-01", tz="UTC"))
    found = calendar(index=INDEX.delete(range(border - 4, border + 3)))
    assert found["twin"][1] == "2026-01-31 19"
    assert found["examination"][0] == "2026-02-01 03"


def test_equal_spreads_give_students_p_value() -> None:
    # means 0 and 2, variances 1: t = -2 / sqrt(2 / 3) = -2.449 with 4 degrees of freedom, where
    # P = 1/2 - 3/8 * 2.449 / sqrt(2.5) * (1 - 6 / 2.5 / 12) = 0.03524
    found = compare(np.array([-1.0, 0.0, 1.0]), np.array([1.0, 2.0, 3.0]))
    assert found.p_value == pytest.approx(0.03524, abs=5e-6)
    assert found.worse
    assert (found.twin.expectancy, found.incumbent.expectancy) == (0.0, 2.0)


def test_unequal_spreads_are_not_taken_for_equal() -> None:
    # variances 0 and 1, so that Welch has 2 degrees of freedom: t = -2 / sqrt(1 / 3) = -3.464 and
    # P = 1/2 - 3.464 / (2 * sqrt(2 + 12)) = 0.03709; with a pooled variance it were 0.0195
    found = compare(np.array([0.0, 0.0]), np.array([1.0, 2.0, 3.0]))
    assert found.p_value == pytest.approx(0.03709, abs=5e-6)


def test_better_is_never_worse() -> None:
    found = compare(np.array([1.0, 2.0, 3.0]), np.array([-1.0, 0.0, 1.0]))
    assert found.p_value == pytest.approx(1 - 0.03524, abs=5e-6)
    assert not found.worse


def test_a_lower_expectancy_within_the_noise_is_admitted() -> None:
    # means 0 and 0.5, variances 1: t = -0.612, P = 0.287
    found = compare(np.array([-1.0, 0.0, 1.0]), np.array([-0.5, 0.5, 1.5]))
    assert found.p_value == pytest.approx(0.287, abs=5e-4)
    assert not found.worse


@pytest.mark.parametrize(
    ("twin", "incumbent"),
    [
        ([], []),
        ([], [2.0, 3.0, 2.5]),
        ([-1.0], [2.0, 3.0, 2.5]),
        ([-1.0, -1.1, -1.0], [3.0]),
        ([-1.0, -1.0], [2.0, 2.0]),
    ],
)
def test_what_cannot_be_tested_is_not_significant(
    twin: list[float], incumbent: list[float]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = compare(np.array(twin), np.array(incumbent))
    assert math.isnan(found.p_value)
    assert not found.worse
    assert "too few to test" in found.text


def test_the_comparison_reads_as_a_sentence_with_its_figures() -> None:
    found = compare(np.array([-1.0, 0.0, 1.0]), np.array([1.0, 2.0, 3.0]))
    assert found.text == (
        "significantly worse than the incumbent on candles new to both (+0.00 R a trade over 3 "
        "against +2.00 R a trade over 3; p = 0.035, limit 0.05)"
    )
