"""Runs the campaigns that are not yet on file, in an order that keeps a cut run even."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait

import pandas as pd

from strategy.config import Config
from training.calibration.campaign import Record, calibrate
from training.calibration.markets import MARKETS, Market
from training.calibration.records import Key
from training.processes import process_pool

_config: Config
_recorded: pd.DataFrame | None
"""The worker process's own."""


def planned(markets: Sequence[Market], campaigns: Mapping[str, int]) -> list[Key]:
    """All campaigns, one of every market by turns: a run that is cut off is even so far."""
    last = max((campaigns[market.name] for market in markets), default=0)
    return [
        Key(market.name, seed)
        for seed in range(last)
        for market in markets
        if seed < campaigns[market.name]
    ]


def run(
    keys: Sequence[Key],
    config: Config,
    recorded: pd.DataFrame | None,
    *,
    jobs: int,
    on_record: Callable[[Key, Record], None],
) -> None:
    """Run campaigns and hand over each record as its campaign ends, in no fixed order.

    Raises
    ------
    RetryError
        A worker process died.
    """
    with process_pool(jobs, _prepare, config, recorded) as executor:
        for key, record in _ended(executor, iter(keys), in_flight=2 * jobs):
            on_record(key, record)


def _ended(executor: Executor, keys: Iterator[Key], in_flight: int) -> Iterator[tuple[Key, Record]]:
    running: dict[Future[Record], Key] = {}
    while True:
        while len(running) < in_flight and (key := next(keys, None)) is not None:
            running[executor.submit(_calibrate, key)] = key
        if not running:
            return
        done, _ = wait(running, return_when=FIRST_COMPLETED)
        for future in done:
            yield running.pop(future), future.result()


def _prepare(config: Config, recorded: pd.DataFrame | None) -> None:
    global _config, _recorded
    _config, _recorded = config, recorded


def _calibrate(key: Key) -> Record:
    market = MARKETS[key.market]
    return calibrate(market, key.seed, _config, _recorded if market.recorded else None)
