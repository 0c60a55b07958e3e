"""Erasing an end user: all that is kept of one person, found by the id that the backend gave.

    sessions ended ─▶ what waits taken back, ─▶ the same once more ─▶ traces that no
    no new ones       connections deleted       after 3 s             connection leads to
    make anything     and revoked               (indexes come late)

The id is compared as the backend spells it. What a call has no time for is left as it is, and the
same call goes on with it.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

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
    from collections.abc import Iterator

    from keystow.context import Context
    from keystow.records.integration import Integration
    from keystow.store import Item

# Later than this no further deletion is begun: each may take an exchange with a provider.
BEGIN_WITHIN_SECONDS: Final = 6.0
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
    if erasing.left:
        raise ApiError(
            "temporarily_unavailable",
            "There was no time for everything; repeat the request to go on",
            payload={**erasing.told(), "left": erasing.left},
            headers={"retry-after": "1"},
        )
    erasing.follow_traces()
    return erasing.told()


class _Erasing:
    """One call: what it has done, and what it had no time for."""

    def __init__(self, ctx: Context, environment: str, end_user: str) -> None:
        self.began = ctx.clock.now()
        self.left = 0
        self._ctx = ctx
        self._environment = environment
        self._end_user = end_user
        self._sessions = 0
        self._deleted: dict[tuple[str, str], Deleted] = {}
        self._erased = traces.Erased()

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
        for row in self._traces():
            if "attempt" in row:
                self._ctx.store.delete(tables.oauth_state(row["attempt"]))
            if "session" not in row:
                continue
            place = tables.connect_session(row["session"])
            if self._ctx.store.get(place) is not None:
                self._ctx.store.delete(place)
                self._sessions += 1

    def delete_connections(self) -> None:
        """Delete what an index lists of the end user, as far as there is time."""
        self.left = 0
        # Made here, not by each thread for itself.
        _ready = (self._ctx.store, self._ctx.vault, self._ctx.egress, self._ctx.queues)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for done in pool.map(self._delete, self._found()):
                self.left += not done

    def follow_traces(self) -> None:
        """Take the end user out of what no connection of theirs leads to; last the way there."""
        for row in self._former():
            for trace in pages(self._ctx.store, tables.CONNECTIONS, row["pk"], prefix=tables.TRACE):
                if trace["identity"] == row["identity"]:
                    self._follow(trace)
            self._ctx.store.delete(Key(tables.CONNECTIONS, row["pk"], row["sk"]))
        for row in self._traces():
            self._follow(row)
            self._ctx.store.delete(Key(tables.SESSIONS, row["pk"], row["sk"]))
        name = ids.sha256_hex(end_user_name(self._end_user))
        counted = tables.end_user_traces(self._environment, name)
        for row in pages(self._ctx.store, tables.SESSIONS, counted, prefix=tables.QUOTA):
            self._ctx.store.delete(Key(tables.SESSIONS, counted, row["sk"]))

    def _follow(self, row: Item) -> None:
        self._erased = self._erased + traces.follow_to(
            self._ctx, self._environment, row, self._end_user
        )

    def _delete(self, place: tuple[Integration, str]) -> bool:
        """Delete what stands under an id; return False when there was no time for it."""
        if self._ctx.clock.now() >= self.began + BEGIN_WITHIN_SECONDS:
            return False
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
