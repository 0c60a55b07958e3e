"""Makes the account, its environments and their first keys, once."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from keystow.environments import issuing, keys, service
from keystow.store import ConditionFailed, Put, tables
from keystow.store.operations import NEW

if TYPE_CHECKING:
    from keystow.context import Context

NAME_FORMAT: Final = re.compile(r"[a-z0-9_-]{1,255}")
KEY_NAME: Final = "Default - full access"
ACCOUNT_KEY_NAME: Final = "Account"
# A transaction holds 100 writes; an environment takes five of them.
MOST_ENVIRONMENTS: Final = 19


def bootstrap(ctx: Context) -> dict[str, Any]:
    """Create everything in one transaction and return the keys; they are never shown again.

    Returns:
        ``environment`` (the first one's name), its ``secret_key``, ``public_key`` and
        ``webhook_signing_key``, the ``account_key``, and ``environments``: all of them with their
        keys. When it was done before: :func:`done_already`.

    Raises:
        ValueError: the setting names no, too many or malformed environments.
    """
    marker = tables.environment_settings(keys.ACCOUNT)
    if ctx.store.get(marker) is not None:
        return done_already(ctx)
    names = environment_names(ctx.settings.environment_names)
    now = int(ctx.clock.now() * 1000)
    _, account_key, writes = keys.new_key(ctx, keys.ACCOUNT, ACCOUNT_KEY_NAME, keys.ACCOUNT_SCOPES)
    writes.insert(0, Put(marker, {"created_at": now}, NEW))
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


def done_already(ctx: Context) -> dict[str, Any]:
    """Return what may be said once the keys have been shown: that they have been."""
    names = [claim["sk"].partition("#")[2] for claim in service.claims(ctx)]
    return {
        "already_done": True,
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
