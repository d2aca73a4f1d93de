"""Connections to a SQLite file are used again, and never where that could do harm."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from threading import Barrier, Thread

import pytest

from store.sqlite_file import FLEETING, LASTING, SqliteFile
from strategy.errors import StoreError

SCHEMA = "CREATE TABLE IF NOT EXISTS words (word TEXT);"
FILE = "words.db"


@pytest.fixture
def file(tmp_path: Path) -> SqliteFile:
    file = SqliteFile(tmp_path / FILE, SCHEMA)
    write(file, "first")  # makes the file; what is opened from now on is used again
    return file


def write(file: SqliteFile, word: str) -> None:
    with file.writing() as database:
        database.execute("INSERT INTO words VALUES (?)", (word,))


def words(file: SqliteFile) -> list[str]:
    with file.reading() as database:
        return [word for (word,) in database.execute("SELECT word FROM words ORDER BY rowid")]


def connection(file: SqliteFile) -> sqlite3.Connection:
    with file.reading() as database:
        return database


def test_a_connection_is_used_again_and_sees_what_others_write(file: SqliteFile) -> None:
    used = connection(file)
    with closing(sqlite3.connect(file.path)) as other, other:
        other.execute("INSERT INTO words VALUES ('second')")
    assert words(file) == ["first", "second"]
    assert connection(file) is used


def test_two_at_once_have_a_connection_each(file: SqliteFile) -> None:
    with file.reading() as one, file.reading() as other:
        assert one is not other


def test_a_file_that_was_deleted_is_made_anew(file: SqliteFile) -> None:
    assert words(file) == ["first"]
    file.path.unlink()
    write(file, "anew")
    assert words(file) == ["anew"]


def test_a_file_whose_folder_was_deleted_is_made_anew(file: SqliteFile) -> None:
    assert words(file) == ["first"]
    shutil.rmtree(file.path.parent)
    assert words(file) == []


def test_a_file_that_another_took_the_place_of_is_left(file: SqliteFile, tmp_path: Path) -> None:
    other = SqliteFile(tmp_path / "other.db", SCHEMA)
    write(other, "other")
    assert words(file) == ["first"]
    os.replace(other.path, file.path)
    assert words(file) == ["other"]


def test_the_same_relative_path_in_another_folder_is_another_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b", "a", "b"):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        monkeypatch.chdir(folder)
        write(SqliteFile(Path(FILE), SCHEMA), name)
    assert words(SqliteFile(Path(FILE), SCHEMA)) == ["b", "b"]


def test_after_an_error_another_connection_is_opened_and_nothing_was_written(
    file: SqliteFile,
) -> None:
    used = connection(file)
    with pytest.raises(StoreError, match="no such table"), file.writing() as database:
        database.execute("INSERT INTO words VALUES ('lost')")
        database.execute("SELECT * FROM missing")
    assert words(file) == ["first"]
    assert connection(file) is not used
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        used.execute("SELECT 1")


def test_a_transaction_that_was_left_open_does_not_lock_the_file(file: SqliteFile) -> None:
    with file.reading() as database:
        database.execute("BEGIN IMMEDIATE")
    with closing(sqlite3.connect(file.path, timeout=0)) as other, other:
        other.execute("INSERT INTO words VALUES ('second')")


def test_idle_connections_stay_few(tmp_path: Path) -> None:
    def open_files() -> int:
        return len(os.listdir("/dev/fd"))

    files = [SqliteFile(tmp_path / f"{number}.db", SCHEMA) for number in range(50)]
    before = open_files()
    for file in files:
        write(file, "a")
        words(file)
    assert open_files() <= before + 10
    assert connection(files[-1]) is connection(files[-1]), "the newest are kept"


def use_in_child(file: SqliteFile, parents: int) -> None:
    """Exit with 0 if all is well."""
    if id(connection(file)) == parents:
        os._exit(1)
    for _ in range(50):
        write(file, "child")


def test_a_child_does_not_use_its_parent_s_connection(file: SqliteFile) -> None:
    """SQLite's locks would not hold between them."""
    parents = connection(file)
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=use_in_child, args=(file, id(parents))) for _ in range(2)]
    for child in children:
        child.start()
    for _ in range(50):
        write(file, "parent")
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0, 0]
    assert connection(file) is parents
    found = words(file)
    assert (found.count("child"), found.count("parent")) == (100, 50)


def test_threads_lose_nothing(file: SqliteFile) -> None:
    together = Barrier(4)

    def work(name: str) -> None:
        together.wait()
        for number in range(25):
            write(file, f"{name}{number}")
            assert f"{name}{number}" in words(file)

    threads = [Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(words(file)) == 101


@pytest.mark.parametrize(("synchronous", "level"), [(LASTING, 3), (FLEETING, 0)])
def test_a_write_is_as_lasting_as_it_was_asked_to_be(
    tmp_path: Path, synchronous: str, level: int
) -> None:
    with SqliteFile(tmp_path / FILE, SCHEMA, synchronous).writing() as database:
        assert database.execute("PRAGMA synchronous").fetchone() == (level,)
    with SqliteFile(tmp_path / FILE, SCHEMA).reading() as database:  # a connection of its own
        assert database.execute("PRAGMA synchronous").fetchone() == (3,)
