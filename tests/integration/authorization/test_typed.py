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
    "token_response_metadata": ["team", "site"],
}
TOLD: dict[str, Any] = {
    "display_name": "Told",
    "categories": ["dev-tools"],
    "auth_mode": "API_KEY",
    "docs": "https://told.example/docs",
    "proxy": {
        "base_url": "https://told.example",
        "headers": {"authorization": "Token ${apiKey}"},
        "verification": {"endpoints": ["/me"]},
    },
    "credentials": {"apiKey": {"type": "string", "title": "API key", "secret": True}},
    "post_connection": {"calls": [{"method": "GET", "url": "/account", "sets": {"account": "id"}}]},
}
DEFINITIONS = {"verified": VERIFIED, "basic": BASIC, "client": CLIENT, "told": TOLD}


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

    def reconnect(self, key: str, connection_id: str, **more: Any) -> str:
        body = {"connection_id": connection_id, "integration_id": key, **more}
        found = self.app.post("/connect/sessions/reconnect", body)
        assert found.status == 201, found.body
        return str(found.json()["data"]["token"])

    def operations(self, action: str) -> list[Any]:
        found = self.ctx.store.everything()["activity"]
        return [each for each in found if each.get("action") == action]

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
def test_a_key_that_no_endpoint_takes_is_told_to_who_typed_it_and_to_no_backend(
    world: World, answers: list[Any]
) -> None:
    world.egress.answers = answers
    made = world.submit("/api-auth/api-key", "verified", {"apiKey": "bad"}, **{"params[site]": "a"})
    assert (made.status, made.code) == (400, "connection_test_failed")
    assert world.stored() == []
    assert world.webhooks() == []
    assert [each["state"] for each in world.operations("create_connection")] == ["failed"]
    assert "bad" not in made.body.decode().replace("bad_", "")


@pytest.mark.parametrize("site", ["evil.example/", "a b", "a@evil.example#"])
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


def test_what_the_token_answer_tells_is_kept_but_for_what_was_given(world: World) -> None:
    told = {"access_token": "t", "expires_in": 3600, "team": "t1", "site": "told", "other": "x"}
    world.egress.answers = [json_answer(200, told)]
    body = {"client_id": "ci", "client_secret": "cs"}
    given = {"params[site]": "given", "params[team]": ""}
    made = world.submit("/oauth2/auth", "client", body, **given)
    found = world.read("client", made.json()["connectionId"])
    assert found["connection_config"] == {"team": "t1", "site": "given"}


def test_what_the_entry_wants_learnt_is_asked_once_the_key_is_known_to_work(world: World) -> None:
    world.egress.answers = [200, json_answer(200, {"id": "acc-1"})]
    made = world.submit("/api-auth/api-key", "told", {"apiKey": "k-1"})
    assert made.status == 200, made.body
    _test, asked = world.egress.sent
    assert (asked.method, asked.url) == ("GET", "https://told.example/account")
    assert asked.headers["authorization"] == "Token k-1"
    found = world.read("told", made.json()["connectionId"])
    assert found["connection_config"] == {"account": "acc-1"}


@pytest.mark.parametrize("answer", [500, EgressFailed("timeout", sent=True)])
def test_the_connection_stands_when_nothing_can_be_learnt_and_the_activity_says_so(
    world: World, answer: Any
) -> None:
    world.egress.answers = [200, answer]
    made = world.submit("/api-auth/api-key", "told", {"apiKey": "k-1"})
    assert made.status == 200, made.body
    assert world.read("told", made.json()["connectionId"])["connection_config"] == {}
    assert [each["state"] for each in world.operations("post_connection")] == ["failed"]


def test_a_slow_provider_is_not_asked_more_than_the_function_has_time_for(world: World) -> None:
    def slow(_sent: Any) -> int:
        world.ctx.clock.advance(25)
        return 200

    world.egress.answers = [slow]
    made = world.submit("/api-auth/api-key", "told", {"apiKey": "k-1"})
    assert made.status == 200, made.body
    assert len(world.egress.sent) == 1


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


def test_client_credentials_have_errors_of_the_older_shape(world: World) -> None:
    body = {"client_id": "a", "client_secret": "b"}
    for key, code in (("nope", "unknown_provider_config"), ("verified", "invalid_auth_mode")):
        refused = world.submit("/oauth2/auth", key, body)
        assert (refused.status, refused.code) == (400, code)
        assert refused.json()["error"]["payload"] == {}
        assert refused.json()["error"]["message"]


@pytest.mark.parametrize("params", ["params=zz", "params[]=zz", "params=a&params=b"])
def test_params_that_are_no_names_and_values_are_refused(world: World, params: str) -> None:
    path = f"/api-auth/api-key/verified?connect_session_token={world.session()}&{params}"
    refused = world.app.post(path, {"apiKey": "k"}, key=None)
    assert (refused.status, refused.issues) == (400, [("invalid_type", ["params"])])


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
    told = len(world.webhooks())
    token = world.reconnect("verified", connection_id)
    world.egress.default = 401
    place = "/api-auth/api-key"
    bad = world.submit(place, "verified", {"apiKey": "bad"}, token=token, **query)
    assert bad.status == 400
    assert len(world.webhooks()) == told
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


@pytest.mark.parametrize(
    ("place", "key", "body"),
    [
        ("/api-auth/api-key", "verified", {"apiKey": "k"}),
        ("/api-auth/basic", "basic", {"username": "u", "password": "p"}),
        ("/oauth2/auth", "client", {"client_id": "a", "client_secret": "b"}),
        ("/auth/unauthenticated", "unauthenticated", None),
    ],
)
def test_a_reconnect_keeps_the_metadata_in_every_mode(
    world: World, place: str, key: str, body: Any
) -> None:
    world.egress.default = json_answer(200, {"access_token": "t"})
    made = world.submit(place, key, body, **{"params[site]": "a"})
    connection_id = made.json()["connectionId"]
    assert world.read(key, connection_id)["metadata"] == {}
    given = {
        "connection_id": connection_id,
        "provider_config_key": key,
        "metadata": {"plan": "team"},
    }
    assert world.app.post("/connections/metadata", given).status == 201
    token = world.reconnect(key, connection_id)
    again = world.submit(place, key, body, token=token, **{"params[site]": "a"})
    assert again.status == 200, again.body
    assert world.read(key, connection_id)["metadata"] == {"plan": "team"}


@pytest.mark.parametrize(
    ("place", "key", "body"),
    [
        ("/api-auth/api-key", "told", {"apiKey": "k" * 20}),
        ("/api-auth/basic", "basic", {"username": "u", "password": "p"}),
        ("/oauth2/auth", "client", {"client_id": "c", "client_secret": "s"}),
    ],
)
def test_a_session_that_ends_while_credentials_are_tried_makes_no_connection(
    world: World, place: str, key: str, body: dict[str, Any]
) -> None:
    token = world.session()

    def ended(_sent: Any) -> Any:
        headers = {"authorization": f"Bearer {token}"}
        world.app.delete("/connect/session", headers=headers)
        return json_answer(200, {"access_token": "at", "expires_in": 3600, "id": "a"})

    world.egress.default = ended
    refused = world.submit(place, key, body, token=token)
    assert (refused.status, refused.code) == (401, "unknown_connect_session_token")
    assert world.egress.sent, "the credentials were good"
    assert world.stored() == []
    assert world.webhooks() == []
