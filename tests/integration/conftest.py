"""What tests of several files begin with: the campaign that was left alone, and Binance."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from rehearsal.binance.account import FuturesAccount
from rehearsal.binance.futures import FuturesServer
from rehearsal.binance.loopback import futures_server, one_market
from store.backoff import Backoff
from store.binance_futures import BinanceFutures
from store.exchange import Exchange
from tests.integration.interruptions.campaigns import Campaign, pruning_config
from tests.integration.interruptions.endings import ending
from tests.integration.interruptions.figures import Figures
from tests.integration.live_trading import World
from tests.integration.live_trading_life import ENTRY, aged


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Campaign:
    """Six trials through ten windows, one of which is pruned; ends in Staging.

    The first test that needs it runs it, for the tests of all workers; nobody changes it.
    """
    own = tmp_path_factory.getbasetemp()
    folder = (own if worker_id == "master" else own.parent) / "undisturbed"
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "screen.txt").exists():
            folder.mkdir()
            run_undisturbed(folder)
    return Campaign(folder, pruning_config())


def run_undisturbed(folder: Path) -> None:
    campaign = Campaign(folder, pruning_config())
    ended = campaign.attempt()
    assert ended.status == 0, ended.output
    found = ending(campaign.var)
    assert {status for _, status in found["statuses"]} == {"FINISHED"}
    assert [version["stage"] for version in found["versions"]] == ["Staging"]
    pruned = {tags["pruned"] for tags in found["tags"].values() if "pruned" in tags}
    assert pruned == {"true", "false"}
    assert not campaign.recomputed
    (campaign.folder / "screen.txt").write_text(ended.output)


@pytest.fixture
def figures(
    request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> Iterator[Figures]:
    """Shown on the screen, whatever becomes of the test."""
    found = Figures()
    yield found
    with capsys.disabled():
        print(f"\n{request.node.name}: {found}")


@pytest.fixture
def server() -> Iterator[FuturesServer]:
    """Binance on the loopback, with one market and an account."""
    with futures_server(one_market()) as running:
        yield running


@pytest.fixture
def account(server: FuturesServer) -> FuturesAccount:
    return server.account


@pytest.fixture
def exchange(server: FuturesServer) -> Exchange:
    """As the bot trades there, but for the pauses before it asks again."""
    impatient = Backoff(lambda seconds: None, np.random.default_rng(0), attempts=3)
    return BinanceFutures(server.client(), impatient)


@pytest.fixture
def opened(server: FuturesServer) -> World:
    """A long position with its stop, at the open of its second bar and before its tick."""
    return aged(server, ENTRY + 1)
