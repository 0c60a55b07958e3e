# ruff: noqa: T201 - a command that prints
"""Prints the table of a stack.

The exit status is 1 when something is not as it should be; 2 when nothing is, and AWS did not let
this caller look at everything; else 0.
"""

from __future__ import annotations

import sys
from collections import Counter
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from deploy import account_of

from verify_aws import table
from verify_aws.checks import CHECKS
from verify_aws.findings import FAILED, NOT_SEEN, OUTCOMES, findings_of
from verify_aws.stack import Deployed


def look(deployed: Any) -> int:
    """Make the checks one after another and print each as it ends; return the exit status."""
    if deployed.emulated:
        print("An emulator answers. What it has right is `emulated`: no word about AWS.\n")
    print(table.heading())
    counted: Counter[str] = Counter()
    for check in CHECKS:
        findings = findings_of(check, deployed)
        for line in table.lines(check.name, findings):
            print(line, flush=True)
        worst = next(one for one in OUTCOMES if one in {each.outcome for each in findings})
        counted[worst] += 1
    print("-" * table.WIDTH)
    print(", ".join(f"{counted[one]} {one}" for one in OUTCOMES if counted[one]))
    return 1 if counted[FAILED] else 2 if counted[NOT_SEEN] else 0


def main(name: str) -> int:
    """Look at a stack; return the exit status."""
    try:
        deployed = Deployed(name, account_of(name))
    except (BotoCoreError, ClientError) as refusal:
        print(f"Nothing was looked at: {refusal}", file=sys.stderr)
        return 1
    return look(deployed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "keystow"))
