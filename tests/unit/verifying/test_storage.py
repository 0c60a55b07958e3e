"""`make verify-aws`: each condition of the checks in storage.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.verifying.aws import OWN_KEY, VAULT_KEY
from tests.unit.verifying.cases import GONE, Case, both, identifiers, of, prove
from tests.unit.verifying.web import Web
from tests.unit.verifying.world import NOW, World

if TYPE_CHECKING:
    from collections.abc import Callable

CONNECTIONS, KEYS = "keystow-ConnectionsTable", "keystow-KeysTable"
ENDS = {"TimeToLiveStatus": "ENABLED", "AttributeName": "ttl"}
SHORT_KEY = [{"AttributeName": "pk", "KeyType": "HASH"}]


def kept(resource: str, policy: str, value: Any) -> Callable[[World, Web], Any]:
    return of("template", "Resources", resource, policy, value=value)


def table(*path: Any, value: Any) -> Callable[[World, Web], Any]:
    return of("tables", CONNECTIONS, *path, value=value)


def index(attribute: str, *, value: Any) -> Callable[[World, Web], Any]:
    return table("GlobalSecondaryIndexes", 0, attribute, value=value)


def own_key(attribute: str, value: Any) -> Callable[[World, Web], Any]:
    return both(World.use_own_key, of("keys", OWN_KEY, attribute, value=value))


def lets_in(principal: Any) -> Callable[[World, Web], Any]:
    more = {"Effect": "Allow", "Principal": principal, "Action": "kms:*", "Resource": "*"}
    return lambda world, _web: world.key_policy["Statement"].append(more)


def one_index_less(world: World, _web: Web) -> None:
    world.tables[CONNECTIONS]["GlobalSecondaryIndexes"].pop()


ANOTHER = {"AWS": ["111122223333", "arn:aws:iam::444455556666:root"]}
CASES = [
    Case("stack's end", "KeysTable goes with", kept("KeysTable", "DeletionPolicy", GONE)),
    Case("stack's end", "VaultKey goes with", kept("VaultKey", "DeletionPolicy", "Delete")),
    Case("stack's end", "is replaced", kept("VaultKey", "UpdateReplacePolicy", "Delete")),
    Case("stack's end", "no table", of("template", value={"Resources": {}})),
    Case("tables", "its state is UPDATING", table("TableStatus", value="UPDATING")),
    Case("tables", "its keys are others", table("KeySchema", value=SHORT_KEY)),
    Case("tables", "no deletion pro", table("DeletionProtectionEnabled", value=False)),
    Case("tables", "Connections: it lacks the index", one_index_less),
    Case("tables", "is not built yet", index("IndexStatus", value="DELETING")),
    Case("tables", "is another", index("Projection", value={"ProjectionType": "KEYS_ONLY"})),
    Case("tables", "n: DISABLED", table("SSEDescription", value={"Status": "DISABLED"})),
    Case(
        "tables",
        "cannot be",
        table("SSEDescription", value={"InaccessibleEncryptionDateTime": NOW}),
    ),
    Case(
        "tables",
        "Keys: no rec",
        of("recovery", KEYS, "PointInTimeRecoveryStatus", value="DISABLED"),
    ),
    Case("tables", "Keys: no recovery", of("recovery", KEYS, value={})),
    Case("tables", "recovery for 7 days", of("recovery", KEYS, "RecoveryPeriodInDays", value=7)),
    Case("tables", "would not", of("endings", CONNECTIONS, "TimeToLiveStatus", value="DISABLED")),
    Case("tables", "rows end by x", of("endings", CONNECTIONS, "AttributeName", value="x")),
    Case("tables", "Keys: its rows end by", of("endings", KEYS, value=ENDS)),
    Case("KMS key", "the key in use is", of("keys", VAULT_KEY, "Arn", value=OWN_KEY)),
    Case("KMS key", "PendingDeletion", of("keys", VAULT_KEY, "KeyState", value="PendingDeletion")),
    Case("KMS key", "its state is Disabled", own_key("KeyState", "Disabled")),
    Case("KMS key", "it is for SIGN_VERIFY", own_key("KeyUsage", "SIGN_VERIFY")),
    Case("KMS key", "with RSA_2048", own_key("KeySpec", "RSA_2048")),
    Case("KMS key", "does not rotate", of("rotates", value=False)),
    Case("KMS key", "one region", of("keys", VAULT_KEY, "MultiRegion", value=False)),
    Case("KMS key", "lets in *", lets_in("*")),
    Case("KMS key", "lets in *", lets_in({"AWS": "*"})),
    Case("KMS key", "lets in arn:aws:iam::444455556666:root", lets_in(ANOTHER)),
    Case("KMS key", "lets in logs.amazonaws.com", lets_in({"Service": "logs.amazonaws.com"})),
]


@pytest.mark.parametrize("case", CASES, ids=identifiers(CASES))
def test_what_is_not_as_it_should_be_is_named(world: World, web: Web, case: Case) -> None:
    prove(world, web, case)
