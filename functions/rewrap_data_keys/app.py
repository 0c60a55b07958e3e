"""Wraps all data keys anew: for another KMS key, or new material. No route leads here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keystow import context
from keystow.environments import rewrapping

if TYPE_CHECKING:
    from collections.abc import Mapping

# What a call to KMS and one to the table may still take.
LAST_SECONDS = 15


def handler(event: Mapping[str, Any] | None, lambda_context: Any) -> dict[str, Any]:
    """Answer how far it came; ``{"since": …}`` of that answer goes on with it.

    Raises:
        ValueError: ``since`` is not one that was answered.
    """
    since = (event or {}).get("since")
    if since is not None and (type(since) is not int or since < 0):
        raise ValueError("since must be what an earlier call answered")
    ctx = context.current()
    left = lambda_context.get_remaining_time_in_millis() / 1000 - LAST_SECONDS
    return rewrapping.rewrap(ctx, since, ctx.clock.now() + left)
