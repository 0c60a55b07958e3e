"""A host that a connection names gets no secret of the app."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.authorization_server import AuthorizationServer
from tests.integration.authorization.popup import World, make_world

if TYPE_CHECKING:
    from keystow.egress.client import Answer
    from tests.support import Sent

SUFFIXED: dict[str, Any] = {
    "token_url": "https://${connectionConfig.site}.rotating.example/token",
    "connection_config": {"site": {"title": "Site", "pattern": "^[a-z]+$"}},
}
SELF_HOSTED: dict[str, Any] = {
    "authorization_url": "${connectionConfig.url}/authorize",
    "token_url": "${connectionConfig.url}/token",
    "revocation_url": "${connectionConfig.url}/revoke",
    "client_per_connection": True,
    "connection_config": {"url": {"title": "Your address"}},
    "credentials": {
        "oauth_client_id_override": {"title": "Client id"},
        "oauth_client_secret_override": {"title": "Client secret", "secret": True},
    },
}
OWN = {
    "credentials[oauth_client_id_override]": "own-id",
    "credentials[oauth_client_secret_override]": "own-secret",
}
URL = {"params[url]": "https://git.acme.example"}


@pytest.fixture(autouse=True)
def sent(monkeypatch: pytest.MonkeyPatch) -> list[Sent]:
    """Every request that goes out."""
    found: list[Sent] = []
    answer = AuthorizationServer.answer_to

    def answer_to(self: AuthorizationServer, request: Sent) -> Answer:
        found.append(request)
        return answer(self, request)

    monkeypatch.setattr(AuthorizationServer, "answer_to", answer_to)
    return found


def finish(world: World, token: str, **params: str) -> None:
    """Go as far as it goes: to the end where it begins."""
    browser = world.browser()
    answer = world.start(browser, token, **params)
    if answer.status == 302:
        query = parse_qs(urlsplit(answer.headers["location"]).query)
        world.back(browser, query["state"][0])


@pytest.mark.parametrize("free", [{}, {"pattern": "^.+$"}, {"format": "hostname"}])
def test_an_entry_that_lets_an_end_user_name_the_token_host_is_refused(free: Any) -> None:
    world = make_world(SUFFIXED)
    for template in ("${connectionConfig.site}/token", "https://${connectionConfig.site}/token"):
        fields = {"site": {"title": "Site", **free}}
        body = {
            "display_name": "Free",
            "auth_mode": "OAUTH2",
            "authorization_url": "https://free.example/authorize",
            "token_url": template,
            "connection_config": fields,
        }
        answer = world.app.put("/providers/free", body)
        assert (answer.status, answer.code) == (400, "invalid_body")


@pytest.mark.parametrize(
    "params",
    [
        {"params[site]": "evil.example/"},
        {"params[site]": "evil.example"},
        {"params[connectionConfig.site]": "evil.example"},
        {"params[site][a]": "evil"},
    ],
)
def test_a_value_that_does_not_keep_to_its_field_reaches_no_host(
    params: dict[str, str], sent: list[Sent]
) -> None:
    world = make_world(SUFFIXED)
    finish(world, world.session(), **params)
    assert not sent
    assert not world.connections()


@pytest.mark.parametrize("site", [5, {"a": "evil"}, ["evil"], "evil.example/", "x.y"])
def test_what_a_backend_fixes_or_imports_keeps_to_its_field_too(
    site: Any, sent: list[Sent]
) -> None:
    world = make_world(SUFFIXED)
    fixed = {"rot": {"connection_config": {"site": site}}}
    finish(world, world.session(integrations_config_defaults=fixed))
    body = {
        "provider_config_key": "rot",
        "connection_id": "c1",
        "credentials": {"type": "OAUTH2", "access_token": "a", "refresh_token": "r"},
        "connection_config": {"site": site},
    }
    world.app.post("/connections", body)
    world.read("c1", "&force_refresh=true")
    assert not sent


def test_a_connection_with_a_client_of_its_own_names_its_host(sent: list[Sent]) -> None:
    world = make_world(SELF_HOSTED)
    browser = world.browser()
    state = world.begun(browser, world.session(), **URL, **OWN)["state"]
    assert world.back(browser, state).status == 200
    assert sent[0].url == "https://git.acme.example/token"
    assert sent[0].form().items() >= {"client_id": "own-id", "client_secret": "own-secret"}.items()
    connection = world.frames()[-1]["connection_id"]
    assert world.read(connection, "&force_refresh=true").status == 200
    assert world.app.delete(f"/connections/{connection}?provider_config_key=rot").status == 200
    assert [each.url.rpartition("/")[2] for each in sent[:3]] == ["token", "token", "revoke"]
    assert "app-secret" not in str(sent)


def test_without_a_client_of_its_own_nothing_begins() -> None:
    world = make_world(SELF_HOSTED)
    answer = world.start(world.browser(), world.session(), **URL)
    assert answer.status != 302
    assert b"client id and secret of its own" in answer.body
    assert not world.attempts()


def test_an_imported_connection_without_a_client_never_uses_the_apps(sent: list[Sent]) -> None:
    world = make_world(SELF_HOSTED)
    body: dict[str, Any] = {
        "provider_config_key": "rot",
        "connection_id": "c1",
        "credentials": {"type": "OAUTH2", "access_token": "a", "refresh_token": "r"},
        "connection_config": {"url": "https://git.acme.example"},
    }
    assert world.app.post("/connections", body).code == "invalid_body"
    body["credentials"]["config_override"] = {"client_id": "own-id"}
    assert world.app.post("/connections", body).code == "invalid_body"
    body["credentials"] = {"type": "OAUTH2", "access_token": "a"}
    assert world.app.post("/connections", body).status == 201
    path = "/connections/c1?provider_config_key=rot"
    assert world.app.delete(path).status == 200
    assert not sent


@pytest.mark.parametrize(
    "client",
    [
        {"client_id": "own-id", "client_secret": ""},
        {"client_id": "", "client_secret": "own-secret"},
        {"client_id": " \u200b", "client_secret": "own-secret"},
        {"client_id": "own-id", "client_secret": "\n"},
    ],
)
def test_an_import_with_half_a_client_brings_no_client_of_its_own(
    client: dict[str, str], sent: list[Sent]
) -> None:
    world = make_world(SELF_HOSTED)
    credentials = {"type": "OAUTH2", "access_token": "a", "refresh_token": "r"}
    body = {
        "provider_config_key": "rot",
        "credentials": {**credentials, "config_override": client},
        "connection_config": {"url": "https://git.acme.example"},
    }
    assert world.app.post("/connections", body).code == "invalid_body"
    assert not sent


def test_an_integration_of_such_a_provider_needs_no_client() -> None:
    world = make_world(SELF_HOSTED, credentials={})
    browser = world.browser()
    state = world.begun(browser, world.session(), **URL, **OWN)["state"]
    assert world.back(browser, state).status == 200
