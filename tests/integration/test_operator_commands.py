"""The operator's commands on this machine, and the bot that obeys them at its next tick."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from registry.connection import Client, connect, ensure_experiment, ensure_store
from registry.lifecycle import Lifecycle, Stage
from serving.__main__ import main
from serving.trading.positions import paper_account
from store.settings import SettingsFile
from store.sqlite_state import SqliteState
from tests.bot_world import BTC, STILL, STRATEGY, BotWorld, entrant, saying

ROOT = Path(__file__).parents[2]
MODEL = "BTCUSDT-1h"
ACCOUNT = paper_account(STRATEGY)
STOPPED = (1000.0, 1001.0, 980.0, 985.0)


class Operator:
    """Types commands, and reads what they say."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: str, status: int = 0) -> str:
        """What a command says, its line breaks apart, to the screen or (an error) beside it."""
        self._capsys.readouterr()
        assert main(arguments) == status
        said = self._capsys.readouterr()
        return " ".join((said.err if status else said.out).split())

    def asks(self, *arguments: str) -> Any:
        """What it says to a program."""
        self._capsys.readouterr()
        assert main([*arguments, "--json"]) == 0
        return json.loads(self._capsys.readouterr().out)


@pytest.fixture
def operator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Operator:
    """At a machine of his own, in a narrow window."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "60")
    for name in ("STATE_URI", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    return Operator(capsys)


def trading(*bars: tuple[float, float, float, float], **signals: Any) -> BotWorld:
    """A bot on this machine's state and settings; a position is opened in the first bar."""
    world = BotWorld(*bars, **signals)
    world.state = SqliteState(Path("var/state.db"), world.clock)  # type: ignore[assignment]
    world.settings = SettingsFile(Path("var/settings.json"), {})  # type: ignore[assignment]
    world.bot = world.new_bot()
    world.at(0)
    return world


# Switches


def test_stop_keeps_the_bot_from_opening_and_resume_lets_it(operator: Operator) -> None:
    world = trading(*[STILL] * 5, signals={1: 1, 2: 1})
    assert operator("stop").startswith("Nothing new is opened from the next tick on; what is open")
    assert json.loads(Path("var/settings.json").read_text()) == {
        "ops": {"master_trading_switch": False}
    }
    world.at(1)
    assert world.position() is None
    assert world.refusals() == ["the master trading switch is off"]
    assert operator("resume") == "Entries are allowed again from the next tick on."
    world.at(2)
    assert world.position() is not None


def test_an_emergency_stop_closes_everything_and_resume_takes_it_back(operator: Operator) -> None:
    world = trading(*[STILL] * 5, signals={0: 1, 2: 1})
    answer = operator.asks("stop", "--emergency")
    assert answer == {"ops/master_trading_switch": False, "ops/emergency_stop": True}
    world.at(0, minutes=5)
    assert world.position() is None
    assert [trade.reason for trade in world.trades()] == ["closed"]
    operator.asks("resume")
    world.at(2)
    assert world.position() is not None


def test_a_settings_file_that_is_damaged_is_named_and_left_as_it_is(operator: Operator) -> None:
    Path("var").mkdir()
    Path("var/settings.json").write_text("{")
    assert "var/settings.json: not valid JSON" in operator("stop", status=2)
    assert Path("var/settings.json").read_text() == "{"


# Positions


def test_close_has_the_position_closed_at_the_next_tick(operator: Operator) -> None:
    world = trading(STILL, STILL, signals={0: 1})
    assert operator("close", BTC) == f"{BTC} of {ACCOUNT} is closed at the next tick."
    world.at(0, minutes=5)
    assert world.position() is None
    (closed,) = [each for each in world.interventions() if each.kind == "close"]
    assert closed.why.startswith("asked for by ")
    assert world.exchange().positions() == []


def test_close_can_mean_one_account_of_several(operator: Operator) -> None:
    world = BotWorld(STILL, STILL)
    world.entrants = [entrant(saying({0: 1})), entrant(saying({0: 1}), strategy_id="other")]
    world.state = SqliteState(Path("var/state.db"), world.clock)  # type: ignore[assignment]
    world.bot = world.new_bot()
    world.at(0)
    answer = operator.asks("close", BTC, "--account", "paper/other")
    assert answer == {"symbol": BTC, "accounts": ["paper/other"]}
    world.at(0, minutes=5)
    assert world.position("paper/other") is None
    assert world.position() is not None
    assert operator.asks("close", BTC)["accounts"] == [ACCOUNT]


@pytest.mark.parametrize("arguments", [("ETHUSDT",), (BTC, "--account", "live")])
def test_close_refuses_where_there_is_no_such_position(
    operator: Operator, arguments: tuple[str, ...]
) -> None:
    trading(STILL, signals={0: 1})
    said = operator("close", *arguments, status=2)
    assert f"no account has a position in {arguments[0]}" in said


def test_what_is_for_a_program_is_json_however_narrow_the_window(operator: Operator) -> None:
    world = BotWorld(STILL)
    world.entrants = [
        entrant(saying({0: 1}), strategy_id=f"{MODEL}-[{number}]-{'c0ffee' * 10}")
        for number in range(3)
    ]
    world.state = SqliteState(Path("var/state.db"), world.clock)  # type: ignore[assignment]
    world.bot = world.new_bot()
    world.at(0)
    accounts = operator.asks("close", BTC)["accounts"]
    assert accounts == sorted(paper_account(each.strategy_id) for each in world.entrants)


