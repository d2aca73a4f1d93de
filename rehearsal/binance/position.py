"""A position of the Binance futures account: how fills net, and what margin they bind."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

ZERO = Decimal(0)


@dataclass
class Holding:
    """A symbol's settings, and its position where the amount is not 0.

    Parameters
    ----------
    amount
        Of the base asset: above 0 long, below 0 short.
    entry
        Average price.
    margin
        Taken from the wallet when the position grew, given back as it shrinks.
    """

    leverage: int = 20
    isolated: bool = False
    amount: Decimal = ZERO
    entry: Decimal = ZERO
    margin: Decimal = ZERO

    def profit(self, price: Decimal) -> Decimal:
        """What closing at this price would realise."""
        return self.amount * (price - self.entry)

    def growth(self, change: Decimal) -> Decimal:
        """By how much a fill makes the position larger."""
        return max(abs(self.amount + change) - abs(self.amount), ZERO)

    def net(self, change: Decimal, price: Decimal) -> Decimal:
        """Net a fill with the position (one-way mode); returns the profit that it realised."""
        closed = min(abs(change), abs(self.amount)) if self.amount * change < 0 else ZERO
        realised = ZERO
        if closed:
            direction = 1 if self.amount > 0 else -1
            realised = direction * closed * (price - self.entry)
            self.margin -= self.margin * closed / abs(self.amount)
            self.amount -= direction * closed
        opened = abs(change) - closed
        if opened:
            worth = abs(self.amount) * self.entry + opened * price
            self.amount += opened if change > 0 else -opened
            self.entry = worth / abs(self.amount)
            self.margin += opened * price / self.leverage
        return realised
