"""The sections on how far to trust it: the model's features, random entries, luck."""

from __future__ import annotations

import math

from strategy import performance
from strategy.features import CATALOGUE
from training import html_page as html
from training.campaign_report import words
from training.campaign_report.findings import Findings
from training.explain import TOP, ranking, top_share
from training.html_page import Html, cell, row
from training.trial import Trial

CLEARLY_BETTER, NOT_BETTER = 0.95, 0.5


def features(findings: Findings) -> Html:
    """What the model listens to, and what of it works against theory."""
    ranked = ranking(findings.candidate.explanation)
    first = ranked.head(TOP)
    against = int(first["against_theory"].sum())
    rows, meanings = [], {feature.name: feature.meaning for feature in CATALOGUE}
    for place, (_, feature) in enumerate(first.iterrows(), start=1):
        name = str(feature["feature"])
        what = html.element(
            "td",
            html.text(name.replace("_", " ")),
            html.element("small", html.text(meanings.get(name, ""))),
            class_="text",
        )
        rows.append(
            row(
                cell(place),
                what,
                cell(words.share(float(feature["share"]), 1)),
                cell(_speaks_for(int(feature["direction"])), "text"),
                cell(_speaks_for(int(feature["expected_direction"])), "text"),
                cell("against theory" if feature["against_theory"] else "", "text bad"),
            )
        )
    lead = (
        f"The {len(first)} features that count most hold {words.share(top_share(ranked))} of the "
        f"model's attention. {words.counted(against, 'of them works', 'of them work')} against "
        "what theory expects: a reason for doubt, not a proof of error."
        if against
        else f"The {len(first)} features that count most hold {words.share(top_share(ranked))} of "
        "the model's attention. None of them works against what theory expects."
    )
    headings = ("", "feature", "share", "high values speak for", "theory expects", "")
    return html.joined([html.paragraph(lead), html.table(headings, rows, words={1, 3, 4, 5})])


def _speaks_for(direction: int) -> str:
    return {1: "buying", -1: "selling"}.get(direction, "neither")


def random_entries(findings: Findings) -> Html:
    """Where the model stands among entries at random."""
    simulation = findings.candidate.simulation
    entries, percentile = simulation.entries, simulation.model_percentile
    own = performance.expectancy(findings.candidate.r)
    sentences = [
        f"{len(entries.expectancy):,} simulations traded the same months under the same exits and "
        "costs, but bought and sold at random, as often as the model wanted to. "
        f"{words.share(entries.share_positive, 1)} of them earned; the average simulation made "
        f"{words.in_r(entries.mean_expectancy, 3)} a trade."
    ]
    if math.isnan(own):
        sentences.append("The model itself made no trades to set beside them.")
    else:
        sentences.append(
            f"The model made {words.in_r(own, 3)} a trade, more than {_part(percentile)} of them: "
            f"{_skill(percentile)}"
        )
    return html.joined(html.paragraph(sentence) for sentence in sentences)


def _part(percentile: float) -> str:
    return {0.0: "none", 1.0: "any"}.get(percentile, words.share(percentile, 1))


def _skill(percentile: float) -> str:
    if percentile > CLEARLY_BETTER:
        return "its choice of entries adds to what the exits do."
    if percentile > NOT_BETTER:
        return "its choice of entries cannot be told from coin flips."
    return "coin flips would have done no worse than its choice of entries."


def luck(findings: Findings) -> Html:
    """What is left of the result, given how many were tried."""
    candidate, trials = findings.candidate, findings.trials
    pruned = sum(trial.pruned for trial in trials)
    rows = [
        _luck_row(
            "settings tried",
            f"{len(trials):,}",
            f"Of these, {pruned:,} were given up early as hopeless. The more are tried, the better "
            "the best of them looks by luck alone.",
        ),
        _luck_row(
            "deflated Sharpe ratio",
            words.share(candidate.deflated_sharpe, 1),
            "Probability that the result is better than the best of as many settings without "
            "any skill would show by luck. 95 % is what is usually asked.",
        ),
        _luck_row(
            "probability of overfitting (PBO)",
            words.share(candidate.overfitting, 1),
            "Of all ways to halve the windows, the share in which the best setting of one half "
            "fell among the worse ones in the other. 50 % is what coin flips would give; low is "
            "good. Where all settings do about equally well, it says little.",
        ),
        _luck_row("SQN", _sqn(candidate.trial), "√trades × average ÷ spread: what the ranking "
                  "goes by. Seen over the windows that chose it, so that it flatters."),
    ]  # fmt: skip
    return html.table(("figure", "", "what it says"), rows, words={2})


def _luck_row(name: str, figure: str, meaning: str) -> Html:
    return row(cell(name), cell(figure), cell(meaning, "text"))


def _sqn(trial: Trial) -> str:
    return words.number(trial.sqn)
