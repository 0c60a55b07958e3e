"""Committing a refresh: conditional on generation, version and fence; never losing a token."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from keystow import metrics
from keystow.activity import log as activity
from keystow.events import outbox
from keystow.log import logger
from keystow.queues import QueueUnavailable, group_of
from keystow.records.connection import AuthError, Connection, StoredSecret
from keystow.records.environment import Environment
from keystow.refresh import journal
from keystow.refresh.failures import NEEDS_A_PERSON
from keystow.refresh.lease import is_held, still_mine
from keystow.registry import integrations, providers
from keystow.store import (
    ConditionFailed,
    Equals,
    Put,
    StoreUnavailable,
    TransactionConflict,
    Update,
    tables,
)
from keystow.value import replace
from keystow.vault import VaultUnavailable

if TYPE_CHECKING:
    from keystow.catalog.loader import Provider
    from keystow.context import Context
    from keystow.records.integration import Integration
    from keystow.store import Operation

ATTEMPTS: Final = 4
PAUSE_SECONDS: Final = 0.5
# After that the queue takes over: the function's own time is running.
PATIENCE_SECONDS: Final = 3.0
QUEUE_DELAY_SECONDS: Final = 30
# The type of a failed refresh in webhooks, as clients know it (contract 12.2).
ERROR_TYPE: Final = "refresh_token_external_error"
# Of a key or password that the daily check found refused, so many times in a row.
CHECK_ERROR_TYPE: Final = "connection_test_failed"
CHECKS_BELIEVED: Final = 2

State = Literal["stored", "queued", "overtaken", "replaced", "deleted"]


@dataclass(frozen=True)
class Result:
    """How a commit ended, and the credential that is stored now (None: deleted)."""

    state: State
    secret: StoredSecret | None


def store(ctx: Context, before: StoredSecret, after: StoredSecret) -> Result:
    """Store a renewed credential.

    When the table does not answer, the sealed credential travels on the refresh queue until it can
    be committed: the provider has already forgotten the old one. So it does when the data key for
    the journal is not at hand.
    """
    try:
        return _or_newer_fence(ctx, before, after)
    except (StoreUnavailable, TransactionConflict, VaultUnavailable):
        logger.warning("commit postponed", extra={"connection": after.connection_id})
        send_to_queue(ctx, before, after)
        return Result("queued", after)


def _or_newer_fence(ctx: Context, before: StoredSecret, after: StoredSecret) -> Result:
    """Store a credential, also when others have held the lease since but stored none.

    While one of them is at it, the credential is parked, for them to find should theirs be refused,
    and comes again.

    Raises:
        StoreUnavailable, TransactionConflict, VaultUnavailable: it must come again.
    """
    for _attempt in range(ATTEMPTS):
        result = _persist(ctx, before, after)
        found = result.secret
        if result.state != "overtaken" or found is None:
            return result
        if found.version != before.version:
            journal.park(ctx, after, after.unseal(ctx.vault))
            return result
        if is_held(found, int(ctx.clock.now() * 1000)):
            journal.park(ctx, after, after.unseal(ctx.vault))
            raise TransactionConflict("another refresher holds the lease")
        before = found
        after = replace(after, fence=found.fence)
    raise TransactionConflict("the lease kept changing")


def store_again(ctx: Context, before: StoredSecret, after: StoredSecret) -> Result:
    """Store a renewed credential that has come back from the queue.

    When a newer one is stored, it is parked in the journal; when the connection was deleted or
    authorized anew, it is dropped.

    Raises:
        StoreUnavailable, TransactionConflict, VaultUnavailable: it must come again.
    """
    return _or_newer_fence(ctx, before, after)


def store_failure(
    ctx: Context,
    before: StoredSecret,
    after: StoredSecret,
    provider: Provider | None,
    integration: Integration | None,
) -> Result:
    """Store a failed attempt, or a check; without the table, the lease runs out by itself."""
    try:
        return _persist(ctx, before, after, provider, integration)
    except (StoreUnavailable, TransactionConflict):
        logger.warning("outcome not recorded", extra={"connection": after.connection_id})
        return Result("stored", after)


def _persist(
    ctx: Context,
    before: StoredSecret,
    after: StoredSecret,
    provider: Provider | None = None,
    integration: Integration | None = None,
) -> Result:
    secret_write = Put(after.key, after.as_item(), still_mine(before))
    # The description says whether there is an error; it changes only when that does.
    in_step = before.failure is None and after.failure is None
    until = ctx.clock.now() + PATIENCE_SECONDS
    for attempt in range(ATTEMPTS):
        change = _Change()
        try:
            if in_step:
                ctx.store.put(secret_write)
            else:
                change = _description_change(ctx, after, provider, integration)
                ctx.store.transact([secret_write, *change.writes])
        except ConditionFailed as refusal:
            result = _judge(ctx, before, after, refusal)
            if result is not None:
                return result
            continue  # only the description had changed: look at it again
        except (StoreUnavailable, TransactionConflict):
            if attempt == ATTEMPTS - 1 or ctx.clock.now() >= until:
                raise
            ctx.clock.sleep(PAUSE_SECONDS * (attempt + 1))
            continue
        outbox.dispatch(ctx, change.planned)
        if change.recovered:
            _record_recovery(ctx, after, integration)
        return Result("stored", after)
    raise TransactionConflict("the description kept changing")


@dataclass(frozen=True)
class _Change:
    """What a commit writes beside the credential."""

    writes: tuple[Operation, ...] = ()
    planned: outbox.Planned | None = None
    recovered: bool = False  # an error that the description showed is over


def _description_change(
    ctx: Context,
    after: StoredSecret,
    provider: Provider | None,
    integration: Integration | None,
) -> _Change:
    """Return what keeps the description in step, with an event where one is due."""
    place = tables.connection(after.environment, after.integration, after.connection_id)
    item = ctx.store.get(place)
    if item is None or item["generation"] != after.generation:
        return _Change()  # the credential's own condition will tell
    description = Connection.from_item(item)
    earlier = description.auth_error
    now = int(ctx.clock.now() * 1000)
    planned = None
    if after.failure is None:
        if earlier is None:
            return _Change()
        if earlier.told:
            planned = _event(ctx, description, after, provider, integration)
        update = Update(
            place,
            set={"updated_at": now},
            remove=("auth_error",),
            condition=Equals("generation", after.generation),
        )
    elif not after.refreshable and after.failure.attempts < CHECKS_BELIEVED:
        return _Change()
    else:
        told = earlier is not None and earlier.told
        tell = not told and _is_broken(after, now)
        if tell:
            planned = _event(ctx, description, after, provider, integration)
        told = told or planned is not None  # where nobody wanted to hear it, nobody was told
        error = AuthError(after.failure.log_id, told=told)
        update = Update(
            place,
            set={"auth_error": error.as_item()},
            condition=Equals("generation", after.generation),
        )
    writes = (update, *(planned.writes if planned else ()))
    return _Change(writes, planned, recovered=after.failure is None)


def _record_recovery(ctx: Context, after: StoredSecret, integration: Integration | None) -> None:
    if integration is None:
        integration = integrations.by_id(ctx, after.environment, after.integration)
    action = "refresh_token" if after.refreshable else "connection_test"
    text = "Refreshing works again" if after.refreshable else "The provider accepts it again"
    activity.record(
        ctx,
        after.environment,
        "auth",
        action,
        "success",
        activity.Message("info", text),
        connection_id=after.connection_id,
        integration_key=integration.unique_key if integration else None,
        provider=after.provider,
    )


def _is_broken(after: StoredSecret, now: int) -> bool:
    """Return whether the SaaS should hear: a person is needed, or nothing usable is left."""
    assert after.failure is not None
    if after.failure.kind in NEEDS_A_PERSON:
        return True
    return after.expires_at is not None and after.expires_at <= now


def _event(
    ctx: Context,
    description: Connection,
    after: StoredSecret,
    provider: Provider | None,
    integration: Integration | None,
) -> outbox.Planned | None:
    item = ctx.store.get(tables.environment_settings(description.environment))
    if item is None or item.get("deleting"):
        return None
    if integration is None:
        integration = integrations.by_id(ctx, description.environment, description.integration)
    if provider is None:
        provider = providers.find(ctx, description.environment, description.provider)
    failure = after.failure
    error_type = ERROR_TYPE if after.refreshable else CHECK_ERROR_TYPE
    return outbox.plan(
        ctx,
        outbox.AuthEvent(
            environment=Environment.from_item(item),
            provider=description.provider if integration else "",
            auth_mode=provider.auth_mode if provider and integration else "",
            provider_config_key=integration.unique_key if integration else "unknown",
            connection_id=description.connection_id,
            operation="refresh",
            success=failure is None,
            error=None if failure is None else (error_type, failure.description),
            end_user=None,
            tags=description.tags,
            webhook_url_override=description.webhook_url_override,
            log_id=failure.log_id if failure else None,
            of=(description.key.pk, description.identity),
        ),
    )


def _judge(
    ctx: Context, before: StoredSecret, after: StoredSecret, refusal: ConditionFailed
) -> Result | None:
    """Return what a refused commit means; None when only the description was in the way."""
    if 0 not in refusal.failed:
        return None
    item = ctx.store.get(after.key)
    if item is None:
        return Result("deleted", None)
    found = StoredSecret.from_item(item)
    if found.write_id == after.write_id:
        return Result("stored", found)  # our own write, whose answer was lost
    if found.generation != before.generation:
        return Result("replaced", found)
    return Result("overtaken", found)


def send_to_queue(
    ctx: Context, before: StoredSecret, after: StoredSecret, delay: float = QUEUE_DELAY_SECONDS
) -> None:
    """Hand a commit to the refresh queue, sealed as it would be stored."""
    body = {
        "commit": {
            "pk": after.key.pk,
            "before": {"version": before.version, "fence": before.fence},
            "item": _portable(after.as_item()),
        }
    }
    try:
        ctx.queues.send_refresh(body, delay, group_of(after.environment, after.host or ""))
    except QueueUnavailable:
        metrics.count(metrics.TOKENS_LOST)
        logger.error(
            "a renewed credential could be neither stored nor queued",
            extra={"connection": after.connection_id},
        )


def from_queue(body: dict[str, Any]) -> tuple[StoredSecret, StoredSecret]:
    """Return the credential before and after of a queued commit. Raises KeyError, ValueError."""
    after = StoredSecret.from_item({**_unportable(body["item"]), "pk": body["pk"]})
    before = replace(after, version=body["before"]["version"], fence=body["before"]["fence"])
    return before, after


def _portable(value: Any) -> Any:
    match value:
        case bytes():
            return {"__bytes__": base64.b64encode(value).decode()}
        case dict():
            return {name: _portable(entry) for name, entry in value.items()}
        case _:
            return value


def _unportable(value: Any) -> Any:
    match value:
        case {"__bytes__": str(text)}:
            return base64.b64decode(text)
        case dict():
            return {name: _unportable(entry) for name, entry in value.items()}
        case _:
            return value
