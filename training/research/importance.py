"""Which features a strategy listens to, and when: SHAP by window and by regime of the market.

A campaign explains its candidate on the first training window. Here each window's model, made
again from the seed, is explained on the bars that it has not seen: its validation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from strategy.features import FEATURE_NAMES
from strategy.windows import Window
from training.candidate import expected_directions
from training.explain import BUY, SELL, TOP, Explanation, explain, ranking
from training.report import FAINT, GAIN, INK, LOSS, styled, titled_figure
from training.research.regimes import Regime, of_kind
from training.walk_forward import PreparedMarket, TrialParameters

ONLY_TIMES = 1.5
"""A feature matters in one regime only if its share there is so many times that elsewhere."""
BARS_PER_WINDOW = 720
"""That many bars of a window are explained: its neighbours say nearly the same of a market."""
FEW_VALUES = 5
"""A feature of so few values is drawn with its dots spread a little."""
VOLATILITY_COLOURS = {"calm": GAIN, "usual": FAINT, "wild": LOSS}
TREND_COLOURS = {"falling": LOSS, "sideways": FAINT, "rising": GAIN}

Masks = Mapping[Regime, NDArray[np.bool_]]
"""By regime: the bars that are of it (:func:`training.research.regimes.regimes`)."""


class WindowExplanation(NamedTuple):
    """SHAP values of one window's model on its validation bars."""

    window: int
    bars: NDArray[np.int64]
    """Positions in the candle frame of the rows explained, shape (n,)."""
    explanation: Explanation


