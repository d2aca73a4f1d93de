"""Puts a judged campaign where people look: tables, figures and documents in MLflow."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from registry.gates import verdict_tags
from registry.tracking import CampaignTracker
from strategy.config import Config
from training import report
from training.campaign_log import figures, trial_metrics
from training.campaign_report.findings import Findings
from training.campaign_report.frame import Subject
from training.campaign_report.page import campaign_page
from training.campaign_report.pictures import findings_figures
from training.campaign_report.stopped import stopped_page
from training.candidate import Candidate
from training.explain import against_theory, ranking, summary_figure, to_bytes, top_share
from training.html_page import png
from training.preflight import Preflight
from training.random_signal_simulator import monte_carlo_figures
from training.search import hyperparameter_importance
from training.trial import Trial
from training.walk_forward import PreparedMarket

CONFIG, CANDIDATE, GATES, TRIALS, TRADES = (
    "config.json", "candidate.json", "gates.json", "trials.csv", "trades.csv",
)  # fmt: skip
REPORT = "report.html"
"""The page for people who were not there; with the campaign's own run."""
ORIGIN = {
    "campaign": "campaign_id",
    "first candle": "first_candle",
    "last candle": "last_candle",
    "candles": "data_digest",
    "configuration": "config_digest",
    "code": "code_digest",
    "commit": "git_commit",
}
"""What the report says of where it is from: tags of the campaign's run, by their names there."""
DESCRIPTION = "mlflow.note.content"
"""Tag that the UI shows on top of a run, as Markdown."""


def publish(
    tracker: CampaignTracker,
    candidate_run: str,
    market: PreparedMarket,
    trials: Sequence[Trial],
    candidate: Candidate,
    trades: pd.DataFrame,
    subtitle: str,
) -> None:
    """Save tables, figures and the report with the campaign, and its figures as metrics.

    The candidate's run gets the same tables and figures.

    Parameters
    ----------
    candidate_run
        Run id of the candidate's trial.
    trades
        All of the candidate's (:func:`training.candidate.trades_table`).
    subtitle
        Below the title of every figure: asset, timeframe, source, and whether it is synthetic.
    """
    tracker.log(
        tracker.run_id,
        metrics=campaign_metrics(trials, candidate),
        tags={
            DESCRIPTION: candidate_description(candidate, subtitle),
            **verdict_tags(candidate.gates),
        },
    )
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        _write_documents(root, market.config, trials, candidate, trades)
        findings = Findings.of(market, trials, candidate, trades)
        drawn = candidate_figures(market, trials, candidate, trades, subtitle)
        drawn |= findings_figures(findings, subtitle)
        pictures = {name: png(figure) for name, figure in drawn.items()}
        (root / "figures").mkdir()
        for name, content in pictures.items():
            (root / "figures" / f"{name}.png").write_bytes(content)
        tracker.log_folder(candidate_run, root)
        _write_report(root, campaign_page(_subject(tracker), findings, pictures))
        tracker.log_folder(tracker.run_id, root)


def publish_stopped(tracker: CampaignTracker, result: Preflight, config: Config) -> None:
    """Save the report of a campaign that the preflight has stopped."""
    with tempfile.TemporaryDirectory() as folder:
        _write_report(Path(folder), stopped_page(_subject(tracker), result, config))
        tracker.log_folder(tracker.run_id, Path(folder))


def campaign_metrics(trials: Sequence[Trial], candidate: Candidate) -> dict[str, float]:
    """The campaign's own figures; those of the candidate under the prefix ``candidate_``."""
    ranked = ranking(candidate.explanation)
    return {
        "trials": len(trials),
        "pruned_trials": sum(trial.pruned for trial in trials),
        "deflated_sharpe": candidate.deflated_sharpe,
        "probability_of_overfitting": candidate.overfitting,
        "shap_top10_share": top_share(ranked),
        "random_entries_percentile": candidate.simulation.model_percentile,
        **{f"candidate_{name}": value for name, value in figures(candidate.trial.r).items()},
        **{
            f"confirmation_{name}": value
            for name, value in figures(
                np.concatenate([np.empty(0), *(each.r for each in candidate.confirmation)])
            ).items()
        },
    }


