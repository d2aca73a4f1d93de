"""Leads strategies on: plans for every model, and carries the plans out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from serving.asking import ask_for
from serving.orchestration.actions import (
    Action,
    Alarm,
    AskForCampaign,
    Move,
    Promote,
    RecordOverride,
    Retrain,
    action_document,
)
from serving.orchestration.notices import tell_alarm, tell_failure, tell_news
from serving.orchestration.parts import RETRAINS, Market, Orchestrator, read_situation
from serving.orchestration.plan import plan
from serving.orchestration.situation import WHO
from strategy.errors import ConflictError, DataError, TradingSystemError

_CLAIM = timedelta(minutes=15)  # asking takes seconds; a retrain in this very process, minutes


@dataclass(frozen=True)
class Outcome:
    """What was done about a model, or would be, and what went wrong."""

    model: str
    actions: tuple[Action, ...]
    errors: tuple[TradingSystemError, ...]

    @property
    def record(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "model": self.model,
            "actions": [action_document(action) for action in self.actions],
            "errors": [str(error) for error in self.errors],
        }


def propose(orchestrator: Orchestrator) -> list[Outcome]:
    """What :func:`orchestrate` would do now; changes nothing."""
    return [_proposed(orchestrator, market) for market in orchestrator.markets]


def orchestrate(orchestrator: Orchestrator) -> list[Outcome]:
    """Lead the strategies of every market of config.json one step further, where it is time.

    What fails does not keep the rest from being done, neither of other models nor of the same.
    Only after a move that failed nothing is promoted (the place may not be free) and no campaign
    asked for (it may not be needed). The operator is told of everything once.
    """
    return [_led(orchestrator, market) for market in orchestrator.markets]


def _proposed(orchestrator: Orchestrator, market: Market) -> Outcome:
    actions: list[Action] = []
    errors: list[TradingSystemError] = []
    with _noted(errors):
        actions.extend(plan(read_situation(orchestrator, market)))
    return Outcome(market.model, tuple(actions), tuple(errors))


def _led(orchestrator: Orchestrator, market: Market) -> Outcome:
    done: list[Action] = []
    errors: list[TradingSystemError] = []
    stuck = False
    with _noted(errors):
        situation = read_situation(orchestrator, market)
        if not all(version.settled for version in situation.versions):
            done.extend(a for a in plan(situation) if isinstance(a, RecordOverride))
            orchestrator.lifecycle(market.model).record_overrides()
            situation = read_situation(orchestrator, market)
        for action in plan(situation):
            if stuck and isinstance(action, Promote | AskForCampaign):
                continue
            with _noted(errors):
                _carry_out(orchestrator, market, action)
                done.append(action)
            stuck = stuck or (isinstance(action, Move) and action not in done)
        if any(action.changes for action in done):
            situation = read_situation(orchestrator, market)
        tell_news(orchestrator.stack, situation)
    if errors:
        with _noted(errors):
            tell_failure(orchestrator.stack, market.model, errors[0])
    return Outcome(market.model, tuple(done), tuple(errors))


def _carry_out(orchestrator: Orchestrator, market: Market, action: Action) -> None:
    if isinstance(action, Move):
        life = orchestrator.lifecycle(market.model)
        life.record_verdicts(action.version, action.gates)
        life.move(action.version, action.stage, who=WHO, why=action.why)
    elif isinstance(action, Retrain):
        _ask_to_retrain(orchestrator, action)
    elif isinstance(action, AskForCampaign):
        _ask_for_campaign(orchestrator, market)
    elif isinstance(action, Alarm):
        tell_alarm(orchestrator.stack, action)


def _ask_to_retrain(orchestrator: Orchestrator, action: Retrain) -> None:
    """Ask once, even where two orchestrators are at it; a claim whose owner died runs out."""
    state, now = orchestrator.stack.state, orchestrator.stack.clock()
    key, asked = f"{action.model}/{action.version}", {"asked_at": now.isoformat()}
    before = state.get(RETRAINS, key)
    try:
        claim = state.put(
            RETRAINS,
            key,
            asked,
            expected=before.version if before else 0,
            expires_at=now + _CLAIM,
        )
    except ConflictError:
        return
    try:
        orchestrator.retrain(action.model, action.version)
    except TradingSystemError:
        with suppress(ConflictError):
            if before:
                state.put(RETRAINS, key, before.value, expected=claim.version)
            else:
                state.delete(RETRAINS, key, expected=claim.version)
        raise
    with suppress(ConflictError):
        state.put(RETRAINS, key, asked, expected=claim.version)


def _ask_for_campaign(orchestrator: Orchestrator, market: Market) -> None:
    stack = orchestrator.stack
    earlier = orchestrator.campaigns(market)
    last = max(earlier, key=lambda request: request.requested_at, default=None)
    request = ask_for(
        stack,
        orchestrator.config,
        orchestrator.source,
        market.asset,
        market.timeframe,
        shards=len(last.shards) if last else 1,
        requested_by=WHO,
    )
    if request.status == "completed":
        raise DataError(
            f"campaign {request.campaign_id} was run on these very candles and this config "
            "before, and would find the same: are the candles downloaded every day?"
        )


@contextmanager
def _noted(errors: list[TradingSystemError]) -> Iterator[None]:
    try:
        yield
    except TradingSystemError as error:
        errors.append(error)
