"""A refresh that finds that it is not the first says what it found, and asks nobody."""

from __future__ import annotations

import json
from typing import Any

import pytest

from keystow.records.connection import Sealed
from keystow.refresh import commit, engine, lease
from keystow.refresh.worker import COMMIT_AGAIN_SECONDS
from keystow.secret import Secret
from keystow.store import (
    ConditionFailed,
    StoreUnavailable,
    TransactionConflict,
    Update,
    tables,
)
from keystow.value import replace
from tests.authorization_server import answer
from tests.integration.connections.world import Refreshing


@pytest.fixture
def world() -> Refreshing:
    return Refreshing()


def test_a_refresh_of_what_was_renewed_meanwhile_returns_the_newer_token(
    world: Refreshing,
) -> None:
    before = world.secret()
    assert world.token() == "at-1"
    outcome = engine.refresh(world.ctx, before)
    assert (outcome.state, outcome.secret) == ("changed", world.secret())
    assert len(world.provider.requests) == 1


def test_a_refresh_of_what_was_authorized_anew_returns_the_newer_token(world: Refreshing) -> None:
    before = world.secret()
    world.rotating("c1", expires_in=3600)
    outcome = engine.refresh(world.ctx, replace(before, version=world.secret().version))
    assert (outcome.state, outcome.secret) == ("changed", world.secret())
    assert world.provider.requests == []


def test_a_refresh_of_what_was_deleted_asks_nobody(world: Refreshing) -> None:
    before = world.secret()
    assert world.app.delete("/connections/c1?provider_config_key=rot").status == 200
    outcome = engine.refresh(world.ctx, before)
    assert (outcome.state, outcome.secret) == ("gone", None)
    assert world.provider.requests == []


@pytest.mark.parametrize("seconds", [0, 59, 64])
def test_a_refresh_leaves_the_one_who_is_at_it_alone_until_the_lease_is_over(
    world: Refreshing, seconds: float
) -> None:
    claimed = lease.claim(world.ctx, world.secret(), forced=False)
    assert isinstance(claimed, lease.Claimed)
    world.ctx.clock.advance(seconds)
    outcome = engine.refresh(world.ctx, world.secret())
    assert (outcome.state, outcome.secret) == ("busy", claimed.secret)
    assert world.provider.requests == []
    assert lease.is_held(claimed.secret, int(world.ctx.clock.now() * 1000))
    world.ctx.clock.advance(66 - seconds)
    assert engine.refresh(world.ctx, world.secret()).state == "refreshed"


def unavailable(*_operations: Any, **_options: Any) -> Any:
    raise StoreUnavailable("throttled")


def queued(world: Refreshing) -> None:
    """Renew the token while the table takes no commit."""
    real = world.ctx.store.put

    def put(operation: Any) -> None:
        if operation.key.sk == tables.CONNECTION_SECRET:
            raise StoreUnavailable("throttled")
        real(operation)

    world.ctx.store.put = put
    assert engine.refresh(world.ctx, world.secret()).state == "refreshed"
    world.ctx.store.put = real
    assert len(world.ctx.queues.refresh) == 1


def test_a_commit_that_comes_after_its_connection_was_deleted_revokes_its_token(
    world: Refreshing,
) -> None:
    queued(world)
    assert world.app.delete("/connections/c1?provider_config_key=rot").status == 200
    world.provider.revoked.clear()
    assert world.work() == []
    assert "rt-1" in world.provider.revoked
    assert world.ctx.store.everything()[tables.CONNECTIONS] == []


def test_a_commit_that_comes_after_its_integration_was_deleted_is_dropped(
    world: Refreshing,
) -> None:
    queued(world)
    assert world.app.delete("/integrations/rot").status == 200
    world.ctx.clock.advance(31)  # integrations are remembered for 30 s
    world.provider.revoked.clear()
    assert world.work() == []
    assert world.provider.revoked == [], "nobody knows any more who could"
    assert world.ctx.store.everything()[tables.CONNECTIONS] == []


def test_a_late_token_of_a_provider_that_is_not_known_any_more_is_dropped(
    world: Refreshing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine.providers, "find", lambda *_place: None)
    engine.revoke_late(world.ctx, world.secret())
    assert world.provider.revoked == []


def test_a_late_token_that_is_revoked_is_told_in_the_log(world: Refreshing) -> None:
    engine.revoke_late(world.ctx, world.secret())
    assert world.provider.revoked == ["rt-0"]
    told = json.dumps(world.ctx.store.everything()[tables.ACTIVITY], default=str)
    assert "arrived too late and was revoked: done" in told


def test_a_commit_that_is_stored_revokes_nothing(world: Refreshing) -> None:
    queued(world)
    assert world.work() == []
    assert world.provider.revoked == []
    assert world.token() == "at-1"


def test_a_commit_that_comes_after_a_new_authorization_is_dropped_and_not_revoked(
    world: Refreshing,
) -> None:
    queued(world)
    world.rotating("c1", expires_in=3600)
    assert world.work() == []
    assert world.provider.revoked == []
    assert world.token() == "at-0"


def test_a_commit_that_must_wait_comes_again_in_a_minute(world: Refreshing) -> None:
    queued(world)
    (_body, first) = world.ctx.queues.refresh[0]
    assert first == commit.QUEUE_DELAY_SECONDS

    def away(*_operations: Any) -> Any:
        raise StoreUnavailable("throttled")

    real, world.ctx.store.put = world.ctx.store.put, away
    assert world.work() == []
    ((_body, again),) = world.ctx.queues.refresh
    assert again == COMMIT_AGAIN_SECONDS
    world.ctx.store.put = real
    assert world.work() == []
    assert world.secret().version == 2


