"""The figures of a campaign: tables and arrays in, matplotlib figures out.

Every function returns a :class:`matplotlib.figure.Figure` of its own, made without pyplot, so
that nothing global is touched and any backend can save it. All of them take a ``subtitle``
without a default: it says on which candles a figure rests (real or synthetic), and no caller
can forget it. A figure of nothing says so instead of failing.

``trades`` is a table with one row a trade: ``window`` (number), ``entry_time`` and
``exit_time`` (UTC), ``side`` (1 long, -1 short), ``entry_price``, ``exit_price`` and ``risk``
(price), ``reason`` (text), ``r`` (net R). ``trials`` has one row a trial: ``tenkan_sen``,
``kijun_sen``, ``senkou_span_b``, ``rsi_period``, ``atr_period`` (bars), ``sqn``,
``expectancy`` (net R per trade), ``pruned`` (bool).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import CenteredNorm
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Patch
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from strategy import performance
from strategy.config import IndicatorParameters
from strategy.signal import CLASSES
from strategy.windows import Window

Floats = NDArray[np.float64]

INK, FAINT, GRID = "#22303c", "#66747f", "#e3e7ea"
GAIN, LOSS, MODEL, SHADE = "#2b6ca3", "#c1512f", "#c78a00", "#f6e7c1"
REASON_COLOURS = {
    "stop_loss": LOSS,
    "break_even": "#a9b3bb",
    "trailing_stop": GAIN,
    "window_end": MODEL,
    "closed": "#7a5ba6",
}
TITLE_FONT: dict[str, Any] = {"size": 13, "weight": "bold", "color": INK}
SUBTITLE_FONT: dict[str, Any] = {"size": 9, "color": FAINT}
CLASS_NAMES = {-1: "sell", 0: "neutral", 1: "buy"}
BIN_R = 0.25
"""Width of a bar of the R histogram."""


def equity_curve(
    trades: pd.DataFrame, windows: Sequence[Window], *, confirmation_windows: int, subtitle: str
) -> Figure:
    """Running sum of net R by exit time, over the validation windows.

    The last ``confirmation_windows``, which the ranking has not seen, are shaded.
    """
    title = "Equity curve, out of sample"
    if trades.empty:
        return _nothing(title, subtitle, "no trades")
    times, r = _by_exit(trades)
    equity = np.cumsum(r)
    figure = titled_figure(f"{title}: {equity[-1]:+.1f} R in {len(r)} trades", subtitle)
    axes = _axes(figure, x="exit time (UTC)", y="cumulative result (net R)")
    axes.axhline(0, color=FAINT, linewidth=0.8)
    axes.step(times, equity, where="post", color=GAIN, linewidth=1.4)
    _mark_windows(axes, windows, confirmation_windows, legend="upper left")
    return figure


def drawdown(
    trades: pd.DataFrame, windows: Sequence[Window], *, confirmation_windows: int, subtitle: str
) -> Figure:
    """Distance of the equity curve from its highest point so far, in net R (0 or below)."""
    title = "Drawdown, out of sample"
    if trades.empty:
        return _nothing(title, subtitle, "no trades")
    times, r = _by_exit(trades)
    equity = np.cumsum(r)
    below = equity - np.maximum.accumulate(np.maximum(equity, 0.0))
    figure = titled_figure(f"{title}: {performance.max_drawdown(r):.1f} R at the deepest", subtitle)
    axes = _axes(figure, x="exit time (UTC)", y="distance from the peak (net R)")
    axes.fill_between(times, below, step="post", color=LOSS, alpha=0.35, linewidth=0)
    axes.step(times, below, where="post", color=LOSS, linewidth=1.0)
    _mark_windows(axes, windows, confirmation_windows, legend="lower left")
    return figure


def r_histogram(trades: pd.DataFrame, *, subtitle: str) -> Figure:
    """Distribution of net R-multiples in bars of 0.25 R, by reason of exit."""
    title = "Distribution of R-multiples"
    if trades.empty:
        return _nothing(title, subtitle, "no trades")
    r = trades["r"].to_numpy(np.float64)
    first, last = np.floor(r.min() / BIN_R), np.floor(r.max() / BIN_R) + 1
    by_reason = {str(reason): group["r"].to_numpy() for reason, group in trades.groupby("reason")}
    figure = titled_figure(
        f"{title}: {r.mean():+.3f} ± {performance.standard_error(r):.3f} R per trade", subtitle
    )
    axes = _axes(figure, x="result (net R)", y=f"trades per {BIN_R} R")
    axes.hist(
        list(by_reason.values()),
        bins=(BIN_R * np.arange(first, last + 1)).tolist(),
        stacked=True,
        color=[REASON_COLOURS.get(reason, FAINT) for reason in by_reason],
        label=[f"{reason.replace('_', ' ')} ({len(of)})" for reason, of in by_reason.items()],
    )
    axes.axvline(0, color=FAINT, linewidth=0.8)
    axes.axvline(r.mean(), color=INK, linewidth=1.2, linestyle="--", label="mean")
    _legend(axes)
    return figure


def monte_carlo_fan(
    times: pd.DatetimeIndex,
    percentiles: Floats,
    levels: Sequence[float],
    model: Floats,
    *,
    subtitle: str,
) -> Figure:
    """Equity of random entries as a fan of percentiles, and the model's own beside it.

    Parameters
    ----------
    times
        Shape (n_times,), UTC.
    percentiles
        Shape (n_times, n_levels), cumulative net R.
    levels
        Shape (n_levels,), percent, increasing and symmetric: for example 5, 25, 50, 75, 95.
    model
        Shape (n_times,), cumulative net R of the model's trades; NaN where there is none.
    """
    title = "Random entries against the model"
    if len(times) == 0:
        return _nothing(title, subtitle, "no simulations")
    figure = titled_figure(f"{title}: equity under the same exits and costs", subtitle)
    axes = _axes(figure, x="time (UTC)", y="cumulative result (net R)")
    at = _utc(times)
    for lower in range(len(levels) // 2):
        upper = len(levels) - 1 - lower
        axes.fill_between(
            at, percentiles[:, lower], percentiles[:, upper], color=GAIN, alpha=0.18, linewidth=0,
            label=f"random, {levels[lower]:g}th to {levels[upper]:g}th percentile",
        )  # fmt: skip
    if len(levels) % 2:
        axes.plot(at, percentiles[:, len(levels) // 2], color=GAIN, label="random, median")
    axes.plot(at, model, color=MODEL, linewidth=1.8, label="model")
    axes.axhline(0, color=FAINT, linewidth=0.8)
    _date_axis(axes)
    _legend(axes)
    return figure


def monte_carlo_histogram(
    expectancies: Floats, model_expectancy: float, *, verdict: str, subtitle: str
) -> Figure:
    """Expectancy (net R per trade) of every random simulation, beside the model's own.

    ``verdict`` is the gate's figures, thresholds and outcome in words. Simulations without a
    trade (NaN) are left out.
    """
    title = "Expectancy of random entries"
    known = expectancies[np.isfinite(expectancies)]
    if len(known) == 0:
        return _nothing(title, subtitle, "no simulations with a trade")
    beaten = (known < model_expectancy).mean()
    figure = titled_figure(f"{title}: {(known > 0).mean():.1%} of simulations above 0", subtitle)
    axes = _axes(figure, x="expectancy (net R per trade)", y="simulations")
    axes.hist(known, bins="auto", color=GAIN, alpha=0.6)
    axes.axvline(0, color=FAINT, linewidth=0.8)
    axes.axvline(known.mean(), color=INK, linestyle="--", label=f"mean {known.mean():+.3f} R")
    if np.isfinite(model_expectancy):
        label = f"model {model_expectancy:+.3f} R, above {beaten:.1%} of simulations"
        axes.axvline(model_expectancy, color=MODEL, linewidth=2, label=label)
    _legend(axes, title=verdict, title_fontsize=9, alignment="left")
    return figure


def confusion_matrix(counts: NDArray[np.integer], *, subtitle: str) -> Figure:
    """What the market did (label, rows) against what the model said (signal, columns).

    ``counts`` has shape (3, 3), bars in the order sell, neutral, buy.
    """
    title = "Confusion matrix, out of sample"
    if counts.sum() == 0:
        return _nothing(title, subtitle, "no bars")
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    accuracy = np.trace(counts) / counts.sum()
    figure = titled_figure(f"{title}: {accuracy:.1%} of {counts.sum():,} bars right", subtitle)
    axes = _axes(figure, x="signal", y="label (what happened)")
    axes.grid(False)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    names = [CLASS_NAMES[value] for value in CLASSES]
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks(range(len(names)), names)
    for row, column in np.ndindex(counts.shape):
        axes.text(
            column, row, f"{counts[row, column]:,}\n{shares[row, column]:.1%} of row",
            ha="center", va="center", color="white" if shares[row, column] > 0.6 else INK,
        )  # fmt: skip
    return figure


def optuna_importance(shares: Mapping[str, float], *, subtitle: str) -> Figure:
    """Share of the objective's variance that each searched parameter explains."""
    title = "Importance of the searched parameters"
    if not shares:
        return _nothing(title, subtitle, "no importances: too few trials")
    names = sorted(shares, key=lambda name: shares[name])
    figure = titled_figure(title, subtitle)
    axes = _axes(figure, x="share of the variance of the objective (SQN)", y="")
    bars = axes.barh(names, [shares[name] for name in names], color=GAIN)
    axes.bar_label(bars, fmt=lambda share: f"{share:.1%}", padding=4, fontsize=9, color=INK)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.margins(x=0.08)
    axes.grid(False, axis="y")
    return figure


