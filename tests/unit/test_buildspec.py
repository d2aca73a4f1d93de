"""What CodeBuild does with a commit: read as it reads it, and run phase by phase."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.layer import interpreter

ROOT = Path(__file__).resolve().parents[2]
SPEC: dict[str, Any] = yaml.safe_load((ROOT / "buildspec.yml").read_text())
PHASES = ("install", "pre_build", "build", "post_build")
COMMIT = "4d523550c2b1a0e9f8d7c6b5a4938271605f4e3d"
REPOSITORY = "123456789012.dkr.ecr.ap-southeast-1.amazonaws.com/trading-system-test/training"
GIVEN = {
    "ARTIFACT_BUCKET": "artifacts",
    "REPOSITORY_URI": REPOSITORY,
    "CODEBUILD_RESOLVED_SOURCE_VERSION": COMMIT,
}
DIGEST = "sha256:" + "ab" * 32

AWS = f"""#!/bin/sh
echo "aws $*" >> "$RECORD"
case "$*" in
  *get-login-password*) echo password;;
  *describe-images*--query*) echo {DIGEST};;
  *describe-images*) exit 254;;
  *describe-image-scan-findings*) echo "${{CRITICAL_FINDINGS:-0}}";;
esac
"""
DOCKER = """#!/bin/sh
echo "docker $*" >> "$RECORD"
case "$1" in
  login) cat > /dev/null;;
  inspect) echo "python@sha256:cafe";;
