"""Functions, their network and roles, queues and schedules."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, Final

import versions

from verify_aws.findings import NOT_USED, NOT_YET, Finding, expect, told

if TYPE_CHECKING:
    from collections.abc import Iterator

    from verify_aws.stack import Deployed

TABLES: Final = ("Connections", "Registry", "Keys", "Sessions", "Events", "Activity")
# What talks to providers and receivers.
OUTGOING: Final = (
    "StartOauthFunction",
    "OauthCallbackFunction",
    "SubmitCredentialsFunction",
    "GetConnectionFunction",
    "ProxyRequestFunction",
    "ImportConnectionFunction",
    "ConfirmConnectionFunction",
    "DeleteConnectionFunction",
    "EraseEndUserFunction",
    "ManageIntegrationsFunction",
    "ManageEnvironmentFunction",
    "RefreshTokensFunction",
    "SendWebhookFunction",
)
# What SAM attaches to roles, and nobody else anything.
ATTACHED: Final = {
    "AWSLambdaBasicExecutionRole",
    "AWSLambdaVPCAccessExecutionRole",
    "AWSXRayDaemonWriteAccess",
    "AWSXrayWriteOnlyAccess",
}
QUEUES: Final = {"Refresh": "RefreshTokensFunction", "Webhook": "SendWebhookFunction"}
VISIBILITY: Final = 6  # times the timeout of the function, as AWS advises
TWO_WEEKS: Final = "1209600"  # seconds
# The slowest rule runs each 5 minutes, and metrics come some minutes late.
LATELY: Final = 20 * 60  # seconds
# What a published version has from its function at the time.
COPIED: Final = (
    "CodeSha256",
    "Environment",
    "Layers",
    "MemorySize",
    "Role",
    "Runtime",
    "Timeout",
    "VpcConfig",
)
COUNTS: Final = "no emulator counts what a rule did"


def functions_fit(deployed: Deployed) -> Iterator[Finding]:
    """Runtime, architecture, layer, log settings, tables and key of every function."""
    found = deployed.functions
    tables = {name: deployed.table(name) for name in TABLES}
    for name, one in found.items():
        log = one.get("LoggingConfig", {})
        variables = deployed.variables(name)
        named = {each: variables.get(f"KEYSTOW_{each.upper()}_TABLE") for each in TABLES}
        fits = {
            "runtime": one.get("Runtime") == deployed.chosen["Runtime"],
            "arm64": one.get("Architectures") == ["arm64"],
            "layer": bool(one.get("Layers")),
            "active": one.get("State", "Active") in {"Active", "Inactive"},
            "last update": one.get("LastUpdateStatus", "Successful") == "Successful",
            "log group": log.get("LogGroup") == deployed.outputs["LogGroupName"],
            "JSON log": log.get("LogFormat") == "JSON",
            "system log level": log.get("SystemLogLevel") == "WARN",
            "tables": named == tables,
            "KMS key": variables.get("KEYSTOW_KMS_KEY_ID") == deployed.key_in_use,
        }
        for what, fit in fits.items():
            yield expect(fit, f"{name}: {what}")
    yield told(f"{len(found)} functions, {deployed.chosen['Runtime']} on arm64")


def functions_start_beforehand(deployed: Deployed) -> Iterator[Finding]:
    """With SnapStart or provisioned concurrency: routes lead to versions that are up to date."""
    chosen = versions.chosen(deployed.chosen)
    if not chosen:
        yield Finding(NOT_USED, "neither SnapStart nor ProvisionedConcurrency")
        return
    client, gateway = deployed.client("lambda"), deployed.client("apigatewayv2")
    pages = gateway.get_paginator("get_integrations").paginate(ApiId=deployed.id("HttpApi"))
    called = [_called(one.get("IntegrationUri", "")) for page in pages for one in page["Items"]]
    for name in versions.FUNCTIONS:
        latest = deployed.functions[name]
        behind = {"FunctionName": deployed.id(name), "Qualifier": versions.ALIAS}
        version = client.get_function_configuration(**behind)
        yield expect(
            version.get("State", "Active") == "Active", f"{name}: its version is not active"
        )
        stale = [each for each in COPIED if version.get(each) != latest.get(each)]
        yield expect(not stale, f"{name}: its version has another {', '.join(stale)}")
        own = latest["FunctionArn"]
        routes = [one for one in called if one == own or one.startswith(f"{own}:")]
        fits = set(routes) == {f"{own}:{versions.ALIAS}"}
        yield expect(fits, f"{name}: routes pass by its version")
        if "SnapStart" in chosen:
            taken = version.get("SnapStart", {}).get("OptimizationStatus") == "On"
            yield expect(taken, f"{name}: no snapshot of its version")
        else:
            ready = client.get_provisioned_concurrency_config(**behind)
            wanted = int(deployed.chosen["ProvisionedConcurrency"])
            found = ready["RequestedProvisionedConcurrentExecutions"]
            yield expect(found == wanted, f"{name}: {found} containers stand ready, not {wanted}")
            yield expect(ready["Status"] == "READY", f"{name}: provisioning is {ready['Status']}")
    yield told(f"{len(versions.FUNCTIONS)} functions by {', '.join(chosen)}")


def _called(uri: str) -> str:
    """Return the ARN of a function, its version or alias, of an integration's URI."""
    return uri.rpartition("/functions/")[2].removesuffix("/invocations")


