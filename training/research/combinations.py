"""Which parameter combinations work, and whether the best stands on a plateau or alone.

``trials`` is the table of :func:`training.publication.trials_table`: one row a trial.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from strategy.config import IndicatorGrid, IndicatorParameters, LightGBMParameters
from training.report import FAINT, GAIN, INK, MODEL, styled, titled_figure
from training.research.empty import empty_figure

INDICATORS = list(IndicatorParameters._fields)
HYPERPARAMETERS = list(LightGBMParameters.model_fields)
NEAREST = 5
"""Trials of other combinations that a trial is compared with."""
CLEARLY = 2.0
"""Standard errors that a trial must earn to earn clearly."""
PLATEAU_SHARE = 0.5
"""Of the best trial's expectancy, what its neighbours must earn on average."""


class Stability(NamedTuple):
    """The best trial beside its neighbours, in net R per trade."""

    trial: int
    expectancy: float
    neighbours: int
    steps: float
    """How far they lie away on average, in steps of the grid."""
    earning: int
    """How many of them earn."""
    mean: float
    """Of their expectancies."""

    @property
    def verdict(self) -> str:
        """``plateau``, ``slope``, ``lonely spike``, or ``not known``: a rule of thumb.

        On a plateau most neighbours earn, and on average half of what the best trial earns; a
        spike's neighbours lose on average. ``not known``: the best trial loses itself, or has
        fewer than two neighbours.
        """
        if self.neighbours < 2 or not self.expectancy > 0:
            return "not known"
        if self.mean <= 0:
            return "lonely spike"
        most = self.earning > self.neighbours / 2
        return "plateau" if most and self.mean >= PLATEAU_SHARE * self.expectancy else "slope"


def comparison_table(trials: pd.DataFrame) -> pd.DataFrame:
    """The trials, the best SQN first, with what one compares them by.

    ``expectancy``, its ``standard_error`` and ``max_drawdown`` are in net R. A trial that was
    pruned was judged on fewer ``windows``.
    """
    figures = [
        "sqn", "expectancy", "standard_error", "trades", "hit_rate", "max_drawdown", "windows",
        "pruned",
    ]  # fmt: skip
    ordered = trials.sort_values(["pruned", "sqn"], ascending=[True, False], kind="stable")
    return ordered.set_index("trial")[[*figures, *INDICATORS, *HYPERPARAMETERS]]


