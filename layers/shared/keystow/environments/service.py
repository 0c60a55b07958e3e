"""Environments and their API keys: create, read, change, remove (contract 6.5, 8.5).

No pydantic here; bodies come checked from :mod:`keystow.environments.requests`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from keystow import ids
from keystow.environments import keys
from keystow.errors import ApiError
from keystow.records.environment import Environment, WebhookSettings, seal_signing_key
from keystow.secret import Secret
from keystow.store import ConditionFailed, Equals, Key, Put, TransactionConflict, Update, tables
from keystow.store.operations import NEW, THERE, All, Missing
from keystow.store.store import pages

if TYPE_CHECKING:
    from keystow.context import Context
    from keystow.records.environment import ApiKey
    from keystow.store import Condition, Item, Operation

MAX_KEYS: Final = 50
MAX_ENVIRONMENTS: Final = 100
PRODUCTION: Final = "prod"
# How long the key that a rotation replaced goes on signing beside the new one.
OVERLAP_MS: Final = 24 * 3600 * 1000
_ATTEMPTS: Final = 20


def find(ctx: Context, environment: str) -> Environment | None:
    """Return an environment by its immutable id, as it is now; None also while it is removed."""
    item = ctx.store.get(tables.environment_settings(environment))
    found = None if item is None else Environment.from_item(item)
    return None if found is None or found.deleting else found


def required(ctx: Context, environment: str) -> Environment:
    """Return an environment by its immutable id. Raises 404 ``not_found``."""
    found = find(ctx, environment)
    if found is None:
        raise ApiError("not_found", "There is no such environment")
    return found


def claims(ctx: Context) -> list[Item]:
    """Return the claims on environments' names: ``{environment, number, sk}``, oldest first."""
    found = list(pages(ctx.store, tables.REGISTRY, keys.ACCOUNT, prefix="environment#"))
    return sorted(found, key=lambda item: (item["number"], item["sk"]))


def by_number(ctx: Context, number: int) -> Environment:
    """Return an environment by the id that the API shows, also one being removed. Raises 404."""
    claim = ctx.store.get(number_claim(number))
    item = claim and ctx.store.get(tables.environment_settings(claim["environment"]))
    if not item:
        raise ApiError("not_found", "There is no such environment")
    return Environment.from_item(item)


def number_claim(number: int) -> Key:
    """Return the key of the claim on a number: two environments must never answer to one."""
    return Key(tables.REGISTRY, keys.ACCOUNT, f"environment_number#{number}")


def new_environment(
    ctx: Context, name: str, *, is_production: bool, callback_url: str | None = None
) -> tuple[Environment, Secret[str], list[Operation]]:
    """Return a new environment, the text of its webhook signing key, and the writes to store it."""
    now = ctx.clock.now()
    environment_id = ids.short_id(ctx.random)
    signing_key = ids.uuid4(ctx.random)
    environment = Environment(
        id=environment_id,
        number=ids.numeric_id(now, ctx.random),
        name=name,
        uuid=ids.uuid4(ctx.random),
        public_key=ids.uuid4(ctx.random),
        signing_key=seal_signing_key(ctx.vault, environment_id, signing_key),
        created_at=int(now * 1000),
        is_production=is_production,
        callback_url=callback_url,
    )
    claim = {"environment": environment.id, "number": environment.number}
    writes: list[Operation] = [
        Put(tables.environment_name(name), claim, NEW),
        Put(number_claim(environment.number), claim, NEW),
        Put(environment.key, environment.as_item(), NEW),
    ]
    return environment, Secret(signing_key), writes


def create(
    ctx: Context, name: str, *, is_production: bool, callback_url: str | None = None
) -> Environment:
    """Create an environment. It has no API key yet: :func:`create_key` makes one.

    Raises:
        ApiError: 409 ``conflict`` when the name is taken; 400 ``resource_capped``.
    """
    if len(claims(ctx)) >= MAX_ENVIRONMENTS:
        raise ApiError("resource_capped", f"An account has at most {MAX_ENVIRONMENTS} environments")
    if ctx.store.get(tables.environment_name(name)) is not None:
        raise ApiError("conflict", "Environment already exists")
    for _ in range(_ATTEMPTS):
        environment, _, writes = new_environment(
            ctx, name, is_production=is_production, callback_url=callback_url
        )
        try:
            ctx.store.transact(writes)
        except ConditionFailed as failure:
            if 0 in failure.failed:
                raise ApiError("conflict", "Environment already exists") from None
            continue  # the number was drawn before in this millisecond
        return environment
    raise TransactionConflict("no free number")


