"""The way to an MLflow store: checked before hours of work, its errors translated.

A store is a URI: ``sqlite:///var/mlflow.db`` (embedded), ``http://host:port`` (an MLflow
server) or whatever else MLflow has a plugin for (SageMaker's ARN).
"""

from __future__ import annotations

import fcntl
import signal
import socket
import sqlite3
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from requests import HTTPError, RequestException

from strategy.errors import RetryError, StoreError, TradingSystemError

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

Client = MlflowClient
"""Tracking and registry of one store; other packages name it from here."""
_KIND = {"mlflow.experimentKind": "custom_model_development"}
"""Opens the experiment in the UI's view of training runs, not in that of language models."""
PROBE_TIMEOUT_SECONDS = 5.0
BUSY_TIMEOUT_MS = 60_000
_PASSING = {"TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED", "RESOURCE_EXHAUSTED"}


def ensure_store(uri: str) -> None:
    """Create the folder and the file of an embedded SQLite store that is not there yet.

    Its tables are made at the first connection. Other stores are made by whoever runs
    them: for those this does nothing, and :func:`connect` says whether they answer.

    Raises
    ------
    StoreError
        The folder or the file cannot be made.
    """
    path = _sqlite_path(uri)
    if path is None or path.exists():
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    except OSError as error:
        raise StoreError(
            f"{uri}: cannot create the MLflow store {path} ({error}); make its folder writable "
            "or give another tracking URI"
        ) from error


def connect(uri: str) -> MlflowClient:
    """Open an existing MLflow store for tracking and registry, and see that it can be written.

    The check takes seconds at most, where MLflow itself would retry a dead URI for minutes.
    A SQLite store is set to write-ahead logging, so that the MLflow UI reads while a campaign
    writes, and to ``synchronous=NORMAL``: a power cut may lose the last runs (they are logged
    again when the campaign resumes) but cannot corrupt the store.

    Raises
    ------
    StoreError
        The store is missing, read-only, not MLflow's, or of another MLflow version; says what
        to do about it.
    RetryError
        The server does not answer, or the database is locked.
    """
    with _one_at_a_time(uri), _interrupted_after(uri):
        try:
            if uri.startswith("sqlite:"):
                _check_sqlite(uri)
            elif uri.startswith(("http://", "https://")):
                _check_listening(uri)
            elif uri.startswith("arn:"):
                mlflow.set_tracking_uri(uri)  # the plugin signs requests for the process's store
            client = MlflowClient(tracking_uri=uri, registry_uri=uri)
            with translated(client):
                client.search_experiments(max_results=1)
        except MlflowException as error:
            raise _classified(error, uri) from error
        return client


def ensure_experiment(client: MlflowClient, name: str, artifact_root: Path) -> str:
    """Return the id of the experiment, made if it is not there; call before workers start.

    Parameters
    ----------
    artifact_root
        Folder for the files of its runs in an embedded store; a server has a place of its own.
        An experiment that exists keeps what it was made with.

    Raises
    ------
    StoreError
        The experiment lies in MLflow's trash.
    """
    embedded = client.tracking_uri.startswith("sqlite:")
    location = artifact_root.resolve().as_uri() if embedded else None
    with translated(client):
        experiment = client.get_experiment_by_name(name)
        if experiment is None:
            try:
                return str(client.create_experiment(name, artifact_location=location, tags=_KIND))
            except MlflowException as error:
                experiment = client.get_experiment_by_name(name)
                if experiment is None:  # and not that another process was faster
                    raise error
    if experiment.lifecycle_stage != "active":
        raise StoreError(
            f"{client.tracking_uri}: the MLflow experiment {name!r} was deleted; restore it with "
            f"`mlflow experiments restore --experiment-id {experiment.experiment_id}` or give "
            "another name"
        )
    return str(experiment.experiment_id)


