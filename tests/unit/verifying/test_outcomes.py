"""`make verify-aws`: what nobody saw is never called `ok`; a refusal stops nothing."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import EndpointConnectionError

from tests.unit.verifying.beforehand import use_provisioned, use_snapshots
from tests.unit.verifying.world import NOW, World, deployed, looked

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.verifying.web import Web


def names() -> list[str]:
    from verify_aws.checks import CHECKS

    return [one.name for one in CHECKS]


def outcomes(world: World, name: str, *, emulated: bool = False) -> set[str]:
    return {one.outcome for one in looked(world, name, emulated=emulated)}


def printed(world: World, capsys: Any, *, emulated: bool = False) -> tuple[int, str]:
    """The exit status of the command, and what it prints."""
    from verify_aws.__main__ import look

    status = look(deployed(world, emulated=emulated))
    return status, capsys.readouterr().out


def plain(_world: World) -> None:
    pass


def hearing(world: World) -> None:
    world.chosen["AlarmTopicArn"] = "arn:aws:sns:us-east-1:111122223333:alarms"
    for one in world.alarms.values():
        one["AlarmActions"] = [world.chosen["AlarmTopicArn"]]


def unprotected(world: World) -> None:
    world.chosen["DeletionProtection"] = "Disabled"
    for one in world.tables.values():
        one["DeletionProtectionEnabled"] = False


def going_back(world: World) -> None:
    world.chosen["KmsKeyArn"] = "arn:aws:kms:us-east-1:111122223333:key/own"
    world.chosen["WrapWith"] = "VaultKey"


def other_tables(world: World) -> None:
    """Tables that are not the stack's, and are named in the functions' environment only."""
    name = "restored-Keys"
    world.tables[name] = {**world.tables["keystow-KeysTable"], "TableName": name}
    world.recovery[name], world.endings[name] = world.recovery["keystow-KeysTable"], {}
    for one in world.functions.values():
        one["Environment"]["Variables"]["KEYSTOW_KEYS_TABLE"] = name
    for gone in (world.tables, world.recovery, world.endings):
        del gone["keystow-KeysTable"]


def open_beside_the_domain(world: World) -> None:
    world.use_domain()
    world.chosen["DefaultEndpoint"] = "Enabled"
    world.api["DisableExecuteApiEndpoint"] = False


@pytest.mark.parametrize(
    "change",
    [
        plain,
        hearing,
        unprotected,
        going_back,
        other_tables,
        open_beside_the_domain,
        World.use_own_key,
        World.use_subnets,
        World.use_domain,
        World.use_door,
        World.use_boundary,
        World.use_key_for_queues,
        use_snapshots,
        use_provisioned,
    ],
)
def test_a_stack_as_it_should_be_is_ok_in_every_check(
    world: World, web: Web, change: Callable[[World], Any], capsys: Any
) -> None:
    change(world)
    web.door_moves = 1
    wrong = {
        name: [one.text for one in looked(world, name) if one.outcome not in {"ok", "not used"}]
        for name in names()
    }
    assert {name: texts for name, texts in wrong.items() if texts} == {}
    assert printed(world, capsys)[0] == 0


def test_a_check_of_what_was_not_chosen_says_so(world: World, web: Web) -> None:
    for name in ("domain", "front door", "network", "versions"):
        assert "not used" in outcomes(world, name)


def test_an_emulator_makes_nothing_ok(world: World, web: Web, capsys: Any) -> None:
    found = {name: outcomes(world, name, emulated=True) for name in names()}
    assert set().union(*found.values()) <= {"emulated", "not shown", "not used"}
    assert found["KMS key"] == {"emulated"}
    assert found["purposes"] == {"not shown"}
    assert found["schedules"] == {"emulated", "not shown"}
    status, table = printed(world, capsys, emulated=True)
    assert status == 0
    assert "no word about AWS" in table


def test_what_is_wrong_on_an_emulator_fails_there_too(world: World, web: Web, capsys: Any) -> None:
    world.functions["GetConnectionFunction"]["Runtime"] = "python3.8"
    assert "failed" in outcomes(world, "functions", emulated=True)
    assert printed(world, capsys, emulated=True)[0] == 1


def test_what_an_emulator_cannot_show_never_fails_there(world: World, web: Web) -> None:
    world.counts["Invocations"] = 0.0
    world.recovery["keystow-KeysTable"] = {}
    world.policies["GetConnectionFunction"] = []
    for name in ("schedules", "tables", "KMS rights"):
        assert "failed" not in outcomes(world, name, emulated=True)
        assert "failed" in outcomes(world, name)


@pytest.mark.parametrize("code", ["NotImplemented", "UnknownOperationException", "InvalidAction"])
def test_what_an_emulator_does_not_know_is_marked(world: World, web: Web, code: str) -> None:
    world.refuse("DescribeKey", code)
    assert outcomes(world, "KMS key", emulated=True) == {"not shown"}


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("AccessDenied", 403),
        ("AccessDeniedException", 400),
        ("AuthorizationError", 403),
        ("UnauthorizedOperation", 403),
        ("ExpiredTokenException", 400),
        ("ThrottlingException", 400),
        ("TooManyRequestsException", 429),
        ("InternalFailure", 500),
    ],
)
def test_a_refusal_is_not_seen_and_the_others_go_on(
    world: World, web: Web, capsys: Any, code: str, status: int
) -> None:
    world.refuse("DescribeKey", code, status)
    (finding,) = looked(world, "KMS key")
    assert finding.outcome == "not seen"
    assert finding.text.startswith("could not look: ")
    assert code in finding.text
    ended, table = printed(world, capsys)
    assert ended == 2
    assert "could not look" in table
    assert "refusals" in table


def test_what_was_seen_before_a_refusal_counts(world: World, web: Web) -> None:
    world.keys[world.outputs["VaultKeyArn"]]["KeyState"] = "Disabled"
    world.refuse("GetKeyPolicy")
    assert outcomes(world, "KMS key") == {"failed", "not seen", "ok"}


def test_what_is_gone_fails(world: World, web: Web) -> None:
    world.refuse("DescribeKey", "NotFoundException")
    assert outcomes(world, "KMS key") == {"failed"}


def test_no_way_to_aws_is_not_seen(world: World, web: Web) -> None:
    world.refused["DescribeKey"] = EndpointConnectionError(endpoint_url="https://kms")  # type: ignore[assignment]
    assert outcomes(world, "KMS key") == {"not seen"}


def test_a_stack_without_a_resource_fails_its_check(world: World, web: Web) -> None:
    world.resources = [
        one for one in world.resources if one["LogicalResourceId"] != "RefreshQueueMapping"
    ]
    failed = [one.text for one in looked(world, "queues") if one.outcome == "failed"]
    assert failed == ["an answer lacks 'RefreshQueueMapping'"]


def test_a_resource_that_could_not_be_made_is_not_there(world: World, web: Web) -> None:
    world.resources += [
        {**World.resource("Old", "AWS::Lambda::Function"), "ResourceStatus": "DELETE_COMPLETE"},
        {**World.resource("New", "AWS::Lambda::Function"), "PhysicalResourceId": ""},
    ]
    del world.resources[-1]["PhysicalResourceId"]
    assert outcomes(world, "functions") == {"ok"}


def test_an_answer_of_another_shape_fails_without_its_text(world: World, web: Web) -> None:
    world.queues["keystow-RefreshQueue"]["VisibilityTimeout"] = "the secret"
    (failed,) = [one.text for one in looked(world, "queues") if one.outcome == "failed"]
    assert "secret" not in failed


def test_a_simulator_that_leaves_out_a_decision_shows_nothing(world: World, web: Web) -> None:
    sound = world.on_SimulatePrincipalPolicy

    def fewer(asked: Any) -> Any:
        answer = sound(asked)
        return {"EvaluationResults": answer["EvaluationResults"][:-1]}

    world.on_SimulatePrincipalPolicy = fewer  # type: ignore[method-assign]
    for name in ("KMS rights", "purposes", "writers of keys"):
        assert "failed" in outcomes(world, name)


@pytest.mark.parametrize("name", ["KMS rights", "purposes", "writers of keys"])
@pytest.mark.parametrize("decision", ["implicitDeny", "explicitDeny", "allowed"])
def test_a_simulator_that_answers_always_the_same_shows_nothing(
    world: World, web: Web, name: str, decision: str
) -> None:
    world.decision = lambda *_: decision  # type: ignore[method-assign]
    assert "failed" in outcomes(world, name)


def test_iam_is_asked_with_lists_of_rows_and_the_whole_context(world: World, web: Web) -> None:
    looked(world, "writers of keys")
    looked(world, "purposes")
    kinds = {
        (one["ContextKeyName"], one["ContextKeyType"])
        for asked in world.simulated
        for one in asked["ContextEntries"]
    }
    assert kinds == {
        ("dynamodb:LeadingKeys", "stringList"),
        ("kms:EncryptionContext:keystow:purpose", "string"),
        ("kms:EncryptionContext:keystow:environment", "string"),
    }


def test_a_young_stack_need_not_have_run_its_rules(world: World, web: Web, capsys: Any) -> None:
    world.stack["LastUpdatedTime"] = NOW - dt.timedelta(minutes=5)
    world.counts["Invocations"] = 0.0
    assert outcomes(world, "schedules") == {"ok", "not yet"}
    assert printed(world, capsys)[0] == 0
    world.counts["Invocations"] = 5.0
    assert outcomes(world, "schedules") == {"ok"}


def test_a_table_that_ended_no_row_yet_shows_nothing(world: World, web: Web) -> None:
    world.counts["TimeToLiveDeletedItemCount"] = 0.0
    assert outcomes(world, "rows that end") == {"not yet"}


@pytest.mark.parametrize("level", ["WARN", "ERROR"])
def test_a_line_that_is_not_written_is_not_missed(world: World, web: Web, level: str) -> None:
    world.chosen["LogLevel"] = level
    world.line = None
    assert outcomes(world, "log line") == {"ok", "not yet"}


def test_a_line_may_come_late(world: World, web: Web) -> None:
    world.late = 3
    assert outcomes(world, "log line") == {"ok"}
    assert len(world.waited) == 3


def test_a_log_too_long_to_search_is_not_called_clean(world: World, web: Web) -> None:
    world.log_pages = 39
    assert outcomes(world, "refusals") == {"ok"}
    world.log_pages = 41
    assert "not seen" in outcomes(world, "refusals")


def test_a_template_that_is_no_json_is_not_seen(world: World, web: Web) -> None:
    world.template = "Resources: {}"
    assert outcomes(world, "stack's end") == {"not seen"}
    world.template = json.dumps({"Resources": {"T": {"Type": "AWS::KMS::Key"}}})
    assert "failed" in outcomes(world, "stack's end")


def test_an_address_that_no_emulator_serves_is_marked(world: World, web: Web) -> None:
    from verify_aws.findings import NotServed

    web.broken["health"] = {"raises": NotServed("nothing was sent")}
    assert outcomes(world, "API", emulated=True) == {"not shown"}


def test_nothing_that_was_sent_or_answered_is_printed(world: World, web: Web, capsys: Any) -> None:
    secret = "s3cr3t-of-somebody"
    for name in ("health", "ready", "no", "read", "cors", "host", "large", "invalid key"):
        web.broken[name] = {"status": 418, "body": secret.encode()}
    web.frame = {"message_type": secret}
    world.found = {"keystow_": secret, "AccessDenied": secret, "START": secret, '"verify': secret}
    world.line = {**world.line, "message": secret, "level": secret, "timestamp": secret}
    world.functions["GetConnectionFunction"]["Environment"]["Variables"]["KEYSTOW_KMS_KEY_ID"] = (
        secret
    )
    world.queues["keystow-RefreshQueue"]["RedrivePolicy"] = secret
    status, table = printed(world, capsys)
    assert status == 1
    assert secret not in table
    keys = [sent[3]["Authorization"] for sent in web.sent if "Authorization" in sent[3]]
    assert keys
    assert not any(key.removeprefix("Bearer ") in table for key in keys)


@pytest.mark.parametrize("emulated", [False, True])
def test_the_table_fits_80_columns_and_names_every_check(
    world: World, web: Web, capsys: Any, emulated: bool
) -> None:
    world.policies["GetConnectionFunction"] = []
    world.refuse("DescribeTable")
    world.use_subnets()
    world.alarms.clear()
    _, table = printed(world, capsys, emulated=emulated)
    lines = table.splitlines()
    assert max(map(len, lines)) <= 80
    for name in names():
        (line,) = [each for each in lines if each.startswith(f"{name:<16}")]
        assert line[16:27].strip()
    assert sum("is missing" in each for each in lines) == 12
    assert "and 5 more" in table
    assert f"{len(names())}" == str(sum(int(each.split()[0]) for each in lines[-1].split(", ")))


def test_control_characters_do_not_reach_the_terminal(world: World, web: Web, capsys: Any) -> None:
    web.broken["own"] = {"headers": {"access-control-allow-origin": "\x1b[2Jx\r\n"}}
    world.stack["StackStatus"] = "UPDATE\x1b[2J_FAILED"
    _, table = printed(world, capsys)
    assert "\x1b" not in table
    assert "\r" not in table


@pytest.mark.parametrize(("broken", "status"), [(False, 0), (True, 1)])
def test_the_exit_status_tells_whether_a_check_failed(
    world: World, web: Web, capsys: Any, monkeypatch: Any, broken: bool, status: int
) -> None:
    from verify_aws import __main__

    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_DYNAMODB"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(__main__, "account_of", lambda _name: world)
    monkeypatch.setattr(__main__, "Deployed", lambda _name, account: deployed(account))
    world.rotates = not broken
    assert __main__.main("keystow") == status
    assert ("failed" in capsys.readouterr().out) is broken


def test_a_stack_that_is_not_there_is_said_in_words(
    world: World, capsys: Any, monkeypatch: Any
) -> None:
    from verify_aws import __main__

    monkeypatch.setattr(__main__, "account_of", lambda _name: world)
    world.refuse("DescribeStacks", "ValidationError")
    assert __main__.main("keystow") == 1
    assert "Nothing was looked at" in capsys.readouterr().err


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_KMS", None])
def test_an_emulator_is_known_by_its_variable(
    world: World, monkeypatch: Any, variable: str | None
) -> None:
    from verify_aws.stack import Deployed

    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_KMS"):
        monkeypatch.delenv(name, raising=False)
    if variable:
        monkeypatch.setenv(variable, "http://127.0.0.1:1")
    assert Deployed("keystow", world).emulated is (variable is not None)


def test_the_real_clock_is_that_of_utc(world: World) -> None:
    from verify_aws.stack import Deployed

    found = Deployed("keystow", world)
    assert abs(found.now() - dt.datetime.now(dt.UTC)) < dt.timedelta(minutes=1)
    found.wait(0)
