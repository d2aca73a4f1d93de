"""Compiles the bar loops with Numba where it is installed, and leaves them as they are elsewhere.

Both ways run the same source on IEEE doubles without fast-math, so their results are
identical to the bit; a Lambda without Numba and a laptop with it make the same trades.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from importlib.resources import files
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

try:
    from numba import config, njit
except ImportError:

    def compiled(function: Callable[P, T]) -> Callable[P, T]:
        """Return the function itself: Numba is not installed."""
        return function

else:

    def _machine_code_folder() -> str:
        """Where machine code is kept: another place for every state of this package's sources.

        Numba looks only at the file in which a function stands. The loops of
        :mod:`strategy.simulate` have the exit step of :mod:`strategy.exits` compiled into them,
        and would go on trading the old exits after that file was edited.
        """
        package = files("strategy")
        hasher = hashlib.sha256()
        for source in sorted(package.iterdir(), key=lambda entry: entry.name):
            if source.name.endswith(".py"):
                hasher.update(source.read_bytes())
        folder = package / "__pycache__" / f"numba-{hasher.hexdigest()[:16]}"
        return config.CACHE_DIR or str(folder)

    _FOLDER = _machine_code_folder()

    def compiled(function: Callable[P, T]) -> Callable[P, T]:
        """Compile with Numba; the machine code is kept beside the sources."""
        before, config.CACHE_DIR = config.CACHE_DIR, _FOLDER  # read while decorating, and only then
        try:
            kernel: Callable[P, T] = njit(cache=True, nogil=True)(function)
        finally:
            config.CACHE_DIR = before
        return kernel
