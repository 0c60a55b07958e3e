# ruff: noqa: INP001 - part of commands, not a package
"""A deployed stack, reached with the caller's own IAM identity.

Region and profile are those that `make deploy` saved for the stack; without a saved one, those of
AWS_REGION or AWS_DEFAULT_REGION and AWS_PROFILE.
"""

from __future__ import annotations

import json
from typing import Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from deploy import account_of


class Refused(Exception):  # noqa: N818 - an outcome, not a fault
    """AWS refused, or the function failed; the text says why."""


class Stack:
    """A stack's outputs, and calls of its functions that no route leads to.

    Raises:
        Refused: there is no such stack, or no way to it.
    """

    def __init__(self, name: str) -> None:
        # Above the longest time of a function, and no second call behind an answer that was lost.
        patient = Config(read_timeout=150, retries={"total_max_attempts": 1})
        try:
            account = account_of(name)
            self.account = account
            self._functions = account.client("lambda", config=patient)
            found = account.client("cloudformation").describe_stacks(StackName=name)
        except (BotoCoreError, ClientError) as error:
            raise Refused(str(error)) from error
        described = found["Stacks"][0]
        self.outputs = {each["OutputKey"]: each["OutputValue"] for each in described["Outputs"]}

    def invoke(self, output: str, event: dict[str, Any]) -> dict[str, Any]:
        """Return what the function whose name is an output answers. Raises Refused."""
        payload = json.dumps(event).encode()
        try:
            answer = self._functions.invoke(FunctionName=self.outputs[output], Payload=payload)
        except (BotoCoreError, ClientError) as error:
            raise Refused(str(error)) from error
        result: dict[str, Any] = json.load(answer["Payload"])
        if answer.get("FunctionError"):
            raise Refused(result.get("errorMessage") or result.get("errorType") or "unknown")
        return result
