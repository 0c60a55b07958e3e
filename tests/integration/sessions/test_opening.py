"""All that a page begins with, in one answer: what it holds, and that it is what the routes say."""

from __future__ import annotations

import json
import zlib
from typing import Any

import pytest

from keystow.sessions.opening import FORMS
from tests.app import Result
from tests.integration.connections.world import World


@pytest.fixture
def world() -> World:
    return World()


def token_of(world: World, **body: Any) -> str:
    made = world.app.post("/connect/sessions", {"end_user": {"id": "u1"}, **body})
    assert made.status == 201, made.body
    return str(made.json()["data"]["token"])


def ask(world: World, token: str, path: str = "/connect/session?include=page", **more: str) -> Any:
    found = world.app.get(path, key=token, headers=more)
    assert found.status == 200, found.body
    return found.json()["data"]


def test_a_page_gets_in_one_answer_what_three_routes_say(world: World) -> None:
    token = token_of(world, integrations_config_defaults={"rot": {"user_scopes": "a"}})
    opened = ask(world, token)
    described = ask(world, token, "/connect/session")
    assert {name: opened[name] for name in described} == described
    assert set(opened) - set(described) == {"integrations", "providers", "status"}
    assert opened["integrations"] == ask(world, token, "/integrations")
    assert {each["unique_key"] for each in opened["integrations"]} == {"rot", "pat"}
    assert opened["status"] == ask(world, token, "/connect/session/status")
    assert opened["providers"] == {
        name: ask(world, token, f"/providers/{name}") for name in ("rotating", "untried")
    }


def test_it_names_what_the_session_allows_and_nothing_else(world: World) -> None:
    opened = ask(world, token_of(world, allowed_integrations=["pat"]))
    assert [each["unique_key"] for each in opened["integrations"]] == ["pat"]
    assert list(opened["providers"]) == ["untried"]
    nothing = ask(world, token_of(world, allowed_integrations=[]))
    assert (nothing["integrations"], nothing["providers"]) == ([], {})


def test_an_outcome_that_is_known_comes_along(world: World) -> None:
    token = token_of(world)
    path = f"/api-auth/api-key/pat?connect_session_token={token}"
    made = world.app.post(path, {"apiKey": "k"}, key=None)
    assert made.status == 200
    opened = ask(world, token)
    assert opened["status"]["status"] == "connected"
    assert opened["status"]["connection_id"] == made.json()["connectionId"]


def test_definitions_of_ten_providers_come_along_and_only_of_those_that_can_be_connected(
    world: World,
) -> None:
    for number in range(FORMS + 2):
        world.integration(f"more-{number}", _provider(world, f"more-{number:02d}"))
    world.integration("again", "more-00")
    world.integration("signed", _provider(world, "aaa", installation="outbound"))
    opened = ask(world, token_of(world))
    assert len(opened["integrations"]) == FORMS + 6
    assert len(opened["providers"]) == FORMS
    assert "aaa" not in opened["providers"]


def _provider(world: World, name: str, **more: Any) -> str:
    definition = {
        "display_name": name,
        "categories": ["dev-tools"],
        "auth_mode": "API_KEY",
        "proxy": {"base_url": "https://x.example", "headers": {"authorization": "${apiKey}"}},
        **more,
    }
    made = world.app.put(f"/providers/{name}", definition)
    assert made.status == 201, made.body
    return name


def test_a_longer_answer_is_compressed_for_whoever_takes_that(world: World) -> None:
    token = token_of(world)
    path = "/connect/session?include=page"
    plain = world.app.get(path, key=token)
    packed = world.app.get(path, key=token, headers={"accept-encoding": "gzip, br"})
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.headers["content-type"] == plain.headers["content-type"]
    for answer in (plain, packed):
        assert answer.headers["vary"] == "accept-encoding"
        assert answer.headers["cache-control"] == "no-store"
    assert json.loads(zlib.decompress(packed.body, 31)) == plain.json()
    assert len(packed.body) < len(plain.body) / 2


def test_nothing_that_an_owner_keeps_is_in_it(world: World) -> None:
    text = str(ask(world, token_of(world)))
    for kept in ("app-secret", "callback_url", "own_callback", "credentials_label", "https://untr"):
        assert kept not in text


@pytest.mark.parametrize("query", ["include=all", "include=", "include=page&include=page", "x=1"])
def test_another_query_is_refused(world: World, query: str) -> None:
    found: Result = world.app.get(f"/connect/session?{query}", key=token_of(world))
    assert (found.status, found.code) == (400, "invalid_query_params")


def test_without_a_session_there_is_nothing(world: World) -> None:
    found = world.app.get("/connect/session?include=page", key="nango_connect_session_" + "0" * 64)
    assert (found.status, found.code) == (401, "unknown_connect_session_token")
