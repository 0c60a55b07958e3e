"""Connections that wait for the backend's confirmation.

Made in a session with ``confirm``: whoever opened the link has authorized, and whose account that
is only the backend can tell. Until it has said yes nothing is stored where connections stand:

    session ──▶ pending row, event with "pending" ──confirm──▶ the transaction of any connection
                │  not read, listed or refreshed           │
                │  15 min                                  └▶ pending row deleted in it
                └──▶ due index ──▶ sweep ──▶ worker: erased, and revoked at the provider

The row lies under the connection's partition and is no connection: for one that is authorized anew,
the old credential works on as if nothing had happened. Only one can wait at a time, so that what is
confirmed is what the event told of.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from keystow import ids, metrics
from keystow.activity import log as activity
from keystow.catalog.interpolate import as_text, value_of
from keystow.clock import iso
from keystow.connections.save import (
    KEEP,
    Draft,
    Replaces,
    SessionEnded,
    event_of_pending,
    save,
    still_open,
)
from keystow.connections.views import without_inputs
from keystow.errors import ApiError
from keystow.events import outbox, traces
from keystow.log import logger
from keystow.modes import mode_for, revocation
from keystow.oauth.redaction import plain
from keystow.records.connection import EndUser, Sealed, integration_partition, person_of
from keystow.records.environment import Environment
from keystow.refresh.due import shard_of
from keystow.registry import integrations, providers
from keystow.store import (
    Any_,
    AtMost,
    ConditionFailed,
    Delete,
    Equals,
    Key,
    Put,
    StoreUnavailable,
    TransactionConflict,
    Update,
    gates,
    tables,
)
from keystow.store.operations import NEW
from keystow.vault import Envelope, Purpose, VaultError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from keystow.connections.save import Saved
    from keystow.context import Context
    from keystow.records.integration import Integration
    from keystow.store import Item
    from keystow.store import Operation as Write

Operation: TypeAlias = Literal["creation", "override"]

WAIT_SECONDS: Final = 15 * 60
# The sweep may hand a row over so much early.
EARLY_MS: Final = 10_000
_LONGEST_NAME: Final = 200


def store(
    ctx: Context,
    draft: Draft,
    *,
    waits: bool,
    given: Mapping[str, Any],
    details: Mapping[str, Any],
) -> activity.Message:
    """Store what a session has brought about, or let it wait; return what the log says of it.

    Args:
        ctx: store, vault and queues.
        draft: what the connection shall be.
        waits: whether it takes the backend's confirmation.
        given: the connection config as it was before the provider told anything.
        details: what else the log says.

    Raises:
        ApiError: as :func:`keystow.connections.save.save` and :func:`hold`.
    """
    if not waits:
        made = save(ctx, draft)
        text = "The connection was made"
        return activity.Message("info", text, {**details, "as": made.operation})
    config = draft.sealed.connection_config.reveal()
    shown = without_inputs(config, draft.provider.secret_inputs)
    learnt = {name: value for name, value in shown.items() if given.get(name) != value}
    operation = hold(ctx, draft, learnt)
    text = "The connection waits for confirmation"
    return activity.Message("info", text, {**details, "as": operation})


def hold(ctx: Context, draft: Draft, learnt: Mapping[str, Any]) -> Operation:
    """Keep a draft until the backend confirms it, and tell the backend; return what it will be.

    Args:
        ctx: store, vault and queues.
        draft: what the connection shall be.
        learnt: what the provider told of the account; its entry says what of it is a name.

    Raises:
        ApiError: 409 ``connection_pending`` when another one waits for the same connection; 400
            ``invalid_connection`` when the integration was deleted; 401 ``unknown_account``;
            :class:`~keystow.connections.save.SessionEnded`.
        StoreUnavailable, VaultUnavailable, ItemTooLarge: nothing was stored.
    """
    now = int(ctx.clock.now() * 1000)
    until = now + WAIT_SECONDS * 1000
    pending_id = ids.short_id(ctx.random)
    anew = isinstance(draft.replaces, str)
    name = account_name(draft.provider.account, learnt)
    place = _place(draft.integration, draft.connection_id)
    operation: Operation = "override" if anew else "creation"
    told = {"id": pending_id, "until": iso(until / 1000)}
    if name is not None:
        told["account"] = name
    planned = outbox.plan(ctx, event_of_pending(draft, operation, told))
    sealed = ctx.vault.seal(
        Purpose.CREDENTIAL,
        draft.environment.id,
        _binding(draft.integration.id, draft.connection_id, pending_id),
        draft.sealed.as_bytes(),
    )
    item: Item = {
        **_listed(draft.integration, pending_id),
        "generation": pending_id,
        "until": until,
        "due_shard": shard_of(draft.connection_id),
        "due_at": until + EARLY_MS,
        "sealed": sealed.as_item(),
        "draft": _as_text(draft),
    }
    kind = str(draft.sealed.credentials.reveal().get("type") or "NONE")
    mode = mode_for(draft.provider, kind)
    config = draft.sealed.connection_config.reveal()
    host = mode.token_host(draft.provider, config) if mode else None
    if host is not None:  # where it is revoked, unless it is confirmed
        item["host"] = host
    free = Any_((NEW, AtMost("until", now)))
    writes: list[Write] = [Put(place, item, free), *(planned.writes if planned else ())]
    if draft.operation is not None:
        mine = traces.pending(pending_id)
        writes.append(traces.of_operation(place.pk, mine, draft.operation, ctx.clock.now()))
    writes += still_open(draft)
    try:
        gates.transact(
            ctx.store,
            writes,
            environment=draft.environment.id,
            integration=draft.integration.id,
            spread=draft.connection_id,
        )
    except ConditionFailed as failed:
        if failed.found and failed.found[0] and failed.found[0].get("generation") == pending_id:
            outbox.dispatch(ctx, planned)  # a repeat after a lost answer
            return operation
        if draft.session is not None and len(writes) - 1 in failed.failed:
            raise SessionEnded from None
        raise ApiError(
            "connection_pending", "Another authorization of this connection waits for confirmation"
        ) from None
    outbox.dispatch(ctx, planned)
    return operation


def confirm(
    ctx: Context,
    environment: str,
    provider_config_key: str,
    connection_id: str,
    pending_id: str | None,
) -> None:
    """Make a connection of what waits.

    Args:
        ctx: store, vault and queues.
        environment: the caller's.
        provider_config_key: unique key of the integration.
        connection_id: which connection.
        pending_id: which authorization of it, as the event told; None: the one that waits.

    Raises:
        ApiError: 400 ``unknown_provider_config``, ``invalid_connection`` when what it would replace
            is gone; 404 ``not_found`` when nothing waits, or no longer; 409 ``connection_pending``
            when another one waits than the one named.
    """
    integration = integrations.by_unique_key(ctx, environment, provider_config_key, fresh=True)
    if integration is None:
        raise ApiError("unknown_provider_config", "There is no integration of this key")
    item = ctx.store.get(_place(integration, connection_id))
    if item is None or item["until"] <= ctx.clock.now() * 1000:
        raise ApiError("not_found", "Nothing waits for confirmation under this id")
    if pending_id is not None and item["generation"] != pending_id:
        raise ApiError("connection_pending", "Another authorization waits than the one named")
    draft = _draft_of(ctx, integration, connection_id, item)
    mine = Delete(_place(integration, connection_id), Equals("generation", item["generation"]))
    try:
        saved = save(ctx, draft, mine)
    except ApiError as error:
        if error.code == "invalid_connection" and ctx.store.get(mine.key) is None:
            raise ApiError("not_found", "It has been confirmed in this moment") from None
        raise
    _note(ctx, draft, saved)


def withdraw(ctx: Context, integration: Integration, connection_id: str) -> bool:
    """Erase what waits under an id and revoke it; return whether there was something.

    Raises:
        StoreUnavailable: try again.
    """
    item = ctx.store.get(_place(integration, connection_id))
    return item is not None and _end(ctx, integration, connection_id, item)


def take(
    ctx: Context,
    integration: Integration,
    connection_id: str,
    pending_id: str,
    moved: Callable[[Item, tuple[str, ...]], Sequence[Write]],
) -> bool:
    """Erase what waits without revoking it; return whether this call did.

    Args:
        ctx: the store.
        integration: whose.
        connection_id: under which id it waits.
        pending_id: which authorization is meant.
        moved: returns the writes that keep its credential, given the row and what its envelope is
            bound to, in the same transaction.

    Raises:
        ApiError: 401 ``unknown_account`` when the environment is being deleted.
        StoreUnavailable, TransactionConflict: try again.
    """
    place = _place(integration, connection_id)
    item = ctx.store.get(place)
    if item is None or item["generation"] != pending_id:
        return False
    kept = moved(item, _binding(integration.id, connection_id, pending_id))
    return _remove(ctx, integration, connection_id, pending_id, kept)


def expire(ctx: Context, pk: str, pending_id: str) -> None:
    """Erase what was not confirmed in time, and revoke it at the provider.

    Raises:
        StoreUnavailable, VaultUnavailable: it must come again.
    """
    environment, integration_id, connection_id = tables.split_connection_pk(pk)
    item = ctx.store.get(Key(tables.CONNECTIONS, pk, tables.CONNECTION_PENDING))
    if item is None or item["generation"] != pending_id:
        return
    if item["until"] > ctx.clock.now() * 1000:
        again = Update(
            Key(tables.CONNECTIONS, pk, tables.CONNECTION_PENDING),
            set={"due_at": item["until"] + EARLY_MS},
            condition=Equals("generation", pending_id),
        )
        ctx.store.update(again)
        return
    integration = integrations.by_id(ctx, environment, integration_id)
    if integration is None:  # with its integration, who to revoke it with is gone
        traces.erase(ctx, pk, traces.pending(pending_id))
        ctx.store.delete(Key(tables.CONNECTIONS, pk, tables.CONNECTION_PENDING))
        return
    with suppress(gates.EnvironmentClosed):  # its removal erases it
        _end(ctx, integration, connection_id, item)


def person(item: Item) -> str | None:
    """Return whose connection a row that waits would become."""
    found = json.loads(item["draft"])
    return person_of(EndUser.from_item(found["end_user"]), found["tags"])


def account_name(names: Sequence[str], learnt: Mapping[str, Any]) -> str | None:
    """Return the first value that is there of those that name an account, None when none is.

    Whoever owns the account chose it: it is made plain for mails and pages that show it.

    Args:
        names: ``account`` of the provider's entry.
        learnt: what the provider told.
    """
    for name in names:
        text = as_text(value_of(learnt, name))
        if text is not None and (shown := plain(text, _LONGEST_NAME)):
            return shown
    return None


def _end(ctx: Context, integration: Integration, connection_id: str, item: Item) -> bool:
    sealed = _unsealed(ctx, integration, connection_id, item)
    if not _remove(ctx, integration, connection_id, item["generation"]):
        return False
    # Providers revoke all that one user gave one app: the credential that is in use would end too.
    in_use = ctx.store.get(
        tables.connection(integration.environment, integration.id, connection_id)
    )
    outcome = "kept"
    provider = providers.find(ctx, integration.environment, integration.provider)
    if in_use is None and provider is not None and sealed is not None:
        outcome = revocation.revoke(ctx, provider, integration, sealed).outcome
    activity.record(
        ctx,
        integration.environment,
        "auth",
        "create_connection",
        "failed",
        activity.Message(
            "warn", "The connection was not confirmed and was erased", {"revocation": outcome}
        ),
        connection_id=connection_id,
        integration_key=integration.unique_key,
        provider=integration.provider,
    )
    return True


def _remove(
    ctx: Context,
    integration: Integration,
    connection_id: str,
    pending_id: str,
    kept: Sequence[Write] = (),
) -> bool:
    """Remove what waits, and its end user from events and log; return whether this call did.

    The mark names what is left of the end user when that is cut off, as of a deleted connection.
    """
    place, identity = _place(integration, connection_id), traces.pending(pending_id)
    mark = tables.removed_connection(integration.environment, identity)
    writes: list[Write] = [
        Delete(place, Equals("generation", pending_id)),
        Put(mark, {"connection": place.pk, "generation": pending_id}),
        *kept,
    ]
    try:
        gates.transact(ctx.store, writes, environment=integration.environment, spread=connection_id)
    except ConditionFailed:
        return False  # confirmed, or erased, in this moment
    try:
        traces.erase(ctx, place.pk, identity)
        ctx.store.delete(mark)
    except (StoreUnavailable, TransactionConflict) as error:
        logger.warning("traces left for later", extra={"cause": type(error).__name__})
    return True


def _note(ctx: Context, draft: Draft, saved: Saved) -> None:
    activity.record(
        ctx,
        draft.environment.id,
        "auth",
        "create_connection",
        "success",
        activity.Message("info", "The connection was confirmed", {"as": saved.operation}),
        connection_id=draft.connection_id,
        integration_key=draft.integration.unique_key,
        provider=draft.provider.id,
    )


def _place(integration: Integration, connection_id: str) -> Key:
    return tables.connection_pending(integration.environment, integration.id, connection_id)


def _listed(integration: Integration, pending_id: str) -> Item:
    """Return by what removals of an integration or environment find it, and lists do not."""
    partition = integration_partition(integration.environment, integration.id)
    return {
        "environment": tables.pending_partition(integration.environment),
        "integration": tables.pending_partition(partition),
        "created": pending_id,
    }


def _binding(integration: str, connection_id: str, pending_id: str) -> tuple[str, ...]:
    return (integration, connection_id, tables.CONNECTION_PENDING, pending_id)


def _unsealed(
    ctx: Context, integration: Integration, connection_id: str, item: Item
) -> Sealed | None:
    binding = _binding(integration.id, connection_id, item["generation"])
    try:
        plaintext = ctx.vault.open(
            Purpose.CREDENTIAL,
            integration.environment,
            binding,
            Envelope.from_item(item["sealed"]),
        )
    except VaultError:
        metrics.count(metrics.SECRETS_UNOPENED)
        logger.error("a pending credential does not open", extra={"connection": connection_id})
        return None
    return Sealed.from_bytes(plaintext)


def _as_text(draft: Draft) -> str:
    end_user = draft.end_user
    assert draft.tags is not KEEP
    return json.dumps(
        {
            "metadata": "keep" if draft.metadata is KEEP else draft.metadata,
            "tags": draft.tags,
            "end_user": end_user.as_item() if isinstance(end_user, EndUser) else None,
            "webhook_url_override": draft.webhook_url_override,
            "fetched": draft.fetched,
            "replaces": draft.replaces if isinstance(draft.replaces, str) else None,
        }
    )


def _draft_of(ctx: Context, integration: Integration, connection_id: str, item: Item) -> Draft:
    found = json.loads(item["draft"])
    sealed = _unsealed(ctx, integration, connection_id, item)
    provider = providers.find(ctx, integration.environment, integration.provider)
    if sealed is None or provider is None:
        raise ApiError("invalid_connection", "What waits cannot be opened; connect again")
    environment = ctx.store.get(tables.environment_settings(integration.environment))
    if environment is None or environment.get("deleting"):
        raise gates.EnvironmentClosed
    return Draft(
        environment=Environment.from_item(environment),
        integration=integration,
        provider=provider,
        connection_id=connection_id,
        sealed=sealed,
        metadata=KEEP if found["metadata"] == "keep" else found["metadata"],
        tags=found["tags"],
        end_user=EndUser.from_item(found["end_user"]),
        webhook_url_override=found["webhook_url_override"],
        fetched=found["fetched"],
        by_session=True,
        replaces=found["replaces"] or Replaces.NOTHING,
        # An incident that was declared while it waited takes it, confirmed or not.
        authorized_at=item["until"] - WAIT_SECONDS * 1000,
    )
