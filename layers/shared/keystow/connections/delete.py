"""Deleting a connection: here first, then at the provider where it listens.

    description, secret, journal gone, ─▶ its end user erased from events ─▶ revoked
    mark and event written                and log; then the mark is gone
    one transaction

The event names the connection and nobody: what it would tell of the end user is being erased.

What the mark still names when a function was killed is erased later
(:mod:`keystow.environments.unfinished`).
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from keystow import ids
from keystow.activity import log as activity
from keystow.connections import pending
from keystow.connections.save import ATTEMPTS
from keystow.errors import ApiError
from keystow.events import endpoints, outbox, traces
from keystow.log import logger
from keystow.modes import revocation
from keystow.records.connection import Connection, StoredSecret
from keystow.registry import integrations, providers
from keystow.store import (
    All,
    ConditionFailed,
    Delete,
    Equals,
    Key,
    Put,
    StoreUnavailable,
    TransactionConflict,
    gates,
    tables,
)
from keystow.store.store import pages
from keystow.value import Value
from keystow.vault import VaultError, VaultUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from keystow.context import Context
    from keystow.records.integration import Integration
    from keystow.store import Item, Operation

# A transaction holds 100 writes: these, the connection, the mark, the event, a gate.
_MOST_JOURNALLED: Final = 80

# What became of a credential at its provider; ``not_opened``: it could not be shown there.
Revocation: TypeAlias = Literal["done", "unsupported", "failed", "not_opened"]


# The credential and the rows of its journal, and the writes that keep them elsewhere.
Moved: TypeAlias = "Callable[[StoredSecret, Sequence[Item]], Sequence[Operation]]"


class Deleted(Value):
    """What a deletion has done.

    ``revocation`` is None where only something that waited for confirmation stood under the id;
    ``erased`` counts the events and operations that told of the end user.
    """

    revocation: Revocation | None
    erased: traces.Erased = traces.Erased()


def delete(ctx: Context, environment: str, provider_config_key: str, connection_id: str) -> None:
    """Delete a connection and revoke its credential at the provider, and what waits under its id.

    What the provider does is recorded in the activity log and never stops the deletion. A refresh
    that is under way finds the connection gone and cannot store anything.

    Raises:
        ApiError: 400 ``unknown_connection``; 401 ``unknown_account`` when the environment is being
            deleted, which removes it too.
    """
    integration = integrations.by_unique_key(ctx, environment, provider_config_key, fresh=True)
    if integration is None:
        raise ApiError("unknown_connection")
    if delete_of(ctx, integration, connection_id) is None:
        raise ApiError("unknown_connection")


def delete_of(ctx: Context, integration: Integration, connection_id: str) -> Deleted | None:
    """Delete what stands under an id of an integration; return what that did, None if nothing did.

    Raises:
        ApiError: 401 ``unknown_account`` when the environment is being deleted; 503
            ``temporarily_unavailable`` when the connection kept changing.
    """
    found = _remove(ctx, integration, connection_id)
    withdrawn = pending.withdraw(ctx, integration, connection_id)
    if found is None:
        return Deleted(None) if withdrawn else None
    erased = _erase_now(ctx, *found)
    return Deleted(_revoke(ctx, integration, found[1]), erased)


def take(
    ctx: Context, integration: Integration, connection_id: str, generation: str, moved: Moved
) -> bool:
    """Delete a connection without revoking it; return whether this call did.

    Args:
        ctx: store and queues.
        integration: its integration.
        connection_id: which.
        generation: the authorization that is meant; a newer one stays.
        moved: returns the writes that keep its credential, in the same transaction.

    Raises:
        ApiError: as :func:`delete_of`.
    """
    found = _remove(ctx, integration, connection_id, generation, moved)
    if found is None:
        return False
    _erase_now(ctx, *found)
    return True


def _erase_now(ctx: Context, identity: str, stored: StoredSecret) -> traces.Erased:
    try:
        return _erase(ctx, stored, identity)
    except (StoreUnavailable, TransactionConflict) as error:
        logger.warning("traces left for later", extra={"cause": type(error).__name__})
        return traces.Erased()


def erase_the_rest(ctx: Context, environment: str, most: int) -> None:
    """Erase what deletions that were cut off have left; of at most ``most`` connections."""
    marks = pages(ctx.store, tables.CONNECTIONS, tables.removed_connections(environment))
    for mark in islice(marks, most):
        _erase_partition(ctx, mark["connection"], mark["sk"], mark["generation"])
        ctx.store.delete(tables.removed_connection(environment, mark["sk"]))


def _erase(ctx: Context, secret: StoredSecret, identity: str) -> traces.Erased:
    erased = _erase_partition(ctx, secret.key.pk, identity, secret.generation)
    ctx.store.delete(tables.removed_connection(secret.environment, identity))
    return erased


def _erase_partition(ctx: Context, pk: str, identity: str, generation: str) -> traces.Erased:
    """Remove what stands beside a connection that is gone; one made anew there keeps its own."""
    for row in pages(ctx.store, tables.CONNECTIONS, pk, prefix="journal#"):
        if row["generation"] == generation:
            ctx.store.delete(Key(tables.CONNECTIONS, pk, row["sk"]))
    return traces.erase(ctx, pk, identity)


def _remove(
    ctx: Context,
    integration: Integration,
    connection_id: str,
    generation: str | None = None,
    moved: Moved | None = None,
) -> tuple[str, StoredSecret] | None:
    """Remove a connection; return its identity and what was stored, None when there is none."""
    pk = tables.connection_pk(integration.environment, integration.id, connection_id)
    for _attempt in range(ATTEMPTS):
        items = list(pages(ctx.store, tables.CONNECTIONS, pk))
        found = {item["sk"]: item for item in items}
        if tables.CONNECTION not in found:
            return None
        if tables.CONNECTION_SECRET not in found:
            ctx.store.delete(tables.connection(*tables.split_connection_pk(pk)))
            return None  # its integration is being removed, and this was what was left of it
        secret = StoredSecret.from_item(found[tables.CONNECTION_SECRET])
        if generation is not None and secret.generation != generation:
            return None
        # The version is part of the condition: what is revoked is what was stored at the end.
        unchanged = All(
            (Equals("generation", secret.generation), Equals("version", secret.version))
        )
        description = Connection.from_item(found[tables.CONNECTION])
        identity = description.identity
        planned = _planned(ctx, integration, description)
        same = Equals("identity", identity)
        mark = tables.removed_connection(secret.environment, identity)
        journal = [each for each in found if each.startswith("journal#")][:_MOST_JOURNALLED]
        writes: list[Operation] = [
            Delete(tables.connection(*tables.split_connection_pk(pk)), same),
            Delete(secret.key, unchanged),
            Put(mark, {"connection": pk, "generation": secret.generation}),
            *(Delete(Key(tables.CONNECTIONS, pk, sort_key)) for sort_key in journal),
            *(planned.writes if planned else ()),
            *(moved(secret, [found[each] for each in journal]) if moved else ()),
        ]
        try:
            gates.transact(
                ctx.store,
                writes,
                environment=secret.environment,
                spread=connection_id,
                token=ids.uuid4(ctx.random),
            )
        except ConditionFailed:
            continue
        outbox.dispatch(ctx, planned)
        return identity, secret
    raise ApiError("temporarily_unavailable", "The connection kept changing; try again")


def _planned(
    ctx: Context, integration: Integration, description: Connection
) -> outbox.Planned | None:
    """Return how the event of the deletion is stored; None when nobody wants it.

    It carries no end user and no tags, and needs no trace: no erasure has anything to take out.
    """
    told = endpoints.current(ctx, integration.environment)
    if told is None:
        return None
    provider = providers.find(ctx, integration.environment, integration.provider)
    event = outbox.AuthEvent(
        environment=told.environment,
        provider=integration.provider,
        auth_mode=provider.auth_mode if provider else "",
        provider_config_key=integration.unique_key,
        connection_id=description.connection_id,
        operation="deletion",
        success=True,
        webhook_url_override=description.webhook_url_override,
    )
    return outbox.plan(ctx, event)


def _revoke(ctx: Context, integration: Integration, secret: StoredSecret) -> Revocation:
    provider = providers.find(ctx, secret.environment, integration.provider)
    if provider is None:
        return "unsupported"
    try:
        result = revocation.revoke(ctx, provider, integration, secret.unseal(ctx.vault))
    except (VaultError, VaultUnavailable) as error:
        logger.warning("not revoked", extra={"cause": type(error).__name__})
        return "not_opened"
    if result.outcome == "unsupported":
        return "unsupported"
    done = result.outcome == "done"
    activity.record(
        ctx,
        secret.environment,
        "events",
        "pre_connection_deletion",
        "success" if done else "failed",
        activity.Message(
            "info" if done else "warn",
            "The credential was revoked at the provider"
            if done
            else "The provider did not confirm that the credential is revoked",
            {"outcome": result.outcome, "detail": result.detail},
        ),
        connection_id=secret.connection_id,
        integration_key=integration.unique_key,
        provider=provider.id,
    )
    return result.outcome
