"""Importing connections: dates in their forms, the older flat body, and what the event tells."""

from __future__ import annotations

import json
from typing import Any

import pytest

from keystow.clock import iso
from keystow.store import tables
from tests.integration.connections.world import World
from tests.unit.oauth.doubles import jwt

FLAT: dict[str, Any] = {
    "provider_config_key": "rot",
    "connection_id": "c1",
    "access_token": "at-0",
    "refresh_token": "rt-0",
}
IN_DECEMBER = "2026-12-02T07:28:00.000Z"


@pytest.fixture
def world() -> World:
    world = World()
    definition = {
        "display_name": "Client",
        "categories": ["dev-tools"],
        "auth_mode": "OAUTH2_CC",
        "token_url": "https://client.example/token",
    }
    assert world.app.put("/providers/client", definition).status == 201
    world.integration("client", "client")
    return world


def credentials_of(world: World, key: str = "rot") -> dict[str, Any]:
    found = world.read("c1", key, "&refresh_token=true")
    assert found.status == 200, found.body
    return dict(found.json()["credentials"])


@pytest.mark.parametrize("given", [False, True])
def test_an_imported_token_of_a_client_brings_its_own_end(world: World, given: bool) -> None:
    ends = int(world.ctx.clock.now()) + 600
    credentials = {
        "type": "OAUTH2_CC",
        "token": jwt(exp=ends),
        "client_id": "a",
        "client_secret": "b",
    }
    if given:
        credentials["expires_at"] = IN_DECEMBER
    shown = world.imported("c1", "client", credentials=credentials)
    assert shown["credentials"]["expires_at"] == (IN_DECEMBER if given else iso(ends))


@pytest.mark.parametrize(
    "date",
    [
        IN_DECEMBER,
        "2026-12-02T08:28:00+01:00",
        "Wed, 02 Dec 2026 07:28:00 GMT",
        "2 Dec 2026 07:28:00 +0000",
        1796196480,
        1796196480.0,
        "1796196480",
        1796196480000,
        "1796196480000",
    ],
)
def test_a_flat_import_takes_a_date_in_every_form_that_token_answers_have(
    world: World, date: Any
) -> None:
    made = world.app.post("/connection", {**FLAT, "expires_at": date})
    assert made.status == 201, made.body
    assert made.json()["expires_at"] == date
    assert credentials_of(world)["expires_at"] == IN_DECEMBER


def test_a_flat_import_of_client_credentials_takes_seconds_too(world: World) -> None:
    flat = {
        "provider_config_key": "client",
        "connection_id": "c1",
        "access_token": "t",
        "oauth_client_id_override": "ci",
        "oauth_client_secret_override": "cs",
        "expires_at": 1796196480,
    }
    assert world.app.post("/connection", flat).status == 201
    assert credentials_of(world, "client")["expires_at"] == IN_DECEMBER


@pytest.mark.parametrize(
    "given",
    [
        {"expires_at": "zz"},
        {"expires_at": ""},
        {"expires_at": True},
        {"expires_at": -1},
        {"expires_at": [1]},
        {"expires_at": 10**30},
        {"expires_in": "soon"},
        {"expires_in": -1},
        {"expires_in": "\u00b2"},
        {"expires_in": "9" * 5_000},
    ],
)
def test_a_date_that_is_none_is_named(world: World, given: dict[str, Any]) -> None:
    refused = world.app.post("/connection", {**FLAT, **given})
    assert (refused.status, refused.code) == (400, "invalid_expires_at")
    assert refused.json()["error"]["payload"] == {}
    assert world.listed() == []


NEVER_IN_NET = "9999-12-31T23:59:59.9999999Z"


def test_an_import_takes_the_last_moment_that_a_date_can_say(world: World) -> None:
    assert world.app.post("/connection", {**FLAT, "expires_at": NEVER_IN_NET}).status == 201
    assert credentials_of(world)["expires_at"] == "9999-12-31T23:59:59.999Z"
    credentials = {"type": "OAUTH2", "access_token": "at-0", "expires_at": NEVER_IN_NET}
    shown = world.imported("c2", "rot", credentials=credentials)
    assert shown["credentials"]["expires_at"] == "9999-12-31T23:59:59.999Z"


