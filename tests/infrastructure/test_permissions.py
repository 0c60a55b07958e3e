"""Promise 6: each function's role allows the calls that the function makes, and no other."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from keystow.store import tables
from local.template import functions, load
from tests.infrastructure.recording import Deployed, Permission, deployed
from tests.infrastructure.scenario import Scenario
from tests.unit.docs.reading import names, sections, text
from tests.unit.docs.reading import rows as rows_of_page

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
        name, attribute = value["Fn::GetAtt"]
        # The table in use has its ARN in a parameter of SSM's.
        return str(name.removesuffix("Arn") if attribute == "Value" else name)
    text = value["Fn::Sub"]
    if "@connections" in text:
        return "BrowserSocketApi"
    return str(text.removeprefix("${").replace("TableArn.Value}", "Table"))


PURPOSE = "kms:EncryptionContext:keystow:purpose"
ROWS = "dynamodb:LeadingKeys"
PATTERN = re.compile(r"[a-z_]{3,20}#\*")
# "Null" makes a condition fail for a request that lacks what it asks about; "ForAllValues" of
# nothing would be true.
CONDITIONS: list[dict[str, Any]] = [
    {
        "StringEquals": {PURPOSE: ...},
        "Null": {"kms:EncryptionContext:keystow:environment": "false"},
    },
    {"ForAllValues:StringLike": {ROWS: ...}, "Null": {ROWS: "false"}},
]


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def values_of(condition: Mapping[str, Any], key: str) -> list[str]:
    """What a condition asks of a key; [""] when it does not ask about it."""
    found = [asked[key] for name, asked in condition.items() if name != "Null" and key in asked]
    return as_list(found[0]) if found else [""]


def permissions(statement: Mapping[str, Any]) -> Iterator[Permission]:
    if statement["Effect"] == "Deny":
        return
    condition = statement.get("Condition") or {}
    if condition:
        shape = {
            name: {key: value if name == "Null" else ... for key, value in asked.items()}
            for name, asked in condition.items()
        }
        assert shape in CONDITIONS, "a condition that this test does not understand"
    for action in as_list(statement["Action"]):
        for place in as_list(statement["Resource"]):
            resource = resource_of(place).replace("BrowserSocketFunction", "browser_socket")
            for purpose in values_of(condition, PURPOSE):
                for rows in values_of(condition, ROWS):
                    assert not rows or PATTERN.fullmatch(rows), rows
                    yield Permission(action, resource, purpose, rows)


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
def ran() -> Deployed:
    """Everything the API offers, done."""
    with deployed() as running:
        Scenario(running)
        return running


@pytest.fixture(scope="module")
def used(ran: Deployed) -> dict[str, set[Permission]]:
    """Function's folder → what its calls needed."""
    return ran.recorder.used


FOLDERS = sorted(Path(each["CodeUri"]).name for each in functions(TEMPLATE).values())


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_function_may_do_what_it_does(folder: str, used: dict[str, set[Permission]]) -> None:
    may = allowed()[folder]
    missing = {call for call in used.get(folder, ()) if not any(p.covers(call) for p in may)}
    assert sorted(missing) == []


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_function_may_do_no_more(folder: str, used: dict[str, set[Permission]]) -> None:
    calls = used.get(folder, set())
    idle = {each for each in allowed()[folder] if not any(each.covers(call) for call in calls)}
    assert sorted(idle) == []


WRITES = ("dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem")
MAKE_KEYS = {"bootstrap_keys", "manage_environment"}


@pytest.mark.parametrize("folder", FOLDERS)
def test_only_two_functions_can_write_api_keys(folder: str) -> None:
    """UpdateItem makes rows that are not there, so any write where keys lie could make one."""
    writes = {
        each
        for each in allowed()[folder]
        if each.resource.startswith("KeysTable") and each.action in WRITES
    }
    if folder in MAKE_KEYS:
        assert any(each.rows == "" for each in writes)
    else:
        assert writes <= {Permission("dynamodb:UpdateItem", "KeysTable", rows="use#*")}


def test_keys_are_found_in_partitions_that_notes_of_use_are_not_in() -> None:
    written = {key.pk for key in (tables.api_key_use("account", "u"), tables.api_key_use("e", "u"))}
    trusted = {
        tables.api_key_lookup("h").pk,
        tables.api_key_entry("e", "u").pk,
    }
    assert all(pk.startswith("use#") for pk in written)
    assert not any(pk.startswith("use#") for pk in trusted)


@pytest.mark.parametrize("folder", FOLDERS)
def test_who_needs_no_list_of_keys_cannot_read_one(folder: str) -> None:
    if folder not in MAKE_KEYS:
        reads = {
            e for e in allowed()[folder] if e.resource == "KeysTable" and e.action not in WRITES
        }
        assert reads <= {Permission("dynamodb:GetItem", "KeysTable", rows="key#*")}


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_function_is_held_to_the_partitions_that_it_writes(
    folder: str, used: dict[str, set[Permission]]
) -> None:
    """Where all that it writes to a table lies in partitions of a kind, it can write no other."""
    for each in allowed()[folder]:
        if each.action not in WRITES or each.rows or (folder, each.resource) in OWN:
            continue
        rows = {call.rows for call in used[folder] if each.covers(call)}
        assert "" in rows, f"{each.resource} {each.action}: needs {sorted(rows)} only"


# Where it stands who gets in, and where secrets are sent.
DECIDES = {"KeysTable", "RegistryTable", "SessionsTable"}
# Who makes and ends keys may write the whole table.
OWN = {(folder, "KeysTable") for folder in MAKE_KEYS}


def test_it_is_written_which_rows_a_role_could_write_that_its_function_never_does(
    ran: Deployed,
) -> None:
    """What no condition of IAM can tell apart, since it lies in one partition; in security.md."""
    written = ran.recorder.written
    kinds = {row for rows in written.values() for row in rows}
    found = {}
    for folder, may in allowed().items():
        does = {(table, kind) for table, _, kind in written.get(folder, ())}
        could = {
            (table, kind)
            for table, rows, kind in kinds
            if any(e.action in WRITES and e.resource == table and e.rows in {"", rows} for e in may)
        }
        more = {table.removesuffix("Table") for table, _ in could - does if table in DECIDES}
        if more:
            found[folder] = sorted(more)
    table = sections(text("docs/security.md"), 2)["Identity and permissions"]
    stated = {
        folder: sorted(names(row[1])) for row in rows_of_page(table) for folder in names(row[0])
    }
    assert stated == found, f"the page should say {found}"


def policies() -> Iterator[list[dict[str, Any]]]:
    """The statements of every policy of the template, of functions and by themselves."""
    for resource in TEMPLATE["Resources"].values():
        properties = resource.get("Properties", {})
        for policy in properties.get("Policies") or ():
            yield policy["Statement"]
        if "PolicyDocument" in properties:
            yield properties["PolicyDocument"]["Statement"]


def test_no_policy_names_two_statements_alike() -> None:
    """IAM refuses such a policy, and with it the whole deployment."""
    for statements in policies():
        sids = [each["Sid"] for each in statements if "Sid" in each]
        assert all(sid.isascii() and sid.isalnum() for sid in sids)
        assert sorted(sids) == sorted(set(sids))


def test_no_policy_allows_all_of_anything() -> None:
    for resource in TEMPLATE["Resources"].values():
        for policy in resource.get("Properties", {}).get("Policies") or ():
            for statement in policy["Statement"]:
                assert "*" not in json.dumps(statement["Action"])
                assert statement["Resource"] != "*"