@contextmanager
def translated(client: MlflowClient) -> Iterator[None]:
    """Turn what MLflow raises into this project's errors, by what the caller must do.

    An answer that never came or asked to slow down becomes RetryError, anything else that the
    store refuses StoreError. Failures of the artifact folder count as the store's. Ctrl-C waits
    for the end of the block where the store is an embedded one.
    """
    try:
        with _interrupted_after(client.tracking_uri):
            yield
    except MlflowException as error:
        raise _classified(error, client.tracking_uri) from error
    except RequestException as error:  # files travel outside MLflow's own error handling
        what = StoreError if isinstance(error, HTTPError) else RetryError
        raise what(f"{client.tracking_uri}: a run's file was not transferred: {error}") from error
    except OSError as error:
        raise StoreError(
            f"{client.tracking_uri}: cannot reach the files of a run ({error}); is the artifact "
            "folder there, writable and not full?"
        ) from error


@contextmanager
def _interrupted_after(uri: str) -> Iterator[None]:
    """Hold back the signals that would raise KeyboardInterrupt in the midst of a transaction.

    MLflow's SQL store does not survive that: it calls the interruption an error of its own,
    without a text, or leaves a session behind that refuses the next transaction. An embedded
    store answers in milliseconds; a server may not answer for minutes, and stands it.
    """
    raising = {
        number: handler
        for number in (signal.SIGINT, signal.SIGTERM)
        if callable(handler := signal.getsignal(number))
    }
    if not uri.startswith("sqlite:") or threading.current_thread() is not threading.main_thread():
        raising = {}
    received: list[int] = []
    try:
        for number in raising:
            signal.signal(number, lambda number, _: received.append(number))
        yield
    finally:
        for number, handler in raising.items():
            signal.signal(number, handler)
        for each in dict.fromkeys(received):
            signal.raise_signal(each)


def _classified(error: MlflowException, uri: str) -> TradingSystemError:
    text = str(error)
    lowered = text.lower()
    if "readonly" in lowered or "disk is full" in lowered:
        return StoreError(
            f"{uri}: the MLflow store cannot be written ({text}); make it writable, free some "
            "space, or give another tracking URI"
        )
    if "database schema" in lowered:
        return StoreError(_other_version(uri, text))
    if error.error_code in _PASSING or any(
        isinstance(at, RequestException) for at in _causes(error)
    ):
        return RetryError(f"{uri}: the MLflow store does not answer: {text}")
    return StoreError(f"{uri}: the MLflow store refused ({error.error_code}): {text}")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The exceptions that led to this one, as MLflow hides a lost connection in its context."""
    at = error.__cause__ or error.__context__
    while at is not None:
        yield at
        at = at.__cause__ or at.__context__


def _other_version(uri: str, found: str) -> str:
    return (
        f"{uri}: the MLflow store was made by another version of MLflow ({found}). If that "
        f"version is older, back the store up and run `mlflow db upgrade {uri}`; if it is newer, "
        "install that MLflow or give another tracking URI"
    )


def _check_listening(uri: str) -> None:
    parts = urlsplit(uri)
    address = (parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))
    try:
        socket.create_connection(address, timeout=PROBE_TIMEOUT_SECONDS).close()
    except OSError as error:
        raise RetryError(
            f"{uri}: no MLflow server answers there ({error}); is it running, and is the tracking "
            "URI right?"
        ) from error


def _sqlite_path(uri: str) -> Path | None:
    """File of a SQLite URI; None for other stores and for SQLite's own ``file:`` form."""
    if not uri.startswith("sqlite:"):
        return None
    from sqlalchemy.engine import make_url

    database = make_url(uri).database or ""
    if not database or database == ":memory:":
        raise StoreError(f"{uri}: an MLflow store in memory would be lost; name a file")
    return None if database.startswith("file:") else Path(database)


