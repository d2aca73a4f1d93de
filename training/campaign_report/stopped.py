"""The report of a campaign that ended before it began."""

from __future__ import annotations

from strategy.config import Config
from training import html_page as html
from training.campaign_report import words
from training.campaign_report.frame import Subject, masthead, origin
from training.campaign_report.style import STYLE
from training.html_page import Html, cell, row
from training.preflight import Estimate, Preflight


def stopped_page(subject: Subject, result: Preflight, config: Config) -> str:
    """The report of a campaign that ended before it began, at the preflight."""
    rule, costs = config.monte_carlo_config, config.costs
    estimates = [*(("", each) for each in result.configured),
                 *(("if: ", each) for each in result.changed)]  # fmt: skip
    return html.page(
        subject.title,
        STYLE,
        masthead(subject),
        html.element(
            "div",
            html.element("strong", html.text("Not searched")),
            html.paragraph(
                "The preflight stopped this campaign: under its exits and costs, entries at random "
                "lose on this market, and whatever a search had found, the gate on random entries "
                "would have rejected it. No setting was tried, and nothing will be traded."
            ),
            class_="verdict bad",
        ),
        html.section(
            "What entries at random make of it",
            html.table(
                ("rules", "average", "simulations that earn", "trades", "would pass"),
                [_estimate_row(prefix, each) for prefix, each in estimates],
                caption=f"{config.preflight.n_simulations:,} simulations a row, net of fee and "
                f"slippage of {words.per_side(costs.per_side)} a fill, and of funding; R is what a "
                "trade risks.",
            ),
        ),
        html.section(
            "What would have to be true for a search to be worth its while",
            html.paragraph(
                f"More than {words.share(rule.confidence_level)} of the simulations would have to "
                "earn, and their average with them. The rows that begin with “if” show what other "
                "rules or costs would do; the preflight's grid tries many more."
            ),
        ),
        origin(subject),
    )


def _estimate_row(prefix: str, each: Estimate) -> Html:
    return row(
        cell(prefix + each.scenario.name),
        cell(words.in_r(each.mean_expectancy, 3)),
        cell(words.share(each.share_positive)),
        cell(f"{each.trades:,.0f}"),
        cell("yes" if each.passes else "no", "good" if each.passes else "bad"),
    )
