"""What cannot be undone later, and the doors that somebody may put around a deployment."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from samtranslator.translator.transform import transform

from keystow.sessions.service import websockets_path
from local import template as templates
from tests.infrastructure.rules import rule_lets

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = templates.load(ROOT / "template.yaml")
RESOURCES: dict[str, Any] = TEMPLATE["Resources"]
FUNCTIONS = templates.functions(TEMPLATE)
PARAMETERS = TEMPLATE["Parameters"]
DOOR = templates.load(ROOT / "scripts/front-door.yaml")


def of_type(kind: str) -> dict[str, dict[str, Any]]:
    return {name: each for name, each in RESOURCES.items() if each["Type"] == kind}


# ---- what cannot be chosen later ---------------------------------------------------------


def test_the_vault_key_can_be_replicated_into_another_region() -> None:
    assert RESOURCES["VaultKey"]["Properties"]["MultiRegion"] is True


@pytest.mark.parametrize("name", of_type("AWS::DynamoDB::Table"))
def test_no_table_can_be_deleted_by_mistake(name: str) -> None:
    protected = RESOURCES[name]["Properties"]["DeletionProtectionEnabled"]
    assert protected == {"Fn::If": ["IsProtected", True, False]}
    assert PARAMETERS["DeletionProtection"]["Default"] == "Enabled"


def test_the_vault_key_can_wrap_again_while_roles_may_use_a_key_of_ones_own() -> None:
    variable = TEMPLATE["Globals"]["Function"]["Environment"]["Variables"]["KEYSTOW_KMS_KEY_ID"]
    assert variable["Fn::If"][0] == "WrapsWithKmsKey"
    assert TEMPLATE["Conditions"]["WrapsWithKmsKey"] == {
        "Fn::And": [{"Condition": "HasKmsKey"}, {"Fn::Equals": [{"Ref": "WrapWith"}, "KmsKeyArn"]}]
    }
    # The roles' own lists go by HasKmsKey alone, so that both keys open on the way back.
    assert "WrapsWithKmsKey" not in json.dumps(RESOURCES)


# ---- tables that were there before -------------------------------------------------------

ARN = "arn:${AWS::Partition}:dynamodb:${AWS::Region}:${AWS::AccountId}:table/"
TABLES = sorted(name.removesuffix("Table") for name in of_type("AWS::DynamoDB::Table"))


@pytest.mark.parametrize("name", TABLES)
def test_functions_roles_and_outputs_go_to_the_table_that_is_named(name: str) -> None:
    own, parameter = f"{name}Table", f"{name}TableName"
    assert TEMPLATE["Conditions"][f"Names{name}"] == {
        "Fn::Not": [{"Fn::Equals": [{"Ref": parameter}, ""]}]
    }
    chosen = {"Fn::If": [f"Names{name}", {"Ref": parameter}, {"Ref": own}]}
    variables = TEMPLATE["Globals"]["Function"]["Environment"]["Variables"]
    assert variables[f"KEYSTOW_{name.upper()}_TABLE"] == chosen
    assert TEMPLATE["Outputs"][parameter]["Value"] == chosen
    assert RESOURCES[f"{own}Arn"]["Properties"]["Value"] == {
        "Fn::If": [
            f"Names{name}",
            {"Fn::Sub": f"{ARN}${{{parameter}}}"},
            {"Fn::GetAtt": [own, "Arn"]},
        ]
    }


def test_no_role_may_touch_a_table_that_is_out_of_use() -> None:
    for name, each in RESOURCES.items():
        if each["Type"] != "AWS::SSM::Parameter":
            text = json.dumps(each)
            for table in TABLES:
                assert f'["{table}Table", "Arn"]' not in text, name
                assert f"${{{table}Table." not in text, name


@pytest.mark.parametrize("name", TABLES)
def test_the_stacks_own_table_stays_when_another_is_named(name: str) -> None:
    assert "Condition" not in RESOURCES[f"{name}Table"]


@pytest.mark.parametrize(
    ("names", "fits"),
    [
        ((), True),
        (("Connections", "Registry", "Keys"), True),
        (tuple(TABLES), True),
        (("Sessions",), True),
        (("Connections",), False),
        (("Registry", "Keys"), False),
    ],
)
def test_connections_registry_and_keys_are_named_together_or_not_at_all(
    names: tuple[str, ...], *, fits: bool
) -> None:
    given = {f"{name}TableName": "t" for name in names}
    assert rule_lets(TEMPLATE, "TablesThatBelongTogether", given) is fits


# ---- addresses ---------------------------------------------------------------------------


def test_a_domain_closes_awss_own_address_unless_somebody_keeps_it_open() -> None:
    closed = RESOURCES["HttpApi"]["Properties"]["DisableExecuteApiEndpoint"]
    assert closed == {"Fn::If": ["HasOwnAddressOnly", True, False]}
    assert {"Condition": "HasDomain"} in TEMPLATE["Conditions"]["HasOwnAddressOnly"]["Fn::And"]
    assert PARAMETERS["DefaultEndpoint"]["Default"] == "Disabled"


def test_behind_a_front_door_both_apis_have_the_one_address() -> None:
    variables = TEMPLATE["Globals"]["Function"]["Environment"]["Variables"]
    for name in ("KEYSTOW_PUBLIC_URL", "KEYSTOW_WEBSOCKET_URL"):
        assert variables[name]["Fn::If"][0] == "HasPublicUrl"
    for output in ("ApiUrl", "WebSocketUrl", "ConnectUiUrl", "CallbackUrl"):
        assert TEMPLATE["Outputs"][output]["Value"]["Fn::If"][0] == "HasPublicUrl"


def test_the_front_door_leads_to_both_apis_and_keeps_nothing() -> None:
    config = DOOR["Resources"]["Door"]["Properties"]["DistributionConfig"]
    origins = {each["Id"]: each for each in config["Origins"]}
    assert origins["socket"]["OriginPath"] == "/live"
    assert RESOURCES["BrowserSocketStage"]["Properties"]["StageName"] == "live"
    behaviours = [config["DefaultCacheBehavior"], *config["CacheBehaviors"]]
    # AWS's managed policies CachingDisabled and AllViewerExceptHostHeader
    assert {each["CachePolicyId"] for each in behaviours} == {
        "4135ea2d-6df8-44a3-9df3-4b5a84be39ad"
    }
    assert {each["OriginRequestPolicyId"] for each in behaviours} == {
        "b689b0a8-53d0-40ab-baf2-68738e2966ac"
    }
    assert [each["PathPattern"] for each in config["CacheBehaviors"]] == ["/"]


def test_the_front_door_asks_for_what_the_stack_puts_out() -> None:
    assert {"ApiOrigin", "WebSocketOrigin"} <= set(DOOR["Parameters"]) & set(TEMPLATE["Outputs"])


def test_the_websocket_integration_names_its_method() -> None:
    integration = RESOURCES["BrowserSocketIntegration"]["Properties"]
    assert integration["IntegrationMethod"] == "POST"


# ---- network and roles -------------------------------------------------------------------


def outgoing() -> set[str]:
    """Functions that talk to providers and receivers, by their memory; and the one that reads."""
    found = {n for n, p in FUNCTIONS.items() if p.get("MemorySize") == {"Ref": "ExchangeMemory"}}
    return found - {"SweepDueFunction"} | {"GetConnectionFunction"}


def test_functions_that_talk_to_providers_can_have_an_address_of_their_own() -> None:
    inside = {name for name, properties in FUNCTIONS.items() if "VpcConfig" in properties}
    assert inside == outgoing()
    for name in inside:
        condition, network, otherwise = FUNCTIONS[name]["VpcConfig"]["Fn::If"]
        assert condition == "HasSubnets"
        assert network == {
            "SubnetIds": {"Ref": "SubnetIds"},
            "SecurityGroupIds": {"Ref": "SecurityGroupIds"},
        }
        assert otherwise == {"Ref": "AWS::NoValue"}


def test_no_functions_code_manages_network_interfaces_and_lambda_still_can() -> None:
    # SAM attaches AWSLambdaVPCAccessExecutionRole wherever VpcConfig stands; Lambda needs it for as
    # long as there are interfaces to remove, which is after SubnetIds was emptied.
    denied = RESOURCES["NoNetworkInterfaces"]
    assert "Condition" not in denied
    roles = {each["Ref"].removesuffix("Role") for each in denied["Properties"]["Roles"]}
    assert roles == outgoing()
    (statement,) = denied["Properties"]["PolicyDocument"]["Statement"]
    assert (statement["Effect"], statement["Action"]) == ("Deny", "ec2:*")
    # "Using source function ARN": what Lambda calls for network interfaces lacks the key.
    assert statement["Condition"] == {"Null": {"lambda:SourceFunctionArn": "false"}}


@pytest.fixture(scope="module")
def roles() -> dict[str, Any]:
    """The roles as SAM makes them."""

    class Policies:
        def load(self) -> dict[str, str]:
            names = ("AWSLambdaBasicExecutionRole", "AWSLambdaVPCAccessExecutionRole")
            return {name: f"arn:aws:iam::aws:policy/service-role/{name}" for name in names}

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        code = {name: f"s3://code/{name}.zip" for name in RESOURCES}
        whole = templates.for_emulator(TEMPLATE, code, {})
        made = transform(whole, {}, Policies())["Resources"]
    return {name: each for name, each in made.items() if each["Type"] == "AWS::IAM::Role"}


def test_every_role_has_the_boundary_and_the_path_that_were_asked_for(
    roles: dict[str, Any],
) -> None:
    assert len(roles) == len(FUNCTIONS)
    for role in roles.values():
        assert role["Properties"]["Path"] == {"Ref": "RolePath"}
        boundary = role["Properties"]["PermissionsBoundary"]
        assert boundary["Fn::If"][:2] == ["HasBoundary", {"Ref": "PermissionsBoundaryArn"}]


# ---- lines of the access log -------------------------------------------------------------

# Numbers, names of routes, and words of API Gateway's own: no text of a caller's, no message.
QUOTE_SAFE = {
    "requestId",
    "requestTime",
    "identity.sourceIp",
    "routeKey",
    "status",
    "responseLength",
    "responseLatency",
    "integrationStatus",
    "error.responseType",
}


def test_a_line_of_the_access_log_is_json_whatever_was_asked() -> None:
    settings = RESOURCES["HttpApi"]["Properties"]["AccessLogSettings"]["Fn::If"][1]
    fields = json.loads(settings["Format"])
    assert {value.removeprefix("$context.") for value in fields.values()} <= QUOTE_SAFE


def test_a_plain_browser_client_needs_no_setting_behind_a_front_door() -> None:
    assert websockets_path("wss://keys.example.com", "https://keys.example.com") == "/"
