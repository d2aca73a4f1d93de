"""A futures account with virtual money: real prices, fees, slippage, funding and stops.

It is an :class:`store.exchange.Exchange` like any other, so that whoever trades cannot tell.
Everything that it holds lies in the state table. Nobody runs it between two calls: what candles
and price have done to its stops since then is worked out when it is asked.

Fills are pessimistic, as in :mod:`strategy.exits`: a price that opens beyond a stop fills it
there, else the stop's own price does; within a candle the adverse extreme counts although the
stop may have been placed, or the position opened, in the middle of it. A fill costs fee *and*
slippage as a fee: its price is the market's, as the simulation has it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Literal

import pandas as pd
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict

from store.clock import Clock
from store.exchange import (
    Balance,
    DuplicateOrderError,
    ExchangePosition,
    Income,
    InsufficientMarginError,
    NothingToReduceError,
    NotionalTooSmallError,
    OrderState,
    OrderStatus,
    StopOrder,
    StopPassedError,
    StopStatus,
    checked_client_order_id,
)
from store.market import Candle, Market
from store.state import StateTable
from strategy.config import Costs
from strategy.costs import FUNDING_INTERVAL
from strategy.sizing import MarketFilters, liquidation_price

PARTITION = "paper"
"""Of the state table; the key is the account's name."""

FILTERS = MarketFilters(
    tick_size=Decimal("1e-16"),  # none: a stop rests exactly where the strategy wants it
    step_size=Decimal("0.00001"),
    min_quantity=Decimal("0.00001"),
    max_quantity=Decimal(10**9),
    min_notional=Decimal(5),
)
_KEPT = timedelta(days=7)
"""How long what is done with is remembered; queries come within minutes."""
_MAINTENANCE = Decimal("0.004")

Utc = Annotated[AwareDatetime, AfterValidator(lambda time: time.astimezone(UTC))]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Position(_Model):
    side: Literal[1, -1]
    quantity: Decimal
    entry_price: Decimal
    leverage: int
    margin: Decimal

    def profit(self, price: Decimal) -> Decimal:
        return self.side * (price - self.entry_price) * self.quantity


class _Order(_Model):
    side: Literal[1, -1]
    symbol: str
    quantity: Decimal
    filled: Decimal
    price: Decimal | None
    fee: Decimal
    time: Utc


class _Stop(_Model):
    side: Literal[1, -1]
    symbol: str
    quantity: Decimal
    price: Decimal
    placed_at: Utc
    status: StopStatus = StopStatus.WAITING
    order: str | None = None
    time: Utc


class _Income(_Model):
    kind: Literal["funding", "transfer"]
    symbol: str | None
    amount: Decimal
    time: Utc


class _Account(_Model):
    balance: Decimal
    leverage: dict[str, int] = {}
    positions: dict[str, _Position] = {}
    orders: dict[str, _Order] = {}
    stops: dict[str, _Stop] = {}
    income: list[_Income] = []
    settled_until: Utc
    """What candles closed and what was funded by then is worked in."""


