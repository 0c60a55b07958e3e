"""Somebody comes to a callback whom Keystow did not send: an installation begun at the provider.

It is refused, since an account must not be connected that nobody here asked for (RFC 9700 §4.7);
but people are told what to do, and the operator sees it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from keystow.activity import log as activity
from keystow.ids import sha256_hex
from keystow.log import logger
from keystow.registry import callbacks, integrations

if TYPE_CHECKING:
    from keystow.authorization.answer import Answer
    from keystow.context import Context

# Anybody may come here any number of times: an integration notes it once in so long.
NOTED_EVERY_SECONDS: Final = 900
REASON: Final = (
    "The provider sent you here without saying which connection this is about. That is so when an "
    "installation begins at the provider, in its marketplace for example."
)


def note(ctx: Context, place: str | None, answer: Answer) -> None:
    """Leave a trace of it, without anything of what was brought along.

    In the activity where the callback is an integration's own; else in the function's log, since
    the callback that all share tells no environment.

    Args:
        ctx: the container's context.
        place: of the integration's own callback; None of the one that all share.
        answer: what came.
    """
    details = {"with_code": bool(answer.get("code")), "with_error": bool(answer.get("error"))}
    found = integrations.by_id(ctx, *callbacks.ids_in(place)) if place else None
    if found is None:
        logger.warning("callback without a state", extra=details)
        return
    window = int(ctx.clock.now() // NOTED_EVERY_SECONDS * NOTED_EVERY_SECONDS * 1000)
    activity.record(
        ctx,
        found.environment,
        "auth",
        "create_connection",
        "failed",
        activity.Message(
            "warn",
            "Somebody came from the provider without an authorization that began here, as an "
            "installation from its marketplace does; nothing was connected",
            details,
        ),
        operation=f"{window:013d}_{sha256_hex(callbacks.place_of(found))[:16]}",
        integration_key=found.unique_key,
        provider=found.provider,
    )
