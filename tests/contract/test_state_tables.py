"""What holds for every state table, whatever stands behind it."""

from __future__ import annotations

import io
import math
import multiprocessing
import pickle
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier, Thread
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from urllib3 import HTTPResponse

from store import sqlite_file
from store.aws import client, patient
from store.backoff import Backoff
from store.dynamo_state import DynamoState
from store.sqlite_state import SqliteState
from store.state import Item, StateTable, open_state, update
from strategy.errors import ConfigError, ConflictError, DataError, RetryError, StoreError
from tests.aws_fakes import create_state_table, fake_aws
from tests.manual_clock import ManualClock
from tests.state_writers import COUNTER, count_up

TABLE = "trading-state"
AWAKE = Backoff(sleep=lambda seconds: None)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(scope="module")
def dynamodb() -> Iterator[Any]:
    """A client of moto's DynamoDB."""
    with fake_aws():
        yield client("dynamodb")


@pytest.fixture
def dynamo(dynamodb: Any, clock: ManualClock) -> Iterator[DynamoState]:
    create_state_table(dynamodb, TABLE)
    yield DynamoState(dynamodb, TABLE, clock)
    dynamodb.delete_table(TableName=TABLE)


@pytest.fixture(params=["sqlite", "dynamodb"])
def table(request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock) -> StateTable:
    if request.param == "sqlite":
        return SqliteState(tmp_path / "var" / "own" / "state.db", clock)
    return request.getfixturevalue("dynamo")


def test_what_was_never_written_is_none(table: StateTable) -> None:
    assert table.get("job", "a") is None
    assert table.items("job") == []


def test_what_is_written_is_read(table: StateTable) -> None:
    written = table.put("job", "a", {"status": "running"}, expected=0)
    assert written == Item("job", "a", {"status": "running"}, version=1)
    assert table.get("job", "a") == written


def test_every_change_is_one_version_more(table: StateTable) -> None:
    for version in range(3):
        assert table.put("job", "a", {"windows": version}, expected=version).version == version + 1
    assert table.get("job", "a") == Item("job", "a", {"windows": 2}, version=3)


def test_a_writer_that_read_an_older_version_changes_nothing(table: StateTable) -> None:
    table.put("job", "a", {"by": "first"}, expected=0)
    table.put("job", "a", {"by": "second"}, expected=1)
    with pytest.raises(ConflictError, match="job/a is at version 2, not 1"):
        table.put("job", "a", {"by": "third"}, expected=1)
    assert table.get("job", "a") == Item("job", "a", {"by": "second"}, version=2)


def test_what_exists_is_not_made_again(table: StateTable) -> None:
    table.put("job", "a", {"by": "first"}, expected=0)
    with pytest.raises(ConflictError):
        table.put("job", "a", {"by": "second"}, expected=0)
    assert table.get("job", "a") == Item("job", "a", {"by": "first"}, version=1)


def test_what_does_not_exist_is_not_replaced(table: StateTable) -> None:
    with pytest.raises(ConflictError, match="version 0"):
        table.put("job", "a", {}, expected=1)
    assert table.get("job", "a") is None


def test_a_put_replaces_the_whole_value(table: StateTable) -> None:
    table.put("job", "a", {"old": 1}, expected=0)
    assert table.put("job", "a", {"new": 2}, expected=1).value == {"new": 2}
    item = table.get("job", "a")
    assert item is not None and item.value == {"new": 2}


def test_what_is_deleted_is_gone_and_can_be_made_anew(table: StateTable) -> None:
    table.put("job", "a", {}, expected=0)
    table.delete("job", "a", expected=1)
    assert table.get("job", "a") is None
    assert table.put("job", "a", {}, expected=0).version == 1


@pytest.mark.parametrize("expected", [0, 1, 3])
def test_only_the_version_that_was_read_is_deleted(table: StateTable, expected: int) -> None:
    table.put("job", "a", {}, expected=0)
    table.put("job", "a", {}, expected=1)
    with pytest.raises(ConflictError):
        table.delete("job", "a", expected=expected)
    assert table.get("job", "a") is not None


