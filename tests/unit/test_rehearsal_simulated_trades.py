"""A rehearsal's trades beside the simulator's: told where they differ, if no outage led to it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from registry.bundle import StrategyBundle
from registry.lifecycle import Stage
from rehearsal import invariants as module
from rehearsal.invariants import InvariantBrokenError
from serving.journal import Journal
from store.market import ReplayMarket
from strategy.config import BreakEven
from tests.invariants_world import BTC, DAY, PAPER, STRATEGY, World, position
from tests.orchestrator_world import record
from tests.strategy_bundles import random_candles, trained_bundle

SIMULATED = "every trade equal to the simulator's"
CANDLES = random_candles(1500)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture(scope="module")
def bundle() -> StrategyBundle:
    rule = BreakEven(min_multiplier=1.0, max_multiplier=1.5, historical_atr_window=50)
    return replace(trained_bundle(CANDLES), break_even=rule)


@pytest.fixture
def simulated(world: World, bundle: StrategyBundle, monkeypatch: pytest.MonkeyPatch) -> World:
    """A version in paper trading on candles of its own, of which the journal knows nothing."""
    end = (CANDLES.index[-1] + pd.Timedelta(hours=1)).to_pydatetime()
    world.clock.now = CANDLES.index[1300].to_pydatetime()
    world.life.move(1, Stage.STAGING, who="model_validator", why="all gates passed")
    world.clock.now = end.replace(day=1, month=end.month + 1)
    world.market = ReplayMarket({(BTC, "1h"): CANDLES}, world.clock)
    monkeypatch.setattr(module, "load_bundle", lambda *_: bundle)
    return world


def test_trades_that_the_simulator_makes_and_nobody_recorded_are_told(simulated: World) -> None:
    message = simulated.broken(SIMULATED, "orchestrator")
    assert message.startswith("paper: missing in live")
    with pytest.raises(InvariantBrokenError, match=f"{SIMULATED}.*after the end"):
        simulated.invariants.at_the_end()


def test_trades_are_compared_on_the_first_of_a_month(simulated: World) -> None:
    simulated.clock.now += DAY
    simulated.look("orchestrator")
    assert SIMULATED not in simulated.invariants.checked


def recorded(world: World) -> pd.DataFrame:
    """Have the simulator's own trades be in the journal; what they are compared to."""
    ((_, table),) = world.invariants.tables()
    for row in table[table["exit_time_simulated"].notna()].itertuples():
        trade = record(STRATEGY, "paper", row.decision_time.to_pydatetime(), row.r_simulated)
        Journal(world.state).add_trade(
            trade.model_copy(
                update={
                    "side": row.side,
                    "entry_time": row.entry_time_simulated.to_pydatetime(),
                    "exit_time": row.exit_time_simulated.to_pydatetime(),
                    "entry_price": row.entry_price_simulated,
                    "exit_price": row.exit_price_simulated,
                    "reason": row.reason_simulated,
                }
            )
        )
    return table


def test_trades_that_are_the_simulator_s_are_no_divergence(simulated: World) -> None:
    table = recorded(simulated)
    assert len(table) > 3
    assert not list(simulated.invariants.divergent())


def test_a_trade_at_another_price_is_told(simulated: World) -> None:
    recorded(simulated)
    journal = Journal(simulated.state)
    trade = journal.trades(STRATEGY, "paper")[0]
    item = simulated.state.items(f"trades/{STRATEGY}")[0]
    value = {**item.value, "exit_price": trade.exit_price + 0.5}
    simulated.state.put(item.partition, item.key, value, expected=item.version)
    assert "paper: " in simulated.broken(SIMULATED, "orchestrator")


def test_an_outage_explains_a_trade_that_is_another_and_only_then(simulated: World) -> None:
    simulated.fate.any_outage = lambda since, until: True  # type: ignore[method-assign]
    simulated.look("orchestrator")
    asked: list[timedelta] = []
    simulated.fate.any_outage = lambda since, until: bool(asked.append(until - since))  # type: ignore[method-assign,func-returns-value]
    simulated.broken(SIMULATED, "orchestrator")
    assert all(timedelta(hours=1) < each < 20 * DAY for each in asked)


def outlived(world: World) -> datetime:
    """The first trade is still held when the simulator decides on the second; its decision."""
    recorded(world)
    first, second = world.state.items(f"trades/{STRATEGY}")[:2]
    until = datetime.fromisoformat(second.value["decision_time"]) + timedelta(minutes=1)
    value = {**first.value, "exit_time": until.isoformat(), "exit_price": 1.0}
    world.state.put(first.partition, first.key, value, expected=first.version)
    world.state.delete(second.partition, second.key, expected=second.version)
    return datetime.fromisoformat(first.value["decision_time"])


def test_a_trade_that_an_outage_kept_open_excuses_the_one_that_it_kept_from(
    simulated: World,
) -> None:
    """Seed 15 of two years: a stop that could not be moved, and its position half a day later."""
    decided = outlived(simulated)
    simulated.fate.any_outage = lambda since, until: since < decided < until
    assert not list(simulated.invariants.divergent())


def test_without_an_outage_both_are_told(simulated: World) -> None:
    outlived(simulated)
    told = list(simulated.invariants.divergent())
    assert [message.split(": ")[1] for message in told] == ["unexplained", "missing in live"]


def test_a_position_that_is_still_open_excuses_what_it_keeps_from(simulated: World) -> None:
    recorded(simulated)
    first, *others = simulated.state.items(f"trades/{STRATEGY}")
    for item in (first, *others):
        simulated.state.delete(item.partition, item.key, expected=item.version)
    decided = datetime.fromisoformat(first.value["decision_time"])
    held = position(decision_time=decided, stepped_until=decided)
    simulated.remember(held, name=PAPER)
    assert len(list(simulated.invariants.divergent())) == len(others)
    simulated.fate.any_outage = lambda since, until: since < decided < until
    assert not list(simulated.invariants.divergent())
