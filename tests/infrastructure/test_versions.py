"""SnapStart and provisioned concurrency: what a deployment has with them, and without."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import versions
from samtranslator.translator.transform import transform

from local import template as templates
from tests.infrastructure.rules import rule_lets

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = templates.load(ROOT / "template.yaml")
SNAPSHOTS = {"SnapStart": "Enabled"}
READY = {"ProvisionedConcurrency": "3"}
# Routes of each, as the template has them.
ROUTES = {
    name: {each.key for each in templates.routes(TEMPLATE) if each.function == name}
    for name in versions.FUNCTIONS
}


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """What `make build` leaves, in small: the template and the code that it names."""
    for name in (*versions.FUNCTIONS, versions.LAYER):
        (tmp_path / name / "inner").mkdir(parents=True)
        (tmp_path / name / "inner" / "code.py").write_text(f"# {name}\n")
    whole = templates.load(ROOT / "template.yaml")
    for name, each in whole["Resources"].items():
        for key in {"CodeUri", "ContentUri"} & set(each.get("Properties", {})):
            each["Properties"][key] = name
    (tmp_path / "template.yaml").write_text(json.dumps(whole))
    return tmp_path / "template.yaml"


def translated(template: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The resources that SAM makes of a template."""

    class Policies:
        def load(self) -> dict[str, str]:
            names = ("AWSLambdaBasicExecutionRole", "AWSLambdaVPCAccessExecutionRole")
            return {name: f"arn:aws:iam::aws:policy/service-role/{name}" for name in names}

    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    whole = templates.load(template)
    for each in whole["Resources"].values():
        for key in {"CodeUri", "ContentUri"} & set(each.get("Properties", {})):
            each["Properties"][key] = "s3://code/archive.zip"
    made: dict[str, Any] = transform(whole, {}, Policies())["Resources"]
    return made


def of_type(made: dict[str, Any], kind: str) -> dict[str, Any]:
    return {name: each for name, each in made.items() if each["Type"] == kind}


def integrations(made: dict[str, Any]) -> dict[str, str]:
    """Route → what it leads to."""
    return {
        "$default" if path == "/$default" else f"{method.upper()} {path}": integration["uri"][
            "Fn::Sub"
        ]
        for path, methods in made["HttpApi"]["Properties"]["Body"]["paths"].items()
        for method, each in methods.items()
        if (integration := each["x-amazon-apigateway-integration"])
    }


def test_without_either_the_built_template_is_deployed_as_it_is(built: Path) -> None:
    defaults = {
        name: str(TEMPLATE["Parameters"][name]["Default"]) for name in {**SNAPSHOTS, **READY}
    }
    for parameters in ({}, defaults):
        assert versions.template_for(built, parameters) == built
    assert [each.name for each in built.parent.glob("*.json")] == []


