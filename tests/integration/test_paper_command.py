"""The command ``paper``: replayed days, and live prices from a Binance on the loopback."""

from __future__ import annotations

import copy
import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow.entities import Run

from registry.bundle import StrategyBundle
from registry.connection import Client, connect
from registry.lifecycle import Lifecycle, Stage
from registry.live_run import LIVE, STRATEGY_ID
from registry.runs import RUN_KIND, read_table, search
from rehearsal.binance.account import FuturesAccount
from rehearsal.binance.faults import BAD_GATEWAY
from rehearsal.binance.futures import FuturesServer
from rehearsal.binance.loopback import futures_server, one_market
from serving.__main__ import main
from serving.commands.paper_live import trade_live
from serving.commands.paper_replay import REPLAY_STATE
from serving.live_divergence import DIVERGENCES
from serving.live_record import BACKTEST_TRADES
from serving.trading import bars
from serving.trading.positions import PARTITION, Position, paper_account, read_account
from store import embedded
from store.backoff import Backoff
from store.binance_klines import connect as connect_binance
from store.binance_market import BinanceMarket
from store.candles import csv_gz
from store.config_file import read_config
from store.sqlite_state import SqliteState
from store.state import Item
from store.synthetic import synthetic_candles
from strategy.candles import resample
from strategy.config import IndicatorParameters
from strategy.errors import RetryError
from tests.manual_clock import ManualClock
from tests.parity import ASSET, MODEL, ROOT, TICK, TIMEFRAME, PaperWorld, bundle_of

BEGIN = pd.Timestamp("2024-03-10T00:00Z")
"""When the strategies have seen their last candle."""
DAY, HOUR = pd.Timedelta(days=1), pd.Timedelta(hours=1)
HISTORY, LATER = 80 * DAY, 5 * DAY
CONFIG = read_config(ROOT / "config.json")
STAGED, IN_PRODUCTION = 1, 2


# What there is: a registry with a version in Staging and one in Production, and candles


def bars_of_five_minutes() -> pd.DataFrame:
    """A lively market: of five minutes, and as wide as others are of an hour."""
    begin = BEGIN - HISTORY
    candles = synthetic_candles(
        np.random.default_rng(5), (HISTORY + LATER) // TICK, begin, trend_strength=0.0
    )
    index = pd.date_range(begin, periods=len(candles), freq="5min", name="timestamp")
    return candles.set_axis(index.as_unit("ns"))


@dataclass(frozen=True)
class Home:
    """What all tests begin with."""

    minutes: pd.DataFrame
    world: PaperWorld

    @property
    def hours(self) -> pd.DataFrame:
        return self.world.candles

    @property
    def bundle(self) -> StrategyBundle:
        return self.world.bundles[0]

    def traded(self, state: str, until: pd.Timestamp) -> PaperWorld:
        """What a command has made of it, beside what the simulator makes of it."""
        world = copy.copy(self.world)
        world.clock = ManualClock(until.to_pydatetime())
        world.state = state_of(state)
        return world


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    minutes = bars_of_five_minutes()
    hours = resample(minutes, "5m", "1h")
    indicators = IndicatorParameters(8, 24, 48, 7, 7)
    bundle = bundle_of(hours[hours.index < BEGIN], CONFIG, indicators)
    bundles = [bundle, replace(bundle, strategy_id=f"{MODEL}-in-production")]
    world = PaperWorld(tmp_path_factory.mktemp("home"), hours, bundles, BEGIN, CONFIG)
    client = connect(world.uri)
    lifecycle = Lifecycle(client, MODEL, lambda: round(1000 * BEGIN.timestamp()))
    lifecycle.move(IN_PRODUCTION, Stage.PRODUCTION, who="a test", why="it earned")
    for version in (STAGED, IN_PRODUCTION):
        run_id = lifecycle.version(version).run_id
        assert run_id is not None
        client.log_text(run_id, "r\n-1.0\n1.0\n1.0\n", BACKTEST_TRADES)
    with sqlite3.connect(world.folder / "mlflow.db") as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return Home(minutes, world)


