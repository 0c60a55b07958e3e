"""Delivers events: messages of the webhook queue, and each minute what the queue lost."""

from __future__ import annotations

from typing import Any

from keystow import context, metrics
from keystow.events import delivery
from keystow.needs import EGRESS, QUEUES, STORE, VAULT, open_now

# What the usual first request needs.
NEEDS = (STORE, VAULT, QUEUES, EGRESS, "keystow.slow_hosts")


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Answer an SQS batch with the messages that must come again; sweep at anything else."""
    ctx = context.current()
    if "Records" in event:
        messages = {record["messageId"]: record["body"] for record in event["Records"]}
        failed = delivery.deliver_batch(ctx, messages)
        metrics.flush()
        return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in failed]}
    queued = delivery.sweep(ctx)
    metrics.flush()
    return {"queued": queued}


open_now(*NEEDS)
