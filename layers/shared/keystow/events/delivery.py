"""Delivers events: at least once, each attempt once, until ten attempts have failed.

One attempt, drawn over its row in the Events table:

    pending, attempt n-1 ──claim──▶ pending, attempt n ──POST──▶ answer ──settle──▶ delivered
                  │                 due in 90 s          │                     │    failed
     another worker's claim         a crash here: the    │                     │    disabled
     of n fails: skipped            sweep finds the row ─┘                     └──▶ pending, due

The claim is conditional on the number of the attempt, so that a duplicate from SQS and a row from
the sweep don't send at the same time, and on nothing being on its way, since a replay begins the
numbers anew (:mod:`keystow.events.replay`). The settlement is conditional on the claim, and that
of an attempt that was not received also on nobody having asked for a replay meanwhile; else it
begins the numbers anew itself.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from keystow import metrics
from keystow.activity import log
from keystow.activity.log import Message
from keystow.activity.masking import host_of
from keystow.events import endpoints, giving_way, outbox, replay, schedule
from keystow.events.posting import Reply, post
from keystow.log import logger
from keystow.queues import MAX_DELAY_SECONDS, QueueUnavailable
from keystow.store import (
    All,
    Below,
    ConditionFailed,
    Equals,
    Key,
    Missing,
    StoreUnavailable,
    Update,
    tables,
)
from keystow.vault import VaultError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from keystow.activity.log import State
    from keystow.context import Context
    from keystow.secret import Secret
    from keystow.store import Item

CLAIM_SECONDS: Final = 90  # longer than the function may run
KEPT_SECONDS: Final = 30 * 86_400
QUEUED_SECONDS: Final = 300  # what the sweep queued rests so long before it is queued again
SHARD_LIMIT: Final = 125  # rows of one shard in one sweep: 2000 in all
SWEEP_SECONDS: Final = 30
LATE_SECONDS: Final = 60  # later than that is worth a metric
MOST_ATTEMPTS_KEPT: Final = 30  # three replays that failed for good
_ACTIONS: Final = {"creation": "connection_create", "deletion": "connection_delete"}
_IN_FLIGHT: Final = 10
_GONE: Final = 410


class Outcome(StrEnum):
    """What became of a message."""

    DELIVERED = "delivered"
    RETRYING = "retrying"
    FAILED = "failed"
    STOPPED = "stopped"  # the endpoint is turned off or gone
    PUT_OFF = "put off"  # its receiver is slow, and others have their turn first
    SKIPPED = "skipped"  # somebody else has this attempt, or it is over


@dataclass(frozen=True)
class _Attempt:
    """An attempt on its way; ``claim`` marks the row as this worker's."""

    event: Item
    delivery: Item
    endpoint: int
    number: int
    url: str
    claim: str

    @property
    def event_id(self) -> str:
        return str(self.event["pk"])


_REMOVED: Final = Reply("The endpoint was removed")
_TURNED_OFF: Final = Reply("The endpoint is turned off since it answered 410")


def deliver(ctx: Context, event_id: str, endpoint: int, attempt: int) -> Outcome:
    """Make one attempt to deliver an event to one of its endpoints.

    Args:
        ctx: store, vault, egress, queues.
        event_id: id of the event.
        endpoint: which of its deliveries.
        attempt: its number, from 1; one that was claimed before is skipped.

    Raises:
        StoreUnavailable: before anything was sent; the message must come again.
        VaultUnavailable: likewise.
    """
    delivery = ctx.store.get(tables.delivery(event_id, endpoint))
    event = ctx.store.get(tables.event(event_id))
    if event is None or delivery is None or delivery["state"] != "pending":
        return Outcome.SKIPPED
    if delivery["attempt"] != attempt - 1:
        return Outcome.SKIPPED
    # Who replays has often just corrected the settings.
    now = endpoints.current(ctx, event["environment"], fresh="replayed_at" in delivery)
    url = now.url_now(delivery["role"], delivery["url"]) if now is not None else None
    keys = _signing_keys(ctx, now)
    claim = ctx.random.bytes(12).hex()
    mine = _Attempt(event, delivery, endpoint, attempt, url or delivery["url"], claim)
    environment, host = str(event["environment"]), host_of(mine.url)
    if not ctx.slow_hosts.admit(environment, host, giving_way.AT_ONCE):
        group = outbox.receiver_group(environment, mine.url)
        later = giving_way.put_off(ctx, event_id, endpoint, attempt, group)
        return Outcome.PUT_OFF if later else Outcome.SKIPPED
    took = None
    try:
        claimed = _claim(ctx, mine)
        if claimed is None:
            return Outcome.SKIPPED
        mine = replace(mine, delivery=claimed)
        if now is None or url is None:
            return _settled(mine, lambda: _stop(ctx, mine, _REMOVED))
        if now.is_disabled(url):
            return _settled(mine, lambda: _stop(ctx, mine, _TURNED_OFF))
        began = ctx.clock.now()
        outcome = _settled(mine, lambda: _send_and_settle(ctx, mine, keys))
        took = ctx.clock.now() - began
    finally:
        ctx.slow_hosts.ended(environment, host, took)
    return outcome


