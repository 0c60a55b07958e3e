"""A grant is declared dead only when nothing speaks against it.

That is: no newer token, no parked one, and no trouble that keeps us from looking.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from keystow.records.connection import Sealed, StoredSecret
from keystow.refresh import engine, journal
from keystow.secret import Secret
from keystow.store import Key, Put, StoreUnavailable, gates, tables
from keystow.value import replace
from keystow.vault import VaultUnavailable
from tests.authorization_server import answer, unreachable
from tests.integration.connections.world import Refreshing

INVALID = answer(400, {"error": "invalid_grant"})


@pytest.fixture
def world() -> Refreshing:
    return Refreshing()


def park(world: Refreshing, token: str, secret: StoredSecret | None = None) -> None:
    parked = {"type": "OAUTH2", "access_token": "x", "refresh_token": token}
    journal.park(world.ctx, secret or world.secret(), Sealed(Secret(parked), Secret({})))


def only_known(world: Refreshing, *tokens: str) -> list[str]:
    """Let the provider refuse all refresh tokens but these; return those that it is sent."""
    sent: list[str] = []

    def fault(_number: int) -> Any:
        sent.append(world.provider.requests[-1]["refresh_token"])
        if sent[-1] not in tokens:
            return INVALID
        world.provider._current = sent[-1]
        return None

    world.provider.fault = fault
    return sent


def entries(world: Refreshing) -> list[dict[str, Any]]:
    """Return the journal's rows, in their order."""
    items = world.ctx.store.everything()[tables.CONNECTIONS]
    return sorted(
        (item for item in items if item["sk"].startswith("journal#")), key=lambda item: item["sk"]
    )


def failures(world: Refreshing) -> list[str]:
    rows = json.dumps(world.ctx.store.everything()[tables.ACTIVITY], default=str)
    return ["failed"] * rows.count("Refreshing failed")


def test_a_refusal_after_somebody_else_succeeded_is_no_failure(world: Refreshing) -> None:
    before = world.secret()

    def overtaken(number: int) -> Any:
        if number > 1:
            return None
        world.ctx.clock.advance(70)  # the lease is over
        assert engine.refresh(world.ctx, world.secret()).state == "refreshed"
        return INVALID

    world.provider.fault = overtaken
    outcome = engine.refresh(world.ctx, before)
    assert outcome.state == "changed"
    assert outcome.secret == world.secret()
    assert (world.secret().version, world.secret().failure) == (2, None)
    assert failures(world) == []
    assert world.token() == "at-1"


def test_a_refusal_for_a_connection_deleted_meanwhile_is_no_failure(world: Refreshing) -> None:
    def deleted(_number: int) -> Any:
        assert world.app.delete("/connections/c1?provider_config_key=rot").status == 200
        return INVALID

    world.provider.fault = deleted
    outcome = engine.refresh(world.ctx, world.secret())
    assert (outcome.state, outcome.secret) == ("gone", None)
    assert failures(world) == []
    assert world.ctx.store.everything()[tables.CONNECTIONS] == []


def test_a_failure_for_a_connection_deleted_meanwhile_tells_that_it_is_gone(
    world: Refreshing,
) -> None:
    def deleted(_number: int) -> Any:
        assert world.app.delete("/connections/c1?provider_config_key=rot").status == 200
        return answer(503, {})

    world.provider.fault = deleted
    outcome = engine.refresh(world.ctx, world.secret())
    assert (outcome.state, outcome.secret) == ("gone", None)
    assert world.events() == []
    assert world.ctx.store.everything()[tables.CONNECTIONS] == []


