"""A token host that asks for patience gets it from every connection, worker and reader."""

from __future__ import annotations

import threading

import pytest

from keystow.refresh import sweep, throttle, worker
from tests.authorization_server import DEFINITION
from tests.integration.connections.hosts import (
    HOST,
    LIFE,
    Hosts,
    elsewhere,
    host_paused,
    pause_of,
    read,
)
from tests.integration.connections.world import World
from tests.support import run_in_parallel

DUE = 0.8 * LIFE


@pytest.fixture
def hosts() -> Hosts:
    return Hosts()


@pytest.fixture
def world(hosts: Hosts) -> World:
    made = World()
    made.ctx.egress = hosts
    return made


def test_two_refusals_put_off_all_connections_of_the_host_until_the_time_is_over(
    world: World, hosts: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "IN_FLIGHT", 3)
    names = [f"c{number}" for number in range(60)]
    for name in names:
        world.rotating(name, expires_in=LIFE)
    hosts.busy[HOST] = "600"
    world.ctx.clock.advance(DUE - 15)
    throttle.note(world.ctx, world.environment, HOST, "another", 600)
    world.ctx.clock.advance(15)
    assert sweep.sweep(world.ctx) == 60
    assert world.work() == []
    refused = len(hosts.asked)
    assert 1 <= refused <= 3, "only what was in flight"
    secrets = [world.secret(name) for name in names]
    assert sum(each.failure is not None for each in secrets) == refused, "the others did not fail"
    over = (world.ctx.clock.now() + 600) * 1000
    put_off = [each.due_at or 0 for each in secrets if each.failure is None]
    assert min(put_off) >= over
    assert max(put_off) - min(put_off) > 300_000, "they come back one after the other"

    world.ctx.clock.advance(530)
    assert sweep.sweep(world.ctx) == 0
    hosts.busy.clear()
    for _minute in range(15):
        world.ctx.clock.advance(60)
        sweep.sweep(world.ctx)
        world.work()
    assert {world.secret(name).version for name in names} == {2}
    assert len(hosts.asked) == refused + 60


def test_another_host_and_another_environment_are_not_held_up(world: World, hosts: Hosts) -> None:
    other = {**DEFINITION, "token_url": "https://other.example/token"}
    assert world.app.put("/providers/other", other).status == 201
    client = {"type": "OAUTH2", "client_id": "id", "client_secret": "s"}
    world.integration("other", "other", credentials=client)
    neighbour = World(of=world, environment="env2")
    world.rotating("c2", expires_in=-60)
    world.rotating("c3", expires_in=-60, key="other")
    neighbour.rotating("c4", expires_in=-60)
    host_paused(world)
    assert read(world, "c2").status == 424
    assert world.read("c3", "other").status == 200
    assert read(neighbour, "c4").status == 200
    assert hosts.asked == ["other.example", HOST]


def test_a_reader_gets_a_valid_token_and_is_told_to_wait_for_an_expired_one(
    world: World, hosts: Hosts
) -> None:
    world.rotating("over", expires_in=-60)
    world.rotating("too", expires_in=-60)
    world.rotating("valid", expires_in=60)
    hosts.busy[HOST] = "600"
    throttle.note(world.ctx, world.environment, HOST, "another", 600)
    world.ctx.clock.advance(15)
    first = read(world, "over")
    assert (first.status, first.code) == (400, "invalid_credentials")
    assert first.headers["retry-after"] == "600"
    world.ctx.clock.advance(1)
    for app in (world.app, elsewhere(world)):
        served = read(world, "valid", app=app)
        assert served.status == 200
        assert served.json()["errors"] == [], "it did not fail"
        for name, query in (("too", ""), ("too", "&force_refresh=true")):
            waiting = read(world, name, query, app)
            assert (waiting.status, waiting.code) == (424, "invalid_credentials")
            assert waiting.headers["retry-after"] == "599"
            assert waiting.json()["error"]["payload"]["connection"]["connection_id"] == name
        assert read(world, "valid", "&force_refresh=true", app).status == 424
        assert read(world, "over", app=app).headers["retry-after"] == "599"
    assert len(hosts.asked) == 1
    assert len(world.events()) == 1, "of the one that was refused"
    hosts.busy.clear()
    world.ctx.clock.advance(600)
    assert read(world, "too").status == 200


