"""``python -m local run``: the command behind ``make run``."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from local.child import follow_parent
from local.errors import LocalStackError
from local.stack import DEFAULT_FOLDER, DEFAULT_PORT, LocalStack

if TYPE_CHECKING:
    from local.stack import StackInfo

LAST_PORT = 65_535
READY_WORDS = "Keystow runs on this machine"
READY = """
{words} (ready after {seconds:.0f} s).

  Try it       {info.demo_url}
               connect to the demo provider, watch the token being refreshed and the webhook arrive
  API          {info.api_url}          environment: {info.environment}
  Connect UI   {info.connect_ui_url}
  Callback     {info.callback_url}
               the redirect URI to register at providers
  Keys         {keys}

  curl -H "Authorization: Bearer $(python3 -c \
"import json; print(json.load(open('{keys}'))['secret_key'])")" {info.api_url}/connections

Functions log to {folder}/functions.log. Ctrl-C stops everything; the data stays.
"""


class _StopAskedError(BaseException):
    """SIGINT or SIGTERM arrived."""


def _stop(*_: object) -> NoReturn:
    raise _StopAskedError


def _shown(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _port(text: str, source: str) -> int:
    """Read a port number. Raises LocalStackError when it is none."""
    if not (text.isascii() and text.isdigit() and int(text) <= LAST_PORT):
        raise LocalStackError(f"{source} must be a port from 0 to {LAST_PORT}, not {text!r}.")
    return int(text)


def run(folder: Path, port: int) -> int:
    """Run the local stack until it is asked to stop; return the exit status."""
    started = time.monotonic()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)

    def ready(info: StackInfo) -> None:
        text = READY.format(
            words=READY_WORDS,
            seconds=time.monotonic() - started,
            info=info,
            keys=_shown(folder / "stack.json"),
            folder=_shown(folder),
        )
        print(text, flush=True)

    print("Starting the AWS emulator and deploying template.yaml into it ...", flush=True)
    with LocalStack(folder, port) as stack:
        try:
            info = stack.up()
            stack.serve(lambda: ready(info))
        except _StopAskedError:
            pass
        except LocalStackError as error:
            print(f"\n{error}", file=sys.stderr)
            return 1
        finally:
            # A second Ctrl-C must not cut off the writing of the state.
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_IGN)
        print("\nStopping, the state is being written ...", flush=True)
    print("Stopped.", flush=True)
    return 0


def main() -> int:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m local", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verb = verbs.add_parser("run", help="run the local stack until Ctrl-C")
    verb.add_argument("--folder", type=Path, default=DEFAULT_FOLDER, help="holds state and keys")
    verb.add_argument("--port", help="public port; 0 for a free one; otherwise KEYSTOW_PORT")
    verb.add_argument("--with-parent", action="store_true", help="stop when standard input ends")
    arguments = parser.parse_args()
    try:
        if arguments.port is not None:
            port = _port(arguments.port, "--port")
        else:
            port = _port(os.environ.get("KEYSTOW_PORT") or str(DEFAULT_PORT), "KEYSTOW_PORT")
    except LocalStackError as error:
        print(error, file=sys.stderr)
        return 2
    if arguments.with_parent:
        follow_parent()
    return run(arguments.folder.resolve(), port)


if __name__ == "__main__":
    sys.exit(main())
