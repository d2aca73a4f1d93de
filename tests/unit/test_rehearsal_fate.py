"""Faults of a rehearsal: the same for the same seed, each by itself, and where they strike."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
import requests

from rehearsal.binance import faults
from rehearsal.binance.futures import ORDER
from rehearsal.clock import SimulatedClock
from rehearsal.fate import KINDS, OUTAGES, READS, Fate, Frail, Outage, Plan, TimedOut
from store.aws import CapacityError
from strategy.errors import RetryError

BEGIN = datetime(2024, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def fate(
    rate: float = 0.3, seed: int = 1, only: frozenset[str] | None = None, now: datetime = BEGIN
) -> Fate:
    return Fate(seed, rate, SimulatedClock(now), only)


def calm() -> Fate:
    """Nothing happens but what a test plans."""
    return fate(rate=0.0)


def plans(dealt: Fate, functions: tuple[str, ...] = tuple(KINDS)) -> dict[str, Plan]:
    found = (
        dealt.plan(function, BEGIN + number * MINUTE, attempt=0)
        for number in range(200)
        for function in functions
    )
    return {plan.key: plan for plan in found if plan is not None}


def test_an_event_has_the_same_fate_whatever_else_happens() -> None:
    among_others = plans(fate())
    alone = plans(fate(), ("trading_bot",))
    assert len(alone) > 20
    assert alone == {key: among_others[key] for key in among_others if "/trading_bot/" in key}


def test_another_seed_is_another_fate() -> None:
    assert plans(fate(seed=1)).keys() != plans(fate(seed=2)).keys()


def test_faults_are_about_as_many_as_the_rate_says_and_of_every_kind() -> None:
    dealt = plans(fate())
    assert len(dealt) == pytest.approx(0.3 * 200 * len(KINDS), rel=0.1)
    kinds = {(key.split("/")[1], plan.kind) for key, plan in dealt.items()}
    assert kinds == {(function, kind) for function in KINDS for kind in KINDS[function]}


def test_an_attempt_has_a_fate_of_its_own() -> None:
    times = [BEGIN + number * MINUTE for number in range(100)]
    first, second = (
        [fate().plan("orchestrator", time, attempt) is None for time in times] for attempt in (0, 1)
    )
    assert first != second


def test_what_is_left_out_does_not_strike_and_what_is_kept_strikes_as_before() -> None:
    everything = plans(fate())
    kept = frozenset(list(everything)[::7])
    assert plans(fate(only=kept)) == {key: everything[key] for key in kept}


def test_at_rate_0_nothing_goes_wrong() -> None:
    quiet = calm()
    assert plans(quiet) == {}
    assert not list(outages(quiet, days=400))
    assert all(quiet.daily(date(2024, 1, day), "risk is set", 1.0) is None for day in range(1, 30))
    assert quiet.struck == []


# Where a plan strikes


def planned(kind: str, call: int, after: bool, dice: float = 0.0) -> Plan:
    return Plan("2024-01-01T00:00/trading_bot/0", kind, call, after, dice)


class Part:
    """Counts the calls that had an effect."""

    def __init__(self) -> None:
        self.done = 0
        self.name = "a part"

    def put(self, value: int) -> int:
        self.done += 1
        return value

    def peek(self) -> int:
        return self.done


@pytest.mark.parametrize("call", [0, 3])
@pytest.mark.parametrize("after", [False, True])
def test_a_plan_strikes_once_at_its_call_before_or_after_its_effect(call: int, after: bool) -> None:
    dealt, part = calm(), Part()
    frail = Frail(part, "table", dealt, frozenset({"put"}))
    dealt.begin(planned("table", call, after))
    assert [frail.put(number) for number in range(call)] == list(range(call))
    with pytest.raises(RetryError, match="table"):
        frail.put(99)
    assert part.done == call + after
    assert [frail.put(number) for number in range(20)] == list(range(20))
    assert [(each.key, each.what) for each in dealt.struck] == [
        ("2024-01-01T00:00/trading_bot/0", "table: table")
    ]


def test_only_the_part_that_is_meant_fails_and_of_it_the_methods_that_may() -> None:
    dealt = calm()
    dealt.begin(planned("table", 0, after=False))
    table = Frail(Part(), "table", dealt, frozenset({"put"}))
    assert Frail(Part(), "notifier", dealt, frozenset()).put(1) == 1
    assert table.peek() == 0
    assert table.name == "a part"
    assert dealt.struck == []


def test_the_registry_fails_as_its_transport_does() -> None:
    dealt = calm()
    dealt.begin(planned("registry", 0, after=False))
    with pytest.raises(requests.ConnectionError):
        Frail(Part(), "registry", dealt, frozenset()).put(1)


def test_a_plan_ends_with_its_event() -> None:
    dealt = calm()
    dealt.begin(planned("table", 0, after=False))
    dealt.begin(None)
    assert Frail(Part(), "table", dealt, frozenset()).put(1) == 1


@pytest.mark.parametrize("after", [False, True])
def test_a_function_whose_time_is_up_ends_and_no_handler_of_errors_keeps_it(after: bool) -> None:
    dealt, part = calm(), Part()
    frail = Frail(part, "whatever it calls", dealt, frozenset())
    dealt.begin(planned("times out", 0, after))

    def careful() -> None:
        try:
            frail.put(1)
        except Exception:
            pytest.fail("it was handled")

    with pytest.raises(TimedOut):
        careful()
    assert part.done == after
    assert not issubclass(TimedOut, Exception)


def test_a_request_is_answered_wrongly_once_as_the_dice_say() -> None:
    dealt = calm()
    names = []
    for dice in np.arange(len(READS)) / len(READS) + 0.01:
        dealt.begin(planned("requests", 2, after=False, dice=float(dice)))
        answers = [dealt.request("GET /fapi/v1/time") for _ in range(5)]
        assert [answer is None for answer in answers] == [True, True, False, True, True]
        names.append(answers[2][0])  # type: ignore[index]
    assert names == list(READS)


def test_what_lands_all_the_same_befalls_only_what_writes() -> None:
    dealt = calm()
    for endpoint, lands in (("GET /fapi/v3/account", False), (ORDER, True)):
        landed = set()
        for dice in np.linspace(0, 0.999, 50):
            dealt.begin(planned("requests", 0, after=False, dice=float(dice)))
            struck = dealt.request(endpoint)
            assert struck is not None
            landed.add(struck[1].landed)
        assert landed == ({False, True} if lands else {False})


# Outages


def outages(dealt: Fate, days: int) -> Iterator[Outage]:
    """Those that begin in the first days, found without looking at the clock's moment."""
    for day in range(days):
        found = dealt._outage_of((BEGIN + timedelta(days=day)).date())
        if found is not None:
            yield found