def test_pauses_double_where_the_host_names_none_and_begin_anew_after_a_success(
    world: World,
) -> None:
    pauses = []
    for number in range(8):
        throttle.note(world.ctx, world.environment, HOST, f"c{number}", None)
        pauses.append(pause_of(world))
        world.ctx.clock.advance(pauses[-1])
        assert pause_of(world) == 0
    assert pauses == [15, 30, 60, 120, 240, 480, 900, 900]
    throttle.worked(world.ctx, world.environment, HOST, "c8")
    throttle.note(world.ctx, world.environment, HOST, "c9", None)
    assert pause_of(world) == 15


def test_a_token_from_a_host_makes_its_next_pause_short_again(world: World, hosts: Hosts) -> None:
    for name in ("c1", "c2", "c3"):
        world.rotating(name, expires_in=-60)
    hosts.busy[HOST] = None
    assert read(world, "c1").status == 400
    world.ctx.clock.advance(15)
    hosts.busy.clear()
    assert read(world, "c2").status == 200
    hosts.busy[HOST] = None
    assert read(world, "c3").status == 400
    assert pause_of(world) == 15


def test_one_connection_pauses_its_host_for_a_moment_and_only_once(world: World) -> None:
    throttle.note(world.ctx, world.environment, HOST, "c1", 3_600)
    assert pause_of(world) == 15
    for _time in range(5):
        world.ctx.clock.advance(3_600)
        throttle.worked(world.ctx, world.environment, HOST, "c2")
        throttle.note(world.ctx, world.environment, HOST, "c1", 3_600)
        assert pause_of(world) == 0, "its own failure holds it back"


def test_a_second_connection_pauses_it_for_as_long_as_it_was_told(world: World) -> None:
    throttle.note(world.ctx, world.environment, HOST, "c1", 600)
    throttle.note(world.ctx, world.environment, HOST, "c2", 600)
    assert pause_of(world) == 600
    world.ctx.clock.advance(600)
    throttle.note(world.ctx, world.environment, HOST, "c1", 600)
    assert pause_of(world) == 0
    throttle.note(world.ctx, world.environment, HOST, "c3", 600)
    assert pause_of(world) == 15
    throttle.note(world.ctx, world.environment, HOST, "c4", 600)
    assert pause_of(world) == 600, "two say so again"


def test_two_refusals_with_a_success_between_are_two_accounts(world: World) -> None:
    throttle.note(world.ctx, world.environment, HOST, "c1", 600)
    world.ctx.clock.advance(15)
    throttle.worked(world.ctx, world.environment, HOST, "c3")
    throttle.note(world.ctx, world.environment, HOST, "c2", 600)
    assert pause_of(world) == 15


def test_a_connection_that_worked_again_is_heard_again(world: World) -> None:
    throttle.note(world.ctx, world.environment, HOST, "c1", 600)
    world.ctx.clock.advance(15)
    throttle.worked(world.ctx, world.environment, HOST, "c2")
    throttle.worked(world.ctx, world.environment, HOST, "c1")
    throttle.note(world.ctx, world.environment, HOST, "c1", 600)
    assert pause_of(world) == 15


def test_503_with_retry_after_asks_for_patience_too(world: World, hosts: Hosts) -> None:
    hosts.status, hosts.busy[HOST] = 503, "600"
    for name in ("c1", "c2", "c3"):
        world.rotating(name, expires_in=-60)
    assert read(world, "c1").status == 400
    world.ctx.clock.advance(15)
    assert read(world, "c2").status == 400
    assert read(world, "c3").status == 424
    assert pause_of(world) == 600


