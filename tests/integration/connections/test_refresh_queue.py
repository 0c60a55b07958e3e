"""The sweep queues what is due, the worker does it, and messages may get lost or come twice."""

from __future__ import annotations

import json

import pytest

from keystow.refresh import sweep, worker
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
