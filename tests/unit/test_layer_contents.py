"""The layer's lists and tools: versions, what is left out, bytecode, zips, the limit."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from rich.console import Console

from infra import layer
from infra.layer_check import handlers, imported_later
from infra.layer_contents import PARTS, SERVICES, UNUSED, set_openmp_aside, slim
from infra.layer_files import compile_besides, compile_instead, copy_sources, write_zip
from registry import code_version
from strategy.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
PINNED = re.compile(r"^([\w.-]+)==(\S+)((?: .*)?\\\n(?:    --hash=.*\n)*)", re.MULTILINE)
QUIET = Console(quiet=True)


def versions(name: str) -> dict[str, str]:
    return {found[1]: found[2] for found in PINNED.finditer((ROOT / name).read_text())}


# The lock


def test_the_layer_holds_the_very_versions_that_are_developed_with() -> None:
    of_all, of_the_layer = versions("requirements.txt"), versions("infra/requirements-layer.txt")
    assert {"numpy", "lightgbm", "mlflow-skinny", "ccxt"} <= set(of_the_layer)
    assert of_the_layer.items() <= of_all.items()


def test_every_package_of_the_layer_has_its_hashes() -> None:
    text = (ROOT / "infra" / "requirements-layer.txt").read_text()
    assert all("--hash=sha256:" in found[3] for found in PINNED.finditer(text))


def test_what_is_left_out_is_in_the_lock_and_has_a_reason() -> None:
    assert set(UNUSED) <= set(versions("infra/requirements-layer.txt"))
    assert all({**UNUSED, **PARTS}.values())


def test_every_service_that_a_client_is_made_of_stays_in_the_layer() -> None:
    sources = [path for name in layer.SOURCES for path in (ROOT / name).rglob("*.py")]
    asked = {
        name for path in sources for name in re.findall(r'\bclient\("(\w+)"', path.read_text())
    }
    assert {"s3", "dynamodb", "sagemaker"} <= asked
    assert asked - {"pricing"} <= SERVICES  # the price table is made by a person


# Leaving out


def installed(folder: Path) -> Path:
    """A folder as pip leaves it, with something of everything that is left out."""
    for name in UNUSED:
        module = name.replace("-", "_")
        own = ("__init__.py", "../{0}-1.dist-info/METADATA", "../{0}-1.dist-info/RECORD")
        record = "".join(f"{module}/{each.format(module)},,\n" for each in own)
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n"
        info = folder / f"{module}-1.dist-info"
        info.mkdir(parents=True)
        (info / "RECORD").write_text(record)
        (info / "METADATA").write_text(metadata)
        (folder / module).mkdir()
        (folder / module / "__init__.py").write_text("unused")
    for pattern in PARTS:
        path = folder / pattern.replace("**/", "numpy/").replace("*", "x")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("part")
    for service in ("s3", "alexa"):
        (folder / "botocore" / "data" / service).mkdir(parents=True)
        (folder / "botocore" / "data" / service / "service-2.json").write_text("{}")
    (folder / "ccxt").mkdir(exist_ok=True)
    (folder / "ccxt" / "__init__.py").write_text(
        "from ccxt.base import errors\nfrom ccxt.binance import binance  # noqa\n"
        "from ccxt.kraken import kraken  # noqa\nexchanges = ['binance', 'kraken']\n"
    )
    for name in ("binance", "kraken"):
        (folder / "ccxt" / f"{name}.py").write_text(f"class {name}: pass\n")
    (folder / "numpy" / "core.py").write_text("used")
    return folder


def test_what_is_used_stays_and_what_is_listed_goes(tmp_path: Path) -> None:
    removed = slim(installed(tmp_path))
    left = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert left == [
        "botocore/data/s3/service-2.json",
        "ccxt/__init__.py",
        "ccxt/binance.py",
        "numpy/core.py",
    ]
    assert not list(tmp_path.glob("*-1.dist-info"))
    assert "kraken import" not in (tmp_path / "ccxt" / "__init__.py").read_text()
    assert all(each.bytes > 0 for each in removed)


def test_a_list_that_is_out_of_date_is_an_error(tmp_path: Path) -> None:
    (installed(tmp_path) / "ccxt" / "pro").unlink()
    with pytest.raises(ConfigError, match="ccxt/pro"):
        slim(tmp_path)


def test_the_openmp_runtime_gets_the_name_that_lightgbm_asks_for(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="libgomp"):
        set_openmp_aside(tmp_path, tmp_path / "lib")
    bundled = tmp_path / "scikit_learn.libs" / "libgomp-e985bcbb.so.1.0.0"
    bundled.parent.mkdir()
    bundled.write_bytes(b"ELF")
    set_openmp_aside(tmp_path, tmp_path / "lib")
    assert (tmp_path / "lib" / "libgomp.so.1").read_bytes() == b"ELF"


# Bytecode and zips


def test_bytecode_takes_the_place_of_sources_and_is_the_same_every_time(tmp_path: Path) -> None:
    made = []
    names = {f"name{number}" for number in range(50)}  # whose order is a matter of chance
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "module.py").write_text(f"FOUND = 'name1' in {names}\n")
        compile_instead(folder, sys.executable, "/opt/python")
        assert [path.name for path in folder.iterdir()] == ["module.pyc"]
        made.append((folder / "module.pyc").read_bytes())
    assert made[0] == made[1]
    assert b"/opt/python/module.py" in made[0]
    program = f"import sys; sys.path.insert(0, {str(tmp_path / 'one')!r}); import module"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_source_that_is_no_python_ends_the_build(tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text("def :")
    with pytest.raises(subprocess.CalledProcessError):
        compile_instead(tmp_path, sys.executable, "/opt/python")


def test_bytecode_beside_a_source_does_not_hide_a_change_of_it(tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text("print('before')\n")
    compile_besides(tmp_path, sys.executable, "/var/task")
    (tmp_path / "module.py").write_text("print('after!')\n")
    program = [
        sys.executable,
        "-c",
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import module",
    ]
    ran = subprocess.run(program, capture_output=True, text=True, check=True)
    assert ran.stdout == "after!\n"


def test_a_zip_tells_what_is_in_it_and_nothing_of_when_it_was_made(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for folder, names in ((one, "ab"), (two, "ba")):
        folder.mkdir()
        for name in names:
            (folder / name).write_text(name)
    os.utime(two / "a", (2_000_000_000, 2_000_000_000))
    (two / "a").chmod(0o600)
    for folder in (one, two):
        write_zip(folder.with_suffix(".zip"), folder)
    assert one.with_suffix(".zip").read_bytes() == two.with_suffix(".zip").read_bytes()
    with zipfile.ZipFile(one.with_suffix(".zip")) as archive:
        assert archive.namelist() == ["a", "b"]
        assert archive.getinfo("a").external_attr >> 16 == 0o100644


def test_a_layer_that_lambda_would_refuse_ends_the_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("layer", "functions"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "data").write_bytes(bytes(60))
        write_zip(tmp_path / f"{name}.zip", tmp_path / name)
    monkeypatch.setattr(layer, "LIMIT", 120)
    layer.measure(tmp_path, QUIET)
    monkeypatch.setattr(layer, "LIMIT", 119)
    with pytest.raises(ConfigError, match="120 bytes, Lambda takes 119"):
        layer.measure(tmp_path, QUIET)


# The functions' package


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("package")
    copy_sources(ROOT, layer.SOURCES, folder / "functions")
    return folder


def test_it_is_the_code_that_campaigns_are_asked_for_with(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = code_version.code_digest()
    monkeypatch.setattr(code_version, "ROOT", package / "functions")
    assert code_version.code_digest() == here


def test_it_holds_sources_and_the_table_of_prices_only(package: Path) -> None:
    paths = [path for path in (package / "functions").rglob("*") if path.is_file()]
    assert {path.name for path in paths if path.suffix != ".py"} == {"prices.json"}


def test_the_handlers_are_found_in_it_with_what_they_import_later(package: Path) -> None:
    assert "serving.trading_bot" in handlers(package)
    later = imported_later(package / "functions", "serving.trading_bot")
    assert {"registry.connection", "store.settings"} <= set(later)


def test_a_layer_that_is_not_built_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="layer build"):
        handlers(tmp_path)
