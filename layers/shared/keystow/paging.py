"""Lists by an index, newest first, and the cursors between their pages."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Final

from keystow.errors import invalid
from keystow.store.tables import TABLES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from keystow.errors import ApiError
    from keystow.store import Item, Store

PAGE: Final = 250
_LONGEST_PART: Final = 1_000  # DynamoDB takes 1,024 bytes as a range key


def newest(
    store: Store, table: str, index: str, partition: str, after: Item | None = None
) -> Iterator[Item]:
    """Yield the items of an index's partition, newest first; a page is read when it is needed.

    Args:
        store: where from.
        table: logical table name.
        index: an index by ``created``.
        partition: value of its partition key.
        after: ``created``, ``pk`` and ``sk`` of the item before the first one.
    """
    attribute = TABLES[table].indexes[index].hash
    start: Item | None = None if after is None else {**after, attribute: partition}
    while True:
        page = store.query(table, partition, index=index, descending=True, limit=PAGE, start=start)
        yield from page.items
        start = page.next
        if start is None:
            return


def cursor(*parts: str) -> str:
    """Return texts as the cursor that :func:`read_cursor` reads."""
    text = json.dumps(list(parts), separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def read_cursor(text: str | None, count: int) -> tuple[str, ...] | None:
    """Return the texts of a cursor, or None when there is none.

    Args:
        text: what the caller sent; nothing in it is to be trusted.
        count: how many texts it must hold, none of them empty.

    Raises:
        ApiError: 400 ``invalid_query_params``.
    """
    if text is None:
        return None
    try:
        padded = text + "=" * (-len(text) % 4)
        found = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (ValueError, RecursionError):
        found = None
    if (
        isinstance(found, list)
        and len(found) == count
        and all(isinstance(part, str) and _fits(part) for part in found)
    ):
        return tuple(found)
    raise wrong_cursor()


def matching(
    items: Iterable[Item], wanted: Callable[[Item], bool], *, limit: int, examine: int
) -> tuple[list[Item], Item | None]:
    """Return the first items that are wanted, and where to go on.

    Args:
        items: in order.
        wanted: tells of each.
        limit: how many are returned at most.
        examine: how many are looked at at most, so that a filter that fits nothing ends too.

    Returns:
        The items, and the last one looked at; None when there are no more.
    """
    found: list[Item] = []
    last: Item | None = None
    for examined, item in enumerate(items):
        if len(found) >= limit or examined >= examine:
            return found, last
        last = item
        if wanted(item):
            found.append(item)
    return found, None


def wrong_cursor() -> ApiError:
    """Return what answers a cursor that this endpoint never gave."""
    issue = "not a cursor of this endpoint"
    return invalid("invalid_query_params", "invalid_format", issue, "cursor")


def _fits(part: str) -> bool:
    try:
        return 0 < len(part.encode()) <= _LONGEST_PART
    except UnicodeEncodeError:  # half a character
        return False
