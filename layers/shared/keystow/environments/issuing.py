"""Makes, lists, changes and ends API keys; each change leaves a trace that names who made it.

A key is never worth more than the one that makes or changes it: of the account's scopes it has
none that its maker lacks, and it lives no longer. (Scopes of environments are what
``account:environments:api_keys:create`` gives.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from keystow.activity import log
from keystow.activity.log import Message
from keystow.clock import iso
from keystow.environments import keys
from keystow.errors import ApiError, invalid
from keystow.log import logger
from keystow.records.environment import ApiKey
from keystow.store import (
    Check,
    ConditionFailed,
    Equals,
    Missing,
    TransactionConflict,
    Update,
    tables,
)
from keystow.store.operations import THERE, All
from keystow.value import Value, replace

if TYPE_CHECKING:
    from keystow.context import Context
    from keystow.secret import Secret
    from keystow.store import Condition, Item, Operation

MAX_KEYS: Final = 50
_ATTEMPTS: Final = 20
# A transaction has 100 writes; ending a key takes two.
_ENDED_AT_ONCE: Final = 40
_MAKER: Final = 1  # where the check of the maker stands in a transaction


class Listed(Value):
    """A key as a list shows it."""

    key: ApiKey
    last_used_at: int | None


class Wish(Value):
    """What a new key shall be, or what shall change; ``expires_at`` in milliseconds."""

    display_name: str | None = None
    scopes: tuple[str, ...] = ()
    expires_at: int | None = None
    names_expiry: bool = False


def listed(ctx: Context, owner: str, display_name: str | None = None) -> list[Listed]:
    """Return the keys of an environment (or ``account``), oldest first, or those of a name."""
    used = keys.last_uses(ctx, owner)
    return [
        Listed(key, used.get(key.uuid))
        for key in keys.of_owner(ctx, owner)
        if display_name in {None, key.display_name}
    ]


def one(ctx: Context, owner: str, reference: str | int) -> Listed:
    """Return the key of a UUID or number. Raises 404 ``not_found``."""
    for each in listed(ctx, owner):
        if reference in {each.key.uuid, each.key.number}:
            return each
    raise ApiError("not_found", "There is no such API key")


def create(ctx: Context, owner: str, wish: Wish, maker: ApiKey) -> tuple[ApiKey, Secret[str]]:
    """Create an API key; its text is shown once and stored only as a hash.

    The list is read and extended under one revision of its owner's item, so that parallel
    creations can neither share a name nor pass the limit; and the maker must still be there. Keys
    whose time is over make room.

    Raises:
        ApiError: 404; 409 ``conflict`` when a key has that name; 400 ``resource_capped``,
            ``invalid_body``; 403 ``forbidden`` when the maker has less.
    """
    now = ctx.clock.now()
    expires_at = _allowed_expiry(wish, maker, now) if wish.names_expiry else maker.expires_at
    if owner == keys.ACCOUNT:
        _require_scopes(maker, wish.scopes)
    name = wish.display_name or ""
    for _ in range(_ATTEMPTS):
        guard = _guard(ctx, owner)
        there = keys.of_owner(ctx, owner)
        living = [key for key in there if not key.ended(now)]
        ended = [key for key in there if key.ended(now)][:_ENDED_AT_ONCE]
        _require_free_name(living, name)
        if len(living) >= MAX_KEYS:
            raise ApiError("resource_capped", f"There may be at most {MAX_KEYS} API keys")
        key, text, writes = keys.new_key(ctx, owner, name, wish.scopes, expires_at)
        if any(key.number == other.number for other in there):
            continue  # the number was drawn before in this millisecond
        for other in ended:
            writes += keys.revocation(other)
        if _written(ctx, guard, maker, writes):
            for other in ended:
                keys.forget(ctx, other)
            _tell(ctx, "create_api_key", key, maker)
            return key, text
    raise TransactionConflict("too many keys made at a time")


def change(ctx: Context, owner: str, reference: str | int, wish: Wish, maker: ApiKey) -> Listed:
    """Rename a key, or set when it ends (None: not by itself). Raises as :func:`create`."""
    now = ctx.clock.now()
    for _ in range(_ATTEMPTS):
        guard = _guard(ctx, owner)
        before = one(ctx, owner, reference)
        key = before.key
        _require_power(maker, key)
        if wish.names_expiry:
            key = replace(key, expires_at=_allowed_expiry(wish, maker, now))
        if wish.display_name is not None and wish.display_name != key.display_name:
            others = [each for each in keys.of_owner(ctx, owner) if each.uuid != key.uuid]
            _require_free_name([each for each in others if not each.ended(now)], wish.display_name)
            key = replace(key, display_name=wish.display_name)
        if _written(ctx, guard, maker, keys.changed(key)):
            ctx.cache.pop(("api-key", key.key_hash), None)
            _tell(ctx, "change_api_key", key, maker)
            return Listed(key, before.last_used_at)
    raise TransactionConflict("too many keys changed at a time")


def revoke(ctx: Context, owner: str, reference: str | int, maker: ApiKey) -> None:
    """End an API key; other containers may take it for 30 s more.

    A key may end itself, the last one of the account too: bootstrap makes another.

    Raises:
        ApiError: 404 ``not_found``; 403 ``forbidden`` when it is worth more than who asks.
    """
    key = one(ctx, owner, reference).key
    _require_power(maker, key)
    ctx.store.transact(keys.revocation(key))
    keys.forget(ctx, key)
    _tell(ctx, "delete_api_key", key, maker)


def replace_all(
    ctx: Context, owner: str, display_name: str, scopes: tuple[str, ...]
) -> Secret[str]:
    """End every API key of an owner and make one instead; for who needs no key to be heard.

    No key that is made meanwhile by one of the former survives.
    """
    for _ in range(_ATTEMPTS):
        guard = _guard(ctx, owner)
        former = keys.of_owner(ctx, owner)
        _key, text, writes = keys.new_key(ctx, owner, display_name, scopes)
        for key in former[:_ENDED_AT_ONCE]:
            writes += keys.revocation(key)
        if not _written(ctx, guard, None, writes):
            continue
        for key in former[_ENDED_AT_ONCE:]:
            ctx.store.transact(keys.revocation(key))
        for key in former:
            keys.forget(ctx, key)
        logger.warning("all API keys replaced", extra={"owner": owner, "ended": len(former)})
        return text
    raise TransactionConflict("keys are made without an end")


def _guard(ctx: Context, owner: str) -> Update:
    """Return the write that fails when the owner's keys have changed since now. Raises 404."""
    settings = tables.environment_settings(owner)
    item = ctx.store.get(settings)
    if item is None or item.get("deleting"):
        raise ApiError("not_found", "There is no such environment")
    unchanged = All((Missing("deleting"), same(item, "keys_revision")))
    return Update(settings, add={"keys_revision": 1}, condition=unchanged)


