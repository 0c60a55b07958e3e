"""API keys: made, found by hash, and what they may do."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from keystow import ids
from keystow.records.environment import ApiKey
from keystow.secret import Secret
from keystow.store import ConditionFailed, Delete, Put, StoreUnavailable, Update
from keystow.store.operations import NEW, THERE
from keystow.store.store import pages
from keystow.store.tables import REGISTRY, api_key_entry, api_key_lookup

if TYPE_CHECKING:
    from collections.abc import Iterable

    from keystow.context import Context
    from keystow.store import Operation

CACHE_SECONDS: Final = 30
DAY_MS: Final = 86_400_000
KEY_FORMAT: Final = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.IGNORECASE
)

# Contract 1.5, and the scopes of our own endpoints.
SCOPES: Final = frozenset(
    {
        "environment:connect_sessions:write",
        *(
            f"environment:{thing}:{verb}"
            for thing in ("connections", "integrations")
            for verb in (
                "create",
                "list",
                "list_credentials",
                "read",
                "read_credentials",
                "update",
                "delete",
            )
        ),
        "environment:activity:read",
        "environment:providers:write",
        "environment:proxy",
        "environment:variables:read",
        "environment:webhook_deliveries:read",
        "environment:webhook_deliveries:replay",
        "environment:webhook_settings:read",
        "environment:webhook_settings:update",
        "environment:webhook_signing_key:rotate",
        "environment:mcp",
        "account:environments:create",
        "account:environments:delete",
        "account:environments:set_production",
        "account:environments:api_keys:create",
        "account:environments:api_keys:delete",
    }
)


ENVIRONMENT_SCOPES: Final = ("environment:*",)
ACCOUNT_SCOPES: Final = ("account:*",)
ACCOUNT: Final = "account"


def is_scope(text: str) -> bool:
    """Return whether a text is a scope, or a pattern (``environment:connections:*``) of some."""
    if text in SCOPES:
        return True
    return text.endswith(":*") and any(scope.startswith(text[:-1]) for scope in SCOPES)


def grants(granted: Iterable[str], required: str) -> bool:
    """Return whether some granted scope covers the required one (contract appendix D)."""
    return any(
        scope == required or (scope.endswith(":*") and required.startswith(scope[:-1]))
        for scope in granted
    )


def new_key(
    ctx: Context, owner: str, display_name: str, scopes: tuple[str, ...]
) -> tuple[ApiKey, Secret[str], list[Operation]]:
    """Return a new API key, its text, and the writes that store it.

    Args:
        ctx: clock and randomness.
        owner: an environment's id, or ``account``.
        display_name: what people call it.
        scopes: what it may do.
    """
    text = ids.uuid4(ctx.random)
    key = ApiKey(
        id=ids.short_id(ctx.random),
        number=ids.numeric_id(ctx.clock.now(), ctx.random),
        owner=owner,
        key_hash=ids.sha256_hex(text),
        display_name=display_name,
        scopes=scopes,
        created_at=int(ctx.clock.now() * 1000),
    )
    writes: list[Operation] = [
        Put(api_key_lookup(key.key_hash), key.as_item(), NEW),
        Put(api_key_entry(owner, key.id), key.as_item(), NEW),
    ]
    return key, Secret(text), writes


def of_owner(ctx: Context, owner: str) -> list[ApiKey]:
    """Return the API keys of an environment, or of the account."""
    entries = pages(ctx.store, REGISTRY, owner, prefix="apikey#")
    return [ApiKey.from_item(item) for item in entries]


def revocation(key: ApiKey) -> list[Operation]:
    """Return the writes that end an API key."""
    return [Delete(api_key_lookup(key.key_hash)), Delete(api_key_entry(key.owner, key.id))]


def find(ctx: Context, text: str) -> ApiKey | None:
    """Return the API key of a text, or None.

    Positive answers are kept for 30 s: that is how long a revoked key may still work.
    """
    key_hash = ids.sha256_hex(text.lower())
    name = ("api-key", key_hash)
    now = ctx.clock.now()
    cached = ctx.cache.get(name)
    if cached is not None and cached[0] > now:
        assert isinstance(cached[1], ApiKey)
        return cached[1]
    item = ctx.store.get(api_key_lookup(key_hash))
    if item is None:
        ctx.cache.pop(name, None)
        return None
    key = ApiKey.from_item(item)
    ctx.cache[name] = (now + CACHE_SECONDS, key)
    _note_use(ctx, key)
    return key


def _note_use(ctx: Context, key: ApiKey) -> None:
    """Write when a key was last used, at most once a day."""
    now = int(ctx.clock.now() * 1000)
    if key.last_used_at is not None and now - key.last_used_at < DAY_MS:
        return
    try:
        place = api_key_lookup(key.key_hash)
        ctx.store.update(Update(place, set={"last_used_at": now}, condition=THERE))
    except (ConditionFailed, StoreUnavailable):
        return  # the key was revoked meanwhile, or the note can wait
