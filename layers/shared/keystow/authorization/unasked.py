"""Somebody comes to a callback whom Keystow did not send: an installation begun at the provider.

It is refused, since an account must not be connected that nobody here asked for (RFC 9700 §4.7);
but people are told what to do, and the operator sees it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from keystow.activity import log as activity
from keystow.environments.keys import ACCOUNT
from keystow.ids import sha256_hex
from keystow.log import logger
from keystow.modes import callbacks
from keystow.registry import integrations
from keystow.store import tables
from keystow.store.store import pages

if TYPE_CHECKING:
    from keystow.authorization.answer import Answer
    from keystow.context import Context

# Anybody may come here any number of times: it is noted once in so long.
NOTED_EVERY_SECONDS: Final = 900
_NOTED: Final = ("callback without a state",)
REASON: Final = (
    "The provider sent you here without saying which connection this is about. That is so when an "
    "installation begins at the provider, in its marketplace for example."
)


def note(ctx: Context, place: str | None, answer: Answer) -> None:
    """Leave a trace of it, without anything of what was brought along.

    At an integration's own callback it stands in the activity of its environment. The callback that
    all share tells no environment, so there each environment notes it.

    Args:
        ctx: the container's context.
        place: of the integration's own callback; None of the one that all share.
        answer: what came.
    """
    details = {"with_code": bool(answer.get("code")), "with_error": bool(answer.get("error"))}
    found = integrations.by_id(ctx, *callbacks.ids_in(place)) if place else None
    if found is not None:
        about: activity.Identity = {
            "integration_key": found.unique_key,
            "provider": found.provider,
        }
        _write(ctx, found.environment, callbacks.place_of(found), details, about)
        return
    logger.warning("callback without a state", extra=details)
    if place is not None:
        return  # it is nobody's callback
    now = ctx.clock.now()
    noted = ctx.cache.get(_NOTED)
    if noted is not None and noted[0] > now:
        return
    ctx.cache[_NOTED] = (now + NOTED_EVERY_SECONDS, True)
    for claim in pages(ctx.store, tables.REGISTRY, ACCOUNT, prefix="environment#"):
        _write(ctx, claim["environment"], "shared", details, {})


def _write(
    ctx: Context,
    environment: str,
    place: str,
    details: dict[str, bool],
    about: activity.Identity,
) -> None:
    window = int(ctx.clock.now() // NOTED_EVERY_SECONDS * NOTED_EVERY_SECONDS * 1000)
    activity.record(
        ctx,
        environment,
        "auth",
        "create_connection",
        "failed",
        activity.Message(
            "warn",
            "Somebody came from a provider without an authorization that began here, as an "
            "installation from its marketplace does; nothing was connected",
            details,
        ),
        operation=f"{window:013d}_{sha256_hex(place)[:16]}",
        **about,
    )
