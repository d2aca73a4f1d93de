"""Recorded trades beside the simulator's, on hand-written candles.

One R is 5. A long decided at the close of bar 0 (00:00 to 01:00) is filled at the open of bar 1
at 01:00 (100), stop 95.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from strategy.config import Costs
from strategy.costs import charges_on
from strategy.divergence import (
    FIGURES,
    KEY,
    Decisions,
    Reign,
    divergences,
    merged,
    summed,
)
from strategy.simulate import Intervention, InterventionKind
from tests.candle_tables import FREE, table

STOPPED_TWICE = table("""
    open  high  low  close  signal
    100   101   99   100    1
    100   102   99   101    0       # 01:00, entered at 100
    101   102   94   96     -1      # 02:00, out at 95: -1 R; sell at its close
     96    97   95   96     0       # 03:00, entered at 96, stop 101
     96   102   95   101    0       # 04:00, out at 101: -1 R
    101   102  100   101    0       # 05:00
""")
LONG = {
    "decision_time": "01:00", "side": 1, "entry_time": "01:00", "exit_time": "02:00",
    "entry_price": 100.0, "exit_price": 95.0, "reason": "stop_loss", "r": -1.0,
}  # fmt: skip
SHORT = {
    "decision_time": "03:00", "side": -1, "entry_time": "03:00", "exit_time": "04:00",
    "entry_price": 96.0, "exit_price": 101.0, "reason": "stop_loss", "r": -1.0,
}  # fmt: skip


def at(time: str) -> pd.Timestamp:
    return pd.Timestamp(f"2024-01-01T{time}", tz="UTC")


def recorded(*trades: dict[str, object]) -> pd.DataFrame:
    frame = pd.DataFrame(trades, columns=[*KEY, *FIGURES])
    for name in ("decision_time", "entry_time", "exit_time"):
        frame[name] = pd.DatetimeIndex([at(time) for time in frame[name]], tz="UTC")
    return frame


def compared(*trades: dict[str, object], costs: Costs = FREE, **more: object) -> pd.DataFrame:
    bars = STOPPED_TWICE.bars
    names = ("open", "high", "low", "close")
    candles = pd.DataFrame({name: getattr(bars, name) for name in names}, STOPPED_TWICE.index)
    return divergences(
        candles,
        Decisions(STOPPED_TWICE.signals, STOPPED_TWICE.stop_distance),
        charges_on(STOPPED_TWICE.index, "1h", costs),
        recorded(*trades),
        timeframe="1h",
        **more,
    )


def test_equal_trades_are_the_same_on_both_sides() -> None:
    found = compared(LONG, SHORT)
    assert found["explained"].tolist() == ["same", "same"]
    assert found["decision_time"].tolist() == [at("01:00"), at("03:00")]
    assert found["side"].tolist() == [1, -1]
    for figure in FIGURES:
        assert found[f"{figure}_live"].tolist() == found[f"{figure}_simulated"].tolist()
    assert (found[["entry_price_difference", "exit_price_difference"]] == 0).all(axis=None)
    assert summed(found) == (0, 0, 0.0)


@pytest.mark.parametrize(
    ("change", "explained"),
    [
        ({"exit_time": "02:35"}, "same"),
        ({"entry_time": "01:00:04"}, "same"),
        ({"r": -1.2}, "costs"),
        ({"entry_time": "01:05", "entry_price": 100.5}, "entry late"),
        ({"entry_price": 100.0001}, "entry late"),
        ({"entry_time": "02:00"}, "entry late"),
        ({"exit_time": "02:35", "exit_price": 94.5}, "finer candles"),
        ({"exit_time": "01:40"}, "finer candles"),
        ({"exit_time": "03:00"}, "unexplained"),
        ({"exit_time": "03:00", "exit_price": 94.5}, "unexplained"),
        ({"reason": "closed"}, "unexplained"),
    ],
)
def test_a_difference_is_explained(change: dict[str, object], explained: str) -> None:
    found = compared(LONG | change, SHORT)
    assert found["explained"].tolist() == [explained, "same"]


def test_differences_are_live_less_simulated() -> None:
    worse = {"entry_price": 100.5, "exit_price": 94.0, "r": -1.3}
    found = compared(LONG | worse, SHORT)
    first = found.iloc[0]
    assert first["entry_price_difference"] == 0.5
    assert first["exit_price_difference"] == -1.0
    assert first["r_difference"] == pytest.approx(-0.3)
    divergent, unexplained, r_difference = summed(found)
    assert (divergent, unexplained) == (1, 0)
    assert r_difference == pytest.approx(-0.3)


def test_a_trade_that_only_the_simulator_made_is_missing_in_live() -> None:
    found = compared(LONG)
    assert found["explained"].tolist() == ["same", "missing in live"]
    assert np.isnan(found["r_live"][1])
    assert pd.isna(found["entry_time_live"][1])
    assert np.isnan(found["r_difference"][1])
    assert summed(found) == (1, 1, 1.0), "a loss that was not made"


def test_a_trade_that_the_simulator_did_not_make_is_missing_in_the_simulation() -> None:
    by_hand = LONG | {"decision_time": "04:00", "exit_time": "05:00", "r": 0.25}
    found = compared(LONG, SHORT, by_hand)
    assert found["explained"].tolist() == ["same", "same", "missing in simulation"]
    assert summed(found) == (1, 1, 0.25)


def test_the_other_side_of_the_same_decision_is_another_trade() -> None:
    found = compared(LONG, SHORT | {"side": 1})
    assert sorted(found["explained"]) == ["missing in live", "missing in simulation", "same"]


def test_the_simulator_obeys_what_was_done_to_the_strategy() -> None:
    refused = [Intervention(at("03:00:02"), InterventionKind.REFUSE)]
    found = compared(LONG, interventions=refused)
    assert found["explained"].tolist() == ["same"]
    closed = [*refused, Intervention(at("01:30"), InterventionKind.CLOSE, 101.5)]
    by_hand = {"exit_time": "01:30", "exit_price": 101.5, "reason": "closed", "r": 0.3}
    assert compared(LONG | by_hand, interventions=closed)["explained"].tolist() == ["same"]


def test_the_simulator_pays_the_costs_that_are_given() -> None:
    costs = Costs(fee_per_side=0.001, slippage_per_side=0, funding_per_8h=0)
    found = compared(LONG | {"r": -1 - 0.195 / 5}, SHORT | {"r": -1 - 0.197 / 5}, costs=costs)
    assert found["explained"].tolist() == ["same", "same"]


def test_what_is_open_on_both_sides_is_left_out() -> None:
    never_out = table("""
        open  high  low  close  signal
        100   101   99   100    1
        100   102   99   101    0
    """)
    assert len(on(never_out)) == 0
    assert len(on(never_out, LONG | {"exit_time": "02:00:10"})) == 0, "its bar has not closed yet"
    stopped = LONG | {"exit_time": "01:59", "exit_price": 99.0, "r": -0.2}
    assert on(never_out, stopped)["explained"].tolist() == ["finer candles"]


def test_a_position_that_is_open_is_not_missing() -> None:
    assert compared(LONG)["explained"].tolist() == ["same", "missing in live"]
    found = compared(LONG, still_open=[at("03:00")])
    assert found["explained"].tolist() == ["same"]


def test_no_trade_of_either_side_is_a_table_without_rows() -> None:
    still = table("""
        open  high  low  close  signal
        100   101   99   100    0
        100   101   99   100    0
    """)
    found = on(still)
    assert found.empty
    assert {*KEY, "r_live", "r_simulated", "r_difference", "explained"} <= set(found)
    assert summed(found) == (0, 0, 0.0)


def on(candles: object, *trades: dict[str, object]) -> pd.DataFrame:
    frame = pd.DataFrame(
        {name: getattr(candles.bars, name) for name in ("open", "high", "low", "close")},
        candles.index,
    )
    return divergences(
        frame,
        Decisions(candles.signals, candles.stop_distance),
        charges_on(candles.index, "1h", FREE),
        recorded(*trades),
        timeframe="1h",
    )


# --- which version decided -------------------------------------------------------------------

CLOSES = pd.date_range("2024-01-01T01:00Z", periods=6, freq="1h")


def reign(since: str, until: str | None, signal: int, distance: float) -> Reign:
    return Reign(
        at(since),
        None if until is None else at(until),
        np.full(6, signal, np.int8),
        np.full(6, distance),
    )


def test_a_version_decides_from_its_first_close_on() -> None:
    found = merged(CLOSES, [reign("02:30", None, 1, 5.0)])
    assert found.signals.tolist() == [0, 0, 1, 1, 1, 1]
    assert np.isnan(found.stop_distance[:2]).all()
    assert found.stop_distance[2:].tolist() == [5.0] * 4
    assert merged(CLOSES, [reign("03:00", None, 1, 5.0)]).signals.tolist() == [0, 0, 1, 1, 1, 1]


def test_a_version_that_takes_over_decides_in_place_of_the_one_before() -> None:
    found = merged(CLOSES, [reign("01:00", "03:30", 1, 5.0), reign("03:30", None, -1, 6.0)])
    assert found.signals.tolist() == [1, 1, 1, -1, -1, -1]
    assert found.stop_distance.tolist() == [5.0, 5.0, 5.0, 6.0, 6.0, 6.0]


def test_between_two_versions_nothing_is_decided_but_stops_go_on() -> None:
    found = merged(CLOSES, [reign("01:00", "03:00", 1, 5.0), reign("05:00", "06:00", -1, 6.0)])
    assert found.signals.tolist() == [1, 1, 0, 0, -1, 0]
    assert found.stop_distance.tolist() == [5.0, 5.0, 5.0, 5.0, 6.0, 6.0]


def test_without_a_version_nothing_is_decided() -> None:
    found = merged(CLOSES, [])
    assert not found.signals.any()
    assert np.isnan(found.stop_distance).all()
