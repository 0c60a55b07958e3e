"""Webhooks: none lost, none unsigned, each attempt once."""

from __future__ import annotations

import json
from typing import Any

import pytest

from keystow.activity import log
from keystow.events import delivery, outbox, replay
from keystow.events.delivery import Outcome
from keystow.events.outbox import AuthEvent
from keystow.store import tables
from tests.moto_tables import moto_store
from tests.support import (
    SIGNING_KEY,
    FakeEgress,
    hmac_sha256,
    make_context,
    run_in_parallel,
    seed_environment,
)
from tests.unit.events.sending import PRIMARY, row, run_for, run_queue, turn_on, written_event


def test_an_event_is_delivered_signed() -> None:
    ctx: Any = make_context(egress=FakeEgress(204))
    event_id = written_event(ctx)

    outcome = delivery.deliver(ctx, event_id, 0, 1)

    assert outcome == Outcome.DELIVERED
    (sent,) = ctx.egress.sent
    assert (sent.method, sent.url) == ("POST", PRIMARY)
    assert sent.json()["operation"] == "creation"
    assert sent.headers["x-nango-hmac-sha256"] == hmac_sha256(SIGNING_KEY, sent.body.decode())
    assert sent.headers["webhook-id"] == event_id
    assert sent.headers["webhook-timestamp"] == str(int(ctx.clock.now()))
    assert sent.headers["webhook-signature"].startswith("v1,")
    assert sent.options == {"deadline": 20, "redirects": 0}


def test_what_is_delivered_leaves_the_due_index() -> None:
    ctx: Any = make_context(egress=FakeEgress(200))
    event_id = written_event(ctx)
    delivery.deliver(ctx, event_id, 0, 1)

    ctx.clock.advance(7 * 86_400)

    assert row(ctx, event_id)["state"] == "delivered"
    assert row(ctx, event_id)["ttl"] > ctx.clock.now()
    assert delivery.sweep(ctx) == 0


def test_an_event_that_the_queue_lost_is_found_by_the_sweep() -> None:
    ctx: Any = make_context(egress=FakeEgress(200))
    written_event(ctx)

    ctx.clock.advance(59)
    too_early = delivery.sweep(ctx)
    ctx.clock.advance(2)
    found = delivery.sweep(ctx)
    again = delivery.sweep(ctx)

    assert (too_early, found, again) == (0, 1, 0)
    assert run_queue(ctx) == [Outcome.DELIVERED]


def test_what_the_sweep_queued_and_the_queue_lost_again_is_found_again() -> None:
    ctx: Any = make_context(egress=FakeEgress(200))
    written_event(ctx)
    ctx.clock.advance(61)
    delivery.sweep(ctx)
    ctx.queues.take_webhooks()

    ctx.clock.advance(301)

    assert delivery.sweep(ctx) == 1
    assert run_queue(ctx) == [Outcome.DELIVERED]


def test_a_queue_that_is_away_leaves_everything_to_later_sweeps() -> None:
    ctx: Any = make_context(egress=FakeEgress(default=200))
    for number in range(5):
        written_event(ctx, id=f"env{number}")
    ctx.queues.unavailable = True
    ctx.clock.advance(61)
    assert delivery.sweep(ctx) == 0
    ctx.queues.unavailable = False

    outcomes = run_for(ctx, 600)

    assert outcomes == [Outcome.DELIVERED] * 5


def test_a_duplicate_message_delivers_once() -> None:
    ctx: Any = make_context(egress=FakeEgress(200))
    event_id = written_event(ctx)

    outcomes = [delivery.deliver(ctx, event_id, 0, 1) for _ in range(3)]

    assert outcomes == [Outcome.DELIVERED, Outcome.SKIPPED, Outcome.SKIPPED]
    assert len(ctx.egress.sent) == 1