def _settled(mine: _Attempt, attempt: Callable[[], Outcome]) -> Outcome:
    try:
        return attempt()
    except (ConditionFailed, StoreUnavailable) as error:
        # Whether it was sent is known here and nowhere else; the row is due again by its claim.
        logger.warning(
            "webhook attempt was not settled",
            extra={
                "event_id": mine.event_id,
                "attempt": mine.number,
                "cause": type(error).__name__,
            },
        )
        return Outcome.RETRYING


def sweep(ctx: Context) -> int:
    """Queue what is due and was not queued, and return how much that was.

    Examines at most 125 rows of each of the 16 shards, for at most 30 s.
    """
    started = ctx.clock.now()
    queued = 0
    for number in range(tables.DUE_SHARDS):
        page = ctx.store.query(
            tables.EVENTS,
            str(number),
            index="by_due",
            at_most=int(started * 1000),
            limit=SHARD_LIMIT,
        )
        if page.items and (late := started - page.items[0]["due_at"] / 1000) > LATE_SECONDS:
            metrics.longest(metrics.OLDEST_WEBHOOK, late)
        for row in page.items:
            now = ctx.clock.now()
            if now - started > SWEEP_SECONDS:
                logger.warning("webhook sweep ran out of time", extra={"queued": queued})
                return queued
            delivery = _postpone(ctx, row, now)
            if delivery is None:
                continue
            endpoint = int(row["sk"].rpartition("#")[2])
            group = outbox.receiver_group(delivery["environment"], delivery["url"])
            if not outbox.enqueue(ctx, row["pk"], endpoint, delivery["attempt"] + 1, group):
                return queued
            queued += 1
    return queued


def deliver_batch(ctx: Context, messages: Mapping[str, str]) -> list[str]:
    """Handle messages of the webhook queue side by side.

    Args:
        ctx: its parts are shared between threads.
        messages: message id → body.

    Returns:
        The ids of messages that must come again, or go to the dead-letter queue when they have
        come often enough.
    """
    # Made here, since two threads might make one part twice.
    _ = (ctx.store, ctx.vault, ctx.egress, ctx.queues, ctx.slow_hosts)
    with ThreadPoolExecutor(max_workers=_IN_FLIGHT) as pool:
        handled = pool.map(lambda each: _handle(ctx, *each), messages.items())
        return [message_id for message_id, done in zip(messages, handled, strict=True) if not done]


def _handle(ctx: Context, message_id: str, text: str) -> bool:
    try:
        body = json.loads(text)
        event_id, endpoint = str(body["event_id"]), int(body["endpoint"])
        if body.get("replay"):  # came back from the dead-letter queue
            replay.again(ctx, event_id, endpoint, states=("failed",))
        else:
            metrics.webhook(deliver(ctx, event_id, endpoint, int(body["attempt"])))
    except Exception as error:  # noqa: BLE001 - one message must not take the others with it
        logger.warning(
            "webhook message failed",
            extra={"message_id": message_id, "cause": type(error).__name__},
        )
        return False
    return True


def _signing_keys(ctx: Context, now: endpoints.Endpoints | None) -> list[Secret[str]]:
    if now is None:
        return []
    try:
        return endpoints.signing_keys(ctx, now)
    except VaultError:
        return []