def parameter_heatmaps(trials: pd.DataFrame, *, subtitle: str) -> Figure:
    """Mean expectancy of all trials, the pruned ones included, over pairs of indicator periods."""
    title = "Mean expectancy over pairs of indicator parameters"
    known = trials[trials["expectancy"].notna()]
    if known.empty:
        return _nothing(title, subtitle, "no trials")
    pairs = list(itertools.combinations(IndicatorParameters._fields, 2))
    tables = [known.pivot_table(values="expectancy", index=a, columns=b) for a, b in pairs]
    largest = max(float(np.nanmax(np.abs(table.to_numpy()))) for table in tables)
    norm = CenteredNorm(0.0, halfrange=largest or 1.0)
    figure = titled_figure(
        f"{title} (net R per trade, {len(known)} trials)", subtitle, size=(15, 6.6)
    )
    panels = figure.subplots(2, 5).ravel()
    for axes, table, (row, column) in zip(panels, tables, pairs, strict=True):
        styled(axes, x=f"{column} (bars)", y=f"{row} (bars)")
        axes.grid(False)
        axes.set_facecolor(GRID)
        axes.imshow(table.to_numpy(), cmap="RdBu", norm=norm, aspect="auto", origin="lower")
        axes.set_xticks(range(table.shape[1]), [str(value) for value in table.columns])
        axes.set_yticks(range(table.shape[0]), [str(value) for value in table.index])
    figure.colorbar(
        ScalarMappable(norm, "RdBu"), ax=panels.tolist(), label="net R per trade", aspect=40
    )
    return figure


