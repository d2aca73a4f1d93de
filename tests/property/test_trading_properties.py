"""What holds after every tick, on any path of prices, whatever the operator does meanwhile.

An account holds two symbols. Its exchange is that of virtual money, under the live account.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.journal import TradeRecord
from serving.trading.close_requests import CloseRequests
from serving.trading.positions import LIVE, Position
from store.market import ReplayMarket
from store.settings_sections import OpsSettings, RiskSettings
from strategy.candles import open_times
from strategy.sizing import open_risk
from tests.bot_world import BAR, BTC, ETH, HOUR, BotWorld, candles_of, entrant, saying

BARS = 10
PAST_STOP = {"stop_loss", "break_even", "trailing_stop"}


@st.composite
def paths(draw: st.DrawFn) -> list[BAR]:
    """Bars whose opens jump, and which reach further than they end; one R is ten at first."""
    price, bars = 1000.0, []
    for _ in range(BARS + 1):
        opened = price + draw(st.sampled_from([0, 0, 0, 3, -3, 12, -12, 30, -30]))
        price = opened + draw(st.integers(-14, 14))
        high = max(opened, price) + draw(st.integers(0, 12))
        low = min(opened, price) - draw(st.integers(0, 12))
        bars.append((opened, high, low, price))
    return bars


signals = st.dictionaries(st.integers(0, BARS), st.sampled_from([-1, 1]), min_size=4)
acts = st.dictionaries(
    st.integers(0, 2 * BARS), st.sampled_from(["stop", "emergency", "resume", "close"]), max_size=4
)
limits = st.builds(
    RiskSettings,
    risk_per_trade=st.sampled_from([0.005, 0.01, 0.02]),
    risk_exposition=st.sampled_from([0.02, 0.03, 0.05]),
)
SWITCHES = {
    "stop": OpsSettings(master_trading_switch=False),
    "emergency": OpsSettings(emergency_stop=True),
    "resume": OpsSettings(),
}


class Account:
    """A bot with two symbols, and what must hold of it."""

    def __init__(
        self, bars: Mapping[str, list[BAR]], said: Mapping[str, Mapping[int, int]]
    ) -> None:
        self.world = BotWorld()
        self.frames = {(asset, HOUR): candles_of(path) for asset, path in bars.items()}
        self.world.market = ReplayMarket(self.frames, self.world.clock, True)  # type: ignore[assignment]
        self.world.trading(**{asset: [HOUR] for asset in bars})
        self.world.entrants = [
            entrant(saying(each, model_name=f"{asset}-{HOUR}"), "live", asset, f"{asset}-{HOUR}")
            for asset, each in said.items()
        ]
        self.world.bot.open_live()
        live = self.live = self.world.live
        self.world.bot.open_live = lambda: live  # type: ignore[assignment,return-value]
        live.instead["market_order"] = self._order
        self.seen: dict[str, Position] = {}
        self.equity_at_entry = Decimal(0)

    def _order(self, order_id: str, *given: Any, reduce_only: bool) -> Any:
        if not reduce_only:
            self.equity_at_entry = self.live.wrapped.balance().total
        return self.live.wrapped.market_order(order_id, *given, reduce_only=reduce_only)

    def act(self, what: str) -> None:
        if what == "close":
            CloseRequests(self.world.state).ask(LIVE, BTC, "operator", self.world.clock())
        else:
            self.world.settings.switches = SWITCHES[what]

    @property
    def trades(self) -> list[TradeRecord]:
        return [trade for asset in (BTC, ETH) for trade in self.world.trades(asset, "live")]

    def check(self) -> None:
        positions = self.world.account(LIVE).positions
        held = {each.symbol: each.quantity for each in self.live.positions()}
        assert held == {asset: each.quantity for asset, each in positions.items()}
        for position in positions.values():
            self._check_stop(position)
        if any(each.position_id not in self.seen for each in positions.values()):
            self._check_risk(list(positions.values()))
        self.seen |= {each.position_id: each for each in positions.values()}
        if not positions:
            earned = sum((trade.profit for trade in self.trades), Decimal(0))
            total = float(self.live.balance().total)
            assert total == pytest.approx(float(10_000 + earned), abs=1e-6)

    def _check_stop(self, position: Position) -> None:
        """It rests for all of the position, where it is wanted, and has not been loosened."""
        (stop,) = self.live.stops(position.asset)
        assert (stop.quantity, stop.side) == (position.quantity, -position.side)
        assert float(stop.stop_price) == pytest.approx(position.stop)
        before = self.seen.get(position.position_id)
        assert before is None or position.side * (position.stop - before.stop) >= 0

    def _check_risk(self, positions: list[Position]) -> None:
        rules = self.world.settings.limits
        risk = sum(
            open_risk(each.side, each.quantity, Decimal(repr(each.entry)), Decimal(repr(each.stop)))
            for each in positions
        )
        assert float(risk) <= rules.risk_exposition * float(self.equity_at_entry) + 1e-9

    def check_trades(self) -> None:
        """Each loss is as large as its gap made it, and recorded so."""
        for trade in self.trades:
            costs = float((trade.fees + trade.funding) / trade.quantity)
            gross = trade.side * (trade.exit_price - trade.entry_price)
            assert trade.r == pytest.approx((gross - costs) / trade.risk)
            if trade.reason not in PAST_STOP or trade.position_id not in self.seen:
                continue
            stop = self.seen[trade.position_id].stop
            candles = self.frames[trade.asset, HOUR]
            row = int(open_times(candles).searchsorted(trade.exit_time, side="right")) - 1
            opened = candles["open"].iloc[row]
            # What a bar's close moves the stop past leaves at the next open, and is never seen.
            levels = [opened] if trade.side * (opened - stop) <= 0 else [stop, opened]
            assert any(trade.exit_price == pytest.approx(level) for level in levels)
            if trade.reason == "stop_loss":
                assert trade.r < -1


@settings(max_examples=settings.default.max_examples // 2)  # type: ignore[attr-defined]
@given(btc=paths(), eth=paths(), said=signals, eth_said=signals, given_acts=acts, rules=limits)
def test_after_every_tick_risk_is_bounded_and_every_position_protected(
    btc: list[BAR],
    eth: list[BAR],
    said: dict[int, int],
    eth_said: dict[int, int],
    given_acts: dict[int, str],
    rules: RiskSettings,
) -> None:
    account = Account({BTC: btc, ETH: eth}, {BTC: said, ETH: eth_said})
    account.world.settings.limits = rules
    for tick in range(2 * BARS):
        if tick in given_acts:
            account.act(given_acts[tick])
        account.world.at(tick // 2, minutes=30 * (tick % 2))
        account.check()
    account.act("emergency")
    account.world.at(BARS)
    account.check()
    assert account.world.account(LIVE).positions == {}
    account.check_trades()
