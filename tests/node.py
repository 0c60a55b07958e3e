"""Where tests find Node."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path


def node() -> str:
    """Return the path of Node: that of the development packages, else that of this machine."""
    beside = Path(sys.executable).parent / "node"
    found = str(beside) if beside.exists() else shutil.which("node")
    assert found, "Node comes with the development environment: make test"
    return found
