"""Figures as people read them; what is not known is said to be so."""

from __future__ import annotations

import math

UNKNOWN = "not known"
HELD = "\u00a0"
"""Between a figure and its unit, where no line may break."""


def signed(value: float, digits: int = 2) -> str:
    """With its sign, for example ``+0.12``; zero has none."""
    if math.isnan(value):
        return UNKNOWN
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    rounded = f"{value:+,.{digits}f}".replace("-", "−")
    return rounded[1:] if not any(digit in rounded for digit in "123456789") else rounded


def in_r(value: float, digits: int = 2) -> str:
    """R-multiples, for example ``+0.12 R``."""
    return UNKNOWN if math.isnan(value) else f"{signed(value, digits)}{HELD}R"


def with_error(mean: float, error: float) -> str:
    """A mean with its standard error, for example ``+0.120 ± 0.031 R``."""
    if math.isnan(mean):
        return UNKNOWN
    return (
        in_r(mean, 3) if math.isnan(error) else f"{signed(mean, 3)}{HELD}±{HELD}{error:.3f}{HELD}R"
    )


def share(value: float, digits: int = 0) -> str:
    """Percent; what is not quite all or nothing never reads as if it were."""
    if math.isnan(value):
        return UNKNOWN
    shown = f"{100 * value:.{digits}f}"
    if float(shown) == 100 and value < 1:
        return f"over {100 - 10.0**-digits:.{digits}f}{HELD}%"
    if float(shown) == 0 and value > 0:
        return f"under {10.0**-digits:.{digits}f}{HELD}%"
    return f"{shown}{HELD}%"


def per_side(value: float) -> str:
    """Costs of one fill in percent of what is traded, for example ``0.060 %``."""
    return UNKNOWN if math.isnan(value) else f"{100 * value:.3f}{HELD}%"


def number(value: float, digits: int = 2) -> str:
    """A plain figure."""
    if math.isnan(value):
        return UNKNOWN
    return "∞" if math.isinf(value) else f"{value:,.{digits}f}".replace("-", "−")


def probability(value: float) -> str:
    """A p-value: small ones as a bound."""
    if math.isnan(value):
        return UNKNOWN
    return "< 0.0001" if value < 0.0001 else f"{value:.4f}"


def counted(count: int, one: str, many: str | None = None) -> str:
    """A number of things, for example ``1 trade`` or ``1,200 trades``."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
