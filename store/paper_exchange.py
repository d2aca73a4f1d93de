"""A futures account with virtual money: real prices, fees, slippage, funding and stops.

It is an :class:`store.exchange.Exchange` like any other, so that whoever trades cannot tell.
Everything that it holds lies in the state table. Nobody runs it between two calls: what candles
and price have done to its stops since then is worked out when it is asked, as
:mod:`store.paper_account` says.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from store.clock import Clock
from store.exchange import (
    Balance,
    DuplicateOrderError,
    ExchangeFill,
    ExchangePosition,
    Income,
    InsufficientMarginError,
    NothingToReduceError,
    NotionalTooSmallError,
    OrderState,
    OrderStatus,
    RefusedError,
    StopOrder,
    StopPassedError,
    StopStatus,
    checked_client_order_id,
)
from store.market import Market
from store.paper_account import Books, PaperAccount, Position, Side, Stop
from store.state import StateTable
from strategy.config import Costs
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
_MAINTENANCE = Decimal("0.004")
_STILL_NOW = timedelta(seconds=1)
"""How long what was worked in is the present: a clock that runs never tells a moment twice."""


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
    _account: PaperAccount = field(init=False, repr=False)
    _version: int = field(default=0, init=False, repr=False)
    """Of the state table's item that ``_account`` continues; 0: it continues none."""
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
        profits = (
            held.profit(self.market.price(symbol)) for symbol, held in account.positions.items()
        )
        margins = (held.margin for held in account.positions.values())
        return Balance(
            total=account.balance + sum(profits, Decimal(0)),
            free=account.balance - sum(margins, Decimal(0)),
        )

    def positions(self) -> list[ExchangePosition]:
        return [self._shown(symbol, held) for symbol, held in self._now().positions.items()]

    def position(self, symbol: str) -> ExchangePosition | None:
        held = self._now().positions.get(symbol)
        return self._shown(symbol, held) if held else None

    def income(self, since: datetime) -> list[Income]:
        """Funding; nobody can bring virtual money in or take it out."""
        found = [
            Income("funding", row.symbol, row.amount, row.time, f"{row.time:%Y%m%d%H}/{row.symbol}")
            for row in self._now().funding
            if row.time >= since
        ]
        return sorted(found, key=lambda income: income.time)

    def fills(self, symbol: str, since: datetime) -> list[ExchangeFill]:
        """Of its own orders and stops, each filled whole: nobody else trades virtual money."""
        found = [
            ExchangeFill(
                name, symbol, order.side, order.quantity, order.price, order.fee, order.time
            )
            for name, order in self._now().orders.items()
            if order.symbol == symbol and order.time >= since
        ]
        return sorted(found, key=lambda fill: fill.time)

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
        order = f"order {checked_client_order_id(client_order_id)}"
        if client_order_id in account.orders:
            raise DuplicateOrderError(f"{order} is there already")
        _check_quantity(order, quantity)
        if reduce_only:
            quantity = self._reducible(order, symbol, side, quantity)
        else:
            self._check_margin(order, symbol, side, quantity)
        price = self.market.price(symbol)
        self._books.fill(client_order_id, symbol, _side(side), quantity, price, self.clock())
        self._save()
        return self._order_state(client_order_id)

    def order(self, symbol: str, client_order_id: str) -> OrderState | None:
        return self._order_state(client_order_id) if client_order_id in self._now().orders else None

    def place_stop(
        self, client_order_id: str, symbol: str, side: int, quantity: Decimal, stop_price: Decimal
    ) -> StopOrder:
        account, now = self._now(), self.clock()
        stop = f"stop {checked_client_order_id(client_order_id)}"
        present = account.stops.get(client_order_id)
        if present is not None and present.status is StopStatus.WAITING:
            raise DuplicateOrderError(f"{stop} is there already")
        _check_quantity(stop, quantity)
        self._reducible(stop, symbol, side, quantity)
        if side * ((price := self.market.price(symbol)) - stop_price) >= 0:
            raise StopPassedError(f"{stop} at {stop_price:f}: the price is {price:f}")
        account.stops[client_order_id] = Stop(
            side=_side(side), symbol=symbol, quantity=quantity, price=stop_price,
            placed_at=now, time=now, noted=now,
        )  # fmt: skip
        self._save()
        return self._stop_order(client_order_id)

    def stops(self, symbol: str) -> list[StopOrder]:
        return [self._stop_order(name) for name, _ in self._now().waiting(symbol)]

    def stop(self, symbol: str, client_order_id: str) -> StopOrder | None:
        return self._stop_order(client_order_id) if client_order_id in self._now().stops else None

    def cancel_stop(self, symbol: str, client_order_id: str) -> bool:
        stop = self._now().stops.get(client_order_id)
        if stop is None or stop.status is not StopStatus.WAITING:
            return False
        stop.status = StopStatus.CANCELED
        stop.time = stop.noted = self.clock()
        self._save()
        return True

    @property
    def _books(self) -> Books:
        return Books(self._account, self.costs, self.clock())

    def _reducible(self, order: str, symbol: str, side: int, quantity: Decimal) -> Decimal:
        held = self._account.positions.get(symbol)
        if held is None or held.side == side:
            raise NothingToReduceError(f"{order}: there is nothing to reduce")
        return min(quantity, held.quantity)

    def _check_margin(self, order: str, symbol: str, side: int, quantity: Decimal) -> None:
        price = self.market.price(symbol)
        if quantity * price < FILTERS.min_notional:
            raise NotionalTooSmallError(
                f"{order} is worth {quantity * price:f} USD, less than {FILTERS.min_notional}"
            )
        held = self._account.positions.get(symbol)
        amount = held.side * held.quantity if held else Decimal(0)
        growth = max(abs(amount + side * quantity) - abs(amount), Decimal(0))
        margin = growth * price / self._account.leverage.get(symbol, 1)
        if margin > (free := self.balance().free):
            raise InsufficientMarginError(f"{order} needs {margin:f} USD, {free:f} are free")

    def _now(self) -> PaperAccount:
        """The account with everything in it that happened until now."""
        now = self.clock()
        if self._version and self._settled and abs(now - self._settled) < _STILL_NOW:
            return self._account
        self._load(now)
        version, self._version = self._version, 0  # read anew, should the market not answer
        happened = self._settle(now)
        self._version = version
        if happened:
            self._save()
        self._settled = now
        return self._account

    def _load(self, now: datetime) -> None:
        item = self.state.get(PARTITION, self.name)
        if item is None:
            self._account = PaperAccount(balance=self.capital, settled_until=now)
            self._version = 0
            self._save()
        elif item.version != self._version:  # else it is what we wrote, settled until lately
            self._account = PaperAccount.model_validate(item.value)
            self._version = item.version

    def _save(self) -> None:
        self._account.forget(self.clock())
        version, self._version = self._version, 0  # read anew, should this not succeed
        document = self._account.model_dump(mode="json")
        self._version = self.state.put(PARTITION, self.name, document, expected=version).version

    def _settle(self, now: datetime) -> bool:
        """Work in what happened since; whether anything did."""
        account, books = self._account, self._books
        settled_until = now
        for symbol in account.symbols:
            seen = account.settled_until
            for candle in self.market.since(symbol, account.settled_until):
                books.pass_candle(symbol, candle)
                seen = candle.close_time
            books.pass_price(symbol, self.market.price(symbol), now)
            settled_until = min(settled_until, seen)  # a candle may come in late
        account.settled_until = settled_until
        return books.changed

    def _shown(self, symbol: str, held: Position) -> ExchangePosition:
        liquidation = liquidation_price(held.side, held.entry_price, held.leverage, _MAINTENANCE)
        return ExchangePosition(
            symbol=symbol,
            side=held.side,
            quantity=held.quantity,
            entry_price=held.entry_price,
            leverage=held.leverage,
            liquidation_price=liquidation if liquidation > 0 else None,
            isolated=True,
            margin=held.margin + held.profit(self.market.price(symbol)),
        )

    def _order_state(self, name: str) -> OrderState:
        order = self._account.orders[name]
        return OrderState(
            client_order_id=name,
            number=name,
            symbol=order.symbol,
            side=order.side,
            status=OrderStatus.FILLED,
            quantity=order.quantity,
            filled=order.quantity,
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


def _side(side: int) -> Side:
    return 1 if side > 0 else -1


def _check_quantity(order: str, quantity: Decimal) -> None:
    if quantity <= 0 or quantity != FILTERS.quantity(quantity):
        raise RefusedError(
            f"{order}: a quantity of {quantity:f} is not a multiple of {FILTERS.step_size:f} "
            f"up to {FILTERS.max_quantity:f}"
        )
