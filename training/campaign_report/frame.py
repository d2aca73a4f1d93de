"""What stands at the top and at the bottom of every report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from training import html_page as html
from training.html_page import Html


@dataclass(frozen=True)
class Subject:
    """What was searched, and by what."""

    market: str
    """Asset and timeframe."""
    source: str
    """Where the candles are from, by name."""
    synthetic: bool
    origin: Mapping[str, str]
    """What makes it this campaign and no other: digests, versions, first and last candle."""

    @property
    def title(self) -> str:
        return f"Campaign report: {self.market}"


def masthead(subject: Subject) -> Html:
    """What was searched, and a warning if nobody can trade it."""
    warning = html.element(
        "p",
        html.element("strong", html.text("This market is synthetic. ")),
        html.text(
            "Its candles were made up by a computer to try the machinery. The page shows what a "
            "report looks like; it says nothing about any real market, and no money can be made "
            "here."
        ),
        class_="synthetic",
    )
    return html.joined(
        [
            html.element("h1", html.text(subject.title)),
            html.paragraph(
                f"Candles: {subject.source}, {subject.origin['first candle'][:10]} to "
                f"{subject.origin['last candle'][:10]} (UTC)",
                "subject",
            ),
            *([warning] if subject.synthetic else []),
        ]
    )


def origin(subject: Subject) -> Html:
    """By what it can be made again."""
    parts = (
        html.joined([html.text(f" · {name} "), html.element("code", html.text(value))])
        for name, value in subject.origin.items()
    )
    return html.element(
        "footer",
        html.paragraph(
            "Backtests are history. They do not promise what comes, and this page advises nobody "
            "to trade."
        ),
        html.element("p", html.text("Made from"), *parts),
    )
