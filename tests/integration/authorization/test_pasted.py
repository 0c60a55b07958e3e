"""What was verified is what is stored and served, however it was pasted."""

from __future__ import annotations

from base64 import b64decode
from typing import Any

import pytest

from tests.integration.authorization.popup import END_USER, make_world
from tests.integration.authorization.test_typed import World
from tests.support import json_answer

AROUND = [" {}", "{}\n", "\u00a0{}\u200b", "\ufeff{}\r\n", "\t{} \u2060"]
LONG = "k" * 4_096


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize("form", AROUND)
def test_an_api_key_is_tried_stored_and_served_without_the_space_around_it(
    world: World, form: str
) -> None:
    world.egress.answers = [200]
    body = {"apiKey": form.format("k-1")}
    made = world.submit("/api-auth/api-key", "verified", body, **{"params[site]": "a"})
    assert made.status == 200, made.body
    assert world.egress.sent[0].headers["authorization"] == "Token k-1"
    found = world.read("verified", made.json()["connectionId"])
    assert found["credentials"]["apiKey"] == "k-1"


@pytest.mark.parametrize("form", AROUND)
def test_a_user_name_is_cut_and_a_password_is_kept_as_typed(world: World, form: str) -> None:
    world.egress.answers = [200]
    password = form.format("p w")
    body = {"username": form.format("u 1"), "password": password}
    made = world.submit("/api-auth/basic", "basic", body)
    assert made.status == 200, made.body
    sent = world.egress.sent[0].headers["authorization"].removeprefix("Basic ")
    assert b64decode(sent).decode() == f"u 1:{password}"
    found = world.read("basic", made.json()["connectionId"])
    assert found["credentials"] == {"type": "BASIC", "username": "u 1", "password": password}


@pytest.mark.parametrize("form", AROUND)
def test_a_typed_client_is_used_without_the_space_around_it(world: World, form: str) -> None:
    world.egress.answers = [json_answer(200, {"access_token": "t", "expires_in": 60})]
    body = {"client_id": form.format("id"), "client_secret": form.format("secret")}
    made = world.submit("/oauth2/auth", "client", body)
    assert made.status == 200, made.body
    form_sent = world.egress.sent[0].form()
    assert (form_sent["client_id"], form_sent["client_secret"]) == ("id", "secret")
    stored = world.read("client", made.json()["connectionId"])["credentials"]
    assert (stored["client_id"], stored["client_secret"]) == ("id", "secret")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"client_id": " \u200b", "client_secret": "s"}, "missing_client_id"),
        ({"client_id": "i", "client_secret": "\n"}, "missing_client_secret"),
        ({"client_id": "i", "client_secret": ["s"]}, "invalid_body"),
        ({"client_id": "i", "client_secret": "s" * 4_097}, "invalid_body"),
        ({"client_id": "i" * 256, "client_secret": "s"}, "invalid_body"),
    ],
)
def test_a_client_of_nothing_or_too_much_is_refused(
    world: World, body: dict[str, Any], code: str
) -> None:
    answer = world.submit("/oauth2/auth", "client", body)
    assert (answer.status, answer.code) == (400, code)
    assert world.egress.sent == []


def test_an_api_key_of_white_space_is_refused(world: World) -> None:
    answer = world.submit("/api-auth/api-key", "verified", {"apiKey": " \u00a0\u200b"})
    assert (answer.status, answer.issues) == (400, [("too_small", ["apiKey"])])


@pytest.mark.parametrize("imported", [False, True])
def test_keys_names_and_passwords_have_up_to_4096_characters(world: World, imported: bool) -> None:
    for place, key, credentials in (
        ("/api-auth/api-key", "verified", {"apiKey": LONG}),
        ("/api-auth/basic", "basic", {"username": LONG, "password": LONG}),
    ):
        world.egress.answers = [200, 200]
        kind = "API_KEY" if "apiKey" in credentials else "BASIC"
        for given, status in (
            (credentials, 201 if imported else 200),
            ({name: value + "x" for name, value in credentials.items()}, 400),
        ):
            if imported:
                answer = world.app.post(
                    "/connections",
                    {
                        "provider_config_key": key,
                        "connection_config": {"site": "a"},
                        "credentials": {"type": kind, **given},
                    },
                )
            else:
                answer = world.submit(place, key, given, **{"params[site]": "a"})
            assert answer.status == status, answer.body


@pytest.mark.parametrize("form", AROUND)
def test_an_imported_credential_is_stored_as_it_is_tried(world: World, form: str) -> None:
    world.egress.answers = [200]
    made = world.app.post(
        "/connections",
        {
            "provider_config_key": "verified",
            "connection_config": {"site": "a"},
            "credentials": {"type": "API_KEY", "apiKey": form.format("k-2")},
        },
    )
    assert made.status == 201, made.body
    assert world.egress.sent[0].headers["authorization"] == "Token k-2"
    assert made.json()["credentials"]["apiKey"] == "k-2"
    flat = {"provider_config_key": "verified", "connection_id": "f", "api_key": form.format("k-3")}
    made = world.app.post("/connection", {**flat, "connection_config": {"site": "a"}})
    assert made.status == 201, made.body
    assert world.read("verified", "f")["credentials"]["apiKey"] == "k-3"


@pytest.mark.parametrize("form", AROUND)
def test_a_pasted_client_reaches_the_provider_without_the_space_around_it(form: str) -> None:
    world = make_world()
    client = {"client_id": form.format("app"), "client_secret": form.format("app-secret")}
    body = {"credentials": {"type": "OAUTH2", **client}}
    assert world.app.patch("/integrations/rot", body).status == 200
    shown = world.app.get("/integrations/rot?include=credentials").json()["data"]["credentials"]
    assert (shown["client_id"], shown["client_secret"]) == ("app", "app-secret")
    browser = world.browser()
    override = {
        "credentials[oauth_client_id_override]": form.format("own"),
        "credentials[oauth_client_secret_override]": form.format("own-secret"),
    }
    assert world.begun(browser, world.session(), **override)["client_id"] == "own"
    assert world.begun(browser, world.session(end_user=END_USER))["client_id"] == "app"
