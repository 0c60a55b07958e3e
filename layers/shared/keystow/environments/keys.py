"""API keys: their text, how they are found by its hash, and what they may do.

    keystow_ 5f0c…(40 hex digits: 160 random bits) 1b2c3d4e (CRC-32 of all before it)

The beginning lets scanners of repositories find a key that was published; the end lets a typing
mistake be refused without a look at the tables. UUIDs, as keys were before, are taken as well.
"""

from __future__ import annotations

import re
import zlib
from typing import TYPE_CHECKING, Final

from keystow import ids
from keystow.records.environment import ApiKey
from keystow.secret import Secret
from keystow.store import (
    Any_,
    AtMost,
    ConditionFailed,
    Delete,
    Equals,
    Missing,
    Put,
    StoreUnavailable,
    TransactionConflict,
    Update,
    tables,
)
from keystow.store.operations import NEW
from keystow.store.store import pages

if TYPE_CHECKING:
    from collections.abc import Iterable

    from keystow.context import Context
    from keystow.ids import Randomness
    from keystow.store import Operation

CACHE_SECONDS: Final = 30
USE_NOTED_ONCE_IN_SECONDS: Final = 86_400
PREFIX: Final = "keystow_"
_FORMAT: Final = re.compile(PREFIX + "([0-9a-f]{40})([0-9a-f]{8})")
_UUID: Final = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.IGNORECASE
)

