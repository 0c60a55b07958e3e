"""What the tests of deliveries share: an event that is stored, a queue, time that passes."""

from __future__ import annotations

from typing import Any

from keystow.events import delivery, endpoints, outbox
from keystow.events.delivery import Outcome
from keystow.events.outbox import AuthEvent
from keystow.store import StoreUnavailable, Update, tables
from keystow.store.memory import MemoryStore
from tests.support import seed_environment

PRIMARY = "https://hooks.example.com/keystow"
SECONDARY = "https://second.example.com/x"
HOUR = 3600


class Crash(BaseException):
    """The process ends here."""


class FailingStore(MemoryStore):
    """A store whose writes to deliveries can be made to fail after some have passed."""

    passes: int | None = None
    failure: BaseException = StoreUnavailable("test")

    def update(self, operation: Update) -> dict[str, Any]:
        if self.passes is not None and operation.key.sk.startswith("delivery#"):
            if self.passes == 0:
                raise self.failure
            self.passes -= 1
        return super().update(operation)


def written_event(ctx: Any, **changes: Any) -> str:
    """Store an event as a change would, without queueing it, and return its id."""
    override = changes.pop("override", None)
    environment = seed_environment(ctx, **changes).environment
    event = AuthEvent(
        environment,
        "github",
        "OAUTH2",
        "gh",
        "c1",
        "creation",
        True,
        tags={},
        webhook_url_override=override,
    )
    planned = outbox.plan(ctx, event)
    assert planned is not None
    ctx.store.transact(planned.writes)
    return planned.event_id


def turn_on(ctx: Any) -> None:
    """Turn all endpoints on again, as writing the settings does, and let no container remember."""
    ctx.store.transact([endpoints.enabling("env1")])
    ctx.cache.pop(("webhook-endpoints", "env1"), None)


def row(ctx: Any, event_id: str, endpoint: int = 0) -> dict[str, Any]:
    found = ctx.store.get(tables.delivery(event_id, endpoint))
    assert found is not None
    return dict(found)


def run_queue(ctx: Any) -> list[Outcome]:
    """Deliver what is queued, as SQS would with its delays, until the queue is empty."""
    outcomes = []
    while ctx.queues.webhook:
        for body, delay in ctx.queues.take_webhooks():
            ctx.clock.advance(delay)
            outcomes.append(
                delivery.deliver(ctx, body["event_id"], body["endpoint"], body["attempt"])
            )
    return outcomes


def run_for(ctx: Any, seconds: float) -> list[Outcome]:
    """Let time pass, sweeping at the minute in which something is due."""
    outcomes = run_queue(ctx)
    end = ctx.clock.now() + seconds
    while ctx.clock.now() < end:
        due = [
            item["due_at"] / 1000 for item in ctx.store.everything()["events"] if "due_at" in item
        ]
        minutes = (min(due, default=end) - ctx.clock.now()) // 60 + 1
        ctx.clock.advance(max(1, minutes) * 60)
        if ctx.clock.now() <= end:
            delivery.sweep(ctx)
            outcomes += run_queue(ctx)
    return outcomes


def set_urls(ctx: Any, primary: str | None) -> None:
    webhooks = ctx.store.get(tables.environment_settings("env1"))["webhooks"]
    changed = {**webhooks, "primary_url": primary}
    ctx.store.update(Update(tables.environment_settings("env1"), set={"webhooks": changed}))
    ctx.clock.advance(31)