def write_webhooks(ctx: Context, environment: str, webhooks: WebhookSettings) -> WebhookSettings:
    """Replace the webhook settings; endpoints that were turned off are tried again. Raises 404."""
    change = Update(
        tables.environment_settings(environment),
        set={"webhooks": webhooks.as_json()},
        remove=("disabled_webhooks",),
        condition=THERE,
    )
    try:
        ctx.store.update(change)
    except ConditionFailed:
        raise ApiError("not_found", "There is no such environment") from None
    return webhooks


def variables(ctx: Context, environment: str) -> list[dict[str, str]]:
    """Return the environment's variables, ``{name, value}``; none unless some were set."""
    item = ctx.store.get(tables.environment_settings(environment)) or {}
    return list(item.get("variables") or [])


def rotate_signing_key(ctx: Context, environment: str) -> Secret[str]:
    """Replace the webhook signing key and return the new one.

    The replaced key signs beside the new one for a day (Standard Webhooks: two signatures while a
    secret rotates); one replaced before that no longer does.

    Raises:
        ApiError: 404; 409 ``multiple_webhook_signing_keys`` when another rotation won.
    """
    key = tables.environment_settings(environment)
    item = ctx.store.get(key)
    if item is None or item.get("deleting"):
        raise ApiError("not_found", "There is no such environment")
    text = ids.uuid4(ctx.random)
    change = Update(
        key,
        set={
            "signing_key": seal_signing_key(ctx.vault, environment, text).as_item(),
            "previous_signing_key": item["signing_key"],
            "previous_signing_key_until": int(ctx.clock.now() * 1000) + OVERLAP_MS,
        },
        add={"signing_revision": 1},
        condition=_same(item, "signing_revision"),
    )
    try:
        ctx.store.transact([change])
    except ConditionFailed:
        raise ApiError(
            "multiple_webhook_signing_keys", "The signing key was rotated at the same moment"
        ) from None
    return Secret(text)


def create_key(
    ctx: Context, environment: str, display_name: str, scopes: tuple[str, ...]
) -> tuple[ApiKey, Secret[str]]:
    """Create an API key of an environment; its text is shown once and stored only as a hash.

    The list is read and extended under one revision of the environment's item, so that parallel
    creations can neither share a name nor pass the limit.

    Raises:
        ApiError: 404; 409 ``conflict`` when a key has that name; 400 ``resource_capped``.
    """
    settings = tables.environment_settings(environment)
    for _ in range(_ATTEMPTS):
        item = ctx.store.get(settings)
        if item is None or item.get("deleting"):
            raise ApiError("not_found", "There is no such environment")
        there = keys.of_owner(ctx, environment)
        if any(key.display_name == display_name for key in there):
            raise ApiError("conflict", "An API key of this name exists already")
        if len(there) >= MAX_KEYS:
            raise ApiError("resource_capped", f"An environment has at most {MAX_KEYS} API keys")
        key, text, writes = keys.new_key(ctx, environment, display_name, scopes)
        if any(key.number == other.number for other in there):
            continue  # the number was drawn before in this millisecond
        unchanged = All((Missing("deleting"), _same(item, "keys_revision")))
        guard = Update(settings, add={"keys_revision": 1}, condition=unchanged)
        try:
            ctx.store.transact([guard, *writes])
        except ConditionFailed:
            continue
        return key, text
    raise TransactionConflict("too many keys made at a time")


def delete_key(ctx: Context, environment: str, number: int) -> None:
    """End an API key; other containers may take it for 30 s more. Raises 404 ``not_found``."""
    for key in keys.of_owner(ctx, environment):
        if key.number == number:
            ctx.store.transact(keys.revocation(key))
            keys.forget(ctx, key)
            return
    raise ApiError("not_found", "There is no such API key")


def _same(item: Item, revision: str) -> Condition:
    """Return the condition that a counter stands where it was read; of an item that exists."""
    if revision in item:
        return Equals(revision, item[revision])
    return All((THERE, Missing(revision)))
