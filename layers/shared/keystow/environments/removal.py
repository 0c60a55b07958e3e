"""Shreds an environment: its keys stop working, its data keys are destroyed, its rows removed.

    mark, shut ─▶ API keys ─▶ data keys ─▶ connections, ─▶ the rest ─▶ all once ─▶ data keys,
    nothing new   nobody      nothing of   events, log     of it       more        item, name
    is stored     calls any   it opens     (bounded; a                 (indexes
    any more      more        any more     repeated call               come late)
                                           goes on)

From the first step on every writer is refused in its own transaction (:mod:`keystow.store.gates`),
so that the data keys destroyed are all there will ever be. Unwrapped ones may live 5 minutes more
in the memory of running functions. Sessions expire by themselves; what is sealed in authorizations
under way is destroyed with the data keys.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from keystow.environments import keys
from keystow.environments.service import number_claim
from keystow.errors import ApiError
from keystow.integrations.removal import remove_listed, remove_partitions
from keystow.records.environment import Environment
from keystow.store import (
    ConditionFailed,
    Delete,
    Equals,
    Key,
    Missing,
    TransactionConflict,
    Update,
    gates,
    tables,
)
from keystow.store.operations import THERE, All
from keystow.store.store import pages

if TYPE_CHECKING:
    from keystow.context import Context

BATCHES_A_CALL: Final = 10
# An index shows what was stored in the last moment a little later than the table.
SETTLED_SECONDS: Final = 3.0
_LISTED: Final = (tables.CONNECTIONS, tables.EVENTS, tables.ACTIVITY)


def shred(ctx: Context, environment: Environment, batches: int = BATCHES_A_CALL) -> None:
    """Remove an environment for ever.

    Args:
        ctx: store and clock.
        environment: which.
        batches: how many hundred connections, events and operations to remove in this call.

    Raises:
        ApiError: 400 ``cannot_delete_prod_environment``; 404 ``not_found``; 503
            ``temporarily_unavailable`` when rows are left: what they held is destroyed already, and
            the same call goes on.
    """
    if environment.is_production:
        raise ApiError(
            "cannot_delete_prod_environment", "A production environment can't be deleted"
        )
    shut_at, environment = _shut(ctx, environment)
    _end_api_keys(ctx, environment)
    _destroy_data_keys(ctx, environment)
    _remove_listed_rows(ctx, environment, batches)
    _remove_registry_rows(ctx, environment)
    ctx.clock.sleep(max(0.0, shut_at / 1000 + SETTLED_SECONDS - ctx.clock.now()))
    _end_api_keys(ctx, environment)
    _destroy_data_keys(ctx, environment)
    _remove_listed_rows(ctx, environment, BATCHES_A_CALL)
    _remove_registry_rows(ctx, environment)
    _remove_data_keys(ctx, environment)
    name = tables.environment_name(environment.name)
    number = number_claim(environment.number)
    owned = Equals("environment", environment.id)
    public_key = tables.public_key(environment.public_key)
    gone = [Delete(name, owned), Delete(number, owned), Delete(public_key)]
    ctx.store.transact([Delete(environment.key), *gone])


def _shut(ctx: Context, environment: Environment) -> tuple[int, Environment]:
    """Let nothing new be stored from now on.

    Returns:
        Since when that is so, in milliseconds, and the environment: nobody renames it any more.
    """
    now = int(ctx.clock.now() * 1000)
    free = All((THERE, Equals("is_production", False), Missing("deleting_at")))
    mark = Update(environment.key, set={"deleting": True, "deleting_at": now}, condition=free)
    shutting = gates.shutting_environment(environment.id, now)
    shut_at = None
    try:
        ctx.store.transact([mark, *shutting])
        shut_at = int(ctx.clock.now() * 1000)
    except TransactionConflict:  # too many are writing in it for all at once
        with suppress(ConditionFailed):
            ctx.store.update(mark)
    except ConditionFailed:
        pass  # marked before, or not to be deleted
    item = ctx.store.get(environment.key)
    if item is None or item.get("is_production") or "deleting_at" not in item:
        raise ApiError("not_found", "There is no such environment")
    if shut_at is None:
        shut_at = gates.environment_shut_at(ctx.store, environment.id)
    if shut_at is None:
        gates.shut_one_by_one(ctx.store, shutting)
        shut_at = int(ctx.clock.now() * 1000)
    return shut_at, Environment.from_item(item)


def _end_api_keys(ctx: Context, environment: Environment) -> None:
    for key in keys.of_owner(ctx, environment.id):
        ctx.store.transact(keys.revocation(key))
        keys.forget(ctx, key)
    uses = tables.api_key_uses(environment.id)
    for note in pages(ctx.store, tables.KEYS, uses):  # also of keys that were ended before
        ctx.store.delete(Key(tables.KEYS, uses, note["sk"]))


def _destroy_data_keys(ctx: Context, environment: Environment) -> None:
    """Take the wrapped keys out of their rows, which stay to tell that they are destroyed."""
    now = int(ctx.clock.now() * 1000)
    for item in pages(ctx.store, tables.REGISTRY, tables.data_keys(environment.id)):
        if "wrapped" in item:
            key = tables.data_key(environment.id, item["sk"])
            ctx.store.update(Update(key, set={"destroyed_at": now}, remove=("wrapped",)))


def _remove_data_keys(ctx: Context, environment: Environment) -> None:
    for item in pages(ctx.store, tables.REGISTRY, tables.data_keys(environment.id)):
        ctx.store.delete(tables.data_key(environment.id, item["sk"]))


def _remove_listed_rows(ctx: Context, environment: Environment, batches: int) -> None:
    beside = (tables.pending_partition(environment.id), tables.incidents(environment.id))
    listed = [(tables.CONNECTIONS, each) for each in beside]
    for table, partition in (*listed, *((each, environment.id) for each in _LISTED)):
        batches, done = remove_listed(ctx, table, "by_environment", partition, batches)
        if not done:
            raise ApiError(
                "temporarily_unavailable",
                "Keys are revoked and secrets destroyed; repeat the request to remove what is left",
                headers={"retry-after": "1"},
            )
    marks = tables.removed_connections(environment.id)
    remove_partitions(ctx, tables.CONNECTIONS, [marks])


def _remove_registry_rows(ctx: Context, environment: Environment) -> None:
    """Remove every row but the environment's own, its gates, and the data keys' that go last."""
    for item in pages(ctx.store, tables.REGISTRY, environment.id):
        sort_key = item["sk"]
        if sort_key != environment.key.sk and not gates.is_of_environment(sort_key):
            ctx.store.delete(Key(tables.REGISTRY, environment.id, sort_key))
    for item in pages(ctx.store, tables.REGISTRY, tables.throttles(environment.id)):
        ctx.store.delete(tables.throttle(environment.id, item["sk"]))
    ctx.store.delete(tables.disabled_webhooks(environment.id))
