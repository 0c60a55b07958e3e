"""A host that asked for patience is left alone by every connection of its environment.

    worker A ──refresh of c1──▶ provider: 429, Retry-After 60 ──▶ row: host h, 15 s, by c1
    worker B ──refresh of c2──▶ provider: 429, Retry-After 60 ──▶ row: host h, 60 s, by c1 and c2
    worker C ──refresh of c3──▶ row ──▶ not sent; due again after the 60 s
    reader   ──token over──▶ row ──▶ 424, Retry-After

An answer asks for patience with 429, or with 503 and Retry-After. Many providers count by account:
one connection that is refused speaks for its host for a moment only, and only once; its own failure
holds it back. Two of them, with no success between, speak for all.

One row for each environment and host; a container reads it at most once in some seconds, and only
on the way to a refresh. Nothing here fails a refresh: what cannot be read counts as no pause, and
what cannot be written is known to this container alone.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from keystow.log import logger
from keystow.store import (
    Any_,
    Below,
    ConditionFailed,
    Equals,
    ItemTooLarge,
    Put,
    StoreUnavailable,
    TransactionConflict,
    gates,
    tables,
)
from keystow.store.operations import NEW
from keystow.value import Value

if TYPE_CHECKING:
    from keystow.context import Context
    from keystow.ids import Randomness

READ_AGAIN_SECONDS: Final = 5
# Pauses for a host that does not say how long; the first is also the longest that one connection
# alone brings about.
FIRST_MS: Final = 15_000
LONGEST_MS: Final = 900_000
# However long one connection was told to wait, the others of its host ask again after this.
LONGEST_ASKED_MS: Final = 3_600_000
# An answer that extends a pause by less than this is of the same burst, and writes nothing.
BURST_MS: Final = 5_000
# Once it is over, connections come back spread over as long as the pause was, within these bounds.
SHORTEST_SPREAD_MS: Final = 60_000
LONGEST_SPREAD_MS: Final = 600_000
# The sweep may deliver so much early.
EARLY_MS: Final = 10_000
# A pause makes the next one longer for so long after it.
REMEMBERED_MS: Final = 3_600_000
# So many of those refused are known, for so long: longer than any of them may be told to wait.
_MOST_REFUSED: Final = 10
KEPT_SECONDS: Final = 2 * 86_400
_MOST_REMEMBERED: Final = 5_000
# Reading takes a turn for each host, so that a hundred threads at once do not all read.
_TURNS: Final = tuple(threading.Lock() for _ in range(32))


class Pause(Value):
    """Until when a host is left alone, and for how many times running (0: it works again).

    ``by`` are the partitions of connections that were refused and have not worked since, the last
    ones; they outlive a success of others.
    """

    until: int
    times: int
    by: tuple[str, ...] = ()


def paused_until(ctx: Context, environment: str, host: str | None) -> int | None:
    """Return until when nothing may be sent to a token host, or None when something may.

    Args:
        ctx: store, clock and cache.
        environment: whose connections; nothing is shared between two.
        host: of the token endpoint; None: not known, never paused.

    Returns:
        Milliseconds since the epoch. None too when it cannot be told: that must not stop a refresh.
    """
    if host is None:
        return None
    pause = _remembered(ctx, environment, host) or _read(ctx, environment, host)
    now = int(ctx.clock.now() * 1000)
    return pause.until if pause.until > now else None


def note(
    ctx: Context, environment: str, host: str | None, by: str, retry_after: float | None
) -> None:
    """Remember that a token host asked for fewer requests.

    Args:
        ctx: store, clock and cache.
        environment: whose connections.
        host: of the token endpoint.
        by: the partition of the connection that was refused. The first one pauses its host for
            ``FIRST_MS`` at most, another one for as long as it was told, and one that was refused
            before not again: it may be its account that has used up its share.
        retry_after: seconds that it asked for; None or 0: a short pause, doubling from one to the
            next until something works again.
    """
    if host is None:
        return
    asked = min(int((retry_after or 0) * 1000), LONGEST_ASKED_MS)
    with _turn(environment, host):
        last = _last(ctx, environment, host)
        if by in last.by:
            return
        now = int(ctx.clock.now() * 1000)
        running = last.until > now
        before = last.times if now < last.until + REMEMBERED_MS else 0
        if asked and before > 1 and not running:
            before = 0  # the time that two were told is over: it takes two again
        times = before if running and not asked else before + 1
        own = min(LONGEST_MS, FIRST_MS * 2 ** min(times - 1, 20))
        wait = asked or own
        if not before:
            wait = min(wait, FIRST_MS)
        if running and last.until >= now + wait - BURST_MS:
            return
        pause = Pause(now + wait, times, (*last.by, by)[-_MOST_REFUSED:])
        _remember(ctx, environment, host, pause, pause.until / 1000)
    _store(ctx, environment, host, pause, last)


def worked(ctx: Context, environment: str, host: str | None, by: str) -> None:
    """Let the next pause of a host be short again: it gave a token after the last one was over.

    Args:
        ctx: store, clock and cache.
        environment: whose connections.
        host: of the token endpoint.
        by: the partition of the connection that got the token: what it says counts again.
    """
    if host is None:
        return
    last = _last(ctx, environment, host)
    now = ctx.clock.now()
    if last.until > now * 1000 or not (last.times or by in last.by):
        return
    over = Pause(last.until, 0, tuple(each for each in last.by if each != by))
    _remember(ctx, environment, host, over, now + READ_AGAIN_SECONDS)
    _store(ctx, environment, host, over, last)


def resume_at(until: int, now: int, random: Randomness) -> int:
    """Return when a connection that was put off should be tried (milliseconds since the epoch).

    Spread by chance over as long as the pause was, so that not all come in the moment it ends.
    """
    spread = min(max(until - now, SHORTEST_SPREAD_MS), LONGEST_SPREAD_MS)
    return until + EARLY_MS + spread * int.from_bytes(random.bytes(2)) // 0xFFFF


def _turn(environment: str, host: str) -> threading.Lock:
    return _TURNS[hash((environment, host)) % len(_TURNS)]


def _name(environment: str, host: str) -> tuple[str, ...]:
    return ("throttle", environment, host)


def _last(ctx: Context, environment: str, host: str) -> Pause:
    """Return the last pause that this container knows of."""
    cached = ctx.cache.get(_name(environment, host))
    if cached is None:
        return Pause(0, 0)
    assert isinstance(cached[1], Pause)
    return cached[1]


def _remembered(ctx: Context, environment: str, host: str) -> Pause | None:
    cached = ctx.cache.get(_name(environment, host))
    if cached is None or cached[0] <= ctx.clock.now():
        return None
    assert isinstance(cached[1], Pause)
    return cached[1]


def _remember(ctx: Context, environment: str, host: str, pause: Pause, until: float) -> None:
    if len(ctx.cache) >= _MOST_REMEMBERED:
        ctx.cache.clear()
    ctx.cache[_name(environment, host)] = (until, pause)


def _read(ctx: Context, environment: str, host: str) -> Pause:
    with _turn(environment, host):
        known = _remembered(ctx, environment, host)
        if known is not None:
            return known
        try:
            item = ctx.store.get(tables.throttle(environment, host))
            pause = Pause(0, 0)
            if item is not None and item["ttl"] > ctx.clock.now():
                pause = Pause(int(item["until"]), int(item["times"]), tuple(item["by"]))
        except StoreUnavailable:
            pause = _last(ctx, environment, host)
        now = ctx.clock.now()
        again = max(now + READ_AGAIN_SECONDS, pause.until / 1000)
        _remember(ctx, environment, host, pause, again)
        return pause


def _store(ctx: Context, environment: str, host: str, pause: Pause, last: Pause) -> None:
    item = {
        "until": pause.until,
        "times": pause.times,
        "by": list(pause.by),
        "ttl": pause.until // 1000 + KEPT_SECONDS,
    }
    # The longer of two pauses stands; that a host works again is said only of the pause known.
    longer = Any_((NEW, Below("until", pause.until)))
    condition = longer if pause.times else Equals("until", last.until)
    try:
        write = Put(tables.throttle(environment, host), item, condition)
        gates.transact(ctx.store, [write], environment=environment, spread=host)
    except (ConditionFailed, gates.EnvironmentClosed):
        return
    except (StoreUnavailable, TransactionConflict, ItemTooLarge):
        logger.warning("a host's pause was not written", extra={"host": host})
