"""Removes what a deleted integration leaves behind: its connections, secrets first.

    integration and name gone, mark written, gates shut ─▶ connections removed ─▶ mark gone
    one transaction: nobody finds it, nothing new comes     bounded in one call    after a minute

The mark names what is still to be done. The same call again goes on with it; a minute later so do
other removals in the environment, a few each, and whoever looks after removals from time to time
(:mod:`keystow.environments.unfinished`): one call stays short however many connections there are,
and nothing is forgotten when one is cut off. A mark outlives its work by a minute, for one more
look: an index shows what was stored in the last moment a little later than the table.

Where too many write for one transaction, the gates are shut one by one after it. So long the mark
says that they are open, and its minute begins when they are shut.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from keystow.events import traces
from keystow.records.connection import integration_partition
from keystow.store import ConditionFailed, Key, Put, Update, gates, tables
from keystow.store.operations import THERE
from keystow.store.store import pages

if TYPE_CHECKING:
    from keystow.context import Context
    from keystow.records.integration import Integration
    from keystow.store import Item, Operation

BATCH: Final = 100
# About ten seconds of a function's time.
BATCHES_A_CALL: Final = 10
# Of other integrations, whose removal was cut off, or which are looked at once more.
OTHERS_A_CALL: Final = 10
WORKERS: Final = 16
SETTLED_MS: Final = 60_000
_PREFIX: Final = "removed_integration#"


def mark(
    ctx: Context, environment: str, integration: Integration, *, shut: bool = True
) -> list[Operation]:
    """Return the writes that remember a removed integration until its connections are gone.

    Args:
        ctx: clock.
        environment: whose.
        integration: which is removed.
        shut: whether its gates are shut as well; False: :func:`purge` has to do it.
    """
    now = int(ctx.clock.now() * 1000)
    row: Item = {"removed_at": now, "left_of": integration.unique_key}
    if not shut:
        row["open"] = True
    key = Key(tables.REGISTRY, environment, f"{_PREFIX}{integration.id}")
    shutting = gates.shutting_integration(environment, integration.id, now) if shut else []
    return [Put(key, row), *shutting]


def is_unfinished(ctx: Context, environment: str, unique_key: str) -> bool:
    """Return whether connections may be left of a removed integration that had this key."""
    marks = pages(ctx.store, tables.REGISTRY, environment, prefix=_PREFIX)
    return any(item.get("left_of") == unique_key for item in marks)


def purge(
    ctx: Context, environment: str, unique_key: str | None, batches: int = BATCHES_A_CALL
) -> bool:
    """Remove connections of removed integrations, at most ``batches`` of 100.

    Args:
        ctx: store and clock.
        environment: whose.
        unique_key: the key of those that come first; None: none does.
        batches: what this call may do. An integration without connections uses up none.

    Returns:
        Whether nothing is left of those that had the key; others may need further calls.
    """
    now = int(ctx.clock.now() * 1000)
    marks = pages(ctx.store, tables.REGISTRY, environment, prefix=_PREFIX)
    of_key, others = [], []
    for item in marks:
        if unique_key is not None and item.get("left_of") == unique_key:
            of_key.append(item)
        elif now - item["removed_at"] > SETTLED_MS:
            others.append(item)  # before, its own call may be at it, and the last look is too early
    for item in of_key:
        batches, done = _purge_one(ctx, environment, item, batches, now)
        if not done:
            return False
    for item in _some(ctx, others):
        batches, done = _purge_one(ctx, environment, item, batches, now)
        if not done:
            return True
    return True


def _some(ctx: Context, marks: list[Item]) -> list[Item]:
    """Return as many as one call takes on; calls at one moment take others, not all the same."""
    if len(marks) <= OTHERS_A_CALL:
        return marks
    start = int.from_bytes(ctx.random.bytes(4)) % len(marks)
    return [*marks[start:], *marks[:start]][:OTHERS_A_CALL]


def _purge_one(
    ctx: Context, environment: str, mark: Item, batches: int, now: int
) -> tuple[int, bool]:
    integration = mark["sk"].removeprefix(_PREFIX)
    if mark.get("open"):
        gates.shut_one_by_one(ctx.store, gates.shutting_integration(environment, integration, now))
        _change(ctx, mark, set={"removed_at": int(ctx.clock.now() * 1000)}, remove=("open",))
    batches, done = remove_connections(ctx, environment, integration, batches)
    if done:
        settled = not mark.get("open") and now - mark["removed_at"] > SETTLED_MS
        _finish(ctx, mark, settled=settled)
    return batches, done


def _finish(ctx: Context, mark: Item, *, settled: bool) -> None:
    if settled:
        ctx.store.delete(Key(tables.REGISTRY, mark["pk"], mark["sk"]))
    elif "left_of" in mark:
        _change(ctx, mark, remove=("left_of",))


def _change(ctx: Context, mark: Item, **change: Any) -> None:
    key = Key(tables.REGISTRY, mark["pk"], mark["sk"])
    with suppress(ConditionFailed):  # another call has ended it
        ctx.store.update(Update(key, condition=THERE, **change))


def remove_connections(
    ctx: Context, environment: str, integration_id: str, batches: int
) -> tuple[int, bool]:
    """Remove the connections of one integration, and what waits to become one.

    Returns:
        The batches left, and whether all went.
    """
    connections = integration_partition(environment, integration_id)
    for partition in (tables.pending_partition(connections), connections):
        batches, done = remove_listed(ctx, tables.CONNECTIONS, "by_integration", partition, batches)
        if not done:
            return batches, False
    return batches, True


def remove_listed(
    ctx: Context, table: str, index: str, partition: str, batches: int
) -> tuple[int, bool]:
    """Remove everything that an index lists, with all that stands beside it under its key.

    Args:
        ctx: the store.
        table: logical table name.
        index: one of its indexes.
        partition: which partition of the index.
        batches: how many hundreds to remove.

    Returns:
        The batches left, and whether all that was listed is gone.
    """
    start = None
    while True:
        page = ctx.store.query(table, partition, index=index, limit=BATCH, start=start)
        if page.items:
            if batches <= 0:
                return 0, False
            batches -= 1
            remove_partitions(ctx, table, [item["pk"] for item in page.items])
        if page.next is None:
            return batches, True
        start = page.next


def remove_partitions(ctx: Context, table: str, partitions: list[str]) -> None:
    """Remove all items under some partition keys."""
    unique = list(dict.fromkeys(partitions))
    with ThreadPoolExecutor(min(WORKERS, len(unique))) as pool:
        list(pool.map(lambda pk: _remove_one(ctx, table, pk), unique))


def _remove_one(ctx: Context, table: str, pk: str) -> None:
    """Remove the items of one partition, last the rows by which an index shows it.

    What a connection has left of its end user in events and log goes before.
    """
    rows = list(pages(ctx.store, table, pk))
    for row in rows:
        if row["sk"].startswith(tables.TRACE):
            traces.follow(ctx, row)
    rows.sort(key=lambda row: ("created" in row, row["sk"]))
    for row in rows:
        ctx.store.delete(Key(table, pk, row["sk"]))