def network_is_as_chosen(deployed: Deployed) -> Iterator[Finding]:
    """Subnets and security groups of what talks to providers, and of nothing else."""
    wanted = {
        "SubnetIds": _ids(deployed.chosen.get("SubnetIds", "")),
        "SecurityGroupIds": _ids(deployed.chosen.get("SecurityGroupIds", "")),
    }
    for name, one in deployed.functions.items():
        chosen = wanted if name in OUTGOING else {"SubnetIds": [], "SecurityGroupIds": []}
        for what, ids in chosen.items():
            found = sorted(one.get("VpcConfig", {}).get(what, []))
            yield expect(found == ids, f"{name}: {what} {', '.join(found) or 'none'}")
    if not wanted["SubnetIds"]:
        yield Finding(NOT_USED, "no SubnetIds")
        return
    yield told(f"{len(OUTGOING)} functions in {', '.join(wanted['SubnetIds'])}")


def _ids(parameter: str) -> list[str]:
    return sorted(one.strip() for one in parameter.split(",") if one.strip())


def roles_are_as_chosen(deployed: Deployed) -> Iterator[Finding]:
    """Path, boundary and attached policies of every function's role."""
    iam = deployed.client("iam")
    path, boundary = deployed.chosen["RolePath"], deployed.chosen["PermissionsBoundaryArn"]
    names = sorted({one["Role"].rpartition("/")[2] for one in deployed.functions.values()})
    for name in names:
        role = iam.get_role(RoleName=name)["Role"]
        yield expect(role["Path"] == path, f"{name}: its path is {role['Path']}")
        limit = role.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn", "")
        yield expect(limit == boundary, f"{name}: its boundary is {limit or 'none'}")
        pages = iam.get_paginator("list_attached_role_policies").paginate(RoleName=name)
        attached = {one["PolicyName"] for page in pages for one in page["AttachedPolicies"]}
        more = sorted(attached - ATTACHED)
        yield expect(not more, f"{name}: somebody attached {', '.join(more)}")
    yield told(f"{len(names)} roles, nothing attached by others")


def queues_are_emptied(deployed: Deployed) -> Iterator[Finding]:
    """Redrive, visibility, encryption, and how their functions are given messages."""
    queues, functions = deployed.client("sqs"), deployed.client("lambda")
    for queue, function in QUEUES.items():
        told_of = _attributes(queues, deployed.id(f"{queue}Queue"))
        dead = _attributes(queues, deployed.id(f"{queue}DeadLetters"))
        timeout = deployed.functions[function]["Timeout"]
        mapping = functions.get_event_source_mapping(UUID=deployed.id(f"{queue}QueueMapping"))
        most = mapping.get("ScalingConfig", {}).get("MaximumConcurrency")
        chosen = deployed.chosen[f"{queue}Concurrency"]
        fits = {
            "no redrive to its dead letters": dead["QueueArn"] in told_of.get("RedrivePolicy", ""),
            "visibility below six timeouts": int(told_of["VisibilityTimeout"])
            >= VISIBILITY * timeout,
            "not encrypted": _encrypted(told_of) and _encrypted(dead),
            "keeps dead letters under 14 days": dead.get("MessageRetentionPeriod") == TWO_WEEKS,
            f"the mapping is {mapping['State']}": mapping["State"] == "Enabled",
            "no partial failures": "ReportBatchItemFailures"
            in mapping.get("FunctionResponseTypes", []),
            f"{most} workers at most, not {chosen}": str(most) == chosen,
        }
        for what, fit in fits.items():
            yield expect(fit, f"{queue}Queue: {what}")
    yield told("2 queues with dead letters, partial failures, workers at most")


def _attributes(client: Any, url: str) -> dict[str, str]:
    found = client.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
    attributes: dict[str, str] = found["Attributes"]
    return attributes


def _encrypted(attributes: dict[str, str]) -> bool:
    return attributes.get("SqsManagedSseEnabled") == "true" or "KmsMasterKeyId" in attributes


def rules_run(deployed: Deployed) -> Iterator[Finding]:
    """Every schedule is enabled, leads to a function of the stack, and ran lately."""
    events, metrics = deployed.client("events"), deployed.client("cloudwatch")
    rules = deployed.of_type("AWS::Events::Rule")
    yield expect(bool(rules), "the stack has no schedule")
    arns = {one["FunctionArn"] for one in deployed.functions.values()}
    until = deployed.now()
    for logical, rule in rules.items():
        state = events.describe_rule(Name=rule)["State"]
        yield expect(state == "ENABLED", f"{logical} is {state}")
        pages = events.get_paginator("list_targets_by_rule").paginate(Rule=rule)
        targets = [one["Arn"] for page in pages for one in page.get("Targets", [])]
        yield expect(
            bool(targets) and set(targets) <= arns, f"{logical} starts no function of the stack"
        )
        counted = {
            name: sum(
                point["Sum"]
                for point in metrics.get_metric_statistics(
                    Namespace="AWS/Events",
                    MetricName=name,
                    Dimensions=[{"Name": "RuleName", "Value": rule}],
                    StartTime=until - dt.timedelta(seconds=LATELY),
                    EndTime=until,
                    Period=300,
                    Statistics=["Sum"],
                )["Datapoints"]
            )
            for name in ("Invocations", "FailedInvocations")
        }
        if not counted["Invocations"] and deployed.age_seconds() < LATELY:
            yield Finding(NOT_YET, f"{logical}: the last deployment is too young", COUNTS)
            continue
        yield expect(
            counted["Invocations"] > 0, f"{logical} has not run for 20 minutes", aws_only=COUNTS
        )
        yield expect(
            not counted["FailedInvocations"], f"{logical} could not start it", aws_only=COUNTS
        )
    yield told(f"{len(rules)} rules, enabled")
