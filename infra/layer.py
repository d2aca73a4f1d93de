"""Builds what Lambda functions run on: one layer of packages, and one package of our code.

::

    python -m infra.layer build --into var/layer
    python -m infra.layer check --into var/layer

Both need Python 3.12, as Lambda has it; ``build`` needs the network. The build is the same on
every machine: wheels for Linux by their hashes, bytecode and zips without times. What runs on
them runs on Linux x86-64 alone: elsewhere ``check`` says that it checks nothing.
"""

from __future__ import annotations

import argparse
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from infra.layer_check import check, handlers
from infra.layer_contents import Removed, set_openmp_aside, slim
from infra.layer_files import (
    compile_besides,
    compile_instead,
    copy_sources,
    largest_parts,
    unzipped_bytes,
    write_zip,
)
from strategy.errors import ConfigError, TradingSystemError, exit_status

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "infra" / "requirements-layer.txt"
LIMIT = 262_144_000
"""Bytes of layer and function together, unzipped: Lambda's quota of 250 MB."""
PYTHON = "python3.12"
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux2014_x86_64")
"""Older than Amazon Linux 2023, which has glibc 2.34."""
ELSEWHERE = "built, not checked: its wheels are Linux's"

SOURCES = ("strategy", "store", "registry", "serving", "training", "store/prices.json")
"""The functions' package. No function imports ``training``: its sources are there to be hashed,
since a campaign names the code that it was asked for with (``registry/code_version.py``)."""


def build(into: Path, python: str, console: Console) -> None:
    """Build ``layer.zip`` and ``functions.zip``, and keep what is in them as folders beside.

    Raises
    ------
    ConfigError
        The packages cannot be installed, what is left out of them is not there, or the result
        is larger than Lambda takes.
    """
    layer, functions = into / "layer", into / "functions"
    try:
        removed = lay_out_layer(layer, python)
        lay_out_functions(functions, python)
    except subprocess.CalledProcessError as error:
        raise ConfigError(f"{error.cmd[0]} failed, see above (exit {error.returncode})") from error
    write_zip(into / "layer.zip", layer)
    write_zip(into / "functions.zip", functions)
    shutil.copyfile(LOCK, into / LOCK.name)  # what it was built of, for whoever finds it
    console.print(_removed_table(removed))
    measure(into, console)


def measure(into: Path, console: Console) -> None:
    """Print what the two zips hold.

    Raises
    ------
    ConfigError
        Together they are larger than Lambda takes.
    """
    layer, functions = into / "layer.zip", into / "functions.zip"
    console.print(_parts_table(layer))
    total = unzipped_bytes(layer) + unzipped_bytes(functions)
    console.print(
        f"layer {unzipped_bytes(layer):,} bytes ({layer.stat().st_size:,} zipped), "
        f"functions {unzipped_bytes(functions):,} ({functions.stat().st_size:,} zipped), "
        f"together {total:,} of {LIMIT:,}",
        highlight=False,
    )
    if total > LIMIT:
        raise ConfigError(
            f"layer and functions are {total:,} bytes, Lambda takes {LIMIT:,}: leave out more in "
            "infra/layer_contents.py"
        )


def runs_here() -> bool:
    """Whether this is a machine that the wheels are for."""
    return (platform.system(), platform.machine()) == ("Linux", "x86_64")


def lay_out_functions(functions: Path, python: str) -> None:
    """Make the folder that Lambda has as ``/var/task``."""
    shutil.rmtree(functions, ignore_errors=True)
    copy_sources(ROOT, SOURCES, functions)
    compile_besides(functions, python, "/var/task")


def lay_out_layer(layer: Path, python: str) -> list[Removed]:
    """Make the folder that Lambda has as ``/opt``; returns what was left out."""
    shutil.rmtree(layer, ignore_errors=True)
    packages = layer / "python"
    platforms = [f"--platform={name}" for name in PLATFORMS]
    # For Lambda's machine, wherever this runs.
    target = [f"--target={packages}", *platforms, "--python-version=3.12", "--implementation=cp"]
    pinned = ["--only-binary=:all:", "--no-deps", "--require-hashes", f"--requirement={LOCK}"]
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*install, "--no-compile", *target, *pinned], check=True)
    set_openmp_aside(packages, layer / "lib")
    removed = slim(packages)
    compile_instead(packages, python, "/opt/python")
    return removed


def _removed_table(removed: Sequence[Removed]) -> Table:
    table = Table("left out", "bytes", "why", title="Not in the layer")
    for each in sorted(removed, key=lambda each: -each.bytes):
        table.add_row(each.what, f"{each.bytes:,}", each.why)
    return table


def _parts_table(layer: Path) -> Table:
    table = Table("part", "bytes", title="Largest parts of the layer")
    for name, size in largest_parts(layer, depth=2).most_common(15):
        table.add_row(name, f"{size:,}")
    return table


def interpreter(name: str) -> str | None:
    """The path of an interpreter itself; None where there is none that runs.

    A version manager's shim may stand for it, which needs variables that Lambda has not, or which
    only says that it is not chosen.
    """
    found = shutil.which(name)
    if found is None:
        return None
    ask = [found, "-c", "import sys; print(sys.executable)"]
    ran = subprocess.run(ask, capture_output=True, text=True, check=False)
    return ran.stdout.strip() if ran.returncode == 0 else None


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m infra.layer", description="Lambda's layer")
    parser.add_argument("action", choices=("build", "check"))
    parser.add_argument("--into", type=Path, default=ROOT / "var" / "layer", help="folder")
    parser.add_argument("--python", default=PYTHON, help=f"interpreter; default {PYTHON}")
    options = parser.parse_args(arguments)
    console = Console()
    python = interpreter(options.python)
    try:
        if python is None:
            raise ConfigError(f"there is no {options.python} here: give --python")
        if options.action == "build":
            build(options.into, python, console)
        elif runs_here():
            check(options.into, python, console)
        else:
            handlers(options.into)  # so that a missing layer is still told of
            console.print(ELSEWHERE, highlight=False)
    except TradingSystemError as error:
        Console(stderr=True).print(f"[red bold]error:[/] {escape(str(error))}", highlight=False)
        return exit_status(error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