@pytest.mark.parametrize("expected", [0, 1])
def test_what_does_not_exist_is_not_deleted(table: StateTable, expected: int) -> None:
    with pytest.raises(ConflictError):
        table.delete("job", "a", expected=expected)


def test_items_of_a_partition_come_in_order_of_their_keys(table: StateTable) -> None:
    for key in ("b", "a/2", "é", "a/10", "Z"):
        table.put("job", key, {"key": key}, expected=0)
    table.put("other", "a/3", {}, expected=0)
    assert [item.key for item in table.items("job")] == ["Z", "a/10", "a/2", "b", "é"]
    assert [item.value for item in table.items("job", "a/")] == [{"key": "a/10"}, {"key": "a/2"}]


@pytest.mark.parametrize("wildcard", ["%", "_", "*", "?", "[a]"])
def test_a_prefix_is_taken_literally(table: StateTable, wildcard: str) -> None:
    for key in (" abc", wildcard + "x", "abc"):
        table.put("job", key, {}, expected=0)
    assert [item.key for item in table.items("job", wildcard)] == [wildcard + "x"]


def test_a_prefix_tells_capitals_from_small_letters(table: StateTable) -> None:
    for key in ("Abc", "abc"):
        table.put("job", key, {}, expected=0)
    assert [item.key for item in table.items("job", "a")] == ["abc"]


def test_a_partition_of_many_pages_is_read_whole(table: StateTable) -> None:
    big = {"text": "x" * 200_000}
    keys = [f"{number:02d}" for number in range(8)]  # DynamoDB gives 1 MB a page
    for key in keys:
        table.put("job", key, big, expected=0)
    assert [item.key for item in table.items("job")] == keys


def test_a_value_comes_back_equal_and_of_plain_types(table: StateTable) -> None:
    value = {
        "text": "Ação ✓ \x00",
        "price": "64123.10",
        "whole": 2.0,
        "large": 2**70,
        "fraction": 0.1 + 0.2,
        "small": -1.5e-9,
        "yes": True,
        "nothing": None,
        "empty": {"list": [], "map": {}, "text": ""},
        "list": [1, [2.5, {"deep": False}]],
    }
    written = table.put("job", "a", value, expected=0)
    read = table.get("job", "a")
    assert read == written
    assert read is not None and read.value == value
    assert repr(read.value["whole"]) == repr(written.value["whole"]) == "2"
    assert read.value["yes"] is True


numbers = st.integers(-(10**38) + 1, 10**38 - 1) | st.floats(-1e37, 1e37).filter(
    lambda x: x == 0 or abs(x) >= 1e-130
)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
leaves = st.none() | st.booleans() | numbers | texts
names = texts.filter(len)
documents = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=st.dictionaries(names, documents, max_size=4))
def test_any_json_value_survives_the_round_trip(table: StateTable, value: dict[str, Any]) -> None:
    update(table, "job", "a", lambda _: value)
    item = table.get("job", "a")
    assert item is not None and item.value == value


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({"mean": math.nan}, r"job/a\.mean: nan"),
        ({"deep": [1, {"pf": math.inf}]}, r"job/a\.deep\[1\]\.pf: inf"),
        ({"count": 10**38}, "38 digits"),
        ({"count": 1e300}, "38 digits"),
        ({"tiny": 1e-131}, "too near to 0"),
        ({"when": datetime(2026, 1, 1, tzinfo=UTC)}, r"job/a\.when: datetime is not JSON"),
        ({"raw": b"x"}, "bytes is not JSON"),
        ({1: "x"}, "the name 1 must be a text"),
        ({"": "x"}, "the name '' must be a text"),
        ({"text": "\ud800"}, "not Unicode"),
        ({"text": "x" * 300_000}, "300,012 bytes"),
    ],
)
def test_what_is_not_json_or_too_large_is_refused_by_name(
    table: StateTable, value: Mapping[str, Any], says: str
) -> None:
    with pytest.raises(DataError, match=says):
        table.put("job", "a", value, expected=0)
    assert table.get("job", "a") is None


