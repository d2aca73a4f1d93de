"""Random entries under a strategy's own exits: thousands of simulations in seconds.

Without interventions a trade is fixed by its decision bar and its side. All that could be
decided in a window are therefore worked out once, by the very step function that the
backtest uses (:func:`strategy.simulate.outcomes`), and a simulation only picks from that
table: while flat it draws one uniform number a bar, buys, sells or waits, and after a trade
goes on at the close of the bar in which it ended. The result equals simulating a random
signal on every bar, because signals that come while a position is open are ignored anyway.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from strategy import performance
from strategy.config import MonteCarlo
from strategy.jit import compiled

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class EntryWindow(NamedTuple):
    """One validation window: the trades it offers and how often the model wanted in."""

    start: int
    """First bar, as a position in the candle frame."""
    exit_bar: Ints
    """Shape (bars, 2), as :func:`strategy.simulate.outcomes` gives it."""
    r: Floats
    """Shape (bars, 2), net R-multiples."""
    buy_probability: float
    """Of a buy at any flat bar; the share of buy signals over all bars of the window."""
    sell_probability: float


class RandomEntries(NamedTuple):
    """Simulations of random entries, one row each."""

    expectancy: Floats
    """R per trade, shape (n_simulations,); NaN for a simulation without trades."""
    hit_rate: Floats
    profit_factor: Floats
    max_drawdown: Floats
    trades: Floats
    equity: NDArray[np.float32]
    """Running sum of R at the given times, shape (n_simulations, n_times)."""

    @property
    def share_positive(self) -> float:
        """Share of the simulations with positive expectancy (none traded: not positive)."""
        return float((self.expectancy > 0).mean())

    @property
    def mean_expectancy(self) -> float:
        """Mean over the simulations that traded."""
        return performance.expectancy(self.expectancy[np.isfinite(self.expectancy)])

    @property
    def p_value(self) -> float:
        """One-sample t-test of mean expectancy > 0 over the simulations.

        All simulations share one price path, so they are not independent and this
        overstates the significance.
        """
        return performance.mean_positive_p_value(self.expectancy[np.isfinite(self.expectancy)])

    def percentile_of(self, expectancy: float) -> float:
        """Share of the simulations that a given expectancy beats."""
        return float((self.expectancy < expectancy).mean())


def simulate_random_entries(
    windows: Sequence[EntryWindow],
    *,
    n_simulations: int,
    seed: int,
    equity_bars: Ints,
) -> RandomEntries:
    """Trade random entries through all windows, ``n_simulations`` times.

    Parameters
    ----------
    windows
        In order of time.
    seed
        Every simulation draws from its own child of this seed, so that the first hundred of
        a thousand simulations are the hundred that one would get by asking for a hundred.
    equity_bars
        Bars (positions in the candle frame, ascending) at which the equity is recorded.
    """
    most_trades = sum(len(window.r) for window in windows)
    exit_bar, r = np.empty(most_trades, dtype=np.int64), np.empty(most_trades)
    summaries, equity = [], []
    for child in np.random.SeedSequence(seed).spawn(n_simulations):
        rng = np.random.default_rng(child)
        count = 0
        for window in windows:
            count = _pick(*window, rng, exit_bar, r, count)
        summaries.append(performance.summary(r[:count]))
        running = np.concatenate([[0.0], np.cumsum(r[:count])])
        reached = np.searchsorted(exit_bar[:count], equity_bars, side="right")
        equity.append(running[reached].astype(np.float32))
    return RandomEntries(
        expectancy=np.array([each.expectancy for each in summaries]),
        hit_rate=np.array([each.hit_rate for each in summaries]),
        profit_factor=np.array([each.profit_factor for each in summaries]),
        max_drawdown=np.array([each.max_drawdown for each in summaries]),
        trades=np.array([each.trades for each in summaries], dtype=np.float64),
        equity=np.stack(equity),
    )


def passes_gate(entries: RandomEntries, rule: MonteCarlo) -> bool:
    """Whether random entries are robust: enough simulations gain, and their mean does."""
    return bool(
        entries.share_positive > rule.confidence_level
        and entries.mean_expectancy > 0
        and entries.p_value < rule.p_value_threshold
    )


@compiled
def _pick(
    start: int,
    exit_bar: Ints,
    r: Floats,
    buy_probability: float,
    sell_probability: float,
    rng: np.random.Generator,
    picked_exit: Ints,
    picked_r: Floats,
    count: int,
) -> int:
    """Append one window's random trades to those picked so far; return how many there are."""
    bar = 0
    last = len(exit_bar) - 1  # a decision at the window's last bar has no bar to fill in
    while bar < last:
        draw = rng.random()
        if draw >= buy_probability + sell_probability:
            bar += 1
            continue
        column = 1 if draw < buy_probability else 0
        if exit_bar[bar, column] < 0:
            bar += 1
            continue
        picked_exit[count] = exit_bar[bar, column]
        picked_r[count] = r[bar, column]
        count += 1
        bar = exit_bar[bar, column] - start
    return count
