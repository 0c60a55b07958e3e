"""Who sees what of a connection, and what a moved ciphertext is worth."""

from __future__ import annotations

import json
from typing import Any

import pytest

from keystow.store import Put, tables
from keystow.store.operations import Key
from tests.integration.connections.world import World
from tests.integration.robustness.routes import (
    BY_ACCOUNT,
    BY_SESSION,
    OPEN,
    all_routes,
    method_of,
    path_of,
)

READ = "environment:connections:read"
NEEDED = {
    "GET /connections": "environment:connections:list",
    "GET /connection": "environment:connections:list",
    "POST /connections": "environment:connections:create",
    "POST /connection": "environment:connections:create",
    "GET /connections/{connectionId+}": READ,
    "GET /connection/{connectionId+}": READ,
    "PATCH /connections/{connectionId+}": "environment:connections:update",
    "POST /connections/metadata": "environment:connections:update",
    "PATCH /connections/metadata": "environment:connections:update",
    "POST /connection/metadata": "environment:connections:update",
    "PATCH /connection/metadata": "environment:connections:update",
    "POST /connection/{connectionId+}": "environment:connections:update",
    "PATCH /connection/{connectionId+}": "environment:connections:update",
    "DELETE /connections/{connectionId+}": "environment:connections:delete",
    "DELETE /connection/{connectionId+}": "environment:connections:delete",
    "DELETE /end-users/{endUserId+}": "environment:end_users:delete",
    "POST /incidents": "environment:incidents:create",
    "GET /incidents": "environment:incidents:read",
    "GET /incidents/{incidentId}": "environment:incidents:read",
    "POST /connect/sessions": "environment:connect_sessions:write",
    "POST /connect/sessions/reconnect": "environment:connect_sessions:write",
}


@pytest.mark.parametrize("route", NEEDED)
def test_every_route_needs_its_scope_and_says_which(route: str) -> None:
    world = World()
    world.imported("c1")
    others = [scope for scope in sorted(set(NEEDED.values())) if scope != NEEDED[route]]
    method, path = route.split(maxsplit=1)[0], path_of(route)
    refused = world.app.call(method, path, {}, key=world.key(*others))
    assert (refused.status, refused.code) == (403, "forbidden")
    assert NEEDED[route] in refused.json()["error"]["message"]
    allowed = world.app.call(method, path, {}, key=world.key(NEEDED[route]))
    assert allowed.status != 403


def test_a_route_that_several_scopes_open_names_all_of_them() -> None:
    world = World()
    refused = world.app.get("/connections", key=world.key(READ))
    assert refused.json()["error"]["message"] == (
        "Insufficient scope. Required one of: environment:connections:list or "
        "environment:connections:list_credentials"
    )


def test_without_the_scope_for_credentials_there_are_none_and_none_is_renewed() -> None:
    world = World()
    world.imported(
        "c1",
        "rot",
        credentials={
            "type": "OAUTH2",
            "access_token": "marked-token",
            "refresh_token": "rt-0",
            "expires_at": "2020-01-01T00:00:00Z",
        },
        connection_config={"refresh_token": "marked-config", "region": "eu"},
    )
    found = world.read("c1", "rot", key=world.key(READ))
    assert found.status == 200
    assert found.json()["credentials"] == {}
    assert found.json()["connection_config"] == {"region": "eu"}
    assert b"marked" not in found.body
    assert world.provider.requests == []
    for flag in ("force_refresh", "refresh_token", "refresh_github_app_jwt_token"):
        refused = world.read("c1", "rot", f"&{flag}=true", key=world.key(READ))
        assert (refused.status, refused.code) == (403, "forbidden")
        assert world.read("c1", "rot", f"&{flag}=false", key=world.key(READ)).status == 200


def test_a_refresh_token_is_shown_only_when_asked_for_wherever_it_stands() -> None:
    world = World()
    config = {
        "userCredentials": {"refresh_token": "hidden", "x": [{"Refresh-Token": "hidden"}]},
        "refreshToken": "hidden",
        "REFRESH_TOKEN": "hidden",
        "refresh_token_life": "shown",
    }
    world.imported("c1", "rot", connection_config=config)
    plain = world.read("c1", "rot")
    assert b"hidden" not in plain.body
    assert b"rt-0" not in plain.body
    assert plain.json()["connection_config"]["refresh_token_life"] == "shown"
    whole = world.read("c1", "rot", "&refresh_token=true").json()
    assert whole["credentials"]["refresh_token"] == "rt-0"
    assert whole["credentials"]["raw"]["refresh_token"] == "rt-0"
    assert whole["connection_config"] == config


MARK = "zq7"


def other_environments_state(world: World) -> str:
    everything = world.ctx.store.everything()
    return json.dumps(
        [
            item
            for table in (tables.CONNECTIONS, tables.REGISTRY)
            for item in everything[table]
            if not item["pk"].startswith(("mine", "key#"))
        ],
        default=repr,
        sort_keys=True,
    )


