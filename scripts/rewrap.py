# ruff: noqa: INP001, T201 - a command that prints, not a package
"""Lets a deployed stack wrap all its data keys anew, with the KMS key that it has now.

usage: python scripts/rewrap.py [STACK]
"""

from __future__ import annotations

import sys
from typing import Any

from deployed import Refused, Stack


def main(name: str) -> int:
    """Invoke rewrap_data_keys of a stack until nothing is left; return 1 if something was refused.

    Stopping it loses nothing: data keys that were wrapped anew are, the others are as before.
    """
    rewrapped = 0
    refused: list[str] = []
    event: dict[str, Any] | None = {}
    try:
        stack = Stack(name)
        while event is not None:
            result = stack.invoke("RewrapFunctionName", event)
            event = result["next"]
            rewrapped += result["rewrapped"]
            refused += result["refused"]
            print(f"{rewrapped} data keys so far", file=sys.stderr)
    except Refused as refusal:
        print(f"Stopped after {rewrapped} data keys: {refusal}", file=sys.stderr)
        return 1
    print(f"{rewrapped} data keys were wrapped anew.")
    for each in refused:
        print(f"KMS refused {each}")
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "keystow"))
