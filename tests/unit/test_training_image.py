"""What infra/training.Dockerfile promises to the code that will run in it."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from registry import code_version
from store.sagemaker_jobs import ENTRY_POINT
from strategy.config import config_from

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = ROOT / "infra" / "training.Dockerfile"
IGNORE = ROOT / ".dockerignore"
PYCACHE = shutil.ignore_patterns("__pycache__")


def instructions(kind: str) -> list[str]:
    """What stands after every instruction of a kind, its continued lines joined."""
    text = re.sub(r"\\\n\s*", "", DOCKERFILE.read_text())
    return re.findall(rf"^{kind}\s+(.*)$", text, re.MULTILINE)


def lines(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if line and not line.startswith("#")]


def variables() -> dict[str, str]:
    return dict(re.findall(r"(\w+)=(\S+)", " ".join(instructions("ENV"))))


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """The image's working directory, copied as the Dockerfile says."""
    for source, destination in (copy.split() for copy in instructions("COPY")):
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, tmp_path / destination, ignore=PYCACHE)
        else:
            shutil.copy(ROOT / source, tmp_path / destination)
    return tmp_path


def test_it_holds_the_code_that_results_are_traced_to(
    image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = code_version.code_digest()
    monkeypatch.setattr(code_version, "ROOT", image)
    assert code_version.code_digest() == here


def test_it_holds_the_configuration(image: Path) -> None:
    assert config_from(json.loads((image / "config.json").read_text()), source="the image")


def test_it_holds_the_table_of_prices_beside_its_reader(image: Path) -> None:
    assert (image / "store" / "prices.json").is_file()


def test_what_is_copied_is_let_through_and_nothing_else_is() -> None:
    everything, *exceptions, caches = lines(IGNORE)
    assert (everything, caches) == ("*", "**/__pycache__")
    copied = {copy.split()[0].rstrip("/") for copy in instructions("COPY")}
    assert {exception.removeprefix("!") for exception in exceptions} == copied


def test_python_is_the_first_process_and_runs_what_the_request_says() -> None:
    (entry_point,) = instructions("ENTRYPOINT")
    assert json.loads(entry_point) == list(ENTRY_POINT)
    assert not instructions("CMD")


def test_the_code_is_found_wherever_the_job_is_started_and_not_below_a_mount() -> None:
    (folder,) = instructions("WORKDIR")
    assert variables()["PYTHONPATH"] == folder
    assert not folder.startswith("/opt/ml")


def test_what_the_job_prints_is_logged_at_once() -> None:
    assert variables()["PYTHONUNBUFFERED"] == "1"


def test_the_commit_is_given_when_it_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    (argument,) = instructions("ARG")
    assert argument == f"GIT_COMMIT={code_version.UNKNOWN}"
    assert variables()["GIT_COMMIT"] == "${GIT_COMMIT}"
    monkeypatch.setenv("GIT_COMMIT", "4d52355")
    monkeypatch.setenv("PATH", "")  # as in the image, which has no git
    assert code_version.git_commit() == "4d52355"


def test_every_package_is_pinned_by_its_hash() -> None:
    (install,) = (run for run in instructions("RUN") if run.startswith("pip install"))
    assert "--require-hashes" in install
    assert "--only-binary :all:" in install


def test_the_base_is_pinned_to_a_release_that_the_packages_are_for() -> None:
    (base,) = instructions("FROM")
    pinned = re.fullmatch(r".+/python:(\d+)\.(\d+)\.\d+-slim-\w+", base)
    assert pinned
    assert (int(pinned[1]), int(pinned[2])) >= (3, 11)  # as pyproject.toml requires
