"""What must hold at every moment of a rehearsal, each with a name.

They look at the system from outside: the exchange's own books, the state table, the registry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import pandas as pd

from registry.lifecycle import PERSON, Lifecycle, Stage
from registry.loading import load_bundle
from rehearsal.excuses import unexcused
from rehearsal.people import People
from rehearsal.system import Event, System
from serving.deciding_version import DecidingVersion
from serving.journal import TRADES, Book, Journal
from serving.live_divergence import STAGES, divergence_table, read_recorded
from serving.trading.positions import (
    LIVE,
    PARTITION,
    Account,
    Position,
    paper_account,
    read_account,
)
from store import paper_exchange
from store.clock import milliseconds
from store.paper_account import PaperAccount
from strategy.divergence import Explanation
from strategy.sizing import open_risk

CENT = Decimal("0.01")
_REGISTRY = {"orchestrator", "model_retrainer", "job", "people"}
"""Functions after which a version's stage may be another."""
_WITHOUT_STOP = timedelta(minutes=20)
"""For so long a live position may lack its stop while ticks fail: four of them."""
_STUCK = timedelta(days=3)
_ROOM = Decimal("1.02")
"""Between sizing and fill the price moves, and equity with it."""


class InvariantBrokenError(AssertionError):
    """Something did not hold."""

    def __init__(self, name: str, event: Event, message: str) -> None:
        super().__init__(f"{name}: {message} (after {event.function} at {event.time})")
        self.name, self.event, self.message = name, event, message


