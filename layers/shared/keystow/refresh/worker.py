"""The refresh queue: what is to be refreshed, checked or revoked, and commits not taken yet."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Protocol

from keystow import metrics
from keystow.errors import ApiError
from keystow.log import logger
from keystow.records.connection import StoredSecret
from keystow.refresh import checks, commit, engine, lease, throttle
from keystow.refresh.due import READ_MARGIN_MS, next_check
from keystow.refresh.sweep import QUEUED_FOR_MS
from keystow.store import (
    ConditionFailed,
    Equals,
    Exists,
    StoreUnavailable,
    TransactionConflict,
    Update,
    tables,
)
from keystow.store.operations import Key
from keystow.vault import VaultError, VaultUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from keystow.context import Context
    from keystow.store import Item

IN_FLIGHT: Final = 100
COMMIT_AGAIN_SECONDS: Final = 60
# A connection whose host is slow, when the worker rests from slow hosts, is due again after.
GIVE_WAY_MS: Final = 60_000
GIVE_WAY_SPREAD_MS: Final = 180_000


class Incidents(Protocol):
    """What is done for an incident (:mod:`keystow.incidents.taking`)."""

    def take(self, ctx: Context, entry: dict[str, str]) -> list[Key]:
        """Take in what one entry names; return the rows of what was taken."""
        ...

    def revoke(self, ctx: Context, item: Item) -> None:
        """Revoke what stands in a row."""
        ...


class Postponed(Exception):  # noqa: N818 - an outcome, not a fault
    """The message should come again later."""


def handle(
    ctx: Context,
    bodies: Sequence[tuple[str, str]],
    until: float = float("inf"),
    expire: Callable[[Context, str, str], None] | None = None,
    incidents: Incidents | None = None,
) -> list[str]:
    """Work through messages of the queue, up to 100 token requests at once.

    Args:
        ctx: the container's context.
        bodies: (message id, body) of each.
        until: epoch seconds after which no further request is begun: a worker that is stopped in
            the middle of one could lose a rotated token.
        expire: erases what was not confirmed in time, by its partition and id.
        incidents: takes in and revokes what an incident names.

    Returns:
        The ids of the messages that must come again.
    """
    failed: set[str] = set()
    # Made here, not by a hundred threads at once: each would make its own.
    _ready = (ctx.store, ctx.vault, ctx.egress, ctx.queues, ctx.slow_hosts)
    with ThreadPoolExecutor(IN_FLIGHT) as pool:
        jobs = []
        for message_id, text in bodies:
            try:
                body = json.loads(text)
                if "commit" in body:
                    jobs.append((message_id, pool.submit(_commit, ctx, body["commit"])))
                elif "expire" in body and expire is not None:
                    jobs += [
                        (message_id, pool.submit(_expire, ctx, entry, until, expire))
                        for entry in body["expire"]
                    ]
                elif "take" in body and incidents is not None:
                    jobs += [
                        (message_id, pool.submit(_take, ctx, entry, until, incidents))
                        for entry in body["take"]
                    ]
                elif "revoke" in body and incidents is not None:
                    jobs += [
                        (message_id, pool.submit(_revoke, ctx, entry, until, incidents))
                        for entry in body["revoke"]
                    ]
                else:
                    jobs += [
                        (message_id, pool.submit(_refresh, ctx, entry, until))
                        for entry in body["refresh"]
                    ]
            except (ValueError, KeyError, TypeError):
                logger.error("unreadable refresh message", extra={"message_id": message_id})
                failed.add(message_id)
        for message_id, job in jobs:
            try:
                job.result()
            except Postponed:
                failed.add(message_id)
            except Exception as error:  # noqa: BLE001 - one connection must not stop the others
                metrics.count(metrics.FAULTS)
                logger.error("refresh fault", extra={"cause": type(error).__name__})
                failed.add(message_id)
    metrics.flush()
    return sorted(failed)


def _refresh(ctx: Context, entry: dict[str, str], until: float) -> None:
    if ctx.clock.now() >= until:
        raise Postponed
    item = ctx.store.get(Key(tables.CONNECTIONS, entry["pk"], tables.CONNECTION_SECRET))
    if item is None:
        return
    secret = StoredSecret.from_item(item)
    if secret.generation != entry["generation"] or not _wanted(ctx, secret):
        return
    host = secret.host or ""
    if not ctx.slow_hosts.admit(secret.environment, host):
        _give_way(ctx, secret)
        return
    began, took = ctx.clock.now(), None
    try:
        asked = _ask(ctx, secret, until)
        took = ctx.clock.now() - began if asked else None
    finally:
        ctx.slow_hosts.ended(secret.environment, host, took)


def _expire(
    ctx: Context,
    entry: dict[str, str],
    until: float,
    expire: Callable[[Context, str, str], None],
) -> None:
    if ctx.clock.now() >= until:
        raise Postponed
    key = Key(tables.CONNECTIONS, entry["pk"], tables.CONNECTION_PENDING)
    item = ctx.store.get(key)
    if item is None or item["generation"] != entry["generation"]:
        return
    environment, _, _ = tables.split_connection_pk(entry["pk"])
    host = item.get("host", "")
    if not ctx.slow_hosts.admit(environment, host):
        # Without the table it comes due where the sweep has put it.
        with suppress(ConditionFailed, StoreUnavailable):
            same = Equals("generation", item["generation"])
            ctx.store.update(Update(key, set={"due_at": _later(ctx)}, condition=same))
        return
    began = ctx.clock.now()
    try:
        expire(ctx, entry["pk"], entry["generation"])
    except (StoreUnavailable, TransactionConflict, VaultUnavailable) as error:
        raise Postponed from error
    finally:
        ctx.slow_hosts.ended(environment, host, ctx.clock.now() - began)


def _take(ctx: Context, entry: dict[str, str], until: float, incidents: Incidents) -> None:
    if ctx.clock.now() >= until:
        raise Postponed
    try:
        rows = incidents.take(ctx, entry)
    except (ApiError, StoreUnavailable, TransactionConflict) as error:
        raise Postponed from error
    for row in rows:
        _revoke(ctx, {"pk": row.pk, "sk": row.sk}, until, incidents)


def _revoke(ctx: Context, entry: dict[str, str], until: float, incidents: Incidents) -> None:
    if ctx.clock.now() >= until:
        raise Postponed
    key = Key(tables.CONNECTIONS, entry["pk"], entry["sk"])
    item = ctx.store.get(key)
    if item is None or "sealed" not in item:
        return  # it has an outcome
    environment, _ = tables.split_incident(entry["pk"])
    host = item.get("host", "")
    if not ctx.slow_hosts.admit(environment, host):
        # Without the table it comes due where it stands.
        with suppress(ConditionFailed, StoreUnavailable):
            there = Exists("sealed")
            ctx.store.update(Update(key, set={"due_at": _later(ctx)}, condition=there))
        return
    began = ctx.clock.now()
    try:
        incidents.revoke(ctx, item)
    except (StoreUnavailable, TransactionConflict, VaultUnavailable) as error:
        raise Postponed from error
    finally:
        ctx.slow_hosts.ended(environment, host, ctx.clock.now() - began)


def _ask(ctx: Context, secret: StoredSecret, until: float) -> bool:
    """Refresh or check a credential; return whether its provider was asked."""
    try:
        if not secret.refreshable:
            checks.check(ctx, secret, until=until)
            return True
        outcome = engine.refresh(ctx, secret, until=until)
        if outcome.until is not None:
            _put_off(ctx, secret, outcome.until)
    except (StoreUnavailable, TransactionConflict, VaultUnavailable, engine.TooLate) as error:
        raise Postponed from error
    except VaultError:
        metrics.count(metrics.SECRETS_UNOPENED)
        logger.error("a credential does not open", extra={"connection": secret.connection_id})
        _due_again(ctx, secret, next_check(int(ctx.clock.now() * 1000), ctx.random))
        return False
    return outcome.state in {"refreshed", "failed"}


def _wanted(ctx: Context, secret: StoredSecret) -> bool:
    """Return whether a refresh is still needed: the message may be late, or a duplicate."""
    now = int(ctx.clock.now() * 1000)
    if not secret.refreshable:
        # The sweep has moved what it queued; what is due later than that was checked since, and so
        # was what was refused and is asked about again later than now.
        if secret.failure is not None and secret.failure.next_at > now + READ_MARGIN_MS:
            return False
        return secret.due_at is not None and secret.due_at <= now + QUEUED_FOR_MS + READ_MARGIN_MS
    if secret.failure is not None:
        return secret.failure.kind != "terminal" and secret.failure.next_at <= now + READ_MARGIN_MS
    if secret.expires_at is None:
        return True  # kept alive
    if secret.again_at is not None and secret.again_at <= now + READ_MARGIN_MS:
        return True
    # Two thirds of its life are still ahead: somebody has just refreshed it.
    life = secret.expires_at - secret.issued_at
    return now - secret.issued_at > life / 3 or life <= 0


def _put_off(ctx: Context, secret: StoredSecret, until: int) -> None:
    """Let a connection come due when its host is to be asked again; it has not failed."""
    _due_again(ctx, secret, throttle.resume_at(until, int(ctx.clock.now() * 1000), ctx.random))


def _give_way(ctx: Context, secret: StoredSecret) -> None:
    """Let a connection of a slow host come due again in some minutes; it has not failed."""
    _due_again(ctx, secret, _later(ctx))


def _later(ctx: Context) -> int:
    spread = GIVE_WAY_SPREAD_MS * int.from_bytes(ctx.random.bytes(2)) // 0xFFFF
    return int(ctx.clock.now() * 1000) + GIVE_WAY_MS + spread


def _due_again(ctx: Context, secret: StoredSecret, due: int) -> None:
    if secret.due_at is None:
        return
    # Without the table it comes due where the sweep has put it.
    with suppress(ConditionFailed, StoreUnavailable):
        ctx.store.update(
            Update(secret.key, set={"due_at": due}, condition=lease.still_mine(secret))
        )


def _commit(ctx: Context, body: dict[str, Any]) -> None:
    before, after = commit.from_queue(body)
    try:
        result = commit.store_again(ctx, before, after)
    except (StoreUnavailable, TransactionConflict, VaultUnavailable):
        # A message of its own each time: the queue gives up on one that comes back too often.
        commit.send_to_queue(ctx, before, after, COMMIT_AGAIN_SECONDS)
        return
    if result.state == "deleted":
        engine.revoke_late(ctx, after)