def _check_sqlite(uri: str) -> None:
    # Imported here: a process that only speaks to a server may have no SQLAlchemy at all.
    from sqlalchemy import create_engine
    from sqlalchemy.exc import DBAPIError

    path = _sqlite_path(uri)
    if path is not None and not path.exists():
        raise StoreError(
            f"{uri}: there is no MLflow store at {path.absolute()}; is the tracking URI right, "
            "and has a campaign been run?"
        )
    _tune_connections()
    engine = create_engine(uri, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            _check_schema(connection, uri)
            connection.exec_driver_sql("PRAGMA journal_mode = WAL")
            _check_writable(connection)
            if path is not None and not _tables(connection):
                _make_tables(path)
    except (DBAPIError, sqlite3.Error) as error:
        reason = str(error.orig if isinstance(error, DBAPIError) else error)
        if "locked" in reason:
            raise RetryError(f"{uri}: another process holds the MLflow store ({reason})") from error
        raise StoreError(
            f"{uri}: the MLflow store cannot be opened for writing ({reason}); make the file and "
            "its folder writable, or give another tracking URI"
        ) from error
    finally:
        engine.dispose()


@contextmanager
def _one_at_a_time(uri: str) -> Iterator[None]:
    """Let one process alone open a SQLite store: its tables are made at the first connection."""
    path = _sqlite_path(uri)
    if path is None or not path.exists():  # what is missing is told by the check
        yield
        return
    try:
        lock = path.with_name(f".{path.name}.lock").open("w")
    except OSError as error:
        raise StoreError(
            f"{uri}: the folder of the MLflow store cannot be written ({error.strerror}); make it "
            "writable, or give another tracking URI"
        ) from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # let go when the file is closed, or its process ends
        yield


def _check_writable(connection: Connection) -> None:
    """Write a number that no one uses, as it was: BEGIN IMMEDIATE alone passes read-only files."""
    unused = connection.exec_driver_sql("PRAGMA user_version").scalar()
    connection.exec_driver_sql("BEGIN")
    connection.exec_driver_sql(f"PRAGMA user_version = {unused}")
    connection.exec_driver_sql("ROLLBACK")


def _make_tables(path: Path) -> None:
    """Have MLflow make its tables in a scratch file, and copy them in one transaction.

    MLflow itself takes a second or two, in many transactions: a process that is killed
    meanwhile would leave a store that no MLflow opens again.
    """
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch) / path.name
        uri = f"sqlite:///{made}"
        MlflowClient(tracking_uri=uri, registry_uri=uri).search_experiments(max_results=1)
        with closing(sqlite3.connect(made)) as source, closing(sqlite3.connect(path)) as target:
            source.backup(target)


def _tables(connection: Connection) -> set[str]:
    rows = connection.exec_driver_sql("SELECT name FROM sqlite_master")
    return {str(row[0]) for row in rows}


def _check_schema(connection: Connection, uri: str) -> None:
    """Refuse a store of another version before MLflow opens it.

    MLflow would upgrade some older stores without asking, and lock their owners out.
    """
    tables = _tables(connection)
    if not tables:
        return
    if "alembic_version" not in tables or "experiments" not in tables:
        raise StoreError(
            f"{uri}: this database belongs to another program (no MLflow tables); give another "
            "tracking URI"
        )
    found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    expected = _schema_revision()
    if found != expected:
        raise StoreError(_other_version(uri, f"schema {found}, this one needs {expected}"))


def _schema_revision() -> str:
    """Revision of the schema that the installed MLflow reads and writes."""
    import mlflow
    from alembic.script import ScriptDirectory

    migrations = Path(mlflow.__file__).parent / "store" / "db_migrations"
    return str(ScriptDirectory(str(migrations)).get_current_head())


def _tune_connections() -> None:
    """Give every SQLite connection that SQLAlchemy opens from now on ``synchronous=NORMAL``, and
    patience with other writers.

    A pragma is a connection's own and MLflow keeps its engine to itself; SQLAlchemy's
    documented way to reach it is an event on all engines.
    """
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    if not event.contains(Engine, "connect", _tuned):
        event.listen(Engine, "connect", _tuned)


def _tuned(connection: Any, _record: Any) -> None:
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA synchronous = NORMAL")
        # Several jobs write to one store: on a busy machine one may wait for the others a while.
        connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
