"""Webhooks: none lost, none unsigned, each attempt once, through every fault on the way."""

from __future__ import annotations

import itertools
import json
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest

from keystow.activity import log
from keystow.egress.client import Answer, Egress
from keystow.egress.errors import EgressFailed, EgressRefused
from keystow.events import delivery, endpoints, outbox, schedule
from keystow.events.delivery import Outcome
from keystow.events.outbox import AuthEvent
from keystow.records.environment import seal_signing_key
from keystow.store import StoreUnavailable, Update, tables
from keystow.store.memory import MemoryStore
from keystow.vault import VaultUnavailable
from keystow.vault.kms import KmsError
from tests.support import (
    SIGNING_KEY,
    FakeEgress,
    hmac_sha256,
    make_context,
    moto_store,
    run_in_parallel,
    seed_environment,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

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


def test_a_claim_whose_answer_was_lost_is_recognized_as_ones_own() -> None:
    class Repeating(MemoryStore):
        """Each write arrives twice, as when the client repeats after a lost answer."""

        def update(self, operation: Update) -> dict[str, Any]:
            super().update(operation)
            return super().update(operation)

    ctx: Any = make_context(store=Repeating(), egress=FakeEgress(200))
    event_id = written_event(ctx)

    assert delivery.deliver(ctx, event_id, 0, 1) == Outcome.DELIVERED
    assert row(ctx, event_id)["state"] == "delivered"


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


def test_410_turns_the_endpoint_off_for_this_and_every_event() -> None:
    ctx: Any = make_context(egress=FakeEgress(410))
    first = written_event(ctx)
    environment = endpoints.current(ctx, "env1")
    assert environment is not None
    planned = outbox.plan(
        ctx, AuthEvent(environment.environment, "github", "OAUTH2", "gh", "c2", "creation", True)
    )
    assert planned is not None
    ctx.store.transact(planned.writes)

    outcomes = [delivery.deliver(ctx, name, 0, 1) for name in (first, planned.event_id)]

    assert outcomes == [Outcome.STOPPED, Outcome.STOPPED]
    assert len(ctx.egress.sent) == 1
    assert row(ctx, first)["state"] == "disabled"
    assert run_for(ctx, 100 * HOUR) == []
    assert ctx.queues.dead_webhook == []
    item = ctx.store.get(tables.environment_settings("env1"))
    assert PRIMARY not in str(item["disabled_webhooks"])


def test_410_of_one_endpoint_leaves_the_other_on() -> None:
    ctx: Any = make_context(egress=FakeEgress(410, 200))
    event_id = written_event(ctx, secondary_url=SECONDARY)

    outcomes = [delivery.deliver(ctx, event_id, place, 1) for place in (0, 1)]

    assert outcomes == [Outcome.STOPPED, Outcome.DELIVERED]


def test_an_endpoint_that_was_off_can_be_turned_on_and_replayed() -> None:
    ctx: Any = make_context(egress=FakeEgress(410, 200))
    event_id = written_event(ctx)
    delivery.deliver(ctx, event_id, 0, 1)

    endpoints.enable(ctx, "env1")
    replayed = delivery.replay(ctx, event_id, 0)

    assert replayed
    assert run_queue(ctx) == [Outcome.DELIVERED]
    assert [sent.headers["webhook-id"] for sent in ctx.egress.sent] == [event_id] * 2


def test_what_is_pending_or_unknown_is_not_replayed() -> None:
    ctx: Any = make_context()
    event_id = written_event(ctx)

    assert not delivery.replay(ctx, event_id, 0)
    assert not delivery.replay(ctx, "evt_none", 0)
    assert ctx.queues.webhook == []


def test_a_destination_that_the_guard_refuses_is_given_up_at_once() -> None:
    ctx: Any = make_context(egress=FakeEgress(EgressRefused("metadata")))
    event_id = written_event(ctx)

    assert delivery.deliver(ctx, event_id, 0, 1) == Outcome.FAILED
    assert row(ctx, event_id)["state"] == "failed"
    assert len(ctx.queues.dead_webhook) == 1


@pytest.fixture
def redirecting() -> Iterator[tuple[str, list[str]]]:
    paths: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            paths.append(self.path)
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(307)
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_args: Any) -> None:
            return

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/hook", paths
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_redirect_is_not_followed(redirecting: tuple[str, list[str]]) -> None:
    url, paths = redirecting
    ctx: Any = make_context(egress=Egress(allow_loopback=True))
    event_id = written_event(ctx, primary_url=url)

    assert delivery.deliver(ctx, event_id, 0, 1) == Outcome.RETRYING
    assert paths == ["/hook"]


