"""``GET /config/{providerConfigKey}``: integrations in the older shape."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from keystow.integrations import config
from tests.contract.replay import seed_key
from tests.integration.connections.world import World

PEM = "-----BEGIN RSA PRIVATE KEY-----\nMARKED\n-----END RSA PRIVATE KEY-----"


@pytest.fixture
def world() -> World:
    return World()


def read(world: World, key: str, query: str = "?include_creds=true") -> dict[str, Any]:
    found = world.app.get(f"/config/{key}{query}")
    assert found.status == 200, found.body
    assert list(found.json()) == ["config"]
    return dict(found.json()["config"])


def test_without_credentials_it_says_what_it_is_and_no_more(world: World) -> None:
    plain = {"unique_key": "rot", "provider": "rotating", "syncs": [], "actions": []}
    assert read(world, "rot", "") == plain
    assert read(world, "rot", "?include_creds=false") == plain


def test_with_credentials_it_has_the_older_clients_shape(world: World) -> None:
    world.rotating("c1", expires_in=3600)
    world.ctx.clock.advance(1)
    world.rotating("c2", expires_in=3600)
    world.imported("elsewhere")
    shown = read(world, "rot")
    listed = shown.pop("connections")
    assert [each["connection_id"] for each in listed] == ["c2", "c1"]
    assert set(listed[0]) == {"id", "connection_id", "environment_id", "provider_config_key"}
    assert listed[0]["environment_id"] == world.seeded.environment.number
    assert shown == {
        "unique_key": "rot",
        "provider": "rotating",
        "syncs": [],
        "actions": [],
        "auth_mode": "OAUTH2",
        "client_id": "id",
        "client_secret": "app-secret",
        "custom": None,
        "scopes": None,
        "app_link": None,
        "created_at": "2026-01-01T00:00:00.000Z",
        "docs": "https://rotating.example/docs",
        "has_webhook": False,
        "has_webhook_user_defined_secret": False,
        "webhook_secret": None,
        "webhook_url": None,
        "connection_count": 2,
    }


def test_connections_are_counted_beyond_those_that_are_listed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        world.imported(f"c{number}")
    monkeypatch.setattr(config, "MOST_CONNECTIONS", 3)
    shown = read(world, "pat")
    assert (len(shown["connections"]), shown["connection_count"]) == (3, 4)


def test_webhooks_of_the_provider_have_an_address_and_a_secret(world: World) -> None:
    definition = world.app.get("/providers/rotating").json()["data"]
    talking = {
        **{name: value for name, value in definition.items() if name not in {"name", "logo_url"}},
        "webhook_routing_script": "talking",
        "webhook_user_defined_secret": True,
    }
    assert world.app.put("/providers/talking", talking).status == 201
    client = {"type": "OAUTH2", "client_id": "i", "client_secret": "s", "webhook_secret": "w"}
    world.integration("talks", "talking", credentials=client)
    shown = read(world, "talks")
    assert (shown["has_webhook"], shown["has_webhook_user_defined_secret"]) == (True, True)
    assert shown["webhook_secret"] == "w"
    uuid = world.seeded.environment.uuid
    assert shown["webhook_url"] == f"https://keystow.test/webhook/{uuid}/talks"
    include = world.app.get("/integrations/talks?include=webhook").json()["data"]
    assert include["webhook_url"] == shown["webhook_url"]


@pytest.mark.parametrize("mode", ["APP", "CUSTOM"])
def test_the_webhook_secret_of_an_app_is_made_of_its_key(world: World, mode: str) -> None:
    import base64

    own = {
        "display_name": "App",
        "auth_mode": mode,
        "authorization_url": "https://app.example/install",
        "token_url": "https://app.example/token",
        "proxy": {"base_url": "https://app.example"},
    }
    assert world.app.put("/providers/app", own).status == 201
    app = {"type": mode, "app_id": "7", "app_link": "https://app.example/a", "private_key": PEM}
    user = {"client_id": "i", "client_secret": "s"} if mode == "CUSTOM" else {}
    world.integration("app", "app", credentials={**app, **user})
    key = base64.b64encode(PEM.encode()).decode()
    wanted = hashlib.sha256(f"7{key}https://app.example/a".encode()).hexdigest()
    assert read(world, "app")["webhook_secret"] == wanted


def test_who_may_not_read_client_secrets_is_refused_them(world: World) -> None:
    key = seed_key(world.ctx, ("environment:integrations:read",))
    assert world.app.get("/config/rot", key=key).status == 200
    refused = world.app.get("/config/rot?include_creds=true", key=key)
    assert (refused.status, refused.code) == (403, "forbidden")
    assert b"app-secret" not in refused.body


def test_an_integration_that_is_not_there_is_told_as_older_clients_know_it(world: World) -> None:
    found = world.app.get("/config/nope")
    assert (found.status, found.code) == (400, "unknown_provider_config")
    assert found.json()["error"]["payload"] == {}
    assert world.app.get("/config/a%00b").code == "invalid_uri_params"
    assert world.app.get("/config/rot?include_creds=perhaps").code == "invalid_query_params"
    assert world.app.get("/config/rot?creds=true").code == "invalid_query_params"