def test_a_value_that_is_nested_too_deeply_is_refused(table: StateTable) -> None:
    value: dict[str, Any] = {}
    for _ in range(29):
        value = {"inner": value}
    assert table.put("job", "a", {"inner": value}, expected=0).value == {"inner": value}
    with pytest.raises(DataError, match="nested deeper"):
        table.put("job", "b", {"inner": {"inner": value}}, expected=0)


@pytest.mark.parametrize("name", ["", "x" * 1025, "\udc00"])
def test_a_name_that_no_table_can_have_is_refused(table: StateTable, name: str) -> None:
    for attempt in (
        lambda: table.get("job", name),
        lambda: table.get(name, "a"),
        lambda: table.items(name),
        lambda: table.put("job", name, {}, expected=0),
        lambda: table.delete(name, "a", expected=1),
    ):
        with pytest.raises(DataError):
            attempt()


def test_an_item_is_gone_from_its_expiry_on(table: StateTable, clock: ManualClock) -> None:
    expiry = clock.now + timedelta(hours=1)
    written = table.put("job", "a", {}, expected=0, expires_at=expiry)
    assert written.expires_at == expiry
    clock.now = expiry - timedelta(seconds=1)
    assert table.get("job", "a") == written
    assert table.items("job") == [written]
    clock.now = expiry
    assert table.get("job", "a") is None
    assert table.items("job") == []
    with pytest.raises(ConflictError, match="version 0"):
        table.put("job", "a", {}, expected=1)
    with pytest.raises(ConflictError):
        table.delete("job", "a", expected=1)
    assert table.put("job", "a", {"anew": True}, expected=0).version == 1
    assert table.get("job", "a") == Item("job", "a", {"anew": True}, version=1)


def test_an_expiry_is_rounded_up_to_a_second(table: StateTable, clock: ManualClock) -> None:
    expiry = clock.now + timedelta(seconds=1)
    soon = clock.now + timedelta(milliseconds=200)
    assert table.put("job", "a", {}, expected=0, expires_at=soon).expires_at == expiry


def test_a_put_without_an_expiry_makes_an_item_stay(table: StateTable, clock: ManualClock) -> None:
    table.put("job", "a", {}, expected=0, expires_at=clock.now + timedelta(hours=1))
    table.put("job", "a", {}, expected=1)
    clock.forward(hours=2)
    assert table.get("job", "a") is not None


def test_an_update_keeps_the_expiry_unless_it_is_given_another(
    table: StateTable, clock: ManualClock
) -> None:
    expiry, later = clock.now + timedelta(hours=1), clock.now + timedelta(hours=2)
    table.put("job", "a", {}, expected=0, expires_at=expiry)
    assert update(table, "job", "a", lambda _: {"n": 1}).expires_at == expiry
    assert update(table, "job", "a", lambda _: {"n": 2}, expires_at=later).expires_at == later


def test_an_update_sees_none_where_there_is_nothing(table: StateTable) -> None:
    seen = []

    def change(value: Mapping[str, Any] | None) -> Mapping[str, Any]:
        seen.append(value)
        return {"n": 1}

    assert update(table, "job", "a", change).version == 1
    assert update(table, "job", "a", change).version == 2
    assert seen == [None, {"n": 1}]


def test_an_update_that_was_overtaken_starts_from_what_is_there_now(table: StateTable) -> None:
    table.put("job", "a", {"n": 1}, expected=0)
    seen = []

    def overtaken_once(value: Mapping[str, Any] | None) -> Mapping[str, Any]:
        assert value is not None
        if not seen:
            table.put("job", "a", {"n": 10}, expected=1)
        seen.append(value["n"])
        return {"n": value["n"] + 1}

    assert update(table, "job", "a", overtaken_once, backoff=AWAKE).value == {"n": 11}
    assert seen == [1, 10]


