"""Where tests find Node, and modules of the Connect UI run in it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

STATIC = Path(__file__).resolve().parents[1] / "functions/connect_ui/static"


def node() -> str:
    """Return the path of Node: that of the development packages, else that of this machine."""
    beside = Path(sys.executable).parent / "node"
    found = str(beside) if beside.exists() else shutil.which("node")
    assert found, "Node comes with the development environment: make test"
    return found


def run(folder: Path, modules: Iterable[str], script: str, given: Any = None) -> Any:
    """Return what a script prints, as JSON, beside modules of the Connect UI.

    Args:
        folder: an empty one.
        modules: names of files.
        script: an ES module.
        given: what it finds at its standard input, as JSON.
    """
    for name in modules:
        shutil.copy(STATIC / name, folder)
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / "run.js").write_text(script)
    done = subprocess.run(
        [node(), "run.js"],
        cwd=folder,
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
