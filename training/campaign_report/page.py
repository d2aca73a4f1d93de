"""The whole page: what a person who was not there needs to judge a campaign."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from strategy.config import Config
from training import html_page as html
from training.campaign_report import evidence, robustness, sections, summary, words
from training.campaign_report.conditions import conditions
from training.campaign_report.findings import Findings
from training.campaign_report.frame import Subject, masthead, origin
from training.campaign_report.style import STYLE
from training.html_page import Html

Pictures = Mapping[str, bytes]
"""PNG by the name of the figure."""


def campaign_page(subject: Subject, findings: Findings, pictures: Pictures) -> str:
    """The report of a campaign that was judged."""
    chapters = _chapters(subject, findings, pictures)
    contents = (
        html.element("a", html.text(title), href=f"#{anchor}") for anchor, title, _ in chapters
    )
    return html.page(
        subject.title,
        STYLE,
        masthead(subject),
        summary.verdict(findings),
        summary.cards(findings),
        html.element("nav", *contents, aria_label="Contents"),
        *(html.section(title, *parts, anchor=anchor) for anchor, title, parts in chapters),
        origin(subject),
    )


def _chapters(
    subject: Subject, findings: Findings, pictures: Pictures
) -> list[tuple[str, str, list[Html]]]:
    """Anchor, title and content of every chapter, in the order in which they are read."""
    seen = _Seen(findings, pictures)
    return [
        ("verdicts", "The verdicts", [summary.gates(findings)]),
        ("equity", "What it earned, and what it gave back on the way", [
            seen.picture("equity", "Sum of net R by time of exit."),
            seen.picture("drawdown", "How far that sum lies below its highest point so far."),
        ]),
        ("months", "Month by month", [sections.months(findings)]),
        ("trades", "The trades", [
            sections.trade_groups(findings),
            html.element("h3", html.text("How they ended")),
            sections.exits(findings),
            seen.picture("r_histogram", "How many trades made how much, by how they ended."),
            html.element("h3", html.text("Window by window")),
            sections.windows(findings),
        ]),
        ("costs", "What if trading cost more, or less?", [
            seen.picture("cost_sensitivity", "Expectancy against fee and slippage of a fill."),
            robustness.costs(findings),
        ]),
        ("stability", "Does it hang on one exact setting?", [
            robustness.stability(findings),
            seen.picture("neighbours", "Expectancy of the candidate beside its neighbours'."),
        ]),
        ("model", "What the model listens to", [
            evidence.features(findings),
            seen.picture(
                "shap_summary",
                "SHAP values on the first training window: each dot is one candle; to the right "
                "the feature spoke for the signal, red dots are high values of the feature.",
            ),
        ]),
        ("random", "Would coin flips have done as well?", [
            evidence.random_entries(findings),
            seen.picture("monte_carlo_fan", "The model's equity beside that of random entries."),
            seen.picture("monte_carlo_histogram", "Expectancy of every simulation, and the "
                         "model's."),
        ]),
        ("luck", "How much of it may be luck?", [
            evidence.luck(findings),
            seen.picture("trial_ranking", "SQN of every setting that was tried."),
        ]),
        ("conditions", "What would have to be true for it to be worth trading", [
            html.element(
                "ol",
                *(html.element("li", html.text(sentence))
                  for sentence in conditions(findings, synthetic=subject.synthetic)),
                class_="conditions",
            ),
        ]),
        ("reading", "How to read this", _reading(findings.market.config)),
    ]  # fmt: skip


@dataclass(frozen=True)
class _Seen:
    """The campaign's figures as parts of the page."""

    findings: Findings
    pictures: Pictures

    def picture(self, name: str, what: str) -> Html:
        r = self.findings.candidate.r
        total = words.in_r(float(r.sum()), 1)
        alt = f"{what} {words.counted(len(r), 'trade')} of the candidate, {total} in all."
        return html.picture(self.pictures[name], alt, what)


def _reading(config: Config) -> list[Html]:
    costs, hidden = config.costs, config.selection.confirmation_windows
    terms = {
        "R": "What a trade risks: the distance from its entry to its first stop. A trade that is "
        "stopped out at once makes −1 R before costs. Where each trade risks 1 % of the capital, "
        "10 R are about 10 % of it.",
        "After costs": f"Every figure is net of a fee of {words.per_side(costs.fee_per_side)} and "
        f"slippage of {words.per_side(costs.slippage_per_side)} a fill, and of funding of "
        f"{words.per_side(costs.funding_per_8h)} every 8 hours, which long positions pay.",
        "Setting": "One choice of indicator periods and of the model's own parameters.",
        "Out of sample": "A model is trained on the months before a window and trades the window "
        "without having seen it; then both move on. Only such trades count here.",
        "Hidden windows": f"The setting was chosen for how it did in the windows, so that it "
        f"looks better there than it is. The newest {hidden} played no part in the choice: they "
        "are the honest ones, and few.",
        "±": "One standard error: the truth lies within it two times out of three, and within "
        "twice as much nineteen times out of twenty, as far as trades are independent.",
        "Deepest fall": "The largest loss from a peak of the running sum to a later low.",
    }
    return [
        html.element(
            "p", html.element("b", html.text(f"{term}. ")), html.text(meaning)
        )
        for term, meaning in terms.items()
    ]  # fmt: skip