def test_without_either_no_version_is_published(
    built: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = translated(built, monkeypatch)
    assert not of_type(made, "AWS::Lambda::Version")
    assert not of_type(made, "AWS::Lambda::Alias")
    assert "SnapStart" not in json.dumps(made)


@pytest.mark.parametrize("parameters", [SNAPSHOTS, READY])
def test_two_functions_are_called_by_an_alias_of_their_latest_version(
    built: Path, parameters: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = translated(versions.template_for(built, parameters), monkeypatch)
    published = of_type(made, "AWS::Lambda::Version")
    functions = {
        each["Properties"]["FunctionName"]["Ref"]: name for name, each in published.items()
    }
    assert set(functions) == set(versions.FUNCTIONS)
    # A snapshot of a version that nobody calls would cost money for ever.
    assert {each["DeletionPolicy"] for each in published.values()} == {"Delete"}
    aliases = of_type(made, "AWS::Lambda::Alias")
    assert len(aliases) == 2
    for name, version in functions.items():
        alias = aliases[f"{name}Aliaslive"]["Properties"]
        assert alias["FunctionName"] == {"Ref": name}
        assert alias["FunctionVersion"] == {"Fn::GetAtt": [version, "Version"]}


@pytest.mark.parametrize("parameters", [SNAPSHOTS, READY])
def test_routes_and_permissions_of_these_two_go_to_the_alias_and_nothing_else_changes(
    built: Path, parameters: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = translated(built, monkeypatch)
    after = translated(versions.template_for(built, parameters), monkeypatch)
    moved = set()
    called = integrations(before)
    for route, uri in integrations(after).items():
        name = next((each for each, keys in ROUTES.items() if route in keys), "")
        alias = called[route].replace(f"{name}.Arn", f"{name}Aliaslive")
        assert uri == (alias if name else called[route])
        moved |= {route} if uri != called[route] else set()
    assert moved == set().union(*ROUTES.values())

    permissions = of_type(after, "AWS::Lambda::Permission")
    assert set(permissions) == set(of_type(before, "AWS::Lambda::Permission"))
    for name, each in permissions.items():
        was = before[name]["Properties"]
        function = was["FunctionName"]["Ref"]
        alias = {"FunctionName": {"Ref": f"{function}Aliaslive"}}
        wanted = {**was, **alias} if function in versions.FUNCTIONS else was
        assert each["Properties"] == wanted

    for name, each in before.items():
        if each["Type"] not in {"AWS::Lambda::Permission", "AWS::ApiGatewayV2::Api"}:
            kept = json.loads(json.dumps(after[name]))
            if name in versions.FUNCTIONS:
                kept["Properties"].pop("SnapStart", None)
                kept["Properties"]["Description"] = each["Properties"]["Description"]
            assert kept == each, name


def test_snapshots_are_taken_of_these_two_versions(
    built: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = translated(versions.template_for(built, SNAPSHOTS), monkeypatch)
    found = {n for n, e in made.items() if "SnapStart" in e["Properties"]}
    assert found == set(versions.FUNCTIONS)
    for name in found:
        assert made[name]["Properties"]["SnapStart"] == {"ApplyOn": "PublishedVersions"}
    assert "ProvisionedConcurrencyConfig" not in json.dumps(made)


def test_as_many_containers_as_chosen_stand_ready_for_each(
    built: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = translated(versions.template_for(built, READY), monkeypatch)
    for alias in of_type(made, "AWS::Lambda::Alias").values():
        ready = alias["Properties"]["ProvisionedConcurrencyConfig"]
        assert ready == {"ProvisionedConcurrentExecutions": 3}
    assert "SnapStart" not in json.dumps(made)


def published(built: Path, parameters: dict[str, str], patch: pytest.MonkeyPatch) -> set[str]:
    made = translated(versions.template_for(built, parameters), patch)
    return set(of_type(made, "AWS::Lambda::Version"))


@pytest.mark.parametrize("where", [*versions.FUNCTIONS, versions.LAYER])
def test_other_code_publishes_a_version(
    built: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = published(built, SNAPSHOTS, monkeypatch)
    (built.parent / where / "inner" / "code.py").write_text("# changed\n")
    assert not before & published(built, SNAPSHOTS, monkeypatch)


@pytest.mark.parametrize(
    "changed", [{"LogLevel": "DEBUG"}, {"WrapWith": "VaultKey"}, {"KeysTableName": "restored"}]
)
def test_another_parameter_publishes_a_version(
    built: Path, changed: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """SAM itself sees none of these, and would leave the alias at the function of before."""
    before = published(built, SNAPSHOTS, monkeypatch)
    assert not before & published(built, {**SNAPSHOTS, **changed}, monkeypatch)


def test_another_template_publishes_a_version(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = published(built, SNAPSHOTS, monkeypatch)
    whole = templates.load(built)
    whole["Globals"]["Function"]["Timeout"] += 1
    built.write_text(json.dumps(whole))
    assert not before & published(built, SNAPSHOTS, monkeypatch)


def test_a_deployment_that_changes_nothing_publishes_nothing(
    built: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Wherever it was built, and whether defaults are left out or said."""
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "built"
    shutil.copytree(built.parent, elsewhere)
    before = published(built, SNAPSHOTS, monkeypatch)
    every = {name: str(one["Default"]) for name, one in TEMPLATE["Parameters"].items()}
    again = published(elsewhere / built.name, {**every, **SNAPSHOTS}, monkeypatch)
    assert before == again


def test_what_was_not_built_is_not_deployed(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="make build"):
        versions.template_for(tmp_path / "template.yaml", SNAPSHOTS)


def test_a_number_that_is_none_is_refused(built: Path) -> None:
    with pytest.raises(SystemExit, match="ProvisionedConcurrency=many"):
        versions.template_for(built, {"ProvisionedConcurrency": "many"})


# ---- what CloudFormation refuses ---------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "fits"),
    [
        ({}, True),
        (SNAPSHOTS, True),
        ({**SNAPSHOTS, "Runtime": "python3.12"}, True),
        ({**SNAPSHOTS, "Runtime": "python3.11"}, False),
        ({"Runtime": "python3.11"}, True),
        ({**READY, "Runtime": "python3.11"}, True),
        ({**SNAPSHOTS, **READY}, False),
    ],
)
def test_what_lambda_would_refuse_is_refused_before_anything_changes(
    given: dict[str, str], *, fits: bool
) -> None:
    assert rule_lets(TEMPLATE, "SnapStartNeedsRuntime", given) is fits


@pytest.mark.parametrize(("given", "fits"), [({}, True), (SNAPSHOTS, False), (READY, False)])
def test_without_make_deploy_neither_is_taken_for_granted(
    built: Path, given: dict[str, str], *, fits: bool
) -> None:
    assert rule_lets(TEMPLATE, versions.RULE, given) is fits
    if not fits:
        made = templates.load(versions.template_for(built, given))
        assert set(TEMPLATE["Rules"]) - set(made["Rules"]) == {versions.RULE}


def test_the_local_stack_publishes_no_versions() -> None:
    code = {name: f"s3://code/{name}.zip" for name in TEMPLATE["Resources"]}
    made = templates.for_emulator(TEMPLATE, code, {})
    assert "AutoPublishAlias" not in json.dumps(made)
    for name in {**SNAPSHOTS, **READY}:
        assert made["Parameters"][name]["Default"] in {"Disabled", 0}
