"""What of the installed packages the Lambda functions do without, each part with its reason."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Iterator
from importlib.metadata import distributions
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from strategy.errors import ConfigError

EXCHANGES = frozenset({"binance", "binanceusdm"})
"""ccxt's classes that stay: the one that is used, and the one that it derives from."""

SERVICES = frozenset(
    {"ce", "dynamodb", "ec2", "lambda", "s3", "sagemaker", "sns", "sqs", "ssm", "sts"}
)
"""botocore's models that stay: of what ``store.aws.client`` is asked for, and of credentials."""

_DATABRICKS = "MLflow's stores on Databricks"
_SERVER = "MLflow's own server, which does not run in a function"
_ASYNC = "ccxt's asynchronous side"
_GIT = "MLflow asks git for a commit, and there is no git in a function"
_OPENMP = "only the OpenMP runtime of scikit-learn's wheel is used, and that is set aside"

UNUSED = MappingProxyType(
    {
        "aiohappyeyeballs": _ASYNC,
        "aiohttp": _ASYNC,
        "aiohttp-fast-zlib": _ASYNC,
        "aiosignal": _ASYNC,
        "attrs": _ASYNC,
        "coincurve": "ccxt's signatures for exchanges on a blockchain",
        "frozenlist": _ASYNC,
        "gitdb": _GIT,
        "gitpython": _GIT,
        "google-auth": _DATABRICKS,
        "h11": _SERVER,
        "joblib": _OPENMP,
        "multidict": _ASYNC,
        "propcache": _ASYNC,
        "pyasn1": _DATABRICKS,
        "pyasn1-modules": _DATABRICKS,
        "scikit-learn": _OPENMP,
        "smmap": _GIT,
        "threadpoolctl": _OPENMP,
        "uvicorn": _SERVER,
        "uvloop": _SERVER,
        "yarl": _ASYNC,
        "zlib-ng": _ASYNC,
    }
)
"""Distributions that others require and no function imports."""

PARTS = MappingProxyType(
    {
        "bin": "commands",
        "boto3/examples": "documentation",
        "ccxt/async_support": _ASYNC,
        "ccxt/prediction": "markets that are not traded",
        "ccxt/pro": "ccxt over websockets",
        "ccxt/test": "tests",
        "databricks/sdk": _DATABRICKS,  # MLflow looks for the package around it
        "mlflow/assistant": "MLflow's helper in its UI",
        "pandas/tests": "tests",
        "scipy/io": "other programs' files",
        "**/tests": "tests",
        "**/*.a": "for linking extensions",
        "**/*.h": "for compiling extensions",
        "**/*.pxd": "for compiling extensions",
        "**/*.pyi": "for type checkers",
        "**/*.pyx": "source of extensions that are there compiled",
        "*.dist-info/RECORD": "lists files that are not there any more",
    }
)
"""Files and folders, as patterns below the packages' folder."""


class Removed(NamedTuple):
    """Something that is not in the layer, and how much that saves."""

    what: str
    bytes: int
    why: str


def set_openmp_aside(packages: Path, libraries: Path) -> None:
    """Put the OpenMP runtime where Lambda's loader looks for it.

    LightGBM's wheel expects it from the system, and Lambda's image of Amazon Linux 2023 has none.

    Raises
    ------
    ConfigError
        scikit-learn's wheel does not hold exactly one.
    """
    found = list(packages.glob("scikit_learn.libs/libgomp-*.so*"))
    if len(found) != 1:
        names = [path.name for path in found]
        raise ConfigError(f"scikit-learn's wheel should hold one libgomp, and holds {names}")
    libraries.mkdir(parents=True)
    shutil.copy(found[0], libraries / "libgomp.so.1")


def slim(packages: Path) -> list[Removed]:
    """Remove from a folder of installed packages all that is listed here.

    Raises
    ------
    ConfigError
        Something that is listed is not there: the lists are out of date.
    """
    removed = [_without_distribution(packages, name, why) for name, why in UNUSED.items()]
    for pattern, why in PARTS.items():
        removed.append(Removed(pattern, _delete(packages, pattern, packages.glob(pattern)), why))
    removed.append(_without_exchanges(packages / "ccxt"))
    services = [path for path in (packages / "botocore" / "data").iterdir() if path.is_dir()]
    others = [path for path in services if path.name not in SERVICES]
    size = _delete(packages, "botocore/data", others)
    removed.append(Removed("botocore/data", size, "AWS services that are not used"))
    return removed


def _without_distribution(packages: Path, name: str, why: str) -> Removed:
    found = next(iter(distributions(path=[str(packages)], name=name)), None)
    files = [Path(str(file.locate())) for file in found.files or ()] if found else []
    size = _delete(packages, name, [file for file in files if file.is_file()])
    for folder in sorted({parent for file in files for parent in file.parents}, reverse=True):
        if packages in folder.parents and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
    return Removed(name, size, why)


def _without_exchanges(ccxt: Path) -> Removed:
    """Its ``__init__`` imports every exchange: those lines go with their modules."""
    entry = ccxt / "__init__.py"
    lines = entry.read_text().splitlines(keepends=True)
    imported = re.compile(r"from ccxt\.(\w+) +import \1\b")
    names = {match[1] for line in lines if (match := imported.match(line))} - EXCHANGES
    kept = [line for line in lines if not ((m := imported.match(line)) and m[1] in names)]
    entry.write_text("".join(kept))
    modules = [folder / f"{name}.py" for name in names for folder in (ccxt, ccxt / "abstract")]
    size = _delete(ccxt, "exchanges", [module for module in modules if module.exists()])
    return Removed("ccxt's other exchanges", size, "they are not traded on")


def _delete(packages: Path, what: str, paths: Iterable[Path]) -> int:
    found = sorted(paths)
    if not found:
        raise ConfigError(f"{packages} has no {what}: take it off the list in infra/{__name__}")
    size = 0
    for path in found:
        size += sum(file.lstat().st_size for file in _files(path))
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    return size


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from (each for each in path.rglob("*") if each.is_file())
    elif path.exists():
        yield path
