"""Erasing an end user: all that is kept of one person, found by the id that the backend gave.

    sessions ended ─▶ what waits taken back, ─▶ the same once more ─▶ traces that no
    no new ones       connections deleted       after 3 s             connection leads to
    make anything     and revoked               (indexes come late)

The id is compared as the backend spells it. What a call has no time for is left as it is, and the
same call goes on with it.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, TypeVar

from keystow import ids
from keystow.connections import pending
from keystow.connections.delete import Deleted, delete_of
from keystow.errors import ApiError
from keystow.events import traces
from keystow.records.connection import end_user_partition
from keystow.registry import integrations
from keystow.sessions.quotas import end_user_name
from keystow.store import Key, tables
from keystow.store.store import pages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from keystow.context import Context
    from keystow.records.integration import Integration
    from keystow.store import Item
# After so long the function that made a session has also written its operation, or ended.
_LOGGED_SECONDS: Final = 60

_T = TypeVar("_T")
_R = TypeVar("_R")

# Sessions are ended for so long; the rest takes another call.
END_WITHIN_SECONDS: Final = 4.0
# Later than this no further deletion is begun: each may take an exchange with a provider.
BEGIN_WITHIN_SECONDS: Final = 6.0
# Of the whole call: later no further trace is followed.
FOLLOW_WITHIN_SECONDS: Final = 22.0
# An index shows what was stored in the last moment a little later than the table.
SETTLED_SECONDS: Final = 3.0
AT_ONCE: Final = 16


def erase(ctx: Context, environment: str, end_user: str) -> dict[str, Any]:
    """Erase an end user and return what that did; nothing is done twice by asking again.

    Args:
        ctx: store, vault and the way out.
        environment: the caller's.
        end_user: the id, as given with sessions and connections.

    Raises:
        ApiError: 503 ``temporarily_unavailable`` when something is left, with what was done as
            payload; 401 ``unknown_account`` when the environment is being deleted.
        StoreUnavailable: something is left.
    """
    erasing = _Erasing(ctx, environment, end_user)
    erasing.end_sessions()
    erasing.delete_connections()
    ctx.clock.sleep(max(0.0, erasing.began + SETTLED_SECONDS - ctx.clock.now()))
    erasing.delete_connections()
    if not erasing.left:
        erasing.follow_traces()
    if erasing.left:
        raise ApiError(
            "temporarily_unavailable",
            "There was no time for everything; repeat the request to go on",
            payload={**erasing.told(), "left": erasing.left},
            headers={"retry-after": "1"},
        )
    return erasing.told()


class _Erasing:
    """One call: what it has done, and what it had no time for."""

    def __init__(self, ctx: Context, environment: str, end_user: str) -> None:
        self.began = ctx.clock.now()  # to delete connections, once sessions are ended
        self._called = self.began
        self._left = {"sessions": 0, "connections": 0, "traces": 0}
        self._lock = Lock()
        self._ctx = ctx
        self._environment = environment
        self._end_user = end_user
        self._sessions = 0
        self._deleted: dict[tuple[str, str], Deleted] = {}
        self._erased = traces.Erased()

    @property
    def left(self) -> int:
        """How much there was no time for."""
        return sum(self._left.values())

    def told(self) -> dict[str, Any]:
        """Return what was done, as the API tells it."""
        erased = self._erased
        for deleted in self._deleted.values():
            erased = erased + deleted.erased
        return {
            "connections": [
                {
                    "connection_id": connection_id,
                    "provider_config_key": unique_key,
                    "waited": deleted.revocation is None,
                    "revocation": deleted.revocation,
                }
                for (unique_key, connection_id), deleted in sorted(self._deleted.items())
            ],
            "sessions": self._sessions,
            "events": erased.events,
            "operations": erased.operations,
        }

    def end_sessions(self) -> None:
        """End the connect sessions, and attempts: what was begun makes no connection any more."""
        ended = self._in_time(self._end, self._traces(), self._called + END_WITHIN_SECONDS)
        self._left["sessions"] = ended.count(None)
        self._sessions = ended.count(True)
        self.began = self._ctx.clock.now()

    def _end(self, row: Item) -> bool:
        """End what a trace leads to; return whether that was a session."""
        if "attempt" in row:
            self._ctx.store.delete(tables.oauth_state(row["attempt"]))
            self._ctx.store.delete(Key(tables.SESSIONS, row["pk"], row["sk"]))
        if "session" not in row:
            return False
        place = tables.connect_session(row["session"])
        there = self._ctx.store.get(place) is not None
        if there:
            self._ctx.store.delete(place)
        if row["ttl"] - traces.KEPT_SECONDS < self._called - _LOGGED_SECONDS:
            # Nothing more comes of it: however many there are, each call leaves fewer.
            erased = self._follow_and_forget(row)
            with self._lock:
                self._erased = self._erased + erased
        return there

    def delete_connections(self) -> None:
        """Delete what an index lists of the end user, as far as there is time."""
        # Made here, not by each thread for itself.
        _ready = (self._ctx.store, self._ctx.vault, self._ctx.egress, self._ctx.queues)
        until = self.began + BEGIN_WITHIN_SECONDS
        self._left["connections"] = self._in_time(self._delete, self._found(), until).count(None)

    def follow_traces(self) -> None:
        """Take the end user out of what no connection of theirs leads to; last the way there."""
        until = self._called + FOLLOW_WITHIN_SECONDS
        for row in self._former():
            for trace in pages(self._ctx.store, tables.CONNECTIONS, row["pk"], prefix=tables.TRACE):
                if trace["identity"] == row["identity"]:
                    self._erased = self._erased + self._follow(trace)
            self._ctx.store.delete(Key(tables.CONNECTIONS, row["pk"], row["sk"]))
        followed = self._in_time(self._follow_and_forget, self._traces(), until)
        self._erased = sum(filter(None, followed), self._erased)
        self._left["traces"] = followed.count(None)
        if self.left:
            return
        name = ids.sha256_hex(end_user_name(self._end_user))
        counted = tables.end_user_traces(self._environment, name)
        for row in pages(self._ctx.store, tables.SESSIONS, counted, prefix=tables.QUOTA):
            self._ctx.store.delete(Key(tables.SESSIONS, counted, row["sk"]))

    def _in_time(
        self, work: Callable[[_T], _R], items: Iterable[_T], until: float
    ) -> list[_R | None]:
        """Do the work for each, several at once; None stands for what there was no time for."""

        def one(item: _T) -> _R | None:
            return None if self._ctx.clock.now() >= until else work(item)

        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(pool.map(one, items))

    def _follow(self, row: Item) -> traces.Erased:
        return traces.follow_to(self._ctx, self._environment, row, self._end_user)

    def _follow_and_forget(self, row: Item) -> traces.Erased:
        erased = self._follow(row)
        self._ctx.store.delete(Key(tables.SESSIONS, row["pk"], row["sk"]))
        return erased

    def _delete(self, place: tuple[Integration, str]) -> bool:
        """Delete what stands under an id."""
        integration, connection_id = place
        deleted = delete_of(self._ctx, integration, connection_id)
        if deleted is not None:
            self._deleted[integration.unique_key, connection_id] = deleted
        return True

    def _found(self) -> Iterator[tuple[Integration, str]]:
        """Yield the integration and id of each connection, and of what waits to become one."""
        whose = end_user_partition(self._environment, self._end_user)
        listed = pages(self._ctx.store, tables.CONNECTIONS, whose, index="by_end_user")
        known: dict[str, Integration | None] = {}
        for row in (*self._waiting(), *listed):
            _, integration_id, connection_id = tables.split_connection_pk(row["pk"])
            if integration_id not in known:
                known[integration_id] = integrations.by_id(
                    self._ctx, self._environment, integration_id
                )
            integration = known[integration_id]
            if integration is not None:  # else its removal erases them, as that began to
                yield integration, connection_id

    def _waiting(self) -> Iterator[Item]:
        partition = tables.pending_partition(self._environment)
        for row in pages(self._ctx.store, tables.CONNECTIONS, partition, index="by_environment"):
            if pending.person(row) == self._end_user:
                yield row

    def _former(self) -> Iterator[Item]:
        whose = traces.former(end_user_partition(self._environment, self._end_user))
        return pages(self._ctx.store, tables.CONNECTIONS, whose, index="by_end_user")

    def _traces(self) -> Iterator[Item]:
        name = ids.sha256_hex(self._end_user)
        partition = tables.end_user_traces(self._environment, name)
        return pages(self._ctx.store, tables.SESSIONS, partition, prefix=tables.TRACE)
