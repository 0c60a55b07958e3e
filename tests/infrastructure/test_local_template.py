"""The template as the emulator gets it: the same, except for what is named here."""

from __future__ import annotations

from pathlib import Path

from local import template as templates

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = templates.load(ROOT / "template.yaml")
CODE = {name: f"s3://code/{name}.zip" for name in TEMPLATE["Resources"]}


def local() -> dict:
    return templates.for_emulator(TEMPLATE, CODE, {"KEYSTOW_PUBLIC_URL": "http://127.0.0.1:1"})


def test_only_the_http_api_and_what_refers_to_it_is_left_out() -> None:
    missing = set(TEMPLATE["Resources"]) - set(local()["Resources"])
    assert missing == {"HttpApi", "DomainMapping", "ApiErrorsAlarm"}


def test_nothing_refers_to_what_was_left_out() -> None:
    made = local()
    assert "HttpApi" not in set(templates.references(made))


def test_roles_tables_and_queues_are_the_deployed_ones() -> None:
    made = local()["Resources"]
    for name, resource in TEMPLATE["Resources"].items():
        if resource["Type"] in {"AWS::DynamoDB::Table", "AWS::SQS::Queue", "AWS::KMS::Key"}:
            assert made[name] == resource
        if resource["Type"] == templates.FUNCTION:
            assert made[name]["Properties"].get("Policies") == resource["Properties"].get(
                "Policies"
            )


def test_schedules_and_queues_still_start_functions() -> None:
    made = local()["Resources"]
    events = made["SweepDueFunction"]["Properties"]["Events"]
    assert {event["Type"] for event in events.values()} == {"Schedule"}
    assert made["RefreshQueueMapping"]["Properties"]["EventSourceArn"] == {
        "Fn::GetAtt": ["RefreshQueue", "Arn"]
    }


def test_numbers_given_as_parameters_are_numbers() -> None:
    mapping = local()["Resources"]["RefreshQueueMapping"]["Properties"]
    assert mapping["ScalingConfig"] == {"MaximumConcurrency": 2}


def test_numbers_given_as_environment_variables_are_texts() -> None:
    made = local()
    functions = [made["Globals"]["Function"], *templates.functions(made).values()]
    for properties in functions:
        for name, value in properties.get("Environment", {}).get("Variables", {}).items():
            assert isinstance(value, str | dict), name
    variables = made["Globals"]["Function"]["Environment"]["Variables"]
    assert variables["KEYSTOW_ATTEMPTS_PER_SESSION"] == "30"


def test_the_template_itself_is_not_changed() -> None:
    before = templates.load(ROOT / "template.yaml")
    local()
    assert before == TEMPLATE


def test_variables_replace_and_join_those_of_the_template() -> None:
    variables = local()["Globals"]["Function"]["Environment"]["Variables"]
    assert variables["KEYSTOW_PUBLIC_URL"] == "http://127.0.0.1:1"
    assert variables["KEYSTOW_REFRESH_QUEUE_URL"] == {"Ref": "RefreshQueue"}
