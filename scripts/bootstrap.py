# ruff: noqa: INP001, T201 - a command that prints, not a package
"""Asks a deployed stack for its first keys, with the caller's own IAM identity; prints them once.

usage: python scripts/bootstrap.py [STACK]

Region and profile are those that `make deploy` saved for the stack; without a saved one, those of
AWS_REGION or AWS_DEFAULT_REGION and AWS_PROFILE.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import boto3
from deploy import config_of, saved


def session(stack: str) -> Any:
    """Return a boto3 session for the account and region of a stack."""
    known = saved(config_of(stack))
    # boto3 itself reads AWS_DEFAULT_REGION only.
    region = known.get("region") or os.environ.get("AWS_REGION")
    return boto3.Session(profile_name=known.get("profile"), region_name=region)


def main(stack: str) -> int:
    """Invoke bootstrap_keys of a stack and print what it answers."""
    account = session(stack)
    described = account.client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in described["Outputs"]}
    answer = account.client("lambda").invoke(
        FunctionName=outputs["BootstrapFunctionName"], Payload=b"{}"
    )
    result = json.load(answer["Payload"])
    if answer.get("FunctionError"):
        print(f"No keys: {result.get('errorMessage', result)}", file=sys.stderr)
        return 1
    print("# These keys are shown once. Keep them in a secret store.", file=sys.stderr)
    print(json.dumps({"api_url": outputs["ApiUrl"], **result}, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "keystow"))
