"""Compiles the bar loops with Numba where it is installed, and leaves them as they are elsewhere.

Both ways run the same source on IEEE doubles without fast-math, so their results are
identical to the bit; a Lambda without Numba and a laptop with it make the same trades.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

try:
    from numba import njit
except ImportError:

    def compiled(function: Callable[P, T]) -> Callable[P, T]:
        """Return the function itself: Numba is not installed."""
        return function

else:

    def compiled(function: Callable[P, T]) -> Callable[P, T]:
        """Compile with Numba; the machine code is cached beside the source."""
        kernel: Callable[P, T] = njit(cache=True, nogil=True)(function)
        return kernel
