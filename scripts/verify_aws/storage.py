"""Tables and the KMS key: what is kept, and what it takes to open it."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Any, Final

import named_tables

from verify_aws.findings import FAILED, NOT_SEEN, NOT_YET, OK, Finding, expect, told
from verify_aws.workings import TABLES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from verify_aws.stack import Deployed

ENDLESS: Final = {"Keys"}  # no row of it ends by itself
KEPT_DAYS: Final = 35
TTL_DAYS: Final = 14
LATER: Final = "the emulator takes neither TTL nor recovery from a template"
KEPT: Final = {"AWS::DynamoDB::Table", "AWS::KMS::Key"}


def tables_are_kept(deployed: Deployed) -> Iterator[Finding]:
    """Recovery to a point in time, TTL, protection, encryption, keys and indexes."""
    client = deployed.client("dynamodb")
    protects = deployed.chosen.get("DeletionProtection") != "Disabled"
    for name in TABLES:
        table, wanted = deployed.table(name), named_tables.parameters()[f"{name}TableName"]
        found = client.describe_table(TableName=table)["Table"]
        backups = client.describe_continuous_backups(TableName=table)
        window = backups["ContinuousBackupsDescription"].get("PointInTimeRecoveryDescription", {})
        ends = client.describe_time_to_live(TableName=table)["TimeToLiveDescription"]
        sealed = found.get("SSEDescription", {})
        fits = {
            f"its state is {found['TableStatus']}": found["TableStatus"] == "ACTIVE",
            "no deletion protection": found.get("DeletionProtectionEnabled", False) or not protects,
            # Without a description DynamoDB encrypts with a key of its own.
            f"encryption: {sealed.get('Status')}": sealed.get("Status", "ENABLED")
            in {"ENABLED", "UPDATING"},
            "its encryption key cannot be reached": "InaccessibleEncryptionDateTime" not in sealed,
        }
        for what, fit in fits.items():
            yield expect(fit, f"{name}: {what}")
        for wrong in named_tables.faults_of_keys(found, wanted):
            yield Finding(FAILED, f"{name}: {wrong}")
        days = window.get("RecoveryPeriodInDays", KEPT_DAYS)
        later = {
            "no recovery to a point in time": window.get("PointInTimeRecoveryStatus") == "ENABLED",
            f"recovery for {days} days": days == KEPT_DAYS,
        }
        for what, fit in later.items():
            yield expect(fit, f"{name}: {what}", aws_only=LATER)
        for wrong in named_tables.faults_of_ending(ends, wanted):
            yield Finding(FAILED, f"{name}: {wrong}", LATER)
    unprotected = "" if protects else "; deletion protection is off, as chosen"
    yield told(f"{len(TABLES)} tables: keys, indexes, encryption, protection{unprotected}")
    yield Finding(OK, "recovery to any second of 35 days; rows end by TTL", LATER)


def rows_end(deployed: Deployed) -> Iterator[Finding]:
    """DynamoDB itself counts the rows whose time was over."""
    metrics, until = deployed.client("cloudwatch"), deployed.now()
    ended = 0
    for name in sorted(set(TABLES) - ENDLESS):
        counted = metrics.get_metric_statistics(
            Namespace="AWS/DynamoDB",
            MetricName="TimeToLiveDeletedItemCount",
            Dimensions=[{"Name": "TableName", "Value": deployed.table(name)}],
            StartTime=until - dt.timedelta(days=TTL_DAYS),
            EndTime=until,
            Period=86_400,
            Statistics=["Sum"],
        )
        ended += int(sum(point["Sum"] for point in counted["Datapoints"]))
    if ended:
        yield told(f"DynamoDB ended {ended} rows in {TTL_DAYS} days")
    else:
        yield Finding(NOT_YET, f"DynamoDB ended no row in the last {TTL_DAYS} days")


def stack_is_kept(deployed: Deployed) -> Iterator[Finding]:
    """Tables and key outlive the stack, as the deployed template says."""
    asked = {"StackName": deployed.name, "TemplateStage": "Processed"}
    template = deployed.client("cloudformation").get_template(**asked)["TemplateBody"]
    resources = _template(template).get("Resources")
    if not isinstance(resources, dict):
        yield Finding(NOT_SEEN, "could not look: the deployed template is not JSON")
        return
    holding = {name: one for name, one in resources.items() if one.get("Type") in KEPT}
    yield expect(bool(holding), "the template has no table and no key")
    for name, one in holding.items():
        kept = one.get("DeletionPolicy")
        yield expect(
            kept in {"Retain", "RetainExceptOnCreate"}, f"{name} goes with the stack: {kept}"
        )
        kept = one.get("UpdateReplacePolicy")
        yield expect(kept == "Retain", f"{name} goes when it is replaced: {kept}")
    yield told(f"{len(holding)} resources outlive the stack")


def _template(body: Any) -> dict[str, Any]:
    """Return a template; botocore decodes JSON by itself, an emulator answers text."""
    if isinstance(body, str):
        try:
            body = json.loads(body)
        except ValueError:
            body = {}
    return body if isinstance(body, dict) else {}


def key_is_usable(deployed: Deployed) -> Iterator[Finding]:
    """The KMS key in use is enabled; VaultKey rotates, can be replicated, and is IAM's to give."""
    client, key = deployed.client("kms"), deployed.key_in_use
    found = client.describe_key(KeyId=key)["KeyMetadata"]
    yield expect(found["Arn"] == key, f"the key in use is {found['Arn']}, not {key}")
    yield expect(found["KeyState"] == "Enabled", f"its state is {found['KeyState']}")
    yield expect(
        found.get("KeyUsage") == "ENCRYPT_DECRYPT"
        and found.get("KeySpec", "SYMMETRIC_DEFAULT") == "SYMMETRIC_DEFAULT",
        f"it is for {found.get('KeyUsage')} with {found.get('KeySpec')}",
    )
    if deployed.own_key:
        # Rotation, regions and policy of a key of one's own are its owner's.
        yield told(f"your own {key}")
        return
    rotates = client.get_key_rotation_status(KeyId=key)["KeyRotationEnabled"]
    yield expect(rotates, "it does not rotate")
    yield expect(found.get("MultiRegion", False), "it is of one region")
    policy = json.loads(client.get_key_policy(KeyId=key, PolicyName="default")["Policy"])
    account = key.split(":")[4]
    others = sorted({who for one in policy["Statement"] for who in _allowed(one, account)})
    yield expect(not others, f"its policy lets in {', '.join(others)}")
    yield Finding(OK, "VaultKey: enabled, rotates, multi-Region; IAM says who may use it")


def _allowed(statement: dict[str, Any], account: str) -> Iterator[str]:
    """Return whom a statement of a key's policy allows, other than the account itself."""
    if statement["Effect"] != "Allow":
        return
    principal = statement["Principal"]
    if not isinstance(principal, dict):
        yield str(principal)
        return
    for value in principal.values():
        for who in value if isinstance(value, list) else [value]:
            if who != account and not who.endswith(f"::{account}:root"):
                yield str(who)
