"""Makes the account, its environments and their first keys, once."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from keystow import ids
from keystow.environments import issuing, keys, service
from keystow.records.environment import ApiKey
from keystow.store import ConditionFailed, Delete, Key, Put, tables
from keystow.store.operations import NEW
from keystow.store.store import pages

if TYPE_CHECKING:
    from keystow.context import Context

NAME_FORMAT: Final = re.compile(r"[a-z0-9_-]{1,255}")
KEY_NAME: Final = "Default - full access"
ACCOUNT_KEY_NAME: Final = "Account"
# A transaction holds 100 writes; an environment takes five of them.
MOST_ENVIRONMENTS: Final = 19


def bootstrap(ctx: Context) -> dict[str, Any]:
    """Create everything in one transaction and return the keys; they are never shown again.

    When it was done before, API keys of an earlier version move to the table they have now.

    Returns:
        ``environment`` (the first one's name), its ``secret_key``, ``public_key`` and
        ``webhook_signing_key``, the ``account_key``, and ``environments``: all of them with their
        keys. When it was done before: :func:`done_already`.

    Raises:
        ValueError: the setting names no, too many or malformed environments.
    """
    marker = tables.environment_settings(keys.ACCOUNT)
    if ctx.store.get(marker) is not None:
        return done_already(ctx, take_over_keys(ctx))
    names = environment_names(ctx.settings.environment_names)
    now = int(ctx.clock.now() * 1000)
    _, account_key, writes = keys.new_key(ctx, keys.ACCOUNT, ACCOUNT_KEY_NAME, keys.ACCOUNT_SCOPES)
    writes.insert(0, Put(marker, {"created_at": now}, NEW))
    writes.append(Put(tables.keys_moved(), {"at": now}, NEW))
    made: dict[int, dict[str, Any]] = {}
    while len(made) < len(names):
        name = names[len(made)]
        environment, signing_key, environment_writes = service.new_environment(
            ctx, name, is_production=name == service.PRODUCTION
        )
        if environment.number in made:
            continue  # drawn twice in this millisecond
        _, secret_key, key_writes = keys.new_key(
            ctx, environment.id, KEY_NAME, keys.ENVIRONMENT_SCOPES
        )
        writes += [*environment_writes, *key_writes]
        made[environment.number] = {
            "environment": name,
            "environment_id": environment.number,
            "uuid": environment.uuid,
            "secret_key": secret_key.reveal(),
            "public_key": environment.public_key,
            "webhook_signing_key": signing_key.reveal(),
        }
    try:
        ctx.store.transact(writes)
    except ConditionFailed:
        return done_already(ctx)
    environments = list(made.values())
    shown = ("environment", "secret_key", "public_key", "webhook_signing_key")
    first = {name: environments[0][name] for name in shown}
    return {**first, "account_key": account_key.reveal(), "environments": environments}


def take_over_keys(ctx: Context) -> int:
    """Move API keys and data keys of an earlier version to where they are now.

    Returns how many API keys there were.

    It happens once. Later, a row in Registry that looks like a key is none: more functions may
    write there.
    """
    if ctx.store.get(tables.keys_moved()) is not None:
        return 0
    owners = [keys.ACCOUNT, *(str(claim["environment"]) for claim in service.claims(ctx))]
    moved = 0
    for owner in owners:
        for entry in pages(ctx.store, tables.REGISTRY, owner, prefix="apikey#"):
            lookup = Key(tables.REGISTRY, f"key#{entry['key_hash']}", "key")
            key = ApiKey.from_item({**entry, "uuid": ids.uuid4(ctx.random)})
            writes = [
                *keys.storing(key),
                Delete(lookup),
                Delete(Key(lookup.table, owner, entry["sk"])),
            ]
            ctx.store.transact(writes)
            moved += 1
        _move_data_keys(ctx, owner)
    ctx.store.put(Put(tables.keys_moved(), {"at": int(ctx.clock.now() * 1000)}))
    return moved


def _move_data_keys(ctx: Context, environment: str) -> None:
    for item in pages(ctx.store, tables.REGISTRY, environment, prefix="datakey#"):
        place = tables.data_key(environment, item["sk"].removeprefix("datakey#"))
        kept = {name: value for name, value in item.items() if name not in {"pk", "sk"}}
        before = Key(tables.REGISTRY, environment, item["sk"])
        ctx.store.transact([Put(place, kept), Delete(before)])


def done_already(ctx: Context, moved: int = 0) -> dict[str, Any]:
    """Return what may be said once the keys have been shown: that they have been."""
    names = [claim["sk"].partition("#")[2] for claim in service.claims(ctx)]
    return {
        "already_done": True,
        **({"keys_moved": moved} if moved else {}),
        "environments": names,
        "message": (
            "The account exists and its keys were answered before; they are not shown again. "
            'Invoke with {"rotate": true} for a new account key.'
        ),
    }


def rotate_account_key(ctx: Context) -> dict[str, Any]:
    """Replace every account key by a new one and return it; what was before stops working.

    With it new API keys of environments can be made (``POST /environment/api-keys``).

    Raises:
        ValueError: there is no account yet.
    """
    if ctx.store.get(tables.environment_settings(keys.ACCOUNT)) is None:
        raise ValueError("there is no account yet: invoke without rotate first")
    text = issuing.replace_all(ctx, keys.ACCOUNT, ACCOUNT_KEY_NAME, keys.ACCOUNT_SCOPES)
    return {
        "already_done": True,
        "account_key": text.reveal(),
        "message": "This is a new account key; earlier ones are revoked (within 30 s everywhere).",
    }


def environment_names(setting: str) -> list[str]:
    """Return the names in a setting such as ``dev,prod``. Raises ValueError."""
    names = list(dict.fromkeys(name.strip() for name in setting.split(",") if name.strip()))
    if not 1 <= len(names) <= MOST_ENVIRONMENTS:
        raise ValueError(f"name one to {MOST_ENVIRONMENTS} environments")
    if not all(NAME_FORMAT.fullmatch(name) for name in names):
        raise ValueError("an environment's name has lower-case letters, digits, _ and -")
    return names