def trial_ranking(trials: pd.DataFrame, *, subtitle: str, listed: int = 12) -> Figure:
    """SQN of every trial from best to worst, and the parameters of the best."""
    title = "Ranking of the trials"
    ranked = trials[trials["sqn"].notna()].sort_values("sqn", ascending=False, kind="stable")
    if ranked.empty:
        return _nothing(title, subtitle, "no trials with enough trades to rank")
    figure = titled_figure(
        f"{title}: {len(ranked)} of {len(trials)} have an SQN", subtitle, size=(12, 6)
    )
    left, right = figure.subplots(1, 2, width_ratios=[1.6, 1])
    styled(left, x="rank", y="SQN (pooled out-of-sample trades)")
    rank = np.arange(1, len(ranked) + 1)
    pruned = ranked["pruned"].to_numpy(bool)
    for which, colour, name in ((~pruned, GAIN, "walked to the end"), (pruned, FAINT, "pruned")):
        label = f"{name} ({which.sum()})"
        left.scatter(rank[which], ranked["sqn"].to_numpy()[which], s=16, color=colour, label=label)
    left.axhline(0, color=FAINT, linewidth=0.8)
    _legend(left)
    right.axis("off")
    lines = ["  #  tenkan/kijun/senkou  RSI  ATR    SQN  net R"]
    for place, trial in enumerate(ranked.head(listed).to_dict("records"), start=1):
        ichimoku = f"{trial['tenkan_sen']}/{trial['kijun_sen']}/{trial['senkou_span_b']}"
        lines.append(
            f"{place:>3}  {ichimoku:<19} {trial['rsi_period']:>4} {trial['atr_period']:>4} "
            f"{trial['sqn']:>6.2f} {trial['expectancy']:>+6.3f}{' x' if trial['pruned'] else ''}"
        )
    lines.append("\n  x  pruned: judged on the windows it walked")
    right.text(0, 1, "\n".join(lines), va="top", family="monospace", fontsize=9, color=INK)
    return figure


