"""What becomes of a grant that is refused after its exchange, and of its quota."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from keystow.authorization import callback
from keystow.store import StoreUnavailable, gates, tables
from tests.integration.authorization.popup import World, make_world

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support import Sent


@pytest.fixture
def world() -> World:
    return make_world()


def while_exchanging(world: World, work: Callable[[], object]) -> None:
    """Do something once the provider is asked for tokens, before it answers."""
    exchange = world.provider.answer_to

    def meanwhile(sent: Sent) -> Any:
        world.provider.answer_to = exchange  # type: ignore[method-assign]
        work()
        return exchange(sent)

    world.provider.answer_to = meanwhile  # type: ignore[method-assign]


def refused(world: World, token: str, work: Callable[[], object]) -> None:
    browser = world.browser()
    state = world.begun(browser, token)["state"]
    while_exchanging(world, work)
    assert world.back(browser, state).status == 400


def delete(world: World, connection_id: str) -> None:
    path = f"/connections/{connection_id}?provider_config_key=rot"
    assert world.app.delete(path).status == 200


@pytest.mark.parametrize("closed", ["integration", "environment"])
def test_a_grant_for_what_was_deleted_meanwhile_is_revoked(world: World, closed: str) -> None:
    def close() -> None:
        if closed == "integration":
            assert world.app.delete("/integrations/rot").status == 200
        else:
            world.ctx.store.transact(gates.shutting_environment("env1", 1))

    refused(world, world.session(), close)
    assert world.provider.revoked == ["rt-1"]
    assert world.connections() == []


def test_a_refused_reconnect_whose_connection_is_gone_is_revoked(world: World) -> None:
    connection_id = world.connected()
    refused(world, world.reconnect_session(connection_id), lambda: delete(world, connection_id))
    assert world.provider.revoked == ["rt-1", "rt-2"]


def test_a_refused_reconnect_is_not_revoked_while_a_connection_stands_there(world: World) -> None:
    connection_id = world.connected()

    def made_anew() -> None:
        delete(world, connection_id)
        world.provider.revoked.clear()
        own = {"type": "OAUTH2", "access_token": "bobs", "refresh_token": "r-bob"}
        body = {"provider_config_key": "rot", "connection_id": connection_id, "credentials": own}
        assert world.app.post("/connections", body).status == 201

    refused(world, world.reconnect_session(connection_id), made_anew)
    assert world.provider.revoked == []


def test_a_reconnect_that_comes_second_does_not_end_the_older_grant(world: World) -> None:
    connection_id = world.connected()
    token = world.reconnect_session(connection_id, confirm=True)
    browser = world.browser()
    assert world.back(browser, world.begun(browser, token)["state"]).status == 200
    assert world.back(browser, world.begun(browser, token)["state"]).status == 400
    assert world.provider.revoked == []


def test_a_reconnect_whose_session_ends_meanwhile_does_not_end_the_older_grant(
    world: World,
) -> None:
    connection_id = world.connected()
    token = world.reconnect_session(connection_id)
    refused(world, token, lambda: world.app.delete("/connect/session", key=token))
    assert world.provider.revoked == []
    assert world.read(connection_id).status == 200


def unavailable(*_: Any, **__: Any) -> None:
    raise StoreUnavailable("away")


def test_a_connection_that_was_stored_counts_though_the_table_fails_right_after(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, browser = world.session(single_use=True), world.browser()
    state = world.begun(browser, token)["state"]
    with monkeypatch.context() as fault:
        fault.setattr(callback, "_remember", unavailable)
        world.back(browser, state)
    assert len(world.connections()) == 1
    assert world.provider.revoked == []
    assert world.start(browser, token).code == "connect_session_used"


@pytest.mark.parametrize("stored", [True, False])
def test_whether_a_lost_answer_counts_is_looked_up(
    world: World, monkeypatch: pytest.MonkeyPatch, stored: bool
) -> None:
    token, browser = world.session(single_use=True), world.browser()
    state = world.begun(browser, token)["state"]
    transact = world.ctx.store.transact

    def lost(operations: Any, *rest: Any) -> None:
        ours = [each for each in operations if each.key.table == tables.CONNECTIONS]
        if not ours:
            transact(operations, *rest)
            return
        if stored:
            transact(operations, *rest)
        raise StoreUnavailable("the answer was lost")

    with monkeypatch.context() as fault:
        fault.setattr(world.ctx.store, "transact", lost)
        assert world.back(browser, state).status == 400
    assert world.provider.revoked == ([] if stored else ["rt-1"])
    assert (world.start(browser, token).status == 302) is not stored
