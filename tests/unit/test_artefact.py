"""What is built for Lambda: bytecode of the very Python, the same bytes, no path of the builder."""

from __future__ import annotations

import marshal
import os
import shutil
import subprocess
import sys
from importlib.util import cache_from_source
from pathlib import Path

import pytest

from scripts import artefact

ROOT = Path(__file__).parents[2]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    (folder / "static").mkdir(parents=True)
    (folder / "app.py").write_text("import part\n\n\ndef handler(event, context):\n    1 / 0\n")
    (folder / "part.py").write_text("HELD = frozenset({'a', 'b', 'c'})\n")
    (folder / "static" / "page.html").write_text("page")
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "app.cpython-30.pyc").write_bytes(b"old")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(each.relative_to(folder)): each.read_bytes()
        for each in sorted(folder.rglob("*"))
        if each.is_file()
    }


def test_a_function_is_built_with_bytecode_that_python_takes_unlooked_at(
    source: Path, tmp_path: Path
) -> None:
    target = tmp_path / "target"
    artefact.function(source, target)
    artefact.check(target)
    assert {name.partition(".")[0] for name in contents(target)} == {
        "app",
        "part",
        "static/page",
        "__pycache__/app",
        "__pycache__/part",
    }
    assert not (target / "__pycache__" / "app.cpython-30.pyc").exists()
    # Taken unlooked at: what is bytecode runs, whatever has become of the source.
    (target / "app.py").write_text("raise SystemExit(3)\n")
    done = subprocess.run([sys.executable, "-c", "import app"], cwd=target, check=False)
    assert done.returncode == 0


def test_the_same_sources_are_the_same_bytes_wherever_they_are_built(
    source: Path, tmp_path: Path
) -> None:
    moved = tmp_path / "elsewhere" / "deeper"
    shutil.copytree(source, moved)
    os.utime(moved / "app.py", (1, 1))
    first, second = tmp_path / "first", tmp_path / "second"
    artefact.function(source, first)
    artefact.function(moved, second)
    assert contents(first) == contents(second)
    assert not [name for name, found in contents(first).items() if str(tmp_path).encode() in found]


def test_a_traceback_names_where_the_code_lies_on_lambda(source: Path, tmp_path: Path) -> None:
    artefact.function(source, tmp_path / "function")
    artefact.domain(source.rename(tmp_path / "keystow"), tmp_path / "layer")
    for place, expected in (
        (tmp_path / "function" / "app.py", "/var/task/app.py"),
        (tmp_path / "layer" / "python" / "keystow" / "app.py", "/opt/python/keystow/app.py"),
    ):
        code = marshal.loads(Path(cache_from_source(str(place))).read_bytes()[16:])
        assert code.co_filename == expected


def test_everybody_may_read_what_was_built_whatever_the_umask(source: Path, tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        artefact.function(source, tmp_path / "target")
    finally:
        os.umask(before)
    for path in (tmp_path / "target", *(tmp_path / "target").rglob("*")):
        assert path.stat().st_mode & 0o777 == (0o755 if path.is_dir() else 0o644)


def test_a_build_without_bytecode_of_this_python_is_noticed(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    artefact.function(source, target)
    bytecode = Path(cache_from_source(str(target / "app.py")))
    good = bytecode.read_bytes()
    another_version = good[:2] + b"\0\0" + good[4:]
    compared_with_its_source = good[:4] + bytes(12) + good[16:]
    for wrong in (another_version, compared_with_its_source, b""):
        bytecode.write_bytes(wrong)
        with pytest.raises(ValueError, match=r"no bytecode of Python .* for 1: app\.py"):
            artefact.check(target)
    bytecode.write_bytes(good)
    artefact.check(target)
    bytecode.rename(bytecode.with_name("app.cpython-30.pyc"))
    with pytest.raises(ValueError, match="no bytecode"):
        artefact.check(target)


def test_an_empty_build_is_noticed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no source"):
        artefact.check(tmp_path)


def test_what_does_not_compile_is_not_built(source: Path, tmp_path: Path) -> None:
    (source / "part.py").write_text("def (:\n")
    with pytest.raises(ValueError, match="does not compile"):
        artefact.function(source, tmp_path / "target")