@dataclass
class Invariants:
    """Checks after every event what it may have broken; a rehearsal's observer.

    Parameters
    ----------
    tick
        Of prices at the exchange.
    checked
        How often each was looked at.
    """

    system: System
    people: People
    capital: Decimal
    tick: float
    checked: dict[str, int] = field(default_factory=dict)
    _stopless_since: dict[str, datetime] = field(default_factory=dict, init=False)
    _known: set[str] = field(default_factory=set, init=False)
    _orders_seen: int = field(default=0, init=False)
    _stages: dict[tuple[str, int], Stage] = field(default_factory=dict, init=False)

    def after(self, event: Event, error: Exception | None) -> None:
        """Raise InvariantBrokenError where something does not hold."""
        for name, check in self._checks(event, error):
            self.checked[name] = self.checked.get(name, 0) + 1
            for message in check():
                raise InvariantBrokenError(name, event, message)

    def at_the_end(self) -> None:
        """Look at the trades once more, when all is over."""
        name = "every trade equal to the simulator's"
        last = Event(self.system.clock(), 0, "the end", {})
        for message in self.divergent():
            raise InvariantBrokenError(name, last, message)

    def _checks(
        self, event: Event, error: Exception | None
    ) -> Iterator[tuple[str, Callable[[], Iterator[str]]]]:
        if event.function in _REGISTRY:
            yield "one Production version per model", self._one_in_production
            yield "every stage move explained by a gate or a person", self._moves_explained
        if event.function == "trading_bot":
            yield "no live position without a resting stop", self._stops_rest
            if error is None:
                yield "state equals exchange", self._state_equals_exchange
                yield "no order without a decision", self._orders_decided
                yield "risk within limits", self._risk_within_limits
        if event.function == "orchestrator" and error is None:
            yield "money conserved to the cent", self._money_conserved
            yield "no event lost", self._nothing_lost
            if self.system.clock().day == 1:
                yield "every trade equal to the simulator's", self.divergent
        if event.function in ("job", "launch_spot_validator"):
            yield "spend within the limit", self._spend_within_limit

    # The registry

    def _one_in_production(self) -> Iterator[str]:
        for model in self._models():
            live = [v.number for v in self._life(model).versions_in(Stage.PRODUCTION)]
            if len(live) > 1:
                yield f"{model} has versions {live} in Production"

    def _moves_explained(self) -> Iterator[str]:
        for model in self._models():
            for version in self._life(model).versions():
                before = self._stages.get((model, version.number), Stage.NONE)
                if version.stage is before:
                    continue
                moved = (model, version.number, version.stage) in self.people.moved
                if not version.settled:  # the orchestrator writes down what a person did
                    if version.override and not moved:
                        yield f"{model} version {version.number} is in {version.stage} unsaid"
                    continue
                self._stages[model, version.number] = version.stage
                entry = version.entry(version.stage)
                if entry is None or not entry.why:
                    yield f"{model} version {version.number}: {version.stage}, and nobody says why"
                elif entry.who == PERSON:
                    if not moved:
                        yield f"{model} version {version.number}: no person moved it"
                elif entry.who not in ("orchestrator", "model_validator", "model_retrainer"):
                    yield f"{model} version {version.number} was moved by {entry.who}"

    # Positions and orders

    def _stops_rest(self) -> Iterator[str]:
        now, account = self.system.clock(), self.system.exchange.account
        for symbol, holding in account.holdings.items():
            held = holding.amount
            resting = [
                stop
                for stop in account.open_stops(symbol)
                if stop["reduceOnly"]
                and (stop["side"] == "SELL") == (held > 0)
                and Decimal(stop["quantity"]) >= abs(held)
            ]
            if not held or resting:
                self._stopless_since.pop(symbol, None)
                continue
            since = self._stopless_since.setdefault(symbol, now)
            if now - since > _WITHOUT_STOP and not self._out_of_reach():
                yield f"{held} {symbol} without a stop since {since}"

    def _state_equals_exchange(self) -> Iterator[str]:
        held = {
            symbol: holding.amount
            for symbol, holding in self.system.exchange.account.holdings.items()
            if holding.amount
        }
        remembered = {
            symbol: position.side * position.quantity
            for symbol, position in self._account(LIVE).positions.items()
        }
        if held != remembered:
            yield f"the exchange holds {held}, the bot remembers {remembered}"

    def _orders_decided(self) -> Iterator[str]:
        orders = self.system.exchange.account.orders
        new = [o for o in orders if int(o["orderId"]) > self._orders_seen]
        if not new:
            return
        self._orders_seen = max(int(order["orderId"]) for order in new)
        held = {p.position_id for p in self._account(LIVE).positions.values()}
        for order in new:
            name = str(order["clientOrderId"])
            if name.startswith(("web_", "algo_")) or order["executedQty"] in ("0", "0.0"):
                continue
            decision = name.rpartition("-")[0]
            if decision not in held and not self._traded(decision):
                yield f"order {name} belongs to no decision"

    def _traded(self, position_id: str) -> bool:
        """Whether a position has become a recorded trade: its id ends with when it was decided."""
        try:
            minute = position_id.rpartition("-")[2]
            decided = datetime.strptime(minute, "%y%m%d%H%M").replace(tzinfo=UTC)
        except ValueError:
            return False
        return any(
            item.value["position_id"] == position_id
            for strategy in self._strategies()
            for item in self.system.state.items(
                f"{TRADES}/{strategy}", f"live/{decided:%Y-%m-%dT%H:%M}"
            )
        )

    def _risk_within_limits(self) -> Iterator[str]:
        accounts = {
            item.key: item.value
            for item in self.system.state.items(PARTITION)
            if item.value.get("positions")
        }
        ids = {
            each["position_id"]
            for value in accounts.values()
            for each in value["positions"].values()
            if each["entry_price"] is not None
        }
        new, self._known = ids - self._known, ids
        if not new:
            return
        positions = {
            name: [
                each
                for each in read_account(value, name).positions.values()
                if each.entry_price is not None
            ]
            for name, value in accounts.items()
        }
        limits = self.system.settings.risk()
        leverage = Decimal(repr(self.system.config.leverage.max_leverage))
        for name, book in positions.items():
            opened = [each for each in book if each.position_id in new]
            if not opened:
                continue
            equity = self._equity(name)
            risk = sum((_risk(each) for each in book), Decimal(0))
            if risk > equity * Decimal(repr(limits.risk_exposition)) * _ROOM:
                yield f"{name}: {risk:.2f} of {equity:.2f} USD are at risk"
            for each in opened:
                notional = each.quantity * Decimal(repr(each.entry))
                if notional > equity * leverage * _ROOM:
                    yield f"{name}: {each.position_id} is {notional:.2f} of {equity:.2f} USD"

    # Money

    def _money_conserved(self) -> Iterator[str]:
        account = self.system.exchange.account
        if abs(account.wallet - self.capital - account.income_in_all) > CENT:
            yield f"wallet {account.wallet}, income {account.income_in_all} on {self.capital}"
        journal, strategies = Journal(self.system.state), self._strategies()
        live = self._account(LIVE).positions.values()
        if all(each.entry_time for each in live):
            still = {each.position_id for each in live}
            trades = (t for each in strategies for t in journal.trades(each, "live"))
            earned = sum((t.profit for t in trades if t.position_id not in still), Decimal(0))
            had = self._earned({each.asset: each.entry_time for each in live if each.entry_time})
            if abs(had - earned) > CENT:
                yield f"the live account earned {had:.4f}, its trades {earned:.4f} USD"
        for item in self.system.state.items(paper_exchange.PARTITION):
            paper = PaperAccount.model_validate(item.value)
            if paper.positions or self._account(item.key).positions:
                continue
            strategy = item.key.removeprefix("paper/")
            earned = sum((t.profit for t in journal.trades(strategy, "paper")), Decimal(0))
            had = paper.balance - Decimal(repr(self.system.settings.risk().paper_capital))
            if abs(had - earned) > CENT:
                yield f"{item.key} earned {had:.4f}, its trades {earned:.4f} USD"

    def _earned(self, since: Mapping[str, datetime]) -> Decimal:
        """By the live account, USD, but for what positions did that are open since then."""
        account = self.system.exchange.account
        opened = {symbol: time.timestamp() * 1000 for symbol, time in since.items()}
        rows = (
            Decimal(row["income"])
            for row in account.income
            if row["incomeType"] != "TRANSFER"
            and row["time"] < round(opened.get(row["symbol"], account.now + 1))
        )
        return account.earlier_income - account.earlier_transfers + sum(rows, Decimal(0))

    def _spend_within_limit(self) -> Iterator[str]:
        now, spot = self.system.clock(), self.system.spot
        month = [
            job for job in spot.ended
            if job.ended_at and (job.ended_at.year, job.ended_at.month) == (now.year, now.month)
        ]  # fmt: skip
        spent = sum(spot.cost(job) for job in month)
        limit = self.system.settings.cost().monthly_cost_limit
        if spent > limit:
            yield f"${spent:.2f} spent in {now:%Y-%m}, the limit is ${limit:.2f}"

    # Events

    def _nothing_lost(self) -> Iterator[str]:
        for letter in self.system.queue.dead_letters():
            yield f"message {letter.body} was given up"
        now = self.system.clock()
        for request in self.system.quiet_stack.requests.all():
            if request.status in ("waiting", "running") and now - request.requested_at > _STUCK:
                yield f"campaign {request.campaign_id} is {request.status}: {request.reason}"

    # The simulator

    def divergent(self) -> Iterator[str]:
        """Trades that are not the simulator's, and no outage has led to it."""
        for book, table in self.tables():
            others = [row for row in table.itertuples() if not self._same(book, row)]
            still_open = self._still_open(book, table["strategy"].iloc[0])
            now = self.system.clock()
            for row in unexcused(others, self.system.fate.any_outage, still_open, now):
                yield f"{book}: {row.explained}: {row}"

    def tables(self) -> Iterator[tuple[Book, pd.DataFrame]]:
        """Each strategy's trades beside the simulator's, by book."""
        journal = Journal(self.system.state)
        for asset, timeframe in self.system.config.markets:
            model = f"{asset}-{timeframe}"
            versions = self._life(model).versions()
            candles = self.system.market.closed(asset, timeframe, 10**6)
            for strategy in sorted({v.strategy_id for v in versions if v.strategy_id}):
                own = [v for v in versions if v.strategy_id == strategy]
                for book in STAGES:
                    trades = journal.trades(strategy, book)
                    table = divergence_table(
                        read_recorded(journal, model, strategy, book, own, trades),
                        candles,
                        timeframe,
                        self.system.config.costs,
                        partial(self._version, model),
                    )
                    if table is not None and len(table):
                        yield book, table.assign(strategy=strategy)

    def _version(self, model: str, number: int) -> DecidingVersion:
        return DecidingVersion(load_bundle(self.system.registry, model, number))

    def _same(self, book: Book, row: Any) -> bool:
        """Whether a row is the simulator's trade.

        With real orders a stop rests rounded to the exchange's tick, and fees and funding are
        the exchange's.
        """
        prices = (row.entry_price_difference, row.exit_price_difference)
        rounded = book == "live" and all(abs(each) <= self.tick for each in prices)
        return row.explained == Explanation.SAME or rounded

    def _still_open(self, book: Book, strategy: str) -> list[datetime]:
        """When the positions of a strategy were decided that are open now."""
        account = self._account(LIVE if book == "live" else paper_account(strategy))
        held = account.positions.values()
        return [each.decision_time for each in held if each.strategy_id == strategy]

    # What is looked at

    def _out_of_reach(self) -> bool:
        return any(self.system.fate.outage(what) for what in ("exchange", "table"))

    def _models(self) -> list[str]:
        return [f"{asset}-{timeframe}" for asset, timeframe in self.system.config.markets]

    def _life(self, model: str) -> Lifecycle:
        return Lifecycle(self.system.registry, model, milliseconds(self.system.clock))

    def _strategies(self) -> set[str]:
        return {
            version.strategy_id
            for model in self._models()
            for version in self._life(model).versions()
            if version.strategy_id
        }

    def _account(self, name: str) -> Account:
        item = self.system.state.get(PARTITION, name)
        return read_account(item.value if item else {}, name)

    def _equity(self, name: str) -> Decimal:
        if name == LIVE:
            return self.system.exchange.account.equity
        item = self.system.state.get(paper_exchange.PARTITION, name)
        return PaperAccount.model_validate(item.value).balance if item else Decimal(0)


def _risk(position: Position) -> Decimal:
    entry, stop = Decimal(repr(position.entry)), Decimal(repr(position.stop))
    return open_risk(position.side, position.quantity, entry, stop)
