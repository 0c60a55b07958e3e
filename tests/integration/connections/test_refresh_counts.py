"""What alarms and the dashboard are told of refreshes: each thing that happened, once."""

from __future__ import annotations

import json
from typing import Any

import pytest

from keystow import metrics
from keystow.modes import mode_of
from keystow.records.connection import StoredSecret
from keystow.refresh import checks, engine, worker
from keystow.store import StoreUnavailable, Update, tables
from keystow.vault import VaultError
from tests.authorization_server import answer
from tests.integration.connections.world import Refreshing


@pytest.fixture
def world() -> Refreshing:
    return Refreshing()


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    monkeypatch.setattr(metrics, "count", lambda *what: found.append(what))
    return found


def work_for(world: Refreshing) -> list[str]:
    """Let a worker take one message for the connection."""
    secret = world.secret()
    entry = {"pk": secret.key.pk, "generation": secret.generation}
    return worker.handle(world.ctx, [("m", json.dumps({"refresh": [entry]}))])


def test_a_refresh_is_counted_with_its_host(
    world: Refreshing, counted: list[tuple[str, ...]]
) -> None:
    assert world.token() == "at-1"
    assert counted == [(metrics.REFRESHED, "rotating.example")]


def test_a_refresh_that_fails_is_counted_with_its_host(
    world: Refreshing, counted: list[tuple[str, ...]]
) -> None:
    world.provider.fault = lambda _n: answer(503, {})
    assert world.read().status == 400
    assert counted == [(metrics.REFRESH_FAILED, "rotating.example")]


@pytest.mark.parametrize(
    ("status", "name"), [(200, metrics.REFRESHED), (503, metrics.REFRESH_FAILED)]
)
def test_a_refresh_at_a_host_that_is_not_known_is_counted_at_none(
    world: Refreshing, counted: list[tuple[str, ...]], status: int, name: str
) -> None:
    world.ctx.store.update(Update(world.secret().key, remove=("host",)))
    world.provider.fault = lambda _n: None if status == 200 else answer(status, {})
    engine.refresh(world.ctx, world.secret())
    assert counted == [(name, "")]


def test_a_token_that_can_be_neither_stored_nor_queued_is_counted_as_lost(
    world: Refreshing, counted: list[tuple[str, ...]]
) -> None:
    real = world.ctx.store.put

    def put(operation: Any) -> None:
        if operation.key.sk == tables.CONNECTION_SECRET:
            raise StoreUnavailable("throttled")
        real(operation)

    world.ctx.store.put = put
    world.ctx.queues.unavailable = True
    outcome = engine.refresh(world.ctx, world.secret())
    assert outcome.state == "refreshed", "who asked is served all the same"
    assert (metrics.TOKENS_LOST,) in counted


def test_a_fault_of_ours_during_a_refresh_is_counted(
    world: Refreshing, counted: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_parts: Any) -> Any:
        raise RuntimeError("ours")

    monkeypatch.setattr(type(mode_of("OAUTH2")), "renew", broken)
    assert work_for(world) == []
    assert (metrics.FAULTS,) in counted


def test_a_fault_of_ours_in_the_worker_is_counted_and_its_message_comes_again(
    world: Refreshing, counted: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_parts: Any, **_options: Any) -> Any:
        raise RuntimeError("ours")

    monkeypatch.setattr(engine, "refresh", broken)
    assert work_for(world) == ["m"]
    assert counted == [(metrics.FAULTS,)]


def test_a_credential_that_does_not_open_is_counted_and_tried_again_in_a_day(
    world: Refreshing, counted: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(*_parts: Any) -> Any:
        raise VaultError("of another key")

    with monkeypatch.context() as patch:
        patch.setattr(StoredSecret, "unseal", closed)
        assert work_for(world) == []
    assert counted == [(metrics.SECRETS_UNOPENED,)]
    due = (world.secret().due_at or 0) / 1000 - world.ctx.clock.now()
    assert 0.9 * 86_400 < due < 1.1 * 86_400
    assert world.provider.requests == []


def test_a_fault_of_ours_during_a_check_is_counted_and_blames_nobody(
    world: Refreshing, counted: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_parts: Any, **_options: Any) -> Any:
        raise RuntimeError("ours")

    monkeypatch.setattr(checks, "ask", broken)
    monkeypatch.setattr(checks, "can_check", lambda *_parts: True)
    checks.check(world.ctx, world.secret())
    assert counted == [(metrics.FAULTS,)]
    assert (world.secret().failure, world.secret().lease_until) == (None, None)
