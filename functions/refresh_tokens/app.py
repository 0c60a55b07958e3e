"""Refreshes what the queue names; sweep_due has found it."""

from __future__ import annotations

from typing import Any

from keystow import context
from keystow.connections import pending
from keystow.incidents import taking
from keystow.log import logger
from keystow.needs import EGRESS, QUEUES, STORE, VAULT, open_now
from keystow.refresh import worker

# What the usual first request needs.
NEEDS = (
    STORE,
    VAULT,
    QUEUES,
    EGRESS,
    "keystow.slow_hosts",
    "keystow.modes.dual_tokens",
    "keystow.modes.oauth2",
    "keystow.oauth.introspection",
    "keystow.oauth.token_endpoint",
)

# The longest exchange with a provider, and the time to commit its outcome.
EXCHANGE_SECONDS = 32.0


def handler(event: dict[str, Any], lambda_context: Any) -> dict[str, Any]:
    """Refresh what a batch of the queue names."""
    ctx = context.current()
    records = event["Records"]
    left = lambda_context.get_remaining_time_in_millis() / 1000 if lambda_context else 60.0
    until = ctx.clock.now() + left - EXCHANGE_SECONDS
    bodies = [(each["messageId"], each["body"]) for each in records]
    failed = worker.handle(ctx, bodies, until, pending.expire, taking)
    logger.info("refreshed", extra={"messages": len(records), "again": len(failed)})
    return {"batchItemFailures": [{"itemIdentifier": each} for each in failed]}


open_now(*NEEDS)