def test_a_flat_import_says_when_its_token_ends_or_that_it_never_does(world: World) -> None:
    for given in ({}, {"no_expiration": False}, {"no_expiration": "true"}):
        refused = world.app.post("/connection", {**FLAT, **given})
        assert (refused.status, refused.code) == (400, "missing_expires_at")
    assert world.listed() == []
    assert world.app.post("/connection", {**FLAT, "no_expiration": True}).status == 201
    assert "expires_at" not in credentials_of(world)
    assert world.app.post("/connection", {**FLAT, "expires_in": 60}).status == 201
    assert credentials_of(world)["expires_at"] == "2026-01-01T00:01:00.000Z"


def test_the_token_answer_of_a_flat_import_is_kept_as_it_came(world: World) -> None:
    raw = {"access_token": "at-0", "refresh_token": "rt-0", "scope": "a b", "team": {"id": 1}}
    flat = {**FLAT, "expires_at": IN_DECEMBER, "raw": raw}
    made = world.app.post("/connection", flat)
    assert made.json()["raw"] == raw
    assert credentials_of(world)["raw"] == raw
    assert "rt-0" not in world.read("c1", "rot").body.decode()
    refused = world.app.post("/connection", {**flat, "raw": "text"})
    assert (refused.status, refused.issues) == (400, [("invalid_type", ["raw"])])


@pytest.mark.parametrize(
    "date", [IN_DECEMBER, 1796196480000, "Wed, 02 Dec 2026 07:28:00 GMT", "2 Dec 2026 07:28 GMT"]
)
def test_an_import_takes_a_date_as_javascript_does(world: World, date: Any) -> None:
    given = {"type": "OAUTH2", "access_token": "at", "expires_at": date}
    world.imported("c1", "rot", credentials=given)
    assert credentials_of(world)["expires_at"] == IN_DECEMBER
    body = {"provider_config_key": "rot", "credentials": {**given, "expires_at": "zz"}}
    refused = world.app.post("/connections", body)
    assert refused.issues == [("invalid_type", ["credentials", "expires_at"])]


def test_only_a_session_puts_an_end_user_into_an_event(world: World) -> None:
    """Whoever imports knows whom; a receiver reads from it that somebody has just connected."""

    def last() -> dict[str, Any]:
        items = world.ctx.store.everything()[tables.EVENTS]
        events = [each for each in items if each["sk"] == "event"]
        return dict(json.loads(max(events, key=lambda each: int(each["created_at"]))["body"]))

    world.imported("c1", end_user={"id": "u1"})
    assert "endUser" not in last()
    assert last()["tags"] == {"end_user_id": "u1"}
    world.ctx.clock.advance(1)
    body = {"connection_id": "c1", "integration_id": "pat", "end_user": {"id": "u2"}}
    token = world.app.post("/connect/sessions/reconnect", body).json()["data"]["token"]
    path = f"/api-auth/api-key/pat?connect_session_token={token}"
    assert world.app.post(path, {"apiKey": "new"}, key=None).status == 200
    assert last()["endUser"]["endUserId"] == "u2"
    world.ctx.clock.advance(1)
    world.imported("c1")
    assert last()["operation"] == "override"
    assert "endUser" not in last()


@pytest.mark.parametrize("size", [5_000, 17_000, 65_536])
def test_every_imported_token_may_be_as_large_as_a_fetched_one(world: World, size: int) -> None:
    token = "t" * size
    client = {"client_id": "ci", "client_secret": "cs"}
    for key, credentials in (
        ("rot", {"type": "OAUTH2", "access_token": token, "refresh_token": token}),
        ("client", {"type": "OAUTH2_CC", "token": token, **client}),
    ):
        body = {"provider_config_key": key, "connection_id": "c1", "credentials": credentials}
        made = world.app.post("/connections", body)
        assert made.status == 201, made.body
        found = credentials_of(world, key)
        assert found.get("access_token", found.get("token")) == token


def test_a_token_beyond_the_limit_is_refused_by_name(world: World) -> None:
    credentials = {"type": "OAUTH2", "access_token": "t" * 65_537}
    answer = world.app.post(
        "/connections", {"provider_config_key": "rot", "credentials": credentials}
    )
    assert (answer.status, answer.issues) == (400, [("too_big", ["credentials", "access_token"])])
