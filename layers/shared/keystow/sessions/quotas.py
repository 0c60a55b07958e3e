"""How much one connect session, and one end user over all sessions, may begin and make.

Each quota is a row that counts for a window which begins with its first use:

    first ──▶ put   count 1, until now + window      when there is none, or it is over
    next  ──▶ add 1 when until > now and count < limit, else 429 until then

Every count is one conditional write, so that callers at once cannot pass together. An end user is
known by id, whatever its letters' case and form, so that spelling it otherwise makes no new one.
What is deleted again still counts: the window counts what was made, not what there is. Imports by
an API key do not count: a backend needs no measure against itself.
"""

from __future__ import annotations

import math
import unicodedata
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, Literal

from keystow import ids
from keystow.errors import ApiError
from keystow.store import (
    Above,
    All,
    Any_,
    AtMost,
    Below,
    ConditionFailed,
    Equals,
    Put,
    StoreUnavailable,
    Update,
    tables,
)
from keystow.store.operations import NEW
from keystow.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterator

    from keystow.context import Context
    from keystow.records.session import ConnectSession
    from keystow.store import Key

Kind = Literal["attempts", "connections", "verifications"]
Told = Literal["attempts", "connections", "verifications", "telemetry"]

WINDOW_SECONDS: Final[dict[Kind, int]] = {
    "attempts": 600,
    "connections": 3_600,
    "verifications": 600,
}
# A verification that was answered within this is no slow one, and counts for nothing.
SLOW_SECONDS: Final = 5.0
_KEPT_SECONDS: Final = 3_600
_TRIES: Final = 5
_TOLD: Final[dict[Told, str]] = {
    "attempts": "attempts to connect",
    "connections": "new connections",
    "verifications": "slow verifications",
    "telemetry": "events",
}


class _Taken(Value):
    """One unit of a quota, and the window it was taken from."""

    key: Key
    until: int


class Unit:
    """What was counted for a connection under way."""

    def __init__(self) -> None:
        self.kept = False

    def keep(self) -> None:
        """Let it count from here on, whatever happens then."""
        self.kept = True


def attempt(ctx: Context, session: ConnectSession) -> None:
    """Count an attempt to connect.

    Raises:
        ApiError: 429 ``too_many_request``; 409 ``connect_session_used``.
    """
    if session.single_use and _is_used(ctx, session):
        raise _used()
    _take(ctx, session, "attempts")


@contextmanager
def connection(ctx: Context, session: ConnectSession, *, new: bool) -> Iterator[Unit]:
    """Count the connection that is made inside; when making it fails, it does not count.

    What was stored counts, though something went wrong after it: inside, the unit is kept then.

    Args:
        ctx: store, clock and settings.
        session: who connects.
        new: whether the connection is a further one; one that is authorized anew counts for a
            session of single use only.

    Raises:
        ApiError: 429 ``too_many_request``; 409 ``connect_session_used``.
    """
    taken: list[_Taken] = []
    unit = Unit()
    if session.single_use:
        taken.append(_take_single(ctx, session))
    try:
        if new:
            taken += _take(ctx, session, "connections")
        yield unit
    except BaseException:
        for each in () if unit.kept else taken:
            _give_back(ctx, each)
        raise


@contextmanager
def verification(ctx: Context, session: ConnectSession) -> Iterator[None]:
    """Count the exchange with a provider inside when it is slow; it is held for slow until it ends.

    Raises:
        ApiError: 429 ``too_many_request``.
    """
    taken = _take(ctx, session, "verifications")
    began = ctx.clock.now()
    try:
        yield
    finally:
        if ctx.clock.now() - began < SLOW_SECONDS:
            for each in taken:
                _give_back(ctx, each)


