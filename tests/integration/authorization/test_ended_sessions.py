"""A session that ends while something of it is being stored: in that very moment, too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from keystow.store import Put, StoreUnavailable, tables
from tests.integration.authorization.popup import World, make_world
from tests.integration.authorization.test_typed import World as Typed
from tests.support import json_answer

if TYPE_CHECKING:
    from collections.abc import Callable

CONFIRM = pytest.mark.parametrize("confirm", [False, True])
STORED = {tables.CONNECTION, tables.CONNECTION_PENDING}


def end(world: World | Typed, token: str) -> None:
    headers = {"authorization": f"Bearer {token}"}
    assert world.app.delete("/connect/session", headers=headers).status == 204


def as_it_is_stored(world: World | Typed, happens: Callable[[], Any]) -> None:
    """Let something happen after every check, right before the transaction of a connection."""
    transact = world.ctx.store.transact

    def late(operations: Any, token: str | None = None) -> None:
        if any(isinstance(each, Put) and each.key.sk in STORED for each in operations):
            world.ctx.store.transact = transact
            happens()
        transact(operations, token)

    world.ctx.store.transact = late


def rows(world: World | Typed) -> list[dict[str, Any]]:
    return list(world.ctx.store.everything()[tables.CONNECTIONS])


@CONFIRM
def test_a_session_that_ends_as_its_authorization_is_stored_makes_no_connection(
    confirm: bool,
) -> None:
    world = make_world()
    browser, token = world.browser(), world.session(confirm=confirm)
    state = world.begun(browser, token)["state"]
    as_it_is_stored(world, lambda: end(world, token))
    page = world.back(browser, state)
    assert page.status == 400
    assert b"state_err" in page.body
    assert world.frames()[-1]["error_type"] == "state_err"
    assert rows(world) == []
    assert world.webhooks() == []
    assert world.provider.revoked == ["rt-1"], "what was given for it is given back"
    reloaded = world.back(browser, state)
    assert (reloaded.status, b"state_err" in reloaded.body) == (400, True)


@CONFIRM
def test_a_session_that_ends_as_its_reconnect_is_stored_leaves_the_connection_as_it_was(
    confirm: bool,
) -> None:
    world = make_world()
    made = world.connected()
    before = rows(world)
    browser, token = world.browser(), world.reconnect_session(made, confirm=confirm)
    state = world.begun(browser, token)["state"]
    as_it_is_stored(world, lambda: end(world, token))
    assert world.back(browser, state).status == 400
    assert rows(world) == before
    assert world.provider.revoked == [], "it could end the grant that is in use"
    assert world.read(made, "").status == 200


@CONFIRM
@pytest.mark.parametrize(
    ("place", "key", "body"),
    [
        ("/api-auth/api-key", "told", {"apiKey": "k" * 20}),
        ("/api-auth/basic", "basic", {"username": "u", "password": "p"}),
        ("/oauth2/auth", "client", {"client_id": "c", "client_secret": "s"}),
        ("/auth/unauthenticated", "unauthenticated", {}),
    ],
)
def test_a_session_that_ends_as_credentials_are_stored_makes_no_connection(
    place: str, key: str, body: dict[str, Any], confirm: bool
) -> None:
    world = Typed()
    world.egress.default = json_answer(200, {"access_token": "at", "expires_in": 3600, "id": "a"})
    token = world.session(confirm=confirm)
    as_it_is_stored(world, lambda: end(world, token))
    refused = world.submit(place, key, body, token=token)
    assert (refused.status, refused.code) == (401, "unknown_connect_session_token")
    assert world.stored() == []
    assert world.webhooks() == []
    assert [each["state"] for each in world.operations("create_connection")] == ["failed"]


@CONFIRM
def test_a_session_that_ends_once_all_is_stored_takes_nothing_back(confirm: bool) -> None:
    """Stored, its answer lost, the session ended; the repeat learns that it was stored."""
    world = make_world()
    browser, token = world.browser(), world.session(confirm=confirm)
    state = world.begun(browser, token)["state"]
    transact = world.ctx.store.transact

    def lost(operations: Any, given: str | None = None) -> None:
        world.ctx.store.transact = transact
        transact(operations, given)
        end(world, token)
        raise StoreUnavailable("lost")

    as_it_is_stored(world, lambda: setattr(world.ctx.store, "transact", lost))
    with_answer_lost = world.back(browser, state)
    assert with_answer_lost.status == 400, "nobody knows whether it is stored"
    assert world.provider.revoked == [], "and so nothing is revoked"
    assert len(rows(world)) > 0


@pytest.mark.parametrize("code", ["connection_pending", "invalid_connection"])
def test_what_is_refused_as_it_is_stored_ends_the_operation_and_tells_the_form(code: str) -> None:
    world = Typed()
    world.egress.default = json_answer(200, {"id": "a"})
    body = {"apiKey": "k" * 20}
    made = world.submit("/api-auth/api-key", "told", body).json()["connectionId"]
    if code == "connection_pending":
        first = world.reconnect("told", made, confirm=True)
        assert world.submit("/api-auth/api-key", "told", body, token=first).status == 200
        token = world.reconnect("told", made, confirm=True)
    else:
        token = world.reconnect("told", made)
        path = f"/connections/{made}?provider_config_key=told"
        as_it_is_stored(world, lambda: world.app.delete(path))
    refused = world.submit("/api-auth/api-key", "told", body, token=token)
    assert refused.code == code
    status = world.app.get(
        "/connect/session/status", headers={"authorization": f"Bearer {token}"}
    ).json()["data"]
    assert (status["status"], status["code"]) == ("failed", code)
    operations = world.operations("create_connection")
    (operation,) = (each for each in operations if each["pk"].endswith(f"#{status['log_id']}"))
    assert operation["state"] == "failed"
