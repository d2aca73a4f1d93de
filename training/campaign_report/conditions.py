"""What would have to be true for the strategy to be worth trading: sentences with figures."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from strategy import performance
from training.campaign_report import words
from training.campaign_report.costs import CostCase, per_side_for
from training.campaign_report.findings import Findings, Floats
from training.campaign_report.outlook import CONFIDENCE, lower_bound, trades_to_tell

USUAL_DEFLATED_SHARPE = 0.95
COIN_FLIP = 0.5


def conditions(findings: Findings, *, synthetic: bool) -> list[str]:
    """The sentences in the order in which they matter."""
    return [
        *(["It would have to be found on a real market. This one was invented by a computer, "
           "and nothing that happened on it says what will happen to money."] if synthetic else []),
        *_on_costs(findings),
        *_on_certainty(findings),
        *_on_gates(findings),
        *_on_random_entries(findings),
        *_on_luck(findings),
        "Orders would have to fill as they did here: decided at the close of a candle, filled at "
        "the open of the next, stops filled at their price or at the open beyond it.",
    ]  # fmt: skip


def _on_costs(findings: Findings) -> Iterator[str]:
    charged, most = findings.market.config.costs.per_side, findings.break_even
    if math.isnan(most):
        if len(findings.candidate.r):
            yield (
                "It would have to earn after costs: the campaign charged neither fee nor "
                "slippage, so what it shows is before them."
            )
        return
    if most <= 0:
        yield (
            f"Its trades would have to earn before costs: without any fee or slippage the "
            f"average one still makes {words.in_r(findings.cases[0].expectancy, 3)}, so that no "
            "broker is cheap enough."
        )
    elif most < charged:
        yield (
            f"Fee and slippage would have to fall below {words.per_side(most)} a fill for its "
            f"average trade to earn anything. The campaign charged {words.per_side(charged)}, "
            f"{charged / most:.1f} times as much."
        )
    else:
        yield (
            f"Fee and slippage would have to stay below {words.per_side(most)} a fill, where the "
            f"average trade earns nothing. The campaign charged {words.per_side(charged)}, so "
            f"they may grow {most / charged:.1f}-fold."
        )


def _on_certainty(findings: Findings) -> Iterator[str]:
    hidden, everything = findings.hidden_r, findings.candidate.r
    r, which = (hidden, "unseen") if len(hidden) > 1 else (everything, "out-of-sample")
    mean, deviation = performance.expectancy(r), _deviation(r)
    if math.isnan(deviation):
        yield (
            "It would have to trade: "
            f"{words.counted(len(everything), 'trade')} cannot tell an edge from chance."
        )
        return
    bound, needed = lower_bound(r), trades_to_tell(mean, deviation)
    seen = (
        f"Over its {words.counted(len(r), f'{which} trade')} it made "
        f"{words.with_error(mean, performance.standard_error(r))} on average; with "
        f"{words.share(CONFIDENCE)} confidence the truth lies above {words.in_r(bound, 3)}"
    )
    if bound > 0:
        yield f"The future would have to be like these months. {seen}, and so above zero."
    elif math.isinf(needed):
        yield (
            f"Its trades would have to turn. {seen}. With a negative average no number of trades "
            "like these would ever show a profit."
        )
    else:
        more, pace = needed - len(r), len(everything) / findings.months
        yield (
            f"The average would have to last until it can be told from zero. {seen}, which is not "
            f"above zero. At this average and spread ({deviation:.2f} R a trade) that takes "
            f"{needed:,.0f} trades, {words.counted(math.ceil(more), 'more', 'more')} than there "
            f"are: {_span(more / pace)} at its pace of {pace:.0f} a month."
        )


def _on_gates(findings: Findings) -> Iterator[str]:
    """Of the expectancies that miss what the incubation asks: how far, and what would do."""
    rule, hidden = findings.market.config.incubation_promotion, findings.hidden_r
    if len(hidden) < rule.min_trades:
        yield (
            f"It would have to make at least {rule.min_trades} trades in the hidden months; it "
            f"made {len(hidden)}."
            if findings.candidate.eligible
            else "A setting would have to survive the search before any could be confirmed in "
            "the hidden months."
        )
    parts = {min(rule.last_trades, len(hidden)): "last"} | {len(hidden): ""}
    for last, which in parts.items():
        r = hidden[-last:]
        missing = rule.expectancy_threshold - performance.expectancy(r)
        if missing >= 0:
            count = words.counted(len(r), f"{which} unseen trade".strip())
            threshold = words.in_r(rule.expectancy_threshold, 3)
            yield (
                f"The {count} would have had to earn more than {threshold} on average, "
                f"{words.number(missing, 3)} R more than they did. "
                + _costs_that_do(findings.cases, len(r), rule.expectancy_threshold)
            )


def _costs_that_do(cases: Sequence[CostCase], last: int, threshold: float) -> str:
    """What fills might cost for the last trades to earn so much."""
    most = per_side_for([case._replace(r=case.r[-last:]) for case in cases], threshold)
    if math.isnan(most):
        return ""
    if most <= 0:
        return "Even without fee and slippage they would not have."
    return f"With fills at {words.per_side(most)} they would have."


def _on_random_entries(findings: Findings) -> Iterator[str]:
    entries, rule = findings.candidate.simulation.entries, findings.market.config.monte_carlo_config
    if not entries.share_positive > rule.confidence_level:
        yield (
            "Its exits would have to carry it: more than "
            f"{words.share(rule.confidence_level)} of the simulations with random entries would "
            f"have to earn. {words.share(entries.share_positive, 1)} did, with "
            f"{words.in_r(entries.mean_expectancy, 3)} a trade on average. Other exit rules, a "
            "slower timeframe or lower fees change that; the preflight shows which."
        )


def _on_luck(findings: Findings) -> Iterator[str]:
    candidate = findings.candidate
    tried = words.counted(len(findings.trials), "setting")
    if candidate.deflated_sharpe < USUAL_DEFLATED_SHARPE:
        yield (
            f"Its result would have to stand out from luck. That it beats the luckiest of {tried} "
            f"without any skill has a probability of {words.share(candidate.deflated_sharpe, 1)}; "
            f"{words.share(USUAL_DEFLATED_SHARPE)} is what is usually asked."
        )
    if candidate.overfitting >= COIN_FLIP:
        yield (
            "The search would have to find what lasts: in "
            f"{words.share(candidate.overfitting)} of the ways to halve the history, the best "
            "setting of one half fell among the worse ones in the other."
        )


def _deviation(r: Floats) -> float:
    return float(np.std(r, ddof=1)) if len(r) > 1 else math.nan


def _span(months: float) -> str:
    if months < 1:
        return "less than a month"
    return f"{months:,.0f} months" if months < 24 else f"{months / 12:,.0f} years"
