"""Would random entries have done as well? The model beside them, window by window."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from strategy import performance
from strategy.config import MonteCarlo
from training.random_entries import RandomEntries, passes_gate
from training.random_signal_simulator import SignalCounts, Simulation, monte_carlo
from training.report import FAINT, GAIN, MODEL, styled, titled_figure
from training.research.empty import empty_figure
from training.walk_forward import PreparedMarket

ABOVE = 0.95
"""Share of the simulations that the model beats where chance hardly does as well."""


def whole(
    market: PreparedMarket, atr_period: int, signals: SignalCounts, trades: pd.DataFrame
) -> Simulation:
    """The campaign's own simulations through all windows, made again from their seed.

    Parameters
    ----------
    atr_period, signals, trades
        Of the candidate.
    """
    return _simulated(market, atr_period, signals, trades["r"].to_numpy(np.float64))


def by_window(
    market: PreparedMarket, atr_period: int, signals: SignalCounts, trades: pd.DataFrame
) -> pd.DataFrame:
    """The model beside random entries in each window alone; expectancies in net R.

    Returns
    -------
    One row a window: its number (the index), ``start``, ``end`` (UTC), the model's ``trades``
    and ``expectancy`` (NaN without a trade), of the simulations the ``mean``, ``low`` and
    ``high`` (5th and 95th percentile), and ``beaten``, the share that the model beats.
    """
    rows = []
    for window in (each for each in market.windows if each.number in signals):
        r = trades.loc[trades["window"] == window.number, "r"].to_numpy(np.float64)
        own = {window.number: signals[window.number]}
        simulation = _simulated(market, atr_period, own, r)
        known = simulation.entries.expectancy[np.isfinite(simulation.entries.expectancy)]
        low, high = np.quantile(known, [0.05, 0.95]) if len(known) else (math.nan, math.nan)
        rows.append(
            {
                "window": window.number,
                "start": window.validation_start_time,
                "end": window.validation_end_time,
                "trades": len(r),
                "expectancy": performance.expectancy(r),
                "mean": performance.expectancy(known),
                "low": low,
                "high": high,
                "beaten": simulation.model_percentile if len(r) else math.nan,
            }
        )
    return pd.DataFrame(rows).set_index("window")


def luck(table: pd.DataFrame) -> tuple[int, int, float]:
    """Windows with a trade, those in which the model beats most simulations, and how probable
    as many or more would be if its entries were random, too (one-sided sign test).

    Other than the t-test over simulations, which all share one price path, it rests on the
    windows, whose candles are not the same.
    """
    from scipy import stats

    known = table["beaten"].dropna()
    better = int((known > 0.5).sum())
    if known.empty:
        return 0, 0, math.nan
    test = stats.binomtest(better, len(known), 0.5, alternative="greater")
    return len(known), better, float(test.pvalue)


def window_figure(table: pd.DataFrame, *, subtitle: str) -> Figure:
    """The model's expectancy in each window over the middle 90 % of the random ones."""
    title = "The model beside random entries, window by window"
    if table.empty:
        return empty_figure(title, subtitle, "no windows")
    figure = titled_figure(title, subtitle, size=(11, 5.5))
    axes = styled(figure.add_subplot(), x="walk-forward window", y="expectancy (net R per trade)")
    axes.use_sticky_edges = False  # or the lowest bar would end at the frame
    place = np.arange(len(table))
    axes.bar(
        place, table["high"] - table["low"], bottom=table["low"], width=0.6, color=GAIN, alpha=0.25,
        label="random entries, 5th to 95th percentile",
    )  # fmt: skip
    axes.hlines(
        table["mean"], place - 0.3, place + 0.3, color=GAIN, linewidth=1.6, label="random, mean"
    )
    axes.scatter(place, table["expectancy"], s=44, color=MODEL, zorder=3, label="model")
    axes.axhline(0, color=FAINT, linewidth=0.8)
    axes.set_xticks(place, [f"{number}\n{start:%b %y}" for number, start in table["start"].items()])
    axes.grid(False, axis="x")
    axes.legend(fontsize=9, framealpha=0.85, edgecolor="none")
    return figure


def conclusion(simulation: Simulation, table: pd.DataFrame, rule: MonteCarlo) -> str:
    """Whether random entries would have done as well: sentences in Markdown.

    Parameters
    ----------
    simulation
        Of :func:`whole`.
    table
        Of :func:`by_window`.
    """
    entries = simulation.entries
    windows, better, probability = luck(table)
    clearly = int((table["beaten"] > ABOVE).sum())
    return "\n".join(
        (
            f"- **Over all windows** the model beats {simulation.model_percentile:.1%} of "
            f"{len(entries.expectancy)} random simulations.",
            f"- **Window by window** it beats most of them in {better} of {windows} windows, and "
            f"more than {ABOVE:.0%} of them in {clearly}. Entries at random would beat most in as "
            f"many windows or more with probability {probability:.2g}.",
            f"- **Random entries themselves** made {entries.mean_expectancy:+.3f} R a trade on "
            f"average, and {entries.share_positive:.1%} of the simulations gained: "
            f"{_gate(entries, rule)}",
            f"- **So:** {_verdict(simulation.model_percentile, probability)}",
        )
    )


def _gate(entries: RandomEntries, rule: MonteCarlo) -> str:
    if passes_gate(entries, rule):
        return "exits, costs and market carry even random entries, which is what the gate asks."
    return "under these exits and costs the gate fails, whatever the model adds."


def _verdict(beaten: float, probability: float) -> str:
    if beaten > ABOVE and probability < 1 - ABOVE:
        return "random entries would not have done as well."
    if beaten > ABOVE or probability < 1 - ABOVE:
        return "random entries would hardly have done as well, but one of the two tests is not met."
    return "random entries may well have done as well."


def _simulated(
    market: PreparedMarket, atr_period: int, signals: SignalCounts, r: np.ndarray
) -> Simulation:
    rule = market.config.monte_carlo_config
    return monte_carlo(
        market,
        atr_period,
        signals,
        performance.expectancy(r),
        n_simulations=rule.n_simulations,
        seed=rule.random_seed,
    )
