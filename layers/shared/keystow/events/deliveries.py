"""Deliveries as the API shows them: listed newest first, and one with its attempts and body.

A URL may carry a secret in its path or query, so nothing but its host is shown.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from keystow import paging
from keystow.activity.masking import host_of
from keystow.clock import iso
from keystow.errors import ApiError
from keystow.store import tables

if TYPE_CHECKING:
    from keystow.context import Context
    from keystow.store import Item

STATES: Final = ("pending", "delivered", "failed")
DEFAULT_LIMIT: Final = 100
MOST: Final = 500
EXAMINED: Final = 500  # rows that one request looks at, whatever its filters leave

_ID: Final = re.compile(r"(evt_[0-9a-f]{32})\.([0-9])")
_CREATED: Final = re.compile(r"[0-9]{16}#(evt_[0-9a-f]{32})#([0-9])")


@dataclass(frozen=True)
class Query:
    """What is asked; None: whatever it be."""

    state: str | None = None
    connection_id: str | None = None
    limit: int = DEFAULT_LIMIT
    cursor: str | None = None


def find(ctx: Context, environment: str, query: Query) -> dict[str, Any]:
    """Return ``{"data": [...], "next_cursor"}``, newest first.

    Raises:
        ApiError: 400 ``invalid_query_params`` for a cursor that is none.
    """
    now = ctx.clock.now()

    def wanted(row: Item) -> bool:
        return (
            row["ttl"] > now
            and query.state in {None, _state(row)}
            and query.connection_id in {None, row["connection_id"]}
        )

    rows = paging.newest(
        ctx.store, tables.EVENTS, "by_environment", environment, _after(query.cursor)
    )
    found, last = paging.matching(rows, wanted, limit=query.limit, examine=EXAMINED)
    return {
        "data": [_shown(row, now) for row in found],
        "next_cursor": paging.cursor(last["created"]) if last else None,
    }


def summary(ctx: Context, environment: str, delivery_id: str) -> dict[str, Any]:
    """Return a delivery as lists show it: without its body. Raises as :func:`required`."""
    return _shown(required(ctx, environment, delivery_id), ctx.clock.now())


def detailed(ctx: Context, environment: str, delivery_id: str) -> dict[str, Any]:
    """Return a delivery with its attempts and its body. Raises as :func:`required`."""
    row = required(ctx, environment, delivery_id)
    event = ctx.store.get(tables.event(row["pk"]))
    if event is None:
        raise _unknown()
    history = [
        {"number": made["number"], "at": _date(made["at"]), "host": made["host"], **_answer(made)}
        for made in row.get("attempts_made", ())
    ]
    shown = _shown(row, ctx.clock.now())
    return {**shown, "history": history, "body": json.loads(event["body"])}


def required(ctx: Context, environment: str, delivery_id: str) -> Item:
    """Return the row of a delivery.

    Raises:
        ApiError: 404 ``not_found``, also for a delivery of another environment.
    """
    row = ctx.store.get(tables.delivery(*parts(delivery_id)))
    if row is None or row.get("environment") != environment or row["ttl"] <= ctx.clock.now():
        raise _unknown()
    return row


def parts(delivery_id: str) -> tuple[str, int]:
    """Return event and endpoint of a delivery's id. Raises 404 ``not_found``."""
    found = _ID.fullmatch(delivery_id)
    if found is None:
        raise _unknown()
    return found[1], int(found[2])


def _after(cursor: str | None) -> Item | None:
    found = paging.read_cursor(cursor, 1)
    if found is None:
        return None
    place = _CREATED.fullmatch(found[0])
    if place is None:
        raise paging.wrong_cursor()
    key = tables.delivery(place[1], int(place[2]))
    return {"created": found[0], "pk": key.pk, "sk": key.sk}


def _shown(row: Item, now: float) -> dict[str, Any]:
    attempts = row.get("attempts_made", ())
    last = attempts[-1] if attempts else None
    return {
        "id": f"{row['pk']}.{row['sk'].rpartition('#')[2]}",
        "webhook_id": row["pk"],
        "type": row["type"],
        "operation": row["operation"],
        "success": row["success"],
        "connection_id": row["connection_id"],
        "provider_config_key": row["integration_key"],
        "target": {"role": row["role"], "host": last["host"] if last else host_of(row["url"])},
        "state": _state(row),
        "attempts": row["attempt"],
        "last_answer": {"at": _date(last["at"]), **_answer(last)} if last else None,
        "log_id": row["activity"],
        "caused_by": row.get("log_id"),
        "created_at": _date(row["created_at"]),
        "next_attempt_at": _next_attempt(row, now),
        "delivered_at": _date(row["ended_at"]) if row["state"] == "delivered" else None,
        "replayed_at": _date(row["replayed_at"]) if "replayed_at" in row else None,
    }


def _state(row: Item) -> str:
    """Return pending, delivered or failed: turned off or removed, too, is not received."""
    return str(row["state"]) if row["state"] in STATES else "failed"


def _answer(made: Item) -> dict[str, Any]:
    return {"status": made.get("status"), "text": made["text"]}


def _next_attempt(row: Item, now: float) -> str | None:
    """Return when it is tried (or has been due since); None when over, or on its way just now."""
    if row["state"] != "pending" or row.get("sending_until", 0) > now * 1000:
        return None
    return _date(row.get("next_at") or row.get("replayed_at") or row["created_at"])


def _date(milliseconds: int) -> str:
    return iso(milliseconds / 1000)


def _unknown() -> ApiError:
    return ApiError("not_found", "There is no such delivery")
