"""A browser's session sees what its forms are made of, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from keystow.sessions.service import MASK
from tests.integration.authorization.popup import END_USER, World, make_world

INTERNAL: dict[str, Any] = {
    "display_name": "Internal ERP",
    "auth_mode": "API_KEY",
    "proxy": {
        "base_url": "https://erp.corp.example",
        "headers": {"x-partner-key": "PARTNER-SECRET", "authorization": "Bearer ${apiKey}"},
    },
    "connection_config": {
        "site": {"title": "Site", "prefix": "https://", "example": "acme"},
        "pin": {"title": "PIN", "secret": True},
        "learnt": {"automated": True},
    },
    "integration_config": {"plan": {"title": "Plan", "default_value": "INTERNAL-PLAN"}},
}


@pytest.fixture
def world() -> World:
    world = make_world()
    assert world.app.put("/providers/internal", INTERNAL).status == 201
    body = {"provider": "internal", "unique_key": "erp", "integration_config": {"plan": "p"}}
    assert world.app.post("/integrations", body).status == 200
    return world


def names(world: World, token: str, query: str = "") -> list[str]:
    found = world.app.get(f"/providers{query}", key=token)
    assert found.status == 200
    return [each["name"] for each in found.json()["data"]]


def test_a_session_sees_the_providers_of_its_own_integrations_only(world: World) -> None:
    token = world.session(allowed_integrations=["rot"])
    assert names(world, token) == ["rotating"]
    assert names(world, token, "?search=internal") == []
    assert names(world, token, "?search=github") == []
    assert world.app.get("/providers/rotating", key=token).status == 200
    for other in ("internal", "github", "nope"):
        answer = world.app.get(f"/providers/{other}", key=token)
        assert (answer.status, answer.code) == (404, "not_found")


def test_a_session_without_a_list_sees_what_there_are_integrations_of(world: World) -> None:
    assert names(world, world.session()) == ["internal", "rotating"]
    assert len(world.app.get("/providers").json()["data"]) > 30


def test_a_reconnect_session_sees_the_one_provider_it_is_for(world: World) -> None:
    connection = world.connected()
    assert names(world, world.reconnect_session(connection)) == ["rotating"]


def test_a_session_sees_what_a_form_needs_and_no_requests(world: World) -> None:
    token = world.session(allowed_integrations=["erp"])
    answer = world.app.get("/providers/internal", key=token)
    data = answer.json()["data"]
    assert set(data) == {
        "name",
        "connect",
        "logo_url",
        "display_name",
        "auth_mode",
        "credentials",
        "connection_config",
    }
    assert data["connection_config"]["site"] == {
        "type": "string",
        **INTERNAL["connection_config"]["site"],
    }
    assert "learnt" not in data["connection_config"]
    assert b"PARTNER-SECRET" not in answer.body
    assert b"INTERNAL-PLAN" not in answer.body
    listed = world.app.get("/providers", key=token).json()["data"]
    assert listed == [data]
    whole = world.app.get("/providers/internal").json()["data"]
    assert whole["proxy"] == INTERNAL["proxy"]


def test_a_secret_that_a_session_fixes_is_not_told_to_the_browser(world: World) -> None:
    fixed = {"erp": {"connection_config": {"site": "acme", "pin": "TOP-SECRET"}}}
    token = world.session(integrations_config_defaults=fixed)
    answer = world.app.get("/connect/session", key=token)
    shown = answer.json()["data"]["integrations_config_defaults"]
    assert shown == {"erp": {"connection_config": {"site": "acme", "pin": MASK}}}
    assert b"TOP-SECRET" not in answer.body
    posted = world.app.post(
        f"/api-auth/api-key/erp?connect_session_token={token}&params[pin]={MASK}",
        {"apiKey": "k"},
        key=None,
    )
    assert posted.status == 200, posted.body
    path = f"/connections/{posted.json()['connectionId']}?provider_config_key=erp"
    config = world.app.get(path).json()["connection_config"]
    assert config == {"site": "acme", "pin": "TOP-SECRET"}, "what the session fixed is what counts"


def test_whoever_only_lists_integrations_by_session_gets_no_more(world: World) -> None:
    token = world.session(end_user=END_USER, allowed_integrations=["rot"])
    for path in ("/connections", "/integrations/rot", "/activity", "/providers/rotating/templates"):
        assert world.app.get(path, key=token).status == 401
