"""What must hold of every position that is opened, and of the breaker on every path."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from strategy.circuit_breaker import PERIODS, advance, limit_of
from strategy.config import CircuitBreaker
from strategy.sizing import Capital, MarketFilters, RiskRules, Side, Sized, size

money = st.decimals("0", "1000000", places=2)
fractions = st.decimals("0.001", "0.05", places=3)
filters = st.builds(
    MarketFilters,
    tick_size=st.sampled_from([Decimal("0.1"), Decimal("0.01"), Decimal("0.5")]),
    step_size=st.sampled_from([Decimal("0.001"), Decimal("0.1"), Decimal("1")]),
    min_quantity=st.sampled_from([Decimal("0.001"), Decimal("1")]),
    max_quantity=st.sampled_from([Decimal("120"), Decimal("5000")]),
    min_notional=st.sampled_from([Decimal("5"), Decimal("100")]),
)
rules = st.builds(
    RiskRules,
    risk_per_trade=fractions,
    risk_exposition=fractions,
    max_leverage=st.decimals("1", "20", places=1),
)
capitals = st.builds(
    Capital, equity=money, margin_in_use=money, open_risk=money, open_notional=money
)


@given(
    side=st.sampled_from([1, -1]),
    price=st.decimals("0.5", "100000", places=1),
    stop=st.decimals("0.001", "0.9", places=3),
    capital=capitals,
    rules=rules,
    filters=filters,
)
def test_no_position_passes_a_limit(
    side: Side,
    price: Decimal,
    stop: Decimal,
    capital: Capital,
    rules: RiskRules,
    filters: MarketFilters,
) -> None:
    distance = stop * price
    result = size(side, price, distance, capital, rules, filters)
    if not isinstance(result, Sized):
        return
    assert 0 < result.risk <= rules.risk_per_trade * capital.free
    assert capital.open_risk + result.risk <= rules.risk_exposition * capital.equity
    assert capital.open_notional + result.notional <= rules.max_leverage * capital.equity
    assert result.margin <= capital.free
    assert side * (price - side * distance - result.liquidation_price) > 0
    assert result.quantity % filters.step_size == 0
    assert filters.min_quantity <= result.quantity <= filters.max_quantity
    assert result.notional >= filters.min_notional


@given(
    price=st.decimals("0.5", "100000", places=4),
    side=st.sampled_from([1, -1]),
    filters=filters,
)
def test_a_rounded_stop_is_on_the_tick_and_reached_by_the_prices_that_reach_the_exact_one(
    price: Decimal, side: Side, filters: MarketFilters
) -> None:
    rounded = filters.stop_price(price, side)
    assert rounded % filters.tick_size == 0
    assert 0 <= side * (price - rounded) < filters.tick_size
    for ticks in (-1, 0, 1):
        last = rounded + ticks * filters.tick_size
        assert (side * (last - rounded) <= 0) == (side * (last - price) <= 0)


BREAKER = CircuitBreaker(
    daily=0.05, weekly=0.1, monthly=0.15, auto_reset_threshold=0.5, breakeven_alert_threshold=0.5
)


@given(
    steps=st.lists(
        st.tuples(st.integers(1, 4000), st.decimals("-600", "600", places=2)), max_size=60
    )
)
def test_the_breaker_is_halted_whenever_a_limit_is_reached(
    steps: list[tuple[int, Decimal]],
) -> None:
    now, equity, breaker = datetime(2026, 1, 1, tzinfo=UTC), Decimal(10_000), None
    for minutes, change in [(0, Decimal(0)), *steps]:
        now, equity = now + timedelta(minutes=minutes), equity + change
        before, breaker = breaker, advance(breaker, now, equity, BREAKER)
        for period in PERIODS:
            state, limit = breaker.periods[period], limit_of(BREAKER, period)
            drawdown = state.drawdown(equity)
            if drawdown >= limit:
                assert state.tripped
            if drawdown < limit / 2:
                assert not state.tripped
            if limit / 2 <= drawdown < limit:  # it keeps what it was, unless it is new
                known = before and before.periods[period]
                assert state.tripped == bool(known and known.name == state.name and known.tripped)
        assert breaker.halted == any(each.tripped for each in breaker.periods.values())
