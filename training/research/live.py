"""Does a strategy trade, on paper or with money, as its backtest said?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from registry.connection import Client, connect
from registry.lifecycle import Lifecycle
from registry.live_run import LiveRun, LiveRuns
from registry.runs import read_table
from strategy import performance
from strategy.divergence import DIFFERENCES, KEY, Explanation, summed
from strategy.errors import StoreError
from training.arguments import tracking_uri
from training.publication import TRADES
from training.report import FAINT, GAIN, INK, MODEL, styled, titled_figure
from training.research.empty import empty_figure

DIVERGENCES = "divergence.csv"
"""File of a live run; serving writes it."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class FoundLiveRun:
    """A live run, and the backtest by which its strategy was discovered."""

    client: Client
    model_name: str
    run: LiveRun

    @cached_property
    def days(self) -> pd.DataFrame:
        """By day (:func:`strategy.expectation.by_day`), with the bounds of what is expected."""
        return self.run.days()

    @cached_property
    def divergence(self) -> pd.DataFrame:
        """Each trade beside the simulator's (:func:`strategy.divergence.divergences`)."""
        table = read_table(self.client, self.run.run_id, DIVERGENCES)
        times = [str(name) for name in table if "_time" in str(name)]
        return table.assign(**{name: pd.to_datetime(table[name], utc=True) for name in times})

    @property
    def r(self) -> Floats:
        """Net R of the recorded trades that have ended, in order of time."""
        return self.divergence["r_live"].dropna().to_numpy(np.float64)

    @cached_property
    def backtest_r(self) -> Floats:
        """Net R of the out-of-sample trades of the campaign that found the strategy."""
        versions = Lifecycle(self.client, self.model_name, lambda: 0).versions()
        own = [each for each in versions if each.strategy_id == self.run.strategy_id]
        if not own or own[-1].run_id is None:
            raise StoreError(
                f"{self.model_name}: no registered version says which campaign discovered the "
                f"strategy {self.run.strategy_id}; was it deleted?"
            )
        return read_table(self.client, own[-1].run_id, TRADES)["r"].to_numpy(np.float64)


def find(model_name: str, strategy_id: str | None = None, uri: str | None = None) -> FoundLiveRun:
    """The live run of a strategy; by default the newest there is.

    A strategy with real orders as well as paper trades is found with its real ones.

    Raises
    ------
    StoreError, RetryError
        There is no live run yet, or the MLflow store cannot be used.
    """
    client = connect(tracking_uri(uri))
    runs = [
        each for each in LiveRuns(client, model_name) if strategy_id in (None, each.strategy_id)
    ]
    if not runs:
        whose = f"of the strategy {strategy_id!r}" if strategy_id else "yet"
        raise StoreError(
            f"{client.tracking_uri}: {model_name} has no live run {whose}; make paper lets what "
            "is in Staging trade some days on paper"
        )
    newest = runs[0].strategy_id
    with_money = [each for each in runs if each.strategy_id == newest and each.book == "live"]
    return FoundLiveRun(client, model_name, (with_money or runs)[0])


def comparison(live_r: Floats, backtest_r: Floats) -> pd.DataFrame:
    """The figures of both (:class:`strategy.performance.Summary`), a column each.

    ``total_r`` and ``max_drawdown`` grow with the number of trades: they are not comparable.
    """
    columns = {"live": live_r, "backtest": backtest_r}
    return pd.DataFrame(
        {name: performance.summary(r)._asdict() for name, r in columns.items()}, dtype=float
    )


def deviations(live_r: Floats, backtest_r: Floats) -> float:
    """Standard errors that the live expectancy lies above the backtest's (Welch's t).

    NaN where either has fewer than two trades, or none that differ.
    """
    errors = [performance.standard_error(r) for r in (live_r, backtest_r)]
    error = math.hypot(*errors)
    if not error > 0:
        return math.nan
    return float((live_r.mean() - backtest_r.mean()) / error)


def explanations(divergence: pd.DataFrame) -> pd.DataFrame:
    """How many trades differ from the simulator's for which reason, and by how much R.

    ``r_difference`` is the recorded total less the simulated; a missing trade counts as 0 R.
    """
    difference = divergence["r_live"].fillna(0) - divergence["r_simulated"].fillna(0)
    grouped = difference.groupby(divergence["explained"])
    table = pd.DataFrame({"trades": grouped.size(), "r_difference": grouped.sum()})
    order = [str(each) for each in Explanation if str(each) in table.index]
    return table.loc[order]


def divergence_table(divergence: pd.DataFrame, rows: int = 20) -> pd.DataFrame:
    """The last trades, with what both sides made of them."""
    both = [f"{name}_{side}" for name in ("reason", "r") for side in ("live", "simulated")]
    differences = [f"{name}_difference" for name in DIFFERENCES]
    return divergence[[*KEY, *both, *differences, "explained"]].tail(rows).reset_index(drop=True)