def cost_sensitivity(
    per_side: Floats,
    expectancy: Floats,
    standard_error: Floats,
    *,
    charged: float,
    break_even: float,
    subtitle: str,
) -> Figure:
    """Expectancy of the same trades under other costs, with one standard error to each side.

    Parameters
    ----------
    per_side
        Fee and slippage of one fill, fractions of its notional, increasing.
    charged
        What the campaign itself charged.
    break_even
        Where the expectancy is zero; drawn if it is positive.
    """
    title = "Expectancy under other costs"
    if not np.isfinite(expectancy).any():
        return _nothing(title, subtitle, "no trades")
    figure = titled_figure(f"{title}: the same trades again", subtitle, size=(10, 4.2))
    axes = _axes(figure, x="fee and slippage of one fill", y="expectancy (net R per trade)")
    axes.axhline(0, color=FAINT, linewidth=0.8)
    axes.axvline(charged, color=FAINT, linewidth=0.8, linestyle=":", label=f"charged {charged:.3%}")
    axes.errorbar(
        per_side, expectancy, yerr=standard_error, color=GAIN, marker="o", linewidth=1.4, capsize=4,
        label="expectancy ± standard error",
    )  # fmt: skip
    if break_even > 0:
        axes.plot(
            [break_even], [0], color=MODEL, marker="D", markersize=9, linestyle="none",
            label=f"earns nothing at {break_even:.3%}",
        )  # fmt: skip
    axes.set_xticks(np.unique(per_side), [f"{level:.3%}" for level in np.unique(per_side)])
    _legend(axes)
    return figure


def neighbours(groups: Mapping[str, pd.DataFrame], *, subtitle: str) -> Figure:
    """Expectancy of the candidate and of trials ever further from it, each with its standard error.

    Parameters
    ----------
    groups
        By their labels from left to right, the candidate's first: one row a trial with
        ``expectancy``, ``standard_error`` (net R, NaN if unknown) and ``pruned``.
    """
    title = "The candidate and its neighbours in the grid"
    if not any(group["expectancy"].notna().any() for group in groups.values()):
        return _nothing(title, subtitle, "no trades")
    figure = titled_figure(title, subtitle, size=(10, 4.2))
    axes = _axes(figure, x="", y="expectancy (net R per trade)")
    axes.axhline(0, color=FAINT, linewidth=0.8)
    for place, group in enumerate(groups.values()):
        beside = np.linspace(-0.35, 0.35, len(group) + 2)[1:-1]
        pruned = group["pruned"].to_numpy(bool)
        for which, filled in ((~pruned, True), (pruned, False)):
            colour = MODEL if place == 0 else GAIN if filled else FAINT
            axes.errorbar(
                place + beside[which],
                group["expectancy"].to_numpy()[which],
                yerr=group["standard_error"].to_numpy()[which],
                color=colour,
                marker="o",
                markerfacecolor=colour if filled else "white",
                markersize=6 if place else 9,
                linestyle="none",
                elinewidth=0.9,
            )
    axes.set_xticks(range(len(groups)), [f"{name} ({len(of)})" for name, of in groups.items()])
    axes.set_xlim(-0.6, len(groups) - 0.4)
    axes.grid(False, axis="x")
    return figure


