"""Listing connections, newest first, by the index that fits what is asked."""

from __future__ import annotations

import heapq
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from keystow import paging
from keystow.connections import views
from keystow.errors import invalid
from keystow.records.connection import (
    Connection,
    end_user_partition,
    integration_partition,
)
from keystow.registry import integrations
from keystow.store import tables

if TYPE_CHECKING:
    from collections.abc import Iterator

    from keystow.context import Context
    from keystow.store import Item

DEFAULT_LIMIT: Final = 10_000
MOST: Final = 2_000
# Lambda answers at most 6 MB; the rest is behind the cursor.
ANSWER_BYTES: Final = 4_500_000


@dataclass(frozen=True)
class Query:
    """What is asked (contract 5.2); ``cursor`` is our own."""

    connection_id: str | None = None
    search: str | None = None
    end_user_id: str | None = None
    organization_id: str | None = None
    integration_keys: tuple[str, ...] = ()
    tags: dict[str, str] = field(default_factory=dict)
    failing: bool | None = None  # whether there are errors; None: either
    limit: int = DEFAULT_LIMIT
    page: int = 0
    cursor: str | None = None
    by_offset: bool = False  # limit or page was sent: its caller counts, and knows no cursor


def find(ctx: Context, environment: str, query: Query) -> dict[str, Any]:
    """Return ``{"connections": [...]}``, with ``next_cursor`` when there are more.

    Raises:
        ApiError: 400 ``invalid_query_params`` for a cursor that is none, and for a ``limit`` of
            more than fits into an answer: the next ``page`` would skip what was left out.
    """
    after = paging.read_cursor(query.cursor, 2)
    names = {each.id: each.unique_key for each in integrations.list_all(ctx, environment)}
    if query.integration_keys:
        names = {id_: key for id_, key in names.items() if key in query.integration_keys}
    skip = query.page * query.limit
    shown: list[dict[str, Any]] = []
    size = 0
    last: Item | None = None
    for item in _candidates(ctx, environment, query, names, after):
        integration = tables.split_connection_pk(item["pk"])[1]
        if integration not in names:
            continue
        connection = Connection.from_item(item)
        if not _matches(connection, query):
            continue
        if skip > 0:
            skip -= 1
            continue
        if len(shown) >= query.limit or size >= ANSWER_BYTES:
            assert last is not None
            if len(shown) < query.limit and query.by_offset and after is None:
                message = f"{query.limit} do not fit into an answer; at most {len(shown)} here"
                raise invalid("invalid_query_params", "too_big", message, "limit")
            return {"connections": shown, "next_cursor": paging.cursor(*_order(last))}
        entry = views.listed(connection, names[integration])
        shown.append(entry)
        size += len(json.dumps(entry, ensure_ascii=False).encode())
        last = item
    return {"connections": shown}


def _candidates(
    ctx: Context,
    environment: str,
    query: Query,
    names: dict[str, str],
    after: tuple[str, ...] | None,
) -> Iterator[Item]:
    """Yield items newest first, from the narrowest source."""
    if query.connection_id is not None:
        found = (
            ctx.store.get(tables.connection(environment, integration, query.connection_id))
            for integration in names
        )
        items = sorted(filter(None, found), key=_order, reverse=True)
        yield from (item for item in items if after is None or _order(item) < after)
        return
    if query.end_user_id is not None:
        partition = end_user_partition(environment, query.end_user_id)
        yield from _indexed(ctx, "by_end_user", partition, after)
        return
    if query.integration_keys:
        sources = [
            _indexed(ctx, "by_integration", integration_partition(environment, integration), after)
            for integration in names
        ]
        yield from heapq.merge(*sources, key=_order, reverse=True)
        return
    yield from _indexed(ctx, "by_environment", environment, after)


def _indexed(
    ctx: Context, index: str, partition: str, after: tuple[str, ...] | None
) -> Iterator[Item]:
    start: Item | None = None
    if after is not None:
        start = {"created": after[0], "pk": after[1], "sk": tables.CONNECTION}
    return paging.newest(ctx.store, tables.CONNECTIONS, index, partition, start)


def _order(item: Item) -> tuple[str, str]:
    return item["created"], item["pk"]


def _matches(connection: Connection, query: Query) -> bool:
    end_user = connection.end_user
    if query.end_user_id is not None and (end_user is None or end_user.id != query.end_user_id):
        return False
    if query.organization_id is not None and (
        end_user is None or end_user.organization_id != query.organization_id
    ):
        return False
    if query.failing not in {None, connection.auth_error is not None}:
        return False
    if any(connection.tags.get(name.lower()) != value for name, value in query.tags.items()):
        return False
    if query.search is None:
        return True
    wanted = query.search.lower()
    texts = [connection.connection_id]
    if end_user is not None:
        texts += [end_user.display_name or "", end_user.email or ""]
    return any(wanted in text.lower() for text in texts)