def grid_steps(trials: pd.DataFrame, grid: IndicatorGrid) -> NDArray[np.int64]:
    """How many steps of the grid lie between any two trials' combinations, shape (n, n).

    One step is one indicator's period moved to the next value of its range.
    """
    axes = {
        "tenkan_sen": grid.ichimoku.tenkan_sen,
        "kijun_sen": grid.ichimoku.kijun_sen,
        "senkou_span_b": grid.ichimoku.senkou_span_b,
        "rsi_period": grid.rsi.period,
        "atr_period": grid.atr.period,
    }
    places = np.column_stack(
        [(trials[name].to_numpy() - axis.start) // axis.step for name, axis in axes.items()]
    ).astype(np.int64)
    steps: NDArray[np.int64] = np.abs(places[:, None] - places[None, :]).sum(axis=2)
    return steps


def neighbours(
    trials: pd.DataFrame, trial: int, grid: IndicatorGrid, nearest: int = NEAREST
) -> pd.DataFrame:
    """Trials of the combinations nearest to a trial's, with the ``steps`` between them.

    Trials of the very same combination, with other hyperparameters, are none; of equally near
    ones the lower number comes first. Trials without a trade are left out.
    """
    (row,) = np.flatnonzero(trials["trial"].to_numpy() == trial)
    found = trials.assign(steps=grid_steps(trials, grid)[row])
    found = found[(found["steps"] > 0) & found["expectancy"].notna()]
    return found.sort_values(["steps", "trial"], ignore_index=True).head(nearest)


def neighbourhood(trials: pd.DataFrame, grid: IndicatorGrid) -> pd.DataFrame:
    """Each trial's expectancy beside its neighbours' mean.

    Returns
    -------
    One row a trial with a trade: ``trial``, ``expectancy``, ``neighbours`` (number), their
    ``mean`` expectancy (NaN without any), ``pruned``.
    """
    known = trials[trials["expectancy"].notna()]
    near = {number: neighbours(trials, number, grid)["expectancy"] for number in known["trial"]}
    return pd.DataFrame(
        {
            "trial": known["trial"],
            "expectancy": known["expectancy"],
            "neighbours": [len(near[number]) for number in known["trial"]],
            "mean": [near[number].mean() for number in known["trial"]],
            "pruned": known["pruned"],
        }
    ).reset_index(drop=True)


def stability(trials: pd.DataFrame, trial: int, grid: IndicatorGrid) -> Stability:
    """A trial beside its nearest neighbours."""
    near = neighbours(trials, trial, grid)
    own = trials.loc[trials["trial"] == trial, "expectancy"]
    return Stability(
        trial=trial,
        expectancy=float(own.iloc[0]),
        neighbours=len(near),
        steps=float(near["steps"].mean()),
        earning=int((near["expectancy"] > 0).sum()),
        mean=float(near["expectancy"].mean()),
    )


def parallel_coordinates(trials: pd.DataFrame, *, subtitle: str) -> Figure:
    """Every trial as a line over its parameters to its expectancy and SQN, which colours it.

    Each axis runs from its smallest to its largest value; pruned trials are dashed.
    """
    title = "Trials over their parameters"
    known = trials[trials["sqn"].notna()].sort_values("sqn")
    if known.empty:
        return empty_figure(title, subtitle, "no trials with an SQN")
    names = [*INDICATORS, *HYPERPARAMETERS, "expectancy", "sqn"]
    values = known[names].to_numpy(np.float64)
    low, high = np.nanmin(values, axis=0), np.nanmax(values, axis=0)
    spread = np.where(high > low, high - low, 1.0)
    heights = np.where(high > low, (values - low) / spread, 0.5)
    colours = ScalarMappable(Normalize(float(low[-1]), float(high[-1])), "viridis")
    figure = titled_figure(
        f"{title}: {len(known)} lines, a pruned trial's is dashed", subtitle, size=(13, 5.5)
    )
    axes = figure.add_subplot()
    for line, pruned, sqn in zip(heights, known["pruned"], known["sqn"], strict=True):
        axes.plot(
            range(len(names)), line, color=colours.to_rgba(sqn),
            linestyle="--" if pruned else "-", linewidth=1.0 if pruned else 1.8, alpha=0.9,
        )  # fmt: skip
    for place in range(len(names)):
        axes.axvline(place, color=FAINT, linewidth=0.8, zorder=0)
        for value, height, align in ((low[place], -0.03, "top"), (high[place], 1.03, "bottom")):
            axes.text(
                place, height, f"{value:.3g}", ha="center", va=align, fontsize=9, color=INK
            )  # fmt: skip
    axes.set_xticks(range(len(names)), [name.replace("_", " ") for name in names])
    axes.tick_params("x", labelsize=9, labelcolor=INK, length=0, pad=14)
    axes.set_yticks([])
    axes.set_ylim(-0.02, 1.02)
    axes.spines[:].set_visible(False)
    figure.colorbar(colours, ax=axes, label="SQN", aspect=40)
    return figure


def neighbourhood_figure(table: pd.DataFrame, winner: int, *, subtitle: str) -> Figure:
    """Each trial's expectancy against its neighbours' mean (:func:`neighbourhood`).

    On the diagonal a trial is as good as its neighbours; below the dotted line, it stands alone.
    """
    title = "Plateau or lonely spike"
    known = table[table["mean"].notna()]
    if known.empty:
        return empty_figure(title, subtitle, "no trial has a neighbour")
    figure = titled_figure(
        f"{title}: each trial beside the {NEAREST} nearest combinations", subtitle, size=(8, 6)
    )
    axes = styled(
        figure.add_subplot(), x="own expectancy (net R)", y="mean expectancy of neighbours (net R)"
    )
    both = known[["expectancy", "mean"]].to_numpy()
    ends = np.array([min(both.min(), 0.0), max(both.max(), 0.0)])
    axes.plot(ends, ends, color=FAINT, linewidth=0.8, linestyle="--", label="as its neighbours")
    axes.plot(
        [0, ends[1]], [0, PLATEAU_SHARE * ends[1]], color=FAINT, linewidth=0.8, linestyle=":",
        label=f"they earn {PLATEAU_SHARE:.0%} of it",
    )  # fmt: skip
    axes.axhline(0, color=FAINT, linewidth=0.8)
    axes.axvline(0, color=FAINT, linewidth=0.8)
    for pruned, colour, label in ((False, GAIN, "walked to the end"), (True, FAINT, "pruned")):
        of = known[known["pruned"] == pruned]
        axes.scatter(of["expectancy"], of["mean"], s=36, color=colour, label=f"{label} ({len(of)})")
    best = known[known["trial"] == winner]
    axes.scatter(
        best["expectancy"], best["mean"], s=160, facecolors="none", edgecolors=MODEL,
        linewidths=2, label=f"trial {winner}, the candidate",
    )  # fmt: skip
    axes.legend(fontsize=9, framealpha=0.85, edgecolor="none", loc="upper left")
    return figure


def conclusion(trials: pd.DataFrame, near: Stability, metrics: Mapping[str, float]) -> str:
    """Which combinations work, and how sure one may be: sentences in Markdown.

    Parameters
    ----------
    near
        Of the campaign's candidate.
    metrics
        Of the campaign's run: deflated Sharpe, PBO, and the figures of the confirmation.
    """
    combinations = len(trials.drop_duplicates(INDICATORS))
    earning = trials["expectancy"] > 0
    clearly = trials["expectancy"] > CLEARLY * trials["standard_error"]
    best = trials.loc[trials["trial"] == near.trial].iloc[0]
    return "\n".join(
        (
            f"- **Which work?** Of {len(trials)} trials over {combinations} combinations "
            f"{earning.sum()} earn out of sample, {clearly.sum()} of them by more than "
            f"{CLEARLY:g} standard errors; pruned as hopeless: {trials['pruned'].sum()}.",
            f"- **The candidate**, trial {near.trial} ({_combination(best)}), made "
            f"{best['expectancy']:+.3f} ± {best['standard_error']:.3f} R a trade over "
            f"{best['trades']:.0f} trades, SQN {best['sqn']:.2f}.",
            f"- **Plateau or spike? {near.verdict.capitalize()}.** {_beside(near)}",
            f"- **How sure?** {_deflated(metrics.get('deflated_sharpe', math.nan))} "
            f"{_overfitting(metrics.get('probability_of_overfitting', math.nan))}",
            f"- **On the windows that the ranking has not seen** {_confirmation(metrics)}",
        )
    )


def _combination(trial: pd.Series) -> str:
    cloud = "/".join(f"{trial[name]}" for name in INDICATORS[:3])
    return f"Ichimoku {cloud}, RSI {trial['rsi_period']}, ATR {trial['atr_period']}"


def _beside(near: Stability) -> str:
    if not near.neighbours:
        return "No other combination was walked."
    share = (
        f", {near.mean / near.expectancy:.0%} of its own" if near.expectancy > 0 < near.mean else ""
    )
    return (
        f"Of the {near.neighbours} nearest other trials ({near.steps:.1f} steps of the grid away "
        f"on average) {near.earning} earn; their mean is {near.mean:+.3f} R{share}."
    )


def _deflated(probability: float) -> str:
    if math.isnan(probability):
        return "The deflated Sharpe ratio is not known."
    return (
        f"The deflated Sharpe ratio is {probability:.3f}: "
        + ("it is likely" if probability > 0.95 else "it is not settled")
        + " that the candidate beats the luckiest of as many trials without skill."
    )


def _overfitting(probability: float) -> str:
    if math.isnan(probability):
        return "The probability of overfitting is not known."
    return (
        f"The probability of overfitting is {probability:.2f}: in so many of all ways to halve "
        "the windows the trial that was best in one half was below the median in the other."
    )


def _confirmation(metrics: Mapping[str, float]) -> str:
    trades = metrics.get("confirmation_trades", 0)
    if not trades:
        return "it was not judged: no trial was left to win."
    return (
        f"it made {metrics.get('confirmation_expectancy', math.nan):+.3f} ± "
        f"{metrics.get('confirmation_standard_error', math.nan):.3f} R over {trades:.0f} trades."
    )
