"""What holds of the orchestrator's plan in whatever situation a model is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from registry.gates import months_after, months_between
from registry.lifecycle import LEGAL_MOVES, PERSON, Stage, StrategyVersion
from serving.orchestration.actions import Move, Promote, RecordOverride
from serving.orchestration.plan import plan
from serving.orchestration.situation import BURIED, WHO, Result, Situation, Trained
from tests.situations import NOW, campaign, carried_out, changing, situation

DAYS_AGO = st.integers(0, 400).map(lambda days: NOW - timedelta(days=days))
STRATEGIES = ("A", "B", None)


@st.composite
def versions(draw: st.DrawFn, number: int) -> StrategyVersion:
    stage = draw(st.sampled_from(Stage))
    tags = {"stage": str(draw(st.sampled_from([stage, stage, *Stage])))}
    if strategy := draw(st.sampled_from(STRATEGIES)):
        tags["strategy_id"] = strategy
    for key in draw(st.sets(st.sampled_from(["staging", "production", "archived"]))):
        tags[f"{key}.at"] = f"{draw(DAYS_AGO):%Y-%m-%dT%H:%M:%SZ}"
        tags[f"{key}.by"] = draw(st.sampled_from([WHO, PERSON, "model_retrainer"]))
        tags[f"{key}.why"] = draw(st.sampled_from([f"{BURIED}-0.1 R", "rejected"]))
    return StrategyVersion(number, stage, "run", tags)


RESULTS = st.lists(st.builds(Result, DAYS_AGO, st.sampled_from([-1.0, 0.0, 2.0])), max_size=25).map(
    sorted
)
BUNDLES = st.one_of(st.just("damaged"), st.builds(Trained, DAYS_AGO, st.floats(0, 1)))


@st.composite
def situations(draw: st.DrawFn) -> Situation:
    found = [draw(versions(number)) for number in range(1, draw(st.integers(0, 5)) + 1)]
    books = st.dictionaries(st.sampled_from(["A", "B"]), RESULTS)
    return situation(
        *found,
        paper=draw(books),
        live=draw(books),
        bundles={
            each.number: draw(BUNDLES)
            for each in found
            if each.stage in (Stage.STAGING, Stage.PRODUCTION)
        },
        campaigns=tuple(
            campaign(
                draw(st.sampled_from(["waiting", "running", "completed", "failed"])),
                f"{at:%Y-%m-%d}",
                n,
            )
            for n, at in enumerate(draw(st.lists(DAYS_AGO, max_size=3)))
        ),
        retrains={each.number: draw(DAYS_AGO) for each in found if draw(st.booleans())},
    )


def settled(before: Situation) -> Situation:
    """After what people did was written down, as the orchestrator does first of all."""
    return carried_out(before, [a for a in plan(before) if isinstance(a, RecordOverride)])


@given(situations())
def test_a_plan_that_was_carried_out_moves_and_asks_for_nothing_the_next_time(
    found: Situation,
) -> None:
    now = settled(found)
    after = carried_out(now, plan(now))
    assert {name for name, _ in changing(plan(after))} <= {"alarm"}


@given(situations())
def test_no_plan_brings_a_second_version_into_production(found: Situation) -> None:
    now = settled(found)
    actions = plan(now)
    assert sum(isinstance(action, Promote) for action in actions) <= 1
    before = len(now.versions_in(Stage.PRODUCTION))
    after = len(carried_out(now, actions).versions_in(Stage.PRODUCTION))
    assert after <= max(before, 1)
    if before > 1:
        assert after == before


@given(situations())
def test_every_move_is_legal_and_of_another_version(found: Situation) -> None:
    moves = [action for action in plan(found) if isinstance(action, Move)]
    stages = {version.number: version.stage for version in found.versions}
    assert len({move.version for move in moves}) == len(moves)
    assert all(move.stage in LEGAL_MOVES[stages[move.version]] for move in moves)


@given(situations())
def test_every_version_that_is_traded_is_spoken_of_once_by_its_gates(found: Situation) -> None:
    traded = {each.number for each in found.versions_in(Stage.STAGING, Stage.PRODUCTION)}
    judged = [action.version for action in plan(found) if getattr(action, "gates", ())]
    assert sorted(judged) == sorted(traded)


@given(
    start=st.integers(0, 2_000_000).map(
        lambda minutes: datetime(2024, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)
    ),
    wait=st.timedeltas(timedelta(0), timedelta(days=800)),
    months=st.integers(1, 24),
)
def test_months_are_counted_as_the_calendar_does(
    start: datetime, wait: timedelta, months: int
) -> None:
    end = start + wait
    assert (months_between(start, end) >= months) == (end >= months_after(start, months))
    assert months_between(start, months_after(start, months)) == months
