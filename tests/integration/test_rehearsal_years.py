"""Two years of the whole system, seed by seed; each result is kept, so that it can be continued."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rehearsal.performance import REPORT, RESULT, rehearsed_code

ROOT = Path(__file__).resolve().parents[2]
KEPT = ROOT / "var" / "rehearsals"
SEEDS = range(1, 21)


@pytest.mark.torture
@pytest.mark.parametrize("seed", SEEDS)
def test_two_years_with_faults_break_no_invariant(seed: int) -> None:
    folder = KEPT / f"seed-{seed:02d}"
    result = kept(folder)
    if result is None:
        command = [sys.executable, "-m", "rehearsal", "--seed", str(seed), "--into", str(folder)]
        ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-3000:]
        result = kept(folder)
        assert result is not None
        leave_the_report(folder)
    assert result["broken"] is None
    assert result["things_gone_wrong"] >= 1000


def kept(folder: Path) -> dict[str, Any] | None:
    """What an earlier run with this very code found, if it came to its end."""
    path = folder / RESULT
    if not path.exists():
        return None
    result: dict[str, Any] = json.loads(path.read_bytes())
    return result if result["code_digest"] == rehearsed_code() else None


def leave_the_report(folder: Path) -> None:
    """All else of a rehearsal takes a hundred megabytes."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name not in (REPORT, RESULT):
            path.unlink()
