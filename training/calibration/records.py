"""The calibration's file: one line of JSON a campaign, appended when the campaign has ended.

Killed at any moment, it loses at most the campaigns in hand: a line that was cut short is no
JSON, and is left out when the file is read.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from strategy.errors import StoreError


class Key(NamedTuple):
    """Which campaign of the calibration: equal keys, equal figures."""

    market: str
    seed: int


@dataclass(frozen=True)
class Origin:
    """What else a record rests on; records of another origin are left alone."""

    geometry: str
    """Digest of the config."""
    code: str
    """Digest of the sources that make a record."""
    candles: str
    """Digest of the recorded candles; empty on markets that are not made from any."""


@dataclass(frozen=True)
class Records:
    """Records of one calibration in a file, which may hold those of others as well."""

    path: Path

    def read(self, *origins: Origin) -> dict[Key, dict[str, Any]]:
        """Records of these origins, by market and seed.

        Raises
        ------
        StoreError
            The file cannot be read.
        """
        wanted = {json.dumps(asdict(origin)) for origin in origins}
        found = {}
        for line in self._lines():
            try:
                record = json.loads(line)
            except ValueError:
                continue  # cut short by an interruption: that campaign is run again
            if json.dumps(record["origin"]) in wanted:
                found[Key(record["market"], record["seed"])] = record
        return found

    def append(self, key: Key, origin: Origin, record: dict[str, Any]) -> None:
        """Write a record to the disk.

        Raises
        ------
        StoreError
            The file cannot be written.
        """
        line = json.dumps(
            {**key._asdict(), "origin": asdict(origin), **record}, separators=(",", ":")
        )
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as file:
                # begins a line of its own, even after one that was cut short
                file.write(b"\n" * self._is_cut_short() + line.encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise StoreError(
                f"{self.path} cannot be written to: {error.strerror}; give another --records"
            ) from error

    def _lines(self) -> Iterator[bytes]:
        try:
            with self.path.open("rb") as file:
                yield from file
        except FileNotFoundError:
            return
        except OSError as error:
            raise StoreError(f"{self.path} cannot be read: {error.strerror}") from error

    def _is_cut_short(self) -> bool:
        with self.path.open("rb") as file:
            if not file.seek(0, os.SEEK_END):
                return False
            file.seek(-1, os.SEEK_END)
            return file.read(1) != b"\n"
