"""What the worker takes from a message: what is still wanted, how slow a host was, what failed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from keystow import metrics
from keystow.records.connection import Failure, StoredSecret
from keystow.refresh import checks, engine, lease, throttle, worker
from keystow.store import Put, StoreUnavailable, tables
from keystow.store.operations import Key
from keystow.value import replace
from keystow.vault import VaultError
from tests.authorization_server import answer
from tests.integration.connections.world import Refreshing

HOUR = 3_600_000
MINUTE = 60_000
HOST = "rotating.example"


@pytest.fixture
def world() -> Refreshing:
    return Refreshing()


def message(world: Refreshing, name: str = "c1") -> str:
    secret = world.secret(name)
    return json.dumps({"refresh": [{"pk": secret.key.pk, "generation": secret.generation}]})


def work(world: Refreshing, *names: str, until: float = float("inf")) -> list[str]:
    """Let a worker take a message for each connection, named like it."""
    bodies = [(name, message(world, name)) for name in names or ("c1",)]
    return worker.handle(world.ctx, bodies, until)


def failed(kind: Any = "transient", next_in: int = 0, now: int = 0) -> Failure:
    return Failure(kind, "code", "Words", now, 1, now + next_in, "log")


def change(world: Refreshing, **fields: Any) -> StoredSecret:
    """Store the credential as it would be after something else has happened."""
    secret = replace(world.secret(), **fields)
    world.ctx.store.put(Put(secret.key, secret.as_item()))
    return secret


@pytest.mark.parametrize(
    ("since", "life", "wanted"),
    [
        (0, 3 * HOUR, False),  # somebody has just refreshed it
        (HOUR - 1, 3 * HOUR, False),
        (HOUR + 1, 3 * HOUR, True),
        (4 * HOUR, 3 * HOUR, True),
        (0, -5, True),
        (0, 0, True),
        (0, None, True),  # kept alive, though it does not end
    ],
)
def test_a_message_that_comes_late_or_twice_refreshes_only_what_is_a_third_through_its_life(
    world: Refreshing, since: int, life: int | None, wanted: bool
) -> None:
    issued = int(world.ctx.clock.now() * 1000) - since
    change(
        world,
        issued_at=issued,
        expires_at=None if life is None else issued + life,
        due_at=issued + HOUR,
    )
    assert work(world) == []
    assert len(world.provider.requests) == wanted


@pytest.mark.parametrize(
    ("again_in", "wanted"), [(-HOUR, True), (MINUTE, True), (MINUTE + 1, False), (HOUR, False)]
)
def test_a_fresh_token_is_renewed_when_what_is_beside_it_is_to_be_tried_again(
    world: Refreshing, again_in: int, wanted: bool
) -> None:
    now = int(world.ctx.clock.now() * 1000)
    change(world, issued_at=now, expires_at=now + 5 * HOUR, again_at=now + again_in)
    assert work(world) == []
    assert len(world.provider.requests) == wanted


@pytest.mark.parametrize(
    ("kind", "next_in", "wanted"),
    [
        ("transient", -HOUR, True),
        ("transient", MINUTE, True),
        ("transient", MINUTE + 1, False),
        ("configuration", 0, True),
        ("terminal", -HOUR, False),
    ],
)
@pytest.mark.parametrize("expires_in", [None, -HOUR, 5 * HOUR])
def test_what_has_failed_is_tried_when_its_wait_is_over_and_a_dead_grant_never(
    world: Refreshing, kind: str, next_in: int, wanted: bool, expires_in: int | None
) -> None:
    now = int(world.ctx.clock.now() * 1000)
    change(
        world,
        issued_at=now - 10 * HOUR,
        expires_at=None if expires_in is None else now + expires_in,
        failure=failed(kind, next_in, now),
    )
    assert work(world) == []
    assert len(world.provider.requests) == wanted


def test_a_message_for_a_connection_that_was_deleted_is_over_and_no_fault(
    world: Refreshing, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = message(world)
    assert world.app.delete("/connections/c1?provider_config_key=rot").status == 200
    monkeypatch.setattr(metrics, "count", lambda *what: pytest.fail(f"counted: {what}"))
    assert worker.handle(world.ctx, [("m", body)]) == []


@pytest.mark.parametrize("fails", ["c1", "c2", "c3"])
def test_of_many_messages_just_those_come_again_that_could_not_be_done(
    world: Refreshing, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    for name in ("c2", "c3"):
        world.rotating(name, expires_in=-60)
    real = engine.refresh

    def refresh(ctx: Any, secret: StoredSecret, **options: Any) -> Any:
        if secret.connection_id == fails:
            raise engine.TooLate
        return real(ctx, secret, **options)

    monkeypatch.setattr(engine, "refresh", refresh)
    assert work(world, "c1", "c2", "c3") == [fails]


def test_of_many_erasures_just_those_come_again_that_could_not_be_made(world: Refreshing) -> None:
    rows = [f"env1#i#w{number}" for number in range(3)]
    for pk in rows:
        place = Key(tables.CONNECTIONS, pk, tables.CONNECTION_PENDING)
        world.ctx.store.put(Put(place, {"generation": "g"}))
    bodies = [(pk, json.dumps({"expire": [{"pk": pk, "generation": "g"}]})) for pk in rows]

    def expire(_ctx: Any, pk: str, _generation: str) -> None:
        if pk == rows[0]:
            raise StoreUnavailable("away")

    assert worker.handle(world.ctx, bodies, expire=expire) == [rows[0]]


def test_what_was_counted_is_written_when_the_messages_are_done(
    world: Refreshing, capsys: pytest.CaptureFixture[str]
) -> None:
    work(world)
    (line,) = (json.loads(text) for text in capsys.readouterr().out.splitlines() if "_aws" in text)
    assert line[metrics.REFRESHED] == [1.0]


def test_a_worker_whose_time_is_over_does_not_even_read(world: Refreshing) -> None:
    body = message(world)
    world.ctx.store.get = lambda _key: pytest.fail("there is no time left to use it")
    assert worker.handle(world.ctx, [("m", body)], world.ctx.clock.now()) == ["m"]


@pytest.mark.parametrize("refreshable", [True, False])
def test_a_worker_whose_time_ends_while_it_reads_sends_nothing(
    world: Refreshing, monkeypatch: pytest.MonkeyPatch, refreshable: bool
) -> None:
    body, soon = message(world), world.ctx.clock.now() + 10
    if not refreshable:
        change(world, refreshable=False)
        monkeypatch.setattr(checks, "can_check", lambda *_parts: True)
        monkeypatch.setattr(checks, "ask", lambda *_parts, **_options: pytest.fail("was asked"))
    before = world.secret()
    real = world.ctx.store.get

    def slow(key: Any) -> Any:
        world.ctx.clock.advance(11)
        return real(key)

    world.ctx.store.get = slow
    assert worker.handle(world.ctx, [("m", body)], soon) == ["m"]
    world.ctx.store.get = real
    assert world.provider.requests == []
    assert world.secret() == before


def is_slow(world: Refreshing) -> bool:
    """Whether the host is one that a worker rests from, once it rests from slow hosts."""
    world.ctx.slow_hosts.ended("other", "slow.example", 20)
    return not world.ctx.slow_hosts.admit(world.environment, HOST)


@pytest.mark.parametrize("status", [200, 503])
@pytest.mark.parametrize(("seconds", "slow"), [(20, True), (1, False)])
def test_how_long_a_refresh_took_tells_how_slow_its_host_is_whatever_came_of_it(
    world: Refreshing, status: int, seconds: float, slow: bool
) -> None:
    def takes(_number: int) -> Any:
        world.ctx.clock.advance(seconds)
        return None if status == 200 else answer(status, {})

    world.provider.fault = takes
    work(world)
    assert is_slow(world) is slow


def test_how_long_a_check_took_tells_how_slow_its_host_is(
    world: Refreshing, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(world, refreshable=False)
    monkeypatch.setattr(checks, "check", lambda *_parts, **_options: world.ctx.clock.advance(20))
    work(world)
    assert is_slow(world)


def leased(world: Refreshing, _monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(lease.claim(world.ctx, world.secret(), forced=False), lease.Claimed)


def unreadable(_world: Refreshing, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(*_parts: Any) -> Any:
        raise VaultError("of another key")

    monkeypatch.setattr(StoredSecret, "unseal", closed)


@pytest.mark.parametrize("happens", [leased, unreadable])
def test_a_slow_host_that_was_not_asked_is_still_taken_for_slow(
    world: Refreshing, monkeypatch: pytest.MonkeyPatch, happens: Any
) -> None:
    world.ctx.slow_hosts.ended(world.environment, HOST, 20)
    world.ctx.clock.advance(61)  # the rest from slow hosts is over
    happens(world, monkeypatch)
    assert work(world) == []
    assert world.provider.requests == []
    assert is_slow(world)


def test_who_is_put_off_comes_back_soon_after_the_pause(world: Refreshing) -> None:
    for by in ("c8", "c9"):
        throttle.note(world.ctx, world.environment, HOST, by, 60)
    assert work(world) == []
    due = world.secret().due_at
    assert due is not None
    wait = due - world.ctx.clock.now() * 1000
    assert 60_000 <= wait <= 60_000 + 10_000 + 60_000


@pytest.mark.parametrize("forced", [True, False])
def test_only_a_caller_who_refused_the_token_uses_up_a_turn(
    world: Refreshing, forced: bool
) -> None:
    if forced:
        engine.refresh(world.ctx, world.secret(), forced=True)
    else:
        work(world)
    assert world.secret().version == 2
    assert (world.secret().forced_at is not None) is forced