def _claim(ctx: Context, mine: _Attempt) -> Item | None:
    """Make the attempt this worker's and return the row; None when it is somebody else's."""
    now = ctx.clock.now()
    until = int((now + CLAIM_SECONDS) * 1000)
    changes = {
        "attempt": mine.number,
        "claim": mine.claim,
        "due_shard": outbox.shard(mine.event_id),
        "due_at": until,
        replay.SENDING: until,
    }
    free = All(
        (
            Equals("state", "pending"),
            Equals("attempt", mine.number - 1),
            replay.nothing_on_its_way(now),
        )
    )
    key = tables.delivery(mine.event_id, mine.endpoint)
    try:
        return ctx.store.update(Update(key, set=changes, condition=free))
    except ConditionFailed as failed:
        # A repeat by the client whose first answer was lost fails its own condition.
        found = failed.found[0]
        return found if found is not None and found.get("claim") == mine.claim else None


def _send_and_settle(ctx: Context, mine: _Attempt, keys: list[Secret[str]]) -> Outcome:
    if mine.number > schedule.ATTEMPTS:
        return _give_up(ctx, mine, Reply("The outcome of the last attempt is not known"))
    reply = post(ctx, mine.event, mine.url, keys)
    if reply.delivered:
        _end(ctx, mine, "delivered", reply)
        _log(ctx, mine, "success", reply)
        return Outcome.DELIVERED
    if reply.status == _GONE:
        endpoints.disable(ctx, mine.event["environment"], mine.url)
        return _stop(ctx, mine, Reply("Answered 410; the endpoint is turned off", _GONE))
    if reply.final or mine.number >= schedule.ATTEMPTS:
        return _give_up(ctx, mine, reply)
    return _try_later(ctx, mine, reply)


def _try_later(ctx: Context, mine: _Attempt, reply: Reply, *, anew: bool = False) -> Outcome:
    """Let the delivery wait for its next attempt; ``anew``: for the first of a replay."""
    number = 0 if anew else mine.number
    delay = schedule.delay_after(max(1, number), ctx.random, reply.asked)
    is_short = delay <= MAX_DELAY_SECONDS
    rest = delay + outbox.GRACE_SECONDS if is_short else delay
    now = ctx.clock.now()
    changes: Item = {
        "attempt": number,
        "due_at": int((now + rest) * 1000),
        "next_at": int((now + delay) * 1000),
        "attempts_made": _made(ctx, mine, reply),
        "ttl": int(now) + outbox.LIFE_SECONDS,
    }
    if not _settle(ctx, mine, changes, whatever_is_asked=anew):
        return _try_later(ctx, mine, reply, anew=True)
    if is_short:
        group = outbox.receiver_group(mine.event["environment"], mine.url)
        outbox.enqueue(ctx, mine.event_id, mine.endpoint, number + 1, group, delay)
    _log(ctx, mine, "running", reply, delay)
    return Outcome.RETRYING


def _stop(ctx: Context, mine: _Attempt, reply: Reply) -> Outcome:
    if not _end(ctx, mine, "disabled", reply):
        return _try_later(ctx, mine, reply, anew=True)
    _log(ctx, mine, "failed", reply)
    return Outcome.STOPPED


def _give_up(ctx: Context, mine: _Attempt, reply: Reply) -> Outcome:
    stored = ctx.store.get(tables.delivery(mine.event_id, mine.endpoint))
    if stored is not None and replay.ASKED in stored:  # no letter, no alarm
        return _try_later(ctx, mine, reply, anew=True)
    dead = {
        "event_id": mine.event_id,
        "endpoint": mine.endpoint,
        "attempt": mine.number,
        "environment": mine.event["environment"],
        "reason": reply.text,
        "replay": True,
    }
    try:
        ctx.queues.send_dead_webhook(dead)
    except QueueUnavailable:
        return Outcome.RETRYING  # the row is due again by its claim
    if not _end(ctx, mine, "failed", reply):
        return _try_later(ctx, mine, reply, anew=True)
    logger.error("webhook given up", extra={"event_id": mine.event_id, "reason": reply.text})
    _log(ctx, mine, "failed", reply)
    return Outcome.FAILED


