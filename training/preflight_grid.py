"""The preflight over a grid of exit rules: which of them would be worth a campaign?

A cell is the estimate of :func:`training.preflight.estimate` for its rules and fee, from the
same draws. What cells share is computed once: ATR by timeframe and period; and the trades that
random entries pick by exit rules, because no cost moves an exit. A trade's net R falls in
proportion to the fee, so one pass over the draws gives every fee.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from strategy.candles import resample
from strategy.config import BreakEven, Config
from strategy.costs import Charges, charges_on
from strategy.exits import stop_distance
from strategy.indicators import atr, rolling_mean
from strategy.jit import compiled
from strategy.simulate import Bars, outcomes
from strategy.windows import Window, walk_forward_windows
from training.random_entries import RandomEntries, passes_gate

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Grid(NamedTuple):
    """What is tried: every combination of these."""

    timeframes: tuple[str, ...]
    break_evens: tuple[BreakEven, ...]
    atr_periods: tuple[int, ...]
    fees: tuple[float, ...]
    """Per side, as fractions of the notional; slippage and funding stay as configured."""

    @property
    def size(self) -> int:
        return len(self.timeframes) * len(self.break_evens) * len(self.atr_periods) * len(self.fees)


class ExitRules(NamedTuple):
    """All that fixes where a random entry ends."""

    timeframe: str
    break_even: BreakEven
    atr_period: int


@dataclass(frozen=True)
class Cell:
    """What the Monte Carlo gate would say of one set of exit rules at one fee."""

    rules: ExitRules
    fee: float
    mean_expectancy: float
    """R per trade, mean over the simulations; NaN if none traded."""
    share_positive: float
    p_value: float
    trades_per_window: float
    """Mean over simulations and validation windows."""
    fee_limit: float
    """Per side, as a fraction: with any fee below it, enough simulations are positive. Negative
    if they are not even without a fee."""
    passes: bool


def evaluate(candles: pd.DataFrame, timeframe: str, grid: Grid, config: Config) -> Iterator[Cell]:
    """Evaluate the grid cell by cell: by timeframe, ATR period, multiplier range and fee.

    Parameters
    ----------
    candles
        Of ``timeframe``, which all of the grid's must be multiples of.

    Raises
    ------
    ConfigError
        A timeframe of the grid cannot be made from the candles' own.
    DataError
        The candles are too few for one walk-forward window.
    """
    for target in grid.timeframes:
        frame = candles if target == timeframe else resample(candles, timeframe, target)
        index, bars = pd.DatetimeIndex(frame.index), Bars.of(frame)
        windows = walk_forward_windows(index, target, config.walk_forward_config)
        free = charges_on(index, target, config.costs.model_copy(update={"fee_per_side": 0.0}))
        for period in grid.atr_periods:
            current = atr(bars.high, bars.low, bars.close, period)
            for rule in grid.break_evens:
                mean = rolling_mean(current, rule.historical_atr_window)
                offer = _offer(bars, stop_distance(current, mean, rule), free, windows)
                sums = _simulated(offer, config)
                rules = ExitRules(target, rule, period)
                for fee in grid.fees:
                    yield _cell(rules, fee, sums, len(windows), config)


class _Offer(NamedTuple):
    """Every trade of all windows, one after the other; shape (n, 2), column 0 short, 1 long.

    A window's last bar, at which nothing can be decided, is left out: so a trade that ends in
    it goes on at the first bar of the next window.
    """

    resume: Ints
    """Row at which the next entry may be decided; -1 where there is no trade."""
    before_fee: Floats
    """R-multiple net of slippage and funding."""
    turnover: Floats
    """What a fee is charged on, in R: (entry + exit price) / risk."""


class _Sums(NamedTuple):
    """One figure a simulation, shape (n_simulations,)."""

    trades: Floats
    before_fee: Floats
    turnover: Floats


def _offer(bars: Bars, distance: Floats, free: Charges, windows: Sequence[Window]) -> _Offer:
    charged = free._replace(per_side=free.per_side + 1.0)
    resume, before_fee, turnover = [], [], []
    begin = 0
    for window in windows:
        start, end = window.train_end, window.validation_end
        exit_bar, r = outcomes(bars, distance, free, start=start, end=end)
        _, r_charged = outcomes(bars, distance, charged, start=start, end=end)
        resume.append(np.where(exit_bar < 0, -1, exit_bar - start + begin)[:-1])
        before_fee.append(r[:-1])
        turnover.append((r - r_charged)[:-1])
        begin += len(resume[-1])
    return _Offer(np.concatenate(resume), np.concatenate(before_fee), np.concatenate(turnover))


def _simulated(offer: _Offer, config: Config) -> _Sums:
    rule = config.monte_carlo_config
    sums = [
        _pick(*offer, config.preflight.entry_probability, np.random.default_rng(child))
        for child in np.random.SeedSequence(rule.random_seed).spawn(rule.n_simulations)
    ]
    return _Sums(*np.array(sums).T)


@compiled
def _pick(
    resume: Ints,
    before_fee: Floats,
    turnover: Floats,
    probability: float,
    rng: np.random.Generator,
) -> tuple[float, float, float]:
    """Trade random entries through the offer once, as :mod:`training.random_entries` draws them."""
    trades, before, turned = 0.0, 0.0, 0.0
    row = 0
    while row < len(resume):
        draw = rng.random()
        column = 1 if draw < probability else 0
        if draw >= probability + probability or resume[row, column] < 0:
            row += 1
            continue
        trades += 1.0
        before += before_fee[row, column]
        turned += turnover[row, column]
        row = resume[row, column]
    return trades, before, turned


def _cell(rules: ExitRules, fee: float, sums: _Sums, windows: int, config: Config) -> Cell:
    rule = config.monte_carlo_config
    with np.errstate(invalid="ignore"):  # 0/0: a simulation without trades
        expectancy = (sums.before_fee - fee * sums.turnover) / sums.trades
        limits = np.nan_to_num(sums.before_fee / sums.turnover, nan=-np.inf)
    unknown = np.full(len(expectancy), np.nan)
    entries = RandomEntries(
        expectancy=expectancy,
        hit_rate=unknown,
        profit_factor=unknown,
        max_drawdown=unknown,
        trades=sums.trades,
        equity=np.empty((len(expectancy), 0), dtype=np.float32),
    )
    needed = 1 + math.floor(rule.confidence_level * len(limits))  # the gate asks for more than
    return Cell(
        rules,
        fee,
        entries.mean_expectancy,
        entries.share_positive,
        entries.p_value,
        float(sums.trades.mean()) / windows,
        float(np.sort(limits)[-needed]),
        passes_gate(entries, rule),
    )
