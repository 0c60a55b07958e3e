"""No fault on the way loses an event, sends it unsigned or spends an attempt."""

from __future__ import annotations

import json
from typing import Any

import pytest

from keystow.events import delivery
from keystow.events.delivery import Outcome
from keystow.records.environment import seal_signing_key
from keystow.store import Key, Update, tables
from keystow.store.memory import MemoryStore
from keystow.vault import VaultUnavailable
from keystow.vault.kms import KmsError
from tests.support import SIGNING_KEY, FakeEgress, hmac_sha256, make_context
from tests.unit.events.sending import Crash, FailingStore, row, run_for, run_queue, written_event


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


def test_a_crash_at_the_last_attempt_ends_at_the_dead_letters() -> None:
    ctx: Any = make_context(egress=FakeEgress(default=500))
    event_id = written_event(ctx)
    ctx.store.update(Update(tables.delivery(event_id, 0), set={"attempt": 10}))

    assert run_for(ctx, 120) == [Outcome.FAILED]
    assert ctx.egress.sent == []
    assert len(ctx.queues.dead_webhook) == 1


def test_a_row_read_before_the_last_settlement_forgets_no_attempt() -> None:
    class Slow(MemoryStore):
        """Answers the second reader with what stood there before."""

        before: dict[str, Any] | None = None

        def get(self, key: Key) -> dict[str, Any] | None:
            if key.sk == "delivery#0" and self.before is not None:
                found, self.before = self.before, None
                return found
            return super().get(key)

    store = Slow()
    ctx: Any = make_context(store=store, egress=FakeEgress(500, 200))
    event_id = written_event(ctx)

    def note(_sent: Any) -> int:
        store.before = row(ctx, event_id)
        return 500

    ctx.egress.answers = [note, 200]
    delivery.deliver(ctx, event_id, 0, 1)
    second = delivery.deliver(ctx, event_id, 0, 2)

    assert second == Outcome.DELIVERED
    made = row(ctx, event_id)["attempts_made"]
    assert [(each["number"], each["status"]) for each in made] == [(1, 500), (2, 200)]
