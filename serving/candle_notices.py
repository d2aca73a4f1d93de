"""What has come of a download of candles, and what of it the operator is told."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pandas as pd

from store.candle_archive import Gap
from store.notifications import notify_once
from strategy.errors import RetryError, TradingSystemError

if TYPE_CHECKING:
    from serving.data_downloader import Downloader


_SHOWN = 20
"""Times that a message lists."""


@dataclass
class Outcome:
    """What a download of one market has done so far."""

    asset: str
    timeframe: str
    added: int = 0
    """Number of candles that were not there before."""
    revised: list[pd.Timestamp] = field(default_factory=list)
    """Open times (UTC) of candles that were there with other values."""
    gaps: list[Gap] = field(default_factory=list)
    """What is missing, once it is complete."""
    complete: bool = False
    error: TradingSystemError | None = None

    @property
    def market(self) -> str:
        return f"{self.asset} {self.timeframe}"

    @property
    def worth_retrying(self) -> bool:
        """Whether another call may do more."""
        return not self.complete and (self.error is None or isinstance(self.error, RetryError))

    @property
    def record(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "asset": self.asset,
            "timeframe": self.timeframe,
            "added": self.added,
            "revised": [time.isoformat() for time in self.revised],
            "gaps": [
                {"after": gap.after.isoformat(), "missing_bars": gap.missing_bars}
                for gap in self.gaps
            ],
            "complete": self.complete,
            "error": None if self.error is None else str(self.error),
        }


def tell_outcome(outcome: Outcome, downloader: Downloader) -> None:
    """Tell the operator what went wrong: a failure once a day, all else once."""
    now = downloader.source.now()

    def tell(what: str, subject: str, text: str) -> None:
        key = f"candles/{outcome.asset}/{outcome.timeframe}/{what}"
        subject = f"{outcome.market}: {subject}"
        notify_once(downloader.state, downloader.notifier, key, subject, text, now)

    if outcome.error is not None:
        after = "It is tried again." if outcome.worth_retrying else "It needs you."
        text = f"{outcome.error}\n\n{after} What was downloaded is kept."
        tell(f"failed/{now:%Y-%m-%d}", "candles cannot be downloaded", text)
    if revised := outcome.revised:
        key = f"revised/{now:%Y-%m-%d}/{revised[0].isoformat()}/{len(revised)}"
        text = (
            "Binance gives other values now for the candles that open at\n"
            + "\n".join(f"  {time}" for time in revised[:_SHOWN])
            + (f"\n  and {len(revised) - _SHOWN} more" if len(revised) > _SHOWN else "")
            + "\n\nThe new values are kept. Features and signals of later bars may differ from "
            "those at the time."
        )
        tell(key, f"{len(revised)} candle(s) revised", text)
    limit = downloader.config.candles.max_gap_bars
    for gap in outcome.gaps:
        if gap.missing_bars > limit:
            text = (
                f"{gap.missing_bars} candles are missing after {gap.after}, and "
                f"candles.max_gap_bars is {limit}: nothing is trained or traded on them.\n\n"
                "They are asked for again in every download. If Binance never had them, raise "
                "the limit in config.json."
            )
            tell(f"gap/{gap.after.isoformat()}", f"gap of {gap.missing_bars} candles", text)
