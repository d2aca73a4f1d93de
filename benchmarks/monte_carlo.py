"""Monte Carlo of random entries: seconds, and seconds a bar beside vectorbt and backtesting.py.

python -m benchmarks.monte_carlo [--candles PATH]

What the others cannot express. vectorbt: its stop trails from the entry on, at a distance that
is fixed there, and is not checked in the entry bar; no break-even, no trailing from 2R on only,
no funding. backtesting.py: its strategy is Python and moves the stop by the very rules, but it
has no funding. Both make their orders only: no R-multiples, summaries or equity curves, which
are in our own time, as are the tables of all outcomes. Machine code is loaded beforehand.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stderr
from io import StringIO
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from backtesting import Backtest, Strategy

from benchmarks._common import TIMEFRAME, load_market, show
from strategy.config import Config
from strategy.exits import BREAK_EVEN_AT_R, TRAIL_AT_R
from strategy.windows import Window
from training.random_signal_simulator import Simulation, monte_carlo
from training.walk_forward import PreparedMarket

ATR_PERIOD = 14
SIMULATIONS = 1000
ENTRY_PROBABILITY = 0.25
"""Of a buy, and of a sell, at every bar without a position."""
REPEATS = 3


class Run(NamedTuple):
    seconds: float
    bars: int
    """Bars x simulations."""
    trades: float
    """A simulation of one window."""

    @property
    def nanoseconds(self) -> float:
        """A bar and simulation."""
        return 1e9 * self.seconds / self.bars


def best_of(times: int, work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds of the fastest repetition, and the last one's result."""
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        result = work()
        seconds.append(time.perf_counter() - start)
    return min(seconds), result


def ours(market: PreparedMarket, windows: tuple[Window, ...], repeats: int = REPEATS) -> Run:
    """The Monte Carlo of a campaign's candidate, its tables of outcomes included."""
    bars = {window.number: window.validation_end - window.train_end for window in windows}
    wanted = {number: round(ENTRY_PROBABILITY * count) for number, count in bars.items()}
    counts = {number: (n, bars[number] - 2 * n, n) for number, n in wanted.items()}

    def simulate() -> Simulation:
        return monte_carlo(market, ATR_PERIOD, counts, 0.0, n_simulations=SIMULATIONS, seed=7)

    seconds, simulation = best_of(repeats, simulate)
    trades = simulation.entries.trades.mean() / len(windows)
    return Run(seconds, SIMULATIONS * sum(bars.values()), trades)


def vectorbt(market: PreparedMarket, window: Window, repeats: int = REPEATS) -> Run:
    """One window in as many columns; the random signals are drawn before the clock starts."""
    import vectorbt as vbt

    bars = slice(window.train_end, window.validation_end)
    candles = market.candles.iloc[bars]
    decided = slice(bars.start - 1, bars.stop - 1)  # at the close before the bar that fills
    stops = market.stop_distance(ATR_PERIOD)[decided] / candles["open"].to_numpy()
    draws = np.random.default_rng(7).random((len(candles), SIMULATIONS))
    buys, sells = draws < ENTRY_PROBABILITY, draws >= 1 - ENTRY_PROBABILITY

    def simulate() -> Any:
        return vbt.Portfolio.from_signals(
            candles["close"],
            entries=buys,
            short_entries=sells,
            upon_opposite_entry="ignore",
            price=candles["open"],
            open=candles["open"],
            high=candles["high"],
            low=candles["low"],
            sl_stop=stops[:, None],
            sl_trail=True,
            stop_entry_price="price",
            size=1.0,
            init_cash=np.inf,
            fees=market.config.costs.per_side,
            freq="1h",
        )

    seconds, portfolio = best_of(repeats, simulate)
    return Run(seconds, SIMULATIONS * len(candles), len(portfolio.trades.records) / SIMULATIONS)


