"""The MLflow UI as a person uses it: a real campaign, a real server, a real browser.

``SCREENSHOTS=docs/images`` has each step leave a picture there, and ``CAMPAIGN=FOLDER`` takes
the campaign that ``make demo`` left in that folder's ``var/`` in place of a small one of its
own; it is copied, and stays as it is.
"""

from __future__ import annotations

import argparse
import itertools
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest
from mlflow.entities.model_registry import ModelVersion

from rehearsal.binance.loopback import futures_server, one_market
from serving.trading.positions import PARTITION, paper_account
from serving.trading.roster import Entrant, Roster
from store.candle_arguments import candle_source
from store.config_file import read_config
from store.market import ReplayMarket
from store.synthetic import SyntheticSource
from tests.campaign_place import Place
from tests.chromium import Browser, chromium, needs_chromium
from tests.integration.live_trading import World
from tests.integration.live_trading_market import BTC, TIMEFRAME
from tests.mlflow_ui import ARTIFACT, AXIS, AXIS_ENDS, CELL, FACT, Ui, mlflow_ui

pytestmark = needs_chromium
MODEL, WEEK = f"{BTC}-{TIMEFRAME}", 7 * 24
PARAMETERS, METRICS = ("tenkan_sen", "learning_rate", "n_estimators"), ("expectancy", "sqn")


