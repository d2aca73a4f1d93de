"""The sections on how much may change before it fails: costs, and parameters."""

from __future__ import annotations

import math

from strategy import performance
from training import html_page as html
from training.campaign_report import words
from training.campaign_report.findings import Findings, Floats
from training.campaign_report.sections import NO_TRADES
from training.campaign_report.stability import Neighbour
from training.html_page import Html, cell, row

LISTED_NEIGHBOURS = 12


def costs(findings: Findings) -> Html:
    """The same trades under other costs."""
    if not len(findings.candidate.r):
        return html.paragraph(NO_TRADES)
    rows = [
        _cost_row(f"{case.multiple:g} ×", words.per_side(case.per_side), case.r)
        for case in findings.cases
    ]
    rows.append(_cost_row("no costs at all", "0, and no funding", findings.free_r))
    return html.joined(
        [
            html.paragraph(_break_even_sentence(findings)),
            html.table(
                ("costs", "fee and slippage a fill", "average", "total", "in profit", "SQN"),
                rows,
                caption="Fee and slippage multiplied, funding as configured. What a trade costs "
                "moves no stop: entries and exits are the same, simulated again.",
            ),
        ]
    )


def _cost_row(name: str, level: str, r: Floats) -> Html:
    summary = performance.summary(r)
    return row(
        cell(name),
        cell(level),
        cell(words.with_error(summary.expectancy, summary.standard_error)),
        cell(words.in_r(summary.total_r, 1)),
        cell(words.share(summary.hit_rate)),
        cell(words.number(summary.sqn)),
    )


def _break_even_sentence(findings: Findings) -> str:
    charged, most = findings.market.config.costs.per_side, findings.break_even
    if math.isnan(most):
        return "The campaign charged neither fee nor slippage: there is nothing to multiply."
    if most <= 0:
        return "It loses even where fills cost nothing: costs are not what it fails by."
    return (
        f"Its average trade earns nothing where a fill costs {words.per_side(most)} of what is "
        f"traded; {words.per_side(charged)} was charged."
    )


def stability(findings: Findings) -> Html:
    """The candidate's neighbours in the grid of indicator periods."""
    around = findings.around
    untried = around.combinations - around.walked
    if not around.neighbours:
        return html.paragraph(
            "None of the combinations beside it in the grid was tried, so whether it stands on a "
            "plateau or on a needle is not known."
        )
    lead = (
        f"{around.earning} of {words.counted(len(around.neighbours), 'neighbour')} "
        f"({words.share(around.share_earning)}) earn. An edge that is real does not hang on one "
        "exact setting: most neighbours should earn as well, if less. Compared are the windows "
        "that rank; "
        + (
            f"{untried:,} of the {around.combinations:,} combinations beside it were not tried."
            if untried
            else "every combination beside it was tried."
        )
    )
    headings = ("trial", "Ichimoku", "RSI", "ATR", "away", "trades", "average", "SQN", "")
    shown = html.table(headings, _neighbour_rows(findings), words={8})
    left = len(around.neighbours) - LISTED_NEIGHBOURS
    more = (
        [html.paragraph(f"{left:,} more, further away, are in trials.csv.", "note")]
        if left > 0
        else []
    )
    return html.joined([html.paragraph(lead), shown, *more])


def _neighbour_rows(findings: Findings) -> list[Html]:
    own = Neighbour(findings.candidate.trial, 0)
    rows = []
    for each in (own, *findings.around.neighbours[:LISTED_NEIGHBOURS]):
        trial = each.trial
        periods = trial.parameters.indicators
        away = "candidate" if each is own else _away(each.steps)
        average = words.with_error(each.expectancy, performance.standard_error(trial.r))
        rows.append(
            row(
                cell(trial.number),
                cell(f"{periods.tenkan_sen}/{periods.kijun_sen}/{periods.senkou_span_b}"),
                cell(periods.rsi_period),
                cell(periods.atr_period),
                cell(away),
                cell(f"{len(trial.r):,}"),
                cell(average),
                cell(words.number(trial.sqn)),
                cell("given up as hopeless" if trial.pruned else "", "text"),
                class_="own" if each is own else "",
            )
        )
    return rows


def _away(steps: int) -> str:
    return (
        "same periods, other model" if not steps else f"on {words.counted(steps, 'axis', 'axes')}"
    )
