"""Weeks and months of live trading, with faults at random, beside the simulation of the same bars.

Everything that can go wrong does (:mod:`tests.integration.live_trading_storm`), often several at
once. What must hold is checked after every tick that ended normally, and at the end the trades
are the simulation's, given what the journal says was done from outside.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd
import pytest

from rehearsal.binance.futures import FuturesServer
from store.candles import CandleFile
from store.synthetic import SyntheticSource
from tests.integration.live_trading import ROOT, World
from tests.integration.live_trading_market import BTC, QUIET, TIMEFRAME
from tests.integration.live_trading_storm import OF, Storm, Voyage

REAL_CANDLES = ROOT.parent / "shared" / "data" / "BTCUSDT-1h.parquet"
DAY, MONTH = 24, 30 * 24
MONTHS = 8
RATES = (0.02, 0.05, 0.1, 0.2)
"""Of faults among requests."""


def voyage(server: FuturesServer, candles: pd.DataFrame, seed: int, rate: float) -> Voyage:
    """Through all bars that come after those which the exits need; entries at random."""
    rng = np.random.default_rng(seed)
    signals = rng.choice([-1, 0, 1], len(candles), p=[0.3, 0.4, 0.3])
    world = World(server, candles, dict(zip(candles.index, signals.tolist(), strict=True)))
    found = Voyage(world, Storm(rng, rate))
    found.through(range(QUIET, len(candles)))
    return found


def synthetic(bars: int, seed: int) -> pd.DataFrame:
    source = SyntheticSource(seed=seed, bars=QUIET + bars, end=pd.Timestamp("2024-05-01", tz="UTC"))
    return source.load(BTC, TIMEFRAME).round(2)


def test_quiet_weeks_make_the_simulations_trades(server: FuturesServer) -> None:
    quiet = voyage(server, synthetic(14 * DAY, seed=3), seed=3, rate=0.0)
    assert quiet.world.differences() == []
    reasons = {trade.reason for trade in quiet.world.trades}
    assert {"stop_loss", "break_even", "trailing_stop"} <= reasons


@pytest.mark.parametrize(("seed", "rate"), [(1, 0.05), (2, 0.15)])
def test_stormy_days_make_the_simulations_trades(
    server: FuturesServer, seed: int, rate: float
) -> None:
    stormy = voyage(server, synthetic(5 * DAY, seed), seed, rate)
    assert stormy.world.differences() == []
    assert len(stormy.world.trades) > 5
    assert stormy.storm.counts["process died"] > 5


@pytest.mark.torture
def test_stormy_months_of_real_candles_make_the_simulations_trades(
    server: FuturesServer, capsys: pytest.CaptureFixture[str]
) -> None:
    if not REAL_CANDLES.exists():
        pytest.skip(f"there are no real candles at {REAL_CANDLES}")
    candles = CandleFile(REAL_CANDLES, 24).load(BTC, TIMEFRAME)
    first = int(candles.index.searchsorted(pd.Timestamp("2023-01-01", tz="UTC")))
    counts: Counter[str] = Counter()
    trades = requests = differences = 0
    for month in range(MONTHS):
        begin = first + month * MONTH
        rate = RATES[month % len(RATES)]
        lived = voyage(server, candles.iloc[begin - QUIET : begin + MONTH + 1], month, rate)
        found = lived.world.differences()
        counts += lived.storm.counts
        trades += len(lived.world.trades)
        requests += len(server.requests)
        differences += len(found)
        assert found == []
    with capsys.disabled():
        print(
            f"\n{MONTHS} months of live trading: {requests} requests, {trades} trades, "
            f"{counts.total()} things that went wrong, {differences} differences\n"
            + ", ".join(f"{number} {kind}" for kind, number in counts.most_common())
        )
    kinds = {kind for of_place in OF.values() for kind in of_place}
    assert kinds <= counts.keys(), "everything has happened"
