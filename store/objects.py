"""Files by name under one root: a folder, or a prefix of an S3 bucket."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar
from uuid import uuid4

from store import aws
from strategy.errors import ConfigError, ConflictError, StoreError

T = TypeVar("T")

_S3_READERS = 32
"""Requests side by side: S3 answers each in tens of milliseconds, whatever its size."""
_S3_DELETES = 1000  # the most that S3 takes in one request


class Entry(NamedTuple):
    """A file as a listing shows it."""

    name: str
    modified: datetime
    """UTC."""


class Objects(Protocol):
    """Files under one root; a reader never sees half of one.

    Names are relative, with slashes, as ``trial-0007/window-03``. Every method raises
    StoreError or RetryError naming the root when it cannot be used.
    """

    def create(self, name: str, content: bytes) -> bool:
        """Write a file that is not there yet; False, and nothing is changed, if it is."""

    def replace(self, name: str, content: bytes) -> None:
        """Write a file, whether or not it is there."""

    def read(self, name: str) -> bytes | None:
        """The file's content; None if there is no such file."""

    def read_all(self, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Names and contents, in the order given; a file that is gone is left out."""

    def entries(self, prefix: str = "") -> list[Entry]:
        """All files whose names begin so, in order of name."""

    def delete(self, names: Iterable[str]) -> None:
        """Remove files; one that is not there is no error."""


@dataclass(frozen=True)
class FolderObjects:
    """Files in a folder, which is made by the first write.

    They are not synced to the disk one by one: after a power cut one may be torn, which
    whoever reads it must notice by its hash.
    """

    root: Path

    def create(self, name: str, content: bytes) -> bool:
        part = self._written(name, content)
        try:
            os.link(part, self.root / name)
        except FileExistsError:
            return False
        except OSError as error:
            raise self._refused(error) from error
        finally:
            part.unlink()
        return True

    def replace(self, name: str, content: bytes) -> None:
        part = self._written(name, content)
        try:
            part.replace(self.root / name)
        except OSError as error:
            raise self._refused(error) from error

    def read(self, name: str) -> bytes | None:
        try:
            return (self.root / name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._refused(error) from error

    def read_all(self, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        for name in names:
            if (content := self.read(name)) is not None:
                yield name, content

    def entries(self, prefix: str = "") -> list[Entry]:
        found = []
        try:
            for folder, _, files in os.walk(self.root, onerror=_unless_gone):
                for file in files:
                    path = Path(folder, file)
                    name = path.relative_to(self.root).as_posix()
                    if name.startswith(prefix) and not file.startswith("."):
                        with suppress(FileNotFoundError):  # removed since it was listed
                            modified = datetime.fromtimestamp(path.stat().st_mtime, UTC)
                            found.append(Entry(name, modified))
        except OSError as error:
            raise self._refused(error) from error
        return sorted(found)

    def delete(self, names: Iterable[str]) -> None:
        for name in names:
            path = self.root / name
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise self._refused(error) from error
            with suppress(OSError):  # it is not empty, or not there
                path.parent.rmdir()

    def _written(self, name: str, content: bytes) -> Path:
        """A hidden file beside the place where it will go, whole.

        Its name is new, since one that a killed process left may be linked to its place already.
        """
        path = self.root / name
        part = path.with_name(f".{path.name}.{uuid4().hex}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(content)
        except OSError as error:
            with suppress(OSError):
                part.unlink()
            raise self._refused(error) from error
        return part

    def _refused(self, error: OSError) -> StoreError:
        return StoreError(
            f"{error.filename or self.root}: {error.strerror or error}; free or unlock the folder"
        )


@dataclass(frozen=True)
class S3Objects:
    """Files under a prefix of an S3 bucket.

    Parameters
    ----------
    bucket, prefix
        ``s3://bucket/prefix``; the prefix is empty or ends with a slash.
    """

    bucket: str
    prefix: str

    def __reduce__(self) -> tuple[Any, ...]:  # a client does not travel between processes
        return S3Objects, (self.bucket, self.prefix)

    @cached_property
    def _s3(self) -> Any:
        return aws.client("s3")

    def create(self, name: str, content: bytes) -> bool:
        try:
            self._ask(
                lambda: self._s3.put_object(
                    Bucket=self.bucket, Key=self.prefix + name, Body=content, IfNoneMatch="*"
                )
            )
        except ConflictError:
            return False
        return True

    def replace(self, name: str, content: bytes) -> None:
        key = self.prefix + name
        self._ask(lambda: self._s3.put_object(Bucket=self.bucket, Key=key, Body=content))

    def read(self, name: str) -> bytes | None:
        def get() -> bytes | None:
            try:
                answer = self._s3.get_object(Bucket=self.bucket, Key=self.prefix + name)
            except self._s3.exceptions.NoSuchKey:
                return None
            content: bytes = answer["Body"].read()
            return content

        return self._ask(get)

    def read_all(self, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        wanted = list(names)
        _ = self._s3  # made once, before threads share it
        with ThreadPoolExecutor(_S3_READERS) as readers:
            for name, content in zip(wanted, readers.map(self.read, wanted), strict=True):
                if content is not None:
                    yield name, content

    def entries(self, prefix: str = "") -> list[Entry]:
        def listed() -> list[Entry]:
            pages = self._s3.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=self.prefix + prefix
            )
            return [
                Entry(each["Key"].removeprefix(self.prefix), each["LastModified"].astimezone(UTC))
                for page in pages
                for each in page.get("Contents", ())
            ]

        return self._ask(listed)

    def delete(self, names: Iterable[str]) -> None:
        for batch in _batched([{"Key": self.prefix + name} for name in names]):
            self._ask(partial(self._delete, batch))

    def _delete(self, batch: list[dict[str, str]]) -> None:
        doomed = {"Objects": batch, "Quiet": True}
        answer = self._s3.delete_objects(Bucket=self.bucket, Delete=doomed)
        for refused in answer.get("Errors", ()):  # each file for itself, in an answer of success
            raise self._s3.exceptions.ClientError({"Error": refused}, "DeleteObjects")

    def _ask(self, request: Callable[[], T]) -> T:
        return aws.ask(f"s3://{self.bucket}/{self.prefix}", request, aws.patient())


def _unless_gone(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def _batched(keys: list[dict[str, str]]) -> Iterator[list[dict[str, str]]]:
    """As many as S3 deletes in one request."""
    for start in range(0, len(keys), _S3_DELETES):
        yield keys[start : start + _S3_DELETES]


def open_objects(uri: str) -> Objects:
    """Files at a URI: ``s3://bucket/prefix``, or the path of a folder.

    Raises
    ------
    ConfigError
        For a bucket that is not named, or still a placeholder.
    """
    if not uri.startswith("s3://"):
        return FolderObjects(Path(uri))
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    if not bucket or "[" in bucket:
        raise ConfigError(f"{uri}: name the bucket, as s3://my-bucket/prefix/")
    prefix = prefix.strip("/")
    return S3Objects(bucket, f"{prefix}/" if prefix else "")
