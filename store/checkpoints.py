"""What a campaign has computed, kept so that an interruption costs the work in hand only.

A checkpoint is written once and never changed. Its first line says whose it is and carries a
hash over everything; what was torn or damaged since does not fit its hash and counts as
missing, and what belongs to another campaign is refused.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import groupby
from typing import NamedTuple

from store.objects import Entry, Objects, open_objects
from strategy.errors import StoreError

log = logging.getLogger(__name__)
_FOLDER_DIGITS = 12
_CAMPAIGN = re.compile(rf"[0-9a-z]+-[0-9a-f]{{{_FOLDER_DIGITS}}}")
"""Name of a campaign's folder: see :attr:`Origin.folder`."""


@dataclass(frozen=True)
class Origin:
    """Whose checkpoints these are: the same work on the same input by the same code."""

    campaign_id: str
    config_digest: str
    data_digest: str
    code_digest: str

    @property
    def folder(self) -> str:
        return f"{self.campaign_id}-{self.config_digest[:_FOLDER_DIGITS]}"


class Checkpoint(NamedTuple):
    """A checkpoint that holds."""

    name: str
    content: bytes
    sha256: str


class TornCheckpointError(Exception):
    """The bytes do not fit their hash."""


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one campaign, by name, as ``trial-0007/window-03``.

    Parameters
    ----------
    root
        Where those of all campaigns are kept; each has a folder of its own below.
    origin
        Whose they are.
    """

    root: Objects
    origin: Origin

    def write(self, name: str, content: bytes) -> str:
        """Keep a result, unless one of this name is kept already; returns its hash (SHA-256).

        Raises
        ------
        StoreError, RetryError
            The root cannot be written.
        """
        sealed, sha256 = seal(self.origin, content)
        self.root.create(self._path(name), sealed)
        return sha256

    def read_all(self) -> Iterator[Checkpoint]:
        """Every checkpoint that holds, in order of name.

        One that does not fit its hash is removed, with a warning that names it, so that it can
        be computed and written again.

        Raises
        ------
        StoreError
            One belongs to another campaign, config, code version or candles: it names the
            checkpoint and what differs. Nothing is mixed in, nothing removed.
        """
        prefix = f"{self.origin.folder}/"
        names = [entry.name for entry in self.root.entries(prefix)]
        for path, sealed in self.root.read_all(names):
            name = path.removeprefix(prefix)
            try:
                yield Checkpoint(name, *unseal(self.origin, sealed, path))
            except TornCheckpointError as error:
                log.warning("checkpoint %s is damaged (%s): it will be computed again", path, error)
                self.root.delete([path])

    def remove_others(self, before: datetime) -> list[str]:
        """Remove other campaigns' checkpoints whose newest is older; returns their folders.

        Whatever else lies below the root is not touched.
        """
        removed = []
        for folder, group in groupby(self.root.entries(), _folder):
            if folder == self.origin.folder or not _CAMPAIGN.fullmatch(folder):
                continue
            entries = list(group)
            if max(each.modified for each in entries) < before:
                self.root.delete(each.name for each in entries)
                removed.append(folder)
        return removed

    def _path(self, name: str) -> str:
        return f"{self.origin.folder}/{name}"


def checkpoints_at(uri: str, origin: Origin) -> Checkpoints:
    """A campaign's checkpoints below ``s3://bucket/prefix`` or the path of a folder.

    Raises
    ------
    ConfigError
        The bucket is not named.
    """
    return Checkpoints(open_objects(uri), origin)


def seal(origin: Origin, content: bytes) -> tuple[bytes, str]:
    """The bytes of a checkpoint and their hash (SHA-256 of the origin's JSON and the content)."""
    whose = json.dumps(asdict(origin), separators=(",", ":"))
    sha256 = hashlib.sha256(whose.encode() + content).hexdigest()
    header = json.dumps({"sha256": sha256, "origin": whose}, separators=(",", ":"))
    return header.encode() + b"\n" + content, sha256


def unseal(origin: Origin, sealed: bytes, path: str) -> tuple[bytes, str]:
    """Content and hash of a checkpoint.

    Raises
    ------
    TornCheckpointError
        It does not fit its hash.
    StoreError
        It holds, but is another campaign's.
    """
    first, _, content = sealed.partition(b"\n")
    try:
        header = json.loads(first)
        sha256, whose = header["sha256"], header["origin"]
        holds = hashlib.sha256(whose.encode() + content).hexdigest() == sha256
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise TornCheckpointError("its first line cannot be read") from error
    if not holds:
        raise TornCheckpointError(f"{len(sealed)} bytes that do not fit their hash")
    found, expected = json.loads(whose), asdict(origin)
    differing = [
        f"{name} {str(found.get(name))[:16]}, not {value[:16]}"
        for name, value in expected.items()
        if found.get(name) != value
    ]
    if differing:
        raise StoreError(
            f"checkpoint {path} belongs to another campaign ({'; '.join(differing)}): it was not "
            "used. Remove it, or give another place for checkpoints"
        )
    return content, sha256


def _folder(entry: Entry) -> str:
    return entry.name.split("/")[0]
