"""What the records show: how often gates pass where there is nothing, and where there is an edge.

Records hold what gates are judged by, not only their verdicts, so that other gates and other
thresholds are judged here on campaigns that were run before.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from registry.gates import GateVerdict
from strategy.config import Config
from strategy.performance import expectancy, mean_positive_p_value
from training.candidate import Evidence, gates
from training.random_entries import RandomEntries

CONFIDENCE = 0.95
SIGNIFICANT = 0.05
LIKELY = 0.95
"""From which deflated Sharpe ratio on luck is taken for unlikely."""
HALF = 0.5
"""A probability of overfitting below which choosing the best trial was better than a blind
choice.
"""

Floats = NDArray[np.float64]
Verdicts = Mapping[str, bool]
"""Of one campaign, by the name of the gate."""


@dataclass(frozen=True, eq=False)
class Campaign:
    """One record, as its gates need it."""

    market: str
    seed: int
    evidence: Evidence
    ranking_r: Floats
    """Net R of the leading trial's trades in the ranking windows."""
    confirmation_null: Floats
    """Expectancies of random entries in the hidden windows; none if no trial could win."""


class Rate(NamedTuple):
    """How many of some campaigns passed."""

    passed: int
    campaigns: int

    @property
    def share(self) -> float:
        """NaN without campaigns."""
        return self.passed / self.campaigns if self.campaigns else math.nan

    @property
    def upper_bound(self) -> float:
        """One-sided 95 % upper bound (Clopper and Pearson, 1934)."""
        from scipy import stats

        if self.passed >= self.campaigns:
            return 1.0
        left = self.campaigns - self.passed
        return float(stats.beta.ppf(CONFIDENCE, self.passed + 1, left))

    @property
    def interval(self) -> tuple[float, float]:
        """Two-sided 95 % interval (Clopper and Pearson, 1934)."""
        from scipy import stats

        tail = (1 - CONFIDENCE) / 2
        left = self.campaigns - self.passed
        low = float(stats.beta.ppf(tail, self.passed, left + 1)) if self.passed else 0.0
        high = float(stats.beta.ppf(1 - tail, self.passed + 1, left)) if left else 1.0
        return low, high


def campaign_of(record: Mapping[str, Any]) -> Campaign:
    """Read a record of :func:`training.calibration.campaign.calibrate`."""
    random = _floats(record["random_expectancies"])
    unknown = np.full(len(random), math.nan)
    no_equity = np.empty((len(random), 0), dtype=np.float32)
    entries = RandomEntries(random, unknown, unknown, unknown, unknown, no_equity)
    return Campaign(
        market=record["market"],
        seed=record["seed"],
        evidence=Evidence(
            trials=len(record["trials"]),
            pruned=sum(trial["pruned"] for trial in record["trials"]),
            eligible=record["eligible"],
            confirmation_r=_floats(r for window in record["confirmation_r"] for r in window),
            entries=entries,
            deflated_sharpe=_number(record["deflated_sharpe"]),
            overfitting=_number(record["overfitting"]),
        ),
        ranking_r=_floats(r for window in record["ranking_r"] for r in window),
        confirmation_null=_floats(record["random_confirmation_expectancies"]),
    )


def default_gates(campaign: Campaign, config: Config) -> tuple[GateVerdict, ...]:
    """Those that a strategy must pass."""
    return gates(campaign.evidence, config)


def shown_gates(campaign: Campaign) -> tuple[GateVerdict, ...]:
    """Gates that could be made of figures that are only shown."""
    evidence = campaign.evidence
    confirmed = evidence.confirmation_r
    everything = np.concatenate([campaign.ranking_r, confirmed])
    return (
        GateVerdict(
            "model_against_random",
            null_p_value(expectancy(everything), evidence.entries.expectancy),
            SIGNIFICANT,
            "<",
            "share of its random entries that do as well as the model, all windows",
        ),
        GateVerdict(
            "confirmation_against_random",
            null_p_value(expectancy(confirmed), campaign.confirmation_null),
            SIGNIFICANT,
            "<",
            "the same in the hidden windows alone",
        ),
        GateVerdict(
            "confirmation_p_value",
            mean_positive_p_value(confirmed),
            SIGNIFICANT,
            "<",
            "t-test of mean > 0 over all confirmation trades",
        ),
        GateVerdict(
            "deflated_sharpe",
            evidence.deflated_sharpe,
            LIKELY,
            ">",
            "probability that the ranking's winner is better than luck",
        ),
        GateVerdict(
            "overfitting",
            evidence.overfitting,
            HALF,
            "<",
            "probability that the best trial of one half is below the median in the other",
        ),
    )


