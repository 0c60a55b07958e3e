"""A reconnect ends on the connection it began for, or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from keystow.store import tables
from tests.integration.authorization.popup import make_world
from tests.integration.authorization.test_typed import World as TypedWorld
from tests.support import json_answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.app import App
    from tests.support import Sent

TYPED = [
    ("/api-auth/api-key", "verified", {"apiKey": "late"}),
    ("/api-auth/basic", "basic", {"username": "late", "password": "late"}),
    ("/oauth2/auth", "client", {"client_id": "late", "client_secret": "late"}),
]
# What is there instead when the reconnect ends.
BOBS = {
    "verified": {"type": "API_KEY", "apiKey": "of-bob"},
    "basic": {"type": "BASIC", "username": "of-bob", "password": ""},
    "client": {"type": "OAUTH2_CC", "token": "b", "client_id": "of-bob", "client_secret": "b"},
}


class _Meanwhile:
    """Answers the provider's part, and does something else first, once."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._work: Callable[[], None] | None = work

    def __call__(self, _sent: Sent) -> Any:
        work, self._work = self._work, None
        if work is not None:
            work()
        return json_answer(200, {"access_token": "t"})


def _made_anew(app: App, key: str, connection_id: str, credentials: dict[str, str]) -> None:
    gone = app.delete(f"/connections/{connection_id}?provider_config_key={key}")
    assert gone.status == 200, gone.body
    body = {
        "provider_config_key": key,
        "connection_id": connection_id,
        "connection_config": {"site": "a"},
        "end_user": {"id": "bob"},
        "credentials": credentials,
    }
    made = app.post("/connections", body)
    assert made.status == 201, made.body


def test_a_popup_that_reconnects_does_not_end_on_a_connection_made_anew_under_the_same_id() -> None:
    world = make_world()
    connection_id = world.connected()
    browser = world.browser()
    state = world.begun(browser, world.reconnect_session(connection_id))["state"]
    bobs = {"type": "OAUTH2", "access_token": "of-bob", "refresh_token": "r-bob"}
    _made_anew(world.app, "rot", connection_id, bobs)
    before = world.ctx.store.everything()[tables.CONNECTIONS]

    answer = world.back(browser, state)

    assert answer.status == 400
    assert world.ctx.store.everything()[tables.CONNECTIONS] == before
    assert world.read(connection_id).json()["credentials"]["access_token"] == "of-bob"


def test_a_popup_does_not_end_on_a_connection_made_anew_while_the_code_is_exchanged() -> None:
    world = make_world()
    connection_id = world.connected()
    browser = world.browser()
    state = world.begun(browser, world.reconnect_session(connection_id))["state"]
    bobs = {"type": "OAUTH2", "access_token": "of-bob", "refresh_token": "r-bob"}
    exchange = world.provider.answer_to

    def meanwhile(sent: Sent) -> Any:
        world.provider.answer_to = exchange  # type: ignore[method-assign]
        _made_anew(world.app, "rot", connection_id, bobs)
        return exchange(sent)

    world.provider.answer_to = meanwhile  # type: ignore[method-assign]

    assert world.back(browser, state).status == 400
    assert world.read(connection_id).json()["credentials"]["access_token"] == "of-bob"


@pytest.mark.parametrize(("place", "key", "body"), TYPED)
def test_what_is_typed_in_to_reconnect_does_not_end_on_a_connection_made_anew_meanwhile(
    place: str, key: str, body: dict[str, str]
) -> None:
    world = TypedWorld()
    world.egress.default = json_answer(200, {"access_token": "first"})
    site = {"params[site]": "a"}
    connection_id = world.submit(place, key, body, **site).json()["connectionId"]
    token = world.reconnect(key, connection_id)
    world.egress.default = _Meanwhile(lambda: _made_anew(world.app, key, connection_id, BOBS[key]))

    answer = world.submit(place, key, body, token=token, **site)

    assert (answer.status, answer.code) == (400, "invalid_connection")
    found = world.read(key, connection_id)
    assert "of-bob" in str(found["credentials"])
    assert found["end_user"]["id"] == "bob"


@pytest.mark.parametrize(("place", "key", "body"), TYPED)
def test_a_session_made_for_a_former_connection_cannot_even_begin_on_a_later_one(
    place: str, key: str, body: dict[str, str]
) -> None:
    world = TypedWorld()
    world.egress.default = json_answer(200, {"access_token": "first"})
    site = {"params[site]": "a"}
    connection_id = world.submit(place, key, body, **site).json()["connectionId"]
    token = world.reconnect(key, connection_id)
    _made_anew(world.app, key, connection_id, BOBS[key])

    answer = world.submit(place, key, body, token=token, **site)

    assert (answer.status, answer.code) == (400, "invalid_connection")
    assert "of-bob" in str(world.read(key, connection_id)["credentials"])


def test_the_identity_of_a_connection_outlives_reconnects_and_imports_over_it() -> None:
    world = make_world()
    connection_id = world.connected()
    (before,) = world.connections()
    browser = world.browser()
    state = world.begun(browser, world.reconnect_session(connection_id))["state"]
    over = {"type": "OAUTH2", "access_token": "imported", "refresh_token": "r"}
    body = {"provider_config_key": "rot", "connection_id": connection_id, "credentials": over}
    assert world.app.post("/connections", body).status == 201

    # The same connection, authorized anew meanwhile: the reconnect may still end on it.
    assert world.back(browser, state).status == 200

    (after,) = world.connections()
    assert after["identity"] == before["identity"]
    assert after["generation"] != before["generation"]


def test_a_first_connect_overwrites_no_connection_that_was_imported_under_its_id() -> None:
    world = make_world()
    browser = world.browser()
    state = world.begun(browser, world.session())["state"]
    (attempt,) = world.attempts()
    body = {
        "provider_config_key": "rot",
        "connection_id": attempt["connection_id"],
        "credentials": {"type": "OAUTH2", "access_token": "imported", "refresh_token": "r"},
    }
    assert world.app.post("/connections", body).status == 201

    assert world.back(browser, state).status == 400

    found = world.read(attempt["connection_id"]).json()
    assert found["credentials"]["access_token"] == "imported"


def test_a_new_connection_never_ends_on_one_that_has_its_id_meanwhile() -> None:
    world = make_world()
    transact = world.ctx.store.transact
    theirs: list[str] = []

    def late(operations: Any, token: str | None = None) -> None:
        made = [each.key.pk for each in operations if each.key.sk == tables.CONNECTION]
        if made:
            world.ctx.store.transact = transact
            theirs.append(tables.split_connection_pk(made[0])[2])
            given = {"type": "OAUTH2", "access_token": "imported", "refresh_token": "r"}
            body = {"provider_config_key": "rot", "connection_id": theirs[0], "credentials": given}
            assert world.app.post("/connections", body).status == 201
        transact(operations, token)

    browser = world.browser()
    state = world.begun(browser, world.session())["state"]
    world.ctx.store.transact = late
    page = world.back(browser, state)
    assert page.status == 400
    assert b"Another connection has this id meanwhile" in page.body
    assert "imported" in str(world.read(theirs[0]).json()["credentials"])
    assert len(world.connections()) == 1
