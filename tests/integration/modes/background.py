"""Time that passes with the sweep and the worker at it, and what events tell of it."""

from __future__ import annotations

import json
from typing import Any

from keystow.refresh import sweep, worker
from keystow.store import tables


def pass_time(ctx: Any, seconds: float, step: float = 3_600) -> None:
    """Let time pass in steps, and do after each what is due."""
    for _turn in range(max(1, int(seconds / step))):
        ctx.clock.advance(step)
        if not sweep.sweep(ctx):
            continue
        messages = ctx.queues.take_refreshes()
        given = [(str(n), json.dumps(body)) for n, (body, _) in enumerate(messages)]
        assert worker.handle(ctx, given) == []


def refresh_events(ctx: Any) -> list[dict[str, Any]]:
    """Return the bodies of events that tell of failed and recovered refreshes."""
    items = ctx.store.everything()[tables.EVENTS]
    bodies = [json.loads(item["body"]) for item in items if item["sk"] == "event"]
    return [body for body in bodies if body.get("operation") == "refresh"]