def test_force_refresh_does_not_ask_before_the_time_that_the_connection_was_told(
    world: World, hosts: Hosts
) -> None:
    for name in ("c1", "c2"):
        world.rotating(name, expires_in=LIFE)
    hosts.busy[HOST] = "600"
    assert read(world, "c1", "&force_refresh=true").status == 400
    hosts.busy.clear()
    world.ctx.clock.advance(60)
    waiting = read(world, "c1", "&force_refresh=true")
    assert (waiting.status, waiting.code) == (424, "invalid_credentials")
    assert waiting.headers["retry-after"] == "540"
    assert read(world, "c1").status == 200, "its token is valid"
    assert len(hosts.asked) == 1
    assert read(world, "c2", "&force_refresh=true").status == 200, "the others are"
    world.ctx.clock.advance(540)
    assert read(world, "c1", "&force_refresh=true").status == 200


def test_those_that_were_told_to_wait_do_not_all_come_first_when_it_is_over(
    world: World, hosts: Hosts
) -> None:
    hosts.busy[HOST] = "600"
    over = (world.ctx.clock.now() + 600) * 1000
    hosts.together = threading.Barrier(8)
    for number in range(8):
        world.rotating(f"c{number}", expires_in=-60)
    run_in_parallel(8, lambda place: read(world, f"c{place}"))
    due = [world.secret(f"c{number}").due_at or 0 for number in range(8)]
    assert min(due) >= over
    assert max(due) - min(due) > 60_000


def test_a_pause_of_hours_ago_does_not_make_the_next_one_longer(world: World) -> None:
    throttle.note(world.ctx, world.environment, HOST, "c1", None)
    world.ctx.clock.advance(2 * 3600)
    assert pause_of(world) == 0
    throttle.note(world.ctx, world.environment, HOST, "c2", None)
    assert pause_of(world) == 15


def test_a_hundred_refusals_at_once_are_one(world: World) -> None:
    run_in_parallel(100, lambda n: throttle.note(world.ctx, world.environment, HOST, f"c{n}", None))
    assert pause_of(world) == 15


def test_a_host_is_left_alone_for_an_hour_at_most(world: World) -> None:
    throttle.note(world.ctx, world.environment, HOST, "c1", 1e9)
    throttle.note(world.ctx, world.environment, HOST, "c2", 1e9)
    assert pause_of(world) == 3_600


def test_an_answer_that_was_on_its_way_does_not_end_a_pause(world: World) -> None:
    throttle.note(world.ctx, world.environment, HOST, "c1", None)
    throttle.worked(world.ctx, world.environment, HOST, "c3")
    assert pause_of(world) == 15
    world.ctx.clock.advance(15)
    throttle.note(world.ctx, world.environment, HOST, "c2", 60)
    assert pause_of(world) == 60, "nor does it make the next one short"


class Drawing:
    """Randomness that always draws this byte."""

    def __init__(self, byte: int) -> None:
        self._byte = byte

    def bytes(self, count: int) -> bytes:
        return bytes([self._byte]) * count


@pytest.mark.parametrize(("paused", "spread"), [(15, 60), (300, 300), (3_600, 600)])
def test_what_was_put_off_comes_after_the_pause_spread_over_as_long_as_it_was(
    paused: int, spread: int
) -> None:
    now = 1_767_225_600_000
    until = now + paused * 1000
    first = throttle.resume_at(until, now, Drawing(0))
    assert first - 10_000 == until, "the sweep may deliver ten seconds early"
    assert throttle.resume_at(until, now, Drawing(255)) == first + spread * 1000


def test_putting_off_overwrites_nothing_that_happened_meanwhile(world: World) -> None:
    until = int(world.ctx.clock.now() * 1000) + 600_000
    world.rotating("c1", expires_in=LIFE)
    before = world.secret("c1")
    world.rotating("c1", expires_in=2 * LIFE)
    authorized = world.secret("c1")
    worker._put_off(world.ctx, before, until)
    assert world.secret("c1") == authorized
    assert read(world, "c1", "&force_refresh=true").status == 200
    refreshed = world.secret("c1")
    worker._put_off(world.ctx, authorized, until)
    assert world.secret("c1") == refreshed
