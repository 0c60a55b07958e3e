"""`make verify-aws`: each condition of the checks in workings.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.verifying.aws import OWN_KEY, VAULT_KEY
from tests.unit.verifying.beforehand import lead_to, use_provisioned, use_snapshots
from tests.unit.verifying.cases import GONE, Case, both, identifiers, of, prove
from tests.unit.verifying.web import Web
from tests.unit.verifying.world import World, function_arn

if TYPE_CHECKING:
    from collections.abc import Callable

READ = "GetConnectionFunction"
SESSION = "ReadSessionFunction"
ROLE = f"keystow-{READ}Role"
SWEEP = "keystow-SweepDueFunctionEveryMinute"
QUEUE, DEAD, MAPPING = (
    World.id(f"Refresh{name}") for name in ("Queue", "DeadLetters", "QueueMapping")
)
OTHER_BOUNDARY = {"PermissionsBoundaryArn": "arn:aws:iam::aws:policy/other"}


def function(*path: Any, value: Any, name: str = READ) -> Callable[[World, Web], Any]:
    return of("functions", name, *path, value=value)


def network(*path: Any, value: Any, name: str = READ) -> Callable[[World, Web], Any]:
    return both(World.use_subnets, function(*path, value=value, name=name))


def snapshots(*path: Any, value: Any) -> Callable[[World, Web], Any]:
    return both(use_snapshots, of("versions", READ, *path, value=value))


def forgotten(*names: str) -> Callable[[World, Web], Any]:
    return lambda world, _web: [world.versions[READ].pop(name) for name in names]


def passing_by(arn: str) -> Callable[[World, Web], Any]:
    return both(use_snapshots, lambda world, _web: lead_to(world, READ, arn))


VARIABLES = ("Environment", "Variables")
KEY = (*VARIABLES, "KEYSTOW_KMS_KEY_ID")
TABLE = (*VARIABLES, "KEYSTOW_KEYS_TABLE")
CASES = [
    Case("functions", f"{READ}: runtime", function("Runtime", value="python3.11")),
    Case("functions", f"{READ}: arm64", function("Architectures", value=["x86_64"])),
    Case("functions", f"{READ}: layer", function("Layers", value=[])),
    Case("functions", f"{READ}: active", function("State", value="Failed")),
    Case("functions", f"{READ}: last update", function("LastUpdateStatus", value="Failed")),
    Case("functions", f"{READ}: log group", function("LoggingConfig", "LogGroup", value="x")),
    Case("functions", f"{READ}: JSON log", function("LoggingConfig", "LogFormat", value="Text")),
    Case("functions", "log level", function("LoggingConfig", "SystemLogLevel", value="INFO")),
    Case("functions", f"{SESSION}: tables", function(*TABLE, value="x", name=SESSION)),
    Case("functions", f"{READ}: KMS key", function(*KEY, value=OWN_KEY)),
    Case("functions", ": KMS key", both(World.use_own_key, function(*KEY, value=VAULT_KEY))),
    Case("versions", f"{READ}: its version is not active", snapshots("State", value="Inactive")),
    Case("versions", "has another Environment", snapshots(*VARIABLES, value={"A": "before"})),
    Case(
        "versions", "another Layers, Runtime", both(use_snapshots, forgotten("Layers", "Runtime"))
    ),
    Case("versions", "routes pass by", passing_by(function_arn(READ))),
    Case("versions", "routes pass by", passing_by(f"{function_arn(READ)}:6")),
    Case(
        "versions",
        f"{READ}: routes pass by",
        both(use_snapshots, lambda world, _web: world.integrations.pop(-3)),
    ),
    Case("versions", "no snapshot", snapshots("SnapStart", "OptimizationStatus", value="Off")),
    Case(
        "versions",
        "2 containers stand ready, not 3",
        both(
            use_provisioned,
            of("provisioned", "RequestedProvisionedConcurrentExecutions", value=2),
        ),
        2,
    ),
    Case(
        "versions",
        "provisioning is FAILED",
        both(use_provisioned, of("provisioned", "Status", value="FAILED")),
        2,
    ),
    Case("network", f"{READ}: SubnetIds none", network("VpcConfig", "SubnetIds", value=[])),
    Case("network", "GroupIds sg-2", network("VpcConfig", "SecurityGroupIds", value=["sg-2"])),
    Case(
        "network",
        f"{SESSION}: SubnetIds subnet-a",
        network("VpcConfig", value={"SubnetIds": ["subnet-a"]}, name=SESSION),
    ),
    Case("network", "subnet-x", function("VpcConfig", value={"SubnetIds": ["subnet-x"]})),
    Case(
        "roles",
        "boundary is none",
        both(World.use_boundary, of("roles", ROLE, value={"Path": "/"})),
    ),
    Case("roles", "its path is /other/", of("roles", ROLE, "Path", value="/other/")),
    Case(
        "roles", "boundary is arn", of("roles", ROLE, "PermissionsBoundary", value=OTHER_BOUNDARY)
    ),
    Case("roles", "attached Admin", of("attached", ROLE, value=["AdministratorAccess"])),
    Case("queues", "no redrive", of("queues", QUEUE, "RedrivePolicy", value=GONE)),
    Case("queues", "no redrive", of("queues", QUEUE, "RedrivePolicy", value='{"x": "arn:other"}')),
    Case("queues", "six timeouts", of("queues", QUEUE, "VisibilityTimeout", value="299")),
    Case("queues", "not encrypted", of("queues", QUEUE, "SqsManagedSseEnabled", value="false")),
    Case("queues", "not encrypted", of("queues", DEAD, "SqsManagedSseEnabled", value="false")),
    Case("queues", "under 14 days", of("queues", DEAD, "MessageRetentionPeriod", value="345600")),
    Case("queues", "mapping is Disabled", of("mapping", MAPPING, "State", value="Disabled")),
    Case("queues", "partial failures", of("mapping", MAPPING, "FunctionResponseTypes", value=[])),
    Case(
        "queues",
        "5 workers",
        of("mapping", MAPPING, "ScalingConfig", value={"MaximumConcurrency": 5}),
    ),
    Case("schedules", "no schedule", lambda world, _web: world.lose("AWS::Events::Rule")),
    Case("schedules", "EveryMinute is DISABLED", of("rules", SWEEP, value="DISABLED")),
    Case("schedules", "starts no function", of("targets", SWEEP, value=["arn:other"])),
    Case("schedules", "starts no function", of("targets", SWEEP, value=[])),
    Case("schedules", "has not run", of("counts", "Invocations", value=0.0), 3),
    Case("schedules", "could not start", of("counts", "FailedInvocations", value=1.0), 3),
]


@pytest.mark.parametrize("case", CASES, ids=identifiers(CASES))
def test_what_is_not_as_it_should_be_is_named(world: World, web: Web, case: Case) -> None:
    prove(world, web, case)
