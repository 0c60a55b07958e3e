"""What IAM would let the functions' roles do, by its own simulator: nothing is done.

Each question whose answer must be no has one beside it whose answer must be yes: a simulator that
denies everything shows nothing. (It does not know the KMS key's policy; `storage.py` reads that.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from verify_aws.findings import Finding, expect, told

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from verify_aws.stack import Deployed

PURPOSE: Final = "kms:EncryptionContext:keystow:purpose"
ENVIRONMENT: Final = "kms:EncryptionContext:keystow:environment"
ROWS: Final = "dynamodb:LeadingKeys"
PURPOSES: Final = (
    "credential",
    "hmac",
    "input",
    "integration",
    "session",
    "signing",
    "variable",
    "webhook",
)
# Whose role opens secrets of which purposes; nobody else opens any. A test holds this against
# template.yaml.
OPENS: Final[Mapping[str, frozenset[str]]] = {
    name: frozenset(purposes.split())
    for name, purposes in {
        "ConfirmConnectionFunction": "credential",
        "CreateSessionFunction": "webhook",
        "DeleteConnectionFunction": "credential integration",
        "EraseEndUserFunction": "credential integration",
        "GetConnectionFunction": "credential integration",
        "ImportConnectionFunction": "credential input integration webhook",
        "ManageEnvironmentFunction": "hmac signing variable webhook",
        "ManageIntegrationsFunction": "input integration",
        "OauthCallbackFunction": "credential integration session",
        "ProxyRequestFunction": "credential integration",
        "RefreshTokensFunction": "credential integration",
        "SendWebhookFunction": "signing webhook",
        "StartOauthFunction": "hmac input integration session",
        "SubmitCredentialsFunction": "credential hmac input integration",
        "UpdateConnectionFunction": "webhook",
    }.items()
}
# Whose role makes data keys or wraps them anew, and opens none.
SEALS: Final = {"BootstrapKeysFunction", "RewrapDataKeysFunction"}
KMS: Final = (
    "kms:Decrypt",
    "kms:Encrypt",
    "kms:GenerateDataKey",
    "kms:GenerateDataKeyWithoutPlaintext",
    "kms:ReEncryptFrom",
    "kms:ReEncryptTo",
    "kms:CreateGrant",
    "kms:PutKeyPolicy",
    "kms:ScheduleKeyDeletion",
    "kms:DisableKey",
)
WRITES: Final = (
    "dynamodb:PutItem",
    "dynamodb:UpdateItem",
    "dynamodb:DeleteItem",
    "dynamodb:BatchWriteItem",
    "dynamodb:PartiQLInsert",
    "dynamodb:PartiQLUpdate",
    "dynamodb:PartiQLDelete",
)
# Who makes and ends API keys, and how.
MAKE_KEYS: Final[Mapping[str, frozenset[str]]] = {
    "BootstrapKeysFunction": frozenset({"dynamodb:PutItem", "dynamodb:DeleteItem"}),
    "ManageEnvironmentFunction": frozenset(WRITES[:3]),
}
# Who notes that a key was used, in partitions where no key can lie.
NOTE_USE: Final = {
    "ConfirmConnectionFunction",
    "CreateSessionFunction",
    "DeleteConnectionFunction",
    "EraseEndUserFunction",
    "GetConnectionFunction",
    "ImportConnectionFunction",
    "ListConnectionsFunction",
    "ListProvidersFunction",
    "ManageDeliveriesFunction",
    "ManageIncidentsFunction",
    "ManageIntegrationsFunction",
    "ManageProvidersFunction",
    "ProxyRequestFunction",
    "ReadActivityFunction",
    "UpdateConnectionFunction",
}
NOTED: Final = frozenset({"dynamodb:UpdateItem"})
NONE: Final[frozenset[str]] = frozenset()


def allowed(
    deployed: Deployed,
    function: str,
    actions: Sequence[str],
    resource: str,
    context: Mapping[str, str | list[str]],
) -> frozenset[str]:
    """Return which of some actions IAM would allow a function's role.

    Args:
        deployed: the stack.
        function: logical id.
        actions: of one service.
        resource: an ARN.
        context: condition keys of the request, with their values.
    """
    entries = [
        {
            "ContextKeyName": name,
            "ContextKeyValues": value if isinstance(value, list) else [value],
            "ContextKeyType": "stringList" if isinstance(value, list) else "string",
        }
        for name, value in context.items()
    ]
    asked: dict[str, Any] = {
        "PolicySourceArn": deployed.functions[function]["Role"],
        "ActionNames": list(actions),
        "ResourceArns": [resource],
        "ContextEntries": entries,
    }
    pages = deployed.client("iam").get_paginator("simulate_principal_policy").paginate(**asked)
    results = [one for page in pages for one in page["EvaluationResults"]]
    decided = {one["EvalActionName"]: one["EvalDecision"] for one in results}
    if missing := sorted(set(actions) - set(decided)):
        raise KeyError(f"a decision on {', '.join(missing)}")
    return frozenset(name for name, decision in decided.items() if decision == "allowed")


def _secret(purpose: str) -> dict[str, str | list[str]]:
    return {PURPOSE: purpose, ENVIRONMENT: "any"}


def kms_takes_a_context(deployed: Deployed) -> Iterator[Finding]:
    """Who opens no secret has no right of KMS at all; others none without a context."""
    key = deployed.key_in_use
    for function in sorted(set(deployed.functions) - set(OPENS) - SEALS):
        for context in ({}, _secret("credential"), _secret("session")):
            may = allowed(deployed, function, KMS, key, context)
            yield expect(not may, f"{function} may {', '.join(sorted(may))}")
    for function in sorted(set(OPENS) | SEALS):
        may = allowed(deployed, function, KMS, key, {})
        yield expect(
            not may, f"{function} may {', '.join(sorted(may))} without an encryption context"
        )
        for purpose in sorted(OPENS.get(function, NONE)):
            may = allowed(deployed, function, KMS, key, {PURPOSE: purpose})
            yield expect(not may, f"{function} may open {purpose} of no environment")
    # The yes beside the noes.
    may = allowed(deployed, "GetConnectionFunction", KMS[:1], key, _secret("credential"))
    yield expect(bool(may), "GetConnectionFunction may not open credentials, which it must")
    yield told("read_session and others have no right of KMS; nobody without a context")


def purposes_are_apart(deployed: Deployed) -> Iterator[Finding]:
    """Each role opens secrets of its own purposes, and no others."""
    for function, wanted in OPENS.items():
        for purpose in PURPOSES:
            may = allowed(deployed, function, KMS[:1], deployed.key_in_use, _secret(purpose))
            if purpose in wanted:
                yield expect(bool(may), f"{function} may not open {purpose}, which it must")
            else:
                yield expect(not may, f"{function} may open {purpose}")
    for function in sorted(SEALS):
        for purpose in PURPOSES:
            may = allowed(deployed, function, KMS[:1], deployed.key_in_use, _secret(purpose))
            yield expect(not may, f"{function} may open {purpose}")
    may = allowed(
        deployed,
        "RewrapDataKeysFunction",
        ("kms:ReEncryptFrom", "kms:ReEncryptTo"),
        deployed.key_in_use,
        _secret("credential"),
    )
    yield expect(len(may) == len(("from", "to")), "RewrapDataKeysFunction may not wrap anew")
    yield told(f"{len(OPENS)} roles open their own purposes only")


def keys_have_two_writers(deployed: Deployed) -> Iterator[Finding]:
    """Who may write where API keys lie, and who where their use is noted."""
    table = deployed.keys_table
    for function in sorted(deployed.functions):
        makes = MAKE_KEYS.get(function, NONE)
        notes = NOTED if function in NOTE_USE else makes
        for rows, wanted in (
            (["key#any"], makes),
            (["use#any"], notes),
            # A transaction that names a row of each kind.
            (["use#any", "key#any"], makes),
            (None, makes),
        ):
            context: dict[str, str | list[str]] = {} if rows is None else {ROWS: rows}
            may = allowed(deployed, function, WRITES, table, context)
            where = f"rows {', '.join(rows)}" if rows else "rows that it does not name"
            more, less = sorted(may - wanted), sorted(wanted - may)
            yield expect(not more, f"{function} may {', '.join(more)} on {where}")
            yield expect(not less, f"{function} may not {', '.join(less)} on {where}")
    yield told("bootstrap_keys and manage_environment write keys, nobody else")
