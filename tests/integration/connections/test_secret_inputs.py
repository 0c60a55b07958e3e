"""Inputs that an entry marks as secret are shown to those who may read credentials."""

from __future__ import annotations

from typing import Any

import pytest

from keystow.store import tables
from tests.integration.connections.world import World

READ = "environment:connections:read"
CONFIG = {
    "open": "o",
    "pin": "SECRET-1",
    "hook.url": "SECRET-2",
    "hook": {"url": "SECRET-3", "channel": "c"},
    "connectionConfig.pin": "SECRET-4",
    "apiKey": "SECRET-5",
    "credentials.apiKey": "SECRET-6",
    "partner": "SECRET-7",
    "free": {"pin": "mine"},
}
OWN: dict[str, Any] = {
    "display_name": "Own",
    "auth_mode": "API_KEY",
    "proxy": {"base_url": "https://own.example.com"},
    "connection_config": {
        "open": {"title": "Open"},
        "pin": {"title": "PIN", "secret": True},
        "hook.url": {"automated": True, "secret": True},
        "hook.channel": {"automated": True},
    },
    "integration_config": {"partner": {"title": "P", "secret": True, "optional": True}},
}


@pytest.fixture
def world() -> World:
    world = World()
    assert world.app.put("/providers/own", OWN).status == 201
    world.integration("own", "own")
    world.imported("c1", "own", connection_config=CONFIG)
    return world


def config(world: World, *scopes: str) -> Any:
    answer = world.read("c1", "own", key=world.key(*scopes))
    assert answer.status == 200, answer.body
    return answer.json()["connection_config"]


def test_a_key_that_may_not_read_credentials_gets_no_secret_input(world: World) -> None:
    shown = config(world, READ)
    assert shown == {"open": "o", "hook": {"channel": "c"}, "free": {"pin": "mine"}}
    assert "SECRET" not in str(world.read("c1", "own", key=world.key(READ)).body)


def test_a_key_that_may_read_credentials_gets_them(world: World) -> None:
    assert config(world, "environment:connections:read_credentials") == CONFIG


def test_the_webhook_address_of_a_slack_connection_is_such_an_input(world: World) -> None:
    client = {"type": "OAUTH2", "client_id": "id", "client_secret": "app-secret"}
    world.integration("slack", "slack", credentials=client)
    body = {
        "provider_config_key": "slack",
        "connection_id": "s1",
        "credentials": {"type": "OAUTH2", "access_token": "xoxb-1"},
        "connection_config": {"incoming_webhook.url": "https://hooks.example/SECRET"},
    }
    assert world.app.post("/connections", body).status == 201
    answer = world.read("s1", "slack", key=world.key(READ))
    assert answer.json()["connection_config"] == {}


def test_without_the_providers_entry_nothing_is_taken_for_open(world: World) -> None:
    world.ctx.store.delete(tables.custom_provider(world.environment, "own"))
    world.ctx.clock.advance(31)
    assert config(world, READ) == {}


def test_lists_and_webhooks_hold_no_inputs_at_all(world: World) -> None:
    assert "SECRET" not in str(world.page())
    assert "SECRET" not in str(
        [item["body"] for item in world.ctx.store.everything()[tables.EVENTS] if "body" in item]
    )


def test_the_entry_is_read_once_in_a_while_and_for_such_keys_only(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = world.key("environment:connections:read_credentials")
    part = world.key(READ)
    for key in (whole, part):
        world.read("c1", "own", key=key)
    found: list[str] = []
    for name in ("get", "query"):
        real = getattr(world.ctx.store, name)

        def counted(*given: Any, _real: Any = real, _name: str = name, **options: Any) -> Any:
            found.append(_name)
            return _real(*given, **options)

        monkeypatch.setattr(world.ctx.store, name, counted)
    for key in (whole, part):
        found.clear()
        world.read("c1", "own", key=key)
        assert found == ["query"]
    world.ctx.clock.advance(31)
    found.clear()
    world.read("c1", "own", key=whole)
    without_entry = len(found)
    world.ctx.clock.advance(31)
    found.clear()
    world.read("c1", "own", key=part)
    assert len(found) == without_entry + 1
