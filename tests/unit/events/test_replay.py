"""A delivery is begun anew: by the API, and from the dead-letter queue."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest

from keystow.activity import log
from keystow.egress.client import Answer
from keystow.egress.errors import EgressRefused
from keystow.events import deliveries, delivery, endpoints, replay
from keystow.events.delivery import Outcome
from keystow.store import Key, Update, tables
from tests.moto_tables import moto_store
from tests.support import SIGNING_KEY, FakeEgress, make_context, run_in_parallel
from tests.unit.events.sending import (
    HOUR,
    SECONDARY,
    Crash,
    row,
    run_for,
    run_queue,
    turn_on,
    written_event,
)


def test_a_redriven_dead_letter_is_delivered_anew_once() -> None:
    ctx: Any = make_context(egress=FakeEgress(*[500] * 10, default=200))
    event_id = written_event(ctx)
    ctx.queues.send_webhook({"event_id": event_id, "endpoint": 0, "attempt": 1})
    run_for(ctx, 100 * HOUR)
    dead = json.dumps(ctx.queues.dead_webhook[0])

    failed = delivery.deliver_batch(ctx, {"m1": dead})
    outcomes = run_queue(ctx)
    failed += delivery.deliver_batch(ctx, {"m2": dead})
    outcomes += run_queue(ctx)

    assert (failed, outcomes) == ([], [Outcome.DELIVERED])


def test_an_endpoint_that_was_off_can_be_turned_on_and_replayed() -> None:
    ctx: Any = make_context(egress=FakeEgress(410, 200))
    event_id = written_event(ctx)
    delivery.deliver(ctx, event_id, 0, 1)

    turn_on(ctx)
    replayed = replay.again(ctx, event_id, 0)

    assert replayed
    assert run_queue(ctx) == [Outcome.DELIVERED]
    assert [sent.headers["webhook-id"] for sent in ctx.egress.sent] == [event_id] * 2


def test_what_is_unknown_is_not_replayed() -> None:
    ctx: Any = make_context()

    assert not replay.again(ctx, "evt_none", 0)
    assert ctx.queues.webhook == []


def test_what_was_delivered_can_be_sent_again_under_its_id() -> None:
    ctx: Any = make_context(egress=FakeEgress(200, 200))
    event_id = written_event(ctx)
    delivery.deliver(ctx, event_id, 0, 1)
    ctx.clock.advance(HOUR)

    assert replay.again(ctx, event_id, 0)
    assert run_queue(ctx) == [Outcome.DELIVERED]

    first, second = ctx.egress.sent
    assert first.body == second.body
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == event_id
    signed = f"{event_id}.{second.headers['webhook-timestamp']}.{second.body.decode()}"
    assert second.headers["webhook-timestamp"] == str(int(ctx.clock.now()))
    digest = hmac.new(SIGNING_KEY.encode(), signed.encode(), hashlib.sha256).digest()
    assert second.headers["webhook-signature"] == f"v1,{base64.b64encode(digest).decode()}"


def test_a_replay_has_ten_attempts_of_its_own() -> None:
    ctx: Any = make_context(egress=FakeEgress(default=500))
    event_id = written_event(ctx)
    ctx.queues.send_webhook({"event_id": event_id, "endpoint": 0, "attempt": 1})
    run_for(ctx, 100 * HOUR)

    replay.again(ctx, event_id, 0)
    outcomes = run_for(ctx, 100 * HOUR)

    assert outcomes == [Outcome.RETRYING] * 9 + [Outcome.FAILED]
    assert len(ctx.egress.sent) == 20


def test_what_waits_for_its_next_attempt_is_tried_at_once() -> None:
    ctx: Any = make_context(egress=FakeEgress(500, 500, 500, 200))
    event_id = written_event(ctx)
    for attempt in (1, 2, 3):
        delivery.deliver(ctx, event_id, 0, attempt)
    ctx.queues.take_webhooks()
    began = ctx.clock.now()

    replay.again(ctx, event_id, 0)

    assert run_queue(ctx) == [Outcome.DELIVERED]
    assert ctx.clock.now() == began


def test_a_message_of_the_earlier_count_sends_nothing_twice() -> None:
    ctx: Any = make_context(egress=FakeEgress(500, 200))
    event_id = written_event(ctx)
    delivery.deliver(ctx, event_id, 0, 1)  # attempt 2 is queued

    replay.again(ctx, event_id, 0)

    assert run_queue(ctx) == [Outcome.SKIPPED, Outcome.DELIVERED]
    assert len(ctx.egress.sent) == 2


@pytest.mark.parametrize("earlier", [1, 2])
def test_while_an_attempt_is_on_its_way_no_other_is_sent(earlier: int) -> None:
    ctx: Any = make_context()
    event_id = written_event(ctx)
    begun = []

    def meanwhile(_sent: Any) -> int:
        begun.append(replay.again(ctx, event_id, 0))
        # Whatever the queue may still hold of other counts:
        begun.extend(
            delivery.deliver(ctx, event_id, 0, number) == Outcome.SKIPPED for number in (1, 2, 3)
        )
        return 200

    ctx.egress = FakeEgress(*[500] * (earlier - 1), meanwhile)
    for attempt in range(1, earlier + 1):
        delivery.deliver(ctx, event_id, 0, attempt)

    assert begun == [False, True, True, True]
    assert len(ctx.egress.sent) == earlier
    assert row(ctx, event_id)["state"] == "delivered"


def test_of_many_replays_at_one_moment_one_is_sent() -> None:
    with moto_store() as (store, _client):
        ctx: Any = make_context(store=store, egress=FakeEgress(200, default=200))
        event_id = written_event(ctx)
        delivery.deliver(ctx, event_id, 0, 1)

        run_in_parallel(6, lambda _: replay.again(ctx, event_id, 0))
        messages = [body for body, _ in ctx.queues.take_webhooks()]
        run_in_parallel(len(messages), lambda _: delivery.deliver(ctx, event_id, 0, 1))

        assert len(messages) > 1
        assert len(ctx.egress.sent) == 2


def test_a_crash_does_not_bar_a_replay_for_longer_than_its_claim() -> None:
    ctx: Any = make_context(egress=FakeEgress(Crash(), 200))
    event_id = written_event(ctx)
    with pytest.raises(Crash):
        delivery.deliver(ctx, event_id, 0, 1)

    at_once = replay.again(ctx, event_id, 0)
    ctx.clock.advance(90)
    later = replay.again(ctx, event_id, 0)

    assert (at_once, later) == (False, True)
    assert run_queue(ctx) == [Outcome.DELIVERED]


def test_a_replay_that_the_queue_did_not_take_is_found_by_the_sweep() -> None:
    ctx: Any = make_context(egress=FakeEgress(200, 200))
    event_id = written_event(ctx)
    delivery.deliver(ctx, event_id, 0, 1)
    ctx.queues.unavailable = True
    replay.again(ctx, event_id, 0)
    ctx.queues.unavailable = False

    assert run_for(ctx, 180) == [Outcome.DELIVERED]


def test_a_replay_goes_where_the_settings_say_by_then() -> None:
    ctx: Any = make_context(egress=FakeEgress(404, 410, 200))
    event_id = written_event(ctx)
    delivery.deliver(ctx, event_id, 0, 1)
    delivery.deliver(ctx, event_id, 0, 2)
    webhooks = ctx.store.get(tables.environment_settings("env1"))["webhooks"]
    right = {**webhooks, "primary_url": "https://right.example.com/"}
    endpoints.current(ctx, "env1")  # remembered for 30 s

    settings = tables.environment_settings("env1")
    ctx.store.update(Update(settings, set={"webhooks": right}, remove=("disabled_webhooks",)))
    replay.again(ctx, event_id, 0)

    assert run_queue(ctx)[-1] == Outcome.DELIVERED
    assert ctx.egress.sent[-1].url == "https://right.example.com/"


def test_a_replay_adds_to_the_log_of_the_first_delivery() -> None:
    ctx: Any = make_context(egress=FakeEgress(410, 200))
    event_id = written_event(ctx)
    delivery.deliver(ctx, event_id, 0, 1)
    turn_on(ctx)
    ctx.clock.advance(1)
    replay.again(ctx, event_id, 0)
    run_queue(ctx)

    found = log.read(ctx, "env1", row(ctx, event_id)["activity"])

    assert found is not None
    texts = [message["text"] for message in found[1]]
    assert texts == ["Answered 410; the endpoint is turned off", "Answered 200"]
    assert found[0]["state"] == "success"


def test_what_is_replayed_is_kept_for_as_long_again() -> None:
    ctx: Any = make_context(egress=FakeEgress(200, default=500))
    event_id = written_event(ctx)
    delivery.deliver(ctx, event_id, 0, 1)
    ctx.clock.advance(29 * 86_400)

    replay.again(ctx, event_id, 0)
    run_for(ctx, 100 * HOUR)

    assert row(ctx, event_id)["state"] == "failed"
    event = ctx.store.get(tables.event(event_id))
    assert min(event["ttl"], row(ctx, event_id)["ttl"]) > ctx.clock.now() + 28 * 86_400


def expire(ctx: Any) -> None:
    """Remove what the table would by now."""
    for item in ctx.store.everything()["events"]:
        if item["ttl"] <= ctx.clock.now():
            ctx.store.delete(Key(tables.EVENTS, item["pk"], item["sk"]))


@pytest.mark.parametrize("last", [200, 500, 410, EgressRefused("private")])
def test_what_ended_late_can_be_read_and_sent_again_for_30_days(last: Any) -> None:
    slow = Answer(503, {"retry-after": "86400"}, b"")
    ctx: Any = make_context(egress=FakeEgress(*[slow] * 9, last, 200))
    event_id = written_event(ctx)
    place = f"{event_id}.0"
    ctx.queues.send_webhook({"event_id": event_id, "endpoint": 0, "attempt": 1})
    run_for(ctx, 11 * 24 * HOUR)
    ended_at = row(ctx, event_id)["ended_at"] / 1000
    assert ended_at > ctx.clock.now() - 2 * 24 * HOUR

    ctx.clock.advance(ended_at + 30 * 86_400 - ctx.clock.now() - 60)
    expire(ctx)
    turn_on(ctx)
    (listed,) = deliveries.find(ctx, "env1", deliveries.Query())["data"]

    assert listed["id"] == place
    assert deliveries.detailed(ctx, "env1", place)["body"]["connectionId"] == "c1"
    replay.request(ctx, "env1", place)
    assert run_queue(ctx) == [Outcome.DELIVERED]


def test_what_waits_for_weeks_is_not_lost_with_its_event() -> None:
    ctx: Any = make_context(egress=FakeEgress(500, 500, 200))
    event_id = written_event(ctx)
    delivery.deliver(ctx, event_id, 0, 1)

    for _ in range(2):  # nothing runs for 20 days, two times
        ctx.queues.take_webhooks()
        ctx.clock.advance(20 * 86_400)
        expire(ctx)
        delivery.sweep(ctx)
        ((message, _delay),) = ctx.queues.take_webhooks()
        outcome = delivery.deliver(ctx, event_id, 0, message["attempt"])

    assert outcome == Outcome.DELIVERED


def test_what_ends_within_its_schedule_writes_nothing_to_its_event() -> None:
    ctx: Any = make_context(egress=FakeEgress(default=500))
    event_id = written_event(ctx)
    ctx.queues.send_webhook({"event_id": event_id, "endpoint": 0, "attempt": 1})
    before = ctx.store.get(tables.event(event_id))

    run_for(ctx, 100 * HOUR)

    assert row(ctx, event_id)["state"] == "failed"
    assert ctx.store.get(tables.event(event_id)) == before


def test_a_slow_delivery_shortens_no_life_that_another_has_prolonged() -> None:
    ctx: Any = make_context()
    event_id = written_event(ctx, secondary_url=SECONDARY)
    ctx.clock.advance(10 * 86_400)

    def prolonged(_sent: Any) -> int:
        ctx.store.update(Update(tables.event(event_id), set={"ttl": 9_999_999_999}))
        return 200

    ctx.egress = FakeEgress(prolonged)
    delivery.deliver(ctx, event_id, 0, 1)

    assert ctx.store.get(tables.event(event_id))["ttl"] == 9_999_999_999
