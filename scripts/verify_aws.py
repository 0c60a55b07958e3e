# ruff: noqa: INP001, T201 - a command that prints, not a package
"""Looks at a deployed stack and prints what is as it should be, what is not, and what nobody saw.

usage: python scripts/verify_aws.py [STACK]

Nothing is changed. The exit status is 1 when a check failed. An emulator shows nothing about AWS,
so with AWS_ENDPOINT_URL no check is ever `ok`.
"""

from __future__ import annotations

import http.client
import json
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError
from deploy import account_of

OK, FAILED, NOT_SHOWN = "ok", "failed", "not shown here"
# What an API answers that the caller may not ask, or that is not there to be asked.
UNANSWERED = ("AccessDenied", "Unauthorized", "NotImplemented", "UnknownOperation", "InvalidAction")
INDEXES = {
    "Connections": {"by_environment", "by_integration", "by_end_user", "by_due"},
    "Registry": set(),
    "Keys": set(),
    "Sessions": set(),
    "Events": {"by_environment", "by_due"},
    "Activity": {"by_environment"},
}
LOOPBACK = {"127.0.0.1", "::1", "localhost"}
SETTLED = {"CREATE_COMPLETE", "UPDATE_COMPLETE"}
Finding = tuple[bool, str]
Outcome = tuple[str, str, str]


class Deployed:
    """What the checks ask: clients of AWS, the stack's description and its resources."""

    def __init__(self, name: str, account: Any) -> None:
        self.client = account.client
        formation = account.client("cloudformation")
        self.stack = formation.describe_stacks(StackName=name)["Stacks"][0]
        self.outputs = {
            one["OutputKey"]: one["OutputValue"] for one in self.stack.get("Outputs", [])
        }
        self.chosen = {
            one["ParameterKey"]: one["ParameterValue"] for one in self.stack.get("Parameters", [])
        }
        pages = formation.get_paginator("list_stack_resources").paginate(StackName=name)
        self.resources = [one for page in pages for one in page["StackResourceSummaries"]]

    def of_type(self, kind: str) -> list[str]:
        """Return the physical ids of a type's resources."""
        return [one["PhysicalResourceId"] for one in self.resources if one["ResourceType"] == kind]

    def id(self, logical: str) -> str:
        """Return the physical id of one resource; a stack without it is not Keystow's."""
        found = {one["LogicalResourceId"]: one["PhysicalResourceId"] for one in self.resources}
        return str(found[logical])


def is_emulated() -> bool:
    """Tell whether something else than AWS is asked."""
    return any(each.startswith("AWS_ENDPOINT_URL") for each in os.environ)


