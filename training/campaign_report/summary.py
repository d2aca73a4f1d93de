"""What a reader in a hurry needs: the verdict, the figures that matter, the gates."""

from __future__ import annotations

import numpy as np

from strategy import performance
from training import html_page as html
from training.campaign_report import words
from training.campaign_report.findings import Findings
from training.campaign_report.verdicts import told
from training.html_page import Html, cell, row


def verdict(findings: Findings) -> Html:
    """Accepted or rejected, and why."""
    gates = findings.candidate.gates
    failed = [told(gate).lacking for gate in gates if not gate.passed]
    if failed:
        title = "Rejected: nothing will be traded"
        gist = (
            f"{len(failed)} of {len(gates)} gates failed: {'; '.join(failed)}. A strategy must "
            "pass every one of them. To reject what does not hold is what the campaign is for."
        )
    else:
        title = "Accepted for paper trading"
        gist = (
            f"All {len(gates)} gates hold. It moves on to trading with paper money, and must "
            "prove itself there before any real order is made."
        )
    return html.element(
        "div",
        html.element("strong", html.text(title)),
        html.paragraph(gist),
        html.paragraph(_gist(findings)),
        class_=f"verdict {'bad' if failed else 'good'}",
    )


def _gist(findings: Findings) -> str:
    candidate, hidden = findings.candidate, findings.hidden_r
    tried = words.counted(len(findings.trials), "setting")
    which = "best of" if candidate.eligible else "one that came furthest of"
    if not len(candidate.r):
        return f"{tried[0].upper()}{tried[1:]} tried; the {which} them made not a single trade."
    first = (
        f"The {which} {tried} made {words.counted(len(candidate.r), 'trade')} in "
        f"{findings.months:.0f} months on candles that its models had not seen, with "
        f"{_mean(candidate.r)} on average after costs."
    )
    if not len(hidden):
        return first
    return (
        f"{first} In the newest months, hidden from the search as a whole, "
        f"{words.counted(len(hidden), 'trade')} made {_mean(hidden)}."
    )


def cards(findings: Findings) -> Html:
    """The figures to remember."""
    r = findings.candidate.r
    summary, hidden = performance.summary(r), findings.hidden_r
    simulation = findings.candidate.simulation
    shown = {
        "average trade, after costs": _mean(r),
        "average unseen trade": _mean(hidden),
        "trades": f"{summary.trades:,} in {findings.months:.0f} months",
        "in profit": words.share(summary.hit_rate),
        "total": words.in_r(summary.total_r, 1),
        "deepest fall": words.in_r(-summary.max_drawdown, 1),
        "a fill may cost at most": _most(findings.break_even),
        "random entries that it beats": words.share(simulation.model_percentile, 1),
    }
    return html.element(
        "dl",
        *(
            html.element("div", html.element("dt", html.text(name)),
                         html.element("dd", html.text(figure)))
            for name, figure in shown.items()
        ),
        class_="cards",
    )  # fmt: skip


def _most(break_even: float) -> str:
    return "loses even at none" if break_even <= 0 else words.per_side(break_even)


def _mean(r: np.ndarray) -> str:
    return words.with_error(performance.expectancy(r), performance.standard_error(r))


def gates(findings: Findings) -> Html:
    """Every gate with its figure, its threshold, its verdict, and what that means."""
    rows = []
    for gate in findings.candidate.gates:
        judged = told(gate)
        kind = "good" if judged.passed else "bad"
        meaning = html.element(
            "td", html.text(judged.meaning), html.element("small", html.text(gate.detail)),
            class_="text",
        )  # fmt: skip
        rows.append(
            row(
                cell(judged.title),
                cell(judged.figure),
                cell(judged.wanted),
                html.element("td", html.element(
                    "b", html.text("passed" if judged.passed else "failed"), class_=kind)),
                meaning,
            )
        )  # fmt: skip
    return html.table(("gate", "figure", "wanted", "verdict", "what it means"), rows, words={4})
