"""Shreds an environment: its keys stop working, its data keys are destroyed, its rows removed.

    mark deleting ─▶ API keys ─▶ data keys ─▶ connections ─▶ the rest ─▶ its item and its name
                     nobody      nothing of    descriptions   (bounded; a repeated call goes on
                     calls       it opens      hold personal   where the last one stopped)
                     any more    any more      data

Unwrapped data keys may live 5 minutes more in the memory of running functions. Sessions, events
and activity hold no credential and expire by themselves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from keystow.environments import keys
from keystow.environments.service import number_claim
from keystow.errors import ApiError
from keystow.integrations.removal import remove_rows
from keystow.records.environment import Environment
from keystow.store import ConditionFailed, Delete, Equals, Key, Update, tables
from keystow.store.operations import THERE, All
from keystow.store.store import pages

if TYPE_CHECKING:
    from keystow.context import Context

BATCH: Final = 100
BATCHES_A_CALL: Final = 10


def shred(ctx: Context, environment: Environment, batches: int = BATCHES_A_CALL) -> None:
    """Remove an environment for ever.

    Args:
        ctx: the store.
        environment: which.
        batches: how many hundred connections to remove in this call.

    Raises:
        ApiError: 400 ``cannot_delete_prod_environment``; 404 ``not_found``; 503
            ``temporarily_unavailable`` when rows are left: what they held is destroyed already, and
            the same call goes on.
    """
    if environment.is_production:
        raise ApiError(
            "cannot_delete_prod_environment", "A production environment can't be deleted"
        )
    condition = All((THERE, Equals("is_production", False)))
    try:
        found = ctx.store.update(
            Update(environment.key, set={"deleting": True}, condition=condition)
        )
    except ConditionFailed:
        raise ApiError("not_found", "There is no such environment") from None
    environment = Environment.from_item(found)  # nobody renames it any more
    for key in keys.of_owner(ctx, environment.id):
        ctx.store.transact(keys.revocation(key))
        keys.forget(ctx, key)
    _destroy_data_keys(ctx, environment)
    if not _remove_connections(ctx, environment, batches):
        raise ApiError(
            "temporarily_unavailable",
            "Keys are revoked and secrets destroyed; repeat the request to remove what is left",
            headers={"retry-after": "1"},
        )
    _remove_registry_rows(ctx, environment)
    name = tables.environment_name(environment.name)
    number = number_claim(environment.number)
    owned = Equals("environment", environment.id)
    ctx.store.transact([Delete(environment.key), Delete(name, owned), Delete(number, owned)])


def _destroy_data_keys(ctx: Context, environment: Environment) -> None:
    # The rows stay, without the key: who still tries to seal finds it destroyed and makes no other.
    now = int(ctx.clock.now() * 1000)
    for item in pages(ctx.store, tables.REGISTRY, environment.id, prefix="datakey#"):
        if "wrapped" in item:
            key = Key(tables.REGISTRY, environment.id, item["sk"])
            ctx.store.update(Update(key, set={"destroyed_at": now}, remove=("wrapped",)))


def _remove_connections(ctx: Context, environment: Environment, batches: int) -> bool:
    start = None
    for _ in range(batches):
        page = ctx.store.query(
            tables.CONNECTIONS, environment.id, index="by_environment", limit=BATCH, start=start
        )
        remove_rows(ctx, [item["pk"] for item in page.items])
        if page.next is None:
            return True
        start = page.next
    return False


def _remove_registry_rows(ctx: Context, environment: Environment) -> None:
    for prefix in ("integration", "removed_integration#", "provider#", "throttle#"):
        for item in pages(ctx.store, tables.REGISTRY, environment.id, prefix=prefix):
            ctx.store.delete(Key(tables.REGISTRY, environment.id, item["sk"]))
