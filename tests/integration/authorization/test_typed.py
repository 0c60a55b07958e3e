"""Credentials that an end user types in: the right test request, the right connection."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, quote, urlencode

import pytest

from keystow.egress.errors import EgressFailed
from tests.app import App, Result
from tests.integration.authorization.popup import END_USER
from tests.support import FakeEgress, json_answer, make_context, seed_environment

VERIFIED: dict[str, Any] = {
    "display_name": "Verified",
    "categories": ["dev-tools"],
    "auth_mode": "API_KEY",
    "docs": "https://verified.example/docs",
    "proxy": {
        "base_url": "https://${connectionConfig.site}.verified.example/api",
        "headers": {"authorization": "Token ${apiKey}"},
        "verification": {"endpoints": ["/me", "/account"], "method": "GET"},
    },
    "credentials": {"apiKey": {"type": "string", "title": "API key", "secret": True}},
    "connection_config": {
        "site": {"type": "string", "title": "Site", "pattern": "^[a-z0-9-]+$"},
    },
}
BASIC: dict[str, Any] = {
    **VERIFIED,
    "auth_mode": "BASIC",
    "proxy": {
        "base_url": "https://basic.example",
        "verification": {"endpoints": ["/me"]},
    },
    "credentials": {
        "username": {"type": "string", "title": "User"},
        "password": {"type": "string", "title": "Password", "secret": True},
    },
}
CLIENT: dict[str, Any] = {
    "display_name": "Client",
    "categories": ["dev-tools"],
    "auth_mode": "OAUTH2_CC",
    "docs": "https://client.example/docs",
    "token_url": "https://client.example/token",
}
DEFINITIONS = {"verified": VERIFIED, "basic": BASIC, "client": CLIENT}


class World:
    def __init__(self) -> None:
        self.egress = FakeEgress()
        self.ctx: Any = make_context(egress=self.egress)
        seeded = seed_environment(self.ctx)
        self.app = App(self.ctx, seeded.secret_key)
        for name, definition in DEFINITIONS.items():
            made = self.app.put(f"/providers/{name}", definition)
            assert made.status == 201, made.body
        for name in [*DEFINITIONS, "unauthenticated"]:
            body = {"provider": name, "unique_key": name}
            assert self.app.post("/integrations", body).status == 200

    def session(self, **body: Any) -> str:
        found = self.app.post("/connect/sessions", {"end_user": END_USER, **body})
        assert found.status == 201, found.body
        return str(found.json()["data"]["token"])

    def submit(
        self, place: str, key: str, body: Any, *, token: str | None = None, **query: str
    ) -> Result:
        given = {"connect_session_token": token or self.session(), **query}
        return self.app.post(f"{place}/{quote(key)}?{urlencode(given)}", body, key=None)

    def read(self, key: str, connection_id: str) -> dict[str, Any]:
        path = f"/connections/{connection_id}?provider_config_key={key}&refresh_token=true"
        found = self.app.get(path)
        assert found.status == 200, found.body
        return dict(found.json())

    def stored(self) -> list[Any]:
        return list(self.ctx.store.everything()["connections"])

    def webhooks(self) -> list[Any]:
        return [each for each in self.ctx.store.everything()["events"] if each["sk"] == "event"]


@pytest.fixture
def world() -> World:
    return World()


def test_a_good_api_key_is_tried_as_the_providers_entry_says_and_stored(world: World) -> None:
    world.egress.answers = [200]
    made = world.submit("/api-auth/api-key", "verified", {"apiKey": "k-1"}, **{"params[site]": "a"})
    assert made.status == 200, made.body
    assert list(made.json()) == ["connectionId", "providerConfigKey"]
    (sent,) = world.egress.sent
    assert (sent.method, sent.url) == ("GET", "https://a.verified.example/api/me")
    assert sent.headers["authorization"] == "Token k-1"
    found = world.read("verified", made.json()["connectionId"])
    assert found["credentials"] == {"type": "API_KEY", "apiKey": "k-1"}
    assert found["connection_config"] == {"site": "a"}
    assert found["metadata"] == {}
    assert found["end_user"]["email"] == "u1@example.com"
    assert len(world.webhooks()) == 1


def test_the_first_endpoint_that_takes_the_key_is_enough(world: World) -> None:
    world.egress.answers = [404, 204]
    made = world.submit("/api-auth/api-key", "verified", {"apiKey": "k"}, **{"params[site]": "a"})
    assert made.status == 200
    assert [each.url.rsplit("/", 1)[1] for each in world.egress.sent] == ["me", "account"]


@pytest.mark.parametrize("answers", [[401, 401], [500, EgressFailed("lost", sent=True)]])
def test_a_key_that_no_endpoint_takes_is_refused_and_told(world: World, answers: list[Any]) -> None:
    world.egress.answers = answers
    made = world.submit("/api-auth/api-key", "verified", {"apiKey": "bad"}, **{"params[site]": "a"})
    assert (made.status, made.code) == (400, "connection_test_failed")
    assert world.stored() == []
    (webhook,) = world.webhooks()
    assert '"success":false' in webhook["body"]
    assert "bad" not in made.body.decode().replace("bad_", "")


@pytest.mark.parametrize("site", ["evil.example/", "a b", "a@evil.example#", "A"])
def test_an_input_that_would_lead_elsewhere_is_refused_before_anything_is_sent(
    world: World, site: str
) -> None:
    made = world.submit("/api-auth/api-key", "verified", {"apiKey": "k"}, **{"params[site]": site})
    assert (made.status, made.code) == (400, "invalid_query_params")
    assert made.issues == [("invalid_format", ["params", "site"])]
    assert world.egress.sent == []
    assert world.stored() == []


def test_a_missing_input_is_a_failed_test_not_a_fault(world: World) -> None:
    made = world.submit("/api-auth/api-key", "verified", {"apiKey": "k"})
    assert (made.status, made.code) == (400, "connection_test_failed")
    assert world.egress.sent == []


def test_a_password_is_tried_with_basic_authentication(world: World) -> None:
    world.egress.answers = [200]
    made = world.submit("/api-auth/basic", "basic", {"username": "u", "password": "p"})
    assert made.status == 200, made.body
    assert world.egress.sent[0].headers["authorization"] == "Basic dTpw"
    found = world.read("basic", made.json()["connectionId"])
    assert found["credentials"] == {"type": "BASIC", "username": "u", "password": "p"}


def test_no_credential_needs_no_test(world: World) -> None:
    made = world.submit("/auth/unauthenticated", "unauthenticated", None)
    assert made.status == 200
    found = world.read("unauthenticated", made.json()["connectionId"])
    assert found["credentials"] == {}
    assert world.egress.sent == []


def test_a_client_is_tried_by_getting_a_token(world: World) -> None:
    world.egress.answers = [json_answer(200, {"access_token": "t", "expires_in": 3600})]
    body = {"client_id": "ci", "client_secret": "cs"}
    made = world.submit("/oauth2/auth", "client", body)
    assert made.status == 200, made.body
    assert list(made.json()) == ["providerConfigKey", "connectionId"]
    (sent,) = world.egress.sent
    form = {name: values[0] for name, values in parse_qs(sent.body.decode()).items()}
    assert form == {"grant_type": "client_credentials", "client_id": "ci", "client_secret": "cs"}
    found = world.read("client", made.json()["connectionId"])["credentials"]
    assert (found["token"], found["client_id"]) == ("t", "ci")


def test_a_client_that_gets_no_token_is_refused(world: World) -> None:
    world.egress.answers = [json_answer(401, {"error": "invalid_client"})]
    body = {"client_id": "ci", "client_secret": "cs"}
    made = world.submit("/oauth2/auth", "client", body)
    assert (made.status, made.code) == (400, "client_credentials_fetch_error")
    assert "cs" not in made.json()["error"]["message"].split()
    assert world.stored() == []


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "missing_client_id"),
        ({"client_id": "a"}, "missing_client_secret"),
        ({"client_id": 1, "client_secret": "b"}, "invalid_body"),
        ({"client_id": "a", "client_secret": ["b"]}, "invalid_body"),
    ],
)
def test_half_a_client_is_refused(world: World, body: dict[str, Any], code: str) -> None:
    made = world.submit("/oauth2/auth", "client", body)
    assert (made.status, made.code) == (400, code)
    assert world.egress.sent == []


@pytest.mark.parametrize(
    ("place", "key", "body"),
    [
        ("/api-auth/api-key", "basic", {"apiKey": "k"}),
        ("/api-auth/basic", "verified", {"username": "u", "password": "p"}),
        ("/auth/unauthenticated", "verified", None),
        ("/oauth2/auth", "verified", {"client_id": "a", "client_secret": "b"}),
    ],
)
def test_each_endpoint_takes_its_own_auth_mode_only(
    world: World, place: str, key: str, body: Any
) -> None:
    made = world.submit(place, key, body)
    assert (made.status, made.code) == (400, "invalid_auth_mode")
    assert world.egress.sent == []


def test_errors_come_in_the_order_of_the_contract(world: World) -> None:
    place, body = "/api-auth/api-key", {"apiKey": "k"}
    assert world.submit(place, "nope", {"apiKey": ""}).code == "invalid_body"
    unknown = world.submit(place, "nope", body)
    assert (unknown.status, unknown.code) == (404, "unknown_provider_config")
    token = world.session(allowed_integrations=["unauthenticated"])
    refused = world.submit(place, "verified", body, token=token)
    assert (refused.status, refused.code) == (400, "integration_not_allowed")


def test_what_a_session_fixes_wins_over_what_is_typed(world: World) -> None:
    world.egress.answers = [200]
    fixed = {"verified": {"connection_config": {"site": "fixed"}}}
    token = world.session(integrations_config_defaults=fixed)
    made = world.submit(
        "/api-auth/api-key", "verified", {"apiKey": "k"}, token=token, **{"params[site]": "typed"}
    )
    assert made.status == 200
    assert world.egress.sent[0].url.startswith("https://fixed.verified.example/")


def test_a_reconnect_tests_first_and_keeps_the_old_key_when_the_new_one_is_bad(
    world: World,
) -> None:
    world.egress.default = 200
    query = {"params[site]": "a"}
    made = world.submit("/api-auth/api-key", "verified", {"apiKey": "old"}, **query)
    connection_id = made.json()["connectionId"]
    body = {"connection_id": connection_id, "integration_id": "verified"}
    token = world.app.post("/connect/sessions/reconnect", body).json()["data"]["token"]
    world.egress.default = 401
    place = "/api-auth/api-key"
    bad = world.submit(place, "verified", {"apiKey": "bad"}, token=token, **query)
    assert bad.status == 400
    assert world.read("verified", connection_id)["credentials"]["apiKey"] == "old"
    world.egress.default = 200
    good = world.submit(place, "verified", {"apiKey": "new"}, token=token, **query)
    assert good.json()["connectionId"] == connection_id
    assert world.read("verified", connection_id)["credentials"]["apiKey"] == "new"
    deleted = world.app.delete(f"/connections/{connection_id}?provider_config_key=verified")
    assert deleted.status == 200
    gone = world.submit(place, "verified", {"apiKey": "new"}, token=token, **query)
    assert (gone.status, gone.code) == (400, "invalid_connection")
    assert world.stored() == []
