"""Removes what a deleted integration leaves behind: its connections, secrets first.

A mark, written in the transaction that removes the integration, names what is still to be done.
The same call again goes on with it, and so does each later removal in the environment: one call
stays short however many connections there are, and nothing is forgotten when one is cut off.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from keystow.records.connection import integration_partition
from keystow.store import Key, Put, Update, tables
from keystow.store.store import pages

if TYPE_CHECKING:
    from keystow.context import Context
    from keystow.records.integration import Integration
    from keystow.store import Operation

BATCH: Final = 100
# About ten seconds of a function's time.
BATCHES_A_CALL: Final = 10
WORKERS: Final = 16
# An authorization that ended while the integration was being removed may appear in the index later.
SETTLED_MS: Final = 15 * 60 * 1000
_PREFIX: Final = "removed_integration#"


def mark(ctx: Context, environment: str, integration: Integration) -> Operation:
    """Return the write that remembers a removed integration until its connections are gone."""
    return Put(
        Key(tables.REGISTRY, environment, f"{_PREFIX}{integration.id}"),
        {"removed_at": int(ctx.clock.now() * 1000), "left_of": integration.unique_key},
    )


def is_unfinished(ctx: Context, environment: str, unique_key: str) -> bool:
    """Return whether connections may be left of a removed integration that had this key."""
    marks = pages(ctx.store, tables.REGISTRY, environment, prefix=_PREFIX)
    return any(item.get("left_of") == unique_key for item in marks)


def purge(ctx: Context, environment: str, batches: int = BATCHES_A_CALL) -> bool:
    """Remove connections of removed integrations, at most ``batches`` of 100.

    Returns:
        Whether none was left. A mark stays a while even then, for latecomers.
    """
    now = int(ctx.clock.now() * 1000)
    for item in pages(ctx.store, tables.REGISTRY, environment, prefix=_PREFIX):
        integration_id = item["sk"].removeprefix(_PREFIX)
        batches, done = remove_connections(ctx, environment, integration_id, batches)
        if not done:
            return False
        key = Key(tables.REGISTRY, environment, item["sk"])
        if now - item["removed_at"] > SETTLED_MS:
            ctx.store.delete(key)
        elif "left_of" in item:
            ctx.store.update(Update(key, remove=("left_of",)))
    return True


def remove_connections(
    ctx: Context, environment: str, integration_id: str, batches: int
) -> tuple[int, bool]:
    """Remove the connections of one integration; return the batches left, and whether all went."""
    partition = integration_partition(environment, integration_id)
    start = None
    while batches > 0:
        page = ctx.store.query(
            tables.CONNECTIONS, partition, index="by_integration", limit=BATCH, start=start
        )
        remove_rows(ctx, [item["pk"] for item in page.items])
        batches -= 1
        if page.next is None:
            return batches, True
        start = page.next
    return 0, False


def remove_rows(ctx: Context, partitions: list[str]) -> None:
    """Remove connections by their partitions."""
    if partitions:
        with ThreadPoolExecutor(min(WORKERS, len(partitions))) as pool:
            list(pool.map(lambda pk: _remove_one(ctx, pk), partitions))


def _remove_one(ctx: Context, pk: str) -> None:
    """Remove one connection: its secret, its journal, and last the row that the index shows."""
    rows = list(pages(ctx.store, tables.CONNECTIONS, pk))
    rows.sort(key=lambda row: (row["sk"] == tables.CONNECTION, row["sk"]))
    for row in rows:
        ctx.store.delete(Key(tables.CONNECTIONS, pk, row["sk"]))