def under(dealt: Fate, moment: datetime) -> set[str]:
    """What is out of reach then."""
    dealt.clock.now = moment  # type: ignore[attr-defined]
    return {what for what in OUTAGES if dealt.outage(what)}


def test_an_outage_covers_its_hours_and_no_others() -> None:
    dealt = fate()
    found = list(outages(dealt, days=120))
    assert {each.what for each in found} == set(OUTAGES)
    assert any(each.since.date() < each.until.date() for each in found), "none is over midnight"
    for number in range(120 * 24 * 4):
        moment = BEGIN + number * timedelta(minutes=15)
        expected = {each.what for each in found if each.since <= moment < each.until}
        assert under(dealt, moment) == expected
    for each in found:
        assert each.what in under(dealt, each.since)
        assert each.what in under(dealt, each.until - timedelta(seconds=1))


def test_a_span_knows_whether_anything_was_out_of_reach_in_it() -> None:
    dealt = fate()
    each = next(found for found in outages(dealt, 120) if found.since.date() < found.until.date())
    hour = timedelta(hours=1)
    assert dealt.any_outage(each.until - timedelta(seconds=1), each.until + hour)
    assert dealt.any_outage(each.since - hour, each.since + timedelta(seconds=1))
    quiet = fate(only=frozenset({each.key}))
    assert quiet.any_outage(each.since, each.until)
    assert not quiet.any_outage(each.until, each.until + 100 * hour)
    assert not quiet.any_outage(each.since - 100 * hour, each.since)


@pytest.mark.parametrize(
    ("part", "error"), [("table", RetryError), ("registry", requests.ConnectionError)]
)
def test_in_an_outage_every_call_of_the_part_is_refused(part: str, error: type[Exception]) -> None:
    dealt = fate()
    outage = next(each for each in outages(dealt, 120) if each.what == part)
    called = Part()
    frail = Frail(called, part, dealt, frozenset())
    dealt.clock.now = outage.since  # type: ignore[attr-defined]
    for _ in range(3):
        with pytest.raises(error):
            frail.put(1)
    assert called.done == 0
    assert dealt.counts == {f"outage of the {part}": 3}
    assert {each.key for each in dealt.struck} == {outage.key}


def test_in_an_outage_of_the_exchange_every_request_ends_at_a_gateway() -> None:
    dealt = fate()
    outage = next(each for each in outages(dealt, 120) if each.what == "exchange")
    dealt.clock.now = outage.since  # type: ignore[attr-defined]
    assert dealt.request("GET /fapi/v1/time") == ("outage", faults.BAD_GATEWAY)


def test_an_outage_can_be_left_out() -> None:
    first, *others = outages(fate(), 120)
    assert list(outages(fate(only=frozenset({first.key})), 120)) == [first]
    assert others


# Days


def test_what_happens_on_a_day_does_so_by_its_chance_and_can_be_left_out() -> None:
    days = [date(2024, 1, 1) + timedelta(days=number) for number in range(1000)]

    def happens(dealt: Fate) -> set[date]:
        return {day for day in days if dealt.daily(day, "risk is set", 0.2) is not None}

    found = happens(fate())
    assert len(found) == pytest.approx(200, rel=0.2)
    kept = min(found)
    assert happens(fate(only=frozenset({f"{kept}/risk is set"}))) == {kept}
    dice: Callable[[], float] = lambda: fate().daily(kept, "risk is set", 0.2).random()  # type: ignore[union-attr] # noqa: E731
    assert dice() == dice()


def test_a_bad_candle_comes_once_and_for_that_event_alone() -> None:
    dealt = calm()
    dealt.begin(None)
    assert not dealt.spoils_candles()
    dealt.begin(Plan("a key", "candles", 0, False, 0.5))
    assert dealt.spoils_candles()
    assert not dealt.spoils_candles()
    assert dealt.counts == {"a bad candle": 1}


def test_a_lack_of_instances_is_what_sagemaker_says_of_it() -> None:
    created: list[str] = []
    dealt = calm()
    dealt.begin(Plan("a key", "capacity", 0, True, 0.5))
    with pytest.raises(CapacityError):
        dealt.call("capacity", lambda: created.append("a job"))
    assert created == []
