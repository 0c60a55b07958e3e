"""The sweep queues what is due, the worker does it, and messages may get lost or come twice."""

from __future__ import annotations

import json
from typing import Any

import pytest

from keystow import metrics
from keystow.refresh import engine, sweep, worker
from keystow.store import Put, StoreUnavailable, TransactionConflict, Update, tables
from keystow.store.operations import Key
from keystow.vault import VaultUnavailable
from tests.integration.connections.world import Refreshing


@pytest.fixture
def world() -> Refreshing:
    return Refreshing()


def test_the_sweep_queues_what_is_due_once_and_the_worker_refreshes_it() -> None:
    world = Refreshing(expires_in=3600)
    assert sweep.sweep(world.ctx) == 0
    world.ctx.clock.advance(0.75 * 3600)
    assert sweep.sweep(world.ctx) == 1
    assert sweep.sweep(world.ctx) == 0, "it is on the queue already"
    message = list(world.ctx.queues.refresh)
    assert world.work() == []
    world.ctx.queues.refresh.extend(message)
    assert world.work() == [], "a duplicate does no harm"
    assert len(world.provider.requests) == 1
    assert world.token() == "at-1"


def test_a_queue_message_that_got_lost_comes_due_again() -> None:
    world = Refreshing(expires_in=3600)
    world.ctx.clock.advance(0.75 * 3600)
    assert sweep.sweep(world.ctx) == 1
    world.ctx.queues.take_refreshes()
    world.ctx.clock.advance(11 * 60)
    assert sweep.sweep(world.ctx) == 1


def test_unreadable_messages_go_to_the_dead_letter_queue_and_stop_nobody(world: Refreshing) -> None:
    good = {"refresh": [{"pk": world.pk(), "generation": world.secret().generation}]}
    bodies = [("bad", "{"), ("odd", "[1]"), ("good", json.dumps(good))]
    assert worker.handle(world.ctx, bodies) == ["bad", "odd"]
    assert world.provider.issued == 1


def test_a_worker_begins_nothing_when_its_time_is_nearly_over(world: Refreshing) -> None:
    body = {"refresh": [{"pk": world.pk(), "generation": world.secret().generation}]}
    late = world.ctx.clock.now() - 1
    assert worker.handle(world.ctx, [("m", json.dumps(body))], late) == ["m"]
    assert world.provider.requests == []


def refresh_message(world: Refreshing) -> str:
    entry = {"pk": world.pk(), "generation": world.secret().generation}
    return json.dumps({"refresh": [entry]})