@pytest.mark.parametrize("route", [each for each in all_routes() if each not in OPEN | BY_ACCOUNT])
def test_a_key_of_one_environment_sees_and_changes_nothing_of_another(route: str) -> None:
    """Everything of the other environment has a mark; no answer may show it, no call move it."""
    other = World(environment="other")
    other.integration(f"{MARK}-key", "untried")
    other.imported(
        f"{MARK}-c", f"{MARK}-key", metadata={"m": MARK}, end_user={"id": MARK}, tags={"t": MARK}
    )
    provider = {
        "display_name": MARK,
        "categories": ["dev-tools"],
        "auth_mode": "API_KEY",
        "proxy": {"base_url": "https://own.example"},
    }
    assert other.app.put("/providers/own", provider).status == 201
    settings = {
        "primary_url": f"https://{MARK}.example",
        "secondary_url": None,
        "on_auth_creation": True,
        "on_auth_refresh_error": True,
        "on_connection_deletion": True,
    }
    assert other.app.put("/environment/webhook-settings", settings).status == 200
    mine = World(of=other, environment="mine")
    session = {"end_user": {"id": "u"}}
    token = mine.app.post("/connect/sessions", session).json()["data"]["token"]
    before = other_environments_state(mine)
    path = path_of(
        route,
        providerConfigKey=f"{MARK}-key",
        connectionId=f"{MARK}-c",
        endUserId=MARK,
        uniqueKey=f"{MARK}-key",
        provider="own",
    )
    bodies: list[Any] = [
        {},
        {"connection_id": f"{MARK}-c", "provider_config_key": f"{MARK}-key", "metadata": {"a": 1}},
        {"connection_id": f"{MARK}-c", "integration_id": f"{MARK}-key"},
        {"end_user": {"id": "u"}, "allowed_integrations": [f"{MARK}-key"]},
        {
            "connection_id": f"{MARK}-c",
            "provider_config_key": f"{MARK}-key",
            "credentials": {"type": "API_KEY", "apiKey": "k"},
        },
        {"apiKey": "k"},
        {"username": "u", "password": "p"},
        {"client_id": "u", "client_secret": "p"},
        {"tags": {"a": "b"}},
        {"display_name": "x"},
        {"provider": "own", "unique_key": "stolen"},
    ]
    queries = ["", f"provider_config_key={MARK}-key", f"endUserId={MARK}", f"connectionId={MARK}-c"]
    if path.startswith(("/oauth/connect/", "/api-auth/", "/auth/", "/oauth2/auth/")):
        queries = [f"connect_session_token={token}"]
    key = token if route in BY_SESSION else mine.seeded.secret_key
    method = method_of(route)
    headers = {"provider-config-key": f"{MARK}-key", "connection-id": f"{MARK}-c"}
    for query in queries:
        for body in bodies if method != "GET" else [None]:
            found = mine.app.call(method, f"{path}?{query}", body, key=key, headers=headers)
            assert found.status < 500
            shown = found.body.decode()
            sent = json.dumps(body) + path
            if found.status < 400:
                assert MARK not in shown or (MARK in sent and method == "PUT"), (query, body, shown)
            assert "https://zq7.example" not in shown
            assert '"m": "zq7"' not in shown
    assert other_environments_state(mine) == before


def test_a_session_of_one_environment_connects_nothing_of_another() -> None:
    other = World(environment="other")
    other.integration("only-there", "untried")
    mine = World(of=other, environment="mine")
    token = mine.app.post("/connect/sessions", {"end_user": {"id": "u"}}).json()["data"]["token"]
    refused = mine.app.post(
        f"/api-auth/api-key/only-there?connect_session_token={token}", {"apiKey": "k"}, key=None
    )
    assert (refused.status, refused.code) == (404, "unknown_provider_config")
    listed = mine.app.get("/integrations", headers={"authorization": f"Bearer {token}"})
    assert {each["unique_key"] for each in listed.json()["data"]} == {"rot", "pat"}


def secret_of(world: World, connection_id: str) -> dict[str, Any]:
    return next(
        item
        for item in world.ctx.store.everything()[tables.CONNECTIONS]
        if item["sk"] == tables.CONNECTION_SECRET and item["pk"].endswith(f"#{connection_id}")
    )


def replace_secret(world: World, item: dict[str, Any], **changes: Any) -> None:
    changed = {**item, **changes}
    world.ctx.store.put(Put(Key(tables.CONNECTIONS, item["pk"], item["sk"]), changed))


@pytest.mark.parametrize("expired", [False, True])
@pytest.mark.parametrize("query", ["", "&force_refresh=true"])
def test_a_ciphertext_moved_to_another_connection_does_not_open(expired: bool, query: str) -> None:
    world = World()
    times = {"expires_at": "2020-01-01T00:00:00Z"} if expired else {}
    for name in ("victim", "thief"):
        credentials = {
            "type": "OAUTH2",
            "access_token": f"at-{name}",
            "refresh_token": f"rt-{name}",
            **times,
        }
        world.imported(name, "rot", credentials=credentials)
    stolen = secret_of(world, "victim")
    own = secret_of(world, "thief")
    moved = {
        name: value for name, value in stolen.items() if name not in {"pk", "sk", "connection_id"}
    }
    replace_secret(world, own, **moved)
    found = world.read("thief", "rot", query)
    assert (found.status, found.code) == (424, "invalid_credentials")
    assert b"victim" not in found.body
    assert world.provider.requests == []
    assert world.app.delete("/connections/thief?provider_config_key=rot").status == 200


def test_a_ciphertext_that_was_changed_does_not_open() -> None:
    world = World()
    world.imported("c1")
    own = secret_of(world, "c1")
    envelope = next(
        (name, value)
        for name, value in own.items()
        if isinstance(value, dict) and any(isinstance(each, bytes) for each in value.values())
    )
    changed = {
        name: (value[:-1] + bytes([value[-1] ^ 1]) if isinstance(value, bytes) else value)
        for name, value in envelope[1].items()
    }
    replace_secret(world, own, **{envelope[0]: changed})
    found = world.read("c1")
    assert (found.status, found.code) == (424, "invalid_credentials")
    assert world.imported("c1")["credentials"]["apiKey"] == "k", "importing anew heals it"
