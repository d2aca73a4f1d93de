"""Bad input: a refusal to open that says why, never a silent zero; what is open stays managed."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal

import pandas as pd
import pytest

from serving.trading.decisions import decide
from serving.trading.positions import LIVE, paper_account
from store.settings import SettingsFile
from store.settings_sections import RiskSettings
from strategy.errors import ConfigError, DataError, FixError, RetryError, StoreError
from tests.bot_world import (
    BEGIN,
    BTC,
    HOUR,
    RULE,
    STILL,
    STRATEGY,
    BotWorld,
    candles_of,
    entrant,
    saying,
)

UP_ONE_R = (1000.0, 1011.0, 999.0, 1010.0)
ON = (1010.0, 1012.0, 1008.0, 1011.0)
DOWN = (1011.0, 1012.0, 990.0, 995.0)


def change(world: BotWorld, changed: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    """Have the market tell other candles from now on."""
    world.market.frames[BTC, HOUR] = changed(world.market.frames[BTC, HOUR].copy())


def without(hour: int) -> Callable[[pd.DataFrame], pd.DataFrame]:
    return lambda frame: frame.drop(pd.Timestamp(BEGIN) + hour * pd.Timedelta("1h"))


# Candles


def test_a_candle_that_is_late_is_waited_for() -> None:
    world = BotWorld(*[STILL] * 3, signals={1: 1})
    world.at(0)
    whole = world.market.frames[BTC, HOUR]
    change(world, without(0))
    for minutes in (0, 5):
        assert world.at(1, minutes=minutes).bars == []
    world.market.frames[BTC, HOUR] = whole
    world.at(1, minutes=10)
    assert world.held().decision_time == BEGIN + timedelta(hours=1)
    assert world.refusals() == []


def test_a_candle_that_stays_away_is_refused_after_a_quarter_of_an_hour_and_told_of() -> None:
    world = BotWorld(*[STILL] * 4, signals={1: 1})
    world.at(0)
    change(world, without(0))
    for minutes in (0, 5, 10, 15):
        assert world.at(1, minutes=minutes).bars == []
        assert world.interventions() == []
    world.at(1, minutes=20)
    (why,) = world.refusals()
    assert why.startswith(
        f"candles of {BTC} {HOUR} are stale: the newest opens at 2026-03-01 23:00"
    )
    assert world.told == [(f"{BTC} {HOUR}: nothing opens", why)]
    world.at(1, minutes=25)
    assert len(world.told) == 1
    assert world.position() is None


def test_a_market_that_does_not_answer_is_waited_for_and_then_refused() -> None:
    world = BotWorld(*[STILL] * 4, signals={1: 1})
    world.at(0)
    world.market.faults["closed"] = RetryError("Binance does not answer")
    world.at(1)
    world.at(1, minutes=20)
    assert world.refusals() == ["Binance does not answer"]
    assert world.told.subjects == [f"{BTC} {HOUR}: nothing opens"]


def test_while_candles_stay_away_the_stop_rests_and_later_bars_catch_up() -> None:
    world = BotWorld(STILL, UP_ONE_R, ON, DOWN, STILL, signals={0: 1})
    world.at(0)
    world.at(1)
    whole = world.market.frames[BTC, HOUR]
    change(world, without(1))
    world.market.prices[BTC] = 1010.0
    for minutes in range(0, 60, 5):
        world.at(2, minutes=minutes)
    assert world.stops() == [pytest.approx(990)]
    assert world.told.subjects[-1] == f"{BTC} {HOUR}: nothing opens"
    world.market.frames[BTC, HOUR] = whole
    world.at(3)
    assert world.stops() == [1000]
    world.market.prices.clear()
    world.at(4)
    assert [trade.reason for trade in world.trades()] == ["break_even"]


def test_without_an_entrant_nobody_is_told_of_candles_that_stay_away() -> None:
    world = BotWorld(*[STILL] * 3)
    world.entrants = []
    world.at(0)
    change(world, without(0))
    world.at(1, minutes=20)
    assert not world.told


@pytest.mark.parametrize("column", ["open", "high", "low", "close", "volume"])
def test_on_a_bar_whose_predecessor_changed_after_it_closed_nothing_opens(column: str) -> None:
    world = BotWorld(*[STILL] * 5, signals={1: 1, 2: 1})
    world.at(0)

    def revised(frame: pd.DataFrame) -> pd.DataFrame:
        frame.loc[pd.Timestamp(BEGIN) - pd.Timedelta("1h"), column] += 0.5
        return frame

    change(world, revised)
    world.at(1)
    (why,) = world.refusals()
    assert why.startswith(f"the candle of {BTC} {HOUR} at 2026-03-01 23:00:00+00:00 was [")
    assert world.told == [(f"{BTC} {HOUR}: nothing opens", why)]
    world.at(2)
    assert world.held().decision_time == BEGIN + timedelta(hours=2)


def test_on_a_bar_whose_predecessor_is_gone_nothing_opens() -> None:
    world = BotWorld(*[STILL] * 5, signals={1: 1})
    world.at(0)
    change(world, without(-1))
    world.at(1)
    (why,) = world.refusals()
    assert why.endswith("and is gone now")


def test_after_a_long_pause_the_last_bar_that_was_seen_is_not_missed() -> None:
    world = BotWorld(*[STILL] * 120, signals={110: 1})
    world.at(0)
    world.at(110)
    assert world.position() is not None


def test_a_position_is_managed_although_a_bar_changed() -> None:
    world = BotWorld(STILL, UP_ONE_R, ON, STILL, signals={0: 1})
    world.at(0)
    world.at(1)

    def revised(frame: pd.DataFrame) -> pd.DataFrame:
        frame.loc[pd.Timestamp(BEGIN), "volume"] = 7.0
        return frame

    change(world, revised)
    world.at(2)
    assert world.stops() == [1000]


def test_too_few_candles_are_no_neutral_signal() -> None:
    world = BotWorld(STILL, signals={0: 1})
    change(world, lambda frame: frame.iloc[-RULE.required_history :])
    world.at(0)
    needed = RULE.required_history
    assert world.refusals() == [
        f"{BTC}-{HOUR}: {needed - 1} candles are at hand, {needed} are needed for a signal"
    ]


def test_a_signal_that_is_not_known_is_no_neutral_signal() -> None:
    world = BotWorld(STILL, signals={0: math.nan})  # type: ignore[dict-item]
    world.at(0)
    assert world.refusals() == [f"{BTC}-{HOUR}: no signal at 2026-03-01 23:00:00+00:00"]


def test_a_stop_distance_that_is_not_known_is_no_neutral_signal() -> None:
    candles = candles_of([])
    candles.loc[candles.index[-5], "high"] = math.nan
    with pytest.raises(DataError, match="no signal at"):
        decide(saying({0: 1}), candles)  # type: ignore[arg-type]


def test_a_bundle_that_fails_to_say_anything_is_refused_and_holds_up_nobody() -> None:
    class Broken(type(saying({}))):  # type: ignore[misc]
        def signals(self, candles: pd.DataFrame) -> pd.DataFrame:
            raise FixError("the booster wants 57 features, and is given 58")

    world = BotWorld(STILL)
    world.entrants = [entrant(Broken({})), entrant(saying({0: 1}), strategy_id="sound")]
    world.at(0)
    assert world.refusals() == ["the booster wants 57 features, and is given 58"]
    assert world.position(paper_account("sound")) is not None


# The registry


def test_a_registry_without_versions_is_no_error_and_opens_nothing() -> None:
    world = BotWorld(*[STILL] * 2)
    world.entrants = []
    report = world.at(0)
    assert (len(report.bars), report.accounts) == (1, [])
    assert not world.told
    assert world.at(0, minutes=5).bars == ()


def test_a_version_with_a_problem_opens_nothing_and_is_told_of_once_a_day() -> None:
    """Its reason may be another one each time: a file's name in it, for example."""
    world = BotWorld(*[STILL] * 30, signals={0: 1})
    for bar in range(25):
        why = f"/tmp/{bar}: it was trained on other features"
        world.entrants = [entrant(None, problem=why), entrant(saying({}), strategy_id="sound")]
        world.at(bar)
    assert len(world.refusals()) == 25
    assert world.refusals(strategy_id="sound") == []
    assert world.told == [
        (f"{BTC}-{HOUR} version 1 opens nothing", "/tmp/0: it was trained on other features"),
        (f"{BTC}-{HOUR} version 1 opens nothing", "/tmp/24: it was trained on other features"),
    ]


