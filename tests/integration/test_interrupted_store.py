"""Ctrl-C in the midst of what is written to an embedded MLflow store."""

from __future__ import annotations

import itertools
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest

from registry.connection import connect, ensure_experiment, ensure_store
from registry.tracking import CampaignTracker, CandleSource, open_campaign

PLACES = 16


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], CampaignTracker]:
    folder = tmp_path_factory.mktemp("interrupted")
    uri = f"sqlite:///{folder}/mlflow.db"
    ensure_store(uri)
    client = connect(uri)
    experiment = ensure_experiment(client, "discovery", folder / "artifacts")

    def numbered(number: int) -> CampaignTracker:
        return open_campaign(
            client,
            experiment,
            f"campaign{number}",
            name="interrupted",
            params={},
            tags={},
            candles=CandleSource("BTCUSDT-1h", "ab" * 32, "candles.csv", "local"),
            clock=itertools.count(1_700_000_000_000, 1000).__next__,
        )

    return numbered


@contextmanager
def ctrl_c_after(calls: int) -> Iterator[list[int]]:
    """As a terminal's, while Python makes its nth call; yields how many calls are left."""
    left = [calls]

    def count(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call":
            left[0] -= 1
            if left[0] == 0:
                signal.raise_signal(signal.SIGINT)

    sys.setprofile(count)
    try:
        yield left
    finally:
        sys.setprofile(None)


@pytest.fixture(autouse=True)
def heed_ctrl_c() -> Iterator[None]:
    """Tests that a shell runs in the background are deaf to it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_ctrl_c_anywhere_in_a_transaction_leaves_a_store_that_can_be_written(
    campaign: Callable[[int], CampaignTracker],
) -> None:
    """It once raised MLflow's own error, without a text, or left the database locked."""
    tracker = campaign(0)
    tracker.open_trial(1, params={"lookback": 5}, tags={})  # the first time, it prepares a lot
    with ctrl_c_after(sys.maxsize) as left:
        tracker.open_trial(2, params={"lookback": 5}, tags={})
    calls = sys.maxsize - left[0]
    for number in range(1, PLACES):
        tracker = campaign(number)
        with pytest.raises(KeyboardInterrupt), ctrl_c_after(calls * number // PLACES):
            tracker.open_trial(1, params={"lookback": 5}, tags={})
        tracker.finish("KILLED", "interrupted")
        again = campaign(number)
        again.open_trial(1, params={"lookback": 5}, tags={})
        assert not again.is_finished


def test_ctrl_c_and_a_termination_each_arrive_once_and_after_the_transaction(
    campaign: Callable[[int], CampaignTracker],
) -> None:
    arrived: list[int] = []
    tracker = campaign(PLACES)
    before = {
        number: signal.signal(number, lambda number, _: arrived.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    create_run = tracker._client.create_run

    def signalled(*arguments: Any, **named: Any) -> Any:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGINT):
            signal.raise_signal(number)
        assert arrived == []
        return create_run(*arguments, **named)

    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tracker._client, "create_run", signalled)
            tracker.open_trial(1, params={}, tags={})
        assert arrived == [signal.SIGTERM, signal.SIGINT]
        signal.raise_signal(signal.SIGINT)
        assert len(arrived) == 3
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_another_thread_writes_without_touching_the_signals(
    campaign: Callable[[int], CampaignTracker],
) -> None:
    """Python lets the main thread alone set what a signal does."""
    tracker = campaign(PLACES + 1)
    opened: list[str] = []
    thread = threading.Thread(
        target=lambda: opened.append(tracker.open_trial(1, params={}, tags={}))
    )
    thread.start()
    thread.join()
    assert len(opened) == 1
