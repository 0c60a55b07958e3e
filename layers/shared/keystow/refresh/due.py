"""When a credential is due (design: a refresh early enough to survive hours of trouble)."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final

from keystow.store.tables import DUE_SHARDS

if TYPE_CHECKING:
    from keystow.ids import Randomness

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 86_400_000
EARLY_MS: Final = 900_000
JITTER: Final = 0.05
# A read refreshes in line when less than this is left of a token's life.
READ_MARGIN_MS: Final = 60_000


def due_at(
    issued_at: int, expires_at: int | None, random: Randomness, buffer_seconds: int = 0
) -> int | None:
    """Return when a token should be refreshed, in milliseconds since the epoch.

    ``issued + min(0.8 × life, life − 15 min)`` for tokens that live over an hour, else
    ``issued + 0.75 × life``; up to 5 % of that earlier, so that connections made together do not
    come due together. None for a token that does not expire. With a buffer: within those last
    seconds of its life, since some providers renew no token before.
    """
    if expires_at is None:
        return None
    life = expires_at - issued_at
    if life <= 0:
        return issued_at
    if buffer_seconds:
        share = (1 + int.from_bytes(random.bytes(2)) / 0xFFFF) / 3
        return max(issued_at, expires_at - int(buffer_seconds * 1000 * share))
    wait = min(0.8 * life, life - EARLY_MS) if life > HOUR_MS else 0.75 * life
    early = int.from_bytes(random.bytes(2)) / 0xFFFF * JITTER
    return issued_at + int(wait * (1 - early))


def next_due(
    issued_at: int,
    expires_at: int | None,
    refresh_token_life_days: int | None,
    random: Randomness,
    buffer_seconds: int = 0,
) -> int | None:
    """Return when a credential should be refreshed next.

    A token that does not expire is refreshed only to keep alive a refresh token that dies unused,
    when four fifths of its life are over.
    """
    due = due_at(issued_at, expires_at, random, buffer_seconds)
    if due is None and refresh_token_life_days is not None:
        due = issued_at + int(refresh_token_life_days * DAY_MS * 0.8)
    return due


def next_check(now: int, random: Randomness) -> int:
    """Return when a credential that cannot be renewed should be tried again: in a day, ± 5 %."""
    share = int.from_bytes(random.bytes(2)) / 0xFFFF
    return now + int(DAY_MS * (1 + JITTER * (2 * share - 1)))


def shard_of(connection_id: str) -> str:
    """Return the shard of the due index in which a connection stands."""
    return f"due-{zlib.crc32(connection_id.encode()) % DUE_SHARDS:02d}"


def all_shards() -> list[str]:
    """Return every shard of the due index."""
    return [f"due-{number:02d}" for number in range(DUE_SHARDS)]


def read_margin(buffer_seconds: int) -> int | None:
    """Return the margin of a connection's readers where its entry has one of its own."""
    margin = buffer_seconds * 1000
    return margin if 0 < margin < READ_MARGIN_MS else None


def needs_refresh_before_read(
    issued_at: int, expires_at: int | None, now: int, *, renewed: bool, margin: int | None = None
) -> bool:
    """Return whether a reader should not be given this token without trying to renew it.

    Under a minute is left, or under the margin of its provider; of a token that a refresh brought
    and that lives two minutes or less (``renewed``), under half its life, or each read would renew
    it.
    """
    if expires_at is None:
        return False
    margin = READ_MARGIN_MS if margin is None else margin
    if renewed:
        margin = min(margin, (expires_at - issued_at) // 2)
    return expires_at - now < margin


def is_valid(expires_at: int | None, now: int) -> bool:
    """Return whether a token is still good."""
    return expires_at is None or expires_at > now
