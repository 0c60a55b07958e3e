"""An environment's own providers: put, and removed while nothing uses them.

An item counts the integrations that use it (they count themselves in and out in the transactions
that create and remove them), so that a removal cannot overtake a first use. ``revision`` rises with
every change and every use, so that a definition is only replaced while what was decided about it
still holds.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from keystow.catalog import loader
from keystow.catalog.cosmetic import guarded_changes
from keystow.catalog.loader import Provider
from keystow.catalog.model import validate_definition
from keystow.errors import ApiError, Issue
from keystow.registry import integrations
from keystow.store import (
    ConditionFailed,
    Delete,
    Equals,
    Put,
    TransactionConflict,
    Update,
    gates,
    tables,
)
from keystow.store.operations import NEW, THERE, All, Any_, AtMost, Missing
from keystow.validation import issues_of

if TYPE_CHECKING:
    from keystow.context import Context
    from keystow.store import Item

ID_FORMAT: Final = re.compile(r"[a-z0-9-]{1,100}")
_ATTEMPTS: Final = 20
_UNUSED: Final = Any_((Missing("users"), AtMost("users", 0)))


def put(
    ctx: Context, environment: str, provider_id: str, body: Any, *, may_read_secrets: bool
) -> tuple[Provider, bool]:
    """Store a definition, and return the provider and whether it is new.

    Args:
        ctx: store and settings.
        environment: whose provider it is.
        provider_id: its key.
        body: the decoded JSON.
        may_read_secrets: whether the caller may read the credentials of connections and of
            integrations anyway, and so may decide where stored ones are sent, and with what.

    Raises:
        ApiError: 400 ``invalid_uri_params``, ``invalid_body``; 409 ``conflict`` for the key of a
            built-in provider; 403 ``forbidden`` without ``may_read_secrets`` for a change of more
            than looks (:mod:`keystow.catalog.cosmetic`) while an integration uses it.
    """
    _check_id(provider_id)
    try:
        definition = validate_definition(
            provider_id,
            body,
            builtin=False,
            allow_http_loopback=ctx.settings.loopback_allowed,
        )
    except ValidationError as error:
        raise ApiError("invalid_body", issues=issues_of(error, found=body)) from None
    key = tables.custom_provider(environment, provider_id)
    now = int(ctx.clock.now() * 1000)
    text = json.dumps(definition, separators=(",", ":"), ensure_ascii=False)
    fresh = {"definition": text, "created_at": now, "updated_at": now, "revision": 1}
    for _ in range(_ATTEMPTS):
        item = ctx.store.get(key)
        stored = {} if item is None else json.loads(item["definition"])
        changed = guarded_changes(stored, definition)
        if changed and not may_read_secrets and _is_used(ctx, environment, provider_id, item):
            _refuse_other_uses(changed)
        try:
            if item is None:
                users = _users(ctx, environment, provider_id)
                write = Put(key, {**fresh, "users": users}, NEW)
                gates.transact(ctx.store, [write], environment=environment, spread=provider_id)
                return Provider(provider_id, definition), True
            change = {"definition": text, "updated_at": now}
            # A first use raises the revision too: it cannot slip in between decision and write.
            same = Equals("revision", item["revision"])
            ctx.store.transact([Update(key, set=change, add={"revision": 1}, condition=same)])
        except ConditionFailed:
            continue
        ctx.cache.pop(("provider", environment, provider_id), None)
        return Provider(provider_id, definition), False
    raise TransactionConflict("too many changes of one provider at a time")


def delete(ctx: Context, environment: str, provider_id: str) -> None:
    """Remove a provider of an environment.

    Raises:
        ApiError: 404 ``not_found``; 409 ``provider_in_use`` while an integration uses it, and
            ``conflict`` for a built-in one.
    """
    _check_id(provider_id)
    key = tables.custom_provider(environment, provider_id)
    try:
        ctx.store.transact([Delete(key, All((THERE, _UNUSED)))])
    except ConditionFailed:
        if ctx.store.get(key) is None:
            raise ApiError("not_found", f"Unknown provider {provider_id}") from None
        raise ApiError("provider_in_use", "An integration uses this provider") from None
    ctx.cache.pop(("provider", environment, provider_id), None)


def _is_used(ctx: Context, environment: str, provider_id: str, item: Item | None) -> bool:
    """Return whether an integration uses a provider, or would as soon as there is one of that key.

    The count knows the integrations made while the item was there. One that was made with a
    built-in provider which this version no longer has is found by looking.
    """
    return bool(item and item.get("users", 0) > 0) or bool(_users(ctx, environment, provider_id))


def _users(ctx: Context, environment: str, provider_id: str) -> int:
    every = integrations.list_all(ctx, environment)
    return sum(each.provider == provider_id for each in every)


def _refuse_other_uses(changed: list[str]) -> None:
    raise ApiError(
        "forbidden",
        f"An integration uses this provider: a change of {', '.join(changed)} requires "
        "environment:connections:read_credentials and "
        "environment:integrations:read_credentials as well",
    )


def _check_id(provider_id: str) -> None:
    if not ID_FORMAT.fullmatch(provider_id):
        issue = Issue("invalid_format", "lower-case letters, digits and hyphens", ("provider",))
        raise ApiError("invalid_uri_params", issues=[issue])
    if loader.built_in(provider_id) is not None:
        raise ApiError("conflict", f"{provider_id} is a built-in provider")
