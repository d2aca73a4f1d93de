"""The layer's check where its wheels cannot be loaded, and what `make` says of itself."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from infra import layer
from infra.templates import FOLDER


def check(into: Path) -> int:
    return layer.main(["check", "--into", str(into), "--python", sys.executable])


@pytest.mark.parametrize(
    ("system", "machine"), [("Darwin", "arm64"), ("Darwin", "x86_64"), ("Linux", "aarch64")]
)
def test_elsewhere_than_on_lambdas_machine_the_check_says_that_it_checks_nothing(
    system: str,
    machine: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(platform, "system", lambda: system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    (tmp_path / "functions" / "serving").mkdir(parents=True)
    broken = tmp_path / "functions" / "serving" / "bot.py"
    broken.write_text("raise ImportError\n\ndef handler(event, context): ...\n")
    assert check(tmp_path) == 0
    assert capsys.readouterr().out.strip() == "built, not checked: its wheels are Linux's"
    assert check(tmp_path / "nowhere") == 2
    assert "holds no layer" in capsys.readouterr().err
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    assert check(tmp_path) == 70


def test_make_lists_its_targets_in_columns_of_spaces() -> None:
    make = shutil.which("make")
    if make is None:
        pytest.skip("there is no make here")
    ran = subprocess.run(
        [make, "--no-print-directory", "help"], cwd=FOLDER.parent, capture_output=True, check=True
    )
    lines = ran.stdout.decode().splitlines()
    assert "\t" not in ran.stdout.decode()  # which BSD's sed would write as a t
    assert {line.split()[1] for line in lines} >= {"help", "demo", "test", "layer", "clean"}
    begins = {len(line) - len(line.split(maxsplit=2)[2]) for line in lines}
    assert len(begins) == 1


def test_a_shim_stands_for_the_interpreter_behind_it(tmp_path: Path) -> None:
    shim = tmp_path / "python3.99"
    shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    shim.chmod(0o755)
    found = layer.interpreter(str(shim))
    assert found is not None
    assert Path(found).resolve() == Path(sys.executable).resolve()


def test_a_shim_that_refuses_is_no_interpreter(tmp_path: Path) -> None:
    shim = tmp_path / "python3.99"
    shim.write_text("#!/bin/sh\necho 'command not found' >&2\nexit 127\n")
    shim.chmod(0o755)
    assert layer.interpreter(str(shim)) is None
    assert layer.interpreter("python3.98") is None
