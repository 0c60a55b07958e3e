"""`make verify-aws`: what is wrong is named; what nobody saw is never called `ok`."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from botocore.exceptions import ClientError

ROOT = Path(__file__).resolve().parents[2]
ERROR = b'{"error": {"code": "not_found", "message": "No such route"}}'


@pytest.fixture
def verify(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    spec = importlib.util.spec_from_file_location("verify_aws", ROOT / "scripts/verify_aws.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "verify_aws", module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def sound(verify, monkeypatch):
    """What AWS answers about a stack that is as it should be; tests break one answer each."""
    tables = {f"{name}TableName": name for name in verify.INDEXES}
    answers = {
        "get_function_configuration": {
            "Runtime": "python3.13",
            "Architectures": ["arm64"],
            "Layers": [{}],
            "LoggingConfig": {"LogGroup": "logs", "LogFormat": "JSON"},
            "Environment": {"Variables": {f"{one}_TABLE": one for one in verify.INDEXES}},
            "Timeout": 50,
            "Role": "arn:role",
        },
        "describe_table": lambda TableName: {  # noqa: N803 - boto3's name
            "Table": {
                "DeletionProtectionEnabled": True,
                "GlobalSecondaryIndexes": [
                    {"IndexName": one, "IndexStatus": "ACTIVE"} for one in verify.INDEXES[TableName]
                ],
            }
        },
        "describe_continuous_backups": {
            "ContinuousBackupsDescription": {
                "PointInTimeRecoveryDescription": {"PointInTimeRecoveryStatus": "ENABLED"}
            }
        },
        "describe_time_to_live": {"TimeToLiveDescription": {"AttributeName": "ttl"}},
        "describe_key": {"KeyMetadata": {"KeyState": "Enabled", "MultiRegion": True}},
        "get_key_rotation_status": {"KeyRotationEnabled": True},
        "get_queue_attributes": {
            "Attributes": {
                "RedrivePolicy": '{"deadLetterTargetArn": "dead"}',
                "VisibilityTimeout": "300",
            }
        },
        "get_event_source_mapping": {
            "State": "Enabled",
            "FunctionResponseTypes": ["ReportBatchItemFailures"],
            "ScalingConfig": {"MaximumConcurrency": 2},
        },
        "describe_rule": {"State": "ENABLED"},
        "describe_alarms": {"MetricAlarms": [{"AlarmName": "A", "StateValue": "OK"}]},
        "describe_log_groups": {"logGroups": [{"logGroupName": "logs", "retentionInDays": 30}]},
        "simulate_principal_policy": {"EvaluationResults": [{"EvalDecision": "implicitDeny"}]},
    }

    def answer(name):
        def call(**asked):
            given = answers[name]
            if isinstance(given, Exception):
                raise given
            return given(**asked) if callable(given) else given

        return call

    class Client:
        def __getattr__(self, name):
            return answer(name)

    api = {"/health": (200, b""), "/ready": (200, b""), "/connections": (204, b"")}
    api["/no/such/route"] = (404, ERROR)
    monkeypatch.setattr(verify, "ask", lambda _url, _method, path: api[path])
    deployed = SimpleNamespace(
        client=lambda _name: Client(),
        stack={"StackStatus": "UPDATE_COMPLETE"},
        outputs={"ApiUrl": "https://x", "LogGroupName": "logs", "VaultKeyArn": "key", **tables},
        chosen={
            "Runtime": "python3.13",
            "LogRetentionDays": "30",
            "RefreshConcurrency": "2",
            "WebhookConcurrency": "2",
        },
        of_type=lambda _kind: ["A"],
        id=lambda logical: logical,
    )
    return SimpleNamespace(deployed=deployed, answers=answers, api=api)


def looked(verify, sound, *, emulated=False):
    found = verify.outcomes(sound.deployed, emulated=emulated)
    return {name: outcome for name, outcome, _ in found}


def test_a_sound_stack_is_ok_in_every_check(verify, sound):
    assert set(looked(verify, sound).values()) == {"ok"}


def test_an_emulator_never_makes_a_check_ok(verify, sound):
    assert set(looked(verify, sound, emulated=True).values()) == {"not shown here"}


@pytest.mark.parametrize(
    ("check", "call", "answer"),
    [
        ("functions", "get_function_configuration", {"Runtime": "python3.11"}),
        ("tables", "describe_table", {"Table": {}}),
        ("tables", "describe_continuous_backups", {"ContinuousBackupsDescription": {}}),
        ("tables", "describe_time_to_live", {"TimeToLiveDescription": {}}),
        ("KMS key", "describe_key", {"KeyMetadata": {"KeyState": "PendingDeletion"}}),
        ("KMS key", "get_key_rotation_status", {"KeyRotationEnabled": False}),
        ("queues", "get_queue_attributes", {"Attributes": {"VisibilityTimeout": "299"}}),
        (
            "queues",
            "get_event_source_mapping",
            {"State": "Disabled", "FunctionResponseTypes": []},
        ),
        ("schedules", "describe_rule", {"State": "DISABLED"}),
        ("alarms", "describe_alarms", {"MetricAlarms": []}),
        (
            "alarms",
            "describe_alarms",
            {"MetricAlarms": [{"AlarmName": "A", "StateValue": "ALARM"}]},
        ),
        ("logs", "describe_log_groups", {"logGroups": [{"logGroupName": "logs"}]}),
        (
            "sessions' roles",
            "simulate_principal_policy",
            {"EvaluationResults": [{"EvalDecision": "allowed"}]},
        ),
    ],
)
def test_what_is_wrong_on_aws_fails_its_check(verify, sound, check, call, answer):
    sound.answers[call] = answer

    assert looked(verify, sound)[check] == "failed"


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/health", (500, b"")),
        ("/ready", (503, b"")),
        ("/no/such/route", (404, b'{"message": "Not Found"}')),
        ("/no/such/route", (404, b"<html>")),
        ("/connections", (403, b"")),
    ],
)
def test_an_api_that_answers_otherwise_fails(verify, sound, path, answer):
    sound.api[path] = answer

    assert looked(verify, sound)["API"] == "failed"


def test_a_stack_whose_update_was_rolled_back_fails(verify, sound):
    sound.deployed.stack["StackStatus"] = "UPDATE_ROLLBACK_COMPLETE"

    assert looked(verify, sound)["stack"] == "failed"


@pytest.mark.parametrize(
    ("code", "outcome"),
    [("AccessDeniedException", "not shown here"), ("NotFoundException", "failed")],
)
def test_what_may_not_be_asked_is_not_shown_and_what_is_gone_fails(verify, sound, code, outcome):
    refusal = ClientError({"Error": {"Code": code, "Message": "no"}}, "DescribeKey")
    sound.answers["describe_key"] = refusal

    assert looked(verify, sound)["KMS key"] == outcome


@pytest.mark.parametrize(("broken", "status"), [(False, 0), (True, 1)])
def test_the_exit_status_tells_whether_a_check_failed(
    verify, sound, monkeypatch, capsys, broken, status
):
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_DYNAMODB"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(verify, "account_of", lambda _name: None)
    monkeypatch.setattr(verify, "Deployed", lambda _name, _account: sound.deployed)
    if broken:
        sound.answers["describe_rule"] = {"State": "DISABLED"}

    assert verify.main("keystow") == status
    assert ("failed" in capsys.readouterr().out) is broken


def test_iam_is_asked_with_the_whole_context_of_a_credential(verify, sound):
    asked = []

    def simulate(**request):
        asked.append({one["ContextKeyName"] for one in request["ContextEntries"]})
        return {"EvaluationResults": [{"EvalDecision": "implicitDeny"}]}

    sound.answers["simulate_principal_policy"] = simulate

    assert looked(verify, sound)["sessions' roles"] == "ok"
    names = {f"kms:EncryptionContext:keystow:{part}" for part in ("purpose", "environment")}
    assert asked == [names, names]


def test_nothing_is_sent_to_an_address_that_an_emulator_made_up(verify, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    opened = []
    monkeypatch.setattr(verify.http.client, "HTTPSConnection", lambda *a, **_: opened.append(a))
    with pytest.raises(OSError, match="nothing was sent"):
        verify.ask("https://abc123.execute-api.us-east-1.amazonaws.com", "GET", "/health")
    assert opened == []
