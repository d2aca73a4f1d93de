"""What holds for files by name, whether they lie in a folder or in an S3 bucket."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from store import aws
from store.backoff import Backoff
from store.clock import utc_now
from store.objects import FolderObjects, Objects, S3Objects, open_objects
from strategy.errors import ConfigError, RetryError, StoreError
from tests.aws_fakes import fake_aws

BUCKET = "trading-artifacts"
URI = f"s3://{BUCKET}/checkpoints"


@pytest.fixture(scope="module")
def account() -> Iterator[None]:
    with fake_aws():
        yield


@pytest.fixture
def s3(account: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr(aws, "patient", lambda: Backoff(sleep=lambda seconds: None, attempts=3))
    client = aws.client("s3")
    where = {"LocationConstraint": aws.REGION}
    client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration=where)
    yield client
    for entry in client.list_objects_v2(Bucket=BUCKET).get("Contents", ()):
        client.delete_object(Bucket=BUCKET, Key=entry["Key"])
    client.delete_bucket(Bucket=BUCKET)


@pytest.fixture(params=["folder", "s3"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> Objects:
    if request.param == "folder":
        return open_objects(str(tmp_path / "checkpoints"))
    request.getfixturevalue("s3")
    return open_objects(URI)


def names(objects: Objects, prefix: str = "") -> list[str]:
    return [entry.name for entry in objects.entries(prefix)]


def test_a_place_that_was_never_written_to_is_empty(objects: Objects) -> None:
    assert objects.read("trial-1/window-01") is None
    assert objects.entries() == []
    objects.delete(["trial-1/window-01"])


@pytest.mark.parametrize("content", [b"", b"line\nline\r\n", bytes(range(256)) * 5000])
def test_what_is_written_is_read_to_the_last_byte(objects: Objects, content: bytes) -> None:
    assert objects.create("trial-1/window-01", content)
    objects.replace("trial-1/window-02", content)
    assert objects.read("trial-1/window-01") == content
    assert objects.read("trial-1/window-02") == content


def test_what_is_there_is_not_created_again(objects: Objects) -> None:
    assert objects.create("a", b"first")
    assert not objects.create("a", b"second")
    assert objects.read("a") == b"first"
    assert names(objects) == ["a"]


def test_of_many_who_create_the_same_file_one_succeeds(objects: Objects) -> None:
    contents = [str(number).encode() * 1000 for number in range(16)]
    with ThreadPoolExecutor(1 if isinstance(objects, S3Objects) else 8) as writers:
        made = list(writers.map(lambda content: objects.create("a", content), contents))
    assert made.count(True) == 1
    assert objects.read("a") == contents[made.index(True)]


def test_a_replaced_file_has_the_new_content(objects: Objects) -> None:
    objects.replace("a", b"first, and longer")
    objects.replace("a", b"second")
    assert objects.read("a") == b"second"


def test_entries_are_in_order_of_name_and_only_those_of_the_prefix(objects: Objects) -> None:
    for name in ("b/2", "a/10", "a/1", "ab", "b/1", "a/1-b"):
        objects.create(name, b"")
    assert names(objects) == ["a/1", "a/1-b", "a/10", "ab", "b/1", "b/2"]
    assert names(objects, "a/") == ["a/1", "a/1-b", "a/10"]
    assert names(objects, "a") == ["a/1", "a/1-b", "a/10", "ab"]
    assert names(objects, "c") == []


def test_an_entry_tells_when_its_file_was_written(objects: Objects) -> None:
    objects.create("a", b"")
    (entry,) = objects.entries()
    assert entry.modified.tzinfo is UTC
    assert abs(entry.modified - utc_now()) < timedelta(hours=1)


def test_all_are_read_in_the_order_that_was_asked_for_and_missing_ones_left_out(
    objects: Objects,
) -> None:
    written = {f"trial-{number}/window": str(number).encode() for number in range(70)}
    for name, content in written.items():
        objects.create(name, content)
    asked = [*reversed(written), "nowhere", "trial-3/window"]
    expected = [(name, written[name]) for name in asked if name in written]
    assert list(objects.read_all(asked)) == expected
    assert list(objects.read_all([])) == []


def test_what_is_deleted_is_gone_and_can_be_created_anew(objects: Objects) -> None:
    for name in ("a/1", "a/2", "b/1"):
        objects.create(name, b"first")
    objects.delete(["a/1", "a/2", "nowhere"])
    assert names(objects) == ["b/1"]
    assert objects.create("a/1", b"second")
    assert objects.read("a/1") == b"second"


def test_objects_travel_to_another_process(objects: Objects) -> None:
    objects.create("a", b"content")
    there: Objects = pickle.loads(pickle.dumps(objects))
    assert there.read("a") == b"content"


def test_more_files_than_s3_lists_or_deletes_at_once(s3: Any) -> None:
    objects = open_objects(URI)
    for number in range(1001):
        s3.put_object(Bucket=BUCKET, Key=f"checkpoints/{number:04d}", Body=b"")
    assert len(names(objects)) == 1001
    objects.delete(names(objects))
    assert names(objects) == []


def test_what_lies_beside_the_prefix_is_not_seen(s3: Any) -> None:
    s3.put_object(Bucket=BUCKET, Key="checkpoints-of-another/a", Body=b"")
    s3.put_object(Bucket=BUCKET, Key="a", Body=b"")
    assert names(open_objects(URI)) == []
    assert names(open_objects(f"s3://{BUCKET}")) == ["a", "checkpoints-of-another/a"]


def test_half_a_file_is_never_seen_in_a_folder(tmp_path: Path) -> None:
    objects = FolderObjects(tmp_path)
    (tmp_path / ".window-01.7.part").write_bytes(b"half of")
    assert objects.entries() == []


def test_what_a_killed_writer_left_does_not_change_what_it_had_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was killed after the link, before it removed its own name of the same file."""
    objects = FolderObjects(tmp_path)
    with monkeypatch.context() as killed:
        killed.setattr(Path, "unlink", lambda path: None)
        objects.create("window-01", b"whole")
    assert len(list(tmp_path.iterdir())) == 2
    assert not objects.create("window-01", b"other")
    assert objects.read("window-01") == b"whole"
    assert names(objects) == ["window-01"]