def test_a_crash_between_the_post_and_its_mark_repeats_it_under_the_same_id() -> None:
    store = FailingStore()
    ctx: Any = make_context(store=store, egress=FakeEgress(200, 200))
    event_id = written_event(ctx)
    store.passes, store.failure = 1, Crash()
    with pytest.raises(Crash):
        delivery.deliver(ctx, event_id, 0, 1)
    store.passes = None

    ctx.clock.advance(80)
    while_it_may_live = delivery.sweep(ctx)
    outcomes = run_for(ctx, 120)

    assert while_it_may_live == 0
    assert outcomes == [Outcome.DELIVERED]
    assert [sent.headers["webhook-id"] for sent in ctx.egress.sent] == [event_id] * 2


def test_a_mark_that_the_store_did_not_take_repeats_it() -> None:
    store = FailingStore()
    ctx: Any = make_context(store=store, egress=FakeEgress(200, 200))
    event_id = written_event(ctx)
    store.passes = 1

    first = delivery.deliver(ctx, event_id, 0, 1)
    store.passes = None

    assert first == Outcome.RETRYING
    assert run_for(ctx, 180) == [Outcome.DELIVERED]


def test_a_store_that_is_away_before_the_post_sends_nothing_and_says_so() -> None:
    store = FailingStore()
    ctx: Any = make_context(store=store)
    event_id = written_event(ctx)
    store.passes = 0
    message = json.dumps({"event_id": event_id, "endpoint": 0, "attempt": 1})

    failed = delivery.deliver_batch(ctx, {"m1": message})

    assert failed == ["m1"]
    assert ctx.egress.sent == []


def test_a_worker_that_lost_its_claim_changes_nothing() -> None:
    ctx: Any = make_context()
    event_id = written_event(ctx)

    def slow(_sent: Any) -> int:
        ctx.clock.advance(91)
        delivery.sweep(ctx)
        assert run_queue(ctx) == [Outcome.DELIVERED]
        return 500

    ctx.egress = FakeEgress(slow, 200)

    delivery.deliver(ctx, event_id, 0, 1)

    assert row(ctx, event_id)["state"] == "delivered"
    assert run_for(ctx, 600) == []


def test_nothing_is_sent_while_kms_is_away_and_no_attempt_is_spent() -> None:
    ctx: Any = make_context(egress=FakeEgress(200))
    event_id = written_event(ctx)
    ctx.clock.advance(301)  # the data key leaves the memory
    ctx.kms.failure = KmsError("ThrottlingException")

    with pytest.raises(VaultUnavailable):
        delivery.deliver(ctx, event_id, 0, 1)
    ctx.kms.failure = None

    assert len(ctx.egress.sent) == 0
    assert row(ctx, event_id)["attempt"] == 0
    assert delivery.deliver(ctx, event_id, 0, 1) == Outcome.DELIVERED


def test_nothing_is_ever_sent_unsigned() -> None:
    ctx: Any = make_context(egress=FakeEgress(200))
    event_id = written_event(ctx)
    ctx.clock.advance(301)
    ctx.kms.failure = KmsError("InvalidCiphertextException", altered=True)

    outcome = delivery.deliver(ctx, event_id, 0, 1)

    assert outcome == Outcome.RETRYING
    assert ctx.egress.sent == []


