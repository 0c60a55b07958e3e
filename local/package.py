"""Packs the functions and the layer as the build for AWS makes them, for the Python that runs here.

The emulator runs handlers with its own interpreter, which has every package of the layer already
(``requirements/local.in`` contains them), so the layer's archive holds the domain's code only.
"""

from __future__ import annotations

import hashlib
import io
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scripts import artefact

if TYPE_CHECKING:
    from collections.abc import Iterator

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the same content is the same archive, so an update changes nothing


@dataclass(frozen=True)
class Archive:
    """A zip and the name it is stored under, which changes with its content."""

    key: str
    content: bytes


def function_archive(folder: Path) -> Archive:
    """Return the archive of one function's folder, with bytecode."""
    with tempfile.TemporaryDirectory() as built:
        artefact.function(folder, Path(built))
        return _archive(f"functions/{folder.name}", _files(Path(built)))


def layer_archive(package: Path) -> Archive:
    """Return the archive of the shared layer: the package under ``python/``, with bytecode."""
    with tempfile.TemporaryDirectory() as built:
        artefact.domain(package, Path(built))
        return _archive("layers/shared", _files(Path(built)))


def _files(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield path.relative_to(folder).as_posix(), path.read_bytes()


def _archive(name: str, files: Iterator[tuple[str, bytes]]) -> Archive:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for path, content in files:
            entry = zipfile.ZipInfo(path, _EPOCH)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content)
    content = buffer.getvalue()
    return Archive(f"{name}-{hashlib.sha256(content).hexdigest()[:16]}.zip", content)
