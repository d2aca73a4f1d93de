"""Moves a position's stop with the bars that have closed."""

from __future__ import annotations

import math
from datetime import datetime

import pandas as pd

from serving.trading.desk import Desk
from serving.trading.positions import Position
from strategy import exits
from strategy.candles import open_times, timeframe_delta
from strategy.errors import DataError

_SHORT_OF = 1e-9  # of the stop: nearer than any exchange's tick


def step(desk: Desk, position: Position) -> None:
    """Move the stop with the bars that closed until now."""
    moved = stepped(desk, position, desk.clock())
    desk.ledger.account.positions[position.asset] = moved


def stepped(desk: Desk, position: Position, until: datetime) -> Position:
    """The position after the bars that closed by a moment.

    Raises
    ------
    DataError
        A bar has no trailing distance: there are too few candles before it.
    ConfigError, RetryError
        As the market says.
    """
    length = timeframe_delta(position.timeframe)
    begin, end = pd.Timestamp(position.stepped_until), pd.Timestamp(until).floor(length)
    if end <= begin:
        return position
    bars = position.rule.required_history + int((end - begin) / length)
    candles = desk.market.closed(position.asset, position.timeframe, bars)
    index = open_times(candles)
    distances = position.rule.distances(candles)
    prices = candles.to_numpy()[:, :4]
    for row in range(int(index.searchsorted(begin)), len(index)):
        closes = index[row] + length
        if closes > end:
            break
        if not distances[row] > 0:
            raise DataError(
                f"{position.position_id}: the bar of {position.asset} {position.timeframe} at "
                f"{index[row]} has no trailing distance; there are too few candles before it"
            )
        position = _after(position, prices[row].tolist(), float(distances[row])).but(
            stepped_until=closes.to_pydatetime()
        )
    return position


def _after(position: Position, bar: list[float], distance: float) -> Position:
    """The position after a bar, which did not reach its stop.

    The exchange knows better whether it did: where the bar says so and the position is still
    held (it was entered late, or the exchange's last price differs), the bar is read as if its
    extreme had stayed short of the stop.
    """
    opened, high, low, close = bar
    short_of = position.stop + position.side * _SHORT_OF * abs(position.stop)
    if position.side > 0:
        opened, low = max(opened, short_of), max(low, short_of)
    else:
        opened, high = min(opened, short_of), min(high, short_of)
    _, _, stop, trailing = exits.step(
        position.side, position.entry, position.risk, position.stop, position.trailing,
        opened, high, low, close, distance, math.nan, math.nan,
    )  # fmt: skip
    return position.but(stop=stop, trailing=trailing)
