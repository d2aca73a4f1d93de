"""A real MLflow server on the loopback interface, in a process of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.request import urlopen


@contextmanager
def mlflow_server(folder: Path, command: str, *arguments: str) -> Iterator[str]:
    """The address of ``mlflow COMMAND``, started in a folder, until the block ends."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = ("--host", "127.0.0.1", "--port", str(port), "--workers", "1")
    path = folder / "mlflow_server.log"
    with path.open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "mlflow", command, *place, *arguments],
            cwd=folder,
            # Eight more processes, for what language models are evaluated with.
            env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            assert server.poll() is None, path.read_text()
            with suppress(OSError), urlopen(f"{address}/health"):
                break
            time.sleep(0.1)
        else:
            raise AssertionError(path.read_text())
        yield address
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)
