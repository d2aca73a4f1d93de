"""The calibration in words and tables: docs/calibration.md."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

import numpy as np

from registry.gates import GateVerdict
from strategy.config import Config
from strategy.performance import expectancy
from training.calibration.analysis import (
    ADDED,
    ALL,
    ALONE,
    INSTEAD,
    SHOWN,
    WITHOUT,
    Campaign,
    Finding,
    Rate,
    default_gates,
    period_findings,
    random_mean,
    shown_gates,
)
from training.calibration.figure import AIM_FALSE, AIM_POWER, markets_found
from training.calibration.markets import GEOMETRY, Market

FIGURE = "images/calibration.png"


def page(
    campaigns: Sequence[Campaign],
    findings: Sequence[Finding],
    config: Config,
    *,
    recorded: str,
) -> str:
    """Everything that the records show, as markdown.

    Parameters
    ----------
    recorded
        Of which candles the shuffled markets are made; empty if there are none.
    """
    markets = markets_found(findings)
    return "\n".join(
        [
            "# How often a campaign finds something where there is nothing",
            "",
            "The whole pipeline (coverage, refinement, ranking, confirmation on hidden windows, "
            "Monte Carlo, every gate) on many markets of which it is known whether there is an "
            "edge. The campaigns were run, and this page was written, by",
            "",
            "```",
            f"python -m training.calibration {_arguments(markets, findings[0], recorded)} \\",
            "    --write docs",
            "```",
            "",
            f"![Power and false discovery]({FIGURE})",
            "",
            "## Verdict",
            "",
            *_verdict(markets, findings[0]),
            "",
            "## Campaigns",
            "",
            *_campaigns(markets, campaigns, findings[0]),
            "",
            "False discoveries have a one-sided 95 % upper bound, power a two-sided 95 % interval "
            "(both Clopper and Pearson). *Random entries* is the mean R per trade of each "
            "campaign's random entries, over campaigns, and proves the markets: on a martingale "
            "without costs it must be 0 within its error. (Blocks of recorded candles keep what "
            "follows each other within a day, and that may be worth some thousandths of R.) "
            "*Ranking* is what the leading trial earned per "
            "trade in the windows that chose it, *hidden* in those that did not: the difference "
            "is what choosing flatters.",
            "",
            "## What each gate does",
            "",
            "Campaigns that would pass without it, of all on markets without an edge and of all "
            "on planted trends. A gate without which nothing changes lets others do its work; the "
            "last two rows leave out all gates of a kind.",
            "",
            *_earned(markets, findings),
            "",
            "## Each gate alone",
            "",
            "Share of campaigns that the one gate lets pass.",
            "",
            *_shares(markets, [each for each in findings if each.rule.section in (ALL, ALONE)]),
            "",
            "## All gates but one",
            "",
            "The share that passes without it.",
            "",
            *_shares(markets, [each for each in findings if each.rule.section in (ALL, WITHOUT)]),
            "",
            "## The last trades",
            "",
            "All default gates, if `incubation_promotion.period` named fewer or more trades than "
            f"{config.incubation_promotion.last_trades}.",
            "",
            *_shares(markets, period_findings(campaigns, config)),
            "",
            "## Figures that are shown, as gates",
            "",
            *_definitions(shown_gates(campaigns[0])),
            "",
            "Each alone:",
            "",
            *_shares(markets, [each for each in findings if each.rule.section == SHOWN]),
            "",
            "And added to the default gates:",
            "",
            *_shares(markets, [each for each in findings if each.rule.section in (ALL, ADDED)]),
            "",
            "And in place of the Monte Carlo gates:",
            "",
            *_shares(markets, [each for each in findings if each.rule.section == INSTEAD]),
            "",
            "## The default gates",
            "",
            *_definitions(default_gates(campaigns[0], config)),
            "",
            "## Markets and geometry",
            "",
            *(f"- `{market.name}`: {market.what}" for market in markets),
            "",
            *_geometry(recorded),
            "",
        ]
    )


def _verdict(markets: Sequence[Market], every: Finding) -> list[str]:
    lines = []
    for market in markets:
        rate = every.rates[market.name]
        if not market.has_edge:
            certain = rate.upper_bound <= AIM_FALSE or rate.interval[0] > AIM_FALSE
            met = _met(rate.share <= AIM_FALSE, certain)
            lines.append(
                f"- {market.what}: {rate.passed} of {rate.campaigns} campaigns found something, "
                f"{_percent(rate.share)} (95 % bound {_percent(rate.upper_bound)}; "
                f"aim {_percent(AIM_FALSE)} or less: {met})."
            )
    strongest = max(markets, key=lambda market: market.trend_strength or 0.0)
    if strongest.has_edge:
        rate = every.rates[strongest.name]
        low, high = rate.interval
        met = _met(rate.share >= AIM_POWER, low >= AIM_POWER or high < AIM_POWER)
        lines.append(
            f"- {strongest.what}: {rate.passed} of {rate.campaigns} found it, "
            f"{_percent(rate.share)} (95 % interval {_interval(rate)}; "
            f"aim {_percent(AIM_POWER)} or more: {met})."
        )
    return lines


def _met(met: bool, certain: bool) -> str:
    """Whether an aim is met, and whether the number of campaigns is enough to say so."""
    return ("met" if met else "**missed**") + ("" if certain else ", within error")


def _campaigns(
    markets: Sequence[Market], campaigns: Sequence[Campaign], every: Finding
) -> list[str]:
    rows = []
    for market in markets:
        own = [campaign for campaign in campaigns if campaign.market == market.name]
        rate = every.rates[market.name]
        mean, error = random_mean(own)
        trades = np.mean([len(campaign.evidence.confirmation_r) for campaign in own])
        bound = _interval(rate) if market.has_edge else f"≤ {_percent(rate.upper_bound)}"
        rows.append(
            [
                f"`{market.name}`",
                f"{rate.campaigns} ({_seeds(own)})",
                str(rate.passed),
                f"{_percent(rate.share)} ({bound})",
                f"{mean:+.4f} ± {error:.4f}",
                _mean_r([expectancy(campaign.ranking_r) for campaign in own]),
                _mean_r([expectancy(campaign.evidence.confirmation_r) for campaign in own]),
                f"{trades:.0f}",
            ]
        )
    heading = [
        "market", "campaigns (seeds)", "found", "rate", "random entries, R", "ranking, R",
        "hidden, R", "hidden trades",
    ]  # fmt: skip
    return _table(heading, rows)


def _arguments(markets: Sequence[Market], every: Finding, recorded: str) -> str:
    """What asks for the campaigns that there are."""
    strongest = max(market.trend_strength or 0.0 for market in markets)
    weak = [each for each in markets if each.has_edge and each.trend_strength != strongest]
    most = max(every.rates[market.name].campaigns for market in markets)
    fewer = max((every.rates[market.name].campaigns for market in weak), default=most)
    candles = "--candles PATH " if recorded else ""
    return f"{candles}--campaigns {most} --edge-campaigns {fewer}"


def _earned(markets: Sequence[Market], findings: Sequence[Finding]) -> list[str]:
    def pooled(finding: Finding, edge: bool) -> str:
        rates = [finding.rates[each.name] for each in markets if each.has_edge == edge]
        rate = Rate(sum(each.passed for each in rates), sum(each.campaigns for each in rates))
        return f"{rate.passed} of {rate.campaigns}"

    return _table(
        ["gates", "no edge", "planted trends"],
        [
            [
                finding.rule.name
                if finding.rule.section == ALL
                else f"without {finding.rule.name}",
                pooled(finding, False),
                pooled(finding, True),
            ]
            for finding in findings
            if finding.rule.section in (ALL, WITHOUT)
        ],
    )


def _shares(markets: Sequence[Market], shown: Sequence[Finding]) -> list[str]:
    return _table(
        ["", *(f"`{market.name}`" for market in markets)],
        [
            [
                finding.rule.name,
                *(_percent(finding.rates[market.name].share) for market in markets),
            ]
            for finding in shown
        ],
    )


def _definitions(verdicts: Sequence[GateVerdict]) -> list[str]:
    return [
        f"- `{gate.name}` {gate.comparison} {gate.threshold:g}: {_what(gate)}" for gate in verdicts
    ]


def _what(gate: GateVerdict) -> str:
    """What a gate looks at, without one campaign's own numbers."""
    if last := re.fullmatch(r"incubation_last_(\d+)_trades", gate.name):
        return f"R per trade over the last {last[1]} confirmation trades"
    return _WHAT.get(gate.name, gate.detail)


