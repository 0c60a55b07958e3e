"""Runs a server of the local stack as a child that never outlives its parent.

``python -m local.child emulator PORT`` or ``python -m local.child provider PORT FOLDER``. The
parent holds the other end of standard input: when it is gone, however it went, the input ends and
the child stops itself as if it had been asked to, so that state is written.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from pathlib import Path


def follow_parent() -> None:
    """Send SIGTERM to this process when its standard input ends."""

    def wait() -> None:
        while os.read(watched, 1024):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    watched = os.dup(0)
    with open(os.devnull, encoding="utf-8") as nothing:  # noqa: PTH123 - a device
        os.dup2(nothing.fileno(), 0)
    threading.Thread(target=wait, daemon=True, name="follow-parent").start()


def _emulator(port: int) -> None:
    """Serve ministack's app as its own command does, but on a port that is not part of its state.

    It writes the port of its environment into the URLs of queues and finds queues by them, so
    that port stays the same from run to run while the one it listens on may be any.
    """
    from hypercorn.asyncio import serve
    from hypercorn.config import Config
    from ministack.app import app

    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.keep_alive_timeout = 75
    asyncio.run(serve(app, config))


def main(arguments: list[str]) -> int:
    """Run what the arguments name until the parent ends or SIGTERM arrives."""
    # Ctrl-C reaches every process of a terminal; only the parent may decide the order of the end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.umask(0o077)  # the emulator's KMS keys are among what is written
    follow_parent()
    match arguments:
        case ["emulator", port]:
            _emulator(int(port))
        case ["provider", port, folder]:
            from local.demo.provider import serve

            serve("127.0.0.1", int(port), Path(folder))
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