def _end(ctx: Context, mine: _Attempt, state: str, reply: Reply) -> bool:
    """End the delivery; False when it begins anew instead. What is received ends in any case."""
    now = ctx.clock.now()
    changes: Item = {
        "state": state,
        "ended_at": int(now * 1000),
        "attempts_made": _made(ctx, mine, reply),
        "ttl": int(now) + KEPT_SECONDS,
    }
    waiting = ("due_shard", "due_at", "next_at")
    return _settle(ctx, mine, changes, waiting, whatever_is_asked=state == "delivered")


def _made(ctx: Context, mine: _Attempt, reply: Reply) -> list[Item]:
    """Return the attempts made so far, the newest last; nobody else writes while the claim is."""
    made: Item = {
        "number": mine.number,
        "at": int(ctx.clock.now() * 1000),
        "host": host_of(mine.url),
        "text": reply.text,
    }
    if reply.status is not None:
        made["status"] = reply.status
    return [*mine.delivery.get("attempts_made", ()), made][-MOST_ATTEMPTS_KEPT:]


def _settle(
    ctx: Context,
    mine: _Attempt,
    changes: Item,
    remove: tuple[str, ...] = (),
    *,
    whatever_is_asked: bool,
) -> bool:
    """Write how the attempt ended; False, and nothing written: a replay was asked for meanwhile.

    Raises:
        ConditionFailed: the attempt is no longer this worker's.
    """
    _keep_event(ctx, mine)
    still_mine = All((Equals("state", "pending"), Equals("claim", mine.claim)))
    free = still_mine if whatever_is_asked else All((still_mine, Missing(replay.ASKED)))
    key = tables.delivery(mine.event_id, mine.endpoint)
    over = (*remove, replay.SENDING, replay.ASKED)
    try:
        ctx.store.update(Update(key, set=changes, remove=over, condition=free))
    except ConditionFailed as failed:
        found = failed.found[0]
        if found is None or found.get("claim") != mine.claim:
            raise
        # Either a replay is asked for, or this is a repeat by the client after its own write.
        return not (found["state"] == "pending" and replay.ASKED in found)
    return True


def _keep_event(ctx: Context, mine: _Attempt) -> None:
    """Let the event live on while a delivery of it can be read and replayed.

    It is long enough from the start unless a receiver has asked for long waits, or nothing was
    sent for days.
    """
    now = int(ctx.clock.now())
    if mine.event["ttl"] >= now + KEPT_SECONDS:
        return
    until = now + outbox.LIFE_SECONDS
    key = tables.event(mine.event_id)
    with suppress(ConditionFailed):  # another delivery of the same event has done so
        ctx.store.update(Update(key, set={"ttl": until}, condition=Below("ttl", until)))


def _postpone(ctx: Context, row: Item, now: float) -> Item | None:
    """Return a due row once, moved out of the next sweep's way; None when it is no longer due."""
    still_due = All((Equals("state", "pending"), Equals("due_at", row["due_at"])))
    key = Key(tables.EVENTS, row["pk"], row["sk"])
    later = {"due_at": int((now + QUEUED_SECONDS) * 1000)}
    try:
        return ctx.store.update(Update(key, set=later, condition=still_due))
    except ConditionFailed:
        return None


def _log(
    ctx: Context,
    mine: _Attempt,
    state: State,
    reply: Reply,
    next_in_seconds: int | None = None,
) -> None:
    event = mine.event
    details: dict[str, Any] = {"attempt": mine.number, "host": host_of(mine.url)}
    if next_in_seconds is not None:
        details["next_in_seconds"] = next_in_seconds
    if reply.status is not None:
        details["status"] = reply.status
    if "log_id" in event:
        details["caused_by"] = event["log_id"]
    levels: dict[State, log.Level] = {"success": "info", "running": "warn", "failed": "error"}
    message = Message(levels[state], reply.text, details)
    operation = str(event["activity"])
    action = _ACTIONS.get(event["operation"], "connection_refresh")
    # The usual case, one endpoint that answers at once, costs one write.
    is_first = mine.number == 1 and "attempts_made" not in mine.delivery
    on_header = is_first and event["endpoints"] == 1
    if not on_header:
        log.note(ctx, event["environment"], operation, message)
    log.record(
        ctx,
        event["environment"],
        "webhook",
        action,
        state,
        *((message,) if on_header else ()),
        operation=operation,
        connection_id=event["connection_id"],
        integration_key=event["integration_key"],
        provider=event["provider"] or None,
    )
