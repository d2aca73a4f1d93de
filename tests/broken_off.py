"""Work that is broken off at every step in turn, as by a process that dies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class BrokenOffError(BaseException):
    """The process died. A BaseException, so that nothing handles it."""


class Steps:
    """Counts calls that change something, and dies at one: before it has its effect, or after."""

    def __init__(self) -> None:
        self.taken = 0
        self.fatal: int | None = None
        self.after = False

    def step(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def stepping(*arguments: Any, **named: Any) -> Any:
            fatal = self.taken == self.fatal
            self.taken += 1
            if fatal and not self.after:
                raise BrokenOffError
            answer = method(*arguments, **named)
            if fatal:
                raise BrokenOffError
            return answer

        return stepping


class Stepping:
    """Another object, some of whose methods are counted."""

    def __init__(self, wrapped: Any, steps: Steps, methods: tuple[str, ...]) -> None:
        self._wrapped = wrapped
        self._steps = steps
        self._methods = methods

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._wrapped, name)
        return self._steps.step(found) if name in self._methods else found
