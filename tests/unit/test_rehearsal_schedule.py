"""What fires in a rehearsal: the rules that are deployed, as their template says."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime

from rehearsal.fate import KINDS
from rehearsal.schedule import deployed_rules, firings

DAY = date(2024, 2, 29)
FIRED = list(firings(deployed_rules(), DAY))


def times(rule: str) -> list[str]:
    return [f"{moment:%H:%M}" for moment, each in FIRED if each.name == rule]


def test_a_day_has_its_ticks_its_download_its_orchestration_and_its_window() -> None:
    counts = Counter(rule.function for _, rule in FIRED)
    assert counts == {
        "trading_bot": 288,
        "data_downloader": 1,
        "orchestrator": 1,
        "initiate_validation_window": 9,
    }
    assert times("Tick") == [f"{n // 12:02}:{n % 12 * 5:02}" for n in range(288)]
    assert times("Download") == ["00:00"]
    assert times("Orchestrate") == ["01:00"]
    assert times("OpenWindow") == [f"{hour}:00" for hour in range(14, 22)]
    assert times("CloseWindow") == ["22:00"]


def test_each_is_called_with_the_event_of_its_rule() -> None:
    events = {rule.name: rule.event for rule in deployed_rules()}
    assert events["OpenWindow"] == {"action": "open"}
    assert events["CloseWindow"] == {"action": "close"}
    assert events["Tick"] == events["Download"] == events["Orchestrate"] == {}


def test_all_of_a_day_is_in_order_and_within_a_minute_in_the_order_of_the_template() -> None:
    names = [rule.name for rule in deployed_rules()]
    order = [(moment, names.index(rule.name)) for moment, rule in FIRED]
    assert order == sorted(order)
    at_midnight = [rule.name for moment, rule in FIRED if moment == FIRED[0][0]]
    assert at_midnight == ["Download", "Tick"]
    assert {moment.date() for moment, _ in FIRED} == {DAY}
    assert FIRED[0][0] == datetime(2024, 2, 29, tzinfo=UTC)


def test_every_function_that_fires_has_faults_of_its_own() -> None:
    assert {rule.function for rule in deployed_rules()} <= KINDS.keys()
