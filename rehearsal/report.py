"""The page that a rehearsal ends with: its verdict first, then how it came about."""

from __future__ import annotations

from html import escape
from io import BytesIO

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from rehearsal.outcome import Outcome
from training import html_page as html
from training.html_page import Html

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem;
  color: #1b1f24; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
table { border-collapse: collapse; font-size: 13px; width: 100%; }
td, th { border-bottom: 1px solid #d8dee4; padding: .25rem .5rem; text-align: left;
  vertical-align: top; }
figure { margin: 0; } .good { color: #116329; } .bad { color: #a40e26; } img { max-width: 100%; }
pre { font-size: 12px; background: #f6f8fa; padding: .8rem; overflow-x: auto; max-height: 24rem; }
"""


def page(outcome: Outcome) -> str:
    """The report as one HTML page that needs nothing else."""
    sections = [
        _head(outcome),
        _section(
            "Equity and drawdown of the live account",
            _image(equity_figure(outcome), "Equity of the live account by day"),
        ),
        _section(
            "Results by strategy, in R after costs",
            _image(r_figure(outcome), "R of each strategy, summed up"),
            _results(outcome),
        ),
        _section("Lives of the strategies", _table(_moves(outcome))),
        _section("Campaigns", _table(pd.DataFrame(outcome.campaigns)), _costs(outcome)),
        _section("Circuit breaker and other interventions", _table(_interventions(outcome))),
        _section("Trades that are not the simulator's", _divergent(outcome)),
        _section("What went wrong, on purpose", _table(_counted(outcome.faults, "fault"))),
        _section("What people did", _table(pd.DataFrame(outcome.acts))),
        _section("Invariants, and how often each was checked", _table(_checked(outcome))),
        _section("Calls of functions", _table(_calls(outcome))),
        _section("What the operator was told", f"<pre>{escape(outcome.notifications)}</pre>"),
    ]
    return html.page(f"Rehearsal of {outcome.market}", _STYLE, *map(Html, sections))


def equity_figure(outcome: Outcome) -> Figure:
    """Equity by day, as if nothing had been paid in or out, and the distance to its peak."""
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    above, below = figure.subplots(2, sharex=True, height_ratios=(2, 1))
    equity = pd.Series(outcome.equity, dtype=float)
    equity.index = pd.to_datetime(equity.index)
    above.plot(equity.index, equity, color="#0969da")
    above.set_ylabel("USD")
    drawdown = 100 * (equity / equity.cummax() - 1) if len(equity) else equity
    below.fill_between(equity.index, drawdown, color="#cf222e", alpha=0.5, linewidth=0)
    below.set_ylabel("drawdown, %")
    for move in outcome.moves:
        if move.stage in ("Production", "Archived"):
            colour = "#1a7f37" if move.stage == "Production" else "#6e7781"
            at = np.datetime64(move.time.replace(tzinfo=None), "ns")
            above.axvline(at, color=colour, linewidth=0.8)
    return figure


def r_figure(outcome: Outcome) -> Figure:
    """Cumulated R of every strategy, by book."""
    figure = Figure(figsize=(10, 3.4), layout="constrained")
    axes = figure.subplots()
    for each in outcome.traded:
        if each.trades:
            ended = sorted(each.trades, key=lambda trade: trade.exit_time)
            axes.step(
                pd.DatetimeIndex([trade.exit_time for trade in ended]),
                np.cumsum([trade.r for trade in ended]),
                where="post",
                label=f"{each.strategy_id[-12:]}, {each.book}",
                linestyle="-" if each.book == "live" else ":",
            )
    axes.axhline(0, color="#6e7781", linewidth=0.8)
    axes.set_ylabel("R")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8)
    return figure


def _head(outcome: Outcome) -> str:
    if outcome.broken is None:
        held = "<p class='good'>Every invariant held.</p>"
    else:
        held = f"<p class='bad'>Broken: {escape(str(outcome.broken))}</p>"
    days = (outcome.end - outcome.begin).days
    life = (
        "<p>A whole life was lived: discovered, incubated, in production, retrained, buried, "
        "replaced.</p>"
        if outcome.lived
        else ""
    )
    return (
        f"<h1>Rehearsal of {escape(outcome.market)}</h1>"
        f"<p>{outcome.begin:%Y-%m-%d} to {outcome.end:%Y-%m-%d}, {days} days, seed "
        f"{outcome.seed}, fault rate {outcome.rate:g}: {sum(outcome.calls.values()):,} calls, "
        f"{outcome.requests:,} requests to the exchange, {outcome.struck:,} things that went "
        f"wrong. It ran on {escape(outcome.parts)}.</p>{held}"
        f"<p><b>{escape(outcome.verdict)}</b></p>{life}"
    )


def _results(outcome: Outcome) -> str:
    rows = []
    for each in outcome.traded:
        if each.trades:
            figures = each.summary
            rows.append(
                {
                    "strategy": each.strategy_id,
                    "book": each.book,
                    "trades": figures.trades,
                    "total R": f"{figures.total_r:+.1f}",
                    "expectancy": f"{figures.expectancy:+.3f} ± {figures.standard_error:.3f} R",
                    "hit rate": f"{100 * figures.hit_rate:.0f} %",
                    "largest drawdown": f"{figures.max_drawdown:.1f} R",
                    "USD": f"{each.usd:+,.2f}",
                }
            )
    return _table(pd.DataFrame(rows))


def _moves(outcome: Outcome) -> pd.DataFrame:
    found = pd.DataFrame(outcome.moves)
    return found.assign(time=_minutes(found["time"])) if len(found) else found


def _interventions(outcome: Outcome) -> pd.DataFrame:
    records = [
        {
            "strategy": each.strategy_id,
            "book": each.book,
            "kind": record.kind,
            "why": _kind(record.why),
        }
        for each in outcome.traded
        for record in each.interventions
    ]
    if not records:
        return pd.DataFrame()
    return pd.DataFrame(records).value_counts().rename("times").reset_index()


def _kind(why: str) -> str:
    """Without the figures, so that equal reasons count together."""
    return why.split(";")[0].split(", ")[0][:90] if ":" in why else why[:90]


def _divergent(outcome: Outcome) -> str:
    if outcome.divergent.empty:
        return "<p class='good'>None: every trade is the simulator's.</p>"
    columns = [
        "strategy", "book", "decision_time", "side", "reason_live", "reason_simulated",
        "exit_price_difference", "r_difference", "explained",
    ]  # fmt: skip
    counted = outcome.divergent.groupby(["book", "explained"]).size().rename("trades")
    return (
        "<p>Each is explained: with real orders fees and funding are the exchange's and stops rest "
        "on its tick (“costs”, “finer candles”); while a part was out of reach a stop could not "
        "move or an entry was not made.</p>"
        + _table(counted.reset_index())
        + f"<details><summary>all {len(outcome.divergent)}</summary>"
        + _table(outcome.divergent[columns])
        + "</details>"
    )


def _costs(outcome: Outcome) -> str:
    return f"<p>{outcome.jobs} training jobs cost ${outcome.jobs_usd:.2f}.</p>"


def _checked(outcome: Outcome) -> pd.DataFrame:
    rows = [{"invariant": name, "checked": times} for name, times in outcome.checked.items()]
    return pd.DataFrame(rows)


def _calls(outcome: Outcome) -> pd.DataFrame:
    rows = [
        {"function": function, "ended": how, "times": times}
        for (function, how), times in sorted(outcome.calls.items())
    ]
    return pd.DataFrame(rows)


def _counted(counts: dict[str, int], what: str) -> pd.DataFrame:
    rows = sorted(counts.items(), key=lambda item: -item[1])
    return pd.DataFrame([{what: name, "times": times} for name, times in rows])


def _section(title: str, *parts: str) -> str:
    return html.section(title, *map(Html, parts))


def _table(frame: pd.DataFrame) -> str:
    if frame.empty:
        return "<p>None.</p>"
    return str(frame.to_html(index=False, border=0, escape=True, float_format="{:.4g}".format))


def _minutes(times: pd.Series) -> pd.Series:
    return pd.to_datetime(times).dt.strftime("%Y-%m-%d %H:%M")


def _image(figure: Figure, what: str) -> str:
    content = BytesIO()
    figure.savefig(content, format="png", dpi=110)
    return html.picture(content.getvalue(), what)
