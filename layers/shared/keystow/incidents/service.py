"""Declaring an incident, seeing to it that all of its scope is taken, and telling how far it is.

    POST ─▶ row and mark ─▶ what an index lists goes to the ─▶ worker: taken, revoked
            one transaction  refresh queue, 25 a message        (incidents.taking)
                 ▲                                                    │
                 └── every five minutes: is anything still listed? ◀──┘   no: the mark goes

The queue is durable and the looking again is by the mark, so that nothing depends on one run.
"""

from __future__ import annotations

import re
from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from keystow import ids, metrics, paging
from keystow.clock import iso
from keystow.connections import pending
from keystow.errors import ApiError
from keystow.log import logger
from keystow.queues import QueueUnavailable, group_of
from keystow.records.connection import end_user_partition, integration_partition
from keystow.records.incident import Incident
from keystow.registry import integrations
from keystow.store import (
    ConditionFailed,
    Key,
    Put,
    StoreUnavailable,
    TransactionConflict,
    Update,
    gates,
    tables,
)
from keystow.store.operations import NEW, THERE
from keystow.store.store import pages

if TYPE_CHECKING:
    from collections.abc import Iterator

    from keystow.context import Context
    from keystow.incidents.requests import IncidentBody
    from keystow.store import Item

BATCH: Final = 25
# An index shows what was stored in the last moment a little later than the table.
SETTLED_MS: Final = 3_000
DEFAULT_LIMIT: Final = 100
MOST: Final = 500
OUTCOMES: Final = ("done", "failed", "unsupported", "not_opened")
_ID: Final = re.compile(r"[0-9]{13}_[0-9a-f]{16}")


def declare(
    ctx: Context, environment: str, body: IncidentBody, by: str, until: float
) -> dict[str, Any]:
    """Declare an incident and hand what it is about to the worker; return it.

    Args:
        ctx: store and queues.
        environment: the caller's.
        body: what of it, and why.
        by: UUID of the key that declares it.
        until: epoch seconds after which no further message is sent; the schedule goes on.

    Raises:
        ApiError: 400 ``unknown_provider_config``; 401 ``unknown_account`` when the environment is
            being deleted.
    """
    integration = None
    if body.provider_config_key is not None:
        integration = integrations.by_unique_key(
            ctx, environment, body.provider_config_key, fresh=True
        )
        if integration is None:
            raise ApiError("unknown_provider_config", "There is no integration of this key")
    now = ctx.clock.now()
    incident = Incident(
        environment=environment,
        id=ids.operation_id(now, ctx.random),
        created_at=int(now * 1000),
        reason=body.reason,
        by=by,
        integration=integration.id if integration else None,
        integration_key=integration.unique_key if integration else None,
        end_user=body.end_user_id,
        of_end_user=body.end_user_id is not None,
    )
    mark = Put(tables.open_incident(environment, incident.id), {})
    gates.transact(
        ctx.store,
        [Put(incident.key, incident.as_item(), NEW), mark],
        environment=environment,
        spread=incident.id,
    )
    try:
        _hand_over(ctx, incident, until)
        return _shown(ctx, incident)
    except StoreUnavailable as error:  # it is declared, and the schedule hands over
        logger.warning("incident unfinished", extra={"cause": type(error).__name__})
        return _told(incident, Counter(), "taking")


def listed(ctx: Context, environment: str, limit: int, cursor: str | None) -> dict[str, Any]:
    """Return ``{"data": [...], "next_cursor"}``: incidents, newest first, with their progress.

    Raises:
        ApiError: 400 ``invalid_query_params`` for a cursor that is none.
    """
    after = paging.read_cursor(cursor, 2)
    start = None
    if after is not None:
        start = {"created": after[0], "pk": after[1], "sk": tables.INCIDENT}
    partition = tables.incidents(environment)
    rows = paging.newest(ctx.store, tables.CONNECTIONS, "by_environment", partition, start)
    found = list(islice(rows, limit + 1))
    shown = [_shown(ctx, Incident.from_item(item)) for item in found[:limit]]
    more = None
    if len(found) > limit:
        more = paging.cursor(found[limit - 1]["created"], found[limit - 1]["pk"])
    return {"data": shown, "next_cursor": more}


def detailed(
    ctx: Context, environment: str, incident_id: str, limit: int, cursor: str | None
) -> dict[str, Any]:
    """Return an incident with the outcome of each token, a page of them.

    Raises:
        ApiError: 404 ``not_found``; 400 ``invalid_query_params`` for a cursor that is none.
    """
    after = paging.read_cursor(cursor, 1)
    item = None
    if _ID.fullmatch(incident_id):
        item = ctx.store.get(tables.incident(environment, incident_id))
    if item is None:
        raise ApiError("not_found", "There is no such incident")
    pk = item["pk"]
    start = None if after is None else {"pk": pk, "sk": after[0]}
    if after is not None and not after[0].startswith(tables.TAKEN):
        raise paging.wrong_cursor()
    page = ctx.store.query(tables.CONNECTIONS, pk, prefix=tables.TAKEN, limit=limit, start=start)
    more = None if page.next is None else paging.cursor(page.items[-1]["sk"])
    tokens = [_token(row) for row in page.items]
    shown = _shown(ctx, Incident.from_item(item))
    return {"data": {**shown, "tokens": tokens}, "next_cursor": more}


