"""Processes that work for one job, and never outlive it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import ParamSpec

from strategy.errors import RetryError

Arguments = ParamSpec("Arguments")


@contextmanager
def process_pool(
    jobs: int,
    prepare: Callable[Arguments, None],
    *arguments: Arguments.args,
    **named: Arguments.kwargs,
) -> Iterator[Executor]:
    """Processes that are prepared once, by a call each, and then do what they are given.

    They are spawned, not forked (LightGBM's OpenMP threads do not survive a fork), and leave
    Ctrl-C to the parent, which drops what waits and lets them finish the unit in hand.
    Should the parent be killed, they end with it.

    Raises
    ------
    RetryError
        A process died, as when the machine runs out of memory.
    """
    executor = ProcessPoolExecutor(
        max_workers=jobs,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_prepared,
        initargs=(prepare, arguments, named),
    )
    try:
        with _ctrl_c_held():
            for _ in range(jobs):
                executor.submit(os.getpid)  # starts a process, which gets ready meanwhile
        yield executor
    except BrokenProcessPool as error:
        raise RetryError(
            "a worker process died (was it killed for lack of memory?): run it again, with fewer "
            "--jobs if it happens again"
        ) from error
    finally:
        executor.shutdown(cancel_futures=True)


@contextmanager
def _ctrl_c_held() -> Iterator[None]:
    """Processes that are started meanwhile are deaf to Ctrl-C from their first moment."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _prepared(
    prepare: Callable[..., None], arguments: tuple[object, ...], named: dict[str, object]
) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    prepare(*arguments, **named)


def _end_with_parent() -> None:
    """A worker holds both ends of its queue, so that nothing else would tell it."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
