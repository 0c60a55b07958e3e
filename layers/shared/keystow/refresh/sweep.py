"""Finding what is due and queueing it; the cost grows with what is due, not what is stored.

Two hosts, of which one has many rows:

    16 shards side by side,     batches:  a a a a a a   ──▶ in turn:  a b a b a a a a
    up to 2,000 rows each  ──▶            b b                         │
                                  16 at a time: mark ≤ 25 rows, send them … until the time is over

Each batch is sent as soon as its rows are marked: a sweep that is stopped leaves at most 16 batches
marked and not queued, and these are due again by themselves.
"""

from __future__ import annotations

from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, Final

from keystow import metrics
from keystow.log import logger
from keystow.queues import QueueUnavailable, group_of
from keystow.refresh.due import all_shards
from keystow.store import All, ConditionFailed, Equals, StoreUnavailable, Update, tables
from keystow.store.operations import Key
from keystow.store.tables import split_connection_pk
from keystow.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

    from keystow.context import Context
    from keystow.store import Item

AHEAD_SECONDS: Final = 60
BATCH: Final = 25
# A queued connection is due again after this, should its message get lost or its worker die.
QUEUED_FOR_MS: Final = 10 * 60_000
MOST_PER_SHARD: Final = 2_000
LATE_MS: Final = 60_000  # later than that is worth a metric
_PAGE: Final = 250
_STEP_SECONDS: Final = 10  # delays within so many seconds of each other share a message


class _Batch(Value):
    """Rows that go into one message: of one environment and host, due at about one time."""

    environment: str
    host: str
    delay: int
    rows: tuple[Item, ...]
    kind: str  # what the worker does with them: refresh, expire, revoke


def sweep(ctx: Context, until: float = float("inf")) -> int:
    """Queue every connection that is due within the next minute; return how many.

    Each is first moved out of the way in the due index, under the condition that it still stands
    there as read: two sweeps at once, or a sweep and a refresh, do not queue it twice.

    Args:
        ctx: store, queues and clock.
        until: epoch seconds after which no further row is begun; the next sweep finds the rest.

    Raises:
        StoreUnavailable: a shard could not be read, or rows not moved; what was moved is queued.
    """
    now = int(ctx.clock.now() * 1000)
    broken: list[StoreUnavailable] = []  # the table does not answer: nothing more is begun

    def queue(batch: _Batch) -> tuple[int, int]:
        if broken:
            return 0, 0
        if ctx.clock.now() >= until:
            return 0, len(batch.rows)
        marked, fault = _mark(ctx, batch, now)
        if fault is not None:
            broken.append(fault)
        return _send(ctx, batch, marked), 0

    with ThreadPoolExecutor(len(all_shards())) as pool:
        reading = [pool.submit(_due, ctx, shard, now, until) for shard in all_shards()]
        rows, failed = _collect(reading)
        if rows and (late := now - rows[0]["due_at"]) > LATE_MS:
            metrics.longest(metrics.OLDEST_DUE, late / 1000)
        # The pool takes them in this order.
        found = list(pool.map(queue, _in_turn(rows, now)))
    metrics.flush()
    left = sum(each[1] for each in found)
    if left:
        logger.warning("sweep ran out of time", extra={"left": left})
    if failed is not None or broken:
        raise failed or broken[0]
    return sum(each[0] for each in found)


def _collect(reading: list[Future[list[Item]]]) -> tuple[list[Item], StoreUnavailable | None]:
    """Return the rows of all shards, the oldest first, and why a shard could not be read."""
    rows: list[Item] = []
    failed = None
    for shard in reading:
        try:
            rows += shard.result()
        except StoreUnavailable as error:
            failed = error
    rows.sort(key=lambda row: int(row["due_at"]))
    return rows, failed


def _due(ctx: Context, shard: str, now: int, until: float) -> list[Item]:
    rows: list[Item] = []
    start: Item | None = None
    while len(rows) < MOST_PER_SHARD and ctx.clock.now() < until:
        page = ctx.store.query(
            tables.CONNECTIONS,
            shard,
            index="by_due",
            at_most=now + AHEAD_SECONDS * 1000,
            limit=_PAGE,
            start=start,
        )
        rows += page.items
        start = page.next
        if start is None:
            break
    return rows


def _in_turn(rows: list[Item], now: int) -> Iterator[_Batch]:
    """Yield the rows as batches: the first of each environment and host, then the second ...

    Who has much that is due does not keep the others waiting; of one, what is due first goes first.
    """
    of_one: dict[tuple[str, str, str], dict[int, list[Item]]]
    of_one = defaultdict(lambda: defaultdict(list))
    for row in rows:
        environment, kind = _meant(row)
        delay = max(0, (row["due_at"] - now) // 1000) // _STEP_SECONDS * _STEP_SECONDS
        of_one[environment, row.get("host", ""), kind][delay].append(row)
    queues = [
        [
            _Batch(environment, host, delay, tuple(found[first : first + BATCH]), kind)
            for delay, found in sorted(by_delay.items())
            for first in range(0, len(found), BATCH)
        ]
        for (environment, host, kind), by_delay in of_one.items()
    ]
    return (each for each in chain.from_iterable(zip_longest(*queues)) if each is not None)


def _meant(row: Item) -> tuple[str, str]:
    """Return of which environment a row is, and what is due of it."""
    if row["sk"].startswith(tables.TAKEN):
        return tables.split_incident(row["pk"])[0], "revoke"
    kind = "expire" if row["sk"] == tables.CONNECTION_PENDING else "refresh"
    return split_connection_pk(row["pk"])[0], kind


def _mark(ctx: Context, batch: _Batch, now: int) -> tuple[list[Item], StoreUnavailable | None]:
    """Move rows out of the way; return those that are this sweep's, and what ended it early."""
    marked: list[Item] = []
    for row in batch.rows:
        key = Key(tables.CONNECTIONS, row["pk"], row["sk"])
        still = All((Equals("due_at", row["due_at"]), Equals("generation", row["generation"])))
        try:
            ctx.store.update(Update(key, set={"due_at": now + QUEUED_FOR_MS}, condition=still))
        except ConditionFailed:
            continue
        except StoreUnavailable as error:
            return marked, error  # what was moved out of the way so far is still queued
        marked.append(row)
    return marked, None


def _send(ctx: Context, batch: _Batch, rows: list[Item]) -> int:
    if not rows:
        return 0
    part = [{"pk": row["pk"], "generation": row["generation"]} for row in rows]
    if batch.kind == "revoke":
        part = [{"pk": row["pk"], "sk": row["sk"]} for row in rows]
    try:
        ctx.queues.send_refresh(
            {batch.kind: part}, batch.delay, group_of(batch.environment, batch.host)
        )
    except QueueUnavailable:
        logger.warning("refreshes not queued", extra={"count": len(part)})
        return 0
    return len(part)