def test_a_rotated_signing_key_signs_within_30_seconds() -> None:
    ctx: Any = make_context(egress=FakeEgress(500, 500, 200))
    event_id = written_event(ctx)
    delivery.deliver(ctx, event_id, 0, 1)
    envelope = seal_signing_key(ctx.vault, "env1", "a-new-key")
    ctx.store.update(
        Update(tables.environment_settings("env1"), set={"signing_key": envelope.as_item()})
    )

    ctx.clock.advance(31)
    delivery.deliver(ctx, event_id, 0, 2)

    before, after = (sent.headers["x-nango-hmac-sha256"] for sent in ctx.egress.sent)
    body = ctx.egress.sent[0].body.decode()
    assert before == hmac_sha256(SIGNING_KEY, body)
    assert after == hmac_sha256("a-new-key", body)


def set_urls(ctx: Any, primary: str | None) -> None:
    webhooks = ctx.store.get(tables.environment_settings("env1"))["webhooks"]
    changed = {**webhooks, "primary_url": primary}
    ctx.store.update(Update(tables.environment_settings("env1"), set={"webhooks": changed}))
    ctx.clock.advance(31)


def test_a_corrected_url_gets_what_is_still_waiting() -> None:
    ctx: Any = make_context(egress=FakeEgress(404, 200))
    event_id = written_event(ctx)
    delivery.deliver(ctx, event_id, 0, 1)

    set_urls(ctx, "https://right.example.com/")
    delivery.deliver(ctx, event_id, 0, 2)

    assert [sent.url for sent in ctx.egress.sent] == [PRIMARY, "https://right.example.com/"]


def test_a_removed_url_gets_nothing_more() -> None:
    ctx: Any = make_context(egress=FakeEgress(404))
    event_id = written_event(ctx)
    delivery.deliver(ctx, event_id, 0, 1)

    set_urls(ctx, None)

    assert run_for(ctx, 24 * HOUR) == [Outcome.STOPPED]
    assert len(ctx.egress.sent) == 1


def test_an_override_stands_whatever_the_settings_say() -> None:
    ctx: Any = make_context(egress=FakeEgress(404, 200))
    event_id = written_event(ctx, override="https://tenant.example.com/")
    delivery.deliver(ctx, event_id, 0, 1)

    set_urls(ctx, None)

    assert delivery.deliver(ctx, event_id, 0, 2) == Outcome.DELIVERED
    assert {sent.url for sent in ctx.egress.sent} == {"https://tenant.example.com/"}


def test_a_deleted_environment_ends_its_deliveries() -> None:
    ctx: Any = make_context()
    event_id = written_event(ctx)
    ctx.store.delete(tables.environment_settings("env1"))
    ctx.clock.advance(31)

    assert delivery.deliver(ctx, event_id, 0, 1) == Outcome.STOPPED


def test_a_crash_at_the_last_attempt_ends_at_the_dead_letters() -> None:
    ctx: Any = make_context(egress=FakeEgress(default=500))
    event_id = written_event(ctx)
    ctx.store.update(Update(tables.delivery(event_id, 0), set={"attempt": 10}))

    assert run_for(ctx, 120) == [Outcome.FAILED]
    assert ctx.egress.sent == []
    assert len(ctx.queues.dead_webhook) == 1


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


def test_the_activity_tells_of_each_attempt_without_body_or_query() -> None:
    ctx: Any = make_context(egress=FakeEgress(500, 200))
    event_id = written_event(ctx, primary_url=PRIMARY + "?token=s3cr3t-marked")
    ctx.queues.send_webhook({"event_id": event_id, "endpoint": 0, "attempt": 1})
    run_queue(ctx)

    event = ctx.store.get(tables.event(event_id))
    found = log.read(ctx, "env1", event["activity"])

    assert found is not None
    header, messages = found
    assert (header["kind"], header["action"]) == ("webhook", "connection_create")
    assert (header["state"], header["connection_id"]) == ("success", "c1")
    assert [message["text"] for message in messages] == ["Answered 500", "Answered 200"]
    assert messages[0]["details"]["url"] == PRIMARY
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
        endpoints.enable(ctx, "env1")
        replayed = delivery.replay(ctx, event_id, 0)
        outcomes += run_queue(ctx)

        assert (queued, replayed) == (1, True)
        assert outcomes == [Outcome.RETRYING, Outcome.STOPPED, Outcome.DELIVERED]