def test_a_version_with_a_problem_is_not_refused_what_it_does_not_want() -> None:
    world = BotWorld(*[STILL] * 3)
    world.entrants = [entrant(saying({1: 1}), problem="its model is too old")]
    world.at(0)
    assert world.refusals() == []
    world.at(1)
    assert world.refusals() == ["its model is too old"]


# Settings


@pytest.mark.parametrize(
    "content",
    ['{"risk": {"risk_per_trade": 0.06}}', '{"ops": {"emergency_stop": "on"}}', "{", None],
    ids=["out of range", "no switch", "no JSON", "no answer"],
)
def test_with_settings_that_cannot_be_read_nothing_opens_and_positions_are_managed(
    content: str | None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    world = BotWorld(STILL, UP_ONE_R, ON, DOWN, STILL, STILL, signals={0: 1, 4: 1})
    world.at(0)
    if content is None:
        world.settings.fault = RetryError("SSM does not answer")
    else:
        file = tmp_path_factory.mktemp("settings") / "settings.json"
        file.write_text(content)
        world.settings = SettingsFile(file)  # type: ignore[assignment]
    world.bot = world.new_bot()  # which has not opened its accounts yet
    world.at(1)
    world.at(2)
    assert world.stops() == [1000]
    world.at(4)
    assert [trade.reason for trade in world.trades()] == ["break_even"]
    (why,) = world.refusals()[-1:]
    assert why.startswith("the settings cannot be read: ")
    assert world.position() is None
    assert world.told.subjects.count("Settings") == 3  # once for every hour


def test_an_emergency_stop_that_cannot_be_read_closes_nothing() -> None:
    world = BotWorld(*[STILL] * 2, signals={0: 1})
    world.at(0)
    world.settings.fault = StoreError("access denied")
    world.at(1)
    assert world.position() is not None


def test_a_new_account_is_not_opened_while_its_capital_cannot_be_read() -> None:
    world = BotWorld(*[STILL] * 2, signals={0: 1})
    world.settings.fault = ConfigError("paper_capital must be above 0")
    assert isinstance(world.failing(0), ConfigError)
    world.settings.fault = None
    world.at(0, minutes=5)
    assert world.held().decision_time == BEGIN
    assert world.exchange()._now().balance > 9_000


# The account


def test_a_key_without_permission_is_told_of_and_tried_anew_at_the_next_tick() -> None:
    world = BotWorld(*[STILL] * 2)
    world.entrants = [entrant(saying({0: 1}), "live", "real"), entrant(saying({0: 1}))]
    world.bot.open_live()
    first = world.live
    first.faults["positions"] = ConfigError("the API key may not read positions: allow Futures")
    world.bot.open_live = lambda: first  # type: ignore[assignment,return-value]
    assert isinstance(world.failing(0), ConfigError)
    assert world.position() is not None
    assert world.told[-1] == (
        "Trading bot: ConfigError",
        "the API key may not read positions: allow Futures",
    )
    world.bot.open_live = world._open_live  # type: ignore[method-assign]
    world.at(0, minutes=5)
    assert world.held(LIVE).strategy_id == "real"
    assert world.live is not first


def test_a_balance_of_zero_is_refused() -> None:
    world = BotWorld(*[STILL] * 2)
    world.entrants = [entrant(saying({0: 1}), "live")]
    world.bot.open_live()
    empty = world.live
    empty.lose(10_000)
    world.bot.open_live = lambda: empty  # type: ignore[assignment,return-value]
    world.at(0)
    assert world.position(LIVE) is None
    assert world.refusals(book="live") == ["circuit breaker: daily, weekly, monthly drawdown"]
    assert "0.00 USD are there: nothing to trade with" in world.told[0][1]


def test_capital_that_is_all_tied_up_is_refused() -> None:
    world = BotWorld(*[STILL] * 2)
    world.settings.limits = RiskSettings(paper_capital=0.001)
    world.entrants = [entrant(saying({0: 1}))]
    world.at(0)
    (why,) = world.refusals()
    assert why.startswith("exchange_minimum: ")
    assert world.exchange().balance().total == Decimal("0.001")
    assert world.state.get("trades/" + STRATEGY, "paper") is None