@pytest.mark.parametrize("error", [StoreUnavailable("away"), VaultUnavailable("away")])
def test_a_grant_is_not_declared_dead_while_nobody_can_look_for_a_parked_token(
    world: Refreshing, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    park(world, "rt-parked")
    sent = only_known(world, "rt-parked")

    def away(*_place: Any) -> Any:
        raise error

    monkeypatch.setattr(journal, "latest", away)
    outcome = engine.refresh(world.ctx, world.secret())
    assert outcome.state == "failed"
    failure = world.secret().failure
    assert failure is not None
    assert (failure.kind, failure.code, failure.doubt) == ("transient", "unavailable", False)
    assert failure.description == type(error).__name__
    assert sent == ["rt-0"]
    monkeypatch.undo()
    world.ctx.clock.advance(60)
    assert world.token() == "at-1"


@pytest.mark.parametrize(("seconds", "attempts"), [(8.0, 1), (8.1, 2), (15.0, 2)])
def test_a_parked_token_is_tried_only_while_the_lease_and_the_function_have_time_for_it(
    world: Refreshing, seconds: float, attempts: int
) -> None:
    park(world, "rt-parked")
    sent = only_known(world, "rt-parked")
    refuse = world.provider.fault
    assert refuse is not None

    def slow(number: int) -> Any:
        if number == 1:
            world.ctx.clock.advance(seconds)
        return refuse(number)

    world.provider.fault = slow
    engine.refresh(world.ctx, world.secret())
    assert len(sent) == 3 - attempts
    if attempts > 1:
        failure = world.secret().failure
        assert failure is not None
        assert (failure.kind, failure.code) == ("transient", "no_time_left")
        assert not failure.doubt, "nothing was sent that could have used it up"
        world.ctx.clock.advance(60)
    assert world.token() == "at-1"
    assert sent[-1] == "rt-parked"


def test_parked_tokens_are_tried_once_each_newest_first_and_then_the_grant_is_dead(
    world: Refreshing,
) -> None:
    secret = world.secret()
    for number in (2, 10, 3):
        park(world, f"rt-{number}", replace(secret, version=number, write_id=f"w{number}"))
    sent = only_known(world)
    kinds = []
    for _attempt in range(4):
        engine.refresh(world.ctx, world.secret())
        failure = world.secret().failure
        assert failure is not None
        kinds.append((failure.kind, failure.code))
        assert not failure.doubt, "each was refused in so many words"
        world.ctx.clock.advance(3600)
    assert sent == ["rt-0", "rt-10", "rt-0", "rt-3", "rt-0", "rt-2", "rt-0"]
    assert kinds == [("transient", "invalid_grant")] * 3 + [("terminal", "invalid_grant")]
    assert all("used_at" in entry for entry in entries(world))


def test_a_parked_token_that_helped_is_not_tried_again(world: Refreshing) -> None:
    park(world, "rt-parked")
    only_known(world, "rt-parked")
    assert world.token() == "at-1"
    (entry,) = entries(world)
    assert entry["used_at"] == int(world.ctx.clock.now() * 1000)
    assert journal.latest(world.ctx, world.secret()) is None
    text = json.dumps(world.ctx.store.everything()[tables.ACTIVITY], default=str)
    assert "A token that had lost a race was used" in text


def test_a_parked_token_stays_where_the_provider_could_not_be_reached(world: Refreshing) -> None:
    park(world, "rt-parked")

    def fault(number: int) -> Any:
        return INVALID if number == 1 else unreachable(number)

    world.provider.fault = fault
    engine.refresh(world.ctx, world.secret())
    failure = world.secret().failure
    assert failure is not None
    assert failure.kind == "transient"
    assert "used_at" not in entries(world)[0]


def test_a_parked_token_is_kept_for_a_week_and_not_used_after(world: Refreshing) -> None:
    park(world, "rt-parked")
    (entry,) = entries(world)
    assert entry["ttl"] == int(world.ctx.clock.now()) + 7 * 86_400
    world.ctx.clock.advance(7 * 86_400 - 1)
    assert journal.latest(world.ctx, world.secret()) is not None
    world.ctx.clock.advance(1)
    assert journal.latest(world.ctx, world.secret()) is None


def test_parking_the_same_token_twice_keeps_one(world: Refreshing) -> None:
    park(world, "rt-first")
    park(world, "rt-second")
    assert len(entries(world)) == 1
    parked = journal.latest(world.ctx, world.secret())
    assert parked is not None
    assert parked.sealed.credentials.reveal()["refresh_token"] == "rt-first"


def test_a_token_of_a_former_authorization_is_neither_parked_nor_tried(world: Refreshing) -> None:
    secret = world.secret()
    park(world, "rt-parked")
    former = replace(secret, generation="former")
    assert journal.latest(world.ctx, former) is None, "of another authorization"
    park(world, "rt-former", replace(former, write_id="former"))
    assert len(entries(world)) == 1


def test_nothing_is_parked_of_a_deleted_connection(world: Refreshing) -> None:
    secret = world.secret()
    assert world.app.delete("/connections/c1?provider_config_key=rot").status == 200
    park(world, "rt-parked", secret)
    assert entries(world) == []


@pytest.mark.parametrize("what", ["environment", "integration"])
def test_nothing_is_parked_of_what_is_being_removed_and_nobody_is_disturbed(
    world: Refreshing, what: str
) -> None:
    secret, now = world.secret(), int(world.ctx.clock.now() * 1000)
    if what == "environment":
        shutting = gates.shutting_environment(secret.environment, now)
    else:
        shutting = gates.shutting_integration(secret.environment, secret.integration, now)
    world.ctx.store.transact(shutting)
    park(world, "rt-parked", secret)
    assert entries(world) == []


def test_a_note_on_a_parked_token_that_was_erased_meanwhile_brings_nothing_back(
    world: Refreshing,
) -> None:
    park(world, "rt-parked")
    parked = journal.latest(world.ctx, world.secret())
    assert parked is not None
    world.ctx.store.delete(parked.place)
    journal.mark_used(world.ctx, parked)
    assert entries(world) == []


@pytest.mark.parametrize("moved_to", ["its own place", "another connection", "another entry"])
def test_a_parked_token_opens_only_in_its_own_place(world: Refreshing, moved_to: str) -> None:
    world.rotating("c2", expires_in=-60)
    park(world, "rt-parked")
    (entry,) = entries(world)
    attributes = {name: value for name, value in entry.items() if name not in {"pk", "sk"}}
    owner, sk = world.secret(), entry["sk"]
    if moved_to == "another connection":
        owner = world.secret("c2")
        attributes["generation"] = owner.generation
    elif moved_to == "another entry":
        sk += "x"
    world.ctx.store.delete(Key(tables.CONNECTIONS, entry["pk"], entry["sk"]))
    world.ctx.store.put(Put(Key(tables.CONNECTIONS, owner.key.pk, sk), attributes))
    assert (journal.latest(world.ctx, owner) is not None) == (moved_to == "its own place")
