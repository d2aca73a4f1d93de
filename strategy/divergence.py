"""Each recorded trade against the one that the simulator makes on the same candles."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from strategy.candles import open_times, timeframe_delta
from strategy.costs import Charges
from strategy.exits import ExitReason
from strategy.simulate import Bars, Intervention, simulate, trades_frame

KEY = ("decision_time", "side")
FIGURES = ("entry_time", "exit_time", "entry_price", "exit_price", "reason", "r")
DIFFERENCES = ("entry_price", "exit_price", "r")
_TOLERANCE = 1e-9
_STILL_OPEN = ExitReason.WINDOW_END.name.lower()


class Explanation(StrEnum):
    """What a difference comes from."""

    SAME = "same"
    COSTS = "costs"
    """Same prices; fees or funding were others than configured."""
    ENTRY = "entry late"
    """Filled later than at the bar's open, or at another price; the exit then differs, too."""
    FINER = "finer candles"
    """Out in the same bar at another price, or in an earlier one: inside a bar the simulator
    sees its extremes alone."""
    NOT_LIVE = "missing in live"
    NOT_SIMULATED = "missing in simulation"
    NONE = "unexplained"


_UNEXPLAINED = (Explanation.NOT_LIVE, Explanation.NOT_SIMULATED, Explanation.NONE)


class Reign(NamedTuple):
    """A version of a strategy and when it decided on entries.

    Parameters
    ----------
    since, until
        UTC: it decided at the bars' closes from ``since`` on, and before ``until``; None: still.
    signals, stop_distance
        Shape (n,), on all bars, as :func:`strategy.simulate.simulate` takes them.
    """

    since: pd.Timestamp
    until: pd.Timestamp | None
    signals: NDArray[np.int8]
    stop_distance: NDArray[np.float64]


class Decisions(NamedTuple):
    """Signals and stop distances of whatever version decided, shape (n,) each."""

    signals: NDArray[np.int8]
    stop_distance: NDArray[np.float64]


class Divergence(NamedTuple):
    """A table of divergences in three figures.

    Parameters
    ----------
    divergent_trades
        Rows that are not the same on both sides.
    unexplained_trades
        Those of them that are missing on one side, or that nothing explains.
    r_difference
        Total R of the recorded trades less that of the simulated ones.
    """

    divergent_trades: int
    unexplained_trades: int
    r_difference: float


def merged(closes: pd.DatetimeIndex, reigns: Sequence[Reign]) -> Decisions:
    """What was decided at each bar's close: neutral where no version was in force.

    Of two versions in force the later in the list counts. Stop distances go on after the end
    of a reign, for the positions that it left behind; a strategy's versions have the same.
    """
    signals = np.zeros(len(closes), dtype=np.int8)
    distance = np.full(len(closes), math.nan)
    for reign in reigns:
        begun = np.asarray(closes >= reign.since)
        in_force = begun if reign.until is None else begun & np.asarray(closes < reign.until)
        distance[begun] = reign.stop_distance[begun]
        signals[in_force] = reign.signals[in_force]
    return Decisions(signals, distance)


def divergences(
    candles: pd.DataFrame,
    decisions: Decisions,
    charges: Charges,
    recorded: pd.DataFrame,
    *,
    timeframe: str,
    interventions: Sequence[Intervention] = (),
    still_open: Collection[pd.Timestamp] = (),
) -> pd.DataFrame:
    """Lay recorded trades beside those that the simulator makes of the same decisions.

    What has not ended on both sides yet is left out: positions that are open, and recorded
    exits in a bar that is not among the candles.

    Parameters
    ----------
    candles
        Closed candles of the strategy's timeframe, shape (n, 5), from before its first trade.
    recorded
        Columns :data:`KEY` and :data:`FIGURES`; times in UTC, ``decision_time`` the close of
        the bar that was decided on, prices in quote units, ``r`` net.
    interventions
        All that happened to the strategy.
    still_open
        Decision times of the positions that are open, UTC.

    Returns
    -------
    One row for each trade of either side, in order of ``decision_time``: its key, every figure
    with the suffixes ``_live`` and ``_simulated`` (NaN or NaT on the side where it is missing),
    the differences ``<figure>_difference`` of :data:`DIFFERENCES` (live less simulated), and
    ``explained``, an :class:`Explanation`.
    """
    index = open_times(candles)
    length = timeframe_delta(timeframe)
    trades = simulate(
        Bars.of(candles),
        decisions.signals,
        decisions.stop_distance,
        charges,
        timeframe=timeframe,
        interventions=interventions,
    )
    simulated = trades_frame(trades, index)
    simulated["decision_time"] += length
    live = recorded.astype({name: "datetime64[ns, UTC]" for name in _TIMES})
    not_ended = live["exit_time"] >= index[-1] + length
    pending = live["decision_time"][not_ended].tolist() + list(still_open)
    table = pd.merge(
        _figures(live[~live["decision_time"].isin(pending)]),
        _figures(simulated[~simulated["decision_time"].isin(pending)]),
        how="outer",
        on=list(KEY),
        suffixes=("_live", "_simulated"),
    )
    table = table[table["r_live"].notna() | (table["reason_simulated"] != _STILL_OPEN)]
    table = table.sort_values(list(KEY), ignore_index=True)
    for name in DIFFERENCES:
        table[f"{name}_difference"] = table[f"{name}_live"] - table[f"{name}_simulated"]
    table["explained"] = [_explained(row, index) for row in table.itertuples()]
    return table


def summed(table: pd.DataFrame) -> Divergence:
    """The figures of a table of :func:`divergences`; a missing trade counts as 0 R."""
    explained = table["explained"]
    return Divergence(
        int((explained != Explanation.SAME).sum()),
        int(explained.isin(_UNEXPLAINED).sum()),
        float(table["r_live"].sum() - table["r_simulated"].sum()),
    )


_TIMES = ("decision_time", "entry_time", "exit_time")


def _figures(trades: pd.DataFrame) -> pd.DataFrame:
    types = {"side": "int64", "entry_price": "float64", "exit_price": "float64", "r": "float64"}
    return trades[[*KEY, *FIGURES]].astype(types)


def _explained(row: Any, index: pd.DatetimeIndex) -> Explanation:
    if math.isnan(row.r_simulated):
        return Explanation.NOT_SIMULATED
    if math.isnan(row.r_live):
        return Explanation.NOT_LIVE
    entry_bars = _bar(index, row.entry_time_live), _bar(index, row.entry_time_simulated)
    if entry_bars[0] != entry_bars[1] or not _equal(
        row.entry_price_live, row.entry_price_simulated
    ):
        return Explanation.ENTRY
    exit_bar, simulated_exit_bar = (
        _bar(index, row.exit_time_live),
        _bar(index, row.exit_time_simulated),
    )
    same_price = _equal(row.exit_price_live, row.exit_price_simulated)
    if exit_bar < simulated_exit_bar or (exit_bar == simulated_exit_bar and not same_price):
        return Explanation.FINER
    if exit_bar > simulated_exit_bar or row.reason_live != row.reason_simulated:
        return Explanation.NONE
    same_r = abs(row.r_live - row.r_simulated) <= _TOLERANCE
    return Explanation.SAME if same_r else Explanation.COSTS


def _bar(index: pd.DatetimeIndex, time: pd.Timestamp) -> int:
    """The bar in which a time lies."""
    return int(index.searchsorted(time, side="right")) - 1


def _equal(price: float, other: float) -> bool:
    return math.isclose(price, other, rel_tol=_TOLERANCE)