def ask(url: str, method: str, path: str) -> tuple[int, bytes]:
    """Send a request to the API; return status and body.

    Raises:
        OSError: no answer; or an emulator made up an address that on AWS is somebody's.
    """
    parts = urlsplit(url)
    if is_emulated() and parts.hostname not in LOOPBACK:
        raise OSError("an emulator answers, which serves no such address; nothing was sent")
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.netloc, timeout=30)
    try:
        wanted = {"Origin": "https://example.com", "Access-Control-Request-Method": "GET"}
        connection.request(method, path, headers=wanted if method == "OPTIONS" else {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def stack_stands(deployed: Deployed) -> Finding:
    """The last deployment ended well."""
    return deployed.stack["StackStatus"] in SETTLED, deployed.stack["StackStatus"]


def api_answers(deployed: Deployed) -> Finding:
    """Health, readiness, a route that is not there, and a preflight."""
    url, wrong = deployed.outputs["ApiUrl"], []
    for method, path, wanted in (
        ("GET", "/health", 200),
        ("GET", "/ready", 200),
        ("GET", "/no/such/route", 404),
        ("OPTIONS", "/connections", 204),
    ):
        status, body = ask(url, method, path)
        if status != wanted:
            wrong.append(f"{method} {path} answered {status}")
        elif status == http.client.NOT_FOUND and not is_error(body):
            wrong.append("a 404 is no error in JSON")
    return not wrong, ", ".join(wrong) or url


def is_error(body: bytes) -> bool:
    """Return whether a body is an error as the API writes it."""
    try:
        return "code" in json.loads(body)["error"]
    except (ValueError, KeyError, TypeError):
        return False


def functions_fit(deployed: Deployed) -> Finding:
    """Runtime, architecture, layer and log settings of every function are the template's."""
    client, wrong = deployed.client("lambda"), []
    names = deployed.of_type("AWS::Lambda::Function")
    for name in names:
        found = client.get_function_configuration(FunctionName=name)
        log = found.get("LoggingConfig", {})
        variables = found.get("Environment", {}).get("Variables", {})
        tables = [text for key, text in variables.items() if key.endswith("_TABLE")]
        fits = {
            "runtime": found.get("Runtime") == deployed.chosen["Runtime"],
            "arm64": found.get("Architectures") == ["arm64"],
            "layer": bool(found.get("Layers")),
            "log group": log.get("LogGroup") == deployed.outputs["LogGroupName"],
            "JSON log": log.get("LogFormat") == "JSON",
            "tables": len(tables) == len(INDEXES) and all(tables),
        }
        wrong += [f"{name}: {what}" for what, fit in fits.items() if not fit]
    return bool(names) and not wrong, ", ".join(wrong) or f"{len(names)} functions"


def tables_are_kept(deployed: Deployed) -> Finding:
    """Point-in-time recovery, TTL, deletion protection and indexes of the tables."""
    client, wrong = deployed.client("dynamodb"), []
    for name, indexes in INDEXES.items():
        table = deployed.outputs[f"{name}TableName"]
        found = client.describe_table(TableName=table)["Table"]
        backups = client.describe_continuous_backups(TableName=table)
        window = backups["ContinuousBackupsDescription"].get("PointInTimeRecoveryDescription", {})
        ends = client.describe_time_to_live(TableName=table)["TimeToLiveDescription"]
        protected = deployed.chosen.get("DeletionProtection") != "Disabled"
        built = {
            one["IndexName"]
            for one in found.get("GlobalSecondaryIndexes", [])
            if one["IndexStatus"] == "ACTIVE"
        }
        fits = {
            "recovery": window.get("PointInTimeRecoveryStatus") == "ENABLED",
            "TTL": name == "Keys" or ends.get("AttributeName") == "ttl",
            "protection": found.get("DeletionProtectionEnabled", False) or not protected,
            "indexes": built == indexes,
        }
        wrong += [f"{name}: {what}" for what, fit in fits.items() if not fit]
    return not wrong, ", ".join(wrong) or f"{len(INDEXES)} tables"


def key_is_usable(deployed: Deployed) -> Finding:
    """VaultKey is enabled, rotates and can be replicated."""
    client, key = deployed.client("kms"), deployed.outputs["VaultKeyArn"]
    found = client.describe_key(KeyId=key)["KeyMetadata"]
    rotates = client.get_key_rotation_status(KeyId=key)["KeyRotationEnabled"]
    fits = {
        f"its state is {found['KeyState']}": found["KeyState"] == "Enabled",
        "it does not rotate": rotates,
        "it is of one region": found.get("MultiRegion", False),
    }
    wrong = [what for what, fit in fits.items() if not fit]
    return not wrong, ", ".join(wrong) or "enabled, rotates, multi-Region"


def queues_are_emptied(deployed: Deployed) -> Finding:
    """Redrive, visibility, and how their functions are given messages."""
    queues, functions, wrong = deployed.client("sqs"), deployed.client("lambda"), []
    for queue, function in (("Refresh", "RefreshTokens"), ("Webhook", "SendWebhook")):
        url, name = deployed.id(f"{queue}Queue"), deployed.id(f"{function}Function")
        told = queues.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        timeout = functions.get_function_configuration(FunctionName=name)["Timeout"]
        mapping = functions.get_event_source_mapping(UUID=deployed.id(f"{queue}QueueMapping"))
        most = mapping.get("ScalingConfig", {}).get("MaximumConcurrency")
        fits = {
            "redrive": "deadLetterTargetArn" in told.get("RedrivePolicy", ""),
            "visibility": int(told["VisibilityTimeout"]) >= 6 * timeout,
            "mapping": mapping["State"] == "Enabled",
            "partial failures": "ReportBatchItemFailures" in mapping["FunctionResponseTypes"],
            "concurrency": str(most) == deployed.chosen[f"{queue}Concurrency"],
        }
        wrong += [f"{queue}Queue: {what}" for what, fit in fits.items() if not fit]
    return not wrong, ", ".join(wrong) or "2 queues"


def rules_run(deployed: Deployed) -> Finding:
    """Every schedule is enabled."""
    client, rules = deployed.client("events"), deployed.of_type("AWS::Events::Rule")
    wrong = [one for one in rules if client.describe_rule(Name=one)["State"] != "ENABLED"]
    return bool(rules) and not wrong, ", ".join(wrong) or f"{len(rules)} rules"


def alarms_are_quiet(deployed: Deployed) -> Finding:
    """Every alarm of the template is there and none is going off."""
    client, alarms = deployed.client("cloudwatch"), deployed.of_type("AWS::CloudWatch::Alarm")
    found = client.describe_alarms(AlarmNames=alarms, MaxRecords=100)["MetricAlarms"]
    states = {one["AlarmName"]: one["StateValue"] for one in found}
    wrong = [f"{one}: {states.get(one, 'missing')}" for one in alarms if not quiet(states, one)]
    return bool(alarms) and not wrong, ", ".join(wrong) or f"{len(alarms)} alarms"


def quiet(states: dict[str, str], alarm: str) -> bool:
    """Return whether an alarm is there, and not going off."""
    return states.get(alarm) in {"OK", "INSUFFICIENT_DATA"}


def logs_end(deployed: Deployed) -> Finding:
    """The log group keeps lines as long as was chosen."""
    name = deployed.outputs["LogGroupName"]
    groups = deployed.client("logs").describe_log_groups(logGroupNamePrefix=name)["logGroups"]
    days = {one["logGroupName"]: one.get("retentionInDays") for one in groups}.get(name)
    return str(days) == deployed.chosen["LogRetentionDays"], f"{days} days"


def sessions_open_nothing(deployed: Deployed) -> Finding:
    """IAM lets create_session and read_session open no credential."""
    functions, iam, wrong = deployed.client("lambda"), deployed.client("iam"), []
    # With the whole context: a policy that asks for a part that is left out would deny anyway.
    context = [
        {
            "ContextKeyName": f"kms:EncryptionContext:keystow:{part}",
            "ContextKeyValues": [value],
            "ContextKeyType": "string",
        }
        for part, value in (("purpose", "credential"), ("environment", "any"))
    ]
    for name in ("CreateSessionFunction", "ReadSessionFunction"):
        role = functions.get_function_configuration(FunctionName=deployed.id(name))["Role"]
        told = iam.simulate_principal_policy(
            PolicySourceArn=role,
            ActionNames=["kms:Decrypt"],
            ResourceArns=[deployed.outputs["VaultKeyArn"]],
            ContextEntries=context,
        )
        if told["EvaluationResults"][0]["EvalDecision"] == "allowed":
            wrong.append(f"{name} may open credentials")
    return not wrong, ", ".join(wrong) or "kms:Decrypt is denied"


Check = Callable[[Deployed], Finding]
CHECKS: dict[str, Check] = {
    "stack": stack_stands,
    "API": api_answers,
    "functions": functions_fit,
    "tables": tables_are_kept,
    "KMS key": key_is_usable,
    "queues": queues_are_emptied,
    "schedules": rules_run,
    "alarms": alarms_are_quiet,
    "logs": logs_end,
    "sessions' roles": sessions_open_nothing,
}


def outcome_of(check: Check, deployed: Deployed, *, emulated: bool) -> tuple[str, str]:
    """Return what a check came to, and why."""
    try:
        fits, why = check(deployed)
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if emulated or code.startswith(UNANSWERED):
            return NOT_SHOWN, str(error)
        return FAILED, str(error)
    except (BotoCoreError, OSError, http.client.HTTPException) as error:
        return (NOT_SHOWN if emulated else FAILED), str(error)
    except KeyError as error:
        return (NOT_SHOWN if emulated else FAILED), f"the stack has no {error}"
    if emulated:
        return NOT_SHOWN, f"an emulator answers, not AWS; it says: {why}"
    return (OK if fits else FAILED), why


def outcomes(
    deployed: Deployed, *, emulated: bool, checks: dict[str, Check] = CHECKS
) -> Iterator[Outcome]:
    """Make the checks, one after another."""
    for name, check in checks.items():
        yield name, *outcome_of(check, deployed, emulated=emulated)


def main(name: str) -> int:
    """Print the table; return 1 when a check failed."""
    try:
        deployed = Deployed(name, account_of(name))
    except (BotoCoreError, ClientError) as refusal:
        print(f"Nothing was looked at: {refusal}", file=sys.stderr)
        return 1
    failed = False
    for check, outcome, why in outcomes(deployed, emulated=is_emulated()):
        print(f"{check:<16} {outcome:<15} {why}", flush=True)
        failed |= outcome == FAILED
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "keystow"))