@pytest.mark.parametrize(("seconds", "tries"), [(0, 4), (2, 2), (10, 1)])
def test_a_commit_tries_the_table_for_three_seconds_and_then_goes_on_by_queue(
    world: Refreshing, seconds: float, tries: int
) -> None:
    tried = []

    def away(_operation: Any) -> Any:
        tried.append(world.ctx.clock.now())
        world.ctx.clock.advance(seconds)
        raise TransactionConflict("contended")

    world.ctx.store.put = away
    assert engine.refresh(world.ctx, world.secret()).state == "refreshed"
    assert len(tried) == tries
    assert len(world.ctx.queues.refresh) == 1


def test_a_commit_is_refused_by_a_lease_that_was_lost_even_without_a_newer_token(
    world: Refreshing,
) -> None:
    mine = lease.claim(world.ctx, world.secret(), forced=False)
    assert isinstance(mine, lease.Claimed)
    world.ctx.clock.advance(70)
    other = lease.claim(world.ctx, world.secret(), forced=False)
    assert isinstance(other, lease.Claimed)
    late = Sealed(Secret({"type": "OAUTH2", "access_token": "x", "refresh_token": "y"}), Secret({}))
    after = replace(mine.secret, version=2, write_id="w").resealed(world.ctx.vault, late)
    with pytest.raises(TransactionConflict):
        commit.store_again(world.ctx, mine.secret, after)
    assert world.secret() == other.secret


def test_a_commit_after_others_have_held_the_lease_does_not_turn_the_fence_back(
    world: Refreshing,
) -> None:
    mine = lease.claim(world.ctx, world.secret(), forced=False)
    assert isinstance(mine, lease.Claimed)
    for _other in range(3):
        world.ctx.clock.advance(70)
        assert isinstance(lease.claim(world.ctx, world.secret(), forced=False), lease.Claimed)
    world.ctx.clock.advance(70)
    fence = world.secret().fence
    late = Sealed(Secret({"type": "OAUTH2", "access_token": "x", "refresh_token": "y"}), Secret({}))
    after = replace(mine.secret, version=2, lease_until=None, write_id="w")
    done = commit.store_again(world.ctx, mine.secret, after.resealed(world.ctx.vault, late))
    assert done.state == "stored"
    assert (world.secret().version, world.secret().fence) == (2, fence)


def test_a_lease_that_keeps_changing_sends_the_commit_to_the_queue(
    world: Refreshing, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = lease.claim(world.ctx, world.secret(), forced=False)
    assert isinstance(mine, lease.Claimed)
    after = replace(mine.secret, version=2, lease_until=None, write_id="w")
    found = replace(mine.secret, lease_until=None, fence=99)
    overtaken = commit.Result("overtaken", found)
    monkeypatch.setattr(commit, "_persist", lambda *_secrets: overtaken)
    assert commit.store(world.ctx, mine.secret, after).state == "queued"
    assert len(world.ctx.queues.refresh) == 1


def test_a_failure_that_the_table_does_not_take_is_still_told_and_runs_out(
    world: Refreshing,
) -> None:
    real = world.ctx.store.transact

    def both_away(_number: int) -> Any:
        world.ctx.store.transact = unavailable
        return answer(500, {})

    world.provider.fault = both_away
    outcome = engine.refresh(world.ctx, world.secret())
    assert outcome.state == "failed"
    assert outcome.secret is not None
    assert outcome.secret.failure is not None
    world.ctx.store.transact = real
    world.provider.fault = None
    world.ctx.clock.advance(66)
    assert world.token() == "at-1"


def test_the_event_of_a_broken_connection_is_queued_at_once(world: Refreshing) -> None:
    world.provider.family_dead = True
    world.ctx.queues.take_webhooks()
    assert engine.refresh(world.ctx, world.secret()).state == "failed"
    assert len(world.ctx.queues.take_webhooks()) == 1


def test_a_commit_that_only_the_description_stood_in_the_way_of_is_made_again(
    world: Refreshing,
) -> None:
    world.provider.family_dead = True
    real, refused = world.ctx.store.transact, []

    def changed(operations: Any, *rest: Any) -> Any:
        if len(operations) > 1 and operations[0].key.sk == tables.CONNECTION_SECRET and not refused:
            refused.append(operations)
            raise ConditionFailed((1,), (None,) * len(operations))
        return real(operations, *rest)

    world.ctx.store.transact = changed
    assert engine.refresh(world.ctx, world.secret()).state == "failed"
    assert len(refused) == 1
    assert world.secret().failure is not None
    assert len(world.events()) == 1


@pytest.mark.parametrize("gone", [False, True])
def test_an_environment_that_is_being_deleted_is_told_nothing(
    world: Refreshing, gone: bool
) -> None:
    place = tables.environment_settings(world.environment)
    if gone:
        world.ctx.store.delete(place)
    else:
        world.ctx.store.update(Update(place, set={"deleting": True}))
    world.provider.family_dead = True
    assert engine.refresh(world.ctx, world.secret()).state == "failed"
    assert world.secret().failure is not None
    assert world.events() == []
