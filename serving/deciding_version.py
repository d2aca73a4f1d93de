"""A version as one that decides: what it says at the close of each bar, asked once for each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from registry.bundle import StrategyBundle


class _Said(NamedTuple):
    """What was said at each of these candles, and they themselves: both of the same length."""

    candles: pd.DataFrame
    signals: NDArray[np.int8]


@dataclass
class DecidingVersion:
    """A version's bundle that remembers what it said, as long as the candles are the same.

    Every day it is asked about all of its months, to which a day has added a few bars. A signal
    looks back over ``required_history`` bars and no further, so that one which is remembered is
    the one that would be computed; where a candle was revised, all are computed anew.
    """

    bundle: StrategyBundle
    _said: dict[pd.Timestamp, _Said] = field(default_factory=dict, init=False, repr=False)
    """By the time of the first candle that it looked at."""

    def signals(self, candles: pd.DataFrame, begin: int, end: int) -> NDArray[np.int8]:
        """What it says from one bar on, and before another.

        Parameters
        ----------
        candles
            A candle frame of n bars.
        begin, end
            Rows of it.

        Returns
        -------
        Shape (n,): -1 sell, 0 neutral, 1 buy; neutral in warm-up, before ``begin`` and from
        ``end`` on.
        """
        signals = np.zeros(len(candles), dtype=np.int8)
        if begin < end:
            needed = candles.iloc[max(0, begin - self.bundle.required_history) : end]
            signals[begin:end] = self._at_all(needed)[begin - end :]
        return signals

    def _at_all(self, candles: pd.DataFrame) -> NDArray[np.int8]:
        said = self._said.get(candles.index[0])
        if said is None or not _agree(said.candles, candles):
            said = _Said(candles.iloc[:0], np.zeros(0, dtype=np.int8))
        done, bars = len(said.candles), len(candles)
        if done < bars:
            looked_at = candles.iloc[max(0, done - self.bundle.required_history) :]
            fresh = self.bundle.signals(looked_at)["signal"].fillna(0).to_numpy(np.int8)
            said = _Said(candles, np.concatenate([said.signals, fresh[done - bars :]]))
            self._said[candles.index[0]] = said
        return said.signals[:bars]


def _agree(some: pd.DataFrame, others: pd.DataFrame) -> bool:
    """Whether candles that begin together are the same as far as both go."""
    common = min(len(some), len(others))
    return some.iloc[:common].equals(others.iloc[:common])
