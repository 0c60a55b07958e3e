"""When a delivery is tried again, and when it is given up."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from keystow.egress.client import Answer
from keystow.egress.errors import EgressFailed, EgressRefused
from keystow.events import delivery, schedule
from keystow.events.delivery import Outcome
from tests.support import FakeEgress, make_context
from tests.unit.events.sending import HOUR, row, run_for, run_queue, written_event


def test_a_receiver_that_fails_nine_times_gets_it_on_the_tenth() -> None:
    ctx: Any = make_context(egress=FakeEgress(*[500] * 9, 200))
    event_id = written_event(ctx)
    started = ctx.clock.now()
    times = []

    def answer(status: int) -> Any:
        def reply(_sent: Any) -> int:
            times.append(ctx.clock.now() - started)
            return status

        return reply

    ctx.egress.answers = [answer(status) for status in [500] * 9 + [200]]
    ctx.queues.send_webhook({"event_id": event_id, "endpoint": 0, "attempt": 1})

    outcomes = run_for(ctx, 90 * HOUR)

    assert outcomes == [Outcome.RETRYING] * 9 + [Outcome.DELIVERED]
    gaps = [after - before for before, after in itertools.pairwise(times)]
    for gap, asked in zip(gaps, schedule.DELAYS, strict=True):
        assert asked * 0.9 <= gap <= asked * 1.1 + 61
    assert 67 * HOUR < times[-1] < 84 * HOUR
    assert {sent.headers["webhook-id"] for sent in ctx.egress.sent} == {event_id}
    assert len({sent.body for sent in ctx.egress.sent}) == 1
    assert len({sent.headers["webhook-timestamp"] for sent in ctx.egress.sent}) == 10


def test_after_ten_failures_it_goes_to_the_dead_letters() -> None:
    ctx: Any = make_context(egress=FakeEgress(default=500))
    event_id = written_event(ctx)
    ctx.queues.send_webhook({"event_id": event_id, "endpoint": 0, "attempt": 1})

    outcomes = run_for(ctx, 200 * HOUR)

    assert outcomes == [Outcome.RETRYING] * 9 + [Outcome.FAILED]
    assert row(ctx, event_id)["state"] == "failed"
    (dead,) = ctx.queues.dead_webhook
    assert (dead["event_id"], dead["endpoint"]) == (event_id, 0)


def test_a_dead_letter_queue_that_is_away_is_tried_again() -> None:
    ctx: Any = make_context(egress=FakeEgress(EgressRefused("private"), EgressRefused("private")))
    event_id = written_event(ctx)
    ctx.queues.unavailable = True
    first = delivery.deliver(ctx, event_id, 0, 1)
    ctx.queues.unavailable = False

    outcomes = run_for(ctx, 600)

    assert (first, outcomes) == (Outcome.RETRYING, [Outcome.FAILED])
    assert len(ctx.queues.dead_webhook) == 1


@pytest.mark.parametrize("status", [100, 199, 300, 301, 302, 304, 307, 308, 400, 401, 403, 404])
@pytest.mark.parametrize("attempt", [1])
def test_any_answer_outside_2xx_is_tried_again(status: int, attempt: int) -> None:
    ctx: Any = make_context(egress=FakeEgress(status))
    event_id = written_event(ctx)

    assert delivery.deliver(ctx, event_id, 0, attempt) == Outcome.RETRYING
    ((body, delay),) = ctx.queues.webhook
    assert body == {"event_id": event_id, "endpoint": 0, "attempt": 2}
    assert 4 < delay < 7


@pytest.mark.parametrize("kind", ["timeout", "connect", "tls", "lost", "too_large"])
def test_no_answer_is_tried_again(kind: Any) -> None:
    ctx: Any = make_context(egress=FakeEgress(EgressFailed(kind, sent=True), 200))
    event_id = written_event(ctx)
    ctx.queues.send_webhook({"event_id": event_id, "endpoint": 0, "attempt": 1})

    assert run_queue(ctx) == [Outcome.RETRYING, Outcome.DELIVERED]


def test_a_retry_that_the_queue_lost_is_found_by_the_sweep() -> None:
    ctx: Any = make_context(egress=FakeEgress(500, 200))
    event_id = written_event(ctx)
    delivery.deliver(ctx, event_id, 0, 1)
    ctx.queues.take_webhooks()

    assert run_for(ctx, 180) == [Outcome.DELIVERED]


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("asked", [120, 900, 901, 7200])
def test_retry_after_is_honoured(status: int, asked: int) -> None:
    times: list[float] = []
    ctx: Any = make_context()

    def note_time(_sent: Any) -> int:
        times.append(ctx.clock.now())
        return 200

    ctx.egress = FakeEgress(Answer(status, {"retry-after": str(asked)}, b""), note_time)
    event_id = written_event(ctx)
    started = ctx.clock.now()
    ctx.queues.send_webhook({"event_id": event_id, "endpoint": 0, "attempt": 1})

    run_for(ctx, 3 * HOUR)

    assert asked <= times[0] - started <= asked * 1.1 + 61


def test_retry_after_as_a_date_is_honoured() -> None:
    assert schedule.retry_after("Thu, 01 Jan 2026 00:10:00 GMT", 1_767_225_600) == 600
    assert schedule.retry_after("Thu, 01 Jan 2026 00:10:00 GMT", 1_767_300_000) == 0


@pytest.mark.parametrize("header", [None, "", "soon", "-5", "1.5", "٣", "Thu, 99 Jan 2026"])
def test_a_retry_after_that_is_none_is_passed_over(header: str | None) -> None:
    assert schedule.retry_after(header, 0) is None


def test_a_receiver_cannot_ask_for_more_than_a_day() -> None:
    ctx = make_context()

    delay = schedule.delay_after(1, ctx.random, asked=schedule.retry_after("9" * 30, 0))

    assert delay <= 24 * HOUR * 1.1 + 1


def test_a_shorter_retry_after_does_not_shorten_the_schedule() -> None:
    ctx = make_context()

    assert schedule.delay_after(3, ctx.random, asked=1) >= 30 * 60 * 0.9
