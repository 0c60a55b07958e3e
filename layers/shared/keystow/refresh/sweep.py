"""Finding what is due and queueing it; the cost grows with what is due, not what is stored."""

from __future__ import annotations

from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from keystow.log import logger
from keystow.queues import QueueUnavailable
from keystow.refresh.due import all_shards
from keystow.store import All, ConditionFailed, Equals, StoreUnavailable, Update, tables
from keystow.store.operations import Key

if TYPE_CHECKING:
    from keystow.context import Context
    from keystow.store import Item

AHEAD_SECONDS: Final = 60
BATCH: Final = 25
# A queued connection is due again after this, should its message get lost or its worker die.
QUEUED_FOR_MS: Final = 10 * 60_000
MOST_PER_SHARD: Final = 2_000


def sweep(ctx: Context) -> int:
    """Queue every connection that is due within the next minute; return how many.

    Each is first moved out of the way in the due index, under the condition that it still stands
    there as read: two sweeps at once, or a sweep and a refresh, do not queue it twice.
    """
    with ThreadPoolExecutor(len(all_shards())) as pool:
        return sum(pool.map(lambda shard: _sweep_shard(ctx, shard), all_shards()))


def _sweep_shard(ctx: Context, shard: str) -> int:
    now = int(ctx.clock.now() * 1000)
    queued = seen = 0
    start: Item | None = None
    while seen < MOST_PER_SHARD:
        page = ctx.store.query(
            tables.CONNECTIONS,
            shard,
            index="by_due",
            at_most=now + AHEAD_SECONDS * 1000,
            limit=250,
            start=start,
        )
        queued += _queue(ctx, page.items, now)
        seen += len(page.items)
        start = page.next
        if start is None:
            break
    return queued


def _queue(ctx: Context, found: list[Item], now: int) -> int:
    batches: dict[tuple[str, int], list[dict[str, str]]] = defaultdict(list)
    for item in found:
        key = Key(tables.CONNECTIONS, item["pk"], item["sk"])
        still = All((Equals("due_at", item["due_at"]), Equals("generation", item["generation"])))
        try:
            ctx.store.update(Update(key, set={"due_at": now + QUEUED_FOR_MS}, condition=still))
        except ConditionFailed:
            continue
        except StoreUnavailable:
            break  # what was moved out of the way so far is still queued
        delay = max(0, (item["due_at"] - now) // 1000)
        # Messages of one host go together, so that a slow provider holds up only its own.
        batches[item.get("host", ""), delay // 10 * 10].append(
            {"pk": item["pk"], "generation": item["generation"]}
        )
    queued = 0
    for (_host, delay), connections in batches.items():
        for first in range(0, len(connections), BATCH):
            part = connections[first : first + BATCH]
            try:
                ctx.queues.send_refresh({"refresh": part}, delay)
            except QueueUnavailable:
                logger.warning("refreshes not queued", extra={"count": len(part)})
                continue
            queued += len(part)
    return queued
