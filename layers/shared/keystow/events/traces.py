"""Where a connection has left personal data of its end user, so that an erasure finds it.

    connection ──made, or refused──▶ event: end user and tags in its body
         │                           operation: the end user's id
         └── trace#… beside it in its partition: which event, which operation

Events and operations are kept for weeks, and nothing else leads from a connection to them. What was
erased is not sent any more either: a delivery that still waits goes out without end user, tags and
account.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from keystow import ids
from keystow.activity import log
from keystow.events.webhook_body import stringify
from keystow.records.connection import created_order, end_user_partition
from keystow.store import ConditionFailed, Key, Put, Update, tables
from keystow.store.operations import THERE
from keystow.store.store import pages
from keystow.value import Value

if TYPE_CHECKING:
    from keystow.context import Context
    from keystow.records.connection import Connection
    from keystow.store import Item, Operation

# Longer than an event lives, also one that is replayed several times.
KEPT_SECONDS: Final = 180 * 86_400
# Of the body of a webhook: what is about a person.
PERSONAL: Final = ("endUser", "tags")
_ACCOUNT: Final = "account"  # in ``pending``
_PENDING: Final = "pending#"


class Erased(Value):
    """How many events and operations told of an end user, and do no more."""

    events: int = 0
    operations: int = 0

    def __add__(self, other: Erased) -> Erased:
        """Return both together."""
        return Erased(self.events + other.events, self.operations + other.operations)


def of_event(pk: str, identity: str, event_id: str, now: float) -> Operation:
    """Return the write that leads from a connection to an event.

    Args:
        pk: partition of the connection.
        identity: of the connection.
        event_id: the event.
        now: seconds since the epoch.
    """
    row = {"identity": identity, "event": event_id, "ttl": int(now) + KEPT_SECONDS}
    return Put(tables.trace(pk, event_id), row)


def of_operation(pk: str, identity: str, operation: str, now: float) -> Operation:
    """Return the write that leads from a connection to an operation of the activity log."""
    row = {"identity": identity, "operation": operation, "ttl": int(now) + KEPT_SECONDS}
    return Put(tables.trace(pk, operation), row)


def of_former(before: Connection, person: str | None, now: float) -> list[Update]:
    """Return what leads from an end user to a connection that is another's from now on.

    Args:
        before: the connection as it was.
        person: whose it is from now on.
        now: seconds since the epoch.
    """
    if before.person is None or before.person == person:
        return []
    whose = end_user_partition(before.environment, before.person)
    row = {
        "identity": before.identity,
        "end_user": former(whose),
        "created": created_order(before.created_at, before.id),
        "ttl": int(now) + KEPT_SECONDS,
    }
    place = tables.trace(before.key.pk, f"former#{ids.sha256_hex(before.person)}")
    return [Update(place, set=row)]


def former(whose: str) -> str:
    """Return where the index lists what was an end user's before, apart from what is theirs."""
    return f"former#{whose}"


def pending(pending_id: str) -> str:
    """Return the identity in traces of what waits for confirmation: it has none of its own yet."""
    return f"{_PENDING}{pending_id}"


def of_person(
    environment: str,
    end_user: str,
    entry: str,
    told: Item,
    now: float,
    kept_seconds: int = KEPT_SECONDS,
) -> Operation:
    """Return the write that leads from an end user to what no connection leads to.

    Args:
        environment: whose.
        end_user: the id, as the backend spells it; its hash is stored.
        entry: what of it, once for each.
        told: ``session``, ``attempt``, ``operation``, ``event``: which.
        now: seconds since the epoch.
        kept_seconds: how long it leads there.
    """
    place = tables.end_user_trace(environment, ids.sha256_hex(end_user), entry)
    return Put(place, {**told, "ttl": int(now) + kept_seconds})


def erase(ctx: Context, pk: str, identity: str) -> Erased:
    """Take what a connection has left behind out of events and the activity log.

    What has waited for confirmation under its id goes with it. Doing it twice changes nothing.
    Raises as the store.
    """
    erased = Erased()
    for row in pages(ctx.store, tables.CONNECTIONS, pk, prefix=tables.TRACE):
        if row["identity"] == identity or row["identity"].startswith(_PENDING):
            erased = erased + follow(ctx, row)
            ctx.store.delete(Key(tables.CONNECTIONS, pk, row["sk"]))
    return erased


def follow(ctx: Context, row: Item) -> Erased:
    """Erase what one trace leads to; return what that was. Raises as the store."""
    environment, _, _ = tables.split_connection_pk(row["pk"])
    return follow_to(ctx, environment, row)


def follow_to(ctx: Context, environment: str, told: Item, end_user: str | None = None) -> Erased:
    """Erase an event or an operation; return what was erased. Raises as the store.

    Args:
        ctx: the store.
        environment: whose.
        told: which ``event``, which ``operation``.
        end_user: only what names this end user; None: whomever it names.
    """
    event = "event" in told and _erase_event(ctx, told["event"], end_user)
    operation = "operation" in told and log.forget_end_user(
        ctx, environment, told["operation"], end_user
    )
    return Erased(int(event), int(operation))


def _erase_event(ctx: Context, event_id: str, end_user: str | None) -> bool:
    key = tables.event(event_id)
    item = ctx.store.get(key)
    if item is None:
        return False
    body = json.loads(item["body"])
    if end_user is not None and end_user not in _named(body):
        return False
    left = {name: value for name, value in body.items() if name not in PERSONAL}
    if "pending" in left:  # without it the event would tell of a connection that never was
        left["pending"] = {
            name: value for name, value in left["pending"].items() if name != _ACCOUNT
        }
    if left == body:
        return False
    try:
        ctx.store.update(Update(key, set={"body": stringify(left)}, condition=THERE))
    except ConditionFailed:  # it has expired
        return False
    return True


def _named(body: Item) -> set[str | None]:
    """Return the ids of the end users that an event names."""
    person = body.get("endUser") or {}
    return {person.get("endUserId"), (body.get("tags") or {}).get("end_user_id")}
