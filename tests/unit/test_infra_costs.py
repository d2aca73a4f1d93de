"""The estimate of a month's bill."""

from __future__ import annotations

import pytest

from infra.__main__ import main
from infra.costs import (
    SECONDS,
    Month,
    bill,
    calls_a_month,
    functions,
    limit_usd,
    read_unit_prices,
    times_a_month,
)
from store.prices import load_prices
from strategy.errors import ConfigError


def total(month: Month) -> float:
    return sum(item.usd for item in bill(month, read_unit_prices(), load_prices()))


@pytest.mark.parametrize(
    ("expression", "times"),
    [
        ("rate(5 minutes)", 8640),
        ("rate(1 hour)", 720),
        ("rate(1 day)", 30),
        ("cron(0 1 * * ? *)", 30),
        ("cron(0 14-21 * * ? *)", 240),
        ("cron(0,30 6,8-9 * * ? *)", 180),
        ("cron(0 * * * ? *)", 720),
        ("cron(0/5 * * * ? *)", 8640),
        ("cron(2/7 0 * * ? *)", 270),
    ],
)
def test_a_schedule_is_counted(expression: str, times: float) -> None:
    assert times_a_month(expression) == times


@pytest.mark.parametrize(
    "expression", ["cron(0 0 1 * ? *)", "at(2027-01-01)", "cron(0/0 * * * ? *)"]
)
def test_a_schedule_that_is_not_understood_is_named(expression: str) -> None:
    with pytest.raises(ConfigError, match="not understood"):
        times_a_month(expression)


def test_every_function_is_called_and_has_an_assumed_length() -> None:
    assert set(functions()) == set(SECONDS) == {name for name, _ in calls_a_month(Month())}
    for name, function in functions().items():
        assert SECONDS[name] < function["Timeout"]


def test_an_assumed_month_stays_below_the_limit() -> None:
    assert 0 < total(Month()) < limit_usd()


def test_what_costs_more_is_seen() -> None:
    assert total(Month(campaigns=3)) > total(Month()) + 3
    assert total(Month(deployments=0)) < total(Month())


def test_the_command_shows_its_assumptions_and_fails_above_the_limit(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["costs"]) == 0
    shown = capsys.readouterr().out
    assert "trading_bot" in shown
    assert "Assumed: Month(campaigns=1" in shown
    assert "ESTIMATES" in shown
    assert main(["costs", "--campaigns", "20"]) == 2
    assert "over the limit of $10.00" in capsys.readouterr().err
