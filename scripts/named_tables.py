# ruff: noqa: INP001 - part of commands, not a package
"""Existing tables that a deployment names: whether a stack can work with them.

CloudFormation makes the stack's own tables what the template says; of a named one it knows nothing.
So `make deploy` looks at it before each deployment: a new version may need an index that it lacks.
`make verify-aws` looks at the tables in use by the same rules.
"""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

PROJECT = Path(__file__).resolve().parent.parent
TEMPLATE = PROJECT / "template.yaml"
# Time to live is on, or soon.
ENDING = {"ENABLED", "ENABLING"}
# Data keys of the registry open connections, and an API key belongs to an environment of it.
TOGETHER = ("Connections", "Registry", "Keys")
# Rows of the registry, as keystow.store.tables names them.
DATA_KEYS = "datakeys#"  # begins the partition of an environment's data keys


def load(path: Path) -> dict[str, Any]:
    """Return a template, as CloudFormation's JSON would say it."""
    sys.path.insert(0, str(PROJECT))
    from local import template as templates

    found: dict[str, Any] = templates.load(path)
    return found


@functools.cache
def template() -> dict[str, Any]:
    """Return the project's template."""
    return load(TEMPLATE)


def parameters() -> dict[str, dict[str, Any]]:
    """Return the parameters that name tables, and what the template says of the stack's own."""
    return {
        f"{logical}Name": resource["Properties"]
        for logical, resource in template()["Resources"].items()
        if resource["Type"] == "AWS::DynamoDB::Table"
    }


def faults(client: Any, table: str, wanted: dict[str, Any], *, protected: bool) -> list[str]:
    """Return what keeps a table from being used, in words; nothing: it can be.

    Args:
        client: boto3's client of DynamoDB.
        table: its name.
        wanted: properties of the table that it stands for, as the template has them.
        protected: whether nobody may be able to delete it.

    Raises:
        ClientError: DynamoDB refused to tell.
    """
    try:
        found = client.describe_table(TableName=table)["Table"]
    except client.exceptions.ResourceNotFoundException:
        return ["there is no such table in this account and region"]
    if found["TableStatus"] not in {"ACTIVE", "UPDATING"}:
        return [f"its status is {found['TableStatus']}"]
    wrong = faults_of_keys(found, wanted)
    if found.get("SSEDescription", {}).get("SSEType") == "KMS":
        wrong.append("a KMS key encrypts it, which no function may use")
    expiry = client.describe_time_to_live(TableName=table)["TimeToLiveDescription"]
    wrong += faults_of_ending(expiry, wanted)
    backups = client.describe_continuous_backups(TableName=table)["ContinuousBackupsDescription"]
    window = backups.get("PointInTimeRecoveryDescription", {})
    if window.get("PointInTimeRecoveryStatus") != "ENABLED":
        wrong.append("it has no point-in-time recovery")
    if protected and not found.get("DeletionProtectionEnabled", False):
        wrong.append("it has no deletion protection")
    return wrong


