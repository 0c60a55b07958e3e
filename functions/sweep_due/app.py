"""Each minute: finds the connections that are due and queues them for refresh_tokens."""

from __future__ import annotations

from typing import Any

from keystow import context
from keystow.log import logger
from keystow.needs import QUEUES, STORE, open_now
from keystow.refresh import sweep

# What the usual first request needs.
NEEDS = (STORE, QUEUES)

# What the rows and the message under way may still take when no further ones are begun.
SPARE_SECONDS = 10.0


def handler(_event: dict[str, Any], lambda_context: Any) -> dict[str, Any]:
    """Queue what is due, for as long as the function may run."""
    ctx = context.current()
    left = lambda_context.get_remaining_time_in_millis() / 1000 if lambda_context else 60.0
    queued = sweep.sweep(ctx, ctx.clock.now() + left - SPARE_SECONDS)
    logger.info("swept", extra={"queued": queued})
    return {"queued": queued}


open_now(*NEEDS)