def explain_windows(
    market: PreparedMarket, parameters: TrialParameters, windows: Sequence[Window]
) -> list[WindowExplanation]:
    """Fit each window's model again, and explain it on its validation bars.

    Of a longer validation every second, third or further bar is explained, so that no more than
    :data:`BARS_PER_WINDOW` are left.
    """
    matrix, usable = market.features(parameters.indicators)
    explained = []
    for window in windows:
        booster = market.fit(parameters, window.train_start, window.train_end)
        inside = slice(window.train_end, window.validation_end)
        bars = window.train_end + np.flatnonzero(usable[inside])
        bars = bars[:: -(-len(bars) // BARS_PER_WINDOW)]
        values = explain(booster, matrix[bars], FEATURE_NAMES, expected_directions())
        explained.append(WindowExplanation(window.number, bars, values))
    return explained


def pooled(explained: Sequence[WindowExplanation]) -> Explanation:
    """All windows' rows as one explanation; ``base`` is the mean over the windows."""
    parts = [each.explanation for each in explained]
    return Explanation(
        feature_names=parts[0].feature_names,
        features=np.concatenate([part.features for part in parts]),
        values=np.concatenate([part.values for part in parts]),
        base=np.mean([part.base for part in parts], axis=0),
        expected_directions=parts[0].expected_directions,
    )


def by_window(explained: Sequence[WindowExplanation]) -> pd.DataFrame:
    """Share of all importance that each feature has in each window.

    Returns
    -------
    A row a feature, the most important over all windows first; a column a window's number.
    """
    shares = pd.DataFrame(
        {each.window: _by_feature(each.explanation)["share"] for each in explained}
    )
    return _most_important_first(shares)


def by_regime(explained: Sequence[WindowExplanation], masks: Masks) -> pd.DataFrame:
    """Share of all importance that each feature has in each regime.

    Returns
    -------
    A row a feature, the most important over all regimes first; a column a regime (kind and
    name), NaN where none of the explained bars is of it.
    """
    whole = pooled(explained)
    bars = np.concatenate([each.bars for each in explained])
    shares = {
        regime: _by_feature(_rows(whole, mask[bars]))["share"] if mask[bars].any() else np.nan
        for regime, mask in masks.items()
    }
    table = pd.DataFrame(shares, index=list(whole.feature_names))
    table.columns = pd.MultiIndex.from_tuples(list(shares), names=["kind", "regime"])
    return _most_important_first(table)


def contrasts(shares: pd.DataFrame, top: int = TOP) -> pd.DataFrame:
    """How much more the leading features of a regime matter there than in others of its kind.

    Parameters
    ----------
    shares
        Of :func:`by_regime`.

    Returns
    -------
    A row for each of the first ``top`` features of a regime that matters most there:
    ``feature``, ``kind``, ``regime``, its ``share`` there, ``elsewhere`` (the largest in the
    others), ``times`` the one is as large as the other, the largest first.
    """
    found = []
    for kind in shares.columns.get_level_values("kind").unique():
        of = shares[kind].dropna(axis="columns", how="all")
        for regime in of.columns if of.shape[1] > 1 else ():
            elsewhere = of.drop(columns=regime).max(axis="columns")
            for feature in of[regime].nlargest(top).index:
                share, other = float(of.loc[feature, regime]), float(elsewhere[feature])
                if share > other:
                    times = share / other if other else math.inf
                    found.append((feature, kind, regime, share, other, times))
    names = ["feature", "kind", "regime", "share", "elsewhere", "times"]
    table = pd.DataFrame(found, columns=names)
    return table.sort_values("times", ascending=False, kind="stable", ignore_index=True)


def against_expectation(explained: Sequence[WindowExplanation], top: int = TOP) -> pd.DataFrame:
    """The most important features of which theory expects a direction, and how they work.

    Returns
    -------
    The first ``top`` of them, by ``share`` of all importance over all windows: ``feature``,
    ``share``, ``expected`` (1: higher is bullish, -1: bearish), ``correlation`` (Spearman's)
    with its contribution to buy less sell, ``against_theory`` over all windows, and in how many
    windows it worked ``with`` and ``against`` what is expected; in the others it had no clear
    direction.
    """
    table = ranking(pooled(explained))
    table = table[table["expected_direction"] != 0].head(top).set_index("feature")
    signs = pd.DataFrame(
        {each.window: _by_feature(each.explanation)["direction"] for each in explained}
    )
    worked = signs.loc[table.index].mul(table["expected_direction"], axis="index")
    return pd.DataFrame(
        {
            "share": table["share"],
            "expected": table["expected_direction"],
            "correlation": table["correlation"],
            "against_theory": table["against_theory"],
            "with": (worked > 0).sum(axis="columns"),
            "against": (worked < 0).sum(axis="columns"),
        }
    ).reset_index()


def window_figure(shares: pd.DataFrame, *, subtitle: str, top: int = 15) -> Figure:
    """The first features' share of importance in every window, as a heat map."""
    of = shares.head(top)
    figure = titled_figure("Importance by window (SHAP, unseen bars)", subtitle, size=(11, 6))
    axes = styled(figure.add_subplot(), x="walk-forward window")
    axes.grid(False)
    image = axes.imshow(of.to_numpy(), cmap="Blues", vmin=0, aspect="auto")
    axes.set_xticks(range(of.shape[1]), [str(number) for number in of.columns])
    axes.set_yticks(range(len(of)), list(of.index))
    figure.colorbar(image, ax=axes, label="share of all importance", aspect=40, format="{x:.0%}")
    return figure


def regime_figure(shares: pd.DataFrame, *, subtitle: str, top: int = 12) -> Figure:
    """The first features' share of importance in every regime, as bars side by side."""
    of = shares.head(top).iloc[::-1]
    figure = titled_figure(
        "Importance by regime of the market (SHAP, unseen bars)", subtitle, size=(13, 6.5)
    )
    panels = figure.subplots(1, 2, sharey=True)
    colours = {"volatility": VOLATILITY_COLOURS, "trend": TREND_COLOURS}
    for axes, (kind, by_name) in zip(panels, colours.items(), strict=True):
        styled(axes, x="share of all importance in the regime", title=kind)
        axes.grid(False, axis="y")
        for place, regime in enumerate(of_kind(kind)):
            heights = np.arange(len(of)) + 0.26 * (1 - place)
            axes.barh(
                heights, of[regime], height=0.24, color=by_name[regime.name], label=regime.name
            )  # fmt: skip
        axes.xaxis.set_major_formatter("{x:.0%}")
        axes.legend(fontsize=9, framealpha=0.85, edgecolor="none", loc="lower right")
    panels[0].set_yticks(range(len(of)), list(of.index))
    return figure


def dependence_figure(
    explained: Sequence[WindowExplanation],
    features: Sequence[str],
    masks: Masks,
    rng: np.random.Generator,
    *,
    subtitle: str,
    max_rows: int = 3000,
) -> Figure:
    """What a feature's value adds to buy less sell, in calm and in wild markets.

    At most ``max_rows`` random rows are drawn; each axis shows the middle 98 % of the values.
    Above 0 the feature speaks for buying.
    """
    whole = pooled(explained)
    bars = np.concatenate([each.bars for each in explained])
    rows = np.sort(rng.choice(len(bars), size=min(len(bars), max_rows), replace=False))
    margin = whole.values[rows, BUY] - whole.values[rows, SELL]
    columns = min(3, len(features))
    lines = -(-len(features) // columns)
    figure = titled_figure(
        "What a feature's value says (SHAP, buy less sell, log-odds)", subtitle,
        size=(13, 1 + 3.2 * lines),
    )  # fmt: skip
    panels = np.ravel(figure.subplots(lines, columns, squeeze=False))
    for axes in panels[len(features) :]:
        axes.axis("off")
    for axes, feature in zip(panels, features, strict=False):
        column = whole.feature_names.index(feature)
        values = whole.features[rows, column]
        if len(np.unique(values)) <= FEW_VALUES:
            values = values + rng.uniform(-0.15, 0.15, len(values))  # or its dots hide each other
        expected = {1: "theory: higher is bullish", -1: "theory: higher is bearish"}
        styled(axes, x=feature, title=expected.get(int(whole.expected_directions[column]), ""))
        for name, colour in VOLATILITY_COLOURS.items():
            of = masks[Regime("volatility", name)][bars[rows]]
            axes.scatter(values[of], margin[of, column], s=5, color=colour, alpha=0.5, linewidths=0)
        low, high = np.quantile(values, [0.01, 0.99])
        if high > low:
            room = 0.03 * (high - low)
            axes.set_xlim(low - room, high + room)
        axes.axhline(0, color=INK, linewidth=0.8)
    handles = [
        panels[0].scatter([], [], s=20, color=colour, label=f"{name} market")
        for name, colour in VOLATILITY_COLOURS.items()
    ]
    panels[0].legend(handles=handles, fontsize=8, framealpha=0.85, edgecolor="none")
    return figure


def conclusion(
    windows: pd.DataFrame, theory: pd.DataFrame, contrast: pd.DataFrame, top: int = TOP
) -> str:
    """Which features matter, and when: sentences in Markdown.

    Parameters
    ----------
    windows, theory, contrast
        Of :func:`by_window`, :func:`against_expectation` and :func:`contrasts`.
    """
    mean = windows.mean(axis="columns")
    leaders = ", ".join(f"`{name}` ({mean[name]:.1%})" for name in windows.index[:3])
    first = {number: set(windows[number].nlargest(top).index) for number in windows}
    always = [name for name in windows.index if all(name in of for of in first.values())]
    opposed = theory[theory["against_theory"]]
    return "\n".join(
        (
            f"- **Which matter?** {leaders} lead over {windows.shape[1]} windows; the first {top} "
            f"features hold {mean.head(top).sum():.0%} of all importance.",
            f"- **Always the same?** Among the first {top} of every window: {len(always)}"
            f"{_named(always)}.",
            f"- **In one regime only?** {_one_regime(contrast)}",
            f"- **Against theory?** Of the {len(theory)} most important features of which theory "
            f"expects a direction, working the other way: {len(opposed)}{_opposed(opposed)}.",
        )
    )


def _named(features: Sequence[str]) -> str:
    return f" ({', '.join(f'`{name}`' for name in features)})" if features else ""


def _one_regime(table: pd.DataFrame) -> str:
    if table.empty:
        return "No feature matters more in one regime than in the others."
    only = table[table["times"] >= ONLY_TIMES]
    named = ", ".join(
        f"`{row.feature}` in {row.regime} markets ({row.share:.1%} of all importance, elsewhere "
        f"{row.elsewhere:.1%} at most)"
        for row in (only if len(only) else table).head(4).itertuples()
    )
    if only.empty:
        return f"None is {ONLY_TIMES:g} times as important in one. The nearest to it: {named}."
    return f"{ONLY_TIMES:g} times as important in one, or more: {len(only)}, first {named}."


def _opposed(table: pd.DataFrame) -> str:
    windows = (
        f"`{name}`, windows: {against}"
        for name, against in zip(table["feature"], table["against"], strict=True)
    )
    return f" ({', '.join(windows)})" if len(table) else ""


def _by_feature(explanation: Explanation) -> pd.DataFrame:
    return ranking(explanation).set_index("feature")


def _rows(explanation: Explanation, rows: NDArray[np.bool_]) -> Explanation:
    return Explanation(
        explanation.feature_names,
        explanation.features[rows],
        explanation.values[rows],
        explanation.base,
        explanation.expected_directions,
    )


def _most_important_first(shares: pd.DataFrame) -> pd.DataFrame:
    order = shares.mean(axis="columns").sort_values(ascending=False, kind="stable").index
    return shares.loc[order]
