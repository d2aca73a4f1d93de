"""Each invariant of a rehearsal, seen to hold and seen to fail, in a world made by hand.

That every trade is the simulator's has a file of its own, test_rehearsal_simulated_trades.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from registry.lifecycle import Stage
from serving.campaign_requests import CampaignRequest, Shard
from serving.journal import Journal
from serving.trading.positions import InFlight, Position, position_id
from store import paper_exchange
from store.paper_account import PaperAccount
from store.settings_sections import RiskSettings
from strategy.errors import RetryError
from tests.invariants_world import BTC, CAPITAL, DAY, MINUTE, NOW, PAPER, STRATEGY, World, position
from tests.orchestrator_world import record
from tests.situations import MODEL


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_in_a_sound_world_everything_is_checked_and_holds(world: World) -> None:
    world.life.move(1, Stage.STAGING, who="model_validator", why="all gates passed")
    world.life.move(1, Stage.PRODUCTION, who="orchestrator", why="0.2 R over 30 trades")
    world.entered()
    for function in ("trading_bot", "orchestrator", "launch_spot_validator", "job", "people"):
        world.look(function)
    assert world.invariants.checked == {
        "no live position without a resting stop": 1,
        "state equals exchange": 1,
        "no order without a decision": 1,
        "risk within limits": 1,
        "one Production version per model": 3,
        "every stage move explained by a gate or a person": 3,
        "money conserved to the cent": 1,
        "no event lost": 1,
        "spend within the limit": 2,
    }


# Positions and orders

STOPS = "no live position without a resting stop"


def after_25_minutes(world: World, *, error: Exception | None = None) -> str:
    """The failure, which comes after four ticks and no sooner."""
    for _ in range(5):
        world.look("trading_bot", error)
        world.clock.advance_to(world.clock() + 5 * MINUTE)
    return world.broken(STOPS, "trading_bot", error)


def test_a_holding_may_lack_its_stop_for_20_minutes_and_no_longer(world: World) -> None:
    held = position()
    world.trade("BUY", "0.1", f"{held.position_id}-e")
    world.remember(held)
    assert after_25_minutes(world) == f"0.100 BTCUSDT without a stop since {NOW}"


def test_that_ticks_fail_is_no_excuse(world: World) -> None:
    world.trade("BUY", "0.1", "an-order")
    assert "without a stop" in after_25_minutes(world, error=RetryError("it is down"))


@pytest.mark.parametrize(
    "stop",
    [
        {"quantity": "0.099"},
        {"side": "BUY", "price": "51000", "reduceOnly": "false"},
        {"reduceOnly": "false"},
    ],
    ids=["of a part", "of the wrong side", "that may open"],
)
def test_a_stop_that_does_not_protect_all_of_it_is_none(
    world: World, stop: Mapping[str, str]
) -> None:
    held = position()
    world.trade("BUY", "0.1", f"{held.position_id}-e")
    world.remember(held)
    world.protect(**stop)
    assert "without a stop" in after_25_minutes(world)


def test_a_stop_that_comes_back_in_time_is_in_time(world: World) -> None:
    world.entered()
    for minutes in range(0, 120, 5):
        world.clock.advance_to(NOW + minutes * MINUTE)
        if minutes % 20 == 5:
            world.account.cancel_stop({"clientAlgoId": "a-stop"})
        if minutes % 20 == 15:
            world.protect()
        world.look("trading_bot")


def test_while_the_exchange_is_out_of_reach_nobody_can_place_a_stop(world: World) -> None:
    world.trade("BUY", "0.1", "an-order")
    world.fate.outage = lambda what: what == "exchange"  # type: ignore[method-assign,assignment,return-value]
    for _ in range(10):
        world.look("trading_bot", RetryError("it is down"))
        world.clock.advance_to(world.clock() + 5 * MINUTE)


@pytest.mark.parametrize(
    "remembered",
    [(), (position(quantity=Decimal("0.2")),), (position(side=-1),)],
    ids=["nothing", "another quantity", "another side"],
)
def test_what_is_held_and_not_remembered_so_is_told(
    world: World, remembered: tuple[Position, ...]
) -> None:
    world.entered()
    world.remember(*remembered)
    assert "the exchange holds" in world.broken("state equals exchange", "trading_bot")


def test_what_is_remembered_and_not_held_is_told(world: World) -> None:
    world.remember(position())
    world.broken("state equals exchange", "trading_bot")
    world.look("trading_bot", RetryError("the tick failed, so that it may be so"))


def test_an_order_that_nobody_decided_on_is_told(world: World) -> None:
    world.entered()
    world.look("trading_bot")
    other = position_id(STRATEGY, NOW + DAY)
    world.trade("BUY", "0.05", f"{other}-e")
    world.trade("SELL", "0.05", "web_1")  # a person's
    message = world.broken("no order without a decision", "trading_bot")
    assert message == f"order {other}-e belongs to no decision"


def test_an_order_whose_name_is_no_decision_s_is_told(world: World) -> None:
    world.entered()
    world.trade("BUY", "0.05", "somebody-else")
    world.trade("SELL", "0.05", "web_1")
    message = world.broken("no order without a decision", "trading_bot")
    assert message == "order somebody-else belongs to no decision"


def test_the_orders_of_a_trade_that_has_ended_were_decided(world: World) -> None:
    held = world.entered()
    world.account.cancel_stop({"clientAlgoId": "a-stop"})
    world.trade("SELL", "0.1", f"{held.position_id}-x")
    world.remember()
    trade = record(STRATEGY, "live", NOW, 0.0).model_copy(update={"position_id": held.position_id})
    Journal(world.state).add_trade(trade)
    world.look("trading_bot")


RISK = "risk within limits"


def test_risk_over_the_exposition_is_told(world: World) -> None:
    world.limits = RiskSettings(risk_per_trade=0.005, risk_exposition=0.009)
    world.entered()
    assert world.broken(RISK, "trading_bot") == "live: 100.00 of 9997.50 USD are at risk"


def test_a_position_of_more_than_the_leverage_is_told(world: World) -> None:
    world.account.holding(BTC).leverage = 20
    held = position(quantity=Decimal("0.7"), stop=49_900.0)
    world.trade("BUY", "0.7", f"{held.position_id}-e")
    world.protect(quantity="0.7")
    world.remember(held)
    assert "is 35000.00 of 9982.50 USD" in world.broken(RISK, "trading_bot")


def test_a_paper_account_s_risk_is_measured_by_its_own_balance(world: World) -> None:
    paper = PaperAccount(balance=Decimal(1000), settled_until=NOW)
    world.state.put(paper_exchange.PARTITION, PAPER, paper.model_dump(mode="json"), expected=0)
    world.remember(position(), name=PAPER)
    assert "100.00 of 1000.00 USD" in world.broken(RISK, "trading_bot")


def test_a_position_is_measured_once_its_entry_is_filled(world: World) -> None:
    world.limits = RiskSettings(risk_per_trade=0.005, risk_exposition=0.009)
    sent = InFlight(kind="entry", order_id="an-order", quantity=Decimal("0.1"), sent_at=NOW)
    world.remember(position(entry_price=None, in_flight=sent), name=PAPER)
    paper = PaperAccount(balance=CAPITAL, settled_until=NOW)
    world.state.put(paper_exchange.PARTITION, PAPER, paper.model_dump(mode="json"), expected=0)
    world.look("trading_bot")
    world.remember(position(), name=PAPER)
    world.broken(RISK, "trading_bot")


# Money

MONEY = "money conserved to the cent"


def test_a_wallet_that_changes_without_income_is_told(world: World) -> None:
    world.entered()
    world.look("orchestrator")
    world.account.wallet += Decimal("0.02")
    assert world.broken(MONEY, "orchestrator").startswith("wallet 9997.52")


def test_income_that_no_trade_explains_is_told_once_nothing_is_held(world: World) -> None:
    held = world.entered()
    world.account.cancel_stop({"clientAlgoId": "a-stop"})
    world.account.prices[BTC] = Decimal(50_100)
    world.trade("SELL", "0.1", f"{held.position_id}-x")
    world.look("orchestrator")  # it is still remembered
    world.remember()
    assert world.broken(MONEY, "orchestrator") == (
        "the live account earned 4.9950, its trades 0.0000 USD"
    )
    trade = record(STRATEGY, "live", NOW, 0.0).model_copy(
        update={
            "quantity": Decimal("0.1"),
            "entry_price": 50_000.0,
            "exit_price": 50_100.0,
            "fees": Decimal("5.005"),
        }
    )
    Journal(world.state).add_trade(trade)
    world.look("orchestrator")
    world.account.transfer(Decimal(-4))
    world.look("orchestrator")


def test_what_ended_trades_earned_is_told_while_another_position_is_open(world: World) -> None:
    first = world.entered()
    world.clock.sleep(3600)
    world.account.advance(world.clock.milliseconds)
    world.account.cancel_stop({"clientAlgoId": "a-stop"})
    world.trade("SELL", "0.1", f"{first.position_id}-x")
    world.clock.sleep(1)
    world.account.advance(world.clock.milliseconds)
    world.trade("BUY", "0.1", "another-e")
    another = position(position_id="another", entry_time=world.clock())
    world.remember(another)
    assert world.broken(MONEY, "orchestrator") == (
        "the live account earned -5.0000, its trades 0.0000 USD"
    )
    trade = record(STRATEGY, "live", NOW, 0.0).model_copy(update={"fees": Decimal(5)})
    Journal(world.state).add_trade(trade)
    world.look("orchestrator")
    # Of a trade that is recorded while its position is not forgotten yet, nothing counts.
    later = record(STRATEGY, "live", NOW + DAY, 7.0)
    Journal(world.state).add_trade(later.model_copy(update={"position_id": "another"}))
    world.look("orchestrator")
    sent = InFlight(kind="entry", order_id="sent-e", quantity=Decimal("0.1"), sent_at=NOW)
    world.remember(another.but(entry_price=None, entry_time=None, in_flight=sent))
    world.look("orchestrator")


def test_a_paper_balance_that_its_trades_do_not_explain_is_told(world: World) -> None:
    paper = PaperAccount(balance=Decimal("10001.50"), settled_until=NOW)
    world.state.put(paper_exchange.PARTITION, PAPER, paper.model_dump(mode="json"), expected=0)
    assert "earned 1.5000, its trades 0.0000" in world.broken(MONEY, "orchestrator")
    Journal(world.state).add_trade(record(STRATEGY, "paper", NOW, 1.5))
    world.look("orchestrator")


SPEND = "spend within the limit"


@pytest.mark.parametrize("function", ["job", "launch_spot_validator"])
def test_a_month_that_costs_more_than_its_limit_is_told(world: World, function: str) -> None:
    def cost(month: int, usd: float) -> Any:
        return SimpleNamespace(ended_at=datetime(2024, month, 2, tzinfo=UTC), usd=usd)

    world.spot.ended = [cost(5, 4.0), cost(6, 3.0), cost(6, 1.99)]
    world.look(function)
    world.spot.ended.append(cost(6, 0.02))
    assert world.broken(SPEND, function) == "$5.01 spent in 2024-06, the limit is $5.00"


# The registry

ONE = "one Production version per model"
MOVES = "every stage move explained by a gate or a person"


@pytest.mark.parametrize("function", ["orchestrator", "model_retrainer", "job", "people"])
def test_two_versions_in_production_are_told(world: World, function: str) -> None:
    world.registry.stages |= {1: "Production", 2: "Production"}
    message = world.broken(ONE, function, RetryError("even where it failed"))
    assert message == "BTCUSDT-1h has versions [2, 1] in Production"


def test_a_move_that_nobody_made_is_told(world: World) -> None:
    world.registry.stages[1] = "Staging"
    assert world.broken(MOVES, "people") == "BTCUSDT-1h version 1 is in Staging unsaid"


def test_a_person_s_move_is_explained_before_and_after_it_is_written_down(world: World) -> None:
    world.registry.stages[1] = "Staging"
    world.people.moved.add((MODEL, 1, Stage.STAGING))
    world.look("people")
    world.life.record_overrides()
    world.look("orchestrator")


def test_a_move_that_is_a_person_s_by_its_tags_alone_is_told(world: World) -> None:
    world.registry.stages[1] = "Staging"
    world.life.record_overrides()
    assert "no person moved it" in world.broken(MOVES, "orchestrator")


@pytest.mark.parametrize(
    ("who", "why", "message"),
    [
        ("somebody", "a reason", "was moved by somebody"),
        ("orchestrator", "", "Staging, and nobody says why"),
    ],
)
def test_a_move_has_a_reason_and_a_part_that_may_make_it(
    world: World, who: str, why: str, message: str
) -> None:
    world.life.move(1, Stage.STAGING, who=who, why=why)
    assert message in world.broken(MOVES, "job")


@pytest.mark.parametrize(
    "dies_at", ["transition_model_version_stage", "set_registered_model_alias"]
)
def test_a_move_of_our_own_that_broke_off_is_not_a_person_s(world: World, dies_at: str) -> None:
    world.registry.dies_at = dies_at
    with pytest.raises(KeyboardInterrupt):
        world.life.move(1, Stage.STAGING, who="orchestrator", why="all gates passed")
    world.registry.dies_at = ""
    world.look("orchestrator", RetryError("it was ended"))
    world.life.record_overrides()
    world.look("orchestrator")


# Events

LOST = "no event lost"


def test_a_message_that_is_given_up_is_told(world: World) -> None:
    world.queue.send('{"campaign_id": "c0ffee"}')
    for _ in range(5):
        world.look("orchestrator")
        assert len(world.queue.receive()) == 1
        world.clock.sleep(400)
    message = world.broken(LOST, "orchestrator")
    assert message == 'message {"campaign_id": "c0ffee"} was given up'


@pytest.mark.parametrize("status", ["waiting", "submitted"])
def test_a_campaign_that_is_stuck_is_told(world: World, status: Any) -> None:
    request = CampaignRequest(
        campaign_id="c0ffee",
        asset=BTC,
        timeframe="1h",
        config_digest="a" * 64,
        data_digest="b" * 64,
        code_digest="c" * 64,
        input_uri="in",
        checkpoint_uri="checkpoints",
        max_resume_attempts=3,
        requested_by="operator",
        requested_at=NOW - 3 * DAY,
        updated_at=NOW,
        shards=(Shard(number=1, status=status),),
        reason="it waits",
    )
    document = request.model_dump(mode="json", exclude={"status"})
    world.state.put("requests", request.campaign_id, document, expected=0)
    world.look("orchestrator")
    world.clock.sleep(1)
    assert "campaign c0ffee is" in world.broken(LOST, "orchestrator")
