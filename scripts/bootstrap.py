# ruff: noqa: INP001, T201 - a command that prints, not a package
"""Asks a deployed stack for its first keys, with the caller's own IAM identity; prints them once.

usage: python scripts/bootstrap.py [STACK]   (AWS_PROFILE and AWS_REGION choose the account)
"""

from __future__ import annotations

import json
import sys

import boto3


def main(stack: str) -> int:
    """Invoke bootstrap_keys of a stack and print what it answers."""
    described = boto3.client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in described["Outputs"]}
    answer = boto3.client("lambda").invoke(
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