def test_a_file_that_vanishes_while_a_folder_is_listed_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects = FolderObjects(tmp_path)
    for name in ("a", "b"):
        objects.create(name, b"")
    listing = os.walk

    def then_one_is_gone(*arguments: Any, **named: Any) -> Any:
        for step in listing(*arguments, **named):
            (tmp_path / "a").unlink(missing_ok=True)
            yield step

    monkeypatch.setattr(os, "walk", then_one_is_gone)
    assert names(objects) == ["b"]


@pytest.mark.parametrize(
    "use",
    [
        lambda objects: objects.create("a/b", b""),
        lambda objects: objects.replace("a/b", b""),
        lambda objects: objects.read("a/b"),
        lambda objects: objects.entries(),
        lambda objects: objects.delete(["a/b"]),
    ],
)
def test_a_folder_that_is_none_is_named(tmp_path: Path, use: Callable[[Objects], object]) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StoreError, match=rf"{tmp_path}/file.*free or unlock the folder"):
        use(FolderObjects(tmp_path / "file"))


USES: dict[str, Callable[[Objects], object]] = {
    "PutObject": lambda objects: objects.create("a", b""),
    "PutObject again": lambda objects: objects.replace("a", b""),
    "GetObject": lambda objects: objects.read("a"),
    "ListObjectsV2": lambda objects: objects.entries(),
    "DeleteObjects": lambda objects: objects.delete(["a"]),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
@pytest.mark.usefixtures("s3")
def test_a_bucket_that_does_not_exist_is_named(use: Callable[[Objects], object]) -> None:
    with pytest.raises(StoreError, match=r"s3://nowhere/.*NoSuchBucket.*does not exist"):
        use(open_objects("s3://nowhere/checkpoints"))


class Failing:
    """A client whose next requests fail, each in its own way."""

    def __init__(self, client: Any, *errors: Exception) -> None:
        self.client, self.errors = client, list(errors)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.client, name)
        if not name.endswith(("_object", "_objects", "_v2")):
            return found

        def asking(**named: Any) -> Any:
            if self.errors:
                raise self.errors.pop(0)
            return found(**named)

        return asking

    def get_paginator(self, name: str) -> Any:
        if self.errors:
            raise self.errors.pop(0)
        return self.client.get_paginator(name)


def failing(s3: Any, *errors: Exception) -> S3Objects:
    objects = S3Objects(BUCKET, "checkpoints/")
    objects.__dict__["_s3"] = Failing(s3, *errors)
    return objects


def answer(code: str, status: int) -> ClientError:
    response: Any = {
        "Error": {"Code": code, "Message": "said AWS"},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError(response, "PutObject")


LATER = (
    answer("SlowDown", 503),
    answer("InternalError", 500),
    answer("ConditionalRequestConflict", 409),
    EndpointConnectionError(endpoint_url="https://s3"),
)


@pytest.mark.parametrize("use", USES.values(), ids=USES)
@pytest.mark.parametrize("error", LATER, ids=str)
def test_what_may_work_later_is_tried_again(
    s3: Any, error: Exception, use: Callable[[Objects], object]
) -> None:
    use(failing(s3, error, error))
    with pytest.raises(RetryError, match=URI):
        use(failing(s3, error, error, error))


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_a_missing_permission_is_told_at_once(s3: Any, use: Callable[[Objects], object]) -> None:
    with pytest.raises(StoreError, match=rf"{URI}/.*Allow \w+ on it in the policy of the role"):
        use(failing(s3, answer("AccessDenied", 403)))


def test_a_file_that_s3_does_not_delete_is_an_error(s3: Any) -> None:
    """Its answer is a success all the same."""
    objects = failing(s3)
    refused = {"Key": "checkpoints/a", "Code": "AccessDenied", "Message": "Access Denied"}
    s3.meta.events.register(
        "after-call.s3.DeleteObjects", lambda parsed, **_: parsed.update(Errors=[refused])
    )
    with pytest.raises(StoreError, match="Allow DeleteObjects on it"):
        objects.delete(["a"])


@pytest.mark.parametrize("uri", ["s3://", "s3:///prefix", "s3://[BUCKET_NAME]/checkpoints/"])
def test_a_bucket_that_is_not_named_is_a_matter_of_configuration(uri: str) -> None:
    with pytest.raises(ConfigError, match="name the bucket"):
        open_objects(uri)
