"""The activity log as the API shows it: operations newest first, and one with its messages."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from keystow import paging
from keystow.activity import log
from keystow.activity.masking import clean_text
from keystow.clock import iso
from keystow.errors import ApiError
from keystow.store import tables

if TYPE_CHECKING:
    from keystow.context import Context
    from keystow.store import Item

STATES: Final = ("running", "success", "failed", "timeout")
# An operation's type, or type and action.
TYPES: Final = frozenset(
    {kind for kind, _ in log.OPERATIONS} | {f"{kind}/{action}" for kind, action in log.OPERATIONS}
)
DEFAULT_LIMIT: Final = 100
MOST: Final = 500
EXAMINED: Final = 500  # operations that one request looks at, whatever its filters leave

# Who connects goes on within five minutes (contract 13), or has gone away.
CONNECT_SECONDS: Final = 300
# A delivery may rest for a day and a tenth between two attempts.
DELIVERY_SECONDS: Final = 2 * 86_400

_ID: Final = re.compile(r"[0-9]{13}_[0-9a-f]{16}")


@dataclass(frozen=True)
class Query:
    """What is asked; None: whatever it be."""

    connection_id: str | None = None
    provider_config_key: str | None = None
    type: str | None = None
    state: str | None = None
    limit: int = DEFAULT_LIMIT
    cursor: str | None = None


def find(ctx: Context, environment: str, query: Query) -> dict[str, Any]:
    """Return ``{"data": [...], "next_cursor"}``, newest first.

    Raises:
        ApiError: 400 ``invalid_query_params`` for a cursor that is none.
    """
    now = ctx.clock.now()
    headers = paging.newest(
        ctx.store,
        tables.ACTIVITY,
        "by_environment",
        environment,
        _after(environment, query.cursor),
    )
    found, last = paging.matching(
        headers, lambda each: _matches(each, query, now), limit=query.limit, examine=EXAMINED
    )
    return {
        "data": [_shown(header, now) for header in found],
        "next_cursor": paging.cursor(last["created"]) if last else None,
    }


def detailed(ctx: Context, environment: str, operation: str) -> dict[str, Any]:
    """Return an operation with its messages.

    Raises:
        ApiError: 404 ``not_found``, also for an operation of another environment.
    """
    now = ctx.clock.now()
    found = log.read(ctx, environment, operation) if _ID.fullmatch(operation) else None
    if found is None or found[0]["ttl"] <= now:
        raise ApiError("not_found", "There is no such operation")
    header, messages = found
    told = [
        {
            "created_at": _date(message["at"]),
            "level": message["level"],
            "message": message["text"],
            "meta": message.get("details", {}),
        }
        for message in messages
    ]
    return {**_shown(header, now), "messages": told}


def _after(environment: str, cursor: str | None) -> Item | None:
    found = paging.read_cursor(cursor, 1)
    if found is None:
        return None
    if _ID.fullmatch(found[0]) is None:
        raise paging.wrong_cursor()
    key = tables.activity(environment, found[0], log.HEADER)
    return {"created": found[0], "pk": key.pk, "sk": key.sk}


def _matches(header: Item, query: Query, now: float) -> bool:
    # Identities are cleaned when they are written, so they are compared as they are then.
    for name, asked in (
        ("connection_id", query.connection_id),
        ("integration_key", query.provider_config_key),
    ):
        if asked is not None and header.get(name) != clean_text(asked):
            return False
    kind, action = header.get("kind"), header.get("action")
    return (
        header["ttl"] > now
        and query.type in {None, kind, f"{kind}/{action}"}
        and query.state in {None, _state(header, now)}
    )


def _shown(header: Item, now: float) -> dict[str, Any]:
    created = int(header["created"][:13])  # its id begins with the moment of its beginning
    state = _state(header, now)
    ended = None if state == "running" else header.get("ended_at")
    return {
        "id": header["created"],
        "operation": {"type": header.get("kind"), "action": header.get("action")},
        "state": state,
        "connection_id": header.get("connection_id"),
        "provider_config_key": header.get("integration_key"),
        "provider": header.get("provider"),
        "end_user_id": header.get("end_user"),
        "created_at": _date(created),
        "updated_at": _date(header["updated_at"]),
        "ended_at": _date(ended) if ended is not None else None,
        "duration_ms": max(0, ended - created) if ended is not None else None,
    }


def _state(header: Item, now: float) -> str:
    """Return how it stands; what has been running for too long without news is a time-out."""
    state = str(header["state"])
    if state != "running":
        return state
    life = DELIVERY_SECONDS if header.get("kind") == "webhook" else CONNECT_SECONDS
    return "timeout" if now > header["updated_at"] / 1000 + life else state


def _date(milliseconds: int) -> str:
    return iso(milliseconds / 1000)
