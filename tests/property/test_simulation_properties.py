"""What holds of the simulation on any candles.

Prices and stop distances are whole quarters, so that their sums and differences are exact in
doubles and two ways to the same trade can be compared to the bit.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pandas as pd
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from strategy.config import Costs
from strategy.costs import Charges, charges_on
from strategy.exits import OPEN, ExitReason, step
from strategy.simulate import Bars, Intervention, InterventionKind, outcomes, simulate
from strategy.target import labels

MAX_BARS = 40
CENTRE = 1000.0
HALT, RESUME, REFUSE, BREAK_EVEN, CLOSE = InterventionKind
NAN = math.nan


class Market(NamedTuple):
    index: pd.DatetimeIndex
    bars: Bars
    signals: NDArray[np.int8]
    stop_distance: NDArray[np.float64]

    @property
    def free(self) -> Charges:
        return charges_on(
            self.index, "1h", Costs(fee_per_side=0, slippage_per_side=0, funding_per_8h=0)
        )

    @property
    def charged(self) -> Charges:
        return charges_on(self.index, "1h", Costs())

    def trades(
        self, charges: Charges, interventions: tuple[Intervention, ...] = (), **window: int
    ) -> NDArray[np.void]:
        return simulate(
            self.bars,
            self.signals,
            self.stop_distance,
            charges,
            timeframe="1h",
            interventions=interventions,
            **window,
        )


# Quarters: gap from the last close, body, upper and lower shadow; signal; one R (0: unknown).
CANDLE = st.tuples(
    st.integers(-6, 6),
    st.integers(-24, 24),
    st.integers(0, 24),
    st.integers(0, 24),
    st.sampled_from([-1, 0, 1]),
    st.sampled_from([0, 4, 12, 16, 24, 40]),
)


@st.composite
def markets(draw: st.DrawFn, min_bars: int = 3) -> Market:
    candles = np.array(draw(st.lists(CANDLE, min_size=min_bars, max_size=MAX_BARS)), dtype=float)
    gap, body, up, down = candles[:, :4].T / 4
    close = CENTRE + np.cumsum(gap + body)
    open_ = close - body
    high = np.maximum(open_, close) + up
    low = np.minimum(open_, close) - down
    index = pd.date_range("2024-01-01", periods=len(candles), freq="1h", tz="UTC").as_unit("ns")
    distance = candles[:, 5] / 4
    distance[distance == 0] = NAN
    bars = Bars(index.asi8, open_, high, low, close)
    return Market(index, bars, candles[:, 4].astype(np.int8), distance)


def windows_of(market: Market) -> st.SearchStrategy[tuple[int, int]]:
    n = len(market.index)
    return st.tuples(st.integers(0, n), st.integers(0, n)).map(lambda ends: tuple(sorted(ends)))


# --- stops -----------------------------------------------------------------------------------


@given(market=markets(), side=st.sampled_from([-1, 1]), forced=st.sets(st.integers(0, MAX_BARS)))
def test_a_stop_never_loosens(market: Market, side: int, forced: set[int]):
    bars = market.bars
    entry, risk = bars.open[0], 3.0
    stop, trailing = entry - side * risk, False
    for bar in range(len(market.index)):
        prices = (bars.open[bar], bars.high[bar], bars.low[bar], bars.close[bar])
        favourable = bars.high[bar] if side > 0 else bars.low[bar]
        forced_stop = entry if bar in forced and side * (favourable - entry) > 0 else NAN
        before = stop
        exit_price, reason, stop, trailing = step(
            side, entry, risk, stop, trailing, *prices, market.stop_distance[bar], forced_stop, NAN
        )
        assert side * (stop - before) >= 0
        if reason != OPEN:
            assert bars.low[bar] <= exit_price <= bars.high[bar]
            break


@given(market=markets())
def test_a_stop_loss_without_a_gap_and_costs_is_exactly_minus_one_r(market: Market):
    trades = market.trades(market.free)
    stopped = trades[trades["reason"] == ExitReason.STOP_LOSS]
    gapped = stopped["exit_price"] == market.bars.open[stopped["exit_bar"]]
    assert (stopped["r"][~gapped] == -1).all()
    assert (stopped["r"][gapped] <= -1).all()


@given(market=markets())
def test_nothing_but_a_gap_or_the_windows_end_loses_more_than_it_says(market: Market):
    trades = market.trades(market.free)
    at_open = trades["exit_price"] == market.bars.open[trades["exit_bar"]]
    ended = trades["reason"] == ExitReason.WINDOW_END
    assert (trades["r"][~at_open & ~ended] >= -1).all()
    assert (trades["r"][ended] > -1).all()  # or its stop would have been hit
    kept = trades[~at_open]
    assert (kept["r"][kept["reason"] == ExitReason.BREAK_EVEN] == 0).all()
    assert (kept["r"][kept["reason"] == ExitReason.TRAILING_STOP] > 0).all()


@given(market=markets())
def test_every_fill_lies_within_its_bar(market: Market):
    trades = market.trades(market.free)
    bars = market.bars
    np.testing.assert_array_equal(trades["entry_price"], bars.open[trades["entry_bar"]])
    assert (bars.low[trades["exit_bar"]] <= trades["exit_price"]).all()
    assert (trades["exit_price"] <= bars.high[trades["exit_bar"]]).all()
    assert (trades["decision_bar"] + 1 == trades["entry_bar"]).all()
    assert (trades["entry_bar"] <= trades["exit_bar"]).all()
    assert (trades["decision_bar"][1:] >= trades["exit_bar"][:-1]).all()


# --- costs -----------------------------------------------------------------------------------


@given(market=markets())
def test_costs_change_the_r_of_a_trade_and_nothing_else(market: Market):
    free, charged = market.trades(market.free), market.trades(market.charged)
    for name in set(free.dtype.names) - {"r"}:
        np.testing.assert_array_equal(free[name], charged[name])
    fills = 0.0006 * (free["entry_price"] + free["exit_price"]) / free["risk"]
    assert (charged["r"] <= free["r"] - fills + 1e-12).all()  # funding comes on top
    short = free["side"] < 0
    np.testing.assert_allclose(charged["r"][short], (free["r"] - fills)[short], atol=1e-12)


# --- the same trades, another way ------------------------------------------------------------


@given(market=markets(), data=st.data())
def test_the_table_of_outcomes_holds_the_trades_that_follow_the_signals(
    market: Market, data: st.DataObject
):
    start, end = data.draw(windows_of(market))
    table_exit, table_r = outcomes(
        market.bars, market.stop_distance, market.charged, start=start, end=end
    )
    picked = []
    bar = start
    while bar < end:
        side = int(market.signals[bar])
        column = int(side > 0)
        if side == 0 or table_exit[bar - start, column] < 0:
            bar += 1
            continue
        exit_bar = int(table_exit[bar - start, column])
        picked.append((bar, exit_bar, side, table_r[bar - start, column]))
        bar = exit_bar
    trades = market.trades(market.charged, start=start, end=end)
    assert picked == trades[["decision_bar", "exit_bar", "side", "r"]].tolist()


@given(market=markets())
def test_outcomes_are_missing_exactly_where_nothing_can_be_decided(market: Market):
    n = len(market.index)
    table_exit, table_r = outcomes(market.bars, market.stop_distance, market.free, start=0, end=n)
    possible = market.stop_distance > 0
    possible[-1] = False
    np.testing.assert_array_equal(table_exit >= 0, np.column_stack([possible, possible]))
    np.testing.assert_array_equal(np.isfinite(table_r), np.column_stack([possible, possible]))


@given(market=markets())
def test_carrying_positions_bar_by_bar_makes_the_same_trades(market: Market):
    """The trading bot's way: one call of the step function as each bar closes."""
    bars, n = market.bars, len(market.index)
    made = []
    position = None
    for bar in range(n):
        if position is None and bar > 0:
            side, risk = int(market.signals[bar - 1]), market.stop_distance[bar - 1]
            if side and risk > 0:
                entry = bars.open[bar]
                position = (bar, side, entry, risk, entry - side * risk, False)
        if position is None:
            continue
        entry_bar, side, entry, risk, stop, trailing = position
        prices = (bars.open[bar], bars.high[bar], bars.low[bar], bars.close[bar])
        exit_price, reason, stop, trailing = step(
            side, entry, risk, stop, trailing, *prices, market.stop_distance[bar], NAN, NAN
        )
        position = (entry_bar, side, entry, risk, stop, trailing)
        if reason == OPEN and bar == n - 1:
            exit_price, reason = bars.close[bar], int(ExitReason.WINDOW_END)
        if reason != OPEN:
            made.append((entry_bar, bar, side, entry, exit_price, risk, reason))
            position = None
    fields = ["entry_bar", "exit_bar", "side", "entry_price", "exit_price", "risk", "reason"]
    assert made == market.trades(market.free)[fields].tolist()


