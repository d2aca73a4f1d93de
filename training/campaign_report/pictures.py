"""The figures that only the report's own findings can draw."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from strategy import performance
from training import report
from training.campaign_report.findings import Findings
from training.trial import Trial


def findings_figures(findings: Findings, subtitle: str) -> dict[str, Figure]:
    """By the name of their file."""
    label = f"{subtitle} · trial {findings.candidate.trial.number}"
    cases = findings.cases
    return {
        "cost_sensitivity": report.cost_sensitivity(
            np.array([case.per_side for case in cases]),
            np.array([case.expectancy for case in cases]),
            np.array([performance.standard_error(case.r) for case in cases]),
            charged=findings.market.config.costs.per_side,
            break_even=findings.break_even,
            subtitle=label,
        ),
        "neighbours": report.neighbours(_groups(findings), subtitle=label),
    }


def _groups(findings: Findings) -> dict[str, pd.DataFrame]:
    """The candidate, its neighbours by their distance, and all other trials."""
    candidate, around = findings.candidate.trial, findings.around.neighbours
    near = {each.trial.number for each in around} | {candidate.number}
    groups = {"candidate": [candidate]}
    for each in around:
        name = ("same periods", "1 step away")[each.steps] if each.steps < 2 else "2 to 5 axes"
        groups.setdefault(name, []).append(each.trial)
    groups["further away"] = [trial for trial in findings.trials if trial.number not in near]
    return {name: _table(trials) for name, trials in groups.items() if trials}


def _table(trials: Sequence[Trial]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "expectancy": performance.expectancy(trial.r),
            "standard_error": performance.standard_error(trial.r),
            "pruned": trial.pruned,
        }
        for trial in trials
    )
