"""Stores a new session, and what leads to it from its end user, so that an erasure ends it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keystow.events import traces
from keystow.store import Put, gates

if TYPE_CHECKING:
    from keystow.context import Context
    from keystow.records.session import ConnectSession
    from keystow.store import Operation


def store(ctx: Context, session: ConnectSession, put: Put) -> None:
    """Store a session that begins now.

    Args:
        ctx: store and clock.
        session: the new one.
        put: the write of its row.

    Raises:
        EnvironmentClosed: the environment is being deleted.
        ConditionFailed: as ``put`` demands.
    """
    writes: list[Operation] = [put]
    if session.person is not None:
        told = {"session": session.token_hash, "operation": session.operation_id}
        now = ctx.clock.now()
        writes.append(
            traces.of_person(session.environment, session.person, session.operation_id, told, now)
        )
    gates.transact(ctx.store, writes, environment=session.environment, spread=session.token_hash)
