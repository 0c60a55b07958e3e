"""Child processes that serve a loopback port, so that a measured process shares no interpreter."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from benchmarks import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def serving(module: str, given: Any) -> Iterator[int]:
    """Run a module of this package that serves; yield its port; end it.

    Args:
        module: such as ``benchmarks.token_stub``.
        given: JSON that it gets as the first line of its standard input.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", module],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(json.dumps(given) + "\n")
        process.stdin.flush()
        yield int(process.stdout.readline())
    finally:
        process.stdin.close()
        process.wait(10)
        process.stdout.close()


def given() -> Any:
    """In the child: return what the parent gave, and end this process when the parent ends."""
    found = json.loads(sys.stdin.readline())

    def wait() -> None:
        sys.stdin.read()
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()
    return found


def announce(port: int) -> None:
    """In the child: tell the parent which port is open."""
    print(port, flush=True)
