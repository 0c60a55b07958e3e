"""Builds the archives of the functions and of the layer, for the interpreter that runs here.

The emulator runs handlers with its own interpreter, which has every package of the layer already
(``requirements/local.in`` contains them), so the layer's archive holds the domain's code only.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the same content is the same archive, so an update changes nothing
_LEFT_OUT = {"__pycache__", "node_modules", ".DS_Store"}


@dataclass(frozen=True)
class Archive:
    """A zip and the name it is stored under, which changes with its content."""

    key: str
    content: bytes


def function_archive(folder: Path) -> Archive:
    """Return the archive of one function's folder."""
    return _archive(f"functions/{folder.name}", _files(folder, ""))


def layer_archive(package: Path) -> Archive:
    """Return the archive of the shared layer: the package under ``python/``."""
    return _archive("layers/shared", _files(package, f"python/{package.name}/"))


def _files(folder: Path, prefix: str) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if path.is_file() and not _LEFT_OUT.intersection(relative.parts):
            yield prefix + relative.as_posix(), path.read_bytes()


def _archive(name: str, files: Iterator[tuple[str, bytes]]) -> Archive:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for path, content in files:
            entry = zipfile.ZipInfo(path, _EPOCH)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content)
    content = buffer.getvalue()
    return Archive(f"{name}-{hashlib.sha256(content).hexdigest()[:16]}.zip", content)
