"""Runs on the layer alone, started by :mod:`infra.layer_check`: imports, and calls a handler.

Arguments: an event as JSON, and modules, of which the first has the handler. The last line that
is printed tells what came of it; what came before is the handler's log.
"""

from __future__ import annotations

import importlib
import json
import sys
import sysconfig
import time
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

CONTEXT = SimpleNamespace(
    function_name="on-the-layer",
    memory_limit_in_mb=3008,
    invoked_function_arn="arn:aws:lambda:ap-southeast-1:123456789012:function:on-the-layer",
    aws_request_id="52fdfc07-2182-154f-163f-5f0f9a621d72",
    get_remaining_time_in_millis=lambda: 300_000,
)


def main() -> None:
    """Import, call, tell."""
    event, modules = json.loads(sys.argv[1]), sys.argv[2:]
    warnings.simplefilter("ignore")
    places = tuple(str(Path(path).resolve()) for path in sys.path[:2])
    begin = time.perf_counter()
    imported = [importlib.import_module(name) for name in modules]
    told: dict[str, Any] = {"seconds": time.perf_counter() - begin}
    told |= {"returned": None, "raised": None, "message": ""}
    try:
        told["returned"] = imported[0].handler(event, CONTEXT)
    except Exception as error:  # whatever it is: who has called judges it
        told |= {"raised": type(error).__name__, "message": str(error)}
    own = (*places, sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"))
    files = [Path(file) for file in map(_file_of, list(sys.modules.values())) if file]
    told["strangers"] = [str(file) for file in files if not str(file.resolve()).startswith(own)]
    told["openmp"] = _openmp()
    print(json.dumps(told))


def _file_of(module: Any) -> str | None:
    """None for what has none, and for this program, which may go by two names."""
    this_program = getattr(module, "__name__", None) == "__main__"
    return None if this_program else getattr(module, "__file__", None)


def _openmp() -> str | None:
    """Where the OpenMP runtime was loaded from; None if it was not, or nobody can tell."""
    maps = Path("/proc/self/maps")
    lines = maps.read_text().splitlines() if maps.exists() else []
    return next((line.split()[-1] for line in lines if "/libgomp" in line), None)


main()
