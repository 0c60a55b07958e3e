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
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from keystow.activity import log
from keystow.events.webhook_body import stringify
from keystow.store import ConditionFailed, Key, Put, Update, tables
from keystow.store.operations import THERE
from keystow.store.store import pages

if TYPE_CHECKING:
    from keystow.context import Context
    from keystow.store import Item, Operation

# Longer than an event lives, also one that is replayed several times.
KEPT_SECONDS: Final = 180 * 86_400
# Of the body of a webhook: what is about a person.
PERSONAL: Final = ("endUser", "tags")
_ACCOUNT: Final = "account"  # in ``pending``
_PENDING: Final = "pending#"


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


def pending(pending_id: str) -> str:
    """Return the identity in traces of what waits for confirmation: it has none of its own yet."""
    return f"{_PENDING}{pending_id}"


def erase(ctx: Context, pk: str, identity: str) -> None:
    """Take what a connection has left behind out of events and the activity log.

    What has waited for confirmation under its id goes with it. Doing it twice changes nothing.
    Raises as the store.
    """
    for row in pages(ctx.store, tables.CONNECTIONS, pk, prefix=tables.TRACE):
        if row["identity"] == identity or row["identity"].startswith(_PENDING):
            follow(ctx, row)
            ctx.store.delete(Key(tables.CONNECTIONS, pk, row["sk"]))


def follow(ctx: Context, row: Item) -> None:
    """Erase what one trace leads to. Raises as the store."""
    if "event" in row:
        _erase_event(ctx, row["event"])
    if "operation" in row:
        environment, _, _ = tables.split_connection_pk(row["pk"])
        log.forget_end_user(ctx, environment, row["operation"])


def _erase_event(ctx: Context, event_id: str) -> None:
    key = tables.event(event_id)
    item = ctx.store.get(key)
    if item is None:
        return
    body = json.loads(item["body"])
    left = {name: value for name, value in body.items() if name not in PERSONAL}
    if "pending" in left:  # without it the event would tell of a connection that never was
        left["pending"] = {
            name: value for name, value in left["pending"].items() if name != _ACCOUNT
        }
    if left != body:
        with suppress(ConditionFailed):  # it has expired
            ctx.store.update(Update(key, set={"body": stringify(left)}, condition=THERE))