esac
"""


def commands(phase: str) -> list[str]:
    found: list[str] = SPEC["phases"][phase]["commands"]
    return found


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


class Build:
    """CodeBuild: a shell for every phase, which stops at the first command that fails."""

    def __init__(self, checkout: Path, folder: Path, variables: Mapping[str, str]) -> None:
        self.checkout, self.folder = checkout, folder
        self.record = folder / "record"
        self.variables = {**variables, **GIVEN, "RECORD": str(self.record)}
        self.variables |= {name: str(value) for name, value in SPEC["env"]["variables"].items()}

    def run(self, phase: str) -> subprocess.CompletedProcess[str]:
        """What a phase exports is there for the next one."""
        after = self.folder / "exported"
        lines = [f"{{ {each}\n}} || {{ echo 'failed: '{i}; exit 1; }}" for i, each in
                 enumerate(commands(phase))]  # fmt: skip
        script = "\n".join([*lines, f"env -0 > {after}"])
        ran = subprocess.run(
            [SPEC["env"]["shell"], "-c", script],
            cwd=self.checkout,
            env=self.variables,
            capture_output=True,
            text=True,
            check=False,
        )
        if ran.returncode == 0:
            pairs = after.read_text().split("\0")[:-1]
            self.variables = dict(pair.split("=", 1) for pair in pairs)
        return ran

    @property
    def asked(self) -> list[str]:
        return self.record.read_text().splitlines() if self.record.exists() else []


def stand_ins(folder: Path, **programs: str) -> str:
    """A folder with programs that only record what they are asked; returns a PATH with it."""
    folder.mkdir()
    for name, text in programs.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


@pytest.fixture
def publishing(tmp_path: Path) -> Build:
    """A build that has its layer, in a checkout without tools."""
    checkout = tmp_path / "checkout"
    (checkout / "var" / "layer").mkdir(parents=True)
    for name in ("layer", "functions"):
        (checkout / "var" / "layer" / f"{name}.zip").write_text(name)
    (checkout / ".venv" / "bin").mkdir(parents=True)
    shutil.copytree(ROOT / "infra", checkout / "infra", ignore=shutil.ignore_patterns("*.pyc"))
    shutil.copy(ROOT / "config.json", checkout)
    (checkout / ".venv" / "bin" / "python").symlink_to("/bin/true")
    path = stand_ins(tmp_path / "bin", aws=AWS, docker=DOCKER, make="#!/bin/sh\n")
    return Build(checkout, tmp_path, {"PATH": path})


def test_it_has_the_phases_of_codebuild_and_a_failure_ends_it() -> None:
    assert SPEC["version"] == 0.2
    assert tuple(SPEC["phases"]) == PHASES
    assert all(SPEC["phases"][phase]["on-failure"] == "ABORT" for phase in PHASES)
    assert SPEC["phases"]["install"]["runtime-versions"] == {"python": "3.12"}


@pytest.mark.parametrize("phase", PHASES)
def test_every_command_is_text_that_the_shell_can_read(phase: str) -> None:
    for command in commands(phase):
        assert isinstance(command, str)
        read = subprocess.run(["bash", "-n", "-c", command], capture_output=True, text=True)
        assert read.returncode == 0, read.stderr


def test_the_files_and_make_targets_that_it_names_are_there() -> None:
    text = "\n".join(command for phase in PHASES for command in commands(phase))
    named = re.findall(r"(?<![\w/.-])(?:infra|requirements)[\w./-]*\.(?:txt|Dockerfile)", text)
    assert "requirements-scan.txt" in named
    assert [name for name in named if not (ROOT / name).exists()] == []
    targets = set(re.findall(r"^make (?:PYTHON=\S+ )?(\S+)", text, re.MULTILINE))
    made = (ROOT / "Makefile").read_text().replace("$(VENV)", ".venv")
    assert [each for each in targets if not re.search(rf"^{re.escape(each)}:", made, re.M)] == []


def test_an_image_is_built_once_and_published_with_all_that_belongs_to_it(
    publishing: Build,
) -> None:
    for phase in ("build", "post_build"):
        ran = publishing.run(phase)
        assert ran.returncode == 0, ran.stdout + ran.stderr
    exported = {name: publishing.variables[name] for name in SPEC["env"]["exported-variables"]}
    layer, code = (
        hashlib.sha256(name.encode()).hexdigest()[:16] for name in ("layer", "functions")
    )
    templates = [path.read_bytes() for path in sorted((ROOT / "infra").glob("*.yaml"))]
    assert exported == {
        "CODE_KEY": f"builds/functions-{code}.zip",
        "IMAGE_DIGEST": DIGEST,
        "IMAGE_TAG": COMMIT[:12],
        "LAYER_KEY": f"builds/layer-{layer}.zip",
        "TEMPLATE_PREFIX": f"templates/{digest(b''.join(templates))}",
    }
    (built,) = [each for each in publishing.asked if each.startswith("docker build")]
    assert f"GIT_COMMIT={COMMIT}" in built
    assert "base.name=python@sha256:cafe" in built
    assert f"docker push --quiet {REPOSITORY}:{COMMIT[:12]}" in publishing.asked
    written = [each.rpartition(" ")[2] for each in publishing.asked if " s3 cp " in each]
    version = f"s3://artifacts/versions/{COMMIT[:12]}"
    assert written == [
        f"s3://artifacts/{exported['LAYER_KEY']}",
        f"s3://artifacts/{exported['CODE_KEY']}",
        f"s3://artifacts/{exported['TEMPLATE_PREFIX']}",
        f"{version}/version.json",
        f"{version}/config.json",
    ]
    told = json.loads((publishing.checkout / "var" / "version.json").read_text())
    assert told["image"] == f"{REPOSITORY}@{DIGEST}"


def test_an_image_with_a_critical_finding_ends_the_build(publishing: Build) -> None:
    publishing.variables["CRITICAL_FINDINGS"] = "1"
    ran = publishing.run("build")
    assert ran.returncode == 1
    assert "has 1 critical findings" in ran.stdout


def test_no_secret_is_printed(publishing: Build) -> None:
    assert "password" not in publishing.run("build").stdout


@pytest.mark.torture
def test_all_of_it_runs_as_codebuild_would_run_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Everything is real but Docker, AWS, and the database of vulnerabilities.

    Of the project's own tests a few stand for all: it is those that run this one.
    """
    if interpreter("python3.12") is None:
        pytest.skip("there is no python3.12 here, on which CodeBuild runs it")
    checkout = tmp_path / "checkout"
    leave = shutil.ignore_patterns(
        ".git", ".venv*", "var", "__pycache__", ".*_cache", ".hypothesis"
    )
    shutil.copytree(ROOT, checkout, ignore=leave)
    path = stand_ins(tmp_path / "bin", aws=AWS, docker=DOCKER)
    pip = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    narrowed = {"PYTEST_ADDOPTS": "-k 'training_image or buildspec or layer'"}
    build = Build(checkout, tmp_path, {**pip, **narrowed, "HOME": str(tmp_path), "PATH": path})
    for phase in PHASES:
        if phase == "pre_build":
            audit = checkout / ".venv" / "scan" / "bin" / "pip-audit"
            audit.write_text('#!/bin/sh\necho "pip-audit $*" >> "$RECORD"\n')
        ran = build.run(phase)
        with capsys.disabled():
            print(f"\n{phase}: exit {ran.returncode}\n{ran.stdout[-3000:]}")
        assert ran.returncode == 0, ran.stderr[-3000:]
    assert (checkout / "var" / "layer" / "layer.zip").stat().st_size > 10**7
    with capsys.disabled():
        print("recorded only, not done:", *build.asked, sep="\n  ")
