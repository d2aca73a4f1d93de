"""What stands where there is nothing to draw."""

from __future__ import annotations

from matplotlib.figure import Figure

from training.report import FAINT, titled_figure


def empty_figure(title: str, subtitle: str, why: str) -> Figure:
    """A figure that says why it shows nothing."""
    figure = titled_figure(title, subtitle, size=(10, 3))
    axes = figure.add_subplot()
    axes.axis("off")
    axes.text(0.5, 0.5, why, ha="center", va="center", fontsize=14, color=FAINT)
    return figure
