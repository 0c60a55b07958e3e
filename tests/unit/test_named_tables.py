"""A deployment names existing tables: what could not work is refused before anything changes."""

from __future__ import annotations

import copy
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from moto import mock_aws

from keystow.store import tables
from local import template as templates

ROOT = Path(__file__).resolve().parents[2]
RESOURCES = templates.load(ROOT / "template.yaml")["Resources"]
TABLES = [n for n, each in RESOURCES.items() if each["Type"] == "AWS::DynamoDB::Table"]
NAMES = {f"{table}Name": f"old-{table}" for table in TABLES}
TOGETHER = {f"{name}TableName" for name in ("Connections", "Registry", "Keys")}
VAULT_KEY, MINE, OTHER = (f"arn:aws:kms:us-east-1:111122223333:key/{name}" for name in "vmo")


@pytest.fixture
def account(monkeypatch):
    """An account with a whole table of each kind, and a stack."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    with mock_aws():
        dynamodb = boto3.client("dynamodb", region_name="us-east-1")
        for table in TABLES:
            make(dynamodb, table)
        outputs = [{"OutputKey": "VaultKeyArn", "OutputValue": VAULT_KEY}]
        formation = SimpleNamespace(
            describe_stacks=lambda **_stack: {"Stacks": [{"Outputs": outputs}]}
        )
        services = {"dynamodb": dynamodb, "cloudformation": formation}
        yield SimpleNamespace(client=services.__getitem__, dynamodb=dynamodb)


@pytest.fixture
def named(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "scripts")
    monkeypatch.delitem(sys.modules, "named_tables", raising=False)
    import named_tables

    return named_tables


def make(client: Any, table: str, **changed: Any) -> None:
    """Make a table as CloudFormation would, under another name, but for what is changed."""
    wanted = {**copy.deepcopy(RESOURCES[table]["Properties"]), **changed}
    kept = ("BillingMode", "AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes")
    kept += ("SSESpecification",)
    name = f"old-{table}"
    client.create_table(
        TableName=name,
        DeletionProtectionEnabled=wanted["DeletionProtectionEnabled"] is not False,
        **{key: wanted[key] for key in kept if wanted.get(key)},
    )
    client.update_continuous_backups(
        TableName=name, PointInTimeRecoverySpecification=wanted["PointInTimeRecoverySpecification"]
    )
    if wanted.get("TimeToLiveSpecification"):
        client.update_time_to_live(
            TableName=name, TimeToLiveSpecification=wanted["TimeToLiveSpecification"]
        )


def anew(account: Any, table: str, **changed: Any) -> None:
    """Put another table in the place of a whole one."""
    name = f"old-{table}"
    account.dynamodb.update_table(TableName=name, DeletionProtectionEnabled=False)
    account.dynamodb.delete_table(TableName=name)
    make(account.dynamodb, table, **changed)


def refused(named: Any, account: Any, after: dict[str, str], **before: str) -> str:
    """What a deployment says that is refused; nothing when it is not."""
    try:
        named.refuse(account, "keystow", before, after)
    except SystemExit as refusal:
        return str(refusal)
    return ""


def test_whole_tables_are_taken(named, account):
    assert set(named.parameters()) == set(NAMES)
    assert refused(named, account, NAMES) == ""
    assert refused(named, account, {name: NAMES[name] for name in TOGETHER}) == ""


def test_a_deployment_that_names_no_table_asks_nothing(named):
    assert refused(named, None, dict.fromkeys(NAMES, "")) == ""


@pytest.mark.parametrize("parameter", NAMES)
def test_a_table_that_is_not_there_is_refused(named, account, parameter):
    told = refused(named, account, {**NAMES, parameter: "nowhere"})
    assert f"{parameter}=nowhere: there is no such table in this account and region" in told


@pytest.mark.parametrize(
    ("parameter", "other"),
    [("ConnectionsTableName", "RegistryTable"), ("EventsTableName", "ActivityTable")],
)
def test_a_table_of_another_kind_is_refused(named, account, parameter, other):
    told = refused(named, account, {**NAMES, parameter: f"old-{other}"})
    assert f"{parameter}=old-{other}: it lacks the index by_due" in told


def test_one_table_for_two_is_refused(named, account):
    told = refused(named, account, {**NAMES, "RegistryTableName": NAMES["SessionsTableName"]})
    assert "One table stands for two" in told


def changed_index(**change: Any) -> list[dict[str, Any]]:
    indexes = copy.deepcopy(RESOURCES["ConnectionsTable"]["Properties"]["GlobalSecondaryIndexes"])
    indexes[-1] |= change
    return indexes


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {
                "KeySchema": [
                    {"AttributeName": "sk", "KeyType": "HASH"},
                    {"AttributeName": "pk", "KeyType": "RANGE"},
                ]
            },
            "its keys are others",
        ),
        (
            {"GlobalSecondaryIndexes": changed_index(Projection={"ProjectionType": "KEYS_ONLY"})},
            "its index by_due is another",
        ),
        ({"TimeToLiveSpecification": None}, "its rows would not end"),
        (
            {"TimeToLiveSpecification": {"AttributeName": "until", "Enabled": True}},
            "its rows end by until",
        ),
        (
            {"PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": False}},
            "it has no point-in-time recovery",
        ),
        ({"DeletionProtectionEnabled": False}, "it has no deletion protection"),
        (
            {"SSESpecification": {"Enabled": True, "SSEType": "KMS", "KMSMasterKeyId": MINE}},
            "a KMS key encrypts it",
        ),
    ],
)
def test_a_table_that_the_functions_or_an_operator_could_not_work_with_is_refused(
    named, account, change, said
):
    anew(account, "ConnectionsTable", **change)
    assert f"ConnectionsTableName=old-ConnectionsTable: {said}" in refused(named, account, NAMES)


def test_a_table_whose_index_is_still_being_built_is_refused(named, account, monkeypatch):
    really = account.dynamodb.describe_table

    def described(**asked: Any) -> Any:
        answer = really(**asked)
        for index in answer["Table"].get("GlobalSecondaryIndexes", ()):
            index["IndexStatus"] = "CREATING" if index["IndexName"] == "by_due" else "ACTIVE"
        return answer

    monkeypatch.setattr(account.dynamodb, "describe_table", described)
    assert "its index by_due is not built yet" in refused(named, account, NAMES)


def test_api_keys_that_would_end_by_themselves_are_refused(named, account):
    anew(account, "KeysTable", TimeToLiveSpecification={"AttributeName": "ttl", "Enabled": True})
    assert "KeysTableName=old-KeysTable: its rows end by ttl" in refused(named, account, NAMES)


def test_who_wants_no_protected_tables_may_name_such_ones(named, account):
    anew(account, "ConnectionsTable", DeletionProtectionEnabled=False)
    assert refused(named, account, {**NAMES, "DeletionProtection": "Disabled"}) == ""


def restored(account: Any, monkeypatch: Any, **moments: datetime) -> None:
    """Let tables be restored ones, as DynamoDB tells it."""
    really = account.dynamodb.describe_table

    def described(**asked: Any) -> Any:
        answer = really(**asked)
        for name, moment in moments.items():
            if asked["TableName"] == f"old-{name}Table":
                answer["Table"]["RestoreSummary"] = {"RestoreDateTime": moment}
        return answer

    monkeypatch.setattr(account.dynamodb, "describe_table", described)


THEN, LATER = datetime(2026, 1, 31, 12, tzinfo=UTC), datetime(2026, 1, 31, 12, 0, 1, tzinfo=UTC)


def test_tables_of_different_moments_are_refused(named, account, monkeypatch):
    restored(account, monkeypatch, Connections=THEN, Registry=THEN, Keys=LATER)
    assert "different moments" in refused(named, account, NAMES)


def test_tables_of_one_moment_are_taken(named, account, monkeypatch):
    restored(account, monkeypatch, Connections=THEN, Registry=THEN, Keys=THEN)
    assert refused(named, account, NAMES) == ""


def data_key(account: Any, wrapped_by: str) -> None:
    key = tables.data_key("e1", "credential-20260101")
    row = {"pk": {"S": key.pk}, "sk": {"S": key.sk}, "key": {"S": wrapped_by}}
    row["wrapped"] = {"B": b"x"}
    account.dynamodb.put_item(TableName="old-RegistryTable", Item=row)


def test_data_keys_that_no_function_could_unwrap_are_refused(named, account):
    data_key(account, OTHER)
    told = refused(named, account, {**NAMES, "KmsKeyArn": MINE}, KmsKeyArn=MINE)
    assert f"wrapped by {OTHER}, which the functions could not use" in told
    # A new stack has a VaultKey of its own; only the one that it names can be another's.
    assert "name it in KmsKeyArn" in refused(named, account, NAMES)
    assert refused(named, account, {**NAMES, "KmsKeyArn": OTHER}) == ""


@pytest.mark.parametrize("key", [VAULT_KEY, MINE])
def test_data_keys_of_both_keys_of_the_stack_are_taken(named, account, key):
    data_key(account, key)
    assert refused(named, account, {**NAMES, "KmsKeyArn": MINE}, KmsKeyArn=MINE) == ""


def test_a_replica_opens_what_a_multi_region_key_of_another_region_wrapped(named, account):
    there, here = (f"arn:aws:kms:{region}:1:key/mrk-1" for region in ("eu-west-1", "us-east-1"))
    data_key(account, there)
    assert "wrapped by" in refused(named, account, {**NAMES, "KmsKeyArn": MINE})
    assert refused(named, account, {**NAMES, "KmsKeyArn": here}) == ""


def test_a_key_that_was_destroyed_needs_no_kms_key(named, account):
    key = tables.data_key("e1", "credential-20260101")
    row = {"pk": {"S": key.pk}, "sk": {"S": key.sk}, "key": {"S": OTHER}}
    account.dynamodb.put_item(TableName="old-RegistryTable", Item=row)
    assert refused(named, account, NAMES) == ""


def test_what_aws_does_not_tell_stops_the_deployment(named, account, monkeypatch):
    def denied(**_asked: Any) -> Any:
        raise account.dynamodb.exceptions.ClientError(
            {"Error": {"Code": "AccessDeniedException", "Message": "not you"}}, "x"
        )

    monkeypatch.setattr(account.dynamodb, "describe_time_to_live", denied)
    assert "not you" in refused(named, account, NAMES)
