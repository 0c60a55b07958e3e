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

READY_WORDS = "Keystow runs on this machine"
READY = """
{words} (ready after {seconds:.0f} s).

  Try it       {info.demo_url}
               connect to the demo provider, watch the token being refreshed and the webhook arrive
  API          {info.api_url}          environment: {info.environment}
  Connect UI   {info.connect_ui_url}
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
    port = int(os.environ.get("KEYSTOW_PORT", DEFAULT_PORT))
    verb.add_argument("--port", type=int, default=port, help="public port; 0 for a free one")
    verb.add_argument("--with-parent", action="store_true", help="stop when standard input ends")
    arguments = parser.parse_args()
    if arguments.with_parent:
        follow_parent()
    return run(arguments.folder.resolve(), arguments.port)


if __name__ == "__main__":
    sys.exit(main())