@given(market=markets())
def test_a_long_is_a_short_on_the_mirrored_candles(market: Market):
    bars = market.bars
    mirrored = market._replace(
        bars=Bars(
            bars.time,
            open=2 * CENTRE - bars.open,
            high=2 * CENTRE - bars.low,
            low=2 * CENTRE - bars.high,
            close=2 * CENTRE - bars.close,
        ),
        signals=-market.signals,
    )
    trades, reflected = market.trades(market.free), mirrored.trades(market.free)
    for name in ("decision_bar", "entry_bar", "exit_bar", "risk", "reason", "r"):
        np.testing.assert_array_equal(trades[name], reflected[name])
    for name in ("entry_price", "exit_price"):
        np.testing.assert_array_equal(trades[name], 2 * CENTRE - reflected[name])
    np.testing.assert_array_equal(trades["side"], -reflected["side"])


@given(market=markets())
def test_labels_are_what_a_plain_search_finds(market: Market):
    bars, n = market.bars, len(market.index)

    def first(reached: NDArray[np.bool_]) -> float:
        return float(np.flatnonzero(reached)[0]) if reached.any() else math.inf

    label, resolved = labels(bars, market.stop_distance)
    for bar in range(n):
        risk = market.stop_distance[bar]
        if bar == n - 1 or not risk > 0:
            assert (label[bar], resolved[bar]) == (0, n)
            continue
        entry, high, low = bars.open[bar + 1], bars.high[bar + 1 :], bars.low[bar + 1 :]
        long_stop, long_target = first(low <= entry - risk), first(high >= entry + 3 * risk)
        short_stop, short_target = first(high >= entry + risk), first(low <= entry - 3 * risk)
        if long_target < long_stop:
            expected = (1, bar + 1 + long_target)
        elif short_target < short_stop:
            expected = (-1, bar + 1 + short_target)
        else:
            expected = (0, min(bar + 1 + max(long_stop, short_stop), n))
        assert (label[bar], resolved[bar]) == expected


