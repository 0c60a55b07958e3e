"""The lease: one refresher at a time for a connection, and a fence against late ones.

    A  ──claim──────────send──────────────╳ (killed)
       fence 7, lease 60 s
    B            claim refused ... lease over + skew ──claim──send──commit
                                                     fence 8       if fence = 8
    A′ (thawed)                                                          commit refused: fence 8

The claim is taken just before sending and says when; it outlives the longest exchange (20 s) and
the longest life of a function that refreshes (50 s), so that who takes over knows the former owner
to be dead, not slow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from keystow.ids import short_id
from keystow.records.connection import StoredSecret
from keystow.store import All, Any_, Below, ConditionFailed, Equals, Missing, Update
from keystow.value import Value

if TYPE_CHECKING:
    from keystow.context import Context

LEASE_MS: Final = 60_000
CLOCK_SKEW_MS: Final = 5_000


class Claimed(Value):
    """The lease was taken; the secret as it is under it."""

    secret: StoredSecret


class Refused(Value):
    """Somebody else was first, or the connection changed or is gone (None)."""

    found: StoredSecret | None


def claim(ctx: Context, secret: StoredSecret, *, forced: bool) -> Claimed | Refused:
    """Take the lease of a connection, if its credential is still the one that was read.

    Args:
        ctx: store and clock.
        secret: as read.
        forced: whether a caller refused the current token; noted, to bound how often that is.

    Raises:
        StoreUnavailable: as the store.
    """
    now = int(ctx.clock.now() * 1000)
    write_id = short_id(ctx.random)
    changes: dict[str, Any] = {
        "lease_until": now + LEASE_MS,
        "sent_at": now,
        "write_id": write_id,
    }
    if forced:
        changes["forced_at"] = now
    condition = All(
        (
            Equals("generation", secret.generation),
            Equals("version", secret.version),
            Any_((Missing("lease_until"), Below("lease_until", now - CLOCK_SKEW_MS))),
        )
    )
    update = Update(secret.key, set=changes, add={"fence": 1}, condition=condition)
    try:
        return Claimed(StoredSecret.from_item(ctx.store.update(update)))
    except ConditionFailed:
        item = ctx.store.get(secret.key)
        found = None if item is None else StoredSecret.from_item(item)
        # The client repeats a write whose answer was lost; the repeat then fails on our own lease.
        if found is not None and found.write_id == write_id:
            return Claimed(found)
        return Refused(found)


def is_held(secret: StoredSecret, now: int) -> bool:
    """Return whether somebody may be refreshing right now."""
    return secret.lease_until is not None and secret.lease_until + CLOCK_SKEW_MS >= now


def still_mine(secret: StoredSecret) -> All:
    """Return the condition of a commit: the credential and the fence are those of the claim."""
    return All(
        (
            Equals("generation", secret.generation),
            Equals("version", secret.version),
            Equals("fence", secret.fence),
        )
    )