def test_positions_shows_what_is_open_and_what_was_traded(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "150")
    assert operator("positions") == "No account has traded yet: python -m serving paper"
    assert operator.asks("positions") == {}
    world = trading(STILL, STOPPED, STILL, STILL, STILL, signals={0: 1, 2: -1})
    shown = operator("positions")
    assert f"{BTC} long {MODEL} v1 2026-03-02 00:00 initial" in shown
    assert "1000 990 -1.00 R" in shown
    for bar in (1, 2):
        world.at(bar)
    found = operator.asks("positions")[ACCOUNT]
    assert set(found) == {"positions", "breaker", "trades"}
    assert found["positions"][BTC]["side"] == -1
    assert found["breaker"]["daily"]["tripped"] is False
    (trade,) = found["trades"]
    assert (trade["reason"], trade["strategy_id"]) == ("stop_loss", STRATEGY)
    shown = operator("positions")
    assert f"{BTC} short" in shown
    assert "stop loss" in shown
    assert "last trades of 1" in shown


def test_positions_says_that_a_breaker_has_tripped(operator: Operator) -> None:
    gap = (940.0, 941.0, 939.0, 940.0)
    world = trading(STILL, gap, gap, signals={0: 1})
    world.at(1)
    assert "breaker tripped (daily)" in operator("positions")


def test_a_damaged_account_is_named(operator: Operator) -> None:
    state = SqliteState(Path("var/state.db"))
    state.put("accounts", "live", {"positions": {BTC: "a lot"}}, expected=0)
    assert "account live in the state table is damaged" in operator("positions", status=2)
    assert "account live in the state table is damaged" in operator("close", BTC, status=2)


# Status


def test_status_shows_the_switches_and_how_far_the_bot_has_come(operator: Operator) -> None:
    trading(STILL, STILL)
    assert "Trading: master switch on." in operator("status")
    operator("stop", "--emergency")
    shown = operator("status")
    assert "Trading: master switch off, emergency stop set." in shown
    assert f"The bot has dealt with {MODEL} until 2026-03-02T00:00:00+00:00." in shown
    assert operator.asks("status")["trading"] == {
        "switches": {"master_trading_switch": False, "emergency_stop": True},
        "bars_until": {MODEL: "2026-03-02T00:00:00+00:00"},
    }


# Stages


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Client:
    """A real registry."""
    folder = tmp_path_factory.mktemp("mlflow")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    ensure_store(uri)
    client = connect(uri)
    client.create_registered_model(MODEL)
    experiment = ensure_experiment(client, MODEL, folder / "artifacts")
    run = client.create_run(experiment).info
    for _ in range(3):
        client.create_model_version(MODEL, f"{run.artifact_uri}/model", run.run_id)
    return client


def test_versions_are_promoted_and_retired_and_what_must_not_be_is_refused(
    operator: Operator, mlflow: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow.tracking_uri)

    def stages() -> dict[int, str]:
        versions = Lifecycle(mlflow, MODEL, lambda: 0).versions()
        return {version.number: version.stage.value for version in versions}

    said = operator("promote", MODEL, "1", "--why", "it earns")
    assert said.startswith(f"{MODEL} version 1: None → Staging. The bot follows at the next bar")
    answer = operator.asks("promote", MODEL, "1")
    assert answer == {"model": MODEL, "version": 1, "stage": "Production"}
    operator("promote", MODEL, "2")
    before = {1: "Production", 2: "Staging", 3: "None"}
    assert stages() == before

    said = operator("promote", MODEL, "2", status=2)
    assert f"First: python -m serving retire {MODEL} 1" in said
    assert "is in Production: only" in operator("promote", MODEL, "1", status=2)
    assert "has no version 4" in operator("promote", MODEL, "4", status=2)
    assert "has no version 1" in operator("retire", "ETHUSDT-1h", "1", status=2)
    assert stages() == before

    operator("retire", MODEL, "1", "--why", "it lost")
    operator("promote", MODEL, "2")
    assert stages() == {1: "Archived", 2: "Production", 3: "None"}
    assert "is in Archived: only" in operator("promote", MODEL, "1", status=2)
    assert "is in Archived already" in operator("retire", MODEL, "1", status=2)
    assert operator.asks("retire", MODEL, "3")["stage"] == "Archived"
    tags = Lifecycle(mlflow, MODEL, lambda: 0).version(1).tags
    assert (tags["staging.why"], tags["archived.why"]) == ("it earns", "it lost")


def test_orchestrating_an_empty_registry_says_that_there_is_nothing_to_judge(
    operator: Operator,
) -> None:
    config = ("--config", str(ROOT / "config.json"))
    ensure_store("sqlite:///var/mlflow.db")
    (record,) = operator.asks("orchestrate", "--dry-run", *config)
    assert record["model"] == MODEL
    assert record["errors"] == []
    assert MODEL in operator("orchestrate", "--dry-run", *config)
    assert not list(SqliteState(Path("var/state.db")).items("accounts"))


def test_a_registry_that_is_not_there_is_named(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///nowhere/mlflow.db")
    assert "nowhere/mlflow.db" in operator("promote", MODEL, "1", status=2)
    assert Stage.STAGING == "Staging"
