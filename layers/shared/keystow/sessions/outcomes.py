"""How the latest attempt of a session went, for a page whose WebSocket was blocked or lost.

It stands in the session's own row, so it ends with it. Attempts outlive the session's token by
at most their own half hour, and so long the outcome is told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keystow.clock import iso
from keystow.log import logger
from keystow.store import ConditionFailed, Exists, StoreUnavailable, TransactionConflict, Update
from keystow.store.operations import THERE

if TYPE_CHECKING:
    from keystow.context import Context
    from keystow.records.session import ConnectSession

_LONGEST_MESSAGE = 500


def begun(ctx: Context, session: ConnectSession) -> None:
    """Forget the outcome of an earlier attempt: another one has begun."""
    if session.outcome is not None:
        _write(ctx, session, None)


def made(
    ctx: Context,
    session: ConnectSession,
    unique_key: str,
    connection_id: str,
    *,
    pending: bool,
) -> Update:
    """Return the write that notes a connection in the transaction that makes it.

    It fails when the session was ended. (One that merely ran out leaves its row until long after
    whatever it began is over.)

    Args:
        ctx: the container's context.
        session: in which it is made.
        unique_key: of the integration.
        connection_id: of the connection.
        pending: whether it still has to be confirmed by somebody.
    """
    outcome = {
        "status": "connected",
        "provider_config_key": unique_key,
        "connection_id": connection_id,
        "is_pending": pending,
        "at": _now(ctx),
    }
    return Update(session.key, set={"outcome": outcome}, condition=THERE)


def failed(ctx: Context, session: ConnectSession, unique_key: str, code: str, message: str) -> None:
    """Note why no connection was made.

    Args:
        ctx: the container's context.
        session: whose attempt it was.
        unique_key: of the integration.
        code: the kind, as in the WebSocket's ``error_type``.
        message: a sentence without a secret.
    """
    why = {"provider_config_key": unique_key, "code": code, "message": message[:_LONGEST_MESSAGE]}
    _write(ctx, session, {"status": "failed", **why, "at": _now(ctx)})


def describe(session: ConnectSession) -> dict[str, Any]:
    """Return the outcome as the session's token may see it."""
    shown: dict[str, Any] = {"status": "pending"}
    if session.outcome is not None:
        shown = dict(session.outcome)
        shown["changed_at"] = iso(int(shown.pop("at")) / 1000)
    shown["log_id"] = session.operation_id
    return {"data": shown}


def _now(ctx: Context) -> int:
    return int(ctx.clock.now() * 1000)


def _write(ctx: Context, session: ConnectSession, outcome: dict[str, Any] | None) -> None:
    """Write it if the session is still there; what happened stands in any case."""
    there = Exists("token_hash")
    change = Update(session.key, remove=("outcome",), condition=there)
    if outcome is not None:
        change = Update(session.key, set={"outcome": outcome}, condition=there)
    try:
        ctx.store.update(change)
    except ConditionFailed:
        return
    except (StoreUnavailable, TransactionConflict) as error:
        logger.warning("outcome not noted", extra={"cause": type(error).__name__})
