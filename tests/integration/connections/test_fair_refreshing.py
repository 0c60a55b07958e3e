"""One slow provider, or one large environment, does not hold up the refreshes of the others."""

from __future__ import annotations

import contextlib
import itertools
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from keystow.clock import iso
from keystow.egress.errors import EgressFailed
from keystow.queues import group_of
from keystow.refresh import sweep, worker
from keystow.refresh.due import all_shards
from keystow.store import StoreUnavailable
from tests.authorization_server import DEFINITION, answer
from tests.integration.connections.world import World
from tests.parallel_time import JobHosts, ParallelClock
from tests.support import StoppedClock

if TYPE_CHECKING:
    from keystow.egress.client import Answer

SLOW = "slow.example"
QUICK = 10
A_MESSAGE_OF_THE_QUEUE = 25
MESSAGES_OF_ONE_INVOCATION = 4
LIFE = 3_600


class Hosts:
    """Token endpoints: one never answers in time, the others take a third of a second."""

    def __init__(self) -> None:
        self.clock: ParallelClock | None = None
        self.refreshed: dict[str, int] = {}

    def send(self, _method: str, url: str, **_request: Any) -> Answer:
        assert self.clock is not None
        host = urlsplit(url).netloc
        if host == SLOW:
            self.clock.takes(20)
            raise EgressFailed("timeout", sent=True)
        self.clock.takes(0.3)
        self.refreshed[host] = self.refreshed.get(host, 0) + 1
        token = {"access_token": "at", "refresh_token": "rt", "expires_in": LIFE}
        return answer(200, {**token, "token_type": "bearer"})


class Deployment:
    """A world with a queue that hands out what came first, and one worker."""

    def __init__(self) -> None:
        clock = ParallelClock()
        self.hosts = Hosts()
        self.hosts.clock = clock
        self.world = World(clock=clock)
        self.world.ctx.egress = self.hosts
        self.world.ctx.slow_hosts = JobHosts(clock)
        self.clock = clock
        self.backlog: list[str] = []
        self.busy = 0.0

    def connect(self, host: str, count: int, expires_in: float = 60) -> None:
        name = host.replace(".", "-")
        definition = {**DEFINITION, "token_url": f"https://{host}/token"}
        definition.pop("issuer", None)
        assert self.world.app.put(f"/providers/{name}", definition).status == 201
        client = {"type": "OAUTH2", "client_id": "id", "client_secret": "s"}
        self.world.integration(name, name, credentials=client)
        for number in range(count):
            credentials = {
                "type": "OAUTH2",
                "access_token": "at-0",
                "refresh_token": "rt-0",
                "expires_at": iso(self.clock.now() + expires_in),
            }
            self.world.imported(f"{name}-{number}", name, credentials=credentials)

    def sweep(self) -> None:
        sweep.sweep(self.world.ctx)
        self.backlog += [json.dumps(body) for body, _ in self.world.ctx.queues.take_refreshes()]

    def work_once(self) -> None:
        taken = self.backlog[:MESSAGES_OF_ONE_INVOCATION]
        del self.backlog[:MESSAGES_OF_ONE_INVOCATION]
        worker.handle(self.world.ctx, [(str(n), body) for n, body in enumerate(taken)])
        self.busy += self.clock.round_over()


def test_a_slow_provider_does_not_starve_the_refreshes_of_the_others() -> None:
    made = Deployment()
    made.connect(SLOW, 300)
    made.clock.advance(60)
    made.sweep()
    assert len(made.backlog) >= 3 * MESSAGES_OF_ONE_INVOCATION, "and all of it before the others"
    for number in range(QUICK):
        made.connect(f"quick{number}.example", 10)
    made.clock.advance(60)
    made.sweep()

    while made.backlog:
        made.work_once()

    assert made.hosts.refreshed == {f"quick{number}.example": 10 for number in range(QUICK)}
    # The first batch found out that the host is slow; three of them would be a minute.
    assert made.busy < 35


def test_a_slow_provider_gets_a_share_of_a_workers_time_and_no_more() -> None:
    made = Deployment()
    made.connect(SLOW, 200)
    hour = made.clock.now() + 3_600
    while made.clock.now() < hour:
        made.sweep()
        while made.backlog:
            made.work_once()
        made.clock.advance(60)
    assert 0 < made.busy < 0.3 * 3_600


def test_connections_of_a_slow_provider_that_wait_have_not_failed() -> None:
    made = Deployment()
    made.connect(SLOW, 100 + A_MESSAGE_OF_THE_QUEUE)
    made.clock.advance(60)
    made.sweep()
    made.work_once()
    waiting = made.backlog[0]
    made.work_once()
    for entry in json.loads(waiting)["refresh"]:
        name = entry["pk"].rpartition("#")[2]
        secret = made.world.secret(name)
        assert secret.failure is None
        assert secret.due_at is not None
        assert 60_000 <= secret.due_at - made.clock.now() * 1000 <= 240_000