def trials_table(trials: Sequence[Trial]) -> pd.DataFrame:
    """One row a trial: parameters, whether it was pruned, and its figures (NaN if unknown)."""
    return pd.DataFrame(
        {
            "trial": trial.number,
            **trial.parameters.flat(),
            "pruned": trial.pruned,
            **dict.fromkeys(("sqn", "expectancy"), np.nan),
            **trial_metrics(trial.results),
        }
        for trial in trials
    )


def candidate_document(candidate: Candidate) -> dict[str, Any]:
    """What a Monte Carlo needs to be run again on the finished campaign, as JSON."""
    return {
        "trial": candidate.trial.number,
        "eligible": candidate.eligible,
        "parameters": candidate.trial.parameters.flat(),
        "expectancy": float(candidate.r.mean()) if len(candidate.r) else None,
        "signal_counts": {
            str(result.window): list(result.signal_counts) for result in candidate.results
        },
    }


def candidate_description(candidate: Candidate, subtitle: str) -> str:
    """Description of the registered version, in Markdown: verdicts first."""
    parameters = candidate.trial.parameters.flat()
    rows = (
        f"| {gate.name} | {gate.figure:.4g} | {gate.comparison} {gate.threshold:g} | "
        f"{'passed' if gate.passed else '**failed**'} |"
        for gate in candidate.gates
    )
    return "\n".join(
        (
            f"**{subtitle}**",
            "",
            "| gate | figure | threshold | verdict |",
            "|---|---|---|---|",
            *rows,
            "",
            ", ".join(f"{name} {value:.4g}" for name, value in parameters.items()),
        )
    )


def candidate_figures(
    market: PreparedMarket,
    trials: Sequence[Trial],
    candidate: Candidate,
    trades: pd.DataFrame,
    subtitle: str,
) -> dict[str, Figure]:
    """All figures of a campaign, by the name of their file."""
    config = market.config
    table = trials_table(trials)
    walked = market.windows[: len(candidate.results)]
    label = f"{subtitle} · trial {candidate.trial.number}"
    rng = np.random.default_rng(config.monte_carlo_config.random_seed)
    hidden = len(candidate.confirmation)
    return {
        "equity": report.equity_curve(trades, walked, confirmation_windows=hidden, subtitle=label),
        "drawdown": report.drawdown(trades, walked, confirmation_windows=hidden, subtitle=label),
        "r_histogram": report.r_histogram(trades, subtitle=label),
        "confusion_matrix": report.confusion_matrix(
            np.sum([result.confusion for result in candidate.results], axis=0), subtitle=label
        ),
        "shap_summary": summary_figure(
            candidate.explanation, rng, subtitle=f"{label} · first training window"
        ),
        "optuna_importance": report.optuna_importance(
            hyperparameter_importance(trials, config), subtitle=subtitle
        ),
        "parameter_heatmaps": report.parameter_heatmaps(table, subtitle=subtitle),
        "trial_ranking": report.trial_ranking(table, subtitle=subtitle),
        **monte_carlo_figures(candidate.simulation, trades, config, label),
    }


def _subject(tracker: CampaignTracker) -> Subject:
    tags = tracker.tags
    return Subject(
        market=f"{tags['asset']} {tags['timeframe']}",
        source=tags["candles"],
        synthetic=tags["synthetic"] == "true",
        origin={name: tags[tag] for name, tag in ORIGIN.items()},
    )


def _write_report(root: Path, page: str) -> None:
    (root / REPORT).write_text(page, encoding="utf-8")


def _write_documents(
    root: Path,
    config: Config,
    trials: Sequence[Trial],
    candidate: Candidate,
    trades: pd.DataFrame,
) -> None:
    ranked = ranking(candidate.explanation)
    documents: dict[str, Any] = {
        CONFIG: config.model_dump(mode="json"),
        CANDIDATE: candidate_document(candidate),
        GATES: [asdict(gate) for gate in candidate.gates],
        "shap/top_features.json": {
            "top10_share": top_share(ranked),
            "against_theory": against_theory(ranked),
            "top10": ranked.head(10).to_dict(orient="records"),
        },
    }
    (root / "shap").mkdir()
    for name, document in documents.items():
        (root / name).write_text(json.dumps(document, indent=2), encoding="utf-8")
    trials_table(trials).to_csv(root / TRIALS, index=False)
    trades.to_csv(root / TRADES, index=False)
    ranked.to_csv(root / "shap" / "importance.csv", index=False)
    (root / "shap" / "values.npz").write_bytes(to_bytes(candidate.explanation))
