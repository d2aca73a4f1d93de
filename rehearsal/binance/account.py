"""A Binance USDT-M futures account and its market of one price: orders, stops, positions, margin.

Orders, stops and fills are kept in the form in which Binance answers. Where Binance's own
behaviour is loose, the stricter or the more dangerous form is taken: a client order id may be
used again once its order is closed, stops outlive their position, and the order that a stop turns
into has an id of its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from itertools import count

from rehearsal.binance.income import income_page, income_row
from rehearsal.binance.orders import Row, order_row, stop_row, trade_row
from rehearsal.binance.position import ZERO, Holding

FUNDING_INTERVAL_MS = 8 * 3_600_000
_WEEK_MS = 7 * 24 * 3_600_000
_INCOME_KEPT_MS = 60 * 24 * 3_600_000
_OPEN = ("NEW", "PARTIALLY_FILLED")
_WAITING = ("NEW", "TRIGGERED")
_CONDITIONAL = ("STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET")


class RefusalError(Exception):
    """What Binance answers in place of doing it."""

    def __init__(self, code: int, message: str, status: int = 400) -> None:
        super().__init__(code, message)
        self.code, self.message, self.status = code, message, status


@dataclass(frozen=True)
class Contract:
    """What exchangeInfo tells of a symbol."""

    symbol: str
    tick: Decimal = Decimal("0.10")
    step: Decimal = Decimal("0.001")
    max_quantity: Decimal = Decimal(1000)
    min_notional: Decimal = Decimal(50)


@dataclass(frozen=True)
class Fill:
    """How much of a market order fills at once, and whether the rest waits or expires."""

    part: Decimal
    rest_waits: bool = False


@dataclass
class FuturesAccount:
    """An account that tests look into and change; it stands at ``now`` until it is told.

    Parameters
    ----------
    wallet
        USDT that was paid in.
    fee_rate
        Of each fill's notional.
    now
        Milliseconds of Binance's clock.
    fills
        How the next market orders fill, those of stops too; whole where there is none.
    fee_asset
        What fees are paid in; BNB where it is not USDT, at its own price.
    stops_fail
        Stops are denied by the matching engine when they are triggered.
    funding_rate
        Of the notional, at 00, 08 and 16 UTC: longs pay it to shorts.
    """

    contracts: dict[str, Contract]
    prices: dict[str, Decimal]
    wallet: Decimal = Decimal(10_000)
    fee_rate: Decimal = Decimal("0.0005")
    now: int = 1_704_067_200_000
    fills: list[Fill] = field(default_factory=list)
    fee_asset: str = "USDT"
    stops_fail: bool = False
    funding_rate: Decimal = ZERO
    hedge_mode: bool = False
    holdings: dict[str, Holding] = field(default_factory=dict)
    orders: list[Row] = field(default_factory=list)
    stops: list[Row] = field(default_factory=list)
    trades: list[Row] = field(default_factory=list)
    income: list[Row] = field(default_factory=list)
    earlier_income: Decimal = ZERO
    earlier_transfers: Decimal = ZERO
    _ids: Callable[[], int] = field(default_factory=lambda: count(1000).__next__)

    # The market

    def jump(self, symbol: str, price: Decimal) -> None:
        """The price is there at once: what it passed fills at the new price."""
        self.prices[symbol] = price
        self._fill_waiting(symbol)
        for stop in self._reached(symbol, price):
            self._trigger(stop)

    def glide(self, symbol: str, price: Decimal) -> None:
        """The price goes there through every price between: stops fill at their own."""
        self._fill_waiting(symbol)
        start = self.prices[symbol]
        for stop in sorted(
            self._reached(symbol, price), key=lambda row: abs(Decimal(row["triggerPrice"]) - start)
        ):
            self.prices[symbol] = Decimal(stop["triggerPrice"])
            self._trigger(stop)
        self.prices[symbol] = price

    def candle(
        self, symbol: str, open_: Decimal, high: Decimal, low: Decimal, close: Decimal
    ) -> None:
        """A bar: a jump to its open, then low, high and close without a gap.

        The order of the extremes does not matter while stops lie on one side of the price.
        """
        self.jump(symbol, open_)
        for price in (low, high, close):
            self.glide(symbol, price)

    def advance(self, now: int) -> None:
        """Let time pass: open positions are charged funding at the prices that stand."""
        first = self.now // FUNDING_INTERVAL_MS + 1
        for number in range(first, now // FUNDING_INTERVAL_MS + 1):
            self.now = number * FUNDING_INTERVAL_MS
            for symbol, held in self.holdings.items():
                if held.amount and self.funding_rate:
                    paid = held.amount * self.prices[symbol] * self.funding_rate
                    self._flow("FUNDING_FEE", -paid, symbol)
        self.now = now

    def transfer(self, amount: Decimal, asset: str = "USDT") -> None:
        """A deposit, or below 0 a withdrawal; only USDT is in the account's equity."""
        self._flow("TRANSFER", amount, asset=asset)

    def _reached(self, symbol: str, price: Decimal) -> list[Row]:
        return [
            stop
            for stop in self.stops
            if stop["symbol"] == symbol and stop["algoStatus"] == "NEW"
            if _beyond(stop["side"], Decimal(stop["triggerPrice"]), price)
        ]

    def forget(self, before: int) -> None:
        """Let go of what is over since before that time, so that years stay small.

        What came in and went out is kept for 60 days longer: a trade may last for weeks.
        """
        self.orders = [o for o in self.orders if o["status"] in _OPEN or o["updateTime"] >= before]
        self.stops = [
            s for s in self.stops if s["algoStatus"] in _WAITING or s["updateTime"] >= before
        ]
        self.trades = [trade for trade in self.trades if trade["time"] >= before]
        over = [row for row in self.income if row["time"] < before - _INCOME_KEPT_MS]
        self.earlier_income += sum((_usdt(row) for row in over), ZERO)
        self.earlier_transfers += sum(
            (_usdt(row) for row in over if row["incomeType"] == "TRANSFER"), ZERO
        )
        self.income = self.income[len(over) :]

    @property
    def transferred(self) -> Decimal:
        """Deposits less withdrawals, USDT."""
        return self.earlier_transfers + sum(
            (_usdt(row) for row in self.income if row["incomeType"] == "TRANSFER"), ZERO
        )

    @property
    def income_in_all(self) -> Decimal:
        """All that ever came in less what went out, USDT."""
        return self.earlier_income + sum((_usdt(row) for row in self.income), ZERO)

    # Settings

    def holding(self, symbol: str) -> Holding:
        if symbol not in self.contracts:
            raise RefusalError(-1121, "Invalid symbol.")
        return self.holdings.setdefault(symbol, Holding())

    def set_hedge_mode(self, wanted: bool) -> None:
        if wanted == self.hedge_mode:
            raise RefusalError(-4059, "No need to change position side.")
        if any(holding.amount for holding in self.holdings.values()):
            raise RefusalError(-4068, "Position side cannot be changed if there exists position.")
        self.hedge_mode = wanted

    def set_isolated(self, symbol: str, wanted: bool) -> None:
        holding = self.holding(symbol)
        if wanted == holding.isolated:
            raise RefusalError(-4046, "No need to change margin type.")
        if holding.amount:
            raise RefusalError(-4048, "Margin type cannot be changed if there exists position.")
        holding.isolated = wanted

    def set_leverage(self, symbol: str, leverage: int) -> None:
        holding = self.holding(symbol)
        if not 1 <= leverage <= 125:
            raise RefusalError(-4028, f"Leverage {leverage} is not valid")
        if holding.amount and holding.isolated and leverage < holding.leverage:
            raise RefusalError(
                -4161,
                "Leverage reduction is not supported in Isolated Margin Mode with open positions",
            )
        holding.leverage = leverage

    # Orders

    def place(self, asked: dict[str, str]) -> Row:
        """POST order: a market order, filled at the price of the moment."""
        if asked["type"] in _CONDITIONAL:
            raise RefusalError(
                -4120,
                "Order type not supported for this endpoint. Please use the Algo Order API "
                "endpoints instead.",
            )
        if asked["type"] != "MARKET":
            raise RefusalError(-1116, "Invalid orderType.")
        symbol, quantity = asked["symbol"], self._quantity(asked)
        client_id = _client_id(asked["newClientOrderId"])
        if any(o["clientOrderId"] == client_id and o["status"] in _OPEN for o in self.orders):
            raise RefusalError(-4116, "ClientOrderId is duplicated.")
        reduce_only = asked.get("reduceOnly") == "true"
        if reduce_only:
            quantity = self._reducible(asked, quantity)
        elif quantity * self.prices[symbol] < self.contracts[symbol].min_notional:
            least = self.contracts[symbol].min_notional
            raise RefusalError(
                -4164,
                f"Order's notional must be no smaller than {least} (unless you choose reduce only)",
            )
        else:
            self._check_margin(symbol, _sign(asked["side"]) * quantity)
        order = self._new_order(symbol, asked["side"], quantity, client_id, reduce_only)
        self._execute(order)
        return order

    def order(self, asked: dict[str, str]) -> Row:
        found = [o for o in self.orders if _names(asked, o, "orderId", "origClientOrderId")]
        found = [o for o in found if o["symbol"] == asked["symbol"]]
        if not found:
            raise RefusalError(-2013, "Order does not exist.")
        return found[-1]

    def cancel(self, asked: dict[str, str]) -> Row:
        found = [o for o in self.open_orders(asked["symbol"]) if _names(asked, o)]
        if not found:
            raise RefusalError(-2011, "Unknown order sent.")
        found[0]["status"] = "CANCELED"
        return found[0]

    def open_orders(self, symbol: str) -> list[Row]:
        return [o for o in self.orders if o["symbol"] == symbol and o["status"] in _OPEN]

    def fills_of(self, asked: dict[str, str]) -> list[Row]:
        """GET userTrades: of a week at most, and the newest of them where they are too many."""
        end = int(asked.get("endTime", self.now))
        start = int(asked.get("startTime", end - _WEEK_MS))
        if end - start > _WEEK_MS:
            raise RefusalError(-1127, "More than 7 days between startTime and endTime.")
        wanted = asked.get("orderId")
        found = [
            trade
            for trade in self.trades
            if trade["symbol"] == asked["symbol"]
            and wanted in (None, str(trade["orderId"]))
            and start <= trade["time"] <= end
        ]
        return found[-min(int(asked.get("limit", 500)), 1000) :]

    # Stops

    def place_stop(self, asked: dict[str, str]) -> Row:
        """POST algoOrder: a conditional market order with a quantity."""
        if asked["algoType"] != "CONDITIONAL" or asked["type"] != "STOP_MARKET":
            raise RefusalError(-1116, "Invalid orderType.")
        symbol, quantity = asked["symbol"], self._quantity(asked)
        price, side = Decimal(asked["triggerPrice"]), asked["side"]
        client_id = _client_id(asked["clientAlgoId"])
        if any(s["clientAlgoId"] == client_id and s["algoStatus"] == "NEW" for s in self.stops):
            raise RefusalError(-4116, "ClientOrderId is duplicated.")
        if price <= 0 or price % self.contracts[symbol].tick:
            raise RefusalError(-4014, "Price not increased by tick size.")
        if asked.get("reduceOnly") == "true":
            self._reducible(asked, quantity)
        if _beyond(side, price, self.prices[symbol]):
            raise RefusalError(-2021, "Order would immediately trigger.")
        stop = stop_row(self._ids(), asked, self.now)
        self.stops.append(stop)
        return stop

    def stop(self, asked: dict[str, str]) -> Row:
        found = [s for s in self.stops if _names(asked, s, "algoId", "clientAlgoId")]
        if not found:
            raise RefusalError(-2013, "Order does not exist.")
        return found[-1]

    def cancel_stop(self, asked: dict[str, str]) -> Row:
        found = [s for s in self.stops if s["algoStatus"] == "NEW"]
        found = [s for s in found if _names(asked, s, "algoId", "clientAlgoId")]
        if not found:
            raise RefusalError(-2011, "Unknown order sent.")
        found[0].update(algoStatus="CANCELED", updateTime=self.now)
        named = {key: found[0][key] for key in ("algoId", "clientAlgoId")}
        return {**named, "code": "200", "msg": "success"}

    def open_stops(self, symbol: str) -> list[Row]:
        """Those that wait, and those whose order is still being filled."""
        listed = [s for s in self.stops if s["symbol"] == symbol]
        return [s for s in listed if s["algoStatus"] in ("NEW", "TRIGGERED")]

    def _trigger(self, stop: Row) -> None:
        stop.update(updateTime=self.now, triggerTime=self.now)
        held = self.holding(stop["symbol"]).amount
        if self.stops_fail or (stop["reduceOnly"] and held * _sign(stop["side"]) >= 0):
            stop["algoStatus"] = "REJECTED"
            return
        quantity = Decimal(stop["quantity"])
        if stop["reduceOnly"]:
            quantity = min(quantity, abs(held))
        order = self._new_order(
            stop["symbol"], stop["side"], quantity, f"algo_{stop['algoId']}", stop["reduceOnly"]
        )
        self._execute(order)
        stop.update(
            algoStatus="TRIGGERED" if order["status"] in _OPEN else "FINISHED",
            actualOrderId=str(order["orderId"]),
            actualPrice=order["avgPrice"],
        )

    # Checks

    def _quantity(self, asked: dict[str, str]) -> Decimal:
        self.holding(asked["symbol"])
        contract, quantity = self.contracts[asked["symbol"]], Decimal(asked["quantity"])
        if asked["side"] not in ("BUY", "SELL"):
            raise RefusalError(-1117, "Invalid side.")
        if quantity <= 0:
            raise RefusalError(-4003, "Quantity less than or equal to zero.")
        if quantity % contract.step:
            raise RefusalError(-1111, "Precision is over the maximum defined for this asset.")
        if quantity > contract.max_quantity:
            raise RefusalError(-4005, "Quantity greater than max quantity.")
        return quantity

    def _reducible(self, asked: dict[str, str], quantity: Decimal) -> Decimal:
        held = self.holding(asked["symbol"]).amount
        if held * _sign(asked["side"]) >= 0:
            raise RefusalError(-2022, "ReduceOnly Order is rejected.")
        return min(quantity, abs(held))

    def _check_margin(self, symbol: str, change: Decimal) -> None:
        holding, price = self.holding(symbol), self.prices[symbol]
        cost = holding.growth(change) * price / holding.leverage
        cost += abs(change) * price * self.fee_rate
        if cost > self.available:
            raise RefusalError(-2019, "Margin is insufficient.")

    # Money

    @property
    def available(self) -> Decimal:
        return self.wallet - sum((h.margin for h in self.holdings.values()), ZERO)

    @property
    def equity(self) -> Decimal:
        profits = (held.profit(self.prices[symbol]) for symbol, held in self.holdings.items())
        return self.wallet + sum(profits, ZERO)

    def income_of(self, asked: dict[str, str]) -> list[Row]:
        return income_page(self.income, asked, self.now)

    def _flow(self, kind: str, amount: Decimal, symbol: str = "", asset: str = "USDT") -> None:
        if asset == "USDT":
            self.wallet += amount
        self.income.append(income_row(self._ids(), kind, amount, symbol, asset, self.now))

    def _new_order(
        self, symbol: str, side: str, quantity: Decimal, client_id: str, reduce_only: bool
    ) -> Row:
        order = order_row(self._ids(), symbol, side, quantity, client_id, reduce_only, self.now)
        self.orders.append(order)
        return order

    def _execute(self, order: Row) -> None:
        """Fill a new market order, or the part of it that is wanted."""
        fill = self.fills.pop(0) if self.fills else Fill(Decimal(1))
        step = self.contracts[order["symbol"]].step
        self._fill(order, Decimal(order["origQty"]) * fill.part // step * step)
        if order["status"] != "FILLED" and not fill.rest_waits:
            order["status"] = "EXPIRED"

    def _fill_waiting(self, symbol: str) -> None:
        for order in self.open_orders(symbol):
            self._fill(order, Decimal(order["origQty"]) - Decimal(order["executedQty"]))

    def _fill(self, order: Row, quantity: Decimal) -> None:
        if not quantity:
            return
        symbol, price = order["symbol"], self.prices[order["symbol"]]
        realised = self.holding(symbol).net(_sign(order["side"]) * quantity, price)
        fee = quantity * price * self.fee_rate
        self._flow("REALIZED_PNL", realised, symbol)
        self._flow("COMMISSION", -fee, symbol)
        paid = fee if self.fee_asset == "USDT" else fee / self.prices[f"{self.fee_asset}USDT"]
        executed = Decimal(order["executedQty"]) + quantity
        quote = Decimal(order["cumQuote"]) + quantity * price
        order.update(
            executedQty=str(executed),
            cumQuote=str(quote),
            avgPrice=str((quote / executed).quantize(Decimal("0.00001"), ROUND_HALF_UP)),
            status="FILLED" if executed == Decimal(order["origQty"]) else "PARTIALLY_FILLED",
            updateTime=self.now,
        )
        self.trades.append(
            {
                **trade_row(self._ids(), order, price, quantity, realised, self.now),
                "commission": str(paid),
                "commissionAsset": self.fee_asset,
            }
        )


def _usdt(row: Row) -> Decimal:
    return Decimal(row["income"]) if row["asset"] == "USDT" else ZERO


def _beyond(side: str, stop: Decimal, price: Decimal) -> bool:
    """Whether a price triggers a stop: at or above one that buys, at or below one that sells."""
    return _sign(side) * (price - stop) >= 0


def _sign(side: str) -> int:
    return 1 if side == "BUY" else -1


def _names(
    asked: dict[str, str],
    row: Row,
    id_key: str = "orderId",
    client_key: str = "origClientOrderId",
) -> bool:
    if id_key in asked:
        return asked[id_key] == str(row[id_key])
    return asked[client_key] == str(row[client_key.replace("origC", "c")])


def _client_id(text: str) -> str:
    if not re.fullmatch(r"[.A-Z:/a-z0-9_-]{1,36}", text):
        raise RefusalError(-4015, "Client order id is not valid.")
    return text
