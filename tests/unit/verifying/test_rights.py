"""`make verify-aws`: each condition of the checks in rights.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.verifying.aws import OWN_KEY, VAULT_KEY, table_arn
from tests.unit.verifying.cases import Case, both, identifiers, of, prove
from tests.unit.verifying.web import Web
from tests.unit.verifying.world import World

if TYPE_CHECKING:
    from collections.abc import Callable

READ = "GetConnectionFunction"
SESSION = "ReadSessionFunction"
PURPOSE = "kms:EncryptionContext:keystow:purpose"
ROWS = "dynamodb:LeadingKeys"
KEYS = table_arn("Keys")


def may(function: str, action: str, resource: str = VAULT_KEY, **condition: Any) -> Any:
    """A role has a right more."""
    more = {"Action": action, "Resource": resource, "Condition": condition}
    return lambda world, _web: world.policies[function].append(more)


def may_not(function: str, action: str, resource: str = VAULT_KEY) -> Callable[[World, Web], Any]:
    """A role lacks a right on a resource."""

    def change(world: World, _web: Web) -> None:
        for one in world.policies[function]:
            actions = one["Action"] if isinstance(one["Action"], list) else [one["Action"]]
            if resource in one["Resource"]:
                one["Action"] = [each for each in actions if each != action]

    return change


def purpose(name: str) -> Any:
    return {"StringEquals": {PURPOSE: [name]}}


def rows(kind: str) -> Any:
    return {"ForAllValues:StringLike": {ROWS: [kind]}, "Null": {ROWS: "false"}}


NO_PURPOSE = {"Null": {PURPOSE: "true"}}
OWN = both(World.use_own_key, may(SESSION, "kms:Decrypt", OWN_KEY))
CASES = [
    Case("KMS rights", f"{SESSION} may kms:De", may(SESSION, "kms:Decrypt", **purpose("session"))),
    Case(
        "KMS rights", f"{SESSION} may kms:En", may(SESSION, "kms:Encrypt", **purpose("credential"))
    ),
    Case("KMS rights", "Sweep", may("SweepDueFunction", "kms:GenerateDataKey", **NO_PURPOSE)),
    Case(
        "KMS rights", f"{READ} may kms:CreateGrant wi", may(READ, "kms:CreateGrant", **NO_PURPOSE)
    ),
    Case("KMS rights", "of no env", may(READ, "kms:Decrypt", **purpose("credential"))),
    Case("KMS rights", "which it must", of("policies", READ, value=[])),
    Case("KMS rights", f"{SESSION} may kms:Decrypt", OWN, 3),
    Case(
        "purposes", "open cred", may("SendWebhookFunction", "kms:Decrypt", **purpose("credential"))
    ),
    Case("purposes", "Boot", may("BootstrapKeysFunction", "kms:Decrypt", **purpose("credential"))),
    Case("purposes", "may not open", may_not("SendWebhookFunction", "kms:Decrypt"), 2),
    Case("purposes", "wrap anew", may_not("RewrapDataKeysFunction", "kms:ReEncryptTo")),
    Case("purposes", "wrap anew", may_not("RewrapDataKeysFunction", "kms:ReEncryptFrom")),
    Case(
        "writers of keys",
        f"{READ} may dynamodb:PutItem on rows key#any",
        may(READ, "dynamodb:PutItem", KEYS, **rows("key#*")),
    ),
    Case(
        "writers of keys",
        f"{READ} may dynamodb:DeleteItem on rows use#any",
        may(READ, "dynamodb:DeleteItem", KEYS, **rows("use#*")),
    ),
    Case(
        "writers of keys",
        f"{READ} may dynamodb:UpdateItem on rows that it does not name",
        may(READ, "dynamodb:UpdateItem", KEYS, Null={ROWS: "true"}),
    ),
    Case("writers of keys", "PartiQLInsert", may(READ, "dynamodb:PartiQL*", KEYS), 4),
    Case(
        "writers of keys",
        f"{READ} may dynamodb:UpdateItem on rows use#any, key#any",
        may(READ, "dynamodb:UpdateItem", KEYS, **{"ForAnyValue:StringLike": {ROWS: ["use#*"]}}),
    ),
    Case(
        "writers of keys",
        f"{READ} may not dynamodb:UpdateItem on rows use#any",
        may_not(READ, "dynamodb:UpdateItem", KEYS),
    ),
    Case(
        "writers of keys",
        "BootstrapKeysFunction may not dynamodb:PutItem",
        may_not("BootstrapKeysFunction", "dynamodb:PutItem", KEYS),
        4,
    ),
]


@pytest.mark.parametrize("case", CASES, ids=identifiers(CASES))
def test_what_is_not_as_it_should_be_is_named(world: World, web: Web, case: Case) -> None:
    prove(world, web, case)
