"""Stacks whose two functions are started beforehand, as AWS tells of them."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.unit.verifying.world import World

INVOKE = "arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/{}/invocations"
FUNCTIONS = ("GetConnectionFunction", "OauthCallbackFunction")


def use_versions(world: World) -> None:
    """Let routes lead to an alias of the two functions, which leads to their latest version."""
    called = [f"{world.functions[name]['FunctionArn']}:live" for name in FUNCTIONS]
    called.append(world.functions["ReadSessionFunction"]["FunctionArn"])
    world.integrations += [
        {"IntegrationId": f"v{at}", "PayloadFormatVersion": "2.0", "IntegrationUri": uri}
        for at, uri in enumerate(INVOKE.format(each) for each in called)
    ]
    for name in FUNCTIONS:
        latest = copy.deepcopy(world.functions[name])
        latest.update(FunctionArn=f"{latest['FunctionArn']}:live", Version="7")
        world.versions[name] = latest


def use_snapshots(world: World) -> None:
    """Let it start from snapshots."""
    use_versions(world)
    world.chosen["SnapStart"] = "Enabled"
    for each in world.versions.values():
        each["SnapStart"] = {"ApplyOn": "PublishedVersions", "OptimizationStatus": "On"}


def use_provisioned(world: World) -> None:
    """Let three containers of each stand ready."""
    use_versions(world)
    world.chosen["ProvisionedConcurrency"] = "3"
    world.provisioned = {"RequestedProvisionedConcurrentExecutions": 3, "Status": "READY"}


def lead_to(world: World, function: str, arn: str) -> None:
    """Let one more route of a function lead somewhere else."""
    uri: dict[str, Any] = {"IntegrationUri": INVOKE.format(arn)}
    world.integrations.append({"IntegrationId": function, "PayloadFormatVersion": "2.0", **uri})
