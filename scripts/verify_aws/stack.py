"""The deployed stack that the checks ask: its description, its resources and clients of AWS."""

from __future__ import annotations

import datetime as dt
import os
import time
from functools import cached_property
from typing import Any

from botocore.config import Config

# IAM's simulator takes few questions a second: wait and ask again, with growing pauses.
_PATIENT = Config(retries={"mode": "standard", "total_max_attempts": 10}, read_timeout=30)


class Deployed:
    """A stack and the account it is in.

    Args:
        name: the stack's.
        account: a boto3 session.

    Raises:
        ClientError, BotoCoreError: there is no such stack, or no way to it.
    """

    def __init__(self, name: str, account: Any) -> None:
        self.name = name
        self._account = account
        self._clients: dict[str, Any] = {}
        formation = self.client("cloudformation")
        self.stack = formation.describe_stacks(StackName=name)["Stacks"][0]
        self.outputs = {
            one["OutputKey"]: one["OutputValue"] for one in self.stack.get("Outputs", [])
        }
        self.chosen = {
            one["ParameterKey"]: one["ParameterValue"] for one in self.stack.get("Parameters", [])
        }
        pages = formation.get_paginator("list_stack_resources").paginate(StackName=name)
        # What could not be made, or was taken away, has no id.
        self.resources = [
            one
            for page in pages
            for one in page["StackResourceSummaries"]
            if one.get("PhysicalResourceId") and one["ResourceStatus"] != "DELETE_COMPLETE"
        ]

    def client(self, service: str) -> Any:
        """Return a client of one of AWS's services."""
        if service not in self._clients:
            self._clients[service] = self._account.client(service, config=_PATIENT)
        return self._clients[service]

    @cached_property
    def emulated(self) -> bool:
        """Whether something else than AWS answers."""
        return any(each.startswith("AWS_ENDPOINT_URL") for each in os.environ)

    def now(self) -> dt.datetime:
        """Return the time, in UTC."""
        return dt.datetime.now(dt.UTC)

    def wait(self, seconds: float) -> None:
        """Wait for what AWS does in its own time."""
        time.sleep(seconds)

    def of_type(self, kind: str) -> dict[str, str]:
        """Return logical id → physical id of a type's resources."""
        return {
            one["LogicalResourceId"]: one["PhysicalResourceId"]
            for one in self.resources
            if one["ResourceType"] == kind
        }

    def id(self, logical: str) -> str:
        """Return the physical id of one resource. Raises KeyError: the stack has none such."""
        found = {one["LogicalResourceId"]: one["PhysicalResourceId"] for one in self.resources}
        return str(found[logical])

    @cached_property
    def functions(self) -> dict[str, dict[str, Any]]:
        """Logical id → configuration of every function, as Lambda has it."""
        client = self.client("lambda")
        return {
            logical: client.get_function_configuration(FunctionName=name)
            for logical, name in self.of_type("AWS::Lambda::Function").items()
        }

    def variables(self, logical: str) -> dict[str, str]:
        """Return the environment of a function."""
        found: dict[str, str] = self.functions[logical].get("Environment", {}).get("Variables", {})
        return found

    def table(self, name: str) -> str:
        """Return the table that the functions use: it need not be the stack's own."""
        return self.variables("GetConnectionFunction")[f"KEYSTOW_{name.upper()}_TABLE"]

    @cached_property
    def keys_table(self) -> str:
        """The ARN of the table of API keys."""
        found = self.client("dynamodb").describe_table(TableName=self.table("Keys"))["Table"]
        return str(found["TableArn"])

    @property
    def own_key(self) -> str:
        """The ARN of the owner's own KMS key that wraps data keys; empty: VaultKey does."""
        chosen = self.chosen.get("KmsKeyArn", "")
        return chosen if self.chosen.get("WrapWith", "KmsKeyArn") == "KmsKeyArn" else ""

    @property
    def key_in_use(self) -> str:
        """The ARN of the KMS key that shall wrap new data keys."""
        return self.own_key or self.outputs["VaultKeyArn"]

    def age_seconds(self) -> float:
        """Return how long ago the last deployment began."""
        changed = self.stack.get("LastUpdatedTime") or self.stack["CreationTime"]
        return float((self.now() - changed).total_seconds())
