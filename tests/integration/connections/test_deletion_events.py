"""The event of a deletion: when there is one, and what it tells."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from keystow.store import StoreUnavailable, gates, tables
from tests.authorization_server import answer
from tests.integration.authorization.popup import make_world
from tests.integration.connections.world import Refreshing, World

if TYPE_CHECKING:
    from keystow.egress.client import Answer

ADA = {"id": "ada-1815", "email": "ada@example.com"}


def settings(world: World, **changed: Any) -> None:
    wanted = {"primary_url": "https://hooks.example.com/keystow", **changed}
    assert world.app.put("/environment/webhook-settings", wanted).status == 200
    world.ctx.clock.advance(31)


def deleted(world: World, connection_id: str = "c1", key: str = "pat") -> None:
    path = f"/connections/{connection_id}?provider_config_key={key}"
    assert world.app.delete(path).status == 200


def told(world: World, operation: str = "deletion") -> list[dict[str, Any]]:
    rows = world.ctx.store.everything()[tables.EVENTS]
    bodies = [json.loads(row["body"]) for row in rows if row["sk"] == "event"]
    return [body for body in bodies if body["operation"] == operation]


def test_the_deletion_of_one_connection_is_told() -> None:
    world = World()
    settings(world, on_connection_deletion=True)
    world.imported("c1", end_user=ADA, tags={"team": "engines"})
    world.ctx.queues.take_webhooks()
    deleted(world)
    assert told(world) == [
        {
            "type": "auth",
            "from": "nango",
            "operation": "deletion",
            "success": True,
            "environment": "env1",
            "provider": "untried",
            "providerConfigKey": "pat",
            "connectionId": "c1",
            "authMode": "API_KEY",
        }
    ]
    assert len(world.ctx.queues.take_webhooks()) == 1
    assert "ada" not in json.dumps(world.ctx.store.everything()[tables.EVENTS])


def test_the_deletion_of_one_connection_is_told_to_its_own_receiver() -> None:
    world = World()
    settings(world, on_connection_deletion=True)
    world.imported("c1", webhook_url_override="https://tenant.example.com/y")
    deleted(world)
    rows = world.ctx.store.everything()[tables.EVENTS]
    of_it = [each for each in rows if each["operation"] == "deletion" and "url" in each]
    assert [each["url"] for each in of_it] == ["https://tenant.example.com/y"]


def test_nobody_hears_of_a_deletion_where_the_setting_is_off() -> None:
    world = World()
    settings(world, on_connection_deletion=False)
    world.imported("c1")
    deleted(world)
    assert told(world) == []


def test_the_deletion_of_an_integration_or_environment_is_not_told_for_each_connection() -> None:
    world = World()
    settings(world, on_connection_deletion=True)
    world.imported("c1")
    assert world.app.delete("/integrations/pat").status == 200
    assert told(world) == []


def test_a_deletion_that_finds_nothing_is_not_told() -> None:
    world = World()
    settings(world, on_connection_deletion=True)
    world.imported("c1")
    deleted(world)
    path = "/connections/c1?provider_config_key=pat"
    assert world.app.delete(path).status == 400
    assert len(told(world)) == 1


def test_a_connection_that_could_not_be_removed_is_not_told_as_deleted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()
    settings(world, on_connection_deletion=True)
    world.imported("c1")

    def away(*_: Any) -> None:
        raise StoreUnavailable("away")

    with monkeypatch.context() as fault:
        fault.setattr(world.ctx.store, "transact", away)
        assert world.app.delete("/connections/c1?provider_config_key=pat").status == 503
    assert told(world) == []
    deleted(world)
    assert len(told(world)) == 1


def test_an_environment_that_is_being_deleted_gets_no_event_more() -> None:
    world = World()
    settings(world, on_connection_deletion=True)
    world.imported("c1")
    world.ctx.store.transact(gates.shutting_environment("env1", 1))
    assert world.app.delete("/connections/c1?provider_config_key=pat").status == 401
    assert told(world) == []


def test_a_recovery_is_told_only_where_the_failure_was() -> None:
    world = Refreshing(expires_in=7_200)
    settings(world, on_auth_refresh_error=False)
    world.provider.family_dead = True
    world.ctx.clock.advance(7_300)
    assert world.read().status == 400
    world.provider.family_dead = False
    settings(world, on_auth_refresh_error=True)
    world.ctx.clock.advance(86_400)
    assert world.read("&force_refresh=true").status == 200
    assert told(world, "refresh") == []


def test_an_event_of_an_integration_that_is_gone_says_unknown() -> None:
    popup = make_world()
    browser = popup.browser()
    state = popup.begun(browser, popup.session())["state"]

    def away(_: int) -> Answer:
        assert popup.app.delete("/integrations/rot").status == 200
        popup.ctx.clock.advance(31)
        return answer(500, {})

    popup.provider.fault = away
    assert popup.back(browser, state).status >= 400
    (body,) = popup.webhooks()
    assert (body["authMode"], body["provider"]) == ("unknown", "unknown")
    assert (body["operation"], body["success"]) == ("creation", False)
