"""Ends a process at a chosen place, and writes down the units of work that it begins.

Python imports this file by itself when its folder is on PYTHONPATH: so it works in every
process of a campaign, spawned workers included, and the campaign's own code knows nothing of
it. The variable INTERRUPTIONS holds its plan as JSON (tests/integration/interruptions/places.py):

``folder``
    Where ``units`` (a line for every unit begun) is kept and, under each place's name, a file
    with one byte for every time that it was passed, by whichever process.
``places``
    What to wrap, by name.
``strike``
    At which place's how manyeth passing to send which signal to whom; null: never.
"""

from __future__ import annotations

import functools
import importlib.abc
import importlib.util
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

DELAY_SECONDS = 0.02  # into a call; a fit of the tests' campaigns takes some 80 ms

Wrap = Callable[[Callable[..., Any]], Callable[..., Any]]


class Plan:
    def __init__(
        self, folder: str, places: dict[str, dict[str, Any]], strike: dict[str, Any] | None
    ) -> None:
        self.folder, self.places, self.strike = folder, places, strike
        self.inside: dict[str, int] = {}
        """How many calls deep this process is in each outer call."""

    def changes(self) -> dict[str, list[tuple[str, Wrap]]]:
        """By module: the names in it to wrap, and how."""
        found: dict[str, list[tuple[str, Wrap]]] = {}

        def add(call: str, how: Wrap) -> None:
            module, _, name = call.partition(":")
            found.setdefault(module, []).append((name, how))

        add("training.walk_forward:PreparedMarket.evaluate", self.journalled("window"))
        add("training.scheduler:fit_in_worker", self.journalled("model"))
        for outer in {place["within"] for place in self.places.values()} - {None}:
            add(outer, self.entered(outer))
        for name, place in self.places.items():
            add(place["call"], self.passed(name, place["when"], place["within"]))
        return found

    def journalled(self, kind: str) -> Wrap:
        """Write down every call as the unit (kind, parameters, window) that begins."""

        def wrap(call: Callable[..., Any]) -> Callable[..., Any]:
            @functools.wraps(call)
            def beginning(*arguments: Any) -> Any:
                parameters, window = arguments[-2:]
                unit = f"{kind} {list(parameters.flat().values())} {window.number}"
                self.append("units", unit + "\n")
                return call(*arguments)

            return beginning

        return wrap

    def entered(self, outer: str) -> Wrap:
        def wrap(call: Callable[..., Any]) -> Callable[..., Any]:
            @functools.wraps(call)
            def entering(*arguments: Any, **named: Any) -> Any:
                self.inside[outer] = self.inside.get(outer, 0) + 1
                try:
                    return call(*arguments, **named)
                finally:
                    self.inside[outer] -= 1

            return entering

        return wrap

    def passed(self, name: str, when: str, within: str | None) -> Wrap:
        """Strike before, during or after the call, or on leaving the context that it gives."""

        def wrap(call: Callable[..., Any]) -> Callable[..., Any]:
            @functools.wraps(call)
            def passing(*arguments: Any, **named: Any) -> Any:
                if within and not self.inside.get(within):
                    return call(*arguments, **named)
                if when in ("before", "during"):
                    self.pass_by(name, arguments)
                result = call(*arguments, **named)
                if when == "after":
                    self.pass_by(name, arguments)
                return self.leaving(name, result) if when == "leaving" else result

            return passing

        return wrap

    @contextmanager
    def leaving(self, name: str, context: Any) -> Iterator[Any]:
        with context as value:
            yield value
            self.pass_by(name, ())

    def pass_by(self, name: str, arguments: tuple[Any, ...]) -> None:
        passing = self.append(name, ".")
        if not self.strike or (name, passing) != (self.strike["place"], self.strike["passing"]):
            return
        if self.places[name]["when"] == "during":
            timer = threading.Timer(DELAY_SECONDS, self.hit)
            timer.daemon = True
            timer.start()
            return
        if self.strike["tears"]:  # what was linked: (source, destination)
            os.truncate(arguments[1], os.path.getsize(arguments[1]) // 2)
        self.hit()

    def hit(self) -> None:
        sent, whom = signal.Signals(self.strike["signal"]), self.strike["whom"]
        group, worker = os.getpgid(0), "--multiprocessing-fork" in sys.orig_argv
        campaign = os.getppid() if worker else os.getpid()
        if campaign != group:
            raise SystemExit("a campaign that is to be killed must lead its own process group")
        self.append("strikes", f"{sent.name} {whom}\n")
        if whom == "group":
            os.killpg(group, sent)
        else:
            os.kill(campaign if whom == "campaign" else os.getpid(), sent)

    def append(self, file: str, text: str) -> int:
        """Append in one write, whoever else does; returns the length of the file after it."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        descriptor = os.open(os.path.join(self.folder, file), flags)
        try:
            os.write(descriptor, text.encode())
            return os.lseek(descriptor, 0, os.SEEK_CUR)
        finally:
            os.close(descriptor)


class Finder(importlib.abc.MetaPathFinder):
    """Changes modules as they are imported, before anyone else has seen them."""

    def __init__(self, changes: dict[str, list[tuple[str, Wrap]]]) -> None:
        self.changes = changes

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        names = self.changes.pop(name, None)
        if names is None:
            return None
        spec = importlib.util.find_spec(name)
        execute = spec.loader.exec_module

        def executing(module: Any) -> None:
            execute(module)
            change(module, names)

        spec.loader.exec_module = executing
        return spec


def change(module: Any, names: list[tuple[str, Wrap]]) -> None:
    for name, how in names:
        *owners, attribute = name.split(".")
        owner = functools.reduce(getattr, owners, module)
        setattr(owner, attribute, how(getattr(owner, attribute)))


if "INTERRUPTIONS" in os.environ:
    changes = Plan(**json.loads(os.environ["INTERRUPTIONS"])).changes()
    for loaded in [name for name in changes if name in sys.modules]:
        change(sys.modules[loaded], changes.pop(loaded))
    sys.meta_path.insert(0, Finder(changes))