# --- what a trade may depend on --------------------------------------------------------------


def scrambled(values: NDArray[np.float64], keep: slice) -> NDArray[np.float64]:
    """Values outside ``keep`` tripled."""
    twisted = values * 3
    twisted[keep] = values[keep]
    return twisted


def twisted_outside(market: Market, keep: slice) -> Market:
    signals = -np.ones_like(market.signals)
    signals[keep] = market.signals[keep]
    return market._replace(
        bars=Bars(market.bars.time, *(scrambled(prices, keep) for prices in market.bars[1:])),
        signals=signals,
        stop_distance=scrambled(market.stop_distance, keep),
    )


@given(market=markets())
def test_what_comes_after_an_exit_does_not_change_the_trades_up_to_it(market: Market):
    trades = market.trades(market.charged)
    ended = trades[trades["reason"] != ExitReason.WINDOW_END]
    assume(len(ended))
    count = (len(ended) + 1) // 2
    last = int(ended["exit_bar"][count - 1])
    changed = twisted_outside(market, slice(0, last + 1)).trades(market.charged)
    np.testing.assert_array_equal(changed[:count], trades[:count])


@given(market=markets(), data=st.data())
def test_candles_outside_the_window_do_not_change_its_trades(market: Market, data: st.DataObject):
    start, end = data.draw(windows_of(market))
    trades = market.trades(market.charged, start=start, end=end)
    changed = twisted_outside(market, slice(start, end))
    np.testing.assert_array_equal(changed.trades(market.charged, start=start, end=end), trades)
    tables = [
        outcomes(each.bars, each.stop_distance, market.charged, start=start, end=end)
        for each in (market, changed)
    ]
    for before, after in zip(*tables, strict=True):
        np.testing.assert_array_equal(before, after)


# --- interventions ---------------------------------------------------------------------------


@st.composite
def intervention_lists(draw: st.DrawFn) -> list[Intervention]:
    minutes = st.integers(0, 60 * MAX_BARS)
    one = st.builds(
        lambda minute, kind, price: Intervention(
            pd.Timestamp("2024-01-01T00:00Z") + pd.Timedelta(minutes=minute), kind, price
        ),
        minutes,
        st.sampled_from(InterventionKind),
        st.integers(-100, 100).map(lambda quarters: CENTRE + quarters / 4),
    )
    return draw(st.lists(one, max_size=8, unique_by=lambda each: each.time))


@given(market=markets(), others=intervention_lists())
def test_halted_from_the_beginning_nothing_is_traded(market: Market, others: list[Intervention]):
    halt = Intervention(market.index[0], HALT)
    kept = [each for each in others if each.kind != RESUME]
    assert len(market.trades(market.charged, (*kept, halt))) == 0


@given(market=markets())
def test_everything_refused_nothing_is_traded(market: Market):
    refusals = tuple(Intervention(time, REFUSE) for time in market.index)
    assert len(market.trades(market.charged, refusals)) == 0


@given(market=markets(), acts=intervention_lists(), data=st.data())
def test_the_order_in_which_interventions_are_listed_does_not_matter(
    market: Market, acts: list[Intervention], data: st.DataObject
):
    shuffled = data.draw(st.permutations(acts))
    np.testing.assert_array_equal(
        market.trades(market.charged, tuple(acts)), market.trades(market.charged, tuple(shuffled))
    )


@given(market=markets(), acts=intervention_lists(), data=st.data())
def test_interventions_do_not_change_trades_that_ended_before_them(
    market: Market, acts: list[Intervention], data: st.DataObject
):
    bar = data.draw(st.integers(0, len(market.index) - 1))
    later = tuple(each for each in acts if each.time >= market.index[bar])
    trades, changed = market.trades(market.charged), market.trades(market.charged, later)
    count = int((trades["exit_bar"] < bar).sum())
    np.testing.assert_array_equal(changed[:count], trades[:count])
