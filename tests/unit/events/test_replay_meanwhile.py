"""A replay is asked for while the last attempt is made: it is never forgotten.

The tenth attempt is run again and again, and each time the replay comes one step later: before
each thing that the worker asks of the store, the queue and the receiver.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from keystow.egress.client import Answer
from keystow.egress.errors import EgressRefused
from keystow.events import deliveries, delivery, replay, schedule
from keystow.events.delivery import Outcome
from keystow.store import StoreUnavailable, Update, tables
from keystow.store.memory import MemoryStore
from tests.moto_tables import moto_store
from tests.support import FakeEgress, RecordingQueues, make_context, run_in_parallel
from tests.unit.events.sending import HOUR, Crash, row, run_for, set_urls, written_event

if TYPE_CHECKING:
    from collections.abc import Callable

LAST = schedule.ATTEMPTS
GONE, REFUSED = 410, EgressRefused("private")


class Stepping:
    """Passes every call on, and does something before the one with the given number."""

    def __init__(self, at: int, act: Callable[[], Any]) -> None:
        self.at, self.act, self.steps = at, act, 0

    def step(self) -> None:
        self.steps += 1
        if self.steps == self.at + 1:
            self.act()

    def around(self, inner: Any) -> Any:
        class Proxy:
            def __getattr__(_self, name: str) -> Any:  # noqa: N805 - `self` is the one outside
                found = getattr(inner, name)

                def called(*args: Any, **options: Any) -> Any:
                    self.step()
                    return found(*args, **options)

                return called if callable(found) else found

        return Proxy()


class Repeating(MemoryStore):
    """Each write arrives twice, as when the client repeats after a lost answer."""

    def update(self, operation: Update) -> dict[str, Any]:
        super().update(operation)
        return super().update(operation)


def at_the_last_attempt(ctx: Any) -> str:
    """An event whose nine attempts failed; the tenth is due now."""
    event_id = written_event(ctx)
    changes = {"attempt": LAST - 1, "due_at": int(ctx.clock.now() * 1000)}
    ctx.store.update(Update(tables.delivery(event_id, 0), set=changes))
    return event_id


def asked(ctx: Any, event_id: str) -> dict[str, Any]:
    return replay.request(ctx, "env1", f"{event_id}.0")


@dataclass
class Run:
    """The tenth attempt with a replay at one of its moments; ``ctx`` makes what comes after."""

    ctx: Any
    event_id: str
    tenth: FakeEgress
    steps: int
    begun: list[dict[str, Any]]

    @property
    def sent_anew(self) -> int:
        return len(self.ctx.egress.sent)


def run_stepped(answer: Any, at: int, afterwards: int) -> Run:
    """Run the tenth attempt with a replay before its step ``at``, or after the last one."""
    ctx: Any = make_context(egress=FakeEgress(default=afterwards))
    event_id = at_the_last_attempt(ctx)
    tenth = FakeEgress(answer)
    begun: list[dict[str, Any]] = []

    def ask() -> None:
        begun.append(asked(ctx, event_id))
        # What the queue and the sweep may bring meanwhile:
        for number in (1, LAST, LAST + 1):
            delivery.deliver(ctx, event_id, 0, number)
        delivery.sweep(ctx)

    stepping = Stepping(at, ask)
    worker: Any = make_context(
        store=stepping.around(ctx.store),
        clock=ctx.clock,
        egress=stepping.around(tenth),
        queues=stepping.around(ctx.queues),
        kms=ctx.kms,
    )
    delivery.deliver(worker, event_id, 0, LAST)
    if not begun:
        ask()
    return Run(ctx, event_id, tenth, stepping.steps, begun)


def every_moment(answer: Any, afterwards: int) -> list[Run]:
    """Run it once for each step, and once with the replay after the last."""
    steps = max(run_stepped(answer, place, afterwards).steps for place in range(20))
    assert 6 <= steps < 20
    runs = [run_stepped(answer, place, afterwards) for place in range(steps + 1)]
    assert {len(run.tenth.sent) for run in runs} == {0, 1}  # before its claim, and later
    return runs


@pytest.mark.parametrize("answer", [500, REFUSED], ids=["failed", "refused"])
def test_a_replay_at_any_moment_of_the_last_attempt_is_delivered(answer: Any) -> None:
    for run in every_moment(answer, 200):
        run_for(run.ctx, HOUR)

        assert run.begun[0]["replayed_at"] is not None
        assert row(run.ctx, run.event_id)["state"] == "delivered"
        assert run.sent_anew == 1


@pytest.mark.parametrize("answer", [500, REFUSED], ids=["failed", "refused"])
def test_a_replay_at_any_moment_has_ten_attempts_before_it_fails(answer: Any) -> None:
    for run in every_moment(answer, 500):
        run_for(run.ctx, 100 * HOUR)

        stored = row(run.ctx, run.event_id)
        assert (stored["state"], run.sent_anew) == ("failed", LAST)
        assert not {"replay_asked", "sending_until", "due_at"} & stored.keys()


def test_what_is_received_at_last_is_not_sent_again() -> None:
    sent = set()
    for run in every_moment(200, 200):
        run_for(run.ctx, 100 * HOUR)

        stored = row(run.ctx, run.event_id)
        assert stored["state"] == "delivered"
        assert "replay_asked" not in stored
        sent.add((len(run.tenth.sent), run.sent_anew))
    # Before its claim, while it is on its way, after its settlement.
    assert sent == {(0, 1), (1, 0), (1, 1)}


@pytest.mark.parametrize("at", range(8))
def test_the_last_attempt_may_end_at_any_moment_of_a_replay(at: int) -> None:
    ctx: Any = make_context()
    event_id = at_the_last_attempt(ctx)
    sending, answered = threading.Event(), threading.Event()

    def slow(_sent: Any) -> int:
        sending.set()
        assert answered.wait(10)
        return 500

    ctx.egress = FakeEgress(slow, default=200)
    worker = threading.Thread(target=delivery.deliver, args=(ctx, event_id, 0, LAST))
    worker.start()
    assert sending.wait(10)

    def end() -> None:
        answered.set()
        worker.join()

    stepping = Stepping(at, end)
    caller: Any = make_context(
        store=stepping.around(ctx.store), clock=ctx.clock, queues=ctx.queues, kms=ctx.kms
    )
    asked(caller, event_id)
    end()
    run_for(ctx, HOUR)

    assert row(ctx, event_id)["state"] == "delivered"
    assert len(ctx.egress.sent) == 2


def during(ctx: Any, *answers: Any, default: Any = 500) -> tuple[str, list[dict[str, Any]]]:
    """Ask for a replay while the tenth attempt is answered with the first of ``answers``."""
    event_id = at_the_last_attempt(ctx)
    begun: list[dict[str, Any]] = []
    first, *rest = answers

    def ask_first(_sent: Any) -> Any:
        begun.append(asked(ctx, event_id))
        return first() if callable(first) else first

    ctx.egress = FakeEgress(ask_first, *rest, default=default)
    return event_id, begun


def test_what_begins_anew_is_no_dead_letter_and_waits_for_its_first_attempt() -> None:
    ctx: Any = make_context()
    event_id, begun = during(ctx, 500)

    outcome = delivery.deliver(ctx, event_id, 0, LAST)

    assert outcome == Outcome.RETRYING
    assert ctx.queues.dead_webhook == []
    assert (row(ctx, event_id)["state"], row(ctx, event_id)["attempt"]) == ("pending", 0)
    ((body, delay),) = ctx.queues.webhook
    assert body == {"event_id": event_id, "endpoint": 0, "attempt": 1}
    assert 4 < delay < 7
    assert begun[0]["replayed_at"] is not None
    assert [each["number"] for each in row(ctx, event_id)["attempts_made"]] == [LAST]


def test_a_receiver_that_asks_for_time_gets_it_before_the_replay_too() -> None:
    ctx: Any = make_context()
    event_id, _ = during(ctx, Answer(429, {"retry-after": "7200"}, b""), default=200)

    delivery.deliver(ctx, event_id, 0, LAST)
    early = run_for(ctx, 7000)
    later = run_for(ctx, 2000)

    assert (early, later) == ([], [Outcome.DELIVERED])


@pytest.mark.parametrize("earlier", [1, 5, 9])
def test_a_replay_during_an_earlier_attempt_has_ten_attempts_too(earlier: int) -> None:
    ctx: Any = make_context()
    event_id, _ = during(ctx, 500)
    ctx.store.update(Update(tables.delivery(event_id, 0), set={"attempt": earlier - 1}))

    delivery.deliver(ctx, event_id, 0, earlier)
    run_for(ctx, 100 * HOUR)

    assert len(ctx.egress.sent) == 11
    assert row(ctx, event_id)["state"] == "failed"


def test_a_corrected_url_gets_the_replay_though_the_old_one_is_gone() -> None:
    ctx: Any = make_context()
    right = "https://right.example.com/"
    event_id, _ = during(ctx, lambda: set_urls(ctx, right) or GONE, 200)

    delivery.deliver(ctx, event_id, 0, LAST)
    outcomes = run_for(ctx, 60)

    assert outcomes == [Outcome.DELIVERED]
    assert ctx.egress.sent[-1].url == right


def test_a_url_that_is_gone_gets_no_replay() -> None:
    ctx: Any = make_context()
    event_id, _ = during(ctx, GONE)

    delivery.deliver(ctx, event_id, 0, LAST)
    outcomes = run_for(ctx, HOUR)

    assert outcomes == [Outcome.STOPPED]
    assert len(ctx.egress.sent) == 1
    assert row(ctx, event_id)["state"] == "disabled"


def test_a_worker_that_dies_takes_no_replay_with_it() -> None:
    ctx: Any = make_context()
    event_id, _ = during(ctx, Crash(), default=200)
    with pytest.raises(Crash):
        delivery.deliver(ctx, event_id, 0, LAST)

    run_for(ctx, HOUR)

    assert row(ctx, event_id)["state"] == "delivered"
    assert ctx.queues.dead_webhook == []


def test_a_settlement_whose_answer_was_lost_begins_anew_once() -> None:
    ctx: Any = make_context(store=Repeating())
    event_id, _ = during(ctx, 500, default=200)

    outcome = delivery.deliver(ctx, event_id, 0, LAST)

    assert outcome == Outcome.RETRYING
    assert [body["attempt"] for body, _ in ctx.queues.webhook] == [1]
    assert run_for(ctx, HOUR) == [Outcome.DELIVERED]


def test_a_replay_that_the_queue_does_not_take_is_found_by_the_sweep() -> None:
    ctx: Any = make_context()

    def away() -> int:
        ctx.queues.unavailable = True
        return 500

    event_id, _ = during(ctx, away, default=200)
    delivery.deliver(ctx, event_id, 0, LAST)
    ctx.queues.unavailable = False

    assert run_for(ctx, 180) == [Outcome.DELIVERED]


def test_a_store_that_is_away_at_the_settlement_forgets_no_replay() -> None:
    class Away(MemoryStore):
        away = False

        def update(self, operation: Update) -> dict[str, Any]:
            if self.away:
                raise StoreUnavailable("test")
            return super().update(operation)

    store = Away()
    ctx: Any = make_context(store=store)

    def leave() -> int:
        store.away = True
        return 500

    event_id, _ = during(ctx, leave, default=200)
    delivery.deliver(ctx, event_id, 0, LAST)
    store.away = False
    run_for(ctx, HOUR)

    assert row(ctx, event_id)["state"] == "delivered"


def test_on_dynamodb_a_replay_during_the_last_attempt_is_delivered() -> None:
    with moto_store() as (store, _client):
        ctx: Any = make_context(store=store)
        event_id, _ = during(ctx, 500, default=200)

        delivery.deliver(ctx, event_id, 0, LAST)
        ctx.clock.advance(7)
        ((body, _delay),) = ctx.queues.take_webhooks()
        outcome = delivery.deliver(ctx, event_id, 0, body["attempt"])

        assert outcome == Outcome.DELIVERED
        assert "replay_asked" not in row(ctx, event_id)


def test_replays_duplicates_and_sweeps_at_one_moment_lose_no_replay() -> None:
    for _round in range(60):
        ctx: Any = make_context(egress=FakeEgress(default=500), queues=_LockedQueues())
        event_id = at_the_last_attempt(ctx)
        work: list[Callable[[], Any]] = [
            lambda ctx=ctx, event_id=event_id: delivery.deliver(ctx, event_id, 0, LAST),
            lambda ctx=ctx, event_id=event_id: delivery.deliver(ctx, event_id, 0, LAST),
            lambda ctx=ctx, event_id=event_id: asked(ctx, event_id)["state"],
            lambda ctx=ctx: delivery.sweep(ctx),
        ]

        found = run_in_parallel(len(work), lambda place, work=work: work[place]())
        ctx.egress.default = 200
        run_for(ctx, HOUR)

        assert found[2] in {"pending", "failed"}, found  # failed: ended between write and read
        assert row(ctx, event_id)["state"] == "delivered"


def test_giving_up_whose_answer_was_lost_is_no_replay() -> None:
    ctx: Any = make_context(store=Repeating(), egress=FakeEgress(500))
    event_id = at_the_last_attempt(ctx)

    outcome = delivery.deliver(ctx, event_id, 0, LAST)

    assert outcome == Outcome.FAILED
    assert row(ctx, event_id)["state"] == "failed"
    assert ctx.queues.webhook == []


def test_two_replays_of_one_attempt_are_one() -> None:
    ctx: Any = make_context()
    event_id, _ = during(ctx, Crash())
    with pytest.raises(Crash):
        delivery.deliver(ctx, event_id, 0, LAST)

    ctx.clock.advance(91)
    asked(ctx, event_id)
    run_for(ctx, 200 * HOUR)

    assert len(ctx.egress.sent) == 1 + LAST
    assert row(ctx, event_id)["state"] == "failed"


class _LockedQueues(RecordingQueues):
    """Several threads send."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()

    def send_webhook(self, body: dict[str, Any], delay: float = 0, group: str = "") -> None:
        with self.lock:
            super().send_webhook(body, delay, group)


def test_a_delivery_that_keeps_changing_says_so() -> None:
    class Flapping(MemoryStore):
        """An attempt begins before each replay and ends before each mark."""

        def update(self, operation: Update) -> dict[str, Any]:
            if "replayed_at" in operation.set:
                begins = "state" in operation.set
                until = int(ctx.clock.now() * 1000) + (90_000 if begins else -1)
                super().update(Update(operation.key, set={"sending_until": until}))
            return super().update(operation)

    ctx: Any = make_context(store=Flapping())
    event_id = at_the_last_attempt(ctx)

    with pytest.raises(replay.ApiError) as refused:
        asked(ctx, event_id)

    assert refused.value.code == "temporarily_unavailable"
    assert deliveries.required(ctx, "env1", f"{event_id}.0")["attempt"] == LAST - 1
