"""Axes in the style of the campaign's own figures (:mod:`training.report`)."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from training.report import FAINT, GRID, INK, titled_figure


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


def empty_figure(title: str, subtitle: str, why: str) -> Figure:
    """A figure that says why it shows nothing."""
    figure = titled_figure(title, subtitle, size=(10, 3))
    axes = figure.add_subplot()
    axes.axis("off")
    axes.text(0.5, 0.5, why, ha="center", va="center", fontsize=14, color=FAINT)
    return figure
