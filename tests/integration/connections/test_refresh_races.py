"""Refreshers that come late, get lost or meet others: no token is lost, none is mixed up."""

from __future__ import annotations

import json
from typing import Any

import pytest

from keystow.clock import iso
from keystow.modes.base import Renewed
from keystow.queues import group_of
from keystow.records.connection import Sealed
from keystow.refresh import commit, engine, journal, lease
from keystow.secret import Secret
from keystow.store import StoreUnavailable, TransactionConflict, tables
from keystow.value import replace
from tests.authorization_server import answer
from tests.integration.connections.world import Refreshing


@pytest.fixture
def world() -> Refreshing:
    return Refreshing()


def test_a_killed_worker_is_followed_after_the_lease(world: Refreshing) -> None:
    claimed = lease.claim(world.ctx, world.secret(), forced=False)
    assert isinstance(claimed, lease.Claimed)
    assert world.read().status == 503
    world.ctx.clock.advance(66)
    assert world.token() == "at-1"


def test_a_reader_that_has_waited_begins_no_exchange_that_could_be_cut_off(
    world: Refreshing,
) -> None:
    claimed = lease.claim(world.ctx, world.secret(), forced=False)
    assert isinstance(claimed, lease.Claimed)
    world.ctx.clock.advance(50)  # the lease runs out while the reader waits
    found = world.read()
    assert (found.status, found.code) == (503, "refresh_in_progress")
    assert world.provider.requests == []
    assert world.token() == "at-1"


def test_a_late_worker_cannot_overwrite_and_its_token_is_kept_in_the_journal(
    world: Refreshing,
) -> None:
    late = lease.claim(world.ctx, world.secret(), forced=False)
    assert isinstance(late, lease.Claimed)
    world.ctx.clock.advance(70)
    assert world.token() == "at-1"
    attempt = engine._Attempt(world.ctx, late.secret, None, None, None)
    sealed = Sealed(
        Secret({"type": "OAUTH2", "access_token": "late", "refresh_token": "rt-late"}), Secret({})
    )
    outcome = attempt.succeeded(Renewed(sealed, None))
    assert outcome.state == "changed"
    assert world.token() == "at-1"
    parked = journal.latest(world.ctx, world.secret())
    assert parked is not None
    assert parked.sealed.credentials.reveal()["refresh_token"] == "rt-late"
    journal.mark_used(world.ctx, parked)
    assert journal.latest(world.ctx, world.secret()) is None, "each is tried once"


def test_a_parked_token_saves_a_connection_whose_stored_token_is_refused(world: Refreshing) -> None:
    world.provider._current = "rt-parked"
    parked = {"type": "OAUTH2", "access_token": "x", "refresh_token": "rt-parked"}
    journal.park(world.ctx, world.secret(), Sealed(Secret(parked), Secret({})))
    seen: list[str] = []

    def only_parked_is_known(_n: int) -> Any:
        form = world.provider.requests[-1]
        seen.append(form["refresh_token"])
        return answer(400, {"error": "invalid_grant"}) if form["refresh_token"] == "rt-0" else None

    world.provider.fault = only_parked_is_known
    assert engine.refresh(world.ctx, world.secret()).state == "refreshed"
    assert seen == ["rt-0", "rt-parked"]
    assert world.token() == "at-1"
    assert world.events() == []
    told = json.dumps(world.ctx.store.everything()[tables.ACTIVITY], default=str)
    assert "Refreshing failed" not in told
    assert "A token that had lost a race was used" in told


def test_a_parked_token_is_not_risked_while_the_stored_one_may_be_good(world: Refreshing) -> None:
    parked = {"type": "OAUTH2", "access_token": "x", "refresh_token": "rt-parked"}
    journal.park(world.ctx, world.secret(), Sealed(Secret(parked), Secret({})))
    for trouble in (answer(503, {}), answer(401, {"error": "invalid_client"}), answer(429, {})):
        world.provider.fault = lambda _n, trouble=trouble: trouble
        engine.refresh(world.ctx, world.secret())
        world.ctx.clock.advance(3600)
    assert {form["refresh_token"] for form in world.provider.requests} == {"rt-0"}
    assert len(world.provider.requests) == 3


def test_a_parked_token_is_not_given_up_because_the_provider_was_down(world: Refreshing) -> None:
    parked = {"type": "OAUTH2", "access_token": "x", "refresh_token": "rt-parked"}
    journal.park(world.ctx, world.secret(), Sealed(Secret(parked), Secret({})))
    world.provider._current = "rt-parked"
    down = True

    def fault(_n: int) -> Any:
        if world.provider.requests[-1]["refresh_token"] == "rt-0":
            return answer(400, {"error": "invalid_grant"})
        return answer(503, {}) if down else None

    world.provider.fault = fault
    assert world.read().status == 400
    world.ctx.clock.advance(60)
    down = False
    assert world.token() == "at-1"


def test_a_delete_during_a_refresh_stays_deleted_and_the_new_token_is_revoked(
    world: Refreshing,
) -> None:
    def delete(_n: int) -> None:
        assert world.app.delete("/connections/c1?provider_config_key=rot").status == 200

    world.provider.fault_after = delete
    assert world.read().status == 404
    assert world.read().status == 404
    connections = world.ctx.store.everything()[tables.CONNECTIONS]
    assert connections == []
    assert "rt-1" in world.provider.revoked


