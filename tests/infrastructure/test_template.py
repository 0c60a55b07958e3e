"""What must hold for template.yaml, whatever is added to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from keystow.refresh import lease
from keystow.store import tables
from local import template as templates

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = templates.load(ROOT / "template.yaml")
RESOURCES = TEMPLATE["Resources"]
FUNCTIONS = templates.functions(TEMPLATE)
GLOBALS = TEMPLATE["Globals"]["Function"]
# IAM knows no narrower form: ids of WebSocket connections are known only when they are made.
WILDCARDS_OF_AWS = ("/POST/@connections/*",)

# Rules as SAM names them.
SCHEDULES = {
    f"{name}{event}"
    for name, properties in FUNCTIONS.items()
    for event, each in (properties.get("Events") or {}).items()
    if each["Type"] == "Schedule"
}


def of_type(kind: str) -> dict[str, dict]:
    return {name: r for name, r in RESOURCES.items() if r["Type"] == kind}


def statements(properties: dict) -> list[dict]:
    return [s for policy in properties.get("Policies", []) for s in policy["Statement"]]


def as_list(value: object) -> list:
    return value if isinstance(value, list) else [value]


def dead_letter_queues() -> dict[str, str]:
    """Queue -> its dead-letter queue."""
    return {
        name: queue["Properties"]["RedrivePolicy"]["deadLetterTargetArn"]["Fn::GetAtt"][0]
        for name, queue in of_type("AWS::SQS::Queue").items()
        if "RedrivePolicy" in queue["Properties"]
    }


@pytest.mark.parametrize("name", [*of_type("AWS::DynamoDB::Table"), "VaultKey"])
def test_what_holds_data_outlives_the_stack(name: str) -> None:
    # What a creation made that failed holds nothing, and would cost money under no name.
    assert RESOURCES[name]["DeletionPolicy"] == "RetainExceptOnCreate"
    assert RESOURCES[name]["UpdateReplacePolicy"] == "Retain"


@pytest.mark.parametrize("name", of_type("AWS::DynamoDB::Table"))
def test_a_table_is_on_demand_and_can_be_restored_to_any_second(name: str) -> None:
    properties = RESOURCES[name]["Properties"]
    assert properties["BillingMode"] == "PAY_PER_REQUEST"
    restore = properties["PointInTimeRecoverySpecification"]
    assert restore == {"PointInTimeRecoveryEnabled": True}
    assert "TableName" not in properties, "a fixed name forbids a second stack and a replacement"


@pytest.mark.parametrize("name", tables.TABLES)
def test_a_table_is_what_the_code_expects(name: str) -> None:
    wanted = tables.TABLES[name]
    properties = RESOURCES[f"{name.capitalize()}Table"]["Properties"]
    types = {a["AttributeName"]: a["AttributeType"] for a in properties["AttributeDefinitions"]}
    assert [key["AttributeName"] for key in properties["KeySchema"]] == ["pk", "sk"]
    assert properties.get("TimeToLiveSpecification") == (
        {"AttributeName": "ttl", "Enabled": True} if wanted.expires else None
    )
    found = {}
    for index in properties.get("GlobalSecondaryIndexes", []):
        hash_key, range_key = (key["AttributeName"] for key in index["KeySchema"])
        kind = index["Projection"]["ProjectionType"]
        projection = {"ALL": None, "KEYS_ONLY": ()}.get(
            kind, tuple(index["Projection"].get("NonKeyAttributes", ()))
        )
        found[index["IndexName"]] = tables.Index(hash_key, range_key, types[range_key], projection)
    assert found == wanted.indexes


def test_the_vault_key_rotates() -> None:
    assert RESOURCES["VaultKey"]["Properties"]["EnableKeyRotation"] is True


def test_every_function_folder_has_a_function_and_the_other_way_round() -> None:
    folders = {f"functions/{p.parent.name}" for p in (ROOT / "functions").glob("*/app.py")}
    assert folders == {properties["CodeUri"] for properties in FUNCTIONS.values()}


def test_a_function_is_named_like_its_folder() -> None:
    for name, properties in FUNCTIONS.items():
        words = properties["CodeUri"].removeprefix("functions/").split("_")
        assert name == "".join(word.capitalize() for word in words) + "Function"


def test_every_route_is_there_once() -> None:
    keys = [route.key for route in templates.routes(TEMPLATE)]
    assert len(keys) == len(set(keys))
    assert "$default" in keys
    shapes = [
        "/".join("{}" if part.startswith("{") else part for part in key.split("/")) for key in keys
    ]
    assert len(shapes) == len(set(shapes)), "two routes differ by the name of a variable only"


def test_a_handler_answers_the_routes_that_the_template_sends_it() -> None:
    for route in templates.routes(TEMPLATE):
        source = (ROOT / FUNCTIONS[route.function]["CodeUri"] / "app.py").read_text()
        assert f'"{route.key}"' in source, f"{route.function} does not know {route.key}"


def test_nobody_reserves_concurrency_or_has_it_provisioned_unasked() -> None:
    text = (ROOT / "template.yaml").read_text()
    assert "ReservedConcurrentExecutions" not in text
    assert "ProvisionedConcurrencyConfig" not in text
    assert TEMPLATE["Parameters"]["ProvisionedConcurrency"]["Default"] == 0
    assert TEMPLATE["Parameters"]["SnapStart"]["Default"] == "Disabled"


def test_the_loopback_setting_is_for_the_local_stack_only() -> None:
    assert "LOOPBACK" not in (ROOT / "template.yaml").read_text().upper()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_role_names_what_it_may_do_and_to_what(name: str) -> None:
    for statement in statements(FUNCTIONS[name]):
        assert statement["Effect"] == "Allow"
        for action in as_list(statement["Action"]):
            assert "*" not in action
        for resource in as_list(statement["Resource"]):
            text = resource if isinstance(resource, str) else str(next(iter(resource.values())))
            assert "*" not in text or text.endswith(WILDCARDS_OF_AWS)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_role_of_its_own_and_no_managed_policy(name: str) -> None:
    assert "Role" not in FUNCTIONS[name]
    for policy in FUNCTIONS[name].get("Policies", []):
        assert isinstance(policy, dict)
        assert "Statement" in policy


@pytest.mark.parametrize("name", FUNCTIONS)
def test_nobody_scans_a_table(name: str) -> None:
    actions = [a for s in statements(FUNCTIONS[name]) for a in as_list(s["Action"])]
    assert "dynamodb:Scan" not in actions


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_vault_key_is_used_for_named_purposes_of_a_named_environment(name: str) -> None:
    for statement in statements(FUNCTIONS[name]):
        if not any(action.startswith("kms:") for action in as_list(statement["Action"])):
            continue
        condition = statement["Condition"]
        assert condition["StringEquals"]["kms:EncryptionContext:keystow:purpose"]
        assert condition["Null"] == {"kms:EncryptionContext:keystow:environment": "false"}


@pytest.mark.parametrize(
    "name",
    [
        "ReadSessionFunction",
        "ListConnectionsFunction",
        "ListProvidersFunction",
        "ConnectUiFunction",
        "AnswerDefaultFunction",
        "BrowserSocketFunction",
        "SweepDueFunction",
    ],
)
def test_who_handles_no_secret_has_no_key(name: str) -> None:
    assert "kms:" not in str(statements(FUNCTIONS[name]))


def test_who_opens_a_session_may_seal_the_login_of_a_webhook_and_nothing_else() -> None:
    keys = [each for each in statements(FUNCTIONS["CreateSessionFunction"]) if "kms:" in str(each)]
    (key,) = keys
    named = key["Condition"]["StringEquals"]["kms:EncryptionContext:keystow:purpose"]
    assert named == ["webhook"]


def test_the_connect_ui_may_do_nothing() -> None:
    assert statements(FUNCTIONS["ConnectUiFunction"]) == []


def test_no_route_leads_to_the_first_keys() -> None:
    assert "Events" not in FUNCTIONS["BootstrapKeysFunction"]


@pytest.mark.parametrize("name", of_type("AWS::Lambda::EventSourceMapping"))
def test_a_message_stays_hidden_six_times_as_long_as_its_function_may_run(name: str) -> None:
    mapping = RESOURCES[name]["Properties"]
    function = FUNCTIONS[mapping["FunctionName"]["Ref"]]
    queue = RESOURCES[mapping["EventSourceArn"]["Fn::GetAtt"][0]]["Properties"]
    assert queue["VisibilityTimeout"] >= 6 * function.get("Timeout", GLOBALS["Timeout"])
    assert queue["RedrivePolicy"]["maxReceiveCount"] >= 5
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert "MaximumConcurrency" in mapping["ScalingConfig"]


def test_every_queue_with_dead_letters_feeds_a_function() -> None:
    fed = {
        mapping["Properties"]["EventSourceArn"]["Fn::GetAtt"][0]
        for mapping in of_type("AWS::Lambda::EventSourceMapping").values()
    }
    assert fed == set(dead_letter_queues())


def test_sam_gives_no_role_more_than_stands_here() -> None:
    # An event of these kinds brings a policy of AWS's on every queue, table or stream.
    for name, properties in FUNCTIONS.items():
        kinds = {event["Type"] for event in (properties.get("Events") or {}).values()}
        assert kinds <= {"HttpApi", "Schedule"}, name


def test_workers_leave_most_of_a_new_accounts_ten_functions_to_reads() -> None:
    workers = ("RefreshConcurrency", "WebhookConcurrency")
    assert sum(TEMPLATE["Parameters"][name]["Default"] for name in workers) <= 4


def test_what_goes_back_into_its_own_queue_may_do_so_as_often_as_it_takes() -> None:
    """A credential that no table takes, a webhook to a slow receiver: Lambda stops loops at 16."""
    own = set()
    for mapping in of_type("AWS::Lambda::EventSourceMapping").values():
        queue = mapping["Properties"]["EventSourceArn"]
        function = mapping["Properties"]["FunctionName"]["Ref"]
        own |= {
            function
            for each in statements(FUNCTIONS[function])
            if "sqs:SendMessage" in as_list(each["Action"]) and each["Resource"] == queue
        }
    assert own == {"RefreshTokensFunction", "SendWebhookFunction"}
    assert {FUNCTIONS[name].get("RecursiveLoop") for name in own} == {"Allow"}


def test_a_schedule_that_stands_still_is_noticed_by_the_rules_own_metric() -> None:
    silent = {
        alarm["Properties"]["Dimensions"][0]["Value"]["Ref"]
        for alarm in of_type("AWS::CloudWatch::Alarm").values()
        if alarm["Properties"]["TreatMissingData"] == "breaching"
        and alarm["Properties"]["Namespace"] == "AWS/Events"
    }
    assert silent == SCHEDULES


def test_lambdas_filter_lets_metrics_through_whatever_the_log_level_is() -> None:
    # It takes a line without a level for INFO; see keystow.log.
    level = GLOBALS["LoggingConfig"]["ApplicationLogLevel"]
    assert level == {"Fn::If": ["LogsDebug", "DEBUG", "INFO"]}
    assert GLOBALS["Environment"]["Variables"]["KEYSTOW_LOG_LEVEL"] == {"Ref": "LogLevel"}
    # Those that both Lambda and Python know.
    levels = TEMPLATE["Parameters"]["LogLevel"]["AllowedValues"]
    assert levels == ["DEBUG", "INFO", "WARN", "ERROR"]


def test_an_api_function_ends_before_api_gateway_gives_up() -> None:
    # These may hold a token that only they have: they go on to store it, within the lease.
    storing = {"GetConnectionFunction", "OauthCallbackFunction", "ProxyRequestFunction"}
    for name in {route.function for route in templates.routes(TEMPLATE)}:
        timeout = FUNCTIONS[name].get("Timeout", GLOBALS["Timeout"])
        assert timeout <= (50 if name in storing else 29), name


def test_no_function_outlives_the_lease_of_a_refresh() -> None:
    for name, properties in FUNCTIONS.items():
        assert properties.get("Timeout", GLOBALS["Timeout"]) * 1000 < lease.LEASE_MS, name


def test_a_refresh_worker_ends_before_its_lease_and_after_one_exchange() -> None:
    assert 20 < FUNCTIONS["RefreshTokensFunction"]["Timeout"] < 60


@pytest.mark.parametrize("name", of_type("AWS::SQS::Queue"))
def test_a_queue_is_encrypted(name: str) -> None:
    assert RESOURCES[name]["Properties"]["SqsManagedSseEnabled"] is True


def test_every_dead_letter_queue_has_an_alarm_and_keeps_messages_as_long_as_possible() -> None:
    watched = {
        dimension["Value"]["Fn::GetAtt"][0]
        for alarm in of_type("AWS::CloudWatch::Alarm").values()
        if alarm["Properties"].get("MetricName") == "ApproximateNumberOfMessagesVisible"
        for dimension in alarm["Properties"]["Dimensions"]
    }
    letters = set(dead_letter_queues().values())
    assert letters
    assert letters <= watched
    for name in letters:
        assert RESOURCES[name]["Properties"]["MessageRetentionPeriod"] == 14 * 24 * 3600


def test_every_queue_that_feeds_a_function_has_an_alarm_on_age() -> None:
    watched = {
        dimension["Value"]["Fn::GetAtt"][0]
        for alarm in of_type("AWS::CloudWatch::Alarm").values()
        if alarm["Properties"].get("MetricName") == "ApproximateAgeOfOldestMessage"
        for dimension in alarm["Properties"]["Dimensions"]
    }
    assert watched == set(dead_letter_queues())


def test_alarms_reach_the_topic_when_there_is_one() -> None:
    for alarm in of_type("AWS::CloudWatch::Alarm").values():
        if alarm.get("Condition") == "HasAlarmTopic":
            assert alarm["Properties"]["AlarmActions"] == [{"Ref": "AlarmTopicArn"}]
            continue
        condition, actions, nothing = alarm["Properties"]["AlarmActions"]["Fn::If"]
        assert condition == "HasAlarmTopic"
        assert actions == [{"Ref": "AlarmTopicArn"}]
        assert nothing == {"Ref": "AWS::NoValue"}


@pytest.mark.parametrize("name", of_type("AWS::Logs::LogGroup"))
def test_logs_are_kept_for_a_chosen_time(name: str) -> None:
    assert RESOURCES[name]["Properties"]["RetentionInDays"] == {"Ref": "LogRetentionDays"}


def test_functions_log_where_retention_is_set() -> None:
    assert GLOBALS["LoggingConfig"]["LogGroup"] == {"Ref": "FunctionLogs"}
    assert all("LoggingConfig" not in properties for properties in FUNCTIONS.values())


def test_only_what_somebody_asks_for_is_logged_twice() -> None:
    assert TEMPLATE["Parameters"]["AccessLog"]["Default"] == "Disabled"
    assert RESOURCES["AccessLogs"]["Condition"] == "HasAccessLog"


def test_the_access_log_holds_neither_path_nor_query_nor_headers() -> None:
    settings = RESOURCES["HttpApi"]["Properties"]["AccessLogSettings"]["Fn::If"][1]
    for variable in ("$context.path", "querystring", "header", "$context.authorizer"):
        assert variable not in settings["Format"]


def test_the_api_is_throttled() -> None:
    limits = RESOURCES["HttpApi"]["Properties"]["DefaultRouteSettings"]
    assert set(limits) == {"ThrottlingRateLimit", "ThrottlingBurstLimit"}


@pytest.mark.parametrize("name", ["ThrottleRate", "ThrottleBurst"])
def test_no_throttle_lets_nobody_through(name: str) -> None:
    assert TEMPLATE["Parameters"][name]["MinValue"] == 1


def test_the_longest_name_of_a_stack_leaves_room_for_what_is_named_after_it() -> None:
    named = {
        text["Fn::Sub"].replace("${AWS::StackName}", "x" * 120)
        for each in RESOURCES.values()
        if isinstance(text := each.get("Properties", {}).get("Name"), dict) and "Fn::Sub" in text
    }
    assert "x" * 120 + "-browser" in named
    # API Gateway takes 128 characters; a parameter of SSM's more than any of these has.
    assert all(len(name) <= 128 for name in named if not name.startswith("/"))


def test_the_api_answers_cors_and_keys_in_the_functions_alone() -> None:
    properties = RESOURCES["HttpApi"]["Properties"]
    assert "CorsConfiguration" not in properties
    assert "Auth" not in properties


def test_every_parameter_is_used_and_has_a_default() -> None:
    rest = {key: value for key, value in TEMPLATE.items() if key != "Parameters"}
    used = set(templates.references(rest))
    assert set(TEMPLATE["Parameters"]) <= used
    assert all("Default" in parameter for parameter in TEMPLATE["Parameters"].values())


def test_every_reference_leads_somewhere() -> None:
    known = {
        *RESOURCES,
        *SCHEDULES,
        *TEMPLATE["Parameters"],
        *(f"{name}Role" for name in FUNCTIONS),
    }
    found = set(templates.references({key: TEMPLATE[key] for key in ("Globals", "Resources")}))
    assert {name for name in found if not name.startswith("AWS::")} <= known


def test_outputs_tell_what_a_deployer_needs_next() -> None:
    wanted = {"ApiUrl", "WebSocketUrl", "ConnectUiUrl", "BootstrapFunctionName"}
    assert wanted <= set(TEMPLATE["Outputs"])


def test_everything_with_code_is_built_with_bytecode_by_plain_sam_build() -> None:
    built = {**of_type("AWS::Serverless::Function"), **of_type("AWS::Serverless::LayerVersion")}
    assert len(built) == len(FUNCTIONS) + 1
    for resource in built.values():
        assert resource["Metadata"] == {"BuildMethod": "makefile", "ContextPath": "scripts"}


def test_plain_sam_build_compiles_for_the_runtime_and_the_machine_of_the_template() -> None:
    makefile = (ROOT / "scripts" / "Makefile").read_text(encoding="utf-8")
    assert f"RUNTIME ?= {TEMPLATE['Parameters']['Runtime']['Default']}\n" in makefile
    assert GLOBALS["Architectures"] == ["arm64"]
    assert "MACHINE := aarch64\n" in makefile
