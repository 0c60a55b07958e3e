# ruff: noqa: INP001, T201 - a command that prints, not a package
"""Asks a deployed stack for its first keys and prints them, once.

usage: python scripts/bootstrap.py [STACK]
"""

from __future__ import annotations

import json
import sys

from deployed import Refused, Stack


def main(name: str) -> int:
    """Invoke bootstrap_keys of a stack and print what it answers."""
    try:
        stack = Stack(name)
        address = stack.output("ApiUrl")  # before keys come that are shown once
        result = stack.invoke("BootstrapFunctionName", {})
    except Refused as refusal:
        print(f"No keys: {refusal}", file=sys.stderr)
        return 1
    print("# These keys are shown once. Keep them in a secret store.", file=sys.stderr)
    print(json.dumps({"api_url": address, **result}, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "keystow"))
