"""Lets every client of Binance's that the functions make go somewhere else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

import ccxt

import store.binance_futures
import store.binance_klines
from serving import data_downloader

Redirect = Callable[[ccxt.binanceusdm], ccxt.binanceusdm]


@contextmanager
def redirected(redirect: Redirect) -> Iterator[None]:
    """Have the clients that are made meanwhile pass through this."""
    public, private = store.binance_klines.connect, store.binance_futures.connect_futures

    def connect() -> ccxt.binanceusdm:
        return redirect(public())

    def connect_futures(*account: str) -> ccxt.binanceusdm:
        return redirect(private(*account))

    with ExitStack() as patches:
        for module in (store.binance_klines, data_downloader):
            patches.enter_context(patch.object(module, "connect", connect))
        futures = store.binance_futures
        patches.enter_context(patch.object(futures, "connect_futures", connect_futures))
        yield