def test_each_environment_and_host_is_a_message_group_of_its_own() -> None:
    made = World()
    other = World(of=made, environment="env2")
    for world in (made, other):
        world.rotating("c1", expires_in=-60)
    sweep.sweep(made.ctx)
    host = "rotating.example"
    groups = {group for queue, group in made.ctx.queues.groups if queue == "refresh"}
    assert groups == {f"env1/{host}", f"env2/{host}"}


def test_a_group_is_always_one_that_the_queue_takes() -> None:
    for host in ("münchen.example", "a b", "x" * 300, ""):
        group = group_of("env1", host)
        assert 1 <= len(group) <= 128
        assert group.isascii()
        assert " " not in group
    assert group_of("env1", "x" * 300) != group_of("env1", "x" * 301)


def test_who_has_much_that_is_due_does_not_keep_others_waiting_in_the_sweep() -> None:
    made = World()
    other = World(of=made, environment="env2")
    names = [f"c{number}" for number in range(20 * A_MESSAGE_OF_THE_QUEUE)]
    for name in names:
        made.rotating(name, expires_in=-60)
    made.ctx.clock.advance(60)
    other.rotating("late", expires_in=-60)
    sweep.sweep(made.ctx)
    bodies = [body for body, _ in made.ctx.queues.take_refreshes()]
    place = next(n for n, body in enumerate(bodies) if body["refresh"][0]["pk"].startswith("env2#"))
    shards = 16
    assert place < 2 * shards, "it was the last to come due"


class _TickingClock(StoppedClock):
    """Each look at it takes a second."""

    def now(self) -> float:
        self.advance(1)
        return super().now()


def test_a_sweep_ends_in_time_and_the_next_one_finds_the_rest() -> None:
    made = World()
    names = [f"c{number}" for number in range(8 * A_MESSAGE_OF_THE_QUEUE)]
    for name in names:
        made.rotating(name, expires_in=-60)
    made.ctx.clock = _TickingClock(made.ctx.clock.now())

    queued = sweep.sweep(made.ctx, until=made.ctx.clock.now() + 22)

    assert 0 < queued < len(names)
    sent = [entry for body, _ in made.ctx.queues.refresh for entry in body["refresh"]]
    assert len(sent) == queued, "what was moved out of the way is queued"
    assert queued + sweep.sweep(made.ctx) == len(names)


def test_what_is_due_at_one_host_shares_messages_whichever_shards_it_stands_in() -> None:
    made = World()
    for number in range(2 * A_MESSAGE_OF_THE_QUEUE):
        made.rotating(f"c{number}", expires_in=-60)

    assert sweep.sweep(made.ctx) == 2 * A_MESSAGE_OF_THE_QUEUE

    assert len(made.ctx.queues.refresh) == 2


def test_a_shard_that_cannot_be_read_does_not_hold_up_the_others_and_is_told() -> None:
    made = World()
    for number in range(100):
        made.rotating(f"c{number}", expires_in=-60)
    query = made.ctx.store.query

    def one_is_down(table: str, pk: str, **options: Any) -> Any:
        if pk == all_shards()[3]:
            raise StoreUnavailable("down")
        return query(table, pk, **options)

    made.ctx.store.query = one_is_down

    with pytest.raises(StoreUnavailable):
        sweep.sweep(made.ctx)

    sent = {entry["pk"] for body, _ in made.ctx.queues.refresh for entry in body["refresh"]}
    assert 50 < len(sent) < 100


def test_a_table_that_takes_no_marks_ends_the_sweep_and_is_told() -> None:
    made = World()
    for number in range(400):
        made.rotating(f"c{number}", expires_in=-60)
    update, number = made.ctx.store.update, itertools.count()

    def soon_down(change: Any) -> Any:
        if next(number) >= 10:
            raise StoreUnavailable("down")
        return update(change)

    made.ctx.store.update = soon_down

    with pytest.raises(StoreUnavailable):
        sweep.sweep(made.ctx)

    sent = [entry["pk"] for body, _ in made.ctx.queues.refresh for entry in body["refresh"]]
    assert len(sent) == 10, "what was moved out of the way is queued"


def test_a_sweep_that_is_cut_off_has_queued_all_but_its_last_batches() -> None:
    class Killed(BaseException):
        """The function's time is over."""

    made = World()
    for number in range(200):
        made.rotating(f"c{number}", expires_in=-60)
    store, marked = made.ctx.store, []
    update = store.update

    def until_killed(operation: Any) -> Any:
        if len(marked) == 190:
            raise Killed
        marked.append(operation.key.pk)
        return update(operation)

    store.update = until_killed
    with contextlib.suppress(Killed):
        sweep.sweep(made.ctx)
    sent = {entry["pk"] for body, _ in made.ctx.queues.refresh for entry in body["refresh"]}
    shards = 16
    assert len(set(marked) - sent) <= shards * A_MESSAGE_OF_THE_QUEUE
    assert sent, "messages leave while rows are still being marked"
