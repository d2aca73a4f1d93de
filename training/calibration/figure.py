"""The calibration as one picture: power against the strength of the edge, false discoveries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from training.calibration.analysis import (
    ALL,
    ALONE,
    INCUBATION,
    MONTE_CARLO,
    SHOWN,
    WITHOUT,
    Finding,
    Rate,
)
from training.calibration.markets import MARKETS, Market
from training.report import FAINT, GAIN, INK, LOSS, MODEL, styled, titled_figure

AIM_FALSE, AIM_POWER = 0.01, 0.95
NEAR_ZERO = 0.01
"""Below it the scale of false discoveries is linear, above it logarithmic."""
CURVES = {
    (ALL, "all default gates"): (GAIN, "o", "all default gates"),
    (WITHOUT, f"{INCUBATION}*"): (MODEL, "s", "without the incubation gates"),
    (WITHOUT, f"{MONTE_CARLO}*"): (LOSS, "D", "without the Monte Carlo gates"),
}
NO_EDGE_STYLE = (("#2b6ca3", "o"), ("#8fb8d8", "o"), ("#7a5ba6", "s"), ("#bfaed8", "s"))


def calibration_figure(findings: Sequence[Finding], subtitle: str) -> Figure:
    """Left: power of some rules; right: what each gate alone lets pass where there is no edge."""
    figure = titled_figure(
        "How often a campaign finds what is there, and what is not", subtitle, size=(13.5, 6.6)
    )
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.25))
    known = {(each.rule.section, each.rule.name): each for each in findings}
    _power(left, {key: known[key] for key in CURVES if key in known})
    shown = [each for each in findings if each.rule.section in (ALL, ALONE, SHOWN)]
    _false_discovery(right, shown)
    return figure


def markets_found(findings: Sequence[Finding]) -> list[Market]:
    """The markets of which there are campaigns, in the order of their list."""
    return [market for name, market in MARKETS.items() if name in findings[0].rates]


def _power(axes: Axes, curves: Mapping[tuple[str, str], Finding]) -> None:
    styled(axes, x="strength of the planted trends (drift over volatility, per hour)")
    axes.set_title("Power: campaigns that pass, default costs", fontsize=10, color=INK)
    axes.axhline(AIM_POWER, color=FAINT, linewidth=1, linestyle="--")
    for offset, (key, finding) in enumerate(curves.items()):
        colour, marker, label = CURVES[key]
        points = [
            (MARKETS[name].trend_strength or 0.0, rate)
            for name, rate in finding.rates.items()
            if not MARKETS[name].free and not MARKETS[name].recorded
        ]
        points.sort(key=lambda point: point[0])
        x = [strength + 0.002 * (offset - 1) for strength, _ in points]
        rates = [rate for _, rate in points]
        axes.errorbar(
            x, [rate.share for rate in rates], yerr=_bars(rates),
            color=colour, marker=marker, markersize=5, linewidth=1.6, capsize=2.5, label=label,
        )  # fmt: skip
    axes.set_ylim(-0.03, 1.03)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.legend(
        fontsize=9, frameon=False, labelcolor=INK, loc="upper left", bbox_to_anchor=(0, 0.92)
    )


def _false_discovery(axes: Axes, shown: Sequence[Finding]) -> None:
    styled(axes, x="campaigns that pass where there is no edge (share, one-sided 95 % upper bound)")
    axes.set_title("False discovery: all gates, and each alone", fontsize=10, color=INK)
    axes.axvline(AIM_FALSE, color=FAINT, linewidth=1, linestyle="--")
    markets = [market for market in markets_found(shown) if not market.has_edge]
    for place, market in enumerate(markets):
        colour, marker = NO_EDGE_STYLE[place]
        rates = [finding.rates[market.name] for finding in shown]
        y = [row + 0.17 * (place - (len(markets) - 1) / 2) for row in range(len(shown))]
        bounds = [rate.upper_bound - rate.share for rate in rates]
        axes.errorbar(
            [rate.share for rate in rates], y, xerr=([0.0] * len(rates), bounds), linestyle="none",
            color=colour, marker=marker, markersize=4, linewidth=1.2, label=market.what,
        )  # fmt: skip
    axes.set_xscale("symlog", linthresh=NEAR_ZERO, linscale=0.5)
    axes.set_xlim(-0.001, 1.1)
    axes.set_xticks([0, 0.01, 0.03, 0.1, 0.3, 1.0])
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_yticks(range(len(shown)), [_label(finding) for finding in shown])
    axes.invert_yaxis()
    axes.legend(
        fontsize=8.5, frameon=False, labelcolor=INK, ncols=2,
        loc="upper center", bbox_to_anchor=(0.4, -0.1),
    )  # fmt: skip


def _label(finding: Finding) -> str:
    return f"({finding.rule.name})" if finding.rule.section == SHOWN else finding.rule.name


def _bars(rates: Sequence[Rate]) -> tuple[list[float], list[float]]:
    """Lengths of the intervals below and above the shares."""
    return (
        [rate.share - rate.interval[0] for rate in rates],
        [rate.interval[1] - rate.share for rate in rates],
    )
