"""Promise 6: each function's role allows the calls that the function makes, and no other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from local.template import functions, load
from tests.infrastructure.recording import Permission, deployed
from tests.infrastructure.scenario import Scenario

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

TEMPLATE = load(Path(__file__).parents[2] / "template.yaml")


# ---- what the template allows ------------------------------------------------------------


def resource_of(value: Any) -> str:
    """The logical id that a statement's resource names, with the index of a table."""
    if "Fn::If" in value:
        # A KMS key of the owner's own may be used for what the stack's own may.
        assert value == {"Fn::If": ["HasKmsKey", {"Ref": "KmsKeyArn"}, {"Ref": "AWS::NoValue"}]}
        return "VaultKey"
    if "Fn::GetAtt" in value:
        return str(value["Fn::GetAtt"][0])
    text = value["Fn::Sub"]
    if "@connections" in text:
        return "BrowserSocketApi"
    return str(text.removeprefix("${").replace(".Arn}", ""))


def permissions(statement: Mapping[str, Any]) -> Iterator[Permission]:
    actions, places = statement["Action"], statement["Resource"]
    condition = (statement.get("Condition") or {}).get("StringEquals") or {}
    purposes = condition.get("kms:EncryptionContext:keystow:purpose", [""])
    for action in [actions] if isinstance(actions, str) else actions:
        for place in places if isinstance(places, list) else [places]:
            for purpose in [purposes] if isinstance(purposes, str) else purposes:
                resource = resource_of(place).replace("BrowserSocketFunction", "browser_socket")
                yield Permission(action, resource, purpose)


def allowed() -> dict[str, set[Permission]]:
    """Function's folder → what its role may do."""
    found: dict[str, set[Permission]] = {}
    folders = {}
    for name, properties in functions(TEMPLATE).items():
        folder = folders[name] = Path(properties["CodeUri"]).name
        statements = [
            each for policy in properties.get("Policies", ()) for each in policy["Statement"]
        ]
        found[folder] = {each for one in statements for each in permissions(one)}
    for resource in TEMPLATE["Resources"].values():
        if resource["Type"] != "AWS::IAM::Policy":
            continue
        for role in resource["Properties"]["Roles"]:
            folder = folders[role["Ref"].removesuffix("Role")]
            for statement in resource["Properties"]["PolicyDocument"]["Statement"]:
                found[folder].update(permissions(statement))
    return found


# ---- what the functions do ---------------------------------------------------------------


@pytest.fixture(scope="module")
def used() -> dict[str, set[Permission]]:
    """Function's folder → what its calls needed."""
    with deployed() as running:
        Scenario(running)
        return running.recorder.used


FOLDERS = sorted(Path(each["CodeUri"]).name for each in functions(TEMPLATE).values())


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_function_may_do_what_it_does(folder: str, used: dict[str, set[Permission]]) -> None:
    assert sorted(used.get(folder, set()) - allowed()[folder]) == []


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_function_may_do_no_more(folder: str, used: dict[str, set[Permission]]) -> None:
    assert sorted(allowed()[folder] - used.get(folder, set())) == []


def test_no_policy_allows_all_of_anything() -> None:
    for resource in TEMPLATE["Resources"].values():
        for policy in resource.get("Properties", {}).get("Policies") or ():
            for statement in policy["Statement"]:
                assert "*" not in json.dumps(statement["Action"])
                assert statement["Resource"] != "*"
