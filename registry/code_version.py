"""Which code made a result: the commit for people, a digest of the sources for machines."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("strategy", "store", "registry", "training")
UNKNOWN = "unknown"


def git_commit() -> str:
    """The checkout's commit, else what GIT_COMMIT says (a container has no git), or ``unknown``."""
    command = ["git", "-C", str(ROOT), "rev-parse", "HEAD"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return os.environ.get("GIT_COMMIT", UNKNOWN)
    return answer.stdout.strip()


def code_digest(packages: Sequence[str] = PACKAGES) -> str:
    """SHA-256 over the Python sources of packages: by default of those that make results.

    Unlike the commit it also tells edited sources apart, and exists in a container.
    """
    hasher = hashlib.sha256()
    for package in packages:
        for path in sorted((ROOT / package).rglob("*.py")):
            hasher.update(str(path.relative_to(ROOT)).encode() + b"\0")
            hasher.update(path.read_bytes())
    return hasher.hexdigest()
