"""Once a day a read notes itself, and seals anew what an older month's data key sealed."""

from __future__ import annotations

from typing import Any

import pytest

from keystow.store import StoreUnavailable
from keystow.vault.kms import KmsError
from tests.integration.connections.world import World

MONTH = 31 * 86_400 + 3_600


def stored_last_month() -> World:
    """Return a world with a key that was stored in January 2026; now it is February."""
    world = World()
    world.imported("c1")
    assert world.secret().envelope.data_key == "credential-202601"
    world.ctx.clock.advance(MONTH)
    return world


def key_read(world: World) -> str:
    found = world.read("c1")
    assert found.status == 200, found.body
    return str(found.json()["credentials"]["apiKey"])


def test_a_read_is_noted_once_a_day() -> None:
    world = World()
    world.imported("c1")
    imported = world.read("c1").json()["last_fetched_at"]
    world.ctx.clock.advance(86_399)
    writes = []
    update = world.ctx.store.update
    world.ctx.store.update = lambda change: (writes.append(change.key.table), update(change))[1]

    assert world.read("c1").json()["last_fetched_at"] == imported
    assert "connections" not in writes

    world.ctx.clock.advance(1)
    noted = world.read("c1").json()["last_fetched_at"]
    assert noted > imported
    assert writes.count("connections") == 1
    assert world.read("c1").json()["last_fetched_at"] == noted
    assert writes.count("connections") == 1


def test_a_key_of_an_earlier_month_is_sealed_anew_by_the_first_read_of_a_day() -> None:
    world = stored_last_month()

    assert key_read(world) == "k"

    assert world.secret().envelope.data_key == "credential-202602"
    assert key_read(world) == "k"


def test_a_key_is_sealed_anew_once_a_month_and_else_left_as_it_is() -> None:
    world = stored_last_month()
    key_read(world)
    envelope = world.secret().envelope
    world.ctx.clock.advance(2 * 86_400)

    assert key_read(world) == "k"

    assert world.secret().envelope == envelope


@pytest.mark.parametrize("part", ["generation", "version"])
def test_sealing_anew_never_overwrites_a_credential_that_is_newer(part: str) -> None:
    world = stored_last_month()
    update = world.ctx.store.update

    def overtaken(change: Any) -> Any:
        if "sealed" in change.set:
            world.ctx.store.update = update
            item = world.ctx.store.get(change.key)
            newer = {"generation": "another", "version": item["version"] + 1}[part]
            held = type(change)(change.key, set={part: newer})
            update(held)
        return update(change)

    world.ctx.store.update = overtaken
    before = world.secret().envelope

    assert key_read(world) == "k"

    assert world.secret().envelope == before


def test_a_read_succeeds_though_kms_makes_no_new_data_key() -> None:
    world = stored_last_month()

    def refused(_context: Any) -> Any:
        raise KmsError("ThrottlingException")

    world.ctx.kms.generate = refused

    assert key_read(world) == "k"
    assert world.secret().envelope.data_key == "credential-202601"


@pytest.mark.parametrize("call", ["get", "transact"])
def test_a_read_succeeds_though_the_table_of_data_keys_does_not_answer(call: str) -> None:
    world = stored_last_month()
    real = getattr(world.ctx.store, call)

    def failing(what: Any, *more: Any) -> Any:
        keys = [what] if call == "get" else [each.key for each in what]
        if any(key.sk == "credential-202602" for key in keys):
            raise StoreUnavailable("throttled")
        return real(what, *more)

    setattr(world.ctx.store, call, failing)

    assert key_read(world) == "k"
    assert world.secret().envelope.data_key == "credential-202601"


def test_a_read_succeeds_though_the_sealed_anew_cannot_be_stored() -> None:
    world = stored_last_month()
    update = world.ctx.store.update

    def failing(change: Any) -> Any:
        if "sealed" in change.set:
            raise StoreUnavailable("down")
        return update(change)

    world.ctx.store.update = failing

    assert key_read(world) == "k"
    assert world.secret().envelope.data_key == "credential-202601"


def test_a_valid_token_that_waits_for_its_refresh_is_sealed_anew_too() -> None:
    world = World()
    world.rotating("c1", expires_in=90 * 86_400)
    world.ctx.clock.advance(MONTH)

    assert world.read("c1", "rot").json()["credentials"]["access_token"] == "at-0"

    assert world.secret().envelope.data_key == "credential-202602"
    assert world.read("c1", "rot", "&force_refresh=true").json()["credentials"]["access_token"]
