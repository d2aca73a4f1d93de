"""How large a position may be: by the risk to its stop, and by what the exchange takes.

Money is :class:`~decimal.Decimal` throughout, in the quote currency (USDT); quantities are in
the base currency.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Literal

Side = Literal[1, -1]
"""Long or short."""
Refusal = Literal[
    "no_free_capital", "risk_exposition", "leverage", "liquidation", "exchange_minimum"
]


@dataclass(frozen=True)
class MarketFilters:
    """What the exchange takes for one symbol.

    Parameters
    ----------
    tick_size, step_size
        Prices and quantities are multiples of these.
    min_quantity, max_quantity
        Of one market order.
    min_notional
        Smallest quantity times price of an order that opens.
    """

    tick_size: Decimal
    step_size: Decimal
    min_quantity: Decimal
    max_quantity: Decimal
    min_notional: Decimal

    def quantity(self, wanted: Decimal) -> Decimal:
        """The largest quantity that the exchange takes and that is not above what is wanted;
        0 if that is below its minimum.
        """
        allowed = _multiple(min(wanted, self.max_quantity), self.step_size, ROUND_FLOOR)
        return allowed if allowed >= self.min_quantity else Decimal(0)

    def stop_price(self, price: Decimal, side: Side) -> Decimal:
        """A position's stop as the exchange takes it: beyond the one asked, by less than a tick.

        So prices, which are ticks, reach it exactly when they reach the one asked.
        """
        return _multiple(price, self.tick_size, ROUND_FLOOR if side == 1 else ROUND_CEILING)


@dataclass(frozen=True)
class Capital:
    """An account at the moment of a decision.

    Parameters
    ----------
    equity
        Balance with the unrealised profit of what is open.
    margin_in_use
        Tied up by open positions.
    open_risk
        Sum over open positions of :func:`open_risk`.
    open_notional
        Sum over open positions of quantity times price.
    """

    equity: Decimal
    margin_in_use: Decimal
    open_risk: Decimal
    open_notional: Decimal

    @property
    def free(self) -> Decimal:
        return self.equity - self.margin_in_use


@dataclass(frozen=True)
class RiskRules:
    """The operator's limits.

    Parameters
    ----------
    risk_per_trade
        Fraction of free capital that one stop may cost.
    risk_exposition
        Fraction of equity that all stops together may cost.
    max_leverage
        Notional of all positions over equity; also bounds the leverage set at the exchange.
    maintenance_margin
        Rate of the exchange's lowest bracket, a fraction of the notional.
    fee_reserve
        Fraction of the notional that stays free for the fees of entry and exit: an exchange
        refuses an order whose margin takes all there is.
    """

    risk_per_trade: Decimal
    risk_exposition: Decimal
    max_leverage: Decimal
    maintenance_margin: Decimal = Decimal("0.004")
    fee_reserve: Decimal = Decimal("0.002")


@dataclass(frozen=True)
class Sized:
    """A position that may be opened.

    Parameters
    ----------
    risk
        What its first stop costs, before fees and a gap.
    leverage
        To be set at the exchange.
    margin
        What it ties up.
    """

    quantity: Decimal
    notional: Decimal
    risk: Decimal
    leverage: int
    margin: Decimal
    liquidation_price: Decimal


@dataclass(frozen=True)
class Refused:
    """Why no position is opened, with the figures."""

    reason: Refusal
    detail: str


def size(
    side: Side,
    price: Decimal,
    stop_distance: Decimal,
    capital: Capital,
    rules: RiskRules,
    filters: MarketFilters,
) -> Sized | Refused:
    """Size a position so that its stop costs the configured share of free capital.

    The risk of a trade is never spread thinner to fit under ``risk_exposition``: if there is no
    room for it whole, nothing is opened. Leverage, margin and the exchange's steps only make it
    smaller.

    Parameters
    ----------
    price
        At which it is expected to be filled.
    stop_distance
        One R, in price units; above 0.
    """
    if capital.free <= 0:
        return Refused("no_free_capital", f"{capital.free:f} of {capital.equity:f} is free")
    risk = rules.risk_per_trade * capital.free
    room = rules.risk_exposition * capital.equity - capital.open_risk
    if risk > room:
        return Refused(
            "risk_exposition", f"the stop would cost {risk:f}, open stops leave room for {room:f}"
        )
    notional_room = rules.max_leverage * capital.equity - capital.open_notional
    if notional_room <= 0:
        return Refused(
            "leverage",
            f"positions of {capital.open_notional:f} use up {rules.max_leverage:f} times the "
            f"equity of {capital.equity:f}",
        )
    leverage = _leverage(side, price, stop_distance, rules)
    if leverage is None:
        return Refused(
            "liquidation",
            f"a stop {stop_distance:f} from {price:f} lies beyond the liquidation price even "
            "without leverage",
        )
    affordable = capital.free / (1 / Decimal(leverage) + rules.fee_reserve)
    notional = min(risk / stop_distance * price, notional_room, affordable)
    quantity = filters.quantity(notional / price)
    if quantity == 0 or quantity * price < filters.min_notional:
        return Refused(
            "exchange_minimum",
            f"{notional / price:f} at {price:f} is below the exchange's smallest order "
            f"({filters.min_quantity:f}, {filters.min_notional:f} in all)",
        )
    return Sized(
        quantity=quantity,
        notional=quantity * price,
        risk=quantity * stop_distance,
        leverage=leverage,
        margin=quantity * price / leverage,
        liquidation_price=liquidation_price(side, price, leverage, rules.maintenance_margin),
    )


def open_risk(side: Side, quantity: Decimal, entry: Decimal, stop: Decimal) -> Decimal:
    """What the stop in force costs from the entry on; 0 once it locks in a profit."""
    return max(Decimal(0), side * (entry - stop) * quantity)


def liquidation_price(
    side: Side, entry: Decimal, leverage: int, maintenance_margin: Decimal
) -> Decimal:
    """Where an isolated position is liquidated.

    Its margin, ``entry / leverage`` a unit, and what the price has made of it together are the
    maintenance margin there. Fees are left out.

    References
    ----------
    Binance, "How to Calculate Liquidation Price of USDⓈ-M Futures Contracts", with the
    maintenance amount of the lowest bracket, which is 0.
    """
    return entry * (1 - side / Decimal(leverage)) / (1 - side * maintenance_margin)


def _leverage(side: Side, price: Decimal, stop_distance: Decimal, rules: RiskRules) -> int | None:
    """The highest whole leverage whose liquidation price lies beyond the stop."""
    stop = price - side * stop_distance
    for leverage in range(max(1, int(rules.max_leverage)), 0, -1):
        liquidation = liquidation_price(side, price, leverage, rules.maintenance_margin)
        if side * (stop - liquidation) > 0:
            return leverage
    return None


def _multiple(value: Decimal, of: Decimal, rounding: str) -> Decimal:
    """Exact whatever the number of digits, as a quotient would not be."""
    below = value // of * of  # of what is positive
    return below + of if rounding == ROUND_CEILING and below < value else below