def faults_of_keys(found: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """Return what is wrong with the keys and indexes of a table, as `describe_table` tells it."""
    wrong = [] if _keys(found, found) == _keys(wanted, wanted) else ["its keys are others"]
    return wrong + _indexes(found, wanted)


def faults_of_ending(expiry: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """Return whether rows end otherwise than they shall, as `describe_time_to_live` tells it."""
    ends = expiry.get("AttributeName") if expiry.get("TimeToLiveStatus") in ENDING else None
    if ends == wanted.get("TimeToLiveSpecification", {}).get("AttributeName"):
        return []
    return ["its rows would not end" if ends is None else f"its rows end by {ends}"]


def _keys(table: dict[str, Any], keys: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Return kind, name and type of each key, of a table or of an index of it."""
    types = {one["AttributeName"]: one["AttributeType"] for one in table["AttributeDefinitions"]}
    found = ((one["KeyType"], one["AttributeName"]) for one in keys["KeySchema"])
    return sorted((kind, name, types[name]) for kind, name in found)


def _indexes(found: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """Return what is wrong with the indexes of a table; it may have more of them."""
    there = {each["IndexName"]: each for each in found.get("GlobalSecondaryIndexes", ())}
    wrong = []
    for index in wanted.get("GlobalSecondaryIndexes", ()):
        name = index["IndexName"]
        if name not in there:
            wrong.append(f"it lacks the index {name}")
        elif _index(found, there[name]) != _index(wanted, index):
            wrong.append(f"its index {name} is another")
        elif there[name].get("IndexStatus", "ACTIVE") != "ACTIVE":  # an emulator leaves it out
            wrong.append(f"its index {name} is not built yet")
    return wrong


def _index(table: dict[str, Any], index: dict[str, Any]) -> Any:
    projection = index["Projection"]
    kept = sorted(projection.get("NonKeyAttributes", ()))
    return _keys(table, index), projection["ProjectionType"], kept


def refuse(account: Any, stack: str, before: dict[str, str], after: dict[str, str]) -> None:
    """Stop a deployment of a stack that could not work with the tables that it names.

    Args:
        account: boto3's session for the account and region of the stack.
        stack: its name.
        before: the parameters that it was deployed with last; empty for a new stack.
        after: the parameters that it would have.

    Raises:
        SystemExit: what is wrong; or AWS did not tell.
    """
    named = {name: after[name] for name in parameters() if after.get(name)}
    if not named:
        return
    client = account.client("dynamodb")
    try:
        wrong = _wrong(client, named, after) or _closed(account, stack, client, before, after)
    except (BotoCoreError, ClientError) as error:
        raise SystemExit(f"Nothing was deployed: {error}") from None
    if wrong:
        raise SystemExit("\n  ".join(["Nothing was deployed.", *wrong]))


def _wrong(client: Any, named: dict[str, str], after: dict[str, str]) -> list[str]:
    """Return what is wrong with the tables themselves."""
    protected = after.get("DeletionProtection", "Enabled") == "Enabled"
    wrong = [
        f"{name}={table}: {fault}"
        for name, table in named.items()
        for fault in faults(client, table, parameters()[name], protected=protected)
    ]
    if len(set(named.values())) < len(named):
        wrong.append("One table stands for two.")
    if wrong:
        return wrong
    moments = {}
    for name in (f"{each}TableName" for each in TOGETHER):
        if name in named:
            found = client.describe_table(TableName=named[name])["Table"]
            restored = found.get("RestoreSummary", {})
            # (Backups of several tables are of almost one moment at best.)
            if restored and "SourceBackupArn" not in restored:
                moments[name] = restored["RestoreDateTime"]
    if len(set(moments.values())) > 1:
        told = ", ".join(f"{name} {moment}" for name, moment in moments.items())
        return [f"The tables were restored to different moments: {told}"]
    return []


def _closed(
    account: Any, stack: str, client: Any, before: dict[str, str], after: dict[str, str]
) -> list[str]:
    """Return which KMS keys wrapped data keys of a registry that comes into use, and stay shut."""
    registry = after.get("RegistryTableName", "")
    if not registry or registry == before.get("RegistryTableName", ""):
        return []
    usable = {_key(after.get("KmsKeyArn", ""))}
    if before:
        described = account.client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]
        outputs = {one["OutputKey"]: one["OutputValue"] for one in described.get("Outputs", ())}
        usable.add(_key(outputs.get("VaultKeyArn", "")))
    pages = client.get_paginator("scan").paginate(
        TableName=registry,
        ConsistentRead=True,
        FilterExpression="begins_with(pk, :keys) AND attribute_exists(#wrapped)",
        ExpressionAttributeNames={"#wrapped": "wrapped"},  # one of DynamoDB's own words
        ExpressionAttributeValues={":keys": {"S": DATA_KEYS}},
    )
    wrapping = {row["key"]["S"] for page in pages for row in page["Items"]}
    return [
        f"Data keys of {registry} are wrapped by {key}, which the functions could not use: "
        "name it in KmsKeyArn"
        for key in sorted(wrapping)
        if _key(key) not in usable
    ]


def _key(arn: str) -> str:
    """Return what related KMS keys have in common: the id of a multi-Region key, else the ARN."""
    name = arn.rpartition("/")[2]
    return name if name.startswith("mrk-") else arn