def go_on(ctx: Context, until: float) -> dict[str, int]:
    """Look after incidents that have not taken everything; return how many, and how many have now.

    Each gets the same share of what time is left, so that a large one holds up no other.

    Args:
        ctx: store and queues.
        until: epoch seconds after which no further one is begun.
    """
    found = complete = 0
    marks = list(pages(ctx.store, tables.CONNECTIONS, tables.OPEN_INCIDENTS))
    for mark in marks:
        now = ctx.clock.now()
        if now >= until:
            break
        share = (until - now) / (len(marks) - found)
        found += 1
        try:
            complete += _look_after(ctx, mark, now + share)
        except (StoreUnavailable, TransactionConflict) as error:
            # The next call goes on; others need not wait for this one.
            logger.warning("incident unfinished", extra={"cause": type(error).__name__})
        except Exception as error:  # noqa: BLE001 - one incident must not stop the others
            metrics.count(metrics.FAULTS)
            logger.error("incident fault", extra={"cause": type(error).__name__})
    return {"incidents": found, "complete": complete}


def _look_after(ctx: Context, mark: Item, until: float) -> bool:
    """Hand over what is left of one incident; return whether nothing was."""
    environment, _, incident_id = mark["sk"].partition("#")
    item = ctx.store.get(tables.incident(environment, incident_id))
    if item is None:  # its environment was deleted
        ctx.store.delete(Key(tables.CONNECTIONS, mark["pk"], mark["sk"]))
        return False
    incident = Incident.from_item(item)
    if _hand_over(ctx, incident, until) or not _settled(ctx, incident):
        return False
    _complete(ctx, incident)
    return True


def _settled(ctx: Context, incident: Incident) -> bool:
    return ctx.clock.now() * 1000 - incident.created_at > SETTLED_MS


def _complete(ctx: Context, incident: Incident) -> None:
    """Note that nothing of the scope is connected any more; of whom it was is forgotten."""
    now = int(ctx.clock.now() * 1000)
    try:
        ctx.store.update(
            Update(incident.key, set={"taken_at": now}, remove=("end_user_id",), condition=THERE)
        )
    except ConditionFailed:
        logger.warning("an incident is gone", extra={"incident": incident.id})
    ctx.store.delete(tables.open_incident(incident.environment, incident.id))


def _hand_over(ctx: Context, incident: Incident, until: float) -> int:
    """Send what is connected of a scope to the worker; return how many, at least 1 if it was cut.

    What is in the queue already is sent once more: who comes second finds nothing.
    """
    group = group_of(incident.environment, f"incident/{incident.id}")
    rows = _connected(ctx, incident)
    sent = 0
    while batch := list(islice(rows, BATCH)):
        sent += len(batch)
        part = [
            {
                "incident": incident.key.pk,
                "pk": row["pk"],
                "sk": row["sk"],
                "generation": row["generation"],
            }
            for row in batch
        ]
        try:
            ctx.queues.send_refresh({"take": part}, 0, group)
        except QueueUnavailable:
            logger.warning("an incident waits for the queue", extra={"incident": incident.id})
            break
        if ctx.clock.now() >= until:
            break
    return sent


def _connected(ctx: Context, incident: Incident) -> Iterator[Item]:
    """Yield what of the scope was connected, or waited, when the incident was declared."""
    environment = incident.environment
    index, partition, waiting = "by_environment", environment, environment
    if incident.integration is not None:
        partition = waiting = integration_partition(environment, incident.integration)
        index = "by_integration"
    elif incident.of_end_user:
        if incident.end_user is None:
            return  # it was complete
        index, partition = "by_end_user", end_user_partition(environment, incident.end_user)
    among = "by_integration" if incident.integration is not None else "by_environment"
    in_time = incident.created_at + pending.WAIT_SECONDS * 1000
    for row in pages(ctx.store, tables.CONNECTIONS, tables.pending_partition(waiting), index=among):
        theirs = not incident.of_end_user or pending.person(row) == incident.end_user
        if theirs and row["until"] <= in_time:
            yield row
    for row in pages(ctx.store, tables.CONNECTIONS, partition, index=index):
        if row["created_at"] > incident.created_at:
            return  # they come in the order in which they were made
        yield row


def _shown(ctx: Context, incident: Incident) -> dict[str, Any]:
    counts: Counter[str] = Counter()
    rows = pages(ctx.store, tables.CONNECTIONS, incident.key.pk, prefix=tables.TAKEN_COUNT)
    for row in rows:
        counts.update({name: row.get(name, 0) for name in ("taken", *OUTCOMES)})
    state = "revoking" if _waiting(counts) else "finished"
    if incident.taken_at is None and (
        not _settled(ctx, incident) or next(_connected(ctx, incident), None) is not None
    ):
        state = "taking"
    return _told(incident, counts, state)


def _told(incident: Incident, counts: Counter[str], state: str) -> dict[str, Any]:
    scope: dict[str, Any] = {"environment": True}
    if incident.integration is not None:
        scope = {"provider_config_key": incident.integration_key}
    elif incident.of_end_user:
        scope = {"end_user_id": incident.end_user}
    return {
        "id": incident.id,
        "state": state,
        "scope": scope,
        "reason": incident.reason,
        "declared_by": incident.by,
        "created_at": iso(incident.created_at / 1000),
        "counts": {
            "taken": counts["taken"],
            "waiting": _waiting(counts),
            **{name: counts[name] for name in OUTCOMES},
        },
    }


def _waiting(counts: Counter[str]) -> int:
    return counts["taken"] - sum(counts[name] for name in OUTCOMES)


def _token(row: Item) -> dict[str, Any]:
    ended = row.get("ended_at")
    return {
        "connection_id": row["connection_id"],
        "provider_config_key": row["integration_key"],
        "provider": row["provider"],
        "outcome": row.get("outcome", "waiting"),
        "detail": row.get("detail"),
        "attempts": row["attempts"],
        "taken_at": iso(row["taken_at"] / 1000),
        "ended_at": None if ended is None else iso(ended / 1000),
    }