def equity_figure(days: pd.DataFrame, *, subtitle: str) -> Figure:
    """Equity by day over what the backtest lets one expect of as many trades."""
    title = "Live against backtest"
    if days.empty:
        return empty_figure(title, subtitle, "no trade has ended on a day that is over")
    last = days.iloc[-1]
    figure = titled_figure(
        f"{title}: {last['equity_r']:+.1f} R in {last['trades']:.0f} trades", subtitle
    )
    axes = styled(figure.add_subplot(), x="end of day (UTC)", y="total result (net R)")
    times = pd.DatetimeIndex(days.index).tz_localize(None).to_numpy()
    if "band_low" in days:
        axes.fill_between(
            times, days["band_low"], days["band_high"], color=GAIN, alpha=0.18, linewidth=0,
            label="expected in 95 of 100 cases",
        )  # fmt: skip
        axes.plot(times, days["band_mid"], color=GAIN, linestyle="--", label="expected, mean")
    axes.plot(times, days["equity_r"], color=MODEL, linewidth=1.8, marker="o", markersize=3,
              label="live")  # fmt: skip
    axes.axhline(0, color=FAINT, linewidth=0.8)
    axes.legend(fontsize=9, framealpha=0.85, edgecolor="none", loc="upper left")
    figure.autofmt_xdate()
    return figure


def distribution_figure(live_r: Floats, backtest_r: Floats, *, subtitle: str) -> Figure:
    """Share of the trades that ended at or below each R, live and in the backtest."""
    title = "Trades by their result"
    if not len(live_r) or not len(backtest_r):
        return empty_figure(title, subtitle, "no trades")
    figure = titled_figure(f"{title}: live beside backtest", subtitle)
    axes = styled(figure.add_subplot(), x="result (net R)", y="share of trades at or below")
    for r, colour, label in ((backtest_r, GAIN, "backtest"), (live_r, MODEL, "live")):
        axes.ecdf(r, color=colour, linewidth=1.8, label=f"{label} ({len(r)} trades)")
        axes.axvline(r.mean(), color=colour, linewidth=1, linestyle=":")
    low, high = np.quantile(np.concatenate([live_r, backtest_r]), [0.005, 0.995])
    axes.set_xlim(low - 0.2, high + 0.2)
    axes.axvline(0, color=INK, linewidth=0.6)
    axes.legend(fontsize=9, framealpha=0.85, edgecolor="none", title="dotted: mean")
    return figure


def conclusion(found: FoundLiveRun) -> str:
    """Whether the strategy does as its backtest said: sentences in Markdown."""
    divergence = summed(found.divergence)
    explained = explanations(found.divergence)
    off = explained.drop(index=str(Explanation.SAME), errors="ignore")["trades"]
    reasons = ", ".join(f"{count} {reason}" for reason, count in off.items())
    return "\n".join(
        (
            f"- **Result.** {_result(found.days)}",
            f"- **Expectancy.** {_expectancy(found.r, found.backtest_r)}",
            f"- **Trade by trade.** Of {explained['trades'].sum()} trades "
            f"{divergence.divergent_trades} differ from those that the simulator makes on the same "
            f"candles{f' ({reasons})' if reasons else ''}, {divergence.unexplained_trades} without "
            f"an explanation; all differences come to {divergence.r_difference:+.2f} R.",
        )
    )


def _result(days: pd.DataFrame) -> str:
    if days.empty:
        return "No trade has ended yet on a day that is over."
    last = days.iloc[-1]
    total = f"By the end of {days.index[-1]:%Y-%m-%d} {last['trades']:.0f} trades came to "
    total += f"{last['equity_r']:+.2f} R"
    if "band_low" not in days or math.isnan(last["band_mid"]):
        return f"{total}; the backtest has too few trades to expect anything of them."
    low, high = last["band_low"], last["band_high"]
    place = "below" if last["equity_r"] < low else "above" if last["equity_r"] > high else "inside"
    inside = days["equity_r"].between(days["band_low"], days["band_high"]).sum()
    so = "so it was" if place == "inside" else "it was inside"
    return (
        f"{total}, which is **{place}** what the backtest lets one expect of as many "
        f"({low:+.2f} to {high:+.2f} R); {so} on {inside} of {len(days)} days."
    )


def _expectancy(live_r: Floats, backtest_r: Floats) -> str:
    apart = deviations(live_r, backtest_r)
    live, backtest = (
        f"{performance.expectancy(r):+.3f} ± {performance.standard_error(r):.3f} R"
        for r in (live_r, backtest_r)
    )
    if math.isnan(apart):
        return f"{live} live, {backtest} in the backtest: too few trades to tell."
    side = "above" if apart > 0 else "below"
    sure = "which chance explains" if abs(apart) < 2 else "more than chance explains"
    return (
        f"{live} live, {backtest} in the backtest: {abs(apart):.1f} standard errors {side}, {sure}."
    )
