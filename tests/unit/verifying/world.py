"""An AWS account in which Keystow is deployed as it should be; tests break one thing of it each.

Whatever is asked goes through botocore's own models: a parameter that AWS does not know, one that
it requires, and an answer that it could not give are errors. Lists come in pages of one.
"""

from __future__ import annotations

import copy
import datetime as dt
import json
import re
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from local import template as templates
from tests.unit.docs.reading import ROOT, TEMPLATE
from tests.unit.verifying import aws
from tests.unit.verifying.aws import ARN, OWN_KEY, VAULT_KEY, table_arn

if TYPE_CHECKING:
    from verify_aws.findings import Finding
    from verify_aws.stack import Deployed

SCRIPTS = ROOT / "scripts"
NOW = dt.datetime(2026, 1, 31, 12, tzinfo=dt.UTC)
API = "https://api1.execute-api.us-east-1.amazonaws.com"
REQUEST_ID = "request-1="
TABLES = ("Connections", "Registry", "Keys", "Sessions", "Events", "Activity")
_PLAIN = {"AWS::Serverless::Function": "AWS::Lambda::Function"}


def function_arn(logical: str) -> str:
    return ARN.format("lambda", f"function:keystow-{logical}")


class World:
    """The account. Its attributes are what AWS knows; a test changes them before it looks."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []  # service, operation
        self.simulated: list[dict[str, Any]] = []
        self.refused: dict[str, ClientError] = {}  # operation → what AWS answers
        self.now = NOW
        self.waited: list[float] = []
        defaults = {
            name: str(one.get("Default", "")) for name, one in TEMPLATE["Parameters"].items()
        }
        self.chosen = defaults
        resources = TEMPLATE["Resources"]
        self.resources = [
            self.resource(name, _PLAIN.get(one["Type"], one["Type"]))
            for name, one in resources.items()
            if "Condition" not in one
        ]
        self.schedules = [
            f"{name}{event}"
            for name, one in templates.functions(TEMPLATE).items()
            for event, each in (one.get("Events") or {}).items()
            if each["Type"] == "Schedule"
        ]
        self.resources += [self.resource(name, "AWS::Events::Rule") for name in self.schedules]
        self.functions = {name: self._function(name) for name in templates.functions(TEMPLATE)}
        self.policies = {name: list(aws.statements(name)) for name in self.functions}
        self.stack: dict[str, Any] = {
            "StackName": "keystow",
            "CreationTime": NOW - dt.timedelta(days=9),
            "StackStatus": "UPDATE_COMPLETE",
            "EnableTerminationProtection": True,
        }
        self.outputs = {
            "ApiUrl": API,
            "ApiOrigin": API.removeprefix("https://"),
            "WebSocketUrl": "wss://api2.execute-api.us-east-1.amazonaws.com/live",
            "CallbackUrl": f"{API}/oauth/callback",
            "LogGroupName": "logs",
            "VaultKeyArn": VAULT_KEY,
        }
        self.stack_policy: Any = json.loads((SCRIPTS / "stack-policy.json").read_text("utf-8"))
        self.template: Any = {
            "Resources": {
                name: {key: one[key] for key in ("Type", *_KEEPING) if key in one}
                for name, one in resources.items()
            }
        }
        self.api: dict[str, Any] = {
            "Name": "keystow",
            "ProtocolType": "HTTP",
            "RouteSelectionExpression": "$request.method $request.path",
            "ApiEndpoint": API,
            "DisableExecuteApiEndpoint": False,
        }
        self.integrations: list[dict[str, Any]] = [
            {"IntegrationId": name, "PayloadFormatVersion": "2.0"} for name in ("i1", "i2")
        ]
        self.versions: dict[str, dict[str, Any]] = {}  # what the alias of a function leads to
        self.provisioned: dict[str, Any] = {}
        self.routes = [
            {"RouteKey": key, "Target": f"integrations/{target}", "AuthorizationType": "NONE"}
            for key, target in (("$default", "i1"), ("GET /connections/{connectionId+}", "i2"))
        ]
        self.throttle = {"ThrottlingRateLimit": 500.0, "ThrottlingBurstLimit": 1000}
        self.mappings = [{"ApiId": "keystow-HttpApi", "Stage": "$default"}]
        self.domain = {"DomainNameStatus": "AVAILABLE", "SecurityPolicy": "TLS_1_2"}
        self.tables = {f"keystow-{name}Table": self._table(name) for name in TABLES}
        self.recovery: dict[str, dict[str, Any]] = {
            table: {"PointInTimeRecoveryStatus": "ENABLED", "RecoveryPeriodInDays": 35}
            for table in self.tables
        }
        self.endings: dict[str, dict[str, Any]] = {
            table: {"TimeToLiveStatus": "ENABLED", "AttributeName": "ttl"} for table in self.tables
        }
        self.endings["keystow-KeysTable"] = {"TimeToLiveStatus": "DISABLED"}
        self.keys: dict[str, dict[str, Any]] = {
            arn: {
                "KeyId": arn.rpartition("/")[2],
                "Arn": arn,
                "KeyState": "Enabled",
                "KeyUsage": "ENCRYPT_DECRYPT",
                "KeySpec": "SYMMETRIC_DEFAULT",
                "MultiRegion": arn == VAULT_KEY,
            }
            for arn in (VAULT_KEY, OWN_KEY)
        }
        self.rotates = True
        self.key_policy: Any = {
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": {"AWS": "arn:aws:iam::111122223333:root"},
                    "Action": "kms:*",
                    "Resource": "*",
                }
            ]
        }
        self.queues = {self.id(name): self._queue(name) for name in _of_type("AWS::SQS::Queue")}
        self.mapping: dict[str, dict[str, Any]] = {
            self.id(f"{name}QueueMapping"): {
                "State": "Enabled",
                "FunctionResponseTypes": ["ReportBatchItemFailures"],
                "ScalingConfig": {"MaximumConcurrency": 2},
            }
            for name in ("Refresh", "Webhook")
        }
        self.rules = {self.id(name): "ENABLED" for name in self.schedules}
        self.targets = {
            self.id(name): [function_arn(re.sub("Every.*", "", name))] for name in self.schedules
        }
        self.counts = {"Invocations": 15.0, "FailedInvocations": 0.0}
        self.counts["TimeToLiveDeletedItemCount"] = 7.0
        self.alarms = {
            self.id(name): {"StateValue": "OK", "ActionsEnabled": True, "AlarmActions": []}
            for name, one in resources.items()
            if one["Type"] == "AWS::CloudWatch::Alarm" and "Condition" not in one
        }
        self.subscriptions = "1"
        self.roles: dict[str, dict[str, Any]] = {
            f"keystow-{name}Role": {"Path": "/", "PermissionsBoundary": None}
            for name in self.functions
        }
        self.attached = {role: ["AWSLambdaBasicExecutionRole"] for role in self.roles}
        self.groups = [
            {"logGroupName": "logs", "retentionInDays": 30},
            {"logGroupName": "logs-of-others", "retentionInDays": 1},
        ]
        self.line: Any = {
            "level": "INFO",
            "timestamp": "2026-01-31T12:00:00.123Z",
            "message": "request",
            "request_id": REQUEST_ID,
            "status": 401,
        }
        self.stream = "2026/01/31/keystow-GetConnectionFunction[$LATEST]abc"
        self.late = 0  # looks at the log before the line is there
        self.found: dict[str, str] = {}  # part of a filter pattern → line that it finds
        self.log_pages = 1

    # ---- what there is ------------------------------------------------------------------

    @staticmethod
    def id(logical: str) -> str:
        """The physical id of a resource."""
        # AWS's ids of mappings have 36 characters.
        return f"keystow-{logical}".ljust(36 if logical.endswith("Mapping") else 0, "-")

    @staticmethod
    def resource(logical: str, kind: str) -> dict[str, Any]:
        return {
            "LogicalResourceId": logical,
            "PhysicalResourceId": World.id(logical),
            "ResourceType": kind,
            "LastUpdatedTimestamp": NOW,
            "ResourceStatus": "CREATE_COMPLETE",
        }

    def _function(self, name: str) -> dict[str, Any]:
        variables = {f"KEYSTOW_{each.upper()}_TABLE": f"keystow-{each}Table" for each in TABLES}
        return {
            "FunctionName": self.id(name),
            "FunctionArn": function_arn(name),
            "Role": f"arn:aws:iam::111122223333:role/keystow-{name}Role",
            "Runtime": "python3.13",
            "Architectures": ["arm64"],
            "Timeout": 50,
            "State": "Active",
            "LastUpdateStatus": "Successful",
            "Layers": [{"Arn": "layer"}],
            "LoggingConfig": {"LogGroup": "logs", "LogFormat": "JSON", "SystemLogLevel": "WARN"},
            "Environment": {"Variables": {**variables, "KEYSTOW_KMS_KEY_ID": VAULT_KEY}},
        }

    def _table(self, name: str) -> dict[str, Any]:
        properties = TEMPLATE["Resources"][f"{name}Table"]["Properties"]
        return {
            "TableName": f"keystow-{name}Table",
            "TableArn": table_arn(name),
            "TableStatus": "ACTIVE",
            "DeletionProtectionEnabled": True,
            "KeySchema": properties["KeySchema"],
            "AttributeDefinitions": properties["AttributeDefinitions"],
            "GlobalSecondaryIndexes": [
                {**copy.deepcopy(one), "IndexStatus": "ACTIVE"}
                for one in properties.get("GlobalSecondaryIndexes", [])
            ],
        }

    def _queue(self, name: str) -> dict[str, str]:
        found = {
            "QueueArn": ARN.format("sqs", name),
            "SqsManagedSseEnabled": "true",
            "VisibilityTimeout": "300",
            "MessageRetentionPeriod": "1209600",
        }
        if name.endswith("Queue"):
            dead = ARN.format("sqs", name.replace("Queue", "DeadLetters"))
            found["RedrivePolicy"] = json.dumps({"deadLetterTargetArn": dead})
        return found

    def use_own_key(self) -> None:
        """Let the stack be deployed with a KMS key of its owner's."""
        self.chosen["KmsKeyArn"] = OWN_KEY
        for one in self.functions.values():
            one["Environment"]["Variables"]["KEYSTOW_KMS_KEY_ID"] = OWN_KEY

    def use_domain(self) -> None:
        """Let it have a domain."""
        self.chosen["DomainName"] = "keys.example.com"
        self.outputs["ApiUrl"] = "https://keys.example.com"
        self.outputs["ApiOrigin"] = "keys.example.com"
        self.outputs["CallbackUrl"] = "https://keys.example.com/oauth/callback"
        self.api["DisableExecuteApiEndpoint"] = True

    def use_boundary(self) -> None:
        """Let every role have a permissions boundary."""
        self.chosen["PermissionsBoundaryArn"] = boundary = "arn:aws:iam::aws:policy/boundary"
        for one in self.roles.values():
            one["PermissionsBoundary"] = {"PermissionsBoundaryArn": boundary}

    def use_key_for_queues(self) -> None:
        """Let somebody have encrypted the queues with a KMS key."""
        for one in self.queues.values():
            one["SqsManagedSseEnabled"] = "false"
            one["KmsMasterKeyId"] = "alias/aws/sqs"

    def lose(self, kind: str) -> None:
        """Let it have no resource of a type."""
        self.resources = [one for one in self.resources if one["ResourceType"] != kind]

    def use_door(self) -> None:
        """Let it stand behind a front door, with a domain of its own."""
        self.use_domain()
        self.chosen["PublicUrl"] = self.outputs["ApiUrl"] = "https://door.example.com"
        self.outputs["CallbackUrl"] = "https://door.example.com/oauth/callback"
        self.outputs["WebSocketUrl"] = "wss://door.example.com"

    def use_subnets(self) -> None:
        """Let what talks to providers lie in a network."""
        self.chosen["SubnetIds"] = "subnet-b,subnet-a"
        self.chosen["SecurityGroupIds"] = "sg-1"
        for name, one in templates.functions(TEMPLATE).items():
            if "VpcConfig" in one:
                network = {"SubnetIds": ["subnet-a", "subnet-b"], "SecurityGroupIds": ["sg-1"]}
                self.functions[name]["VpcConfig"] = network

    # ---- being asked --------------------------------------------------------------------

    def client(self, service: str, config: Any = None) -> Any:
        """A client as boto3 makes it, whose calls end here."""
        client = aws.client(service)

        def call(operation: str, asked: dict[str, Any]) -> Any:
            shapes = client.meta.service_model.operation_model(operation)
            aws.must_fit(asked, shapes.input_shape)
            self.asked.append((service, operation))
            if operation in self.refused:
                raise self.refused[operation]
            answer = getattr(self, f"on_{operation}")(asked)
            if operation != "GetTemplate":  # botocore itself decodes its text
                aws.must_fit(answer, shapes.output_shape)
            return aws.page(service, operation, asked, answer)

        client._make_api_call = call
        return client

    def refuse(
        self, operation: str, code: str = "AccessDeniedException", status: int = 400
    ) -> None:
        """Let AWS answer an operation with an error."""
        error = {"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {}}
        error["ResponseMetadata"] = {"HTTPStatusCode": status}
        self.refused[operation] = ClientError(error, operation)

    def on_DescribeStacks(self, asked: dict[str, Any]) -> Any:  # noqa: N802 - AWS's names
        assert asked == {"StackName": "keystow"}
        outputs = [{"OutputKey": k, "OutputValue": v} for k, v in self.outputs.items()]
        chosen = [{"ParameterKey": k, "ParameterValue": v} for k, v in self.chosen.items()]
        return {"Stacks": [{**self.stack, "Outputs": outputs, "Parameters": chosen}]}

    def on_ListStackResources(self, _asked: Any) -> Any:  # noqa: N802
        return {"StackResourceSummaries": self.resources}

    def on_GetStackPolicy(self, _asked: Any) -> Any:  # noqa: N802
        return {"StackPolicyBody": json.dumps(self.stack_policy)} if self.stack_policy else {}

    def on_GetTemplate(self, asked: dict[str, Any]) -> Any:  # noqa: N802
        assert asked["TemplateStage"] == "Processed"
        return {"TemplateBody": self.template}

    def on_GetFunctionConfiguration(self, asked: dict[str, Any]) -> Any:  # noqa: N802
        name = asked["FunctionName"].removeprefix("keystow-")
        return self.versions[name] if asked.get("Qualifier") == "live" else self.functions[name]

    def on_GetProvisionedConcurrencyConfig(self, asked: dict[str, Any]) -> Any:  # noqa: N802
        assert asked["Qualifier"] == "live"
        return self.provisioned

    def on_GetEventSourceMapping(self, asked: dict[str, Any]) -> Any:  # noqa: N802
        return self.mapping[asked["UUID"]]

    def on_GetApi(self, _asked: Any) -> Any:  # noqa: N802
        return self.api

    def on_GetStage(self, asked: dict[str, Any]) -> Any:  # noqa: N802
        assert asked["StageName"] == "$default"
        return {"StageName": "$default", "DefaultRouteSettings": self.throttle}

    def on_GetRoutes(self, _asked: Any) -> Any:  # noqa: N802
        return {"Items": self.routes}

    def on_GetIntegrations(self, _asked: Any) -> Any:  # noqa: N802
        return {"Items": self.integrations}

    def on_GetApiMappings(self, _asked: Any) -> Any:  # noqa: N802
        return {"Items": self.mappings}

    def on_GetDomainName(self, asked: dict[str, Any]) -> Any:  # noqa: N802
        return {"DomainName": asked["DomainName"], "DomainNameConfigurations": [self.domain]}

    def on_DescribeTable(self, asked: dict[str, Any]) -> Any:  # noqa: N802
        return {"Table": self.tables[asked["TableName"]]}

    def on_DescribeContinuousBackups(self, asked: dict[str, Any]) -> Any:  # noqa: N802
        return {
            "ContinuousBackupsDescription": {
                "ContinuousBackupsStatus": "ENABLED",
                "PointInTimeRecoveryDescription": self.recovery[asked["TableName"]],
            }
        }

    def on_DescribeTimeToLive(self, asked: dict[str, Any]) -> Any:  # noqa: N802
        return {"TimeToLiveDescription": self.endings[asked["TableName"]]}

    def on_DescribeKey(self, asked: dict[str, Any]) -> Any:  # noqa: N802
        return {"KeyMetadata": self.keys[asked["KeyId"]]}

    def on_GetKeyRotationStatus(self, _asked: Any) -> Any:  # noqa: N802
        return {"KeyRotationEnabled": self.rotates}

    def on_GetKeyPolicy(self, _asked: Any) -> Any:  # noqa: N802
        return {"Policy": json.dumps(self.key_policy)}

    def on_GetQueueAttributes(self, asked: dict[str, Any]) -> Any:  # noqa: N802
        return {"Attributes": self.queues[asked["QueueUrl"]]}

    def on_DescribeRule(self, asked: dict[str, Any]) -> Any:  # noqa: N802
        return {"Name": asked["Name"], "State": self.rules[asked["Name"]]}

    def on_ListTargetsByRule(self, asked: dict[str, Any]) -> Any:  # noqa: N802
        found = [{"Id": "t", "Arn": arn} for arn in self.targets[asked["Rule"]]]
        return {"Targets": found} if found else {}

    def on_GetMetricStatistics(self, asked: dict[str, Any]) -> Any:  # noqa: N802
        known = {"AWS/Events": "RuleName", "AWS/DynamoDB": "TableName"}
        (dimension,) = asked["Dimensions"]
        assert dimension["Name"] == known[asked["Namespace"]]
        assert dimension["Value"] in {*self.rules, *self.tables}
        assert asked["Statistics"] == ["Sum"]
        assert asked["Period"] % 60 == 0
        total = self.counts[asked["MetricName"]]
        points = [{"Timestamp": NOW, "Sum": total, "Unit": "Count"}] if total else []
        return {"Label": asked["MetricName"], "Datapoints": points}

    def on_DescribeAlarms(self, asked: dict[str, Any]) -> Any:  # noqa: N802
        names = asked["AlarmNames"]
        return {
            "MetricAlarms": [
                {"AlarmName": name, **self.alarms[name]} for name in names if name in self.alarms
            ]
        }

    def on_GetTopicAttributes(self, _asked: Any) -> Any:  # noqa: N802
        return {"Attributes": {"SubscriptionsConfirmed": self.subscriptions}}

    def on_GetRole(self, asked: dict[str, Any]) -> Any:  # noqa: N802
        role = {key: value for key, value in self.roles[asked["RoleName"]].items() if value}
        always = {"RoleName": asked["RoleName"], "RoleId": "r" * 20, "CreateDate": NOW}
        return {"Role": {**always, "Arn": "arn:aws:iam::111122223333:role/r", **role}}

    def on_ListAttachedRolePolicies(self, asked: dict[str, Any]) -> Any:  # noqa: N802
        names = self.attached[asked["RoleName"]]
        return {"AttachedPolicies": [{"PolicyName": name} for name in names]}

    def on_DescribeLogGroups(self, asked: dict[str, Any]) -> Any:  # noqa: N802
        prefix = asked["logGroupNamePrefix"]
        groups = [one for one in self.groups if one["logGroupName"].startswith(prefix)]
        return {"logGroups": groups[::-1]}

    def on_FilterLogEvents(self, asked: dict[str, Any]) -> Any:  # noqa: N802
        assert asked["startTime"] < asked["endTime"] <= NOW.timestamp() * 1000 + DAY_MS
        pattern = asked["filterPattern"]
        for part, line in self.found.items():
            if part in pattern:
                return {"events": [self._event(line)]}
        if pattern == f'"{REQUEST_ID}"' and self.line is not None:
            self.late -= 1
            if self.late < 0:
                line = self.line() if callable(self.line) else self.line
                text = line if isinstance(line, str) else json.dumps(line)
                return {"events": [self._event(text)]}
        at = int(asked.get("nextToken", "1"))
        more = {"nextToken": str(at + 1)} if at < self.log_pages else {}
        return {"events": [], **more}

    def _event(self, line: str) -> dict[str, Any]:
        return {"logStreamName": self.stream, "timestamp": 1, "message": line, "eventId": "e"}

    def on_SimulatePrincipalPolicy(self, asked: dict[str, Any]) -> Any:  # noqa: N802
        self.simulated.append(asked)
        function = asked["PolicySourceArn"].rpartition("keystow-")[2].removesuffix("Role")
        context = {one["ContextKeyName"]: one for one in asked["ContextEntries"]}
        (resource,) = asked["ResourceArns"]
        return {
            "EvaluationResults": [
                {
                    "EvalActionName": action,
                    "EvalResourceName": resource,
                    "EvalDecision": self.decision(function, action, resource, context),
                }
                for action in asked["ActionNames"]
            ]
        }

    def decision(self, function: str, action: str, resource: str, context: Any) -> str:
        """What IAM would decide, as far as the template's policies use IAM."""
        allowed = aws.is_allowed(self.policies[function], action, resource, context)
        return "allowed" if allowed else "implicitDeny"


DAY_MS = 86_400_000
_KEEPING = ("DeletionPolicy", "UpdateReplacePolicy")


def _of_type(kind: str) -> list[str]:
    return [name for name, one in TEMPLATE["Resources"].items() if one["Type"] == kind]


def looked(world: World, name: str, *, emulated: bool = False) -> list[Finding]:
    """Make one check of a world."""
    from verify_aws.checks import CHECKS
    from verify_aws.findings import findings_of

    (check,) = [one for one in CHECKS if one.name == name]
    return findings_of(check, deployed(world, emulated=emulated))


def deployed(world: World, *, emulated: bool = False) -> Deployed:
    """The stack as the checks see it."""
    from verify_aws.stack import Deployed

    found = Deployed("keystow", world)
    found.__dict__["emulated"] = emulated
    found.now = lambda: world.now  # type: ignore[method-assign]
    found.wait = world.waited.append  # type: ignore[method-assign]
    return found