@pytest.fixture
def registry(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Client:
    """At a machine of one's own, with a candle file: its registry."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("STATE_URI", raising=False)
    uri = f"sqlite:///{shutil.copy(home.world.folder / 'mlflow.db', tmp_path)}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    shutil.copy(ROOT / "config.json", tmp_path)
    candles_for(home, LATER)
    return connect(uri)


class Paper:
    """Types the command, and reads what it says."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: str, status: int = 0) -> str:
        """What it says, its line breaks apart, to the screen or (an error) beside it."""
        self._capsys.readouterr()
        assert main(["paper", *arguments]) == status
        said = self._capsys.readouterr()
        return " ".join((said.err if status else said.out).split())

    def replay(self, days: int, status: int = 0) -> str:
        return self("--candles", "hours.csv.gz", "--days", str(days), status=status)


@pytest.fixture
def paper(registry: Client, capsys: pytest.CaptureFixture[str]) -> Paper:
    return Paper(capsys)


def state_of(uri: str) -> SqliteState:
    return SqliteState(Path(uri.removeprefix("sqlite:///")))


def candles_for(home: Home, span: pd.Timedelta) -> None:
    """Let the file end so long after the strategies' training."""
    hours = home.hours[home.hours.index < BEGIN + span]
    Path("hours.csv.gz").write_bytes(csv_gz(hours))


def came_to(moment: pd.Timestamp) -> None:
    """As if an earlier replay had."""
    seen = {MODEL: {"close": moment.isoformat(), "candle": None}}
    state_of(REPLAY_STATE).put(bars.PARTITION, bars.KEY, seen, expected=0)


def stages(registry: Client) -> dict[int, str]:
    found = Lifecycle(registry, MODEL, lambda: 0).versions()
    return {version.number: version.stage.value for version in found}


def live_run(registry: Client, strategy_id: str) -> Run:
    """The strategy's only one."""
    experiment = registry.get_experiment_by_name(MODEL)
    assert experiment is not None
    wanted = f"tags.{RUN_KIND} = '{LIVE}' AND tags.{STRATEGY_ID} = '{strategy_id}'"
    (run,) = search(registry, experiment.experiment_id, wanted)
    return run


# Replayed days


def test_days_are_replayed_as_the_simulator_trades_them_and_the_next_ones_by_the_same_command(
    home: Home, paper: Paper, registry: Client
) -> None:
    said = paper.replay(2)
    assert "replaying 2024-03-10 00:00 to 2024-03-12 00:00 UTC" in said
    first = home.traded(REPLAY_STATE, BEGIN + 2 * DAY)
    begun = first.trades(home.bundle)
    assert len(begun) >= 4
    assert first.differences(home.bundle) == []
    assert f"{len(begun)} trades," in said

    said = paper.replay(1)
    assert "replaying 2024-03-12 00:00 to 2024-03-13 00:00 UTC" in said
    world = home.traded(REPLAY_STATE, BEGIN + 3 * DAY)
    trades = world.trades(home.bundle)
    assert trades[: len(begun)] == begun
    assert len(trades) >= len(begun) + 2
    assert world.differences(home.bundle) == []
    assert world.interventions(home.bundle) == []


def test_the_live_run_shows_the_trades_of_the_days_that_are_over_beside_the_simulators(
    home: Home, paper: Paper, registry: Client
) -> None:
    """The last of them ends with the last bar of the last day."""
    came_to(BEGIN + 2 * DAY)
    assert "replaying 2024-03-12 00:00 to 2024-03-13 00:00 UTC" in paper.replay(1)
    trades = home.traded(REPLAY_STATE, BEGIN + 3 * DAY).trades(home.bundle)
    assert trades[-1].exit_time == BEGIN + 3 * DAY - HOUR
    run = live_run(registry, home.bundle.strategy_id)
    assert run.data.metrics["trades"] == len(trades)
    shown = read_table(registry, run.info.run_id, DIVERGENCES)
    recorded = shown["r_live"].dropna()  # the simulator trades from the day of its staging on
    assert recorded.tolist() == [trade.r for trade in trades]


def test_a_version_in_production_is_left_alone(home: Home, paper: Paper, registry: Client) -> None:
    before = stages(registry)
    assert set(before.values()) == {"Staging", "Production"}
    candles_for(home, 6 * HOUR)
    said = paper.replay(1)
    assert f"{MODEL} version {STAGED}: paper" in said
    assert f"version {IN_PRODUCTION}" not in said
    assert stages(registry) == before
    accounts = [item.key for item in state_of(REPLAY_STATE).items(PARTITION)]
    assert accounts == [paper_account(home.bundle.strategy_id)]


def test_when_the_candles_are_used_up_it_says_what_to_do(home: Home, paper: Paper) -> None:
    candles_for(home, 6 * HOUR)
    assert "replaying 2024-03-10 00:00 to 2024-03-10 06:00 UTC" in paper.replay(30)
    said = paper.replay(30, status=2)
    assert "candles end at 2024-03-10 06:00" in said
    assert f"give newer ones (--candles), or move {REPLAY_STATE} away" in said


def test_candles_that_a_newer_model_has_seen_are_passed_over(home: Home, paper: Paper) -> None:
    """An older one has traded until three days before the newer one's training ended."""
    came_to(BEGIN - 3 * DAY)
    candles_for(home, 6 * HOUR)
    assert "replaying 2024-03-10 00:00 to 2024-03-10 06:00 UTC" in paper.replay(1)


@pytest.mark.parametrize("market", ["replay", "binance"])
def test_where_nothing_is_in_staging_it_says_how_something_comes_there(
    paper: Paper, registry: Client, market: str
) -> None:
    lifecycle = Lifecycle(registry, MODEL, lambda: 0)
    lifecycle.move(STAGED, Stage.ARCHIVED, who="a test", why="it lost")
    said = paper("--market", market, "--candles", "hours.csv.gz", status=2)
    assert f"no version of {MODEL} is in Staging" in said
    assert "make demo" in said and "python -m serving promote" in said
    assert not Path(embedded.FOLDER / "state.db").exists()


def test_candles_of_binance_are_not_replayed(paper: Paper) -> None:
    assert "--market binance" in paper("--candles", "binance", status=2)


def test_a_tick_that_fails_is_shown_and_the_replay_goes_on(
    home: Home, paper: Paper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An entry that was wanted then is made five minutes later, still in its bar."""
    entry = datetime(2024, 3, 10, 9, tzinfo=UTC)
    items = SqliteState.items

    def busy(table: SqliteState, partition: str, prefix: str = "") -> list[Item]:
        if table.clock() == entry:
            raise RetryError("the state table is busy")
        return items(table, partition, prefix)

    monkeypatch.setattr(SqliteState, "items", busy)
    candles_for(home, 18 * HOUR)
    assert "2024-03-10 09:00 the state table is busy" in paper.replay(1)
    world = home.traded(REPLAY_STATE, BEGIN + 18 * HOUR)
    late = [trade for trade in world.trades(home.bundle) if trade.decision_time == entry]
    assert [trade.entry_time - entry for trade in late] == [TICK]
    assert world.differences(home.bundle) == []


def test_live_runs_that_cannot_be_written_are_shown_and_the_replay_goes_on(
    home: Home, paper: Paper, registry: Client
) -> None:
    experiment = registry.get_experiment_by_name(MODEL)
    assert experiment is not None
    registry.rename_experiment(experiment.experiment_id, "renamed")
    candles_for(home, 12 * HOUR)
    assert "2024-03-10 00:00 not all live runs are up to date" in paper.replay(1)
    assert home.traded(REPLAY_STATE, BEGIN + 12 * HOUR).trades(home.bundle)


# Live prices


class Clock(ManualClock):
    """The computer's and Binance's, with the price that goes with it."""

    def __init__(self, account: FuturesAccount, minutes: pd.DataFrame, now: datetime) -> None:
        super().__init__(now)
        self._account, self._opens = account, minutes["open"]

    def __call__(self) -> datetime:
        self._account.now = int(self.now.timestamp() * 1000)
        opened = self._opens[pd.Timestamp(self.now).floor(TICK)]
        self._account.prices[ASSET] = Decimal(repr(float(opened)))
        return self.now


@dataclass
class Day:
    """Paper trading at the loopback's prices: ``until`` is when somebody presses Ctrl-C."""

    server: FuturesServer
    clock: Clock
    capsys: pytest.CaptureFixture[str]
    ticked: list[datetime] = field(default_factory=list)

    def trade(self, until: pd.Timestamp) -> str:
        """As a new process would; what it says."""

        def sleep(seconds: float) -> None:
            self.ticked.append(self.clock.now)
            self.clock.forward(seconds=seconds)
            if self.clock.now >= until:
                raise KeyboardInterrupt

        backoff = Backoff(lambda seconds: None, np.random.default_rng(0), attempts=3)
        exchange = self.server.redirect(connect_binance())
        market = BinanceMarket(exchange, self.clock, CONFIG.candles.max_gap_bars, backoff=backoff)
        self.capsys.readouterr()
        assert trade_live(CONFIG, market, self.clock, sleep) == 0
        return " ".join(self.capsys.readouterr().out.split())


@pytest.fixture
def day(home: Home, registry: Client, capsys: pytest.CaptureFixture[str]) -> Iterator[Day]:
    """Half a minute after midnight."""
    candles = {(ASSET, TIMEFRAME): home.hours, (ASSET, "5m"): home.minutes}
    with futures_server(one_market(), candles) as server:
        now = (BEGIN + pd.Timedelta(seconds=30)).to_pydatetime()
        yield Day(server, Clock(server.account, home.minutes, now), capsys)


def held(home: Home) -> Position | None:
    """What is written down."""
    account = paper_account(home.bundle.strategy_id)
    item = state_of(embedded.STATE).get(PARTITION, account)
    return read_account(item.value, account).positions.get(ASSET) if item else None


def test_at_live_prices_it_ticks_at_once_and_then_five_seconds_after_each_five_minutes(
    day: Day,
) -> None:
    said = day.trade(BEGIN + pd.Timedelta(minutes=21))
    seconds = [(moment - BEGIN).total_seconds() for moment in day.ticked]
    assert seconds == [30, 305, 605, 905, 1205]
    assert "2024-03-10 00:05:05 ticked" in said


def test_what_is_open_when_it_is_stopped_stays_written_and_the_same_command_goes_on(
    home: Home, day: Day, registry: Client
) -> None:
    said = day.trade(BEGIN + 6 * HOUR)
    assert said.endswith("Stopped. What is open stays written down; the same command goes on.")
    position = held(home)
    assert position is not None
    assert position.entry_time == BEGIN + pd.Timedelta(seconds=30)
    day.trade(BEGIN + 25 * HOUR)
    world = home.traded(embedded.STATE, BEGIN + 25 * HOUR)
    trades = world.trades(home.bundle)
    assert trades[0].position_id == position.position_id
    assert len(trades) >= 3
    assert world.differences(home.bundle) == []
    run = live_run(registry, home.bundle.strategy_id)
    shown = read_table(registry, run.info.run_id, DIVERGENCES)
    over = [trade.r for trade in trades if trade.exit_time < BEGIN + DAY]
    assert shown["r_live"].tolist() == over
    assert set(shown["explained"]) == {"same"}


def test_a_tick_without_an_answer_of_binance_is_shown_and_the_next_one_goes_on(
    home: Home, day: Day
) -> None:
    day.server.fail("GET /fapi/v2/ticker/price", *[BAD_GATEWAY] * 3)
    said = day.trade(BEGIN + pd.Timedelta(minutes=11))
    assert "2024-03-10 00:00 last price of BTCUSDT: no usable answer from Binance" in said
    position = held(home)
    assert position is not None
    assert position.entry_time == BEGIN + pd.Timedelta(minutes=5, seconds=5)
