"""The outbox: an event is written in the transaction of the change it tells of.

What the queue loses, or what was never queued since the function died, stands in the due index
and is found by the sweep (:mod:`keystow.events.delivery`).
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from keystow import ids
from keystow.activity.masking import host_of
from keystow.events import endpoints, traces
from keystow.events.webhook_body import auth_event
from keystow.log import logger
from keystow.queues import QueueUnavailable, group_of
from keystow.store import Put, StoreUnavailable, tables
from keystow.store.operations import NEW

if TYPE_CHECKING:
    from keystow.context import Context
    from keystow.records.connection import EndUser
    from keystow.records.environment import Environment
    from keystow.store import Item, Operation

OperationName = Literal["creation", "override", "refresh", "deletion"]

# The queue delivers within seconds; only what it lost is still pending after this.
GRACE_SECONDS: Final = 60
# 30 days after the end of the longest schedule (75 h and some).
LIFE_SECONDS: Final = 34 * 86_400


@dataclass(frozen=True)
class AuthEvent:
    """What happened to a connection (contract 12.2).

    Attributes:
        environment: whose.
        provider: id of the provider; empty when the integration is not known.
        auth_mode: the provider's; empty when it is not known, which is told as ``unknown``.
        provider_config_key: unique key of the integration.
        connection_id: id of the connection.
        operation: creation, override (re-authorized or re-imported), refresh or deletion.
        success: how it ended; ``refresh`` with success is a recovery after failures.
        error: type and description of a failure; must hold no secret.
        end_user: of the session that made the connection.
        tags: of the connection.
        webhook_url_override: of the session or connection; replaces primary, drops secondary.
        log_id: the activity operation that tells more.
        pending: of what waits for the backend's confirmation: which, until when, whose account.
        of: partition and identity of the connection, if there is one; an erasure finds it by them.
    """

    environment: Environment
    provider: str
    auth_mode: str
    provider_config_key: str
    connection_id: str
    operation: OperationName
    success: bool
    error: tuple[str, str] | None = None
    end_user: EndUser | None = None
    tags: dict[str, str] | None = None
    webhook_url_override: str | None = None
    log_id: str | None = None
    pending: dict[str, str] | None = None
    of: tuple[str, str] | None = None


@dataclass(frozen=True)
class Planned:
    """Writes for the caller's transaction, and what to dispatch once they are made."""

    writes: list[Operation]
    event_id: str
    groups: tuple[str, ...]  # the message group of each delivery


def plan(ctx: Context, event: AuthEvent) -> Planned | None:
    """Return how an event is stored, or None when nobody wants it (contract 12.3)."""
    targets = _targets(event)
    if targets:
        targets = _still_on(ctx, event.environment, targets)
    if not targets:
        return None
    now = ctx.clock.now()
    event_id = f"evt_{ctx.random.bytes(16).hex()}"
    created_at = int(now * 1000)
    ttl = int(now) + LIFE_SECONDS
    item: Item = {
        "environment": event.environment.id,
        "created_at": created_at,
        "type": "auth",
        "operation": event.operation,
        "success": event.success,
        "provider": event.provider,
        "integration_key": event.provider_config_key,
        "connection_id": event.connection_id,
        "activity": ids.operation_id(now, ctx.random),
        "ttl": ttl,
    }
    if event.log_id is not None:
        item["log_id"] = event.log_id
    whole: Item = {**item, "body": auth_event(event), "endpoints": len(targets)}
    writes: list[Operation] = [Put(tables.event(event_id), whole, NEW)]
    for place, (role, url) in enumerate(targets):
        delivery: Item = {
            **item,  # but for the body: lists read these rows and no others
            "created": f"{created_at:016d}#{event_id}#{place}",
            "role": role,
            "url": url,
            "attempt": 0,
            "state": "pending",
            "due_shard": shard(event_id),
            "due_at": created_at + GRACE_SECONDS * 1000,
            "ttl": ttl,
        }
        writes.append(Put(tables.delivery(event_id, place), delivery, NEW))
    if event.of is not None:
        writes.append(traces.of_event(*event.of, event_id, now))
    groups = tuple(receiver_group(event.environment.id, url) for _role, url in targets)
    return Planned(writes, event_id, groups)


def dispatch(ctx: Context, planned: Planned | None) -> None:
    """Queue the deliveries of a stored event; what the queue does not take, the sweep finds."""
    if planned is None:
        return
    for place, group in enumerate(planned.groups):
        if not enqueue(ctx, planned.event_id, place, 1, group):
            return


def receiver_group(environment: str, url: str) -> str:
    """Return the message group of what goes to a receiver."""
    return group_of(environment, host_of(url))


def enqueue(
    ctx: Context, event_id: str, endpoint: int, attempt: int, group: str, delay: float = 0
) -> bool:
    """Queue an attempt, to be made in ``delay`` seconds; False: it is left to the sweep.

    ``group``: see :func:`receiver_group`.
    """
    body = {"event_id": event_id, "endpoint": endpoint, "attempt": attempt}
    try:
        ctx.queues.send_webhook(body, delay, group)
    except QueueUnavailable as error:
        logger.warning(
            "webhook left to the sweep", extra={"event_id": event_id, "cause": str(error)}
        )
        return False
    return True


def shard(event_id: str) -> str:
    """Return the partition of the due index in which an event's deliveries wait."""
    return str(zlib.crc32(event_id.encode()) % tables.DUE_SHARDS)


def _targets(event: AuthEvent) -> list[tuple[str, str]]:
    """Return (role, url) of everyone who wants the event."""
    settings = event.environment.webhooks
    wanted = {
        "creation": settings.on_auth_creation,
        "override": True,
        "refresh": settings.on_auth_refresh_error,
        "deletion": settings.on_connection_deletion,
    }
    if not wanted[event.operation] and event.pending is None:
        return []
    if event.webhook_url_override:
        return [("override", event.webhook_url_override)]
    found = [("primary", settings.primary_url), ("secondary", settings.secondary_url)]
    return [(role, url) for role, url in found if url]


def _still_on(
    ctx: Context, environment: Environment, targets: list[tuple[str, str]]
) -> list[tuple[str, str]]:
    try:
        now = endpoints.current(ctx, environment.id)
    except StoreUnavailable:
        return targets  # the sender looks again
    if now is None:
        return targets
    return [(role, url) for role, url in targets if not now.is_disabled(url)]
