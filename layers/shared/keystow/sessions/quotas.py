"""How much one connect session, and one end user over all sessions, may begin and make.

Each quota is a row that counts for a window which begins with its first use:

    first ──▶ put   count 1, until now + window      when there is none, or it is over
    next  ──▶ add 1 when until > now and count < limit, else 429 until then

All that is counted at once is one transaction of conditional writes, so that callers at once cannot
pass together, and whoever is refused has used up nothing. It assumes that each window begins here;
what fails tells where one is running. An end user is known by id, whatever its letters' case and
form, so that spelling it otherwise makes no new one. What is deleted again still counts: the window
counts what was made, not what there is. Imports by an API key do not count: a backend needs no
measure against itself.
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
    TransactionConflict,
    Update,
    tables,
)
from keystow.store.operations import NEW
from keystow.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from keystow.context import Context
    from keystow.records.session import ConnectSession
    from keystow.store import Item, Key, Operation

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


class _Owner(Value):
    """Whose quota it is: its row, and how much there is of what."""

    key: Key
    kind: Kind
    limit: int
    whose: str


class _Taken(Value):
    """One unit of a quota, and the window it was taken from."""

    key: Key
    until: int
    kind: Kind | Literal["single"]


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
def connection(
    ctx: Context, session: ConnectSession, *, new: bool, exchanges: bool
) -> Iterator[Unit]:
    """Count the connection that is made inside; when making it fails, it does not count.

    What was stored counts, though something went wrong after it: inside, the unit is kept then.

    Args:
        ctx: store, clock and settings.
        session: who connects.
        new: whether the connection is a further one; one that is authorized anew counts for a
            session of single use only.
        exchanges: whether what is inside asks somebody who may be slow. It is held for slow until
            it ends; then it counts if it was.

    Raises:
        ApiError: 429 ``too_many_request``; 409 ``connect_session_used``.
    """
    taken: list[_Taken] = []
    unit = Unit()
    if session.single_use:
        taken.append(_take_single(ctx, session))
    try:
        wanted: dict[Kind, bool] = {"connections": new, "verifications": exchanges}
        found = _take(ctx, session, *(kind for kind, counts in wanted.items() if counts))
        exchange = [each for each in found if each.kind == "verifications"]
        taken += [each for each in found if each.kind == "connections"]
        began = ctx.clock.now()
        try:
            yield unit
        finally:
            if ctx.clock.now() - began < SLOW_SECONDS:
                _give_back(ctx, exchange)
    except BaseException:
        if not unit.kept:
            _give_back(ctx, taken)
        raise


def end_user_name(text: str) -> str:
    """Return one name for all spellings of an end user's id that look alike.

    Compatibility forms, case, and what is not seen (spaces, format characters) make no difference.
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    seen = "".join(
        each for each in folded if not each.isspace() and unicodedata.category(each) != "Cf"
    )
    return seen or text


def _take(ctx: Context, session: ConnectSession, *kinds: Kind) -> list[_Taken]:
    """Take one unit of each kind for the session and one for its end user, or none of them."""
    owners = [owner for kind in kinds for owner in _owners(ctx, session, kind)]
    if not owners:
        return []
    known: dict[Key, Item | None] = {}
    for _try in range(_TRIES):
        now = int(ctx.clock.now() * 1000)
        planned = [_planned(owner, known.get(owner.key), now) for owner in owners]
        try:
            ctx.store.transact([write for write, _taken in planned])
        except ConditionFailed as failed:
            # A window is running; or somebody else has begun one, or used it up, in this moment.
            places = zip(failed.failed, failed.found, strict=True)
            known.update({owners[place].key: row for place, row in places})
        except TransactionConflict:
            break
        else:
            return [taken for _write, taken in planned]
    raise ApiError(
        "temporarily_unavailable",
        "Too much at once; try again shortly",
        headers={"retry-after": "1"},
    )


def _owners(ctx: Context, session: ConnectSession, kind: Kind) -> Iterator[_Owner]:
    """Yield whose quotas of a kind count."""
    settings = ctx.settings
    limits = {
        "attempts": (settings.attempts_per_session, settings.attempts_per_end_user),
        "connections": (settings.connections_per_session, settings.connections_per_end_user),
        "verifications": (
            settings.slow_verifications_per_session,
            settings.slow_verifications_per_end_user,
        ),
    }
    of_session, of_end_user = limits[kind]
    if of_session > 0:
        key = tables.session_quota(session.token_hash, kind)
        yield _Owner(key, kind, of_session, "session")
    person = _person(session)
    if person and of_end_user > 0:
        key = tables.end_user_quota(session.environment, ids.sha256_hex(person), kind)
        yield _Owner(key, kind, of_end_user, "end user")


def _person(session: ConnectSession) -> str | None:
    """Return one name for the end user that a session is for; None: nobody has said who that is."""
    # With a public key the connection's id is all that tells whose it is.
    person = session.person or session.connection_id
    if person:
        return end_user_name(person)
    if not session.by_public_key:
        return None
    # Its HMAC is the same for all, so all are one. No end user's name has white space in it.
    return f"hmac of {' '.join(session.allowed_integrations or ())}"


def _planned(owner: _Owner, row: Item | None, now: int) -> tuple[Operation, _Taken]:
    """Return the write that takes a unit, given what is known of the row (None: nothing).

    Raises:
        ApiError: 429 ``too_many_request``.
    """
    if row is not None and row["until"] > now:
        until = row["until"]
        if row["count"] >= owner.limit:
            raise too_many(owner.kind, owner.limit, owner.whose, now, until)
        running = All((Equals("until", until), Below("count", owner.limit)))
        return Update(owner.key, add={"count": 1}, condition=running), _taken(owner, until)
    until = now + WINDOW_SECONDS[owner.kind] * 1000
    first = {"count": 1, "until": until, "ttl": until // 1000 + _KEPT_SECONDS}
    write = Put(owner.key, first, Any_((NEW, AtMost("until", now))))
    return write, _taken(owner, until)


def _taken(owner: _Owner, until: int) -> _Taken:
    return _Taken(owner.key, until, owner.kind)


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
    return _Taken(key, until, "single")


def _is_used(ctx: Context, session: ConnectSession) -> bool:
    row = ctx.store.get(tables.session_quota(session.token_hash, "single"))
    return row is not None and row["count"] > 0


def _used() -> ApiError:
    return ApiError(
        "connect_session_used",
        "This connect session was for one connection, which has been made or is being made",
    )


def _give_back(ctx: Context, taken: Sequence[_Taken]) -> None:
    """Take units back; without the table they count until their window is over."""
    if not taken:
        return
    writes = [
        Update(
            each.key,
            add={"count": -1},
            condition=All((Equals("until", each.until), Above("count", 0))),
        )
        for each in taken
    ]
    with suppress(StoreUnavailable, TransactionConflict):
        try:
            ctx.store.transact(writes)
        except ConditionFailed:  # of one the window is over meanwhile
            for each in taken if len(taken) > 1 else ():
                _give_back(ctx, [each])