def same(item: Item, revision: str) -> Condition:
    """Return the condition that a counter stands where it was read; of an item that exists."""
    if revision in item:
        return Equals(revision, item[revision])
    return All((THERE, Missing(revision)))


def _written(ctx: Context, guard: Update, maker: ApiKey | None, writes: list[Operation]) -> bool:
    """Write; return False when something changed meanwhile, raise 401 when the maker is gone."""
    checks: list[Operation] = [guard]
    if maker is not None and not any(_is_of(write, maker) for write in writes):
        checks.append(Check(tables.api_key_lookup(maker.key_hash), Equals("uuid", maker.uuid)))
    try:
        ctx.store.transact([*checks, *writes])
    except ConditionFailed as failure:
        if len(checks) > _MAKER and _MAKER in failure.failed:
            raise ApiError("unknown_account", "The API key that asks was revoked") from None
        return False
    return True


def _is_of(write: Operation, key: ApiKey) -> bool:
    return write.key == tables.api_key_lookup(key.key_hash)


def _allowed_expiry(wish: Wish, maker: ApiKey, now: float) -> int | None:
    if wish.expires_at is not None and wish.expires_at <= now * 1000:
        raise invalid("invalid_body", "invalid_value", "must lie in the future", "expires_at")
    latest = maker.expires_at
    if latest is not None and (wish.expires_at is None or wish.expires_at > latest):
        raise ApiError("forbidden", "An API key gives no other a longer life than its own")
    return wish.expires_at


def _require_scopes(maker: ApiKey, scopes: tuple[str, ...]) -> None:
    missing = [scope for scope in scopes if not keys.grants(maker.scopes, scope)]
    if missing:
        raise ApiError("forbidden", f"Insufficient scope. Required: {missing[0]}")


def _require_power(maker: ApiKey, key: ApiKey) -> None:
    """Require that a key of the account has all that another one has, or is the same."""
    if key.owner == keys.ACCOUNT and key.uuid != maker.uuid:
        _require_scopes(maker, key.scopes)


def _require_free_name(there: list[ApiKey], name: str) -> None:
    if any(key.display_name == name for key in there):
        raise ApiError("conflict", "An API key of this name exists already")


def _tell(ctx: Context, action: str, key: ApiKey, maker: ApiKey) -> None:
    """Leave the trace: in the environment's activity, and in the log of the function."""
    logger.info(action, extra={"owner": key.owner, "api_key": key.uuid, "by": maker.uuid})
    if key.owner == keys.ACCOUNT:
        return
    details: dict[str, Any] = {
        "display_name": key.display_name,
        "uuid": key.uuid,
        "scopes": " ".join(key.scopes),
        "expires_at": None if key.expires_at is None else iso(key.expires_at / 1000),
        **maker_of(maker),
    }
    told = Message("info", f"{_DONE[action]}: {key.display_name}", details)
    log.record(ctx, key.owner, "environment", action, "success", told)


def maker_of(key: ApiKey | None) -> dict[str, str]:
    """Return how a trace names the key that did something."""
    return {} if key is None else {"by": f"{key.display_name} ({key.uuid})"}


_DONE: Final = {
    "create_api_key": "An API key was created",
    "change_api_key": "An API key was changed",
    "delete_api_key": "An API key was revoked",
}
