"""What containers tell each other of the pauses of a token host, and what each remembers."""

from __future__ import annotations

from typing import Any

import pytest

from keystow.refresh import throttle
from keystow.store import ItemTooLarge, StoreUnavailable, TransactionConflict, tables
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
from tests.moto_tables import moto_store
from tests.support import make_context, run_in_parallel


@pytest.fixture
def hosts() -> Hosts:
    return Hosts()


@pytest.fixture
def world(hosts: Hosts) -> World:
    made = World()
    made.ctx.egress = hosts
    return made


def test_the_longer_of_two_pauses_stands(world: World) -> None:
    other = elsewhere(world).ctx
    host_paused(world)
    throttle.note(other, world.environment, HOST, "c1", 60)
    third = elsewhere(world).ctx
    until = throttle.paused_until(third, world.environment, HOST)
    assert until == (world.ctx.clock.now() + 600) * 1000


def test_a_pause_is_known_to_other_containers_on_dynamodb() -> None:
    with moto_store() as (store, _client):
        mine = make_context(store=store)
        other = make_context(store=store, clock=mine.clock)
        throttle.note(mine, "env1", HOST, "c1", None)
        assert throttle.paused_until(other, "env1", HOST) is not None
        assert throttle.paused_until(other, "env2", HOST) is None
        mine.clock.sleep(15)
        assert throttle.paused_until(other, "env1", HOST) is None
        throttle.worked(other, "env1", HOST, "c3")
        mine.clock.sleep(throttle.READ_AGAIN_SECONDS)
        throttle.paused_until(mine, "env1", HOST)
        throttle.note(mine, "env1", HOST, "c2", None)
        until = throttle.paused_until(mine, "env1", HOST)
        assert until == int((mine.clock.now() + 15) * 1000), "the success was seen"


def test_a_container_looks_once_in_five_seconds_and_only_on_the_way_to_a_refresh(
    world: World,
) -> None:
    looked = watch(world)
    for name in ("c1", "c2", "c3"):
        world.rotating(name, expires_in=-60)
    world.rotating("fresh", expires_in=LIFE)
    assert read(world, "fresh").status == 200
    assert looked == []
    run_in_parallel(3, lambda place: read(world, f"c{place + 1}"))
    assert len(looked) == 1
    world.ctx.clock.advance(5)
    world.rotating("c4", expires_in=-60)
    assert read(world, "c4").status == 200
    assert len(looked) == 2


def watch(world: World) -> list[str]:
    """Return a list to which each look at a pause is added."""
    looked: list[str] = []
    real = world.ctx.store.get

    def get(key: Any) -> Any:
        if key.pk.startswith("throttle#"):
            looked.append(key.sk)
        return real(key)

    world.ctx.store.get = get
    return looked


def test_a_pause_that_cannot_be_read_stops_no_refresh(world: World) -> None:
    real = world.ctx.store.get

    def get(key: Any) -> Any:
        if key.pk.startswith("throttle#"):
            raise StoreUnavailable("throttled")
        return real(key)

    world.ctx.store.get = get
    world.rotating("c1", expires_in=-60)
    assert read(world, "c1").status == 200


@pytest.mark.parametrize(
    "fault",
    [StoreUnavailable("throttled"), TransactionConflict("contended"), ItemTooLarge("large")],
)
def test_a_pause_that_cannot_be_written_is_still_kept_here(
    world: World, hosts: Hosts, fault: Exception
) -> None:
    real, refused = world.ctx.store.transact, []

    def transact(operations: Any, token: str | None = None) -> None:
        if operations[0].key.pk.startswith("throttle#"):
            refused.append(operations)
            raise fault
        real(operations, token)

    world.ctx.store.transact = transact
    for name in ("c1", "c2"):
        world.rotating(name, expires_in=-60)
    hosts.busy[HOST] = "600"
    assert read(world, "c1").status == 400
    assert world.secret("c1").failure is not None
    world.ctx.clock.advance(14)
    assert read(world, "c2").status == 424
    assert hosts.asked == [HOST]
    assert len(refused) == 1


def test_refusals_of_one_burst_write_once_and_later_ones_again(world: World) -> None:
    real, written = world.ctx.store.transact, []

    def transact(operations: Any, token: str | None = None) -> None:
        if operations[0].key.pk.startswith("throttle#"):
            written.append(operations[0].item["until"])
        real(operations, token)

    host_paused(world)
    world.ctx.store.transact = transact
    world.ctx.clock.advance(5)
    throttle.note(world.ctx, world.environment, HOST, "c1", 600)
    assert written == []
    assert pause_of(world) == 595
    world.ctx.clock.advance(1)
    throttle.note(world.ctx, world.environment, HOST, "c1", 600)
    assert len(written) == 1
    assert pause_of(world) == 600


def test_a_success_where_nothing_was_paused_writes_nothing(world: World) -> None:
    world.ctx.store.transact = lambda *_writes: pytest.fail("that would be paid for each time")
    throttle.worked(world.ctx, world.environment, HOST, "c1")


def test_pauses_grow_although_the_table_cannot_be_read_between(world: World) -> None:
    throttle.note(world.ctx, world.environment, HOST, "c1", None)
    world.ctx.clock.advance(15)

    def away(_key: Any) -> Any:
        raise StoreUnavailable("throttled")

    world.ctx.store.get = away
    assert pause_of(world) == 0
    throttle.note(world.ctx, world.environment, HOST, "c2", None)
    assert pause_of(world) == 30


def test_a_container_that_knew_a_pause_hears_of_the_next_one(world: World) -> None:
    other = elsewhere(world).ctx
    host_paused(world)
    assert throttle.paused_until(other, world.environment, HOST) is not None
    world.ctx.clock.advance(600)
    assert throttle.paused_until(other, world.environment, HOST) is None
    throttle.note(world.ctx, world.environment, HOST, "c1", 600)
    world.ctx.clock.advance(throttle.READ_AGAIN_SECONDS)
    assert throttle.paused_until(other, world.environment, HOST) is not None


def test_a_container_remembers_many_hosts_and_not_any_number(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(100):
        throttle.note(world.ctx, world.environment, f"h{number}.example", "c1", 600)
    looked = watch(world)
    for number in range(100):
        host = f"h{number}.example"
        assert throttle.paused_until(world.ctx, world.environment, host) is not None
    assert looked == []
    monkeypatch.setattr(throttle, "_MOST_REMEMBERED", 50)
    for number in range(100, 200):
        throttle.note(world.ctx, world.environment, f"h{number}.example", "c1", 600)
    assert len(world.ctx.cache) <= 50


def test_connections_whose_host_is_not_known_do_not_hold_up_each_other(world: World) -> None:
    for name in ("c1", "c2"):
        throttle.note(world.ctx, world.environment, None, name, 600)
    throttle.worked(world.ctx, world.environment, None, "c1")
    assert throttle.paused_until(world.ctx, world.environment, None) is None
    rows = world.ctx.store.everything()[tables.REGISTRY]
    assert not [row for row in rows if row["pk"].startswith("throttle#")]