_WHAT = {
    "candidates": "trials that may win",
    "incubation_trades": "confirmation trades",
    "incubation_all_trades": "R per trade over all confirmation trades",
    "monte_carlo_positive_share": "share of the random simulations with positive expectancy",
    "monte_carlo_mean": "mean R per trade over the random simulations",
    "monte_carlo_p_value": "t-test of that mean > 0",
}


def _geometry(recorded: str) -> list[str]:
    return [
        "Seed *n* makes the *n*-th market of every kind, from the same draws, and is the seed of "
        "the campaign on it. Shuffled markets are made of blocks of 24 recorded candles, with the "
        f"recorded trend taken out{f' ({recorded})' if recorded else ''}. Eight walk-forward "
        "windows of 1h candles, the last two hidden from the ranking; all else is as in "
        "config.json but",
        "",
        "```json",
        json.dumps(GEOMETRY, indent=2),
        "```",
        "",
        "The reasons are in `training/calibration/markets.py`.",
    ]


def _seeds(campaigns: Sequence[Campaign]) -> str:
    """The seeds, as ranges."""
    seeds = sorted(campaign.seed for campaign in campaigns)
    starts = [seed for seed in seeds if seed - 1 not in seeds]
    ends = [seed for seed in seeds if seed + 1 not in seeds]
    return ", ".join(
        f"{start}" if start == end else f"{start}-{end}"
        for start, end in zip(starts, ends, strict=True)
    )


def _mean_r(values: Sequence[float]) -> str:
    known = np.array([value for value in values if np.isfinite(value)])
    return f"{known.mean():+.3f}" if len(known) else "-"


def _interval(rate: Rate) -> str:
    low, high = rate.interval
    return f"{_percent(low)} to {_percent(high)}"


def _percent(share: float) -> str:
    digits = 100 * share
    return f"{digits:.2f} %" if 0 < digits < 2 else f"{digits:.1f} %"


def _table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    rule = ["---", *("---:" for _ in heading[1:])]
    return [f"| {' | '.join(row)} |" for row in (heading, rule, *rows)]
