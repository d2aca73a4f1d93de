"""Decides at a bar's close whether a strategy enters, and how large."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd

from serving.trading.desk import Desk
from serving.trading.entering import enter
from serving.trading.positions import Position, position_id
from serving.trading.roster import Entrant
from store.exchange import RefusedError
from strategy.candles import timeframe_delta
from strategy.errors import DataError, TradingSystemError
from strategy.exit_rule import ExitRule
from strategy.sizing import Refused, RiskRules, Side, size

if TYPE_CHECKING:
    from registry.bundle import StrategyBundle

_log = logging.getLogger(__name__)

GRACE = timedelta(minutes=15)
"""How long after a bar's close an entry may still be made: three ticks."""


@dataclass(frozen=True)
class ClosedBar:
    """The newest closed bar of a market, with the candles before it.

    Parameters
    ----------
    problem
        Why nothing may be decided on it; None where nothing speaks against it.
    """

    asset: str
    timeframe: str
    close_time: datetime
    candles: pd.DataFrame
    problem: str | None = None


class Decision(NamedTuple):
    """What a strategy says at a close: -1, 0 or 1, and one R in price units."""

    signal: int
    risk: float


def decide(bundle: StrategyBundle, candles: pd.DataFrame) -> Decision:
    """What a strategy says at the close of the last candle.

    Raises
    ------
    DataError
        There are too few candles: nothing is known, which is not a neutral signal.
    """
    rule = ExitRule(bundle.indicators.atr_period, bundle.break_even)
    needed = max(bundle.required_history, rule.required_history)
    history = candles.iloc[-needed:]
    if len(history) < needed:
        raise DataError(
            f"{bundle.model_name}: {len(history)} candles are at hand, {needed} are needed for "
            "a signal"
        )
    signal = float(bundle.signals(history)["signal"].iloc[-1])
    risk = float(rule.distances(history)[-1])
    if math.isnan(signal) or math.isnan(risk):
        raise DataError(f"{bundle.model_name}: no signal at {history.index[-1]}")
    return Decision(int(signal), risk)


def consider(
    desk: Desk, entrant: Entrant, bar: ClosedBar, rules: RiskRules | None, halted: str | None
) -> None:
    """Decide for a strategy on a bar, once, and enter where it says so.

    Every entry that is wanted and not made is written down as refused, with its reason.

    Parameters
    ----------
    rules
        The operator's limits; None where they cannot be read, which ``halted`` tells.
    halted
        Why the account opens nothing now; None where it may.

    Raises
    ------
    RetryError, FixError
        The exchange did not answer or cannot be asked. If nothing was sent the bar is decided
        anew by the next tick.
    """
    if bar.asset in desk.errors:  # whether it is held is not known; the next tick decides
        return
    decided = desk.ledger.account.decided
    last = decided.get(entrant.strategy_id)
    if last is not None and last >= bar.close_time:
        return
    _refuse_missed(desk, entrant, bar, last)
    decided[entrant.strategy_id] = bar.close_time
    if _was_held(desk, entrant, bar):
        return
    try:
        problem = _acted(desk, entrant, bar, rules, halted)
    except TradingSystemError:
        if bar.asset not in desk.ledger.account.positions:
            del decided[entrant.strategy_id]
            if last is not None:
                decided[entrant.strategy_id] = last
        raise
    if problem is not None:
        _log.info("%s version %d enters nothing: %s", entrant.model, entrant.version, problem)
        desk.intervene(entrant.strategy_id, desk.clock(), "refuse", problem)


def _acted(
    desk: Desk, entrant: Entrant, bar: ClosedBar, rules: RiskRules | None, halted: str | None
) -> str | None:
    """Enter if the strategy says so; or why a wanted entry cannot be."""
    problem = entrant.problem or bar.problem or halted or _too_late(desk, bar)
    decision = None
    if entrant.bundle is not None and bar.problem is None:
        try:
            decision = decide(entrant.bundle, bar.candles)
        except TradingSystemError as error:
            problem = str(error)
    if decision is not None and (decision.signal == 0 or not decision.risk > 0):
        return None
    problem = problem or _busy(desk, bar)
    if problem is None and decision is not None and rules is not None:
        problem = _enter(desk, entrant, bar, decision, rules)
    return problem


def _enter(
    desk: Desk, entrant: Entrant, bar: ClosedBar, decision: Decision, rules: RiskRules
) -> str | None:
    """Size and open; or why that cannot be."""
    bundle = entrant.bundle
    if bundle is None:
        return "its bundle is not loaded"
    side: Side = 1 if decision.signal > 0 else -1
    price = desk.exchange.last_price(bar.asset)
    sized = size(
        side,
        price,
        Decimal(repr(decision.risk)),
        desk.capital(),
        rules,
        desk.exchange.filters(bar.asset),
    )
    if isinstance(sized, Refused):
        return f"{sized.reason}: {sized.detail}"
    position = Position(
        position_id=position_id(entrant.strategy_id, bar.close_time),
        strategy_id=entrant.strategy_id,
        model=entrant.model,
        version=entrant.version,
        asset=bar.asset,
        timeframe=bar.timeframe,
        atr_period=bundle.indicators.atr_period,
        break_even=bundle.break_even,
        side=side,
        risk=decision.risk,
        decision_time=bar.close_time,
        quantity=sized.quantity,
        stop=float(price) - side * decision.risk,
        stepped_until=bar.close_time,
    )
    try:
        enter(desk, position, sized.leverage)
    except RefusedError as error:
        if bar.asset in desk.ledger.account.positions:  # it was opened: its stop was refused
            raise
        desk.say(f"{position.position_id}/refused", f"{bar.asset}: entry refused", str(error))
        return str(error)
    return None


def _refuse_missed(desk: Desk, entrant: Entrant, bar: ClosedBar, last: datetime | None) -> None:
    """Bars that closed while no tick came: whatever they said, nothing was entered."""
    length = timeframe_delta(bar.timeframe).to_pytimedelta()
    missed = bar.close_time if last is None else last + length
    while missed < bar.close_time:
        why = "no tick looked at this bar while it was the newest"
        # There may be months of them, and they are the same whenever they are written.
        desk.journal.add_intervention(desk.intervention(entrant.strategy_id, missed, "refuse", why))
        missed += length


def _was_held(desk: Desk, entrant: Entrant, bar: ClosedBar) -> bool:
    """Whether the strategy itself had a position when the bar closed."""
    account = desk.ledger.account
    held, last = account.positions.get(bar.asset), account.last_exits.get(bar.asset)
    if held is not None:
        return held.strategy_id == entrant.strategy_id
    return (
        last is not None and last.strategy_id == entrant.strategy_id and last.time >= bar.close_time
    )


def _busy(desk: Desk, bar: ClosedBar) -> str | None:
    held = desk.ledger.account.positions.get(bar.asset)
    if held is not None:
        return f"symbol_busy: {held.model} version {held.version} holds {bar.asset}"
    if desk.exchange.position(bar.asset) is not None:
        return f"symbol_busy: the exchange holds {bar.asset} that the bot did not open"
    return None


def _too_late(desk: Desk, bar: ClosedBar) -> str | None:
    late = desk.clock() - bar.close_time
    return f"late: the bar closed {late} ago" if late > GRACE else None
