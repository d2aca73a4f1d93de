"""Files of the layer and of the functions' package: compiled, measured and zipped, reproducibly."""

from __future__ import annotations

import shutil
import subprocess
import zipfile
from collections import Counter
from pathlib import Path

LONG_AGO = (1980, 1, 1, 0, 0, 0)
"""Every file's time in a zip: the earliest that one can tell."""

_COMPILE = """
import compileall, py_compile, sys
folder, prefix, mode, beside = sys.argv[1:]
sys.exit(not compileall.compile_dir(
    folder, quiet=1, force=True, workers=1, maxlevels=100, stripdir=folder, prependdir=prefix,
    legacy=beside == "beside", invalidation_mode=py_compile.PycInvalidationMode[mode],
))
"""


def compile_instead(folder: Path, python: str, prefix: str) -> None:
    """Put bytecode into the place of all Python sources below a folder.

    A function's disk is read-only: sources would be compiled anew whenever one starts, and
    bytecode is smaller. Tracebacks keep their line numbers.

    Parameters
    ----------
    prefix
        Where the folder will be: what tracebacks show.

    Raises
    ------
    subprocess.CalledProcessError
        A file cannot be compiled; its name is printed.
    """
    _compile(folder, python, prefix, "UNCHECKED_HASH", "beside")
    for source in folder.rglob("*.py"):
        source.unlink()


def compile_besides(folder: Path, python: str, prefix: str) -> None:
    """Put bytecode beside the sources, which stay; raises as :func:`compile_instead`.

    It counts only for the very source that it was made of, whatever the files' times are.
    """
    _compile(folder, python, prefix, "CHECKED_HASH", "in __pycache__")


def _compile(folder: Path, python: str, prefix: str, mode: str, where: str) -> None:
    command = [python, "-I", "-S", "-c", _COMPILE, str(folder), prefix, mode, where]
    subprocess.run(command, check=True)


def copy_sources(root: Path, names: tuple[str, ...], target: Path) -> None:
    """Copy packages and single files from the checkout; of packages, their Python sources."""
    for name in names:
        source = root / name
        files = sorted(source.rglob("*.py")) if source.is_dir() else [source]
        for file in files:
            copy = target / file.relative_to(root)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)


def write_zip(path: Path, folder: Path) -> None:
    """Zip a folder's files: the same files make the same bytes, wherever and whenever."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(each for each in folder.rglob("*") if each.is_file()):
            entry = zipfile.ZipInfo(file.relative_to(folder).as_posix(), LONG_AGO)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3  # Unix, whose rights follow: whoever runs it may read it
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, file.read_bytes())


def unzipped_bytes(path: Path) -> int:
    """What a zip holds once it is unpacked, as Lambda counts it."""
    with zipfile.ZipFile(path) as archive:
        return sum(entry.file_size for entry in archive.infolist())


def largest_parts(path: Path, depth: int) -> Counter[str]:
    """Bytes by the first so many steps of the names in a zip."""
    parts: Counter[str] = Counter()
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            parts["/".join(entry.filename.split("/")[:depth])] += entry.file_size
    return parts
