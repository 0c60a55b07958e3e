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
        described = found["Stacks"][0].get("Outputs", ())
        self._outputs: dict[str, str] = {
            each["OutputKey"]: each["OutputValue"] for each in described
        }

    def output(self, name: str) -> str:
        """Return an output. Raises Refused: the stack has none such."""
        if name not in self._outputs:
            raise Refused(
                f"the stack has no output {name}: it is none of Keystow's, or an older one, or\n"
                "not whole; make deploy brings it up to date"
            )
        return self._outputs[name]

    def invoke(self, output: str, event: dict[str, Any]) -> dict[str, Any]:
        """Return what the function whose name is an output answers. Raises Refused."""
        function, payload = self.output(output), json.dumps(event).encode()
        try:
            answer = self._functions.invoke(FunctionName=function, Payload=payload)
        except (BotoCoreError, ClientError) as error:
            raise Refused(str(error)) from error
        result: dict[str, Any] = json.load(answer["Payload"])
        if answer.get("FunctionError"):
            raise Refused(result.get("errorMessage") or result.get("errorType") or "unknown")
        return result
