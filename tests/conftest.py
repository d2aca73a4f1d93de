"""What holds for every test: no network, no chance in which examples are tried, quick stores.

No test reaches beyond the loopback interface; those in tests/unit and tests/property reach
nothing at all. An audit hook sees every attempt, whichever library makes it.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ["COLUMNS"] = "150"  # what is printed does not depend on who looks

# A busy machine is slow, not wrong: no deadlines. In CI the examples are the same every time.
settings.register_profile(
    "local", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.register_profile("ci", parent=settings.get_profile("local"), derandomize=True)
settings.register_profile("torture", parent=settings.get_profile("local"), max_examples=2000)
settings.load_profile("ci" if os.environ.get("CI") else "local")

SOCKETLESS = {"unit", "property"}
_loopback_allowed = True


class NetworkBlocked(BaseException):
    """A test tried to use the network. A BaseException, so that no retry loop swallows it."""


def _is_loopback(host: Any) -> bool:
    if host is None or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.decode() if isinstance(host, bytes) else host).is_loopback
    except ValueError:
        return False


def _guard(event: str, arguments: tuple[Any, ...]) -> None:
    if event in ("socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg"):
        endpoint, address = arguments
        if endpoint.family not in (socket.AF_INET, socket.AF_INET6) or address is None:
            return  # a process pool's own pipes, or a datagram on a socket connected before
        host = address[0]
        listens = event == "socket.bind"
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host, listens = arguments[0], False
    else:
        return
    if not (_loopback_allowed and (listens or _is_loopback(host))):
        raise NetworkBlocked(f"{event} {host!r}: tests stay off the network")


sys.addaudithook(_guard)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    global _loopback_allowed
    _loopback_allowed = not SOCKETLESS & set(item.path.relative_to(item.config.rootpath).parts)
    try:
        return (yield)
    finally:
        _loopback_allowed = True


@pytest.fixture(scope="session", autouse=True)
def mlflows_tables(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """MLflow makes its tables once, in a second or two; all other new stores are copies of them.

    In this process only: others, as what users start, make their own.
    """
    connection: Any = sys.modules.get("registry.connection")
    if connection is None:  # no test that was collected needs MLflow
        yield
        return
    make, made = connection._make_tables, tmp_path_factory.mktemp("tables") / "mlflow.db"

    def copied(path: Path) -> None:
        if not made.exists():
            make(made)
        with closing(sqlite3.connect(made)) as source, closing(sqlite3.connect(path)) as target:
            source.backup(target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connection, "_make_tables", copied)
        yield