@pytest.fixture(scope="module")
def campaign(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A copy of one that ended in Staging."""
    named = os.environ.get("CAMPAIGN")
    ready = Path(named) if named else request.getfixturevalue("undisturbed").folder
    folder = tmp_path_factory.mktemp("campaign")
    shutil.copy(ready / "config.json", folder)
    (folder / "var").mkdir()
    with (
        closing(sqlite3.connect(ready / "var" / "mlflow.db")) as store,
        closing(sqlite3.connect(folder / "var" / "mlflow.db")) as copy,
    ):
        store.backup(copy)
    return Place(folder)


@pytest.fixture(scope="module")
def address(campaign: Place) -> Iterator[str]:
    with mlflow_ui(campaign.folder) as running:
        yield running


@pytest.fixture
def browser() -> Iterator[Browser]:
    with chromium() as window:
        yield window


@pytest.fixture
def ui(browser: Browser, address: str) -> Ui:
    """Of a person who has never been there before."""
    visitor = Ui(browser, address)
    visitor.enter()
    return visitor


def version_of(here: Place) -> ModelVersion:
    (version,) = here.client.search_model_versions(f"name = '{MODEL}'")
    return version


def row(name: str) -> str:
    """Of a table whose rows have a name: the cells beside it."""
    return f"//tr[*[1][normalize-space()='{name}']]/*[position() > 1]"


def cells(line: str) -> list[str]:
    """Of a row of a table in markdown."""
    return [cell.strip() for cell in line.strip("|").split("|")]


def candles_of(here: Place) -> pd.DataFrame:
    """Those that its strategies were found on, and the weeks after them."""
    config = read_config(here.folder / "config.json")
    source = candle_source(argparse.Namespace(candles="synthetic"), config)
    assert isinstance(source, SyntheticSource)
    return replace(source, beyond=4 * WEEK).load(BTC, TIMEFRAME)


class Desk:
    """The bot on the registry and an account at Binance, hour by hour after the training."""

    def __init__(self, world: World, here: Place) -> None:
        self.world = world
        market = ReplayMarket({(BTC, TIMEFRAME): world.candles}, world.clock, synthetic=True)
        months = world.config.walk_forward_config.step_months
        self.roster = Roster(lambda: here.client, months, world.clock)
        world.market, world.read = market, self.roster.read  # type: ignore[method-assign]
        (entrant,) = self.read()
        assert entrant.bundle is not None
        self.strategy_id = entrant.strategy_id
        self.signals = entrant.bundle.signals(world.candles)["signal"].to_numpy()
        self.rows = itertools.count(world.index.searchsorted(entrant.bundle.training_end) + 1)

    def tick_until(self, reached: Callable[[], bool]) -> None:
        """A tick at the open of each of the next hours."""
        for row in self.rows:
            self.world.open_bar(row)
            assert self.world.tick() is None
            if reached():
                return
            self.world.finish_bar()

    @property
    def signal(self) -> float:
        """At the close of the last bar."""
        return float(self.signals[self.world.row - 1])

    @property
    def books(self) -> dict[int, str]:
        """What the model's versions trade with from the next tick on."""
        return {each.version: each.book for each in self.read()}

    def read(self) -> list[Entrant]:
        return self.roster.read([MODEL], synthetic_market=True)

    @property
    def on_paper(self) -> bool:
        """Whether a position is open there."""
        account = self.world.state.get(PARTITION, paper_account(self.strategy_id))
        return account is not None and bool(account.value["positions"])


def test_a_campaign_is_opened_with_its_figures_its_shap_plot_and_its_equity_curve(
    campaign: Place, ui: Ui, browser: Browser
) -> None:
    (run,) = campaign.runs("campaign")
    ui.open_experiment(MODEL)
    browser.click(f"//*[@role='row'][@row-id='{run.info.run_id}']//a[.='{run.info.run_name}']")
    browser.see(f"//h2[normalize-space()='{run.info.run_name}']")
    browser.shows(
        "//*[@role='row'][.//a[.='trials']]//*[@role='cell']",
        "trials",
        f"{run.data.metrics['trials']:g}",
    )
    ui.open_tab("Artifacts")
    ui.hide_sidebar()
    browser.click(ARTIFACT.format("figures"))
    for name, picture in (("shap_summary", "ui_shap"), ("equity", "ui_equity")):
        path = f"figures/{name}.png"
        assert ui.open_image(path) == campaign.artifact(run, path).read_bytes()
        browser.picture(picture)


def test_trials_are_sorted_by_sqn_and_some_are_compared(
    campaign: Place, ui: Ui, browser: Browser
) -> None:
    trials = sorted(campaign.runs("trial"), key=lambda run: -run.data.metrics["sqn"])
    best = [run.info.run_id for run in trials]
    ui.open_experiment(MODEL)
    ui.filter_runs("tags.run_kind = 'trial'", found=1 + len(trials))
    shown = ["sqn", "expectancy", "trades", "max_drawdown", "atr_period", "tenkan_sen"]
    ui.toggle_columns([*shown, "Dataset", "Source", "Models"])
    ui.sort_runs("sqn")
    browser.until(lambda: ui.runs() == best, "the trials, the best one first")
    for run in trials:
        for metric in ("sqn", "expectancy", "trades"):
            (text,) = browser.texts(CELL.format(run.info.run_id, f"metrics.`{metric}`"))
            assert float(text) == run.data.metrics[metric]
    browser.picture("ui_trials_sorted")
    chosen = [trials[0], trials[1], trials[-1]]
    for run in chosen:
        ui.select_run(run.info.run_id)
    browser.click("//button[@data-testid='runs-compare-button']")
    browser.shows(row("Run Name:"), *(str(run.info.run_name) for run in chosen))
    for name in PARAMETERS:
        assert browser.texts(row(name)) == [run.data.params[name] for run in chosen]
    ui.plot(PARAMETERS, METRICS)
    browser.shows(AXIS, *PARAMETERS, *METRICS)
    browser.picture("ui_compare")
    ends = [chosen[-1].data.metrics["sqn"], chosen[0].data.metrics["sqn"]]
    written = [f"{end:.5f}".replace("-", "\N{MINUS SIGN}") for end in ends]
    assert set(written) - set(browser.texts(AXIS_ENDS)) == set()


def test_a_version_shows_the_figures_and_verdicts_of_its_gates_as_a_table(
    campaign: Place, ui: Ui, browser: Browser
) -> None:
    version = version_of(campaign)
    ui.open_version(MODEL, int(version.version))
    title, *lines = str(version.description).splitlines()
    browser.see(f"//strong[.='{title.strip('*')}']")
    head, _, *gates = [cells(line) for line in lines if line.startswith("|")]
    browser.shows("//table[.//th[.='gate']]//th", *head)
    browser.shows("//table[.//th[.='gate']]//td", *itertools.chain(*gates))
    assert {gate[-1] for gate in gates} == {"passed"}
    browser.shows(FACT.format("Aliases"), "@ staging")
    browser.picture("ui_version")


def test_a_version_that_is_moved_to_production_by_clicking_is_traded_with_real_orders(
    campaign: Place, ui: Ui, browser: Browser
) -> None:
    """It trades on paper before, and at its next signal there is an order, and a stop."""
    version = version_of(campaign)
    number = int(version.version)
    with futures_server(one_market()) as exchange:
        desk = Desk(World(exchange, candles_of(campaign), {}), campaign)
        desk.tick_until(lambda: desk.signal != 0)
        assert desk.books == {number: "paper"}
        assert desk.on_paper
        assert desk.world.account.orders == []

        ui.open_version(MODEL, number)
        ui.show_stages()
        browser.shows(FACT.format("Stage"), "Staging")
        ui.open_stages()
        browser.picture("ui_production")
        ui.move("Production")
        browser.shows(FACT.format("Stage"), "Production")
        assert version_of(campaign).current_stage == "Production"

        assert desk.books == {number: "live"}
        desk.world.finish_bar()
        desk.tick_until(lambda: desk.signal != 0)
        position = desk.world.position
        assert position is not None
        assert position.version == number
        assert position.strategy_id == version.tags["strategy_id"]
        assert position.side == desk.signal
        entry, away = ("BUY", "SELL") if position.side > 0 else ("SELL", "BUY")
        (order,) = desk.world.account.orders
        assert (order["status"], order["side"]) == ("FILLED", entry)
        (stop,) = desk.world.account.open_stops(BTC)
        assert (stop["side"], stop["quantity"]) == (away, order["executedQty"])
        assert stop["reduceOnly"]
        assert position.side * (Decimal(order["avgPrice"]) - Decimal(stop["triggerPrice"])) > 0