def test_an_update_that_is_always_overtaken_gives_up(table: StateTable) -> None:
    pauses: list[float] = []
    backoff = Backoff(pauses.append, attempts=4, first=0.01, longest=0.03)

    def overtaken(value: Mapping[str, Any] | None) -> Mapping[str, Any]:
        item = table.get("job", "a")
        table.put("job", "a", {}, expected=item.version if item else 0)
        return {}

    with pytest.raises(ConflictError):
        update(table, "job", "a", overtaken, backoff=backoff)
    assert len(pauses) == 3
    for pause, most in zip(pauses, (0.01, 0.02, 0.03), strict=True):
        assert most / 2 <= pause <= most


def test_an_error_in_the_change_leaves_the_item_alone(table: StateTable) -> None:
    table.put("job", "a", {"n": 1}, expected=0)

    def fails(value: Mapping[str, Any] | None) -> Mapping[str, Any]:
        raise DataError("no")

    with pytest.raises(DataError, match="no"):
        update(table, "job", "a", fails)
    assert table.get("job", "a") == Item("job", "a", {"n": 1}, version=1)


def test_threads_that_count_together_lose_nothing(table: StateTable) -> None:
    together = Barrier(6)
    writers = [Thread(target=count_up, args=(table, 10, together)) for _ in range(6)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    item = table.get(*COUNTER)
    assert item is not None and (item.value, item.version) == ({"count": 60}, 60)


def test_processes_that_count_together_lose_nothing(tmp_path: Path) -> None:
    table = SqliteState(tmp_path / "state.db")
    context = multiprocessing.get_context("spawn")
    together = context.Barrier(4)
    writers = [context.Process(target=count_up, args=(table, 25, together)) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    item = table.get(*COUNTER)
    assert item is not None and (item.value, item.version) == ({"count": 100}, 100)


def test_only_one_of_many_first_writers_makes_the_item(table: StateTable) -> None:
    together, winners = Barrier(6), []

    def make(number: int) -> None:
        together.wait()
        try:
            winners.append(table.put("job", "a", {"by": number}, expected=0).value)
        except ConflictError:
            return

    makers = [Thread(target=make, args=(number,)) for number in range(6)]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join()
    item = table.get("job", "a")
    assert item is not None and winners == [item.value]


def test_a_sqlite_table_can_be_sent_to_another_process(tmp_path: Path) -> None:
    table = SqliteState(tmp_path / "state.db")
    table.put("job", "a", {}, expected=0)
    assert pickle.loads(pickle.dumps(table)).get("job", "a") == table.get("job", "a")


def test_a_uri_names_the_table(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    open_state("sqlite:///var/state.db", clock).put("job", "a", {}, expected=0)
    path = tmp_path / "var" / "state.db"
    assert path.exists()
    assert open_state(f"sqlite:///{path}", clock).get("job", "a") is not None


def test_a_uri_names_a_table_in_dynamodb(dynamo: DynamoState, clock: ManualClock) -> None:
    dynamo.put("job", "a", {}, expected=0)
    assert open_state(f"dynamodb://{TABLE}", clock).get("job", "a") is not None


@pytest.mark.parametrize(
    "uri", ["", "var/state.db", "sqlite://", "sqlite:///", "sqlite://var/state.db", "dynamodb://"]
)
def test_a_uri_that_names_no_table_is_refused(uri: str) -> None:
    with pytest.raises(ConfigError, match="state table"):
        open_state(uri)


def test_a_file_that_is_no_database_is_an_error_that_names_it(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    path.write_text("this is a text file, longer than the header of a database " * 20)
    with pytest.raises(StoreError, match=r"state\.db cannot be used"):
        SqliteState(path).get("job", "a")


def test_a_folder_that_cannot_be_made_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"state\.db cannot be used"):
        SqliteState(tmp_path / "file" / "state.db").put("job", "a", {}, expected=0)


def test_a_file_that_stays_locked_is_an_error_to_retry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = SqliteState(tmp_path / "state.db")
    table.put("job", "a", {}, expected=0)
    monkeypatch.setattr(sqlite_file, "_PATIENCE", 0.0)
    with closing(sqlite3.connect(table.path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(RetryError, match=r"state\.db is locked"):
            table.put("job", "a", {}, expected=1)
    assert table.put("job", "a", {}, expected=1).version == 2


def test_a_missing_dynamodb_table_is_an_error_that_names_it(dynamo: DynamoState) -> None:
    missing = DynamoState(dynamo.client, "no-such-table", backoff=patient(lambda seconds: None))
    for attempt in (
        lambda: missing.get("job", "a"),
        lambda: missing.items("job"),
        lambda: missing.put("job", "a", {}, expected=0),
    ):
        with pytest.raises(StoreError, match=r"no-such-table: .* does not exist"):
            attempt()


def test_a_write_whose_answer_was_lost_is_recognised_when_it_is_repeated(
    dynamo: DynamoState,
) -> None:
    """Or an increment would be counted twice."""

    class LosesAnswers:
        exceptions = dynamo.client.exceptions

        def put_item(self, **arguments: Any) -> Any:
            dynamo.client.put_item(**arguments)
            return dynamo.client.put_item(**arguments)

    repeated = DynamoState(LosesAnswers(), TABLE)
    assert repeated.put("job", "a", {"n": 1}, expected=0).version == 1
    assert repeated.put("job", "a", {"n": 2}, expected=1).version == 2
    with pytest.raises(ConflictError):
        repeated.put("job", "a", {"n": 9}, expected=1)
    assert dynamo.get("job", "a") == Item("job", "a", {"n": 2}, version=2)


def test_a_person_can_read_a_dynamodb_item_in_the_console(dynamo: DynamoState) -> None:
    expiry = datetime(2030, 1, 1, tzinfo=UTC)
    dynamo.put("job", "a", {"status": "running", "windows": 3}, expected=0, expires_at=expiry)
    row = dynamo.client.get_item(
        TableName=TABLE, Key={"partition": {"S": "job"}, "key": {"S": "a"}}
    )["Item"]
    del row["write_id"]
    assert row == {
        "partition": {"S": "job"},
        "key": {"S": "a"},
        "version": {"N": "1"},
        "value": {"M": {"status": {"S": "running"}, "windows": {"N": "3"}}},
        "expires_at": {"N": str(int(expiry.timestamp()))},
    }


def test_an_item_that_a_person_made_wrongly_is_an_error_that_names_it(dynamo: DynamoState) -> None:
    place = {"partition": {"S": "job"}, "key": {"S": "a"}}
    for content in ({}, {"version": {"N": "1"}, "value": {"SS": ["x"]}}):
        dynamo.client.put_item(TableName=TABLE, Item=place | content)
        with pytest.raises(StoreError, match="job/a is not an item of this system"):
            dynamo.get("job", "a")


def test_a_throttled_request_is_repeated_by_our_own_pauses_alone(
    dynamodb: Any, dynamo: DynamoState
) -> None:
    refusal = io.BytesIO(b'{"__type": "x#ThrottlingException"}')
    answer = AWSResponse("", 400, {}, HTTPResponse(refusal, preload_content=False))
    throttled = [answer, answer]
    slept: list[float] = []

    def intercept(**arguments: Any) -> AWSResponse | None:
        return throttled.pop() if throttled else None

    dynamodb.meta.events.register_first("before-send.dynamodb.PutItem", intercept)
    try:
        patience = Backoff(slept.append, attempts=3)
        item = DynamoState(dynamodb, TABLE, backoff=patience).put("job", "a", {}, expected=0)
    finally:
        dynamodb.meta.events.unregister("before-send.dynamodb.PutItem", intercept)
    assert dynamo.get("job", "a") == item
    assert len(slept) == 2, "botocore repeats nothing by itself"
