"""How large a position may be, worked by hand."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from strategy.sizing import (
    Capital,
    MarketFilters,
    Refused,
    RiskRules,
    Sized,
    liquidation_price,
    open_risk,
    size,
)

D = Decimal
BTC = MarketFilters(
    tick_size=D("0.10"),
    step_size=D("0.001"),
    min_quantity=D("0.001"),
    max_quantity=D("120"),
    min_notional=D("100"),
)
RULES = RiskRules(risk_per_trade=D("0.01"), risk_exposition=D("0.03"), max_leverage=D("3"))
FLAT = Capital(equity=D("10000"), margin_in_use=D(0), open_risk=D(0), open_notional=D(0))


def sized(**changes: object) -> Sized:
    result = size(**{**DEFAULTS, **changes})  # type: ignore[arg-type]
    assert isinstance(result, Sized), result
    return result


def refused(**changes: object) -> Refused:
    result = size(**{**DEFAULTS, **changes})  # type: ignore[arg-type]
    assert isinstance(result, Refused), result
    return result


DEFAULTS = {
    "side": 1,
    "price": D("50000"),
    "stop_distance": D("500"),
    "capital": FLAT,
    "rules": RULES,
    "filters": BTC,
}


def test_the_stop_costs_the_configured_share_of_free_capital() -> None:
    # 1 % of 10,000 is 100; 100 over a stop of 500 is 0.2 BTC, 10,000 in all.
    result = sized()
    assert (result.quantity, result.notional, result.risk) == (D("0.2"), D("10000"), D("100"))


def test_only_capital_that_is_not_margin_is_risked() -> None:
    result = sized(capital=replace(FLAT, margin_in_use=D("6000")))
    assert result.risk == D("40")  # 1 % of 4,000


def test_a_quantity_is_cut_to_the_exchanges_step_never_rounded_up() -> None:
    assert sized(stop_distance=D("470")).quantity == D("0.212")  # 0.21276...


def test_leverage_caps_the_notional() -> None:
    # A stop of 100 would ask for 1 BTC, 50,000; three times the equity is 30,000.
    result = sized(stop_distance=D("100"), rules=replace(RULES, fee_reserve=D(0)))
    assert result.notional == D("30000")
    assert result.risk == D("60")


def test_notional_that_is_open_counts_against_leverage() -> None:
    result = sized(capital=replace(FLAT, open_notional=D("25000")))
    assert result.notional == D("5000")
    assert refused(capital=replace(FLAT, open_notional=D("30000"))).reason == "leverage"


def test_the_margin_fits_into_what_is_free() -> None:
    tight = replace(FLAT, margin_in_use=D("9000"))
    result = sized(capital=tight, stop_distance=D("100"))
    # 1 % of 1,000 over 100 is 0.1 BTC, 5,000 in all; with leverage 3 only 3,000 could be borne,
    # and with 0.2 % of the notional left for fees 1,000 / (1/3 + 0.002) = 2,982.
    assert result.leverage == 3
    assert result.notional == D("2950")
    assert result.margin + result.notional * RULES.fee_reserve <= D("1000")


@pytest.mark.parametrize(
    ("open_", "allowed"), [("0", True), ("200", True), ("200.01", False), ("300", False)]
)
def test_the_risk_of_all_stops_together_is_capped(open_: str, allowed: bool) -> None:
    # 3 % of 10,000 is 300, and the new stop costs 100.
    result = size(**{**DEFAULTS, "capital": replace(FLAT, open_risk=D(open_))})  # type: ignore[arg-type]
    assert isinstance(result, Sized) is allowed
    if isinstance(result, Refused):
        assert result.reason == "risk_exposition"


def test_nothing_is_opened_without_free_capital() -> None:
    for margin in ("10000", "12000"):
        assert refused(capital=replace(FLAT, margin_in_use=D(margin))).reason == "no_free_capital"
    broke = Capital(D(0), D(0), D(0), D(0))
    assert refused(capital=broke).reason == "no_free_capital"


def test_below_the_exchanges_minimum_nothing_is_opened() -> None:
    poor = replace(FLAT, equity=D("50"))
    assert refused(capital=poor).reason == "exchange_minimum"  # 0.001 BTC, 50 in all


def test_the_liquidation_price_by_hand() -> None:
    # Three times leveraged, 0.4 % maintenance: 50,000 x (1 - 1/3) / 0.996 and x (1 + 1/3) / 1.004.
    rate = D("0.004")
    assert liquidation_price(1, D("50000"), 3, rate).quantize(D("0.01")) == D("33467.20")
    assert liquidation_price(-1, D("50000"), 3, rate).quantize(D("0.01")) == D("66401.06")


def test_at_the_liquidation_price_the_margin_left_is_the_maintenance_margin() -> None:
    price = liquidation_price(1, D("50000"), 5, D("0.004"))
    left = D("10000") + price - D("50000")
    assert abs(left - D("0.004") * price) < D("1e-18")


def test_leverage_is_lowered_until_liquidation_lies_beyond_the_stop() -> None:
    # A stop 40 % away: at leverage 3 a long is liquidated 33 % away, at 2 after 49.8 %.
    result = sized(stop_distance=D("20000"))
    assert result.leverage == 2
    assert result.liquidation_price < D("30000")


def test_a_stop_that_no_leverage_allows_is_refused() -> None:
    assert refused(side=-1, stop_distance=D("60000")).reason == "liquidation"


def test_open_risk_is_the_distance_to_the_stop_in_force_and_never_negative() -> None:
    assert open_risk(1, D("0.2"), D("50000"), D("49500")) == D("100")
    assert open_risk(1, D("0.2"), D("50000"), D("50000")) == 0
    assert open_risk(1, D("0.2"), D("50000"), D("51000")) == 0
    assert open_risk(-1, D("0.2"), D("50000"), D("50400")) == D("80")


@pytest.mark.parametrize(
    ("side", "price", "expected"), [(1, "49500.01", "49500.00"), (-1, "50499.99", "50500.00")]
)
def test_a_stop_is_rounded_away_from_the_entry(side: int, price: str, expected: str) -> None:
    assert BTC.stop_price(D(price), side) == D(expected)  # type: ignore[arg-type]


def test_more_digits_than_decimals_usually_keep_are_not_rounded_up() -> None:
    assert BTC.quantity(D("0.9999999999999999999999999999999999")) == D("0.999")
    assert BTC.stop_price(D("100.1000000000000000000000000000000001"), -1) == D("100.20")