def null_p_value(model: float, null: Floats) -> float:
    """Share of a null that does as well as the model, which counts as one of it.

    NaN if the model or all of the null did not trade (Davison and Hinkley, 1997, section 4.2).
    """
    known = null[np.isfinite(null)]
    if math.isnan(model) or not len(known):
        return math.nan
    return float((1 + (known >= model).sum()) / (1 + len(known)))


def passed(verdicts: Iterable[GateVerdict]) -> dict[str, bool]:
    return {verdict.name: verdict.passed for verdict in verdicts}


class Rule(NamedTuple):
    """Some gates of which all must hold."""

    section: str
    name: str
    gates: tuple[str, ...]


ALL, ALONE, WITHOUT = "all", "alone", "without"
SHOWN, ADDED, INSTEAD = "shown", "added", "instead of Monte Carlo"
PERIOD = "period"
PERIODS = (10, 20, 30, 50, 100, 200)
"""Last confirmation trades that incubation might judge by."""
MONTE_CARLO, INCUBATION = "monte_carlo_", "incubation_"


def rules(default: Sequence[str], shown: Sequence[str]) -> list[Rule]:
    """All default gates, each alone, all but one or one kind; and with one that is only shown,
    in addition or in place of the Monte Carlo gates.
    """

    def without(label: str, left_out: Callable[[str], bool]) -> Rule:
        return Rule(WITHOUT, label, tuple(name for name in default if not left_out(name)))

    others = tuple(name for name in default if not name.startswith(MONTE_CARLO))
    return [
        Rule(ALL, "all default gates", tuple(default)),
        *(Rule(ALONE, name, (name,)) for name in default),
        *(without(name, name.__eq__) for name in default),
        without(f"{INCUBATION}*", lambda name: name.startswith(INCUBATION)),
        without(f"{MONTE_CARLO}*", lambda name: name.startswith(MONTE_CARLO)),
        *(Rule(SHOWN, name, (name,)) for name in shown),
        *(Rule(ADDED, name, (*default, name)) for name in shown),
        *(Rule(INSTEAD, name, (*others, name)) for name in shown),
    ]


@dataclass(frozen=True)
class Finding:
    """How often a rule let campaigns pass, by market."""

    rule: Rule
    rates: Mapping[str, Rate]


def findings(campaigns: Sequence[Campaign], config: Config) -> list[Finding]:
    """Judge every campaign by every rule."""
    judged = []
    default: tuple[str, ...] = ()
    shown: tuple[str, ...] = ()
    for campaign in campaigns:
        must = passed(default_gates(campaign, config))
        may = passed(shown_gates(campaign))
        default, shown = tuple(must), tuple(may)
        judged.append((campaign.market, {**must, **may}))
    return [Finding(rule, rates(judged, rule.gates)) for rule in rules(default, shown)]


def period_findings(campaigns: Sequence[Campaign], config: Config) -> list[Finding]:
    """All default gates, if incubation looked at fewer or more of the last trades."""
    made = []
    for last in PERIODS:
        rule = config.incubation_promotion.model_copy(update={"period": f"last_{last}_trades"})
        changed = config.model_copy(update={"incubation_promotion": rule})
        judged = [(each.market, passed(default_gates(each, changed))) for each in campaigns]
        names = tuple(judged[0][1])
        made.append(Finding(Rule(PERIOD, f"last {last}", names), rates(judged, names)))
    return made


def rates(judged: Sequence[tuple[str, Verdicts]], wanted: Sequence[str]) -> dict[str, Rate]:
    """By market: how many campaigns passed all of the wanted gates."""
    counts: dict[str, list[bool]] = {}
    for market, verdicts in judged:
        counts.setdefault(market, []).append(all(verdicts[name] for name in wanted))
    return {market: Rate(sum(each), len(each)) for market, each in counts.items()}


def random_mean(campaigns: Sequence[Campaign]) -> tuple[float, float]:
    """Mean R per trade of random entries over markets, and its standard error.

    Each market counts once: simulations on one price path are not independent, paths are.
    """
    means = np.array([campaign.evidence.entries.mean_expectancy for campaign in campaigns])
    if len(means) < 2:
        return float(means.mean()), math.nan
    return float(means.mean()), float(means.std(ddof=1) / math.sqrt(len(means)))


def _floats(values: Iterable[float | None]) -> Floats:
    return np.array([_number(value) for value in values], dtype=np.float64)


def _number(value: float | None) -> float:
    return math.nan if value is None else value