# Contract 1.5, and the scopes of our own endpoints.
SCOPES: Final = frozenset(
    {
        "environment:agent_sessions:write",
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
        "environment:connect_ui_settings:read",
        "environment:connect_ui_settings:update",
        "environment:end_users:delete",
        "environment:incidents:create",
        "environment:incidents:read",
        "environment:functions:invocations",
        "environment:providers:write",
        "environment:proxy",
        "environment:variables:read",
        "environment:variables:update",
        "environment:webhook_deliveries:read",
        "environment:webhook_deliveries:replay",
        "environment:webhook_settings:read",
        "environment:webhook_settings:update",
        "environment:webhook_signing_key:rotate",
        "environment:mcp",
        "account:environments:list",
        "account:environments:create",
        "account:environments:delete",
        "account:environments:set_production",
        *(f"account:environments:api_keys:{verb}" for verb in ("list", "read", "create", "delete")),
        *(f"account:api_keys:{verb}" for verb in ("list", "read", "create", "delete")),
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


def new_text(random: Randomness) -> Secret[str]:
    """Return the text of a new API key."""
    text = PREFIX + random.bytes(20).hex()
    return Secret(text + _checksum(text))


def is_uuid(text: str) -> bool:
    """Return whether a text is a UUID version 4: the older form of API keys, and other ids."""
    return _UUID.fullmatch(text) is not None


def is_key(text: str) -> bool:
    """Return whether a text can be an API key: of either form, and without a typing mistake."""
    found = _FORMAT.fullmatch(text)
    return is_uuid(text) if found is None else _checksum(PREFIX + found[1]) == found[2]


def _checksum(text: str) -> str:
    return f"{zlib.crc32(text.encode()):08x}"


def new_key(
    ctx: Context,
    owner: str,
    display_name: str,
    scopes: tuple[str, ...],
    expires_at: int | None = None,
) -> tuple[ApiKey, Secret[str], list[Operation]]:
    """Return a new API key, its text, and the writes that store it.

    Args:
        ctx: clock and randomness.
        owner: an environment's id, or ``account``.
        display_name: what people call it.
        scopes: what it may do.
        expires_at: when it ends, in milliseconds since the epoch; None: not by itself.
    """
    text = new_text(ctx.random)
    key = ApiKey(
        uuid=ids.uuid4(ctx.random),
        number=ids.numeric_id(ctx.clock.now(), ctx.random),
        owner=owner,
        key_hash=ids.sha256_hex(text.reveal()),
        display_name=display_name,
        scopes=scopes,
        created_at=int(ctx.clock.now() * 1000),
        expires_at=expires_at,
    )
    return key, text, storing(key)


def storing(key: ApiKey) -> list[Operation]:
    """Return the writes that store a new API key."""
    return [
        Put(tables.api_key_lookup(key.key_hash), key.as_item(), NEW),
        Put(tables.api_key_entry(key.owner, key.uuid), key.as_item(), NEW),
    ]


def of_owner(ctx: Context, owner: str) -> list[ApiKey]:
    """Return the API keys of an environment, or of the account, oldest first."""
    entries = pages(ctx.store, tables.KEYS, tables.api_keys(owner))
    found = [ApiKey.from_item(item) for item in entries]
    return sorted(found, key=lambda key: (key.number, key.uuid))


def last_uses(ctx: Context, owner: str) -> dict[str, int]:
    """Return when an owner's API keys were last used, UUID → milliseconds; to the day."""
    notes = pages(ctx.store, tables.KEYS, tables.api_key_uses(owner))
    return {note["sk"]: note["last_used_at"] for note in notes if "last_used_at" in note}


def changed(key: ApiKey) -> list[Operation]:
    """Return the writes that give an API key its present name and end."""
    fields = {"display_name": key.display_name}
    ends = {} if key.expires_at is None else {"expires_at": key.expires_at}
    remove = ("expires_at",) if key.expires_at is None else ()
    places = (tables.api_key_lookup(key.key_hash), tables.api_key_entry(key.owner, key.uuid))
    there = Equals("uuid", key.uuid)
    return [Update(place, {**fields, **ends}, remove=remove, condition=there) for place in places]


def revocation(key: ApiKey) -> list[Operation]:
    """Return the writes that end an API key."""
    return [
        Delete(tables.api_key_lookup(key.key_hash)),
        Delete(tables.api_key_entry(key.owner, key.uuid)),
    ]


def forget(ctx: Context, key: ApiKey) -> None:
    """Remove what this container remembers of a key that was ended, and the note of its use."""
    ctx.cache.pop(("api-key", key.key_hash), None)
    ctx.store.delete(tables.api_key_use(key.owner, key.uuid))


def find(ctx: Context, text: str, *, fresh: bool = False) -> ApiKey | None:
    """Return the API key of a text, or None; also of one whose time is over.

    Positive answers are kept for 30 s: that is how long a revoked key may still work. The end of
    a key is looked at each time.

    Args:
        ctx: store, clock and what this container remembers.
        text: what was sent as key.
        fresh: do not ask the memory: for what outlives the key, such as other keys.
    """
    key_hash = ids.sha256_hex(text.lower())
    name = ("api-key", key_hash)
    now = ctx.clock.now()
    cached = ctx.cache.get(name)
    if cached is not None and cached[0] > now and not fresh:
        assert isinstance(cached[1], ApiKey)
        return None if cached[1].ended(now) else cached[1]
    item = ctx.store.get(tables.api_key_lookup(key_hash))
    key = None if item is None else ApiKey.from_item(item)
    if key is None or key.ended(now):
        ctx.cache.pop(name, None)
        return None
    ctx.cache[name] = (now + CACHE_SECONDS, key)
    _note_use(ctx, key)
    return key


def _note_use(ctx: Context, key: ApiKey) -> None:
    """Write when a key was last used: once a day, tried once a day by each container.

    The note has a place of its own, so that who may write it can write nothing of the key.
    """
    now = ctx.clock.now()
    name = ("api-key-use", key.key_hash)
    noted = ctx.cache.get(name)
    if noted is not None and noted[0] > now:
        return
    before = int((now - USE_NOTED_ONCE_IN_SECONDS) * 1000)
    condition = Any_((Missing("last_used_at"), AtMost("last_used_at", before)))
    place = tables.api_key_use(key.owner, key.uuid)
    try:
        ctx.store.update(Update(place, set={"last_used_at": int(now * 1000)}, condition=condition))
        noted_at = now
    except ConditionFailed as failure:  # another container noted it
        noted_at = ((failure.found[0] or {}).get("last_used_at", before)) / 1000
    except (StoreUnavailable, TransactionConflict):
        return  # the note can wait
    ctx.cache[name] = (noted_at + USE_NOTED_ONCE_IN_SECONDS, None)