@pytest.mark.parametrize("on_dynamodb", [False, True], ids=["memory", "dynamodb"])
def test_of_many_senders_of_one_attempt_one_sends(on_dynamodb: bool) -> None:
    def race(ctx: Any) -> None:
        event_id = written_event(ctx)

        outcomes = run_in_parallel(8, lambda _: delivery.deliver(ctx, event_id, 0, 1))

        assert sorted(outcomes) == sorted([Outcome.DELIVERED] + [Outcome.SKIPPED] * 7)
        assert len(ctx.egress.sent) == 1

    if on_dynamodb:
        with moto_store() as (store, _client):
            race(make_context(store=store, egress=FakeEgress(200)))
    else:
        race(make_context(egress=FakeEgress(200)))


def test_a_sweep_does_bounded_work_and_the_next_ones_do_the_rest() -> None:
    ctx: Any = make_context(egress=FakeEgress(default=200))
    environment = seed_environment(ctx).environment
    event = AuthEvent(environment, "github", "OAUTH2", "gh", "c1", "creation", True)
    for _ in range(2500):
        planned = outbox.plan(ctx, event)
        assert planned is not None
        ctx.store.transact(planned.writes)
    ctx.clock.advance(61)

    counts = [delivery.sweep(ctx) for _ in range(3)]

    assert counts[0] <= 2000
    assert sum(counts) == 2500


def test_one_bad_message_does_not_take_the_others_with_it() -> None:
    ctx: Any = make_context(egress=FakeEgress(200))
    event_id = written_event(ctx)
    messages = {
        "good": json.dumps({"event_id": event_id, "endpoint": 0, "attempt": 1}),
        "torn": "{",
        "list": "[]",
        "bare": "{}",
        "wrong": json.dumps({"event_id": event_id, "endpoint": "x", "attempt": 1}),
        "unknown": json.dumps({"event_id": "evt_none", "endpoint": 0, "attempt": 1}),
    }

    failed = delivery.deliver_batch(ctx, messages)

    assert failed == ["torn", "list", "bare", "wrong"]
    assert row(ctx, event_id)["state"] == "delivered"


def test_the_activity_tells_of_each_attempt_without_body_path_or_query() -> None:
    ctx: Any = make_context(egress=FakeEgress(500, 200))
    event_id = written_event(ctx, primary_url=PRIMARY + "/s3cr3t-marked?token=s3cr3t-marked")
    ctx.queues.send_webhook({"event_id": event_id, "endpoint": 0, "attempt": 1})
    run_queue(ctx)

    event = ctx.store.get(tables.event(event_id))
    found = log.read(ctx, "env1", event["activity"])

    assert found is not None
    header, messages = found
    assert (header["kind"], header["action"]) == ("webhook", "connection_create")
    assert (header["state"], header["connection_id"]) == ("success", "c1")
    assert [message["text"] for message in messages] == ["Answered 500", "Answered 200"]
    assert messages[0]["details"]["host"] == "hooks.example.com"
    everything = str(ctx.store.everything()["activity"])
    assert "s3cr3t-marked" not in everything
    assert "authMode" not in everything


def test_one_successful_delivery_costs_one_line_of_activity() -> None:
    ctx: Any = make_context(egress=FakeEgress(200))
    event_id = written_event(ctx)

    delivery.deliver(ctx, event_id, 0, 1)

    assert len(ctx.store.everything()["activity"]) == 1


def test_the_whole_way_holds_on_dynamodb() -> None:
    with moto_store() as (store, _client):
        ctx: Any = make_context(store=store, egress=FakeEgress(500, 410, 200))
        event_id = written_event(ctx)
        ctx.clock.advance(61)

        queued = delivery.sweep(ctx)
        outcomes = run_queue(ctx)
        turn_on(ctx)
        replayed = replay.again(ctx, event_id, 0)
        outcomes += run_queue(ctx)

        assert (queued, replayed) == (1, True)
        assert outcomes == [Outcome.RETRYING, Outcome.STOPPED, Outcome.DELIVERED]
