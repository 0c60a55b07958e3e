"""Wraps all data keys anew: for another KMS key, or new material. No route leads here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keystow import context
from keystow.environments import rewrapping
from keystow.needs import STORE, open_now

if TYPE_CHECKING:
    from collections.abc import Mapping

# What the usual first request needs.
NEEDS = (STORE,)

# What a call to KMS and one to the table may still take.
LAST_SECONDS = 15


def handler(event: Mapping[str, Any] | None, lambda_context: Any) -> dict[str, Any]:
    """Answer how far it came; ``next`` of that answer, handed in as the event, goes on.

    Raises:
        ValueError: the event is neither empty nor one that was answered.
    """
    begun = _position(event) if event else None
    ctx = context.current()
    left = lambda_context.get_remaining_time_in_millis() / 1000 - LAST_SECONDS
    return rewrapping.rewrap(ctx, begun, ctx.clock.now() + left)


def _position(event: Mapping[str, Any]) -> rewrapping.Position:
    since, environment, after = (event.get(name) for name in ("since", "environment", "after"))
    if type(since) is not int or not isinstance(environment, str) or not isinstance(after, str):
        raise ValueError("send {}, or what an earlier call answered as next")
    return rewrapping.Position(since, environment, after)


open_now(*NEEDS)
