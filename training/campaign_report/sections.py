"""The sections on what the candidate did: months, trades, windows."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from strategy import performance
from training import html_page as html
from training.campaign_report import words
from training.campaign_report.findings import Findings
from training.campaign_report.monthly import MONTH_NAMES, by_month_of_year, monthly_r
from training.html_page import Html, cell, row

REASONS = {
    "stop_loss": "at its first stop, 1 R from the entry",
    "break_even": "at its entry price, where the stop had followed",
    "trailing_stop": "at the trailing stop, once 2 R had been reached",
    "window_end": "still open when its window ended",
    "closed": "closed from outside",
}
NO_TRADES = "It made no trades, so there is nothing to show here."


def months(findings: Findings) -> Html:
    """R by year and month of exit, with totals."""
    trades = findings.trades
    years = monthly_r(pd.DatetimeIndex(trades["exit_time"]), trades["r"].to_numpy(np.float64))
    if not years:
        return html.paragraph(NO_TRADES)
    known = np.concatenate([year.months for year in years])
    known = known[np.isfinite(known)]
    largest = float(np.abs(known).max())
    rows = [
        row(
            cell(year.year),
            *(_month(r, largest) for r in year.months),
            _total(year.total),
            cell(f"{year.trades:,}"),
        )
        for year in years
    ]
    foot = row(
        cell("all"),
        *(cell("" if math.isnan(r) else words.signed(r, 1)) for r in by_month_of_year(years)),
        _total(sum(year.total for year in years)),
        cell(f"{sum(year.trades for year in years):,}"),
    )
    lead = (
        f"{int((known > 0).sum())} of {words.counted(len(known), 'month')} ended in profit; the "
        f"best made {words.in_r(known.max(), 1)}, the worst {words.in_r(known.min(), 1)}."
    )
    return html.joined(
        [
            html.paragraph(lead),
            html.table(
                ["", *MONTH_NAMES, "year", "trades"],
                rows,
                foot=foot,
                caption="Net R by the month in which a trade ended (UTC); a dot: no trade ended.",
                class_="months",
            ),
        ]
    )


def _month(r: float, largest: float) -> Html:
    """Tinted by its share of the largest month."""
    if math.isnan(r):
        return cell("·", "none")
    depth = abs(r) / largest if largest else 0.0
    red, green, blue = (43, 108, 163) if r > 0 else (193, 81, 47)
    return html.element(
        "td",
        html.text(words.signed(r, 1)),
        style=f"background:rgba({red},{green},{blue},{0.06 + 0.34 * depth:.2f})",
    )


def _total(r: float) -> Html:
    return html.element("td", html.element("b", html.text(words.signed(r, 1))))


def trade_groups(findings: Findings) -> Html:
    """All trades, long ones and short ones, those that ranked and those that were unseen."""
    trades = findings.trades
    if trades.empty:
        return html.paragraph(NO_TRADES)
    hidden = trades["window"].isin([each.window for each in findings.candidate.confirmation])
    long = trades["side"] > 0
    groups = {
        "all": trades,
        "long (bought first)": trades[long],
        "short (sold first)": trades[~long],
        "in the windows that rank": trades[~hidden],
        "in the hidden windows": trades[hidden],
    }
    headings = (
        "trades", "number", "in profit", "average", "total", "profit ÷ loss", "SQN",
        "deepest fall", "median length",
    )  # fmt: skip
    return html.table(headings, [_group_row(name, of) for name, of in groups.items()])


def _group_row(name: str, trades: pd.DataFrame) -> Html:
    summary = performance.summary(trades["r"].to_numpy(np.float64))
    if not summary.trades:
        return row(cell(name), cell(0), *[cell("–")] * 7)
    return row(
        cell(name),
        cell(f"{summary.trades:,}"),
        cell(words.share(summary.hit_rate)),
        cell(words.with_error(summary.expectancy, summary.standard_error)),
        cell(words.in_r(summary.total_r, 1)),
        cell(words.number(summary.profit_factor)),
        cell(words.number(summary.sqn)),
        cell(words.in_r(-summary.max_drawdown, 1)),
        cell(_duration(trades["exit_time"] - trades["entry_time"])),
    )


def _duration(held: pd.Series) -> str:
    hours = float(held.dt.total_seconds().median()) / 3600
    return f"{hours:.0f} h" if hours < 72 else f"{hours / 24:.1f} days"


def exits(findings: Findings) -> Html:
    """How the trades ended."""
    trades = findings.trades
    if trades.empty:
        return html.NOTHING
    rows = []
    for reason, group in sorted(trades.groupby("reason"), key=lambda each: -len(each[1])):
        name = str(reason)
        rows.append(
            row(
                cell(REASONS.get(name, name.replace("_", " "))),
                cell(f"{len(group):,}"),
                cell(words.share(len(group) / len(trades))),
                cell(words.in_r(float(group["r"].mean()))),
                cell(words.in_r(float(group["r"].sum()), 1)),
            )
        )
    return html.table(("the trade ended", "trades", "share", "average", "total"), rows)


def windows(findings: Findings) -> Html:
    """What it did window by window."""
    spans = {window.number: window for window in findings.windows}
    results = findings.candidate.results
    hidden = {each.window for each in findings.candidate.confirmation}
    rows = []
    for result in results:
        window, summary = spans[result.window], performance.summary(result.r)
        rows.append(
            row(
                cell(result.window),
                cell(f"{window.validation_start_time:%Y-%m-%d}"),
                cell(f"{window.validation_end_time:%Y-%m-%d}"),
                cell(f"{summary.trades:,}"),
                cell(words.with_error(summary.expectancy, summary.standard_error)),
                cell(words.in_r(summary.total_r, 1)),
                cell("hidden from the search" if result.window in hidden else "", "text"),
            )
        )
    earned = sum(result.r.sum() > 0 for result in results)
    return html.joined(
        [
            html.paragraph(
                f"It earned in {earned} of {words.counted(len(results), 'window')}. Before each "
                "one it was trained anew, on the time before it alone."
            ),
            html.table(("window", "from", "to", "trades", "average", "total", ""), rows, words={6}),
        ]
    )
