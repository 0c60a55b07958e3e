"""`make restore`: tables of one moment beside those in use, whole; nothing erased comes back."""

from __future__ import annotations

import copy
import importlib.util
import re
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from moto import mock_aws
from moto.core import DEFAULT_ACCOUNT_ID
from moto.dynamodb.models import dynamodb_backends

from keystow.store import tables
from local import template as templates

ROOT = Path(__file__).resolve().parents[2]
RESOURCES = templates.load(ROOT / "template.yaml")["Resources"]
SOURCES = {name: f"keystow-{name}Table-1A2B" for name in ("Connections", "Registry", "Keys")}
NOW = datetime.now(UTC).replace(microsecond=0)
MOMENT = NOW.isoformat()


@pytest.fixture
def dynamodb(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    with mock_aws():
        client = boto3.client("dynamodb", region_name="us-east-1")
        for table in SOURCES.values():
            make(client, table)
        yield client


def make(client: Any, table: str) -> None:
    """Make a table as CloudFormation would."""
    wanted = RESOURCES[table.split("-")[1]]["Properties"]
    kept = ("BillingMode", "AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes")
    client.create_table(
        TableName=table,
        DeletionProtectionEnabled=True,
        Tags=[{"Key": "team", "Value": "keys"}],
        **{name: wanted[name] for name in kept if name in wanted},
    )
    client.update_continuous_backups(
        TableName=table, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
    )
    if "TimeToLiveSpecification" in wanted:
        client.update_time_to_live(
            TableName=table, TimeToLiveSpecification=wanted["TimeToLiveSpecification"]
        )


@pytest.fixture
def restore(dynamodb, monkeypatch):
    """The command, with a stack whose backups reach from yesterday to now."""
    monkeypatch.syspath_prepend(ROOT / "scripts")
    for name in ("deploy", "deployed", "guard", "named_tables"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    spec = importlib.util.spec_from_file_location("restore", ROOT / "scripts/restore.py")
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "Stack", lambda _name: stack_of(dynamodb))
    apart(dynamodb, monkeypatch)
    really = dynamodb.describe_continuous_backups

    def window(**asked):
        answer = really(**asked)
        found = answer["ContinuousBackupsDescription"]["PointInTimeRecoveryDescription"]
        found["EarliestRestorableDateTime"] = NOW - timedelta(days=1)
        found["LatestRestorableDateTime"] = NOW
        return answer

    monkeypatch.setattr(dynamodb, "describe_continuous_backups", window)
    return module


def apart(client: Any, monkeypatch: Any) -> None:
    """Let a restored table have rows of its own; moto's shares them with the one in use."""
    really = client.restore_table_to_point_in_time

    def restored(**how):
        answer = really(**how)
        made = dynamodb_backends[DEFAULT_ACCOUNT_ID]["us-east-1"].tables[how["TargetTableName"]]
        made.items = copy.deepcopy(made.items)
        return answer

    monkeypatch.setattr(client, "restore_table_to_point_in_time", restored)


def stack_of(client: Any) -> Any:
    outputs = {f"{name}TableName": table for name, table in SOURCES.items()}
    return SimpleNamespace(
        output=outputs.__getitem__, account=SimpleNamespace(client=lambda _name: client)
    )


def target(restore: Any, name: str) -> str:
    return str(restore.target_of(SOURCES[name], NOW))


def put(client: Any, table: str, pk: str, sk: str) -> None:
    client.put_item(TableName=table, Item={"pk": {"S": pk}, "sk": {"S": sk}})


def rows(client: Any, table: str) -> set[tuple[str, str]]:
    return {(row["pk"]["S"], row["sk"]["S"]) for row in client.scan(TableName=table)["Items"]}


def settings(client: Any, table: str) -> Any:
    described = client.describe_table(TableName=table)["Table"]
    backups = client.describe_continuous_backups(TableName=table)["ContinuousBackupsDescription"]
    return (
        described["DeletionProtectionEnabled"],
        backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"],
        client.describe_time_to_live(TableName=table)["TimeToLiveDescription"],
        client.list_tags_of_resource(ResourceArn=described["TableArn"])["Tags"],
    )


@pytest.mark.parametrize("name", SOURCES)
def test_a_restored_table_has_its_rows_and_the_settings_that_a_restore_loses(
    restore, dynamodb, name
):
    put(dynamodb, SOURCES[name], "e1", "settings")
    assert restore.main(["keystow", MOMENT, "--yes"]) == 0
    assert rows(dynamodb, target(restore, name)) == {("e1", "settings")}
    assert settings(dynamodb, target(restore, name)) == settings(dynamodb, SOURCES[name])
    assert settings(dynamodb, target(restore, name))[:2] == (True, "ENABLED")


def test_every_table_is_restored_to_the_same_moment(restore, dynamodb, monkeypatch):
    asked = []
    really = dynamodb.restore_table_to_point_in_time
    monkeypatch.setattr(
        dynamodb,
        "restore_table_to_point_in_time",
        lambda **how: (asked.append(how), really(**how))[1],
    )
    restore.main(["keystow", MOMENT, "--yes"])
    assert [how["SourceTableName"] for how in asked] == list(SOURCES.values())
    assert {how["RestoreDateTime"] for how in asked} == {NOW}


def place(environment):
    """Where a data key of an environment lies, as the code itself says."""
    key = tables.data_key(environment, "credential-1")
    return key.pk, key.sk


def test_data_keys_that_a_deletion_destroyed_stay_destroyed(restore, dynamodb, monkeypatch):
    registry = SOURCES["Registry"]
    for environment in ("deleted", "living"):
        put(dynamodb, registry, *place(environment))
    really = dynamodb.restore_table_to_point_in_time

    def then_deleted(**how):
        answer = really(**how)
        if how["SourceTableName"] == registry:  # as it became after the moment
            pk, sk = place("deleted")
            dynamodb.delete_item(TableName=registry, Key={"pk": {"S": pk}, "sk": {"S": sk}})
            put(dynamodb, registry, "deleted", tables.gate("deleted", "environment", 3).sk)
        return answer

    monkeypatch.setattr(dynamodb, "restore_table_to_point_in_time", then_deleted)
    backups = dynamodb.update_continuous_backups
    kept = []

    def begin_backups(**how):
        kept.append(rows(dynamodb, how["TableName"]))
        return backups(**how)

    monkeypatch.setattr(dynamodb, "update_continuous_backups", begin_backups)
    assert restore.main(["keystow", MOMENT, "--yes"]) == 0
    left = rows(dynamodb, target(restore, "Registry"))
    assert left == {place("living"), ("deleted", "closed#environment#03")}
    # Not even the restored table's own backups ever held one.
    assert not any(place("deleted") in before for before in kept)


def test_a_data_key_that_was_lost_by_mistake_comes_back(restore, dynamodb, monkeypatch):
    registry = SOURCES["Registry"]
    put(dynamodb, registry, *place("living"))
    really = dynamodb.restore_table_to_point_in_time

    def then_lost(**how):
        answer = really(**how)
        if how["SourceTableName"] == registry:
            pk, sk = place("living")
            dynamodb.delete_item(TableName=registry, Key={"pk": {"S": pk}, "sk": {"S": sk}})
        return answer

    monkeypatch.setattr(dynamodb, "restore_table_to_point_in_time", then_lost)
    assert restore.main(["keystow", MOMENT, "--yes"]) == 0
    assert rows(dynamodb, registry) == set()
    assert rows(dynamodb, target(restore, "Registry")) == {place("living")}


def test_a_restore_that_was_cut_off_goes_on_with_the_same_call(
    restore, dynamodb, monkeypatch, capsys
):
    really, asked = dynamodb.restore_table_to_point_in_time, []

    def refuse_the_second(**how):
        asked.append(how["SourceTableName"])
        if len(asked) == 2:
            raise restore.Refused("too many restores at a time")
        return really(**how)

    monkeypatch.setattr(dynamodb, "restore_table_to_point_in_time", refuse_the_second)
    assert restore.main(["keystow", MOMENT, "--yes"]) == 1
    assert "goes on from here" in capsys.readouterr().err
    assert restore.main(["keystow", MOMENT, "--yes"]) == 0
    assert asked.count(SOURCES["Connections"]) == 1
    assert restore.main(["keystow", MOMENT, "--yes"]) == 0
    for name, source in SOURCES.items():
        assert settings(dynamodb, target(restore, name)) == settings(dynamodb, source)


def test_it_ends_with_the_deployment_that_takes_the_restored_tables(restore, capsys):
    assert restore.main(["keystow", MOMENT, "--yes"]) == 0
    named = " ".join(f"{name}TableName={target(restore, name)}" for name in SOURCES)
    assert f"make deploy STACK=keystow PARAMETERS='{named}'" in capsys.readouterr().out


def test_a_restored_table_that_is_not_as_the_stack_needs_it_is_not_offered(
    restore, dynamodb, monkeypatch, capsys
):
    # As where somebody took an index off the table in use since.
    really = dynamodb.describe_table

    def without_an_index(**asked):
        answer = really(**asked)
        if asked["TableName"] == target(restore, "Connections"):
            answer["Table"]["GlobalSecondaryIndexes"].pop()
        return answer

    monkeypatch.setattr(dynamodb, "describe_table", without_an_index)
    assert restore.main(["keystow", MOMENT, "--yes"]) == 1
    told = capsys.readouterr()
    assert f"{target(restore, 'Connections')}: it lacks the index by_due" in told.err
    assert "make deploy" not in told.out


@pytest.mark.parametrize("answer", ["", "n", "no"])
def test_nothing_is_made_before_somebody_agreed(restore, dynamodb, monkeypatch, answer):
    before = dynamodb.list_tables()["TableNames"]
    assert restore.main(["keystow", MOMENT]) == 1  # nobody is there
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr("builtins.input", lambda _question: answer)
    assert restore.main(["keystow", MOMENT]) == 1
    assert dynamodb.list_tables()["TableNames"] == before
    monkeypatch.setattr("builtins.input", lambda _question: "y")
    assert restore.main(["keystow", MOMENT]) == 0


@pytest.mark.parametrize(
    "moment",
    [
        "yesterday",
        "",
        "2026-01-31T12:00:00",
        "0001-01-01T00:00:00+05:00",
        (NOW - timedelta(days=2)).isoformat(),
        (NOW + timedelta(days=2)).isoformat(),
    ],
    # The same in every worker of a run.
    ids=["no date", "nothing", "no zone", "before all years", "too old", "in the future"],
)
def test_a_moment_that_is_none_or_out_of_reach_is_refused_first(restore, dynamodb, moment, capsys):
    before = dynamodb.list_tables()["TableNames"]
    assert restore.main(["keystow", moment, "--yes"]) == 1
    told = capsys.readouterr().err
    assert "Nothing was restored" in told
    assert "goes on from here" not in told
    assert dynamodb.list_tables()["TableNames"] == before


@pytest.mark.parametrize("text", ["2026-01-31", "2026-01-31T12:00", "2026-01-31T12:00:00.5"])
def test_a_moment_without_a_zone_is_answered_with_one_that_is_taken(restore, text):
    with pytest.raises(restore.Refused, match="no zone") as refused:
        restore.moment_of(text)
    (advice,) = re.findall(r"write MOMENT=(\S+)", str(refused.value))
    assert restore.moment_of(advice) == datetime.fromisoformat(text).replace(
        tzinfo=UTC, microsecond=0
    )


def test_a_table_without_backups_stops_all_of_them(restore, dynamodb, capsys):
    dynamodb.update_continuous_backups(
        TableName=SOURCES["Keys"],
        PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": False},
    )
    assert restore.main(["keystow", MOMENT, "--yes"]) == 1
    assert "has no point-in-time recovery" in capsys.readouterr().err
    assert len(dynamodb.list_tables()["TableNames"]) == len(SOURCES)
