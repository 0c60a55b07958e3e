"""Delivers events: messages of the webhook queue, and each minute what the queue lost."""

from __future__ import annotations

from typing import Any

from keystow import context, metrics
from keystow.events import delivery


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