@dataclass
class PaperExchange:
    """One account of virtual money; see :class:`store.exchange.Exchange`.

    Parameters
    ----------
    name
        Of the account: opened with ``capital`` when it is used for the first time.
    capital
        USD.
    costs
        Fees, slippage and funding, from config.json.

    Every method also raises as the state table and the market do; ConflictError when another
    process has used the account since: nothing was done then, and it is to be asked anew.
    """

    state: StateTable
    name: str
    market: Market
    costs: Costs
    capital: Decimal
    clock: Clock
    _account: _Account = field(init=False, repr=False)
    _version: int = field(default=-1, init=False, repr=False)
    _settled: datetime | None = field(default=None, init=False, repr=False)

    @property
    def lands_within(self) -> timedelta:
        """Nothing is ever on its way."""
        return timedelta(0)

    def server_time(self) -> datetime:
        return self.clock()

    def filters(self, symbol: str) -> MarketFilters:
        return FILTERS

    def last_price(self, symbol: str) -> Decimal:
        return self.market.price(symbol)

    def balance(self) -> Balance:
        account = self._now()
        profit = sum(
            (held.profit(self.market.price(symbol)) for symbol, held in account.positions.items()),
            Decimal(0),
        )
        used = sum((held.margin for held in account.positions.values()), Decimal(0))
        return Balance(total=account.balance + profit, free=account.balance - used)

    def positions(self) -> list[ExchangePosition]:
        return [self._shown(symbol) for symbol in self._now().positions]

    def position(self, symbol: str) -> ExchangePosition | None:
        return self._shown(symbol) if symbol in self._now().positions else None

    def prepare(self, symbol: str, leverage: int) -> None:
        account = self._now()
        if account.leverage.get(symbol) != leverage:
            account.leverage[symbol] = leverage
            self._save()

    def market_order(
        self,
        client_order_id: str,
        symbol: str,
        side: int,
        quantity: Decimal,
        *,
        reduce_only: bool,
    ) -> OrderState:
        account = self._now()
        if checked_client_order_id(client_order_id) in account.orders:
            raise DuplicateOrderError(f"order {client_order_id} is there already")
        price = self.market.price(symbol)
        held = account.positions.get(symbol)
        if reduce_only:
            if held is None or held.side == side:
                raise NothingToReduceError(f"order {client_order_id}: there is nothing to reduce")
            quantity = min(quantity, held.quantity)
        else:
            self._check_margin(account, client_order_id, symbol, quantity, price)
        self._fill(account, client_order_id, symbol, side, quantity, price, self.clock())
        self._save()
        return self._order_state(client_order_id)

    def order(self, symbol: str, client_order_id: str) -> OrderState | None:
        return self._order_state(client_order_id) if client_order_id in self._now().orders else None

    def place_stop(
        self, client_order_id: str, symbol: str, side: int, quantity: Decimal, stop_price: Decimal
    ) -> StopOrder:
        account = self._now()
        present = account.stops.get(checked_client_order_id(client_order_id))
        if present is not None and present.status is StopStatus.WAITING:
            raise DuplicateOrderError(f"stop {client_order_id} is there already")
        price = self.market.price(symbol)
        if side * (price - stop_price) >= 0:
            raise StopPassedError(f"stop {client_order_id} at {stop_price:f}: price is {price:f}")
        account.stops[client_order_id] = _Stop(
            side=side, symbol=symbol, quantity=quantity, price=stop_price,
            placed_at=self.clock(), time=self.clock(),
        )  # fmt: skip
        self._save()
        return self._stop_order(client_order_id)

    def stops(self, symbol: str) -> list[StopOrder]:
        return [
            self._stop_order(name)
            for name, stop in self._now().stops.items()
            if stop.symbol == symbol and stop.status is StopStatus.WAITING
        ]

    def stop(self, symbol: str, client_order_id: str) -> StopOrder | None:
        return self._stop_order(client_order_id) if client_order_id in self._now().stops else None

    def cancel_stop(self, symbol: str, client_order_id: str) -> bool:
        stop = self._now().stops.get(client_order_id)
        if stop is None or stop.status is not StopStatus.WAITING:
            return False
        stop.status, stop.time = StopStatus.CANCELED, self.clock()
        self._save()
        return True

    def income(self, since: datetime) -> list[Income]:
        return [
            Income(
                kind=row.kind,
                symbol=row.symbol,
                amount=row.amount,
                time=row.time,
                id=f"{row.time.isoformat()}/{row.symbol}",
            )
            for row in self._now().income
            if row.time >= since
        ]

    def _check_margin(
        self, account: _Account, order: str, symbol: str, quantity: Decimal, price: Decimal
    ) -> None:
        if quantity * price < FILTERS.min_notional:
            raise NotionalTooSmallError(f"order {order} is worth {quantity * price:f} USD")
        margin = quantity * price / account.leverage.get(symbol, 1)
        if margin > (free := self.balance().free):
            raise InsufficientMarginError(f"order {order} needs {margin:f} USD, {free:f} are free")

    def _now(self) -> _Account:
        """The account with everything in it that happened until now."""
        now = self.clock()
        if self._settled != now or self._version < 0:
            self._load(now)
            if self._settle(self._account, now):
                self._save()
            self._settled = now
        return self._account

    def _load(self, now: datetime) -> None:
        item = self.state.get(PARTITION, self.name)
        if item is None:
            self._account = _Account(balance=self.capital, settled_until=now)
            self._version = 0
            self._save()
        elif item.version != self._version:  # else it is what we wrote, settled until lately
            self._account = _Account.model_validate(item.value)
            self._version = item.version

    def _save(self) -> None:
        old = self.clock() - _KEPT
        account = self._account
        account.orders = {name: order for name, order in account.orders.items() if order.time > old}
        account.stops = {
            name: stop
            for name, stop in account.stops.items()
            if stop.time > old or stop.status is StopStatus.WAITING
        }
        if not account.positions:
            account.income = [row for row in account.income if row.time > old]
        version, self._version = self._version, -1  # read anew, should this not succeed
        document = account.model_dump(mode="json")
        self._version = self.state.put(PARTITION, self.name, document, expected=version).version

    def _settle(self, account: _Account, now: datetime) -> bool:
        """Work in what happened since; whether anything did."""
        happened = False
        symbols = set(account.positions) | {
            stop.symbol for stop in account.stops.values() if stop.status is StopStatus.WAITING
        }
        for symbol in sorted(symbols):
            for candle in self.market.since(symbol, account.settled_until):
                happened |= self._fund(account, symbol, candle.open_time, candle.open)
                happened |= self._hold_against(account, symbol, candle)
            price = self.market.price(symbol)
            happened |= self._fund(account, symbol, now, float(price))
            happened |= self._meet_price(account, symbol, price, now)
        account.settled_until = now
        return happened

    def _hold_against(self, account: _Account, symbol: str, candle: Candle) -> bool:
        opened = _money(candle.open)
        met = self._meet_price(account, symbol, opened, candle.open_time)
        for name, stop in _waiting(account, symbol):
            adverse = _money(candle.low if stop.side < 0 else candle.high)
            if stop.placed_at < candle.close_time and stop.side * (adverse - stop.price) >= 0:
                # Nobody knows when; not before it was placed.
                time = max(candle.open_time, stop.placed_at)
                met |= self._trigger(account, name, stop.price, time)
        return met

    def _meet_price(self, account: _Account, symbol: str, price: Decimal, time: datetime) -> bool:
        """Fill at the price of a moment the stops that it has passed by then."""
        met = False
        for name, stop in _waiting(account, symbol):
            if stop.placed_at <= time and stop.side * (price - stop.price) >= 0:
                met |= self._trigger(account, name, price, time)
        return met

    def _trigger(self, account: _Account, name: str, price: Decimal, time: datetime) -> bool:
        stop = account.stops[name]
        held = account.positions.get(stop.symbol)
        if held is None or held.side == stop.side:  # what outlived its position reduces nothing
            stop.status, stop.time = StopStatus.EXPIRED, time
            return True
        stop.status, stop.time, stop.order = StopStatus.TRIGGERED, time, name
        quantity = min(stop.quantity, held.quantity)
        self._fill(account, name, stop.symbol, stop.side, quantity, price, time)
        return True

    def _fund(self, account: _Account, symbol: str, until: datetime, price: float) -> bool:
        """Pay what fell due after the last settlement, at this price."""
        held = account.positions.get(symbol)
        rows = account.income
        if held is None:
            return False
        done = max([account.settled_until, *(row.time for row in rows if row.kind == "funding")])
        due = _funding_times(done, until)
        for time in due:
            rate = Decimal(repr(self.costs.funding_per_8h)) if held.side > 0 else Decimal(0)
            amount = -rate * _money(price) * held.quantity
            account.balance += amount
            rows.append(_Income(kind="funding", symbol=symbol, amount=amount, time=time))
        return bool(due)

    def _fill(
        self,
        account: _Account,
        name: str,
        symbol: str,
        side: int,
        quantity: Decimal,
        price: Decimal,
        time: datetime,
    ) -> None:
        fee = quantity * price * (
            Decimal(repr(self.costs.fee_per_side)) + Decimal(repr(self.costs.slippage_per_side))
        )  # fmt: skip
        account.balance -= fee
        account.orders[name] = _Order(
            side=side, symbol=symbol, quantity=quantity, filled=quantity, price=price,
            fee=fee, time=time,
        )  # fmt: skip
        held = account.positions.get(symbol)
        leverage = account.leverage.get(symbol, 1)
        if held is None or held.side == side:
            before = held.quantity if held else Decimal(0)
            cost = (held.entry_price * before if held else Decimal(0)) + price * quantity
            account.positions[symbol] = _Position(
                side=side,
                quantity=before + quantity,
                entry_price=cost / (before + quantity),
                leverage=leverage,
                margin=cost / leverage,
            )
            return
        account.balance += held.side * (price - held.entry_price) * quantity
        if quantity == held.quantity:
            del account.positions[symbol]
        else:
            held.margin *= 1 - quantity / held.quantity
            held.quantity -= quantity

    def _shown(self, symbol: str) -> ExchangePosition:
        held = self._account.positions[symbol]
        return ExchangePosition(
            symbol=symbol,
            side=held.side,
            quantity=held.quantity,
            entry_price=held.entry_price,
            leverage=held.leverage,
            liquidation_price=liquidation_price(
                held.side, held.entry_price, held.leverage, _MAINTENANCE
            ),
            isolated=True,
            margin=held.margin + held.profit(self.market.price(symbol)),
        )

    def _order_state(self, name: str) -> OrderState:
        order = self._account.orders[name]
        return OrderState(
            client_order_id=name,
            symbol=order.symbol,
            side=order.side,
            status=OrderStatus.FILLED,
            quantity=order.quantity,
            filled=order.filled,
            average_price=order.price,
            fee=order.fee,
            time=order.time,
        )

    def _stop_order(self, name: str) -> StopOrder:
        stop = self._account.stops[name]
        return StopOrder(
            client_order_id=name,
            symbol=stop.symbol,
            side=stop.side,
            quantity=stop.quantity,
            stop_price=stop.price,
            reduce_only=True,
            status=stop.status,
            order=self._order_state(stop.order) if stop.order else None,
            time=stop.time,
        )


def _waiting(account: _Account, symbol: str) -> list[tuple[str, _Stop]]:
    """The stops that rest, the tightest first: the price comes to it first."""
    found = [
        (name, stop)
        for name, stop in account.stops.items()
        if stop.symbol == symbol and stop.status is StopStatus.WAITING
    ]
    return sorted(found, key=lambda each: each[1].side * each[1].price)


def _funding_times(after: datetime, until: datetime) -> list[datetime]:
    first = pd.Timestamp(after).floor(FUNDING_INTERVAL) + FUNDING_INTERVAL
    return [time.to_pydatetime() for time in pd.date_range(first, until, freq=FUNDING_INTERVAL)]


def _money(price: float) -> Decimal:
    return Decimal(repr(price))
