"""Proves that the functions run on the layer alone: in a bare interpreter, handler by handler."""

from __future__ import annotations

import ast
import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from strategy.errors import ConfigError, HaltError

CALL = Path(__file__).with_name("layer_call.py")
BOT = "serving.trading_bot"
BOUND = 2.5
"""Seconds that the bot's imports may take: a tick is to begin at once."""
ATTEMPTS = 5

_BARE = """
import runpy, sys
sys.path[:0], program = sys.argv[1:3], sys.argv[3]
del sys.argv[:3]
runpy.run_path(program, run_name="__main__")
"""


class Outcome(NamedTuple):
    """What :mod:`infra.layer_call` tells."""

    seconds: float
    returned: Any
    raised: str | None
    message: str
    openmp: str | None
    strangers: list[str]

    @property
    def names_variables(self) -> bool:
        """Whether it raised what handlers raise where their variables are not set."""
        return self.raised == "ConfigError" and "environment variable" in self.message


def check(into: Path, python: str, console: Console) -> None:
    """Import every handler and call it, without the variables that it needs.

    It must say which are missing: then all of its code was imported. The time for everything
    that a handler imports, now or later, is printed, the best of several.

    Raises
    ------
    ConfigError
        There is no built layer.
    HaltError
        A handler cannot be imported, or does something else.
    """
    table = Table("handler", "imports, s", "answers", title="On the layer alone")
    for module in handlers(into):
        every = [module, *imported_later(into / "functions", module)]
        outcomes = [called(into, python, every, {}, {}) for _ in range(ATTEMPTS)]
        if not all(outcome.names_variables for outcome in outcomes):
            raise HaltError(f"{module} should name the variables that are missing: {outcomes}")
        seconds = min(outcome.seconds for outcome in outcomes)
        shown = f"{seconds:.2f}" + (f" (bound {BOUND})" if module == BOT else "")
        table.add_row(module, shown, "names the variables that it needs")
    console.print(table)


def handlers(into: Path) -> list[str]:
    """The modules that Lambda calls.

    Raises
    ------
    ConfigError
        There is no built layer.
    """
    if not (into / "functions").is_dir():
        raise ConfigError(f"{into} holds no layer: run python -m infra.layer build --into {into}")
    sources = sorted((into / "functions" / "serving").glob("*.py"))
    return [
        f"serving.{path.stem}"
        for path in sources
        if re.search(r"^def handler\(", path.read_text(), re.MULTILINE)
    ]


def called(
    into: Path,
    python: str,
    modules: list[str],
    event: Mapping[str, Any],
    variables: Mapping[str, str],
) -> Outcome:
    """Import modules in an interpreter of its own, then call the handler of the first.

    Raises
    ------
    HaltError
        They cannot be imported, or something was loaded from outside of the layer.
    """
    ran = bare(into, python, CALL, [json.dumps(event), *modules], variables)
    if ran.returncode:
        raise HaltError(f"{modules[0]} on the layer alone (exit {ran.returncode}):\n{ran.stderr}")
    outcome = Outcome(**json.loads(ran.stdout.splitlines()[-1]))
    if outcome.strangers:
        raise HaltError(f"{modules[0]} loaded {outcome.strangers} from outside of the layer")
    libraries = (into / "layer" / "lib").resolve()
    if outcome.openmp and Path(outcome.openmp).resolve().parent != libraries:
        raise HaltError(f"{modules[0]} loaded {outcome.openmp}, not the layer's OpenMP runtime")
    return outcome


def bare(
    into: Path, python: str, program: Path, arguments: list[str], variables: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run a program that sees the standard library, the layer and the functions, as on Lambda.

    Nothing that is installed beside that Python is seen, and no variable but those given.
    """
    folders = [str(into / "functions"), str(into / "layer" / "python")]
    return subprocess.run(
        [python, "-I", "-S", "-c", _BARE, *folders, str(program), *arguments],
        env={"LD_LIBRARY_PATH": str(into / "layer" / "lib"), **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def imported_later(functions: Path, module: str) -> list[str]:
    """Our modules that a module, or one that it imports, imports inside of functions."""
    later: set[str] = set()
    seen, to_see = set(), [module]
    while to_see:
        name = to_see.pop()
        path = _source(functions, name)
        if path is None or name in seen:
            continue
        seen.add(name)
        for imported, inside in _imports(ast.parse(path.read_text())):
            if inside and _source(functions, imported):
                later.add(imported)
            elif not inside:
                to_see.append(imported)
    return sorted(later)


def _source(functions: Path, module: str) -> Path | None:
    path = functions.joinpath(*module.split("."))
    found = [each for each in (path.with_suffix(".py"), path / "__init__.py") if each.is_file()]
    return found[0] if found else None


def _imports(tree: ast.AST, inside: bool = False) -> Iterator[tuple[str, bool]]:
    """Modules that are really imported, each with whether that is inside of a function."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module, inside
            yield from ((f"{node.module}.{each.name}", inside) for each in node.names)
        elif isinstance(node, ast.Import):
            yield from ((each.name, inside) for each in node.names)
        else:
            in_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            yield from _imports(node, inside or in_function)
