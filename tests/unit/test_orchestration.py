"""What the orchestrator plans, rule by rule: the default config, NOW is 2026-07-01 01:00 UTC."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from registry.lifecycle import PERSON, Stage
from serving.orchestration.actions import Action, Alarm, Keep, Promote, Wait, action_document
from serving.orchestration.plan import plan
from serving.orchestration.situation import WHO, Result, Trained
from tests.situations import (
    FRESH,
    buried,
    campaign,
    carried_out,
    changing,
    day,
    live,
    results,
    situation,
    staged,
    version,
)

GOOD, BAD = results(*[0.5] * 20), results(*[-0.5] * 20)


def why(actions: list[Action], kind: type[Action]) -> str:
    [found] = [action.why for action in actions if isinstance(action, kind)]
    return found


# --- Staging -> Production, Staging -> Archived


def test_a_candidate_that_passed_is_promoted_into_a_free_place() -> None:
    actions = plan(situation(staged(), paper={"A": GOOD}))
    assert changing(actions) == [("promote", 1)]
    assert why(actions, Promote) == (
        "passed: 0.5 R per trade over 20 paper trades, standard error 0 R, wanted > 0.01; "
        "2 calendar months in Staging, since 2026-05-01 01:00 UTC"
    )


@pytest.mark.parametrize(
    ("since", "trades"), [("2026-06-02", 20), ("2026-05-01", 9), ("2026-05-01", 0)]
)
def test_a_candidate_without_its_time_or_trades_stays_on_trial(since: str, trades: int) -> None:
    actions = plan(situation(staged(since=since), paper={"A": GOOD[:trades]}))
    assert changing(actions) == []
    assert why(actions, Keep).startswith("on trial: ")


def test_a_candidate_whose_time_and_trades_are_there_and_their_expectancy_is_not_is_rejected() -> (
    None
):
    actions = plan(
        situation(staged(), paper={"A": BAD}, campaigns=(campaign("running", "2026-06-01"),))
    )
    assert changing(actions) == [("reject", 1)]


@pytest.mark.parametrize(
    ("since", "expected"), [("2026-01-01", [("reject", 1)]), ("2026-01-02", [])]
)
def test_a_candidate_that_does_not_get_its_trades_together_is_rejected_after_six_months(
    since: str, expected: list[tuple[str, int]]
) -> None:
    actions = plan(situation(staged(since=since), paper={"A": GOOD[:9]}))
    assert changing(actions) == expected


def test_trades_and_time_count_across_the_retrains_of_a_strategy() -> None:
    first = version(1, Stage.ARCHIVED, staging="2026-05-01", archived=("2026-06-25", "retrainer"))
    second = version(2, Stage.STAGING, staging=("2026-06-25", "model_retrainer"))
    assert changing(plan(situation(first, second, paper={"A": GOOD}))) == [("promote", 2)]
    stranger = replace(first, tags={**first.tags, "strategy_id": "B"})
    assert changing(plan(situation(stranger, second, paper={"A": GOOD}))) == []


def test_a_candidate_since_when_is_unknown_is_neither_promoted_nor_rejected() -> None:
    actions = plan(situation(version(1, Stage.STAGING), paper={"A": GOOD}))
    assert changing(actions) == []
    assert "unknown of 1 months" in why(actions, Keep)


# --- one place in Production


def test_a_candidate_waits_while_a_healthy_version_is_in_production() -> None:
    actions = plan(situation(live(1), staged(2, strategy="B"), paper={"B": GOOD}, live={"A": GOOD}))
    assert changing(actions) == []
    assert [a.why for a in actions if isinstance(a, Keep)][1].endswith(
        "waits: version 1 is in Production"
    )


def test_a_candidate_that_passed_waits_longer_than_the_longest_trial() -> None:
    waiting = staged(2, since="2025-01-01", strategy="B")
    assert changing(plan(situation(live(1), waiting, paper={"B": GOOD}, live={"A": GOOD}))) == []


def test_the_place_of_a_version_that_is_buried_is_taken_by_the_candidate_that_waited() -> None:
    actions = plan(situation(live(1), staged(2, strategy="B"), paper={"B": GOOD}, live={"A": BAD}))
    assert changing(actions) == [("bury", 1), ("promote", 2), ("ask for a campaign", None)]


def test_of_several_candidates_the_largest_share_of_top_features_goes_first() -> None:
    shares = {1: 0.4, 2: 0.7, 3: math.nan}
    actions = plan(
        situation(
            *(staged(number, strategy=f"S{number}") for number in shares),
            paper={f"S{number}": GOOD for number in shares},
            bundles={number: Trained(FRESH.until, share) for number, share in shares.items()},
        )
    )
    assert changing(actions) == [("promote", 2)]
    assert {a.version: a.why.split("; ")[-1] for a in actions if isinstance(a, Keep)} == {
        1: "waits: version 2 is promoted before it",
        3: "waits: version 2 is promoted before it",
    }


def test_equal_shares_are_settled_by_expectancy_and_then_by_age() -> None:
    candidates = [staged(number, strategy=f"S{number}") for number in (1, 2, 3)]
    better = results(*[0.6] * 20)
    paper = {"S1": GOOD, "S2": better, "S3": better}
    assert changing(plan(situation(*candidates, paper=paper))) == [("promote", 2)]
    paper = dict.fromkeys(paper, GOOD)
    assert changing(plan(situation(*candidates, paper=paper))) == [("promote", 1)]


def test_an_unknown_share_goes_last_even_with_the_best_expectancy() -> None:
    actions = plan(
        situation(
            staged(1, strategy="S1"),
            staged(2, strategy="S2"),
            paper={"S1": results(*[2.0] * 20), "S2": GOOD},
            bundles={1: Trained(FRESH.until, math.nan), 2: Trained(FRESH.until, 0.01)},
        )
    )
    assert changing(actions) == [("promote", 2)]


# --- Production -> Archived


def test_a_version_that_lost_its_edge_is_buried_and_a_campaign_asked_for_at_once() -> None:
    actions = plan(
        situation(live(), live={"A": BAD}, campaigns=(campaign("completed", "2026-06-30"),))
    )
    assert changing(actions) == [("bury", 1), ("ask for a campaign", None)]
    assert actions[0].why.startswith("buried: -0.5 R per trade over 20 live trades")


def test_a_burial_while_a_campaign_runs_asks_for_no_second_one() -> None:
    for status in ("waiting", "running"):
        actions = plan(
            situation(live(), live={"A": BAD}, campaigns=(campaign(status, "2026-06-30"),))
        )
        assert changing(actions) == [("bury", 1)]


@pytest.mark.parametrize(("since", "trades"), [("2026-04-02", 20), ("2026-03-01", 9)])
def test_what_is_young_or_has_few_trades_is_not_buried(since: str, trades: int) -> None:
    actions = plan(situation(live(since=since), live={"A": BAD[:trades]}))
    assert changing(actions) == []
    assert why(actions, Keep).startswith("not judged yet: ")


def test_paper_trades_bury_nothing() -> None:
    assert changing(plan(situation(live(), paper={"A": BAD}, live={"A": GOOD}))) == []


def test_a_burial_whose_campaign_was_not_asked_for_any_more_asks_for_it_the_next_time() -> None:
    ended_before = campaign("completed", "2026-06-29")
    actions = plan(situation(buried(on="2026-06-30"), campaigns=(ended_before,)))
    assert changing(actions) == [("ask for a campaign", None)]
    ended_after = campaign("completed", "2026-06-30")
    assert changing(plan(situation(buried(on="2026-06-30"), campaigns=(ended_after,)))) == []


def test_other_versions_of_a_buried_strategy_do_not_come_up_again() -> None:
    actions = plan(situation(live(1), staged(2), paper={"A": GOOD}, live={"A": BAD}))
    assert changing(actions)[:2] == [("bury", 1), ("reject", 2)]
    actions = plan(situation(buried(1), staged(2), paper={"A": GOOD}))
    assert changing(actions)[0] == ("reject", 2)


# --- what a person does


def test_an_override_is_written_down() -> None:
    pulled = version(1, Stage.STAGING, recorded=Stage.PRODUCTION, staging="2026-01-01")
    actions = plan(situation(pulled, paper={"A": GOOD}))
    assert changing(actions) == [("record override", 1)]
    assert actions[0].why == "moved from Production to Staging by hand"


def test_a_version_that_a_person_pulled_back_is_judged_by_what_it_does_from_then_on() -> None:
    pulled = version(1, Stage.STAGING, production="2026-02-01", staging=("2026-05-20", PERSON))
    before, after = (Result(day("2026-05-19"), 0.5),) * 20, (Result(day("2026-05-21"), 0.5),) * 10
    assert changing(plan(situation(pulled, paper={"A": before}))) == []
    assert changing(plan(situation(pulled, paper={"A": before + after}))) == [("promote", 1)]
    recently = version(1, Stage.STAGING, staging=("2026-06-20", PERSON))
    assert changing(plan(situation(recently, paper={"A": GOOD}))) == []


def test_a_version_that_a_person_revived_is_not_buried_for_what_it_did_before() -> None:
    revived = version(2, Stage.PRODUCTION, production=("2026-06-20", PERSON))
    before = version(1, Stage.ARCHIVED, production="2026-01-01", archived=("2026-02-01", "x"))
    assert changing(plan(situation(before, revived, live={"A": BAD}))) == []


def test_a_revival_that_is_not_written_down_yet_counts_all_the_same() -> None:
    revived = replace(
        buried(1, on="2026-06-01"),
        stage=Stage.PRODUCTION,
    )
    actions = plan(
        situation(revived, live={"A": BAD}, campaigns=(campaign("completed", "2026-06-20"),))
    )
    assert changing(actions) == [("record override", 1)]


def test_a_version_that_was_revived_asks_for_no_campaign_as_if_it_were_buried() -> None:
    revived = replace(
        buried(1),
        stage=Stage.PRODUCTION,
        tags={**buried(1).tags, "stage": "Production", "production.by": PERSON},
    )
    assert changing(plan(situation(revived, live={"A": GOOD}))) == []


def test_a_person_may_take_another_version_of_a_buried_strategy_back_on_trial() -> None:
    again = version(2, Stage.STAGING, staging=("2026-06-20", PERSON))
    ended = campaign("completed", "2026-06-30")
    found = situation(buried(1, on="2026-06-01"), again, paper={"A": GOOD}, campaigns=(ended,))
    assert changing(plan(found)) == []


def test_a_rejection_is_no_burial() -> None:
    rejected = version(1, Stage.ARCHIVED, staging="2026-01-01", archived=("2026-06-30", WHO))
    ended = campaign("completed", "2026-05-01")
    assert changing(plan(situation(rejected, campaigns=(ended,)))) == []


def test_a_retirement_by_hand_is_no_burial() -> None:
    retired = version(1, Stage.ARCHIVED, production="2026-01-01", archived=("2026-06-30", PERSON))
    actions = plan(situation(retired, campaigns=(campaign("completed", "2026-05-01"),)))
    assert changing(actions) == []
    assert why(actions, Wait) == "nothing trades it; it is searched again from 2026-08-01 on"


# --- alarms


def test_two_versions_in_production_are_an_alarm_and_none_of_them_is_moved() -> None:
    actions = plan(
        situation(
            live(1),
            live(2, strategy="B"),
            staged(3, strategy="C"),
            live={"A": BAD, "B": GOOD},
            paper={"C": GOOD},
            bundles=dict.fromkeys((1, 2, 3), Trained(day("2026-01-01"), 0.5)),
        )
    )
    assert changing(actions) == [("alarm", None)]
    assert "versions 2 and 1 are in Production together" in why(actions, Alarm)


def test_a_version_that_cannot_be_read_is_an_alarm_and_not_promoted() -> None:
    actions = plan(situation(staged(), paper={"A": GOOD}, bundles={1: "its files are gone"}))
    assert changing(actions) == [("alarm", None)]
    assert why(actions, Alarm) == "the strategy of version 1 cannot be read: its files are gone"
    assert why(actions, Keep).endswith("waits: its strategy cannot be read")


def test_a_version_that_cannot_be_read_leaves_the_place_to_another() -> None:
    actions = plan(
        situation(
            staged(1, strategy="S1"),
            staged(2, strategy="S2"),
            paper={"S1": GOOD, "S2": GOOD},
            bundles={1: "damaged", 2: FRESH},
        )
    )
    assert ("promote", 2) in changing(actions)


def test_a_version_that_another_program_registered_is_an_alarm() -> None:
    strange = version(1, Stage.STAGING, None, staging="2026-05-01")
    assert changing(plan(situation(strange))) == [("alarm", None)]


def test_an_alarm_that_comes_again_is_another_one() -> None:
    def key(since: str) -> str:
        [alarm] = [
            action
            for action in plan(situation(live(1), live(2, since=since, strategy="B")))
            if isinstance(action, Alarm)
        ]
        return alarm.key

    assert key("2026-06-01") == key("2026-06-01") != key("2026-06-02")


# --- retrains


@pytest.mark.parametrize("versions", [live(), staged(since="2026-06-20")])
@pytest.mark.parametrize(
    ("until", "expected"), [("2026-04-01", [("retrain", 1)]), ("2026-04-02", [])]
)
def test_what_was_trained_three_months_ago_is_retrained(
    versions: object, until: str, expected: list[tuple[str, int]]
) -> None:
    found = situation(versions, bundles={1: Trained(day(until), 0.5)})  # type: ignore[arg-type]
    assert changing(plan(found)) == expected


@pytest.mark.parametrize(
    ("asked", "expected"),
    [("2026-06-01", [("retrain", 1)]), ("2026-06-02", []), ("2026-06-30", [])],
)
def test_a_retrain_of_which_nothing_came_is_tried_again_after_a_month(
    asked: str, expected: list[tuple[str, int]]
) -> None:
    found = situation(
        live(), bundles={1: Trained(day("2026-02-01"), 0.5)}, retrains={1: day(asked)}
    )
    assert changing(plan(found)) == expected


def test_what_is_buried_or_rejected_is_not_retrained() -> None:
    old = Trained(day("2026-01-01"), 0.5)
    for found in (
        situation(live(), live={"A": BAD}, bundles={1: old}),
        situation(staged(), paper={"A": BAD}, bundles={1: old}),
    ):
        assert "retrain" not in dict(changing(plan(found)))


def test_what_is_promoted_may_be_retrained_on_the_same_day() -> None:
    found = situation(staged(), paper={"A": GOOD}, bundles={1: Trained(day("2026-01-01"), 0.5)})
    assert changing(plan(found)) == [("promote", 1), ("retrain", 1)]


# --- campaigns


def test_the_first_campaign_is_a_person_s_to_ask_for() -> None:
    actions = plan(situation())
    assert changing(actions) == []
    assert why(actions, Wait) == "no campaign was ever asked for; a person asks for the first one"


@pytest.mark.parametrize("status", ["completed", "failed"])
@pytest.mark.parametrize(
    ("ended", "expected"), [("2026-04-01", [("ask for a campaign", None)]), ("2026-04-02", [])]
)
def test_a_market_that_nothing_trades_is_searched_again_three_months_after_the_last_campaign(
    status: str, ended: str, expected: list[tuple[str, None]]
) -> None:
    campaigns = (campaign("completed", "2025-01-01", 1), campaign(status, ended, 2))
    assert changing(plan(situation(campaigns=campaigns))) == expected


@pytest.mark.parametrize("status", ["waiting", "running"])
def test_a_market_whose_campaign_goes_on_waits_for_it(status: str) -> None:
    campaigns = (campaign("completed", "2025-01-01", 1), campaign(status, "2025-02-01", 2))
    actions = plan(situation(campaigns=campaigns))
    assert changing(actions) == []
    assert why(actions, Wait) == f"campaign c2 is {status}"


def test_a_market_that_something_trades_is_not_searched_again() -> None:
    old = (campaign("completed", "2025-01-01"),)
    assert changing(plan(situation(live(), live={"A": GOOD}, campaigns=old))) == []
    assert changing(plan(situation(staged(since="2026-06-20"), campaigns=old))) == []


def test_a_version_in_no_stage_trades_nothing() -> None:
    found = situation(version(1, Stage.NONE), campaigns=(campaign("completed", "2026-01-01"),))
    assert changing(plan(found)) == [("ask for a campaign", None)]


def test_after_its_last_candidate_is_rejected_a_market_is_searched_when_it_is_time() -> None:
    old, new = campaign("completed", "2026-01-01"), campaign("completed", "2026-06-01")
    actions = plan(situation(staged(), paper={"A": BAD}, campaigns=(old,)))
    assert changing(actions) == [("reject", 1), ("ask for a campaign", None)]
    assert changing(plan(situation(staged(), paper={"A": BAD}, campaigns=(new,)))) == [
        ("reject", 1)
    ]


# --- the plan itself


def test_a_plan_that_was_carried_out_leaves_nothing_to_do() -> None:
    before = situation(
        live(1),
        staged(2, strategy="B"),
        staged(3, strategy="C"),
        live={"A": BAD},
        paper={"B": GOOD, "C": BAD},
        bundles=dict.fromkeys((1, 2, 3), Trained(day("2026-01-01"), 0.5)),
    )
    actions = plan(before)
    assert changing(actions) == [
        ("bury", 1),
        ("reject", 3),
        ("promote", 2),
        ("retrain", 2),
        ("ask for a campaign", None),
    ]
    assert changing(plan(carried_out(before, actions))) == []


def test_an_action_says_itself_as_json() -> None:
    [promote] = plan(situation(staged(), paper={"A": GOOD}))
    document = action_document(promote)
    assert document["action"] == "promote"
    assert (document["model"], document["version"]) == ("BTCUSDT-1h", 1)
    assert document["gates"]["production_trades"] == (
        "passed: 20, wanted >= 10 (paper trades within last_30_trades)"
    )
    [wait] = plan(situation())
    assert set(action_document(wait)) == {"action", "model", "why"}