def end_user_name(text: str) -> str:
    """Return one name for all spellings of an end user's id that look alike.

    Compatibility forms, case, and what is not seen (spaces, format characters) make no difference.
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    seen = "".join(
        each for each in folded if not each.isspace() and unicodedata.category(each) != "Cf"
    )
    return seen or text


def _take(ctx: Context, session: ConnectSession, kind: Kind) -> list[_Taken]:
    """Take one unit for the session and one for its end user, or none."""
    settings = ctx.settings
    limits = {
        "attempts": (settings.attempts_per_session, settings.attempts_per_end_user),
        "connections": (settings.connections_per_session, settings.connections_per_end_user),
        "verifications": (
            settings.slow_verifications_per_session,
            settings.slow_verifications_per_end_user,
        ),
    }
    taken: list[_Taken] = []
    of_session, of_end_user = limits[kind]
    owners = [(tables.session_quota(session.token_hash, kind), of_session, "session")]
    end_user = session.end_user.id if session.end_user else session.tags.get("end_user_id")
    # With a public key the connection's id is all that tells whose it is.
    end_user = end_user or session.connection_id
    if end_user:
        name = ids.sha256_hex(end_user_name(end_user))
        owners.append(
            (tables.end_user_quota(session.environment, name, kind), of_end_user, "end user")
        )
    try:
        for key, limit, whose in owners:
            if limit > 0:
                taken.append(_one(ctx, key, kind, limit, whose))
    except BaseException:
        for each in taken:
            _give_back(ctx, each)
        raise
    return taken


def _one(ctx: Context, key: Key, kind: Kind, limit: int, whose: str) -> _Taken:
    for _try in range(_TRIES):
        now = int(ctx.clock.now() * 1000)
        running = All((Above("until", now), Below("count", limit)))
        try:
            row = ctx.store.update(Update(key, add={"count": 1}, condition=running))
            return _Taken(key, row["until"])
        except ConditionFailed as failed:
            found = failed.found[0]
        if found is not None and found["until"] > now:
            if found["count"] >= limit:
                raise too_many(kind, limit, whose, now, found["until"])
            continue  # there is room again: somebody gave one back in this moment
        until = now + WINDOW_SECONDS[kind] * 1000
        first = {"count": 1, "until": until, "ttl": until // 1000 + _KEPT_SECONDS}
        with suppress(ConditionFailed):  # somebody else has begun the window
            ctx.store.put(Put(key, first, Any_((NEW, AtMost("until", now)))))
            return _Taken(key, until)
    raise ApiError(
        "temporarily_unavailable",
        "Too much at once; try again shortly",
        headers={"retry-after": "1"},
    )


def too_many(kind: Told, limit: int, whose: str, now: int, until: int) -> ApiError:
    """Return 429 ``too_many_request``.

    Args:
        kind: of what.
        limit: how much there is.
        whose: ``session`` or ``end user``.
        now: in milliseconds.
        until: in milliseconds, when there is more.
    """
    seconds = max(1, math.ceil((until - now) / 1000))
    return ApiError(
        "too_many_request",
        f"This {whose} has had its {limit} {_TOLD[kind]} for now; "
        f"there are more in {seconds} seconds",
        payload={"quota": f"{kind}_per_{whose.replace(' ', '_')}", "retry_after": seconds},
        headers={
            "retry-after": str(seconds),
            "x-ratelimit-limit": str(limit),
            "x-ratelimit-remaining": "0",
            "x-ratelimit-reset": str(math.ceil(until / 1000)),
        },
    )


def _take_single(ctx: Context, session: ConnectSession) -> _Taken:
    key = tables.session_quota(session.token_hash, "single")
    until = session.expires_at
    row = {"count": 1, "until": until, "ttl": until // 1000 + _KEPT_SECONDS}
    try:
        ctx.store.put(Put(key, row, Any_((NEW, AtMost("count", 0)))))
    except ConditionFailed:
        raise _used() from None
    return _Taken(key, until)


def _is_used(ctx: Context, session: ConnectSession) -> bool:
    row = ctx.store.get(tables.session_quota(session.token_hash, "single"))
    return row is not None and row["count"] > 0


def _used() -> ApiError:
    return ApiError(
        "connect_session_used",
        "This connect session was for one connection, which has been made or is being made",
    )


def _give_back(ctx: Context, taken: _Taken) -> None:
    """Take a unit back; without the table it counts until its window is over."""
    same = All((Equals("until", taken.until), Above("count", 0)))
    with suppress(ConditionFailed, StoreUnavailable):
        ctx.store.update(Update(taken.key, add={"count": -1}, condition=same))
