"""Rehearsals of ten days, through the command: one that holds, and one in which the bot is broken.

By itself no strategy gets into Production within days: a person moves it there.
"""

from __future__ import annotations

import json
import logging
import warnings
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import ccxt
import pytest

from registry.lifecycle import Lifecycle, Stage
from rehearsal import performance
from rehearsal.__main__ import main
from rehearsal.binance import faults
from rehearsal.binance.faults import Fault
from rehearsal.binance.futures import API_KEY, API_SECRET, ORDER, FuturesServer
from rehearsal.binance.in_process import connected
from rehearsal.binance.loopback import futures_server, impatient, one_market
from rehearsal.script import Script, script_of
from rehearsal.system import Event
from rehearsal.world import World
from serving.journal import Journal, TradeRecord
from store.binance_futures import connect_futures
from store.clock import milliseconds
from tests.campaign_place import ROOT, small_config

DAYS = timedelta(days=10)
MODEL = "BTCUSDT-1h"
INVARIANTS = {
    "one Production version per model",
    "every stage move explained by a gate or a person",
    "no live position without a resting stop",
    "state equals exchange",
    "no order without a decision",
    "risk within limits",
    "money conserved to the cent",
    "no event lost",
    "spend within the limit",
    "every trade equal to the simulator's",
}


@dataclass
class Impatient:
    """A person who lets trade with real money what a campaign has just found."""

    world: World

    def after(self, event: Event, error: Exception | None) -> None:
        if event.function != "job":
            return
        client = self.world.system.registry
        for version in life(self.world).versions_in(Stage.STAGING):
            self.world.people.moved.add((MODEL, version.number, Stage.PRODUCTION))
            with warnings.catch_warnings(action="ignore", category=FutureWarning):
                client.transition_model_version_stage(MODEL, str(version.number), Stage.PRODUCTION)
            self.world.system.registry_changed()


def life(world: World) -> Lifecycle:
    return Lifecycle(world.system.registry, MODEL, milliseconds(world.clock))


class Place:
    """A folder with a config, and what is left of the rehearsals there."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder, self.into = folder, folder / "rehearsal"
        self.worlds: list[World] = []
        (folder / "config.json").write_text(json.dumps(small_config()))
        patch.chdir(folder)
        patch.setenv("PYTHONPATH", str(ROOT))  # of the training jobs
        patch.setattr("rehearsal.script.script_of", _ten_days)
        patch.setattr(performance, "World", self._world)

    def rehearse(self, *arguments: str) -> int:
        return main(
            [
                *("--months", "1", "--max-trials", "1", "--config", "config.json"),
                *("--into", str(self.into), "--faults", "0.1"),
                *arguments,
            ]
        )

    def _world(self, script: Script, folder: Path) -> World:
        world = World(script, folder)
        world.rehearsal.observers.append(Impatient(world))
        self.worlds.append(world)
        return world


def _ten_days(options: Any) -> Script:
    script = script_of(options)
    return replace(script, end=script.begin + DAYS)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setattr(logging, "basicConfig", lambda **_: None)  # the log is pytest's
    return Place(tmp_path, monkeypatch)


def test_ten_days_with_faults_break_nothing_and_end_with_a_page(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    assert place.rehearse() == 0
    said = capsys.readouterr().out
    assert "Every invariant held." in said
    (world,) = place.worlds
    assert world.fate.counts.total() > 50
    assert len(world.fate.counts) > 5
    assert world.invariants.checked.keys() == INVARIANTS
    assert [version.stage for version in life(world).versions()] == [Stage.PRODUCTION]
    (strategy,) = {str(version.strategy_id) for version in life(world).versions()}
    assert Journal(world.system.state).trades(strategy, "live")
    page = (place.into / "report.html").read_text()
    assert "Every invariant held." in page
    assert strategy in page
    client = world.system.registry
    experiment = client.get_experiment_by_name(performance.EXPERIMENT)
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert [each.path for each in client.list_artifacts(run.info.run_id)] == ["report.html"]
    assert run.data.metrics["invariants_broken"] == 0
    assert {each.name for each in place.folder.iterdir()} == {"config.json", "rehearsal"}


# Two rehearsals more: that each invariant sees what breaks it is told by its own tests.
@pytest.mark.torture
def test_a_bot_that_keeps_false_books_is_found_with_the_shortest_replay_that_shows_it(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    keep = Journal.add_trade

    def forget_the_fees(journal: Journal, trade: TradeRecord) -> None:
        keep(journal, trade.model_copy(update={"fees": 0 * trade.fees}))

    monkeypatch.setattr(Journal, "add_trade", forget_the_fees)
    assert place.rehearse("--seed", "1", "--tries", "1") == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "Broken: money conserved to the cent: " in said
    assert "Seed 1. The shortest replay that fails, after 1 tries: " in said
    first, replayed = place.worlds
    keys = dict.fromkeys(each.key for each in first.fate.struck)
    assert replayed.script.only is not None
    assert replayed.script.only < keys.keys()
    assert {each.key for each in replayed.fate.struck} <= replayed.script.only
    assert all(key in said for key in replayed.script.only)
    page = (place.into / "report.html").read_text()
    assert "Broken: money conserved to the cent: " in page
    assert "Every invariant held." not in page


# Binance without a socket, beside the same with one

FAULTS = {name: each for name, each in vars(faults).items() if isinstance(each, Fault)}
FAULTS["REFUSED"] = faults.refusal(-9999)
"""Not of codes that ccxt knows of futures alone: those it tells by Binance's own address, which
only the client without a socket has kept."""


def ordered(client: ccxt.binanceusdm, fault: Fault, server: FuturesServer) -> tuple[Any, ...]:
    """What an order that is struck looks like to the client, and what the exchange has of it."""
    server.fail(ORDER, fault)
    asked = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.01"}
    error: Exception | None = None
    answer = None
    try:
        with impatient(client):
            answer = client.fapiPrivatePostOrder({**asked, "newClientOrderId": "an-order"})
    except ccxt.BaseError as raised:
        error = raised
    return type(error), answer, [order["status"] for order in server.account.orders]


@pytest.mark.parametrize("name", FAULTS)
def test_without_a_socket_the_client_sees_what_it_sees_through_one(name: str) -> None:
    with futures_server(one_market()) as server:
        through_a_socket = ordered(server.client(), FAULTS[name], server)
    exchange = FuturesServer(one_market())
    client = connected(connect_futures(API_KEY, API_SECRET), exchange)
    assert ordered(client, FAULTS[name], exchange) == through_a_socket


def test_without_a_socket_the_answer_is_the_one_that_comes_through_one() -> None:
    with futures_server(one_market()) as server:
        through_a_socket = ordered(server.client(), faults.UNKNOWN, server), _read(server.client())
    exchange = FuturesServer(one_market())
    client = connected(connect_futures(API_KEY, API_SECRET), exchange)
    assert (ordered(client, faults.UNKNOWN, exchange), _read(client)) == through_a_socket


def _read(client: ccxt.binanceusdm) -> list[Any]:
    return [
        client.fapiPrivateV3GetAccount(),
        client.fapiPublicGetExchangeInfo(),
        client.fapiPrivateGetSymbolConfig({"symbol": "BTCUSDT"}),
    ]
