"""The look-ahead analysis as a command, on the catalogue and on modules of a user's own."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import pytest

from tests.campaign_place import Place, small_config
from training.look_ahead import main

MODULE = """
from strategy.features.catalogue import FeatureDefinition

def entry(name, history, parameters=()):
    return FeatureDefinition(name, "combined", "Planted.", "-", parameters, history, None)

DEFINITIONS = (
    entry("momentum", lambda parameters: 25),
    entry("tomorrow", lambda parameters: 1, ("rsi_period",)),
)

def columns(candles, parameters):
    close = candles["close"]
    return {"momentum": close / close.shift(24) - 1, "tomorrow": close.shift(-1)}
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    (tmp_path / "config.json").write_text(json.dumps(small_config()))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return Place(tmp_path)


def test_the_catalogue_is_sound(here: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--tries", "4", "--bars", "1500"]) == 0
    said = capsys.readouterr().out
    assert "58 of 58 features are sound." in said
    assert "reversal_at_kijun" in said


def test_a_module_run_from_its_folder_is_told_what_leaks_and_where(here: Place) -> None:
    (here.folder / "mine.py").write_text(MODULE)
    ended = here.run("training.look_ahead", "--features", "mine", "--bars", "600")
    assert ended.returncode == 1, ended.stderr
    assert "1 of 2 features are sound." in ended.stdout
    assert "At fault: tomorrow." in ended.stdout
    line = next(line for line in ended.stdout.splitlines() if "sees the future" in line)
    assert line.split()[0] == "tomorrow"
    bar = " ".join(line.split("sees the future")[1].split()[:2])
    assert f"without candles after {bar}, with rsi_period 7" in line
    assert "nan" in line


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it has no DEFINITIONS"),
        ("DEFINITIONS = ()", "it has no columns"),
        ("DEFINITIONS = ()\ncolumns = None", "its DEFINITIONS are empty"),
        (MODULE + "\ncolumns = lambda candles, parameters: {}", "gives no 'momentum'"),
        ("import not_there", "No module named 'not_there'"),
    ],
)
def test_a_module_that_cannot_be_used_is_named_with_the_reason(
    here: Place, capsys: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    name = f"unusable_{zlib.crc32(text.encode())}"  # a module is imported only once
    (here.folder / f"{name}.py").write_text(text)
    assert main(["--features", name]) == 2
    error = " ".join(capsys.readouterr().err.split())
    assert name in error
    assert said in error


def test_a_module_that_is_not_there_is_refused(
    here: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--features", "no_such_module"]) == 2
    assert "no_such_module" in capsys.readouterr().err


def test_too_few_bars_are_refused(here: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--bars", "300"]) == 2
    assert "300 candles are too few" in " ".join(capsys.readouterr().err.split())