class RandomEntry(Strategy):  # type: ignore[misc]
    """Random entries under this project's exits, in backtesting.py's terms."""

    stop_distance: np.ndarray

    def init(self) -> None:
        self.rng = np.random.default_rng(7)
        self.risk = 0.0
        self.trailing = False

    def next(self) -> None:
        distance = self.stop_distance[len(self.data) - 1]
        close = self.data.Close[-1]
        if not self.position:
            draw = self.rng.random()
            self.risk, self.trailing = distance, False
            if draw < ENTRY_PROBABILITY:
                self.buy(size=1, sl=close - distance)
            elif draw >= 1 - ENTRY_PROBABILITY:
                self.sell(size=1, sl=close + distance)
            return
        trade = self.trades[0]
        side = 1 if trade.is_long else -1
        favourable = self.data.High[-1] if trade.is_long else self.data.Low[-1]
        profit = side * (favourable - trade.entry_price) / self.risk
        stop = trade.sl
        if profit >= BREAK_EVEN_AT_R and side * (trade.entry_price - stop) > 0:
            stop = trade.entry_price
        self.trailing |= profit >= TRAIL_AT_R
        trail = close - side * distance
        if self.trailing and side * (trail - stop) > 0:
            stop = trail
        if stop != trade.sl:
            trade.sl = stop


def backtesting(market: PreparedMarket, window: Window) -> Run:
    """One pass over one window; its preparation of the data is not counted."""
    bars = slice(window.train_end, window.validation_end)
    candles = market.candles.iloc[bars].rename(columns=str.capitalize)
    RandomEntry.stop_distance = market.stop_distance(ATR_PERIOD)[bars]
    test = Backtest(candles, RandomEntry, cash=1e9, commission=market.config.costs.per_side)
    with redirect_stderr(StringIO()):  # its progress bar
        seconds, result = best_of(REPEATS, test.run)
    return Run(seconds, len(candles), result["# Trades"])


def first_calls(candles: pd.DataFrame, config: Config) -> tuple[float, float]:
    """Seconds of the very first calls in a process, ours and vectorbt's."""
    market = PreparedMarket(candles, TIMEFRAME, config)
    first = ours(market, market.windows[-1:], 1).seconds
    return first, vectorbt(market, market.windows[-1], 1).seconds


def without_machine_code(candles: pd.DataFrame, config: Config) -> tuple[float, float]:
    """The first calls where nothing was compiled before."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["NUMBA_CACHE_DIR"] = folder
        spawned = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, spawned) as process:
            return process.submit(first_calls, candles, config).result()


def main() -> None:
    candles, config = load_market(__doc__, "1 minute")
    market = PreparedMarket(candles, TIMEFRAME, config)
    last = market.windows[-1]
    first_calls(candles, config)
    whole, one = ours(market, market.windows), ours(market, (last,))
    vbt, bt = vectorbt(market, last), backtesting(market, last)
    compiling = without_machine_code(candles, config)

    print(f"{SIMULATIONS} simulations of random entries, ATR {ATR_PERIOD}:")
    show(
        f"{len(market.windows)} windows, tables of outcomes included",
        f"{whole.seconds:.2f} s",
        "<= 2 s",
        whole.seconds <= 2,
    )
    print("ns a bar and simulation, and trades a simulation of a window:")
    runs = {
        f"here, {len(market.windows)} windows": whole,
        "here, the last window": one,
        "vectorbt, the last window": vbt,
        "backtesting.py, the last window": bt,
    }
    for name, run in runs.items():
        show(name, f"{run.nanoseconds:.1f}", f"{run.trades:.0f} trades")
    ratio = vbt.nanoseconds / whole.nanoseconds
    show("vectorbt over ours", f"{ratio:.1f}", ">= 10", ratio >= 10)
    ratio = bt.nanoseconds / whole.nanoseconds
    show("backtesting.py over ours", f"{ratio:.0f}", ">= 1000", ratio >= 1000)
    print("first call in a process, with nothing compiled before:")
    show("here", f"{compiling[0]:.1f} s")
    show("vectorbt", f"{compiling[1]:.1f} s")


if __name__ == "__main__":
    main()
