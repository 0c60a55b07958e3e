"""An integration with a redirect URI of its own: how it is asked for, shown and kept."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest

from keystow.store import Put
from keystow.value import replace
from tests.integration.authorization.popup import World, make_world
from tests.support import seed_environment

SHARED = "https://keystow.test/oauth/callback"


@pytest.fixture
def world() -> World:
    return make_world()


def shown(world: World, key: str = "rot") -> dict[str, Any]:
    found: dict[str, Any] = world.app.get(f"/integrations/{key}").json()["data"]
    return found


def test_the_answer_says_which_redirect_uri_to_register(world: World) -> None:
    assert shown(world)["callback_url"] == SHARED
    assert shown(world)["own_callback"] is False
    (listed,) = world.app.get("/integrations").json()["data"]
    assert listed["callback_url"] == SHARED
    assert world.begun(world.browser(), world.session())["redirect_uri"] == SHARED


def test_an_integration_is_switched_to_its_own_and_back(world: World) -> None:
    changed = world.app.patch("/integrations/rot", {"own_callback": True}).json()["data"]
    assert changed["own_callback"] is True
    assert changed["callback_url"].startswith(f"{SHARED}/")
    asked = world.begun(world.browser(), world.session())
    assert asked["redirect_uri"] == shown(world)["callback_url"] == changed["callback_url"]
    assert world.app.patch("/integrations/rot", {"display_name": "R"}).status == 200
    assert shown(world)["own_callback"] is True
    back = world.app.patch("/integrations/rot", {"own_callback": False}).json()["data"]
    assert (back["own_callback"], back["callback_url"]) == (False, SHARED)


def test_it_stays_what_was_registered_when_the_integration_is_renamed(world: World) -> None:
    before = world.app.patch("/integrations/rot", {"own_callback": True}).json()["data"]
    renamed = world.app.patch("/integrations/rot", {"unique_key": "other"})
    assert renamed.status == 200
    assert shown(world, "other")["callback_url"] == before["callback_url"]


def test_another_integration_that_takes_the_old_name_does_not_take_it_over(world: World) -> None:
    before = world.app.patch("/integrations/rot", {"own_callback": True}).json()["data"]
    world.app.patch("/integrations/rot", {"unique_key": "other"})
    client = {"type": "OAUTH2", "client_id": "i", "client_secret": "s"}
    body = {"provider": "rotating", "unique_key": "rot", "credentials": client}
    made = world.app.post("/integrations", {**body, "own_callback": True}).json()["data"]
    assert made["own_callback"] is True
    assert made["callback_url"] != before["callback_url"]


def test_it_belongs_to_one_environment(world: World) -> None:
    from tests.app import App
    from tests.authorization_server import DEFINITION

    other = App(world.ctx, seed_environment(world.ctx, id="env2", name="prod").secret_key)
    assert other.put("/providers/rotating", DEFINITION).status == 201
    client = {"type": "OAUTH2", "client_id": "i", "client_secret": "s"}
    body = {"provider": "rotating", "unique_key": "rot", "credentials": client}
    theirs = other.post("/integrations", {**body, "own_callback": True}).json()["data"]
    assert world.app.patch("/integrations/rot", {"own_callback": True}).status == 200
    browser = world.browser()
    state = world.begun(browser, world.session())["state"]
    place = urlsplit(theirs["callback_url"]).path
    assert browser.get(f"{place}?code=code-1&state={state}").status == 400
    assert world.provider.requests == []


@pytest.mark.parametrize(
    ("address", "own"),
    [
        ("https://login.customer.example/cb", "https://login.customer.example/cb/{}"),
        ("https://login.customer.example/cb/", "https://login.customer.example/cb/{}"),
        ("https://login.customer.example/cb?to=k", "https://login.customer.example/cb/{}?to=k"),
    ],
)
def test_it_stands_below_the_environments_own_address(world: World, address: str, own: str) -> None:
    environment = replace(world.seeded.environment, callback_url=address)
    world.ctx.store.put(Put(environment.key, environment.as_item()))
    assert shown(world)["callback_url"] == address
    world.app.patch("/integrations/rot", {"own_callback": True})
    place = shown(world)["callback_url"].partition("/cb/")[2].partition("?")[0]
    assert shown(world)["callback_url"] == own.format(place)
    asked = world.begun(world.browser(), world.session())
    assert asked["redirect_uri"] == own.format(place)


def test_an_attempt_that_began_before_the_switch_still_ends_where_it_was_sent(world: World) -> None:
    browser = world.browser()
    state = world.begun(browser, world.session())["state"]
    assert world.app.patch("/integrations/rot", {"own_callback": True}).status == 200
    assert world.back(browser, state).status == 200


FREE = {"type": "string", "title": "Host", "pattern": "^[a-z0-9.-]+$"}
CHOSEN = [
    ("https://${connectionConfig.host}/authorize", FREE),
    ("https://${connectionConfig.host}.com/authorize", FREE),
    ("https://auth.example.com/authorize || https://${connectionConfig.host}/authorize", FREE),
    ("https://${connectionConfig.host}/authorize", {"type": "string", "title": "Host"}),
    ("https://${connectionConfig.host}/a", {**FREE, "pattern": "^.*example\\.com$"}),
    ("https://${connectionConfig.host}/a", {**FREE, "pattern": "example\\.com$"}),
]
KEPT = [
    ("https://auth.example.com/authorize", FREE),
    ("https://${connectionConfig.host}.example.com/authorize", FREE),
    ("https://auth.example.com/${connectionConfig.host}/authorize", FREE),
    ("https://${connectionConfig.host}/a", {**FREE, "pattern": "^[a-z]+\\.example\\.com$"}),
    ("https://id.example.${connectionConfig.host}/a", {**FREE, "enum": ["com", "eu"]}),
]


@pytest.mark.parametrize(("url", "field"), CHOSEN)
def test_where_each_connection_chooses_the_host_the_callback_is_always_its_own(
    url: str, field: dict[str, Any]
) -> None:
    world = make_world({"authorization_url": url, "connection_config": {"host": field}})
    assert shown(world)["own_callback"] is True
    assert shown(world)["callback_url"].startswith(f"{SHARED}/")
    refused = world.app.patch("/integrations/rot", {"own_callback": False})
    assert (refused.status, refused.issues) == (400, [("custom", ["own_callback"])])


@pytest.mark.parametrize(("url", "field"), KEPT)
def test_where_the_host_stays_in_the_providers_domain_the_callback_is_the_shared_one(
    url: str, field: dict[str, Any]
) -> None:
    world = make_world({"authorization_url": url, "connection_config": {"host": field}})
    assert shown(world)["callback_url"] == SHARED


@pytest.mark.parametrize("key", ["slack", "github", "zendesk", "shopify", "salesforce", "zoho"])
def test_built_in_providers_are_registered_with_the_shared_one(key: str) -> None:
    assert shown(make_world(provider=key))["callback_url"] == SHARED


def test_what_cannot_be_honoured_is_refused(world: World) -> None:
    body = {"provider": "airtable-pat", "unique_key": "key", "own_callback": True}
    refused = world.app.post("/integrations", body)
    assert (refused.status, refused.issues) == (400, [("custom", ["own_callback"])])
    assert world.app.post("/integrations", {**body, "own_callback": False}).status == 200
    assert shown(world, "key")["callback_url"] is None
    for given in (None, "yes", 1):
        assert world.app.patch("/integrations/rot", {"own_callback": given}).status == 400


def test_a_browser_sees_neither(world: World) -> None:
    token = world.session()
    headers = {"authorization": f"Bearer {token}"}
    (listed,) = world.app.get("/integrations", headers=headers).json()["data"]
    assert not {"callback_url", "own_callback"} & set(listed)
