"""One slow receiver does not hold up the webhooks of the others."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

from keystow.egress.client import Answer
from keystow.egress.errors import EgressFailed
from keystow.events import delivery, outbox
from keystow.events.outbox import AuthEvent
from tests.parallel_time import JobHosts, ParallelClock
from tests.support import make_context, seed_environment

MESSAGES_OF_ONE_INVOCATION = 10
SLOW = "https://slow.example.com/hook"


class Receivers:
    """One never answers in time, the others at once."""

    def __init__(self, clock: ParallelClock) -> None:
        self.clock = clock
        self.slow = False
        self.received: list[str] = []

    def send(self, _method: str, url: str, **_request: Any) -> Answer:
        host = str(urlsplit(url).hostname)
        if host.startswith("slow"):
            self.clock.takes(20)
            raise EgressFailed("timeout", sent=True)
        self.clock.takes(0.2)
        self.received.append(host)
        return Answer(200, {}, b"")


class Sending:
    """A queue that hands out what came first, and one sender."""

    def __init__(self) -> None:
        self.clock = ParallelClock()
        self.ctx: Any = make_context(clock=self.clock)
        self.ctx.slow_hosts = JobHosts(self.clock)
        self.receivers = self.ctx.egress = Receivers(self.clock)
        self.busy = 0.0
        self.environments: dict[str, Any] = {}

    def tell(self, url: str, environment: str) -> str:
        """Write an event for one receiver, and queue it."""
        if environment not in self.environments:
            seeded = seed_environment(self.ctx, id=environment, name=environment)
            self.environments[environment] = seeded.environment
        event = AuthEvent(
            self.environments[environment],
            "github",
            "OAUTH2",
            "gh",
            "c1",
            "creation",
            True,
            tags={},
            webhook_url_override=url,
        )
        planned = outbox.plan(self.ctx, event)
        assert planned is not None
        self.ctx.store.transact(planned.writes)
        outbox.dispatch(self.ctx, planned)
        return planned.event_id

    def work(self) -> None:
        """Let the sender take all that is queued without a delay."""
        taken = [body for body, _ in self.ctx.queues.take_webhooks()]
        while taken:
            batch = taken[:MESSAGES_OF_ONE_INVOCATION]
            del taken[:MESSAGES_OF_ONE_INVOCATION]
            messages = {str(n): json.dumps(body) for n, body in enumerate(batch)}
            assert delivery.deliver_batch(self.ctx, messages) == []
            self.busy += self.clock.round_over()


def test_a_slow_receiver_does_not_starve_the_webhooks_of_the_others() -> None:
    sending = Sending()
    for _ in range(100):
        sending.tell(SLOW, "env1")
    for number in range(50):
        sending.tell(f"https://quick{number}.example.com/hook", "env2")

    sending.work()

    assert len(sending.receivers.received) == 50
    # The first batch found out that the receiver is slow; ten of them would be 200 s.
    assert sending.busy < 25


def test_a_delivery_that_gives_way_has_all_its_attempts_left_and_comes_again() -> None:
    sending = Sending()
    first = [sending.tell(SLOW, "env1") for _ in range(MESSAGES_OF_ONE_INVOCATION)]
    late = sending.tell(SLOW, "env1")
    sending.work()

    row = sending.ctx.store.get(delivery.tables.delivery(late, 0))
    assert row["state"] == "pending"
    assert row["attempt"] == 0
    assert sending.clock.now() + 60 <= row["next_at"] / 1000 <= sending.clock.now() + 240
    queued = {body["event_id"]: (body, delay) for body, delay in sending.ctx.queues.webhook}
    assert queued[late][0] == {"event_id": late, "endpoint": 0, "attempt": 1}
    assert 60 <= queued[late][1] <= 240
    assert sending.ctx.store.get(delivery.tables.delivery(first[0], 0))["attempt"] == 1


def test_the_sweep_does_not_queue_twice_what_gives_way() -> None:
    sending = Sending()
    for _ in range(MESSAGES_OF_ONE_INVOCATION + 1):
        sending.tell(SLOW, "env1")
    sending.work()
    sending.ctx.queues.take_webhooks()
    sending.clock.advance(60)
    for_ten_that_failed_at_once = delivery.sweep(sending.ctx)
    assert for_ten_that_failed_at_once <= MESSAGES_OF_ONE_INVOCATION


def test_each_environment_and_receiver_is_a_message_group_of_its_own() -> None:
    sending = Sending()
    sending.tell(SLOW, "env1")
    sending.tell("https://quick.example.com:8443/hook?token=secret", "env1")
    sending.tell(SLOW, "env2")
    groups = [group for queue, group in sending.ctx.queues.groups if queue == "webhook"]
    assert groups == [
        "env1/slow.example.com",
        "env1/quick.example.com:8443",
        "env2/slow.example.com",
    ]
    sending.work()
    retried = sending.ctx.queues.groups[3:]
    assert retried, "the slow ones are tried again"
    assert {group for _, group in retried} <= set(groups)
