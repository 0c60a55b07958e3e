"""Inputs that an integration fixes: for every connection, whoever makes it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.integration.authorization.popup import World, make_world

INPUTS: dict[str, Any] = {
    "site": {"title": "Site", "pattern": "^[a-z0-9-]+$", "suffix": ".rotating.example"},
    "team": {"title": "Team", "optional": True},
    "partner": {"title": "Partner key", "secret": True, "optional": True},
    "learnt": {"automated": True},
}
HOSTED: dict[str, Any] = {
    "connection_config": INPUTS,
    "authorization_url": "https://${connectionConfig.site}.rotating.example/authorize",
}
TYPED: dict[str, Any] = {
    "display_name": "Typed",
    "auth_mode": "API_KEY",
    "proxy": {"base_url": "https://${connectionConfig.site}.rotating.example/api"},
    "connection_config": INPUTS,
}
OPEN: dict[str, Any] = {
    "display_name": "Anywhere",
    "auth_mode": "API_KEY",
    "proxy": {
        "base_url": "https://${connectionConfig.host}",
        "headers": {"x-partner": "${connectionConfig.partner}"},
    },
    "connection_config": {
        "host": {"title": "Host", "format": "hostname"},
        "partner": {"title": "Partner key", "secret": True},
    },
}
SECRET = "our-partner-secret"


@pytest.fixture
def world() -> World:
    world = make_world(HOSTED)
    for name, definition in (("typed", TYPED), ("open", OPEN)):
        assert world.app.put(f"/providers/{name}", definition).status == 201
    return world


def fix(world: World, key: str = "rot", **values: str) -> dict[str, Any]:
    answer = world.app.patch(f"/integrations/{key}", {"custom": values})
    assert answer.status == 200, answer.body
    return dict(answer.json()["data"])


def typed(world: World, **custom: str) -> None:
    body = {"provider": "typed", "unique_key": "typed", "custom": custom}
    made = world.app.post("/integrations", body)
    assert made.status == 200, made.body


def submitted(world: World, params: str = "", **session: Any) -> dict[str, Any]:
    query = f"connect_session_token={world.session(**session)}{params}"
    made = world.app.post(f"/api-auth/api-key/typed?{query}", {"apiKey": "k"}, key=None)
    assert made.status == 200, made.body
    path = f"/connections/{made.json()['connectionId']}?provider_config_key=typed"
    return dict(world.app.get(path).json()["connection_config"])


def test_the_answer_names_what_is_fixed_and_shows_no_value(world: World) -> None:
    shown = fix(world, site="https://Acme.rotating.example/home", partner=SECRET)
    assert shown["preconfigured_connection_config"] == ["partner", "site"]
    token = world.session()
    for answer in (
        world.app.get("/integrations/rot?include=credentials"),
        world.app.get("/integrations", key=token),
    ):
        text = json.dumps(answer.json())
        assert '"preconfigured_connection_config": ["partner", "site"]' in text
        assert SECRET not in text
        assert "acme" not in text
    assert SECRET not in repr(world.ctx.store.everything())


@pytest.mark.parametrize("member", ["custom", "integration_config"])
def test_an_input_can_be_fixed_at_creation_in_either_member(world: World, member: str) -> None:
    body = {"provider": "typed", "unique_key": "typed", member: {"site": "acme", "team": " a "}}
    made = world.app.post("/integrations", body)
    assert made.json()["data"]["preconfigured_connection_config"] == ["site", "team"]
    assert submitted(world) == {"site": "acme", "team": "a"}


def test_an_empty_text_frees_an_input_and_others_stay(world: World) -> None:
    fix(world, site="acme", team="a")
    assert fix(world, site="")["preconfigured_connection_config"] == ["team"]
    renamed = world.app.patch("/integrations/rot", {"display_name": "R"}).json()["data"]
    assert renamed["preconfigured_connection_config"] == ["team"]
    assert "preconfigured_connection_config" not in fix(world, team=" ")


@pytest.mark.parametrize("spelled", ["site", "connectionConfig.site", "credentials.site"])
def test_a_value_of_a_browser_for_a_fixed_input_is_ignored(world: World, spelled: str) -> None:
    fix(world, site="acme")
    asked = world.start(world.browser(), world.session(), **{f"params[{spelled}]": "evil"})
    assert asked.status == 302, asked.body
    assert asked.headers["location"].startswith("https://acme.rotating.example/authorize?")
    typed(world, site="acme")
    assert submitted(world, f"&params[{spelled}]=evil&params[team]=t") == {
        "site": "acme",
        "team": "t",
    }


def test_a_popup_needs_nothing_more_where_all_is_fixed(world: World) -> None:
    assert world.start(world.browser(), world.session()).status == 400
    fix(world, site="acme")
    connection = world.connected()
    assert world.read(connection).json()["connection_config"]["site"] == "acme"


def test_a_session_that_names_a_fixed_input_is_refused(world: World) -> None:
    fix(world, site="acme")
    defaults = {"rot": {"connection_config": {"site": "acme", "team": "t"}}}
    body = {"end_user": {"id": "u"}, "integrations_config_defaults": defaults}
    refused = world.app.post("/connect/sessions", body)
    assert (refused.status, refused.code) == (400, "invalid_body")
    (issue,) = refused.json()["error"]["errors"]
    assert issue["path"] == ["integrations_config_defaults", "rot", "connection_config", "site"]


def test_what_is_fixed_after_a_session_was_made_wins_over_the_session(world: World) -> None:
    defaults = {"rot": {"connection_config": {"site": "other"}}}
    token = world.session(integrations_config_defaults=defaults)
    fix(world, site="acme")
    asked = world.start(world.browser(), token)
    assert asked.headers["location"].startswith("https://acme.rotating.example/authorize?")


def test_an_import_gets_what_is_fixed_and_another_value_is_refused(world: World) -> None:
    fix(world, site="acme")
    body: dict[str, Any] = {
        "provider_config_key": "rot",
        "connection_id": "c1",
        "credentials": {"type": "OAUTH2", "access_token": "a"},
    }
    for config in (None, {}, {"site": ""}, {"site": "ACME.rotating.example"}):
        given = body if config is None else {**body, "connection_config": config}
        made = world.app.post("/connections", given)
        assert made.status == 201, made.body
        assert made.json()["connection_config"] == {"site": "acme"}
    for other in ("other", {"x": 1}, 1):
        refused = world.app.post("/connections", {**body, "connection_config": {"site": other}})
        assert (refused.status, refused.code) == (400, "invalid_body")
        assert refused.json()["error"]["errors"][0]["path"] == ["connection_config", "site"]


def test_an_import_is_not_answered_with_a_secret_of_the_owner(world: World) -> None:
    fix(world, site="acme", partner=SECRET)
    body = {
        "provider_config_key": "rot",
        "connection_id": "imported",
        "connection_config": {"team": "red"},
        "credentials": {"type": "OAUTH2", "access_token": "a", "refresh_token": "r"},
    }
    made = world.app.post("/connections", body)
    assert made.status == 201, made.body
    assert made.json()["connection_config"] == {"site": "acme", "team": "red"}
    assert SECRET.encode() not in made.body
    read = world.read("imported").json()["connection_config"]
    assert read["partner"] == SECRET, "who may read credentials sees it"


def test_connections_of_before_keep_their_values_until_they_are_authorized_anew(
    world: World,
) -> None:
    typed(world)
    query = f"connect_session_token={world.session()}&params[site]=old"
    made = world.app.post(f"/api-auth/api-key/typed?{query}", {"apiKey": "k"}, key=None).json()
    path = f"/connections/{made['connectionId']}?provider_config_key=typed"
    fix(world, "typed", site="acme")
    assert world.app.get(path).json()["connection_config"] == {"site": "old"}
    again = {"connection_id": made["connectionId"], "integration_id": "typed"}
    token = world.app.post("/connect/sessions/reconnect", again).json()["data"]["token"]
    anew = world.app.post(
        f"/api-auth/api-key/typed?connect_session_token={token}", {"apiKey": "k"}, key=None
    )
    assert anew.status == 200
    assert world.app.get(path).json()["connection_config"] == {"site": "acme"}


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("site", "a b", "invalid_format"),
        ("site", "a_b", "invalid_format"),
        ("learnt", "x", "custom"),
    ],
)
def test_a_value_that_no_connection_could_have_cannot_be_fixed(
    world: World, name: str, value: str, code: str
) -> None:
    refused = world.app.patch("/integrations/rot", {"custom": {name: value}})
    assert (refused.status, refused.code) == (400, "invalid_body")
    (issue,) = refused.json()["error"]["errors"]
    assert (issue["code"], issue["path"]) == (code, ["custom", name])


def test_a_secret_is_not_fixed_where_a_connection_could_lead_it_away(world: World) -> None:
    def attempt(**custom: str) -> Any:
        body = {"provider": "open", "unique_key": "open", "custom": custom}
        return world.app.post("/integrations", body)

    refused = attempt(partner=SECRET)
    assert (refused.status, refused.code) == (400, "invalid_body")
    assert "host" in refused.json()["error"]["errors"][0]["message"]
    assert SECRET not in json.dumps(refused.json())
    assert attempt(partner=SECRET, host="partner.example").status == 200
    freed = world.app.patch("/integrations/open", {"custom": {"host": ""}})
    assert (freed.status, freed.code) == (400, "invalid_body")


def test_a_secret_is_not_fixed_where_browsers_would_see_it(world: World) -> None:
    shown = {**HOSTED, "authorization_params": {"partner": "${connectionConfig.partner}"}}
    definition = {**json.loads(world.app.get("/providers/rotating").body)["data"], **shown}
    definition = {k: v for k, v in definition.items() if k not in {"name", "logo_url"}}
    assert world.app.put("/providers/seen", definition).status == 201
    credentials = {"type": "OAUTH2", "client_id": "i", "client_secret": "s"}
    body = {"provider": "seen", "unique_key": "seen", "credentials": credentials}
    refused = world.app.post("/integrations", {**body, "custom": {"partner": SECRET}})
    assert (refused.status, refused.code) == (400, "invalid_body")


def test_settings_of_the_owner_are_no_inputs_of_connections(world: World) -> None:
    definition = {**TYPED, "integration_config": {"plan": {"title": "Plan"}}}
    assert world.app.put("/providers/both", definition).status == 201
    body = {"provider": "both", "unique_key": "both"}
    made = world.app.post(
        "/integrations", {**body, "integration_config": {"plan": "p", "site": "acme"}}
    )
    assert made.status == 200, made.body
    assert made.json()["data"]["preconfigured_connection_config"] == ["site"]
    assert made.json()["data"]["preconfigured_credentials"] == ["plan"]
