"""The gates between a strategy's stages: figures beside thresholds, each with its verdict."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from strategy.config import Gravedigger, IncubationPromotion, ProductionPromotion
from strategy.performance import expectancy, standard_error


@dataclass(frozen=True)
class GateVerdict:
    """A figure beside its threshold; an unknown figure (NaN) never passes."""

    name: str
    figure: float
    threshold: float
    comparison: Literal[">", ">=", "<", "<="]
    detail: str

    @property
    def passed(self) -> bool:
        """Whether the figure is on the right side of the threshold."""
        return bool(_COMPARISONS[self.comparison](self.figure, self.threshold))

    @property
    def text(self) -> str:
        """For people, for example ``failed: 0.0031, wanted > 0.01 (30 trades, ...)``."""
        figure = "unknown" if math.isnan(self.figure) else f"{self.figure:.4g}"
        outcome = "passed" if self.passed else "failed"
        return f"{outcome}: {figure}, wanted {self.comparison} {self.threshold:g} ({self.detail})"


_COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}


def verdict_tags(verdicts: Sequence[GateVerdict]) -> dict[str, str]:
    """Tags ``gate.<name>`` that say of each gate its verdict, figure and threshold."""
    return {f"gate.{verdict.name}": verdict.text for verdict in verdicts}


def incubation_gates(
    confirmation_r: NDArray[np.float64], rule: IncubationPromotion
) -> tuple[GateVerdict, ...]:
    """Judge the gate None -> Staging on the trades of the confirmation windows.

    The expectancy is judged twice, because the rule's few trades say little: 30 trades with a
    standard deviation of 1.6 R have a standard error of 0.3 R.

    Parameters
    ----------
    confirmation_r
        Net R-multiples of all confirmation trades in order of time, shape (n,).

    Returns
    -------
    Verdicts on the number of trades within the rule's period, on their expectancy, and on the
    expectancy of all confirmation trades. All must pass.
    """
    last = confirmation_r[-rule.last_trades :]
    threshold, trades = rule.expectancy_threshold, "confirmation trades"
    return (
        _enough("incubation_trades", last, rule.min_trades, f"{trades} within {rule.period}"),
        _expectancy(f"incubation_{rule.period}", last, threshold, ">", trades),
        _expectancy("incubation_all_trades", confirmation_r, threshold, ">", trades),
    )


def production_gates(
    paper_r: NDArray[np.float64],
    staged: datetime | None,
    now: datetime,
    rule: ProductionPromotion,
) -> tuple[GateVerdict, ...]:
    """Judge the gate Staging -> Production on paper trades.

    Parameters
    ----------
    paper_r
        Net R-multiples of all paper trades of the strategy, across its retrains, in order of
        time, shape (n,).
    staged
        When the strategy first entered Staging, UTC; None: unknown, which does not pass.

    Returns
    -------
    Verdicts on the time in Staging, on the number of trades within the rule's period and on
    their expectancy. All must pass.
    """
    last = paper_r[-rule.last_trades :]
    months, threshold = rule.minimum_duration_months, rule.expectancy_threshold
    trades = "paper trades"
    return (
        _duration("production_duration", staged, now, months, "in Staging"),
        _enough("production_trades", last, rule.min_trades, f"{trades} within {rule.period}"),
        _expectancy(f"production_{rule.period}", last, threshold, ">", trades),
    )


def gravedigger_gates(
    live_r: NDArray[np.float64], promoted: datetime | None, now: datetime, rule: Gravedigger
) -> tuple[GateVerdict, ...]:
    """Judge the gate Production -> Archived: a strategy that passes all of it is buried.

    It is judged on all of its live trades, not on the last few: 30 trades cannot tell a bad
    month from a lost edge, and a strategy that once earned enough may give some of it back.

    Parameters
    ----------
    live_r
        Net R-multiples of all live trades of the strategy, across its retrains, in order of
        time, shape (n,).
    promoted
        When the strategy first entered Production, UTC; None: unknown, which buries nothing.

    Returns
    -------
    Verdicts on the time in Production, on the number of trades, and on whether their expectancy
    lies below the threshold.
    """
    months, threshold = rule.minimum_duration_months, rule.expectancy_threshold
    trades = "live trades"
    return (
        _duration("gravedigger_duration", promoted, now, months, "in Production"),
        _enough("gravedigger_trades", live_r, rule.min_trades, trades),
        _expectancy("gravedigger_expectancy", live_r, threshold, "<", trades),
    )


def months_after(time: datetime, months: int) -> datetime:
    """The same day and hour so many calendar months later, or the last day of a shorter month."""
    later: datetime = (pd.Timestamp(time) + pd.DateOffset(months=months)).to_pydatetime()
    return later


def months_between(start: datetime, end: datetime) -> float:
    """Calendar months from ``start`` to a later ``end``; the last, unfinished one as a share.

    At least ``n`` exactly if ``end`` is not before ``months_after(start, n)``.
    """
    whole = max(0, 12 * (end.year - start.year) + end.month - start.month)
    if whole and months_after(start, whole) > end:
        whole -= 1
    begun = months_after(start, whole)
    return whole + (end - begun) / (months_after(start, whole + 1) - begun)


def _duration(
    name: str, start: datetime | None, now: datetime, months: int, where: str
) -> GateVerdict:
    since = "since when is unknown" if start is None else f"since {start:%Y-%m-%d %H:%M} UTC"
    figure = math.nan if start is None else months_between(start, now)
    return GateVerdict(name, figure, float(months), ">=", f"calendar months {where}, {since}")


def _enough(name: str, r: NDArray[np.float64], wanted: int, which: str) -> GateVerdict:
    return GateVerdict(name, float(len(r)), float(wanted), ">=", which)


def _expectancy(
    name: str,
    r: NDArray[np.float64],
    threshold: float,
    comparison: Literal[">", "<"],
    which: str,
) -> GateVerdict:
    error = standard_error(r)
    shown = "unknown" if math.isnan(error) else f"{error:.2g} R"
    return GateVerdict(
        name,
        expectancy(r),
        threshold,
        comparison,
        f"R per trade over {len(r)} {which}, standard error {shown}",
    )
