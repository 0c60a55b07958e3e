# ruff: noqa: INP001, T201 - a command that prints, not a package
"""Builds what Lambda gets: a function's folder, or the layer with its packages, with bytecode.

usage: artefact.py function|layer SOURCE TARGET MACHINE
       artefact.py check FOLDER

Runs under the Python of the runtime, since Python ignores bytecode of any other version without a
word. The bytecode is compiled with unchecked hashes: /opt and /var/task are read-only, so nothing
could be written beside a source that looks newer, and nobody compares them. What the bytecode says
of its source is where it lies on Lambda. The same sources give the same bytes.
"""

from __future__ import annotations

import compileall
import os
import shutil
import subprocess
import sys
from functools import partial
from importlib.util import MAGIC_NUMBER, cache_from_source, source_hash
from pathlib import Path
from py_compile import PycInvalidationMode
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

TASK = "/var/task"
LAYER = "/opt/python"
LEFT_OUT = ("__pycache__", "*.pyc", "node_modules", ".DS_Store")
# What pip notes about its own work: paths, and hashes of programs that nobody runs here.
PIPS_NOTES = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json")
# glibc of the runtimes: 2.26 up to Python 3.11 (Amazon Linux 2), then 2.34 (Amazon Linux 2023).
OLD_GLIBC = ("manylinux_2_17", "manylinux2014")
NEW_GLIBC = ("manylinux_2_34", "manylinux_2_28", *OLD_GLIBC)
SINCE_NEW_GLIBC = (3, 12)


def compiled(folder: Path, place: str) -> None:
    """Compile a folder's Python for the interpreter that runs here.

    Args:
        folder: is changed.
        place: where it will lie, for tracebacks.

    Raises:
        ValueError: something does not compile.
    """
    ok = compileall.compile_dir(
        folder,
        maxlevels=50,
        quiet=1,
        force=True,
        stripdir=str(folder),
        prependdir=place,
        invalidation_mode=PycInvalidationMode.UNCHECKED_HASH,
    )
    if not ok:
        raise ValueError(f"{folder} does not compile")


def check(folder: Path) -> None:
    """Make sure that Python finds bytecode for all that was built, and takes it unlooked at.

    Raises:
        ValueError: of some source there is none, none for this version of Python, or one that
            Python would compare with the source (PEP 552).
    """
    sources = sorted(folder.rglob("*.py"))
    wrong = [each for each in sources if not _has_bytecode(each)]
    if wrong or not sources:
        version = "{}.{}".format(*sys.version_info)
        named = ", ".join(str(each.relative_to(folder)) for each in wrong[:3]) or "no source"
        raise ValueError(f"{folder}: no bytecode of Python {version} for {len(wrong)}: {named}")


def _has_bytecode(source: Path) -> bool:
    try:
        head = Path(cache_from_source(str(source))).read_bytes()[:16]
    except OSError:
        return False
    unchecked_hash = (1).to_bytes(4, "little")
    return head == MAGIC_NUMBER + unchecked_hash + source_hash(source.read_bytes())


def function(source: Path, target: Path) -> None:
    """Build a function: its folder, and bytecode. Raises ValueError."""
    shutil.copytree(source, target, ignore=shutil.ignore_patterns(*LEFT_OUT), dirs_exist_ok=True)
    compiled(target, TASK)
    _open(target)


def layer(source: Path, target: Path, machine: str) -> None:
    """Build the layer: packages and the domain below ``python/``, and bytecode.

    Args:
        source: ``layers/shared``.
        target: an empty folder, or none yet.
        machine: of the runtime, ``aarch64`` or ``x86_64``.

    Raises:
        ValueError: a package is not to be had for the runtime, or something does not compile.
    """
    packages(source / "requirements.txt", target / "python", machine)
    domain(source / "keystow", target)


def domain(package: Path, target: Path) -> None:
    """Put the domain's package below ``python/``, and bytecode of all that is there.

    Raises:
        ValueError: something does not compile.
    """
    inside = target / "python"
    shutil.copytree(package, inside / package.name, ignore=shutil.ignore_patterns(*LEFT_OUT))
    compiled(inside, LAYER)
    _open(target)


def packages(pins: Path, folder: Path, machine: str) -> None:
    """Install pinned packages into a folder, for this Python on a machine of Lambda.

    Raises:
        ValueError: one is not to be had for it.
    """
    version = sys.version_info[:2]
    kinds = NEW_GLIBC if version >= SINCE_NEW_GLIBC else OLD_GLIBC
    number = "".join(map(str, version))
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command += ["--root-user-action=ignore"]
    command += ["--no-deps", "--require-hashes", "--no-compile", "--only-binary=:all:"]
    command += ["--implementation", "cp", "--python-version", number]
    command += [f"--abi={abi}" for abi in (f"cp{number}", "abi3", "none")]
    command += [f"--platform={kind}_{machine}" for kind in kinds]
    done = subprocess.run([*command, "--target", folder, "-r", pins], check=False)  # noqa: S603
    if done.returncode:
        raise ValueError("the packages of the layer could not be installed")
    shutil.rmtree(folder / "bin", ignore_errors=True)
    for notes in folder.glob("*.dist-info"):
        for name in PIPS_NOTES:
            (notes / name).unlink(missing_ok=True)


def _open(folder: Path) -> None:
    """Let everybody read it: Lambda runs as somebody else, whatever the umask was."""
    folder.chmod(0o755)
    for place, folders, files in os.walk(folder):
        for name in folders:
            (Path(place) / name).chmod(0o755)
        for name in files:
            (Path(place) / name).chmod(0o644)


def main(arguments: list[str]) -> int:
    """Do what the arguments name; return the status."""
    work: Callable[[], None]
    match arguments:
        case ["function", source, target, _machine]:
            work = partial(function, Path(source), Path(target))
        case ["layer", source, target, machine]:
            work = partial(layer, Path(source), Path(target), machine)
        case ["check", folder]:
            work = partial(check, Path(folder))
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    try:
        work()
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