def test_an_authorization_during_a_refresh_wins_and_the_late_token_is_dropped(
    world: Refreshing,
) -> None:
    fresh = {
        "type": "OAUTH2",
        "access_token": "at-new",
        "refresh_token": "rt-new",
        "expires_at": iso(world.ctx.clock.now() + 3600),
    }

    def reimport(_n: int) -> None:
        body = {"provider_config_key": "rot", "connection_id": "c1", "credentials": fresh}
        assert world.app.post("/connections", body).status == 201

    world.provider.fault_after = reimport
    assert world.token() == "at-new"
    assert world.token() == "at-new"
    assert world.provider.revoked == [], "the new grant must not be put at risk"
    told = json.dumps(world.ctx.store.everything()[tables.ACTIVITY], default=str)
    assert "A token of a former authorization arrived and was dropped" in told


def test_a_commit_that_the_table_refuses_travels_on_the_queue(world: Refreshing) -> None:
    store = world.ctx.store
    real = store.put
    down = True

    def put(operation: Any) -> None:
        if down and operation.key.sk == tables.CONNECTION_SECRET:
            raise StoreUnavailable("throttled")
        real(operation)

    store.put = put
    assert world.token() == "at-1", "the caller is served"
    (message,) = world.ctx.queues.refresh
    assert "at-1" not in str(message)
    assert "rt-1" not in str(message)
    group = group_of(world.environment, "rotating.example")
    assert world.ctx.queues.groups[-1] == ("refresh", group), "it waits behind no other host's"
    for _round in range(10):
        assert world.work() == []
        ((again, _delay),) = world.ctx.queues.refresh
        assert again == message[0], "it comes again as long as the table is away"
    down = False
    assert world.work() == []
    assert world.token() == "at-1"
    assert len(world.provider.requests) == 1


def test_a_commit_that_comes_late_heals_a_connection_declared_dead_meanwhile(
    world: Refreshing,
) -> None:
    store = world.ctx.store
    real = store.put
    down = True

    def put(operation: Any) -> None:
        if down and operation.key.sk == tables.CONNECTION_SECRET:
            raise StoreUnavailable("throttled")
        real(operation)

    store.put = put
    assert world.token() == "at-1"
    down = False
    world.ctx.clock.advance(70)  # the lease is over, the message is still hidden
    assert world.read().status == 400, "the spent token was refused"
    assert world.secret().failure is not None
    assert world.work() == []
    assert world.token() == "at-1"
    assert world.read().json()["errors"] == []


def test_a_commit_that_comes_while_another_refresher_is_at_it_waits_for_it(
    world: Refreshing,
) -> None:
    before = world.secret()
    mine = lease.claim(world.ctx, before, forced=False)
    assert isinstance(mine, lease.Claimed)
    renewed = Sealed(
        Secret({"type": "OAUTH2", "access_token": "at-x", "refresh_token": "rt-x"}), Secret({})
    )
    after = replace(
        mine.secret, version=2, lease_until=None, write_id="w", expires_at=None
    ).resealed(world.ctx.vault, renewed)
    world.ctx.clock.advance(70)
    other = lease.claim(world.ctx, world.secret(), forced=False)
    assert isinstance(other, lease.Claimed)
    with pytest.raises(TransactionConflict):
        commit.store_again(world.ctx, mine.secret, after)
    parked = journal.latest(world.ctx, world.secret())
    assert parked is not None, "the other one finds it should its own be refused"
    world.ctx.clock.advance(70)
    assert commit.store_again(world.ctx, mine.secret, after).state == "stored"
    assert world.token() == "at-x"


def test_a_commit_whose_answer_was_lost_is_recognized_as_ones_own(world: Refreshing) -> None:
    store = world.ctx.store
    real = store.put

    def put_twice(operation: Any) -> None:
        real(operation)
        if operation.key.sk == tables.CONNECTION_SECRET:
            real(operation)  # what the client does when the first answer got lost

    store.put = put_twice
    assert world.token() == "at-1"
    assert world.secret().version == 2
    assert journal.latest(world.ctx, world.secret()) is None


def test_a_claim_whose_answer_was_lost_is_recognized_as_ones_own(world: Refreshing) -> None:
    store = world.ctx.store
    real = store.update

    def update_twice(operation: Any) -> Any:
        real(operation)
        return real(operation)

    store.update = update_twice
    claimed = lease.claim(world.ctx, world.secret(), forced=False)
    assert isinstance(claimed, lease.Claimed)
    assert claimed.secret == world.secret(), "what is committed must fit the fence that is stored"


def test_a_sealed_commit_survives_the_queue_unchanged(world: Refreshing) -> None:
    before = world.secret()
    renewed = replace(before, version=before.version + 1, fence=before.fence + 1)
    commit.send_to_queue(world.ctx, before, renewed)
    ((body, _delay),) = world.ctx.queues.take_refreshes()
    again, after = commit.from_queue(json.loads(json.dumps(body))["commit"])
    assert after == renewed
    assert again.version == before.version, "what must still be stored"
    assert again.fence == before.fence
