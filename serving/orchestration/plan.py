"""What is to be done about a model's strategies: a pure function of how they stand.

- Of every model one version at most is promoted to Production; a candidate that passed waits in
  Staging while a healthy one is there. Several models of one symbol may be in Production
  together: that only one of them holds a position is the trading bot's rule.
- A free place goes to the candidate whose ten most important features have the largest share
  (SHAP), then to the higher expectancy on paper, then to the older version.
- Trades and durations count per strategy, across its retrains, from its first entry into the
  stage on. A move by a person's hand starts them anew: what was pulled back is not promoted the
  next day for what it did before, and what was revived is not buried for it.
- A candidate is rejected when its time and trades are there and their expectancy is not, or
  when it has not passed after ``maximum_duration_months``; and when its strategy was buried.
- A version whose training window ended ``step_months`` ago is retrained. If nothing came of that
  (the retrain was dropped) it is tried again a month later.
- A burial asks for a campaign at once. A model that nothing trades is searched again
  ``step_months`` after its last campaign ended; the first campaign a person asks for.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from registry.gates import (
    GateVerdict,
    gravedigger_gates,
    months_after,
    months_between,
    production_gates,
)
from registry.lifecycle import Stage, StrategyVersion
from serving.orchestration.actions import (
    Action,
    Alarm,
    AskForCampaign,
    Bury,
    Keep,
    Promote,
    RecordOverride,
    Reject,
    Retrain,
    VersionAction,
    Wait,
)
from serving.orchestration.situation import BURIED, Situation, Trained

RETRY_MONTHS = 1
"""After which a retrain of which nothing came is tried again."""


def plan(situation: Situation) -> list[Action]:
    """What is to be done now, in this order, and what is left alone and why.

    Carried out, the same plan made again moves nothing: whatever it does changes the situation.
    """
    production = list(_production(situation))
    judged = [*production, *_staging(situation, production)]
    return [
        *_overrides(situation),
        *_alarms(situation),
        *judged,
        *_retrains(situation, judged),
        *_discovery(situation, judged),
    ]


def _overrides(situation: Situation) -> Iterator[Action]:
    for version in situation.versions:
        if move := version.override:
            why = f"moved from {move.before} to {move.now} by hand"
            yield RecordOverride(situation.model, why, version.number)


def _alarms(situation: Situation) -> Iterator[Action]:
    live = situation.versions_in(Stage.PRODUCTION)
    if len(live) > 1:
        why = (
            f"versions {_numbers(live)} are in Production together: nothing new is opened, and "
            "none of them is moved, until a person has archived all but one"
        )
        yield Alarm(situation.model, why, f"production/{' '.join(map(_arrival, live))}")
    for version in situation.versions_in(Stage.STAGING, Stage.PRODUCTION):
        if version.strategy_id is None:
            why = (
                f"version {version.number} in {version.stage} has no strategy_id: it was not "
                "registered by this program, which knows nothing of its trades; archive it"
            )
            yield Alarm(situation.model, why, f"strategy_id/{_arrival(version)}")
        if isinstance(fault := situation.bundles.get(version.number), str):
            why = f"the strategy of version {version.number} cannot be read: {fault}"
            yield Alarm(situation.model, why, f"bundle/{_arrival(version)}")


def _production(situation: Situation) -> Iterator[VersionAction]:
    live = situation.versions_in(Stage.PRODUCTION)
    for version in live:
        since = situation.since(version, Stage.PRODUCTION)
        gates = gravedigger_gates(
            situation.r(version, "live", since),
            since,
            situation.now,
            situation.config.gravedigger,
        )
        time, trades, edge = gates
        decision: type[VersionAction] = Keep
        if len(live) > 1:
            why = f"a person must choose between versions {_numbers(live)}"
        elif not (time.passed and trades.passed):
            why = f"not judged yet: {_progress(gates)}"
        elif edge.passed:
            decision = Bury
            why = f"{BURIED}{_said(edge)}, below {edge.threshold:g}; {_said(time)}"
        else:
            why = f"healthy: {_said(edge)}, not below {edge.threshold:g}"
        yield decision(situation.model, why, version.number, gates)


def _staging(situation: Situation, production: Sequence[VersionAction]) -> Iterator[VersionAction]:
    """Whoever goes, then whoever is promoted, then whoever stays."""
    judged = [
        _candidate(situation, version, production)
        for version in situation.versions_in(Stage.STAGING)
    ]
    passed = sorted(
        (each for each in judged if isinstance(each, Promote)),
        key=lambda action: _rank(situation, action),
    )
    obstacle = _obstacle(situation, production)
    for action in judged:
        if isinstance(action, Reject):
            yield action
    for action in passed:
        readable = isinstance(situation.bundles.get(action.version), Trained)
        if not readable or obstacle:
            waits = obstacle if readable else "its strategy cannot be read"
            yield Keep(action.model, f"{action.why}; waits: {waits}", action.version, action.gates)
        else:
            yield action
            obstacle = f"version {action.version} is promoted before it"
    for action in judged:
        if isinstance(action, Keep):
            yield action


def _candidate(
    situation: Situation, version: StrategyVersion, production: Sequence[VersionAction]
) -> VersionAction:
    """Promote: it may be, if there is a place."""
    rule = situation.config.production_promotion
    since = situation.since(version, Stage.STAGING)
    r = situation.r(version, "paper", since)
    gates = production_gates(r, since, situation.now, rule)
    time, trades, edge = gates
    figures = f"{_said(edge)}, wanted {edge.comparison} {edge.threshold:g}; {_said(time)}"
    decision: type[VersionAction] = Reject
    if grave := _grave(situation, version, production):
        why = f"rejected: its strategy was buried ({grave})"
    elif all(gate.passed for gate in gates):
        decision, why = Promote, f"passed: {figures}"
    elif time.passed and trades.passed:
        why = f"rejected: {figures}"
    elif since and months_between(since, situation.now) >= rule.maximum_duration_months:
        why = (
            f"rejected: not passed within {rule.maximum_duration_months} months; "
            f"{_said(trades)}, {figures}"
        )
    else:
        decision, why = Keep, f"on trial: {_progress(gates)}"
    return decision(situation.model, why, version.number, gates)


def _grave(
    situation: Situation, version: StrategyVersion, production: Sequence[VersionAction]
) -> str | None:
    """That the strategy was buried, or is now, after it came into Staging."""
    kin = {each.number for each in situation.versions if each.strategy_id == version.strategy_id}
    for action in production:
        if isinstance(action, Bury) and version.strategy_id and action.version in kin:
            return f"version {action.version}"
    burial, since = situation.buried(version), situation.since(version, Stage.STAGING)
    if burial and (since is None or burial.at >= since):
        return f"{burial.at:%Y-%m-%d}"
    return None


def _obstacle(situation: Situation, production: Sequence[VersionAction]) -> str:
    """Why there is no place in Production; empty if there is one."""
    staying = [action for action in production if not isinstance(action, Bury)]
    return f"version {staying[0].version} is in Production" if staying else ""


def _rank(situation: Situation, action: VersionAction) -> tuple[float, float, int]:
    trained = situation.bundles.get(action.version)
    share = trained.shap_share if isinstance(trained, Trained) else math.nan
    unknown_last = math.inf if math.isnan(share) else -share
    return unknown_last, -action.gates[-1].figure, action.version


def _retrains(situation: Situation, judged: Sequence[VersionAction]) -> Iterator[Action]:
    months = situation.config.walk_forward_config.step_months
    in_doubt = len(situation.versions_in(Stage.PRODUCTION)) > 1
    for action in judged:
        trained = situation.bundles.get(action.version)
        if isinstance(action, Bury | Reject) or not isinstance(trained, Trained) or in_doubt:
            continue
        asked = situation.retrains.get(action.version)
        due = months_after(trained.until, months)
        if asked:
            due = max(due, months_after(asked, RETRY_MONTHS))
        if situation.now >= due:
            why = f"trained until {trained.until:%Y-%m-%d}, to be retrained every {months} months"
            if asked:
                why += f"; nothing came of it on {asked:%Y-%m-%d}"
            yield Retrain(situation.model, why, action.version)


def _discovery(situation: Situation, judged: Sequence[VersionAction]) -> Iterator[Action]:
    model, campaigns = situation.model, situation.campaigns
    traded = any(not isinstance(action, Bury | Reject) for action in judged)
    ended = max((campaign.updated_at for campaign in campaigns), default=None)
    burial = situation.last_burial
    buried = any(isinstance(action, Bury) for action in judged)
    months = situation.config.walk_forward_config.step_months
    running = next((each for each in campaigns if each.status in ("waiting", "running")), None)
    if running:
        if not traded:
            yield Wait(model, f"campaign {running.campaign_id} is {running.status}")
    elif buried or (burial and (ended is None or ended < burial.at)):
        yield AskForCampaign(model, "its strategy was buried")
    elif traded:
        return
    elif ended is None:
        yield Wait(model, "no campaign was ever asked for; a person asks for the first one")
    elif situation.now >= (due := months_after(ended, months)):
        why = f"nothing trades it, and its last campaign ended on {ended:%Y-%m-%d}"
        yield AskForCampaign(model, why)
    else:
        yield Wait(model, f"nothing trades it; it is searched again from {due:%Y-%m-%d} on")


def _progress(gates: Sequence[GateVerdict]) -> str:
    time, trades, edge = gates
    return (
        f"{_figure(time)} of {time.threshold:g} months, {trades.figure:g} of "
        f"{trades.threshold:g} trades, {_said(edge)}"
    )


def _said(gate: GateVerdict) -> str:
    return f"{_figure(gate)} {gate.detail}"


def _figure(gate: GateVerdict) -> str:
    return "unknown" if math.isnan(gate.figure) else f"{gate.figure:.3g}"


def _numbers(versions: Sequence[StrategyVersion]) -> str:
    return " and ".join(str(version.number) for version in versions)


def _arrival(version: StrategyVersion) -> str:
    entry = version.entry(version.stage)
    return f"{version.number}@{entry.at:%Y-%m-%dT%H:%M:%SZ}" if entry else str(version.number)
