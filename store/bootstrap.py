"""Recorded candles whose order is destroyed: blocks of them, drawn at random and chained.

What a bar may look like is kept, and how bars follow each other within a block; whatever could
be foreseen over longer than a block is gone. (The moving block bootstrap: Künsch, 1989, The
Jackknife and the Bootstrap for General Stationary Observations.)
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from strategy.candles import find_gaps, timeframe_delta
from strategy.errors import DataError

PRICES = ["open", "high", "low", "close"]


def block_bootstrap(
    rng: np.random.Generator,
    candles: pd.DataFrame,
    timeframe: str,
    bars: int,
    start: pd.Timestamp,
    *,
    block: int,
) -> pd.DataFrame:
    """Chain random blocks of recorded candles into a market of their own, without a trend.

    A candle's shape is its four prices over the close before it; within a block shapes follow
    each other as they were recorded. All shapes are divided by the mean growth from close to
    close, so that the price neither rises nor falls on average: a recorded trend would be
    something to earn.

    Parameters
    ----------
    rng
        The only source of chance.
    candles
        A candle frame; no block spans one of its gaps.
    bars
        Number of candles to make.
    start
        Open time of the first, UTC.
    block
        Candles in a block.

    Returns
    -------
    A candle frame of shape (bars, 5), without gaps; it begins at the first close recorded.

    Raises
    ------
    DataError
        No stretch of the candles between gaps is longer than a block.
    """
    starts = _starts(candles, timeframe, block)
    if not len(starts):
        raise DataError(
            f"no stretch of these {len(candles)} candles is longer than {block} bars: give more, "
            "with fewer gaps"
        )
    prices = candles[PRICES].to_numpy()
    before = prices[:-1, -1:]
    shapes = np.vstack([np.full((1, len(PRICES)), np.nan), prices[1:] / before])
    # as often as a bar may be drawn: at the ends of a stretch that is less often
    shapes /= shapes[starts[:, None] + np.arange(block), -1].mean()
    drawn = rng.choice(starts, size=-(-bars // block))
    rows = (drawn[:, None] + np.arange(block)).ravel()[:bars]
    closes = prices[0, -1] * np.cumprod(shapes[rows, -1])
    chained = shapes[rows] * np.concatenate([prices[:1, -1], closes[:-1]])[:, None]
    chained[:, -1] = closes
    # the two roundings may differ: the candle's extremes have the last word
    chained[:, 1] = chained.max(axis=1)
    chained[:, 2] = chained.min(axis=1)
    index = pd.date_range(start, periods=bars, freq=timeframe_delta(timeframe))
    return pd.DataFrame(
        {**dict(zip(PRICES, chained.T, strict=True)), "volume": candles["volume"].to_numpy()[rows]},
        index=index.rename("timestamp").as_unit("ns"),
    )


def _starts(candles: pd.DataFrame, timeframe: str, block: int) -> NDArray[np.int64]:
    """Rows at which a block may begin: each of its candles follows the one before it."""
    after_gap = candles.index.isin(find_gaps(candles, timeframe)["before"])
    after_gap[0] = True
    breaks = np.concatenate([[0], np.cumsum(after_gap)])
    begin = np.arange(max(0, len(candles) - block + 1))
    unbroken: NDArray[np.int64] = begin[breaks[begin + block] == breaks[begin]]
    return unbroken