def titled_figure(title: str, subtitle: str, *, size: tuple[float, float] = (10, 5.5)) -> Figure:
    """An empty figure with its header; the axes get the room below it."""
    height = size[1]
    layout = ConstrainedLayoutEngine(rect=(0, 0, 1, 1 - 0.62 / height), w_pad=0.1, h_pad=0.08)
    figure = Figure(figsize=size, dpi=110, layout=layout, facecolor="white")
    for inches, text, font in ((0.12, title, TITLE_FONT), (0.40, subtitle, SUBTITLE_FONT)):
        figure.text(0.012, 1 - inches / height, text, ha="left", va="top", fontdict=font)
    return figure


def _nothing(title: str, subtitle: str, what: str) -> Figure:
    figure = titled_figure(title, subtitle)
    axes = figure.add_subplot()
    axes.axis("off")
    axes.text(0.5, 0.5, what, ha="center", va="center", fontsize=16, color=FAINT)
    return figure


def _axes(figure: Figure, *, x: str, y: str) -> Axes:
    axes = figure.add_subplot()
    styled(axes, x=x, y=y)
    return axes


def styled(axes: Axes, *, x: str = "", y: str = "", title: str = "") -> Axes:
    """The axes, with labels, a faint grid behind what is drawn, and no frame."""
    axes.set_xlabel(x, fontsize=10, color=INK)
    axes.set_ylabel(y, fontsize=10, color=INK)
    axes.set_title(title, fontsize=10, color=INK, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)
    axes.tick_params(labelsize=9, color=FAINT, labelcolor=INK)
    axes.grid(True, color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    return axes


def _mark_windows(
    axes: Axes, windows: Sequence[Window], confirmation_windows: int, legend: str
) -> None:
    """Borders and numbers of the validation windows; the confirmation windows shaded."""
    for window in windows:
        begin, end = _utc(
            pd.DatetimeIndex([window.validation_start_time, window.validation_end_time])
        )
        axes.axvline(begin, color=FAINT, linewidth=0.6, linestyle=":")
        if window.number > windows[-1].number - confirmation_windows:
            axes.axvspan(begin, end, color=SHADE, linewidth=0, zorder=0)
        axes.text(
            begin + (end - begin) / 2, 1.0, str(window.number), ha="center", va="bottom",
            transform=axes.get_xaxis_transform(), fontsize=8, color=FAINT,
        )  # fmt: skip
    if windows and confirmation_windows:
        shaded = Patch(color=SHADE, label="confirmation windows, hidden from the ranking")
        _legend(axes, handles=[shaded], loc=legend)
    _date_axis(axes)


def _legend(axes: Axes, **options: Any) -> None:
    axes.legend(fontsize=9, framealpha=0.85, edgecolor="none", **options)


def _date_axis(axes: Axes) -> None:
    locator = AutoDateLocator()  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]


def _by_exit(trades: pd.DataFrame) -> tuple[NDArray[np.datetime64], Floats]:
    ordered = trades.sort_values("exit_time", kind="stable")
    times = _utc(pd.DatetimeIndex(ordered["exit_time"]))
    return times, ordered["r"].to_numpy(np.float64)


def _utc(times: pd.DatetimeIndex) -> NDArray[np.datetime64]:
    """UTC times as matplotlib takes them without asking any global time zone."""
    return times.tz_convert("UTC").tz_localize(None).to_numpy()