@pytest.mark.parametrize(
    "error",
    [
        StoreUnavailable("away"),
        TransactionConflict("contended"),
        VaultUnavailable("away"),
        engine.TooLate(),
    ],
)
def test_a_refresh_that_could_not_be_begun_comes_again_and_is_no_fault(
    world: Refreshing, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def away(*_parts: Any, **_options: Any) -> Any:
        raise error

    monkeypatch.setattr(engine, "refresh", away)
    monkeypatch.setattr(metrics, "count", lambda *what: pytest.fail(f"counted: {what}"))
    assert worker.handle(world.ctx, [("m", refresh_message(world))]) == ["m"]


def test_a_message_of_an_earlier_authorization_refreshes_nothing(world: Refreshing) -> None:
    message = refresh_message(world)
    world.rotating("c1", expires_in=-60)
    assert worker.handle(world.ctx, [("m", message)]) == []
    assert world.provider.requests == []


def test_a_connection_of_a_slow_host_gives_way_though_the_table_takes_no_note(
    world: Refreshing, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = refresh_message(world)

    def away(_operation: Any) -> Any:
        raise StoreUnavailable("away")

    world.ctx.slow_hosts.ended(world.environment, "rotating.example", 20)
    world.ctx.store.update = away
    monkeypatch.setattr(metrics, "count", lambda *what: pytest.fail(f"counted: {what}"))
    assert worker.handle(world.ctx, [("m", message)]) == []
    assert world.provider.requests == []


class Waiting(Refreshing):
    """A world with a row that waits to be confirmed; what is erased is kept."""

    HOST = "slow.example"

    def __init__(self) -> None:
        super().__init__()
        self.key = Key(tables.CONNECTIONS, "env1#i#c9", tables.CONNECTION_PENDING)
        self.ctx.store.put(Put(self.key, {"generation": "g1", "host": self.HOST, "due_at": 5}))
        self.erased: list[tuple[str, str]] = []
        self.fault: Exception | None = None
        self.takes = 0.0

    def expire(self, _ctx: Any, pk: str, generation: str) -> None:
        self.ctx.clock.advance(self.takes)
        if self.fault is not None:
            raise self.fault
        self.erased.append((pk, generation))

    def handled(self, generation: str = "g1", until: float = float("inf")) -> list[str]:
        body = {"expire": [{"pk": self.key.pk, "generation": generation}]}
        return worker.handle(self.ctx, [("m", json.dumps(body))], until, self.expire)

    def due_at(self) -> int:
        return int(self.ctx.store.get(self.key)["due_at"])


@pytest.fixture
def waiting() -> Waiting:
    return Waiting()


def test_what_was_not_confirmed_in_time_is_erased(waiting: Waiting) -> None:
    assert waiting.handled() == []
    assert waiting.erased == [("env1#i#c9", "g1")]


def test_what_waits_anew_or_not_any_more_is_not_erased(waiting: Waiting) -> None:
    assert waiting.handled("g0") == []
    waiting.ctx.store.delete(waiting.key)
    assert waiting.handled() == []
    assert waiting.erased == []


@pytest.mark.parametrize("seconds", [0, -1])
def test_a_worker_erases_nothing_when_its_time_is_nearly_over(
    waiting: Waiting, seconds: float
) -> None:
    assert waiting.handled(until=waiting.ctx.clock.now() + seconds) == ["m"]
    assert waiting.erased == []


@pytest.mark.parametrize(
    "error", [StoreUnavailable("away"), TransactionConflict("busy"), VaultUnavailable("away")]
)
def test_an_erasure_that_could_not_be_made_comes_again_and_is_no_fault(
    waiting: Waiting, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(metrics, "count", lambda *what: pytest.fail(f"counted: {what}"))
    waiting.fault = error
    assert waiting.handled() == ["m"]


@pytest.mark.parametrize("fault", [None, StoreUnavailable("away")])
def test_what_waits_at_a_slow_host_gives_way_for_minutes(
    waiting: Waiting, fault: Exception | None
) -> None:
    waiting.takes, waiting.fault = 20, fault
    waiting.handled()
    waiting.erased.clear()
    waiting.fault = None
    assert waiting.handled() == []
    assert waiting.erased == []
    assert 60_000 <= waiting.due_at() - waiting.ctx.clock.now() * 1000 <= 240_000
    waiting.ctx.clock.advance(61)
    waiting.takes = 0
    assert waiting.handled() == []
    assert waiting.erased == [("env1#i#c9", "g1")]


def test_what_waits_anew_is_not_put_off_with_what_waited_before(waiting: Waiting) -> None:
    waiting.ctx.slow_hosts.ended("env1", waiting.HOST, 20)
    real = waiting.ctx.store.get

    def replaced(key: Key) -> Any:
        waiting.ctx.store.get = real
        found = real(key)
        waiting.ctx.store.update(Update(key, set={"generation": "g2"}))
        return found

    waiting.ctx.store.get = replaced
    assert waiting.handled() == []
    assert waiting.due_at() == 5


def test_what_waits_gives_way_though_the_table_takes_no_note(waiting: Waiting) -> None:
    def away(_operation: Any) -> Any:
        raise StoreUnavailable("away")

    waiting.ctx.slow_hosts.ended("env1", waiting.HOST, 20)
    waiting.ctx.store.update = away
    assert waiting.handled() == []
    assert waiting.erased == []


def test_what_waits_without_a_host_is_erased_all_the_same(waiting: Waiting) -> None:
    waiting.ctx.store.update(Update(waiting.key, remove=("host",)))
    assert waiting.handled() == []
    assert waiting.erased == [("env1#i#c9", "g1")]
