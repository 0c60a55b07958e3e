"""Browsers with a public key and an HMAC of their backend, as the older protocol has it (8.4)."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import pytest

from keystow.environments import keys, removal
from keystow.environments import service as environments
from keystow.records.connection import Connection
from keystow.secret import Secret
from keystow.sessions import public_keys
from keystow.store import Key, tables
from keystow.value import replace
from tests.integration.connections.world import World
from tests.support import claim_names

SECRET = "hk-marked-as-secret"


class Page(World):
    """An environment that takes public keys, and a browser without a session token."""

    def __init__(self, *, on: bool = True, **parts: Any) -> None:
        super().__init__(**parts)
        claim_names(self.ctx, self.seeded.environment)
        _key, text, writes = keys.new_key(self.ctx, keys.ACCOUNT, "account", keys.ACCOUNT_SCOPES)
        self.ctx.store.transact(list(writes))
        self.account = text.reveal()
        if on:
            assert self.set(hmac_enabled=True, hmac_key=SECRET).status == 200

    @property
    def public_key(self) -> str:
        return self.seeded.environment.public_key

    def set(self, **fields: Any) -> Any:
        uuid = self.seeded.environment.uuid
        return self.app.patch(f"/environments/{uuid}", fields, key=self.account)

    def query(self, key: str, connection_id: str | None = None, **more: str) -> str:
        text = key if connection_id is None else f"{key}:{connection_id}"
        signed = hmac.new(SECRET.encode(), text.encode(), hashlib.sha256).hexdigest()
        named = {} if connection_id is None else {"connection_id": connection_id}
        return urlencode({**named, "public_key": self.public_key, "hmac": signed, **more})

    def started(self, key: str, connection_id: str | None = None, **more: str) -> Any:
        query = self.query(key, connection_id, **more)
        return self.app.get(f"/oauth/connect/{key}?{query}", key=None)

    def come_back(self, started: Any) -> Any:
        assert started.status == 302, started.body
        state = dict(parse_qsl(urlsplit(started.headers["location"]).query))["state"]
        name, _, value = started.cookies[0].split(";")[0].partition("=")
        answer = {"code": "c", "state": state, "iss": "https://rotating.example"}
        path = f"/oauth/callback?{urlencode(answer)}"
        return self.app.get(path, key=None, cookies={name: value})

    def typed(self, connection_id: str | None = None, api_key: str = "k", **more: str) -> Any:
        query = self.query("pat", connection_id, **more)
        return self.app.post(f"/api-auth/api-key/pat?{query}", {"apiKey": api_key}, key=None)

    def bodies(self) -> list[dict[str, Any]]:
        items = self.ctx.store.everything()[tables.EVENTS]
        return [json.loads(item["body"]) for item in items if item["sk"] == tables.EVENT]


@pytest.fixture
def page() -> Page:
    return Page()


def test_the_digest_is_that_of_the_contract() -> None:
    key = Secret("hk")
    alone = "4f66419a287e1971d0885dc94de7aa1c99e00fb2d2e8814da08b54cf57bb7497"
    with_id = "45325f8ac67448e7afe09ff4b73c565cae1ccf27aa07350148d463661927767e"
    assert public_keys.digest(key, "gh", None) == alone
    assert public_keys.digest(key, "gh", "c1") == with_id


def test_it_is_off_until_it_is_switched_on_and_again_once_it_is_switched_off() -> None:
    page = Page(on=False)
    refused = page.typed("c1")
    assert (refused.status, refused.code) == (401, "deprecated_authentication")
    assert page.set(hmac_enabled=True, hmac_key=SECRET).status == 200
    assert page.typed("c1").status == 200
    assert page.set(hmac_enabled=False).status == 200
    assert page.typed("c1").code == "deprecated_authentication"
    assert page.set(hmac_enabled=True).status == 200  # the key was kept
    assert page.typed("c1").status == 200


def test_a_popup_makes_the_connection_that_was_signed(page: Page) -> None:
    assert page.come_back(page.started("rot", "user/1", ws_client_id="ws-1")).status == 200
    socket, frame = page.ctx.sockets.pushed[-1]
    assert (socket, frame["message_type"], frame["connection_id"]) == ("ws-1", "success", "user/1")
    read = page.read("user/1", "rot").json()
    assert (read["end_user"], read["tags"]) == (None, {})
    (body,) = page.bodies()
    assert (body["operation"], body["connectionId"]) == ("creation", "user/1")
    assert "endUser" not in body


def test_without_a_connection_id_one_is_drawn(page: Page) -> None:
    drawn = {page.typed().json()["connectionId"], page.typed().json()["connectionId"]}
    assert len(drawn) == 2
    assert page.come_back(page.started("rot")).status == 200
    assert len(page.listed(integrationId="rot")) == 1


def test_the_same_id_again_authorizes_that_connection_anew(page: Page) -> None:
    page.imported("c1", end_user={"id": "u1"}, tags={"team": "blue"}, metadata={"a": 1})
    kept = ("id", "end_user", "tags", "metadata", "created_at")
    before = page.read("c1").json()
    assert page.typed("c1", "new").json() == {"connectionId": "c1", "providerConfigKey": "pat"}
    after = page.read("c1").json()
    assert after["credentials"]["apiKey"] == "new"
    assert [after[name] for name in kept] == [before[name] for name in kept]
    assert [each["operation"] for each in page.bodies()] == ["creation", "override"]


@pytest.mark.parametrize(
    ("given", "code"),
    [
        (None, "missing_hmac"),
        ("", "missing_hmac"),
        ("0" * 64, "invalid_hmac"),
        ("é", "invalid_hmac"),
    ],
)
def test_a_missing_or_a_wrong_hmac_is_refused_and_changes_nothing(
    page: Page, given: str | None, code: str
) -> None:
    before = page.ctx.store.everything()
    parts = dict(parse_qsl(page.query("pat", "c1")))
    del parts["hmac"]
    query = urlencode(parts if given is None else {**parts, "hmac": given})
    refused = page.app.post(f"/api-auth/api-key/pat?{query}", {"apiKey": "k"}, key=None)
    assert (refused.status, refused.code) == (400, code)
    assert refused.json()["error"]["payload"] == {}
    assert page.ctx.store.everything() == before


def test_an_hmac_is_of_one_integration_and_one_connection(page: Page) -> None:
    parts = dict(parse_qsl(page.query("pat", "c1")))
    changes = (("pat", {"connection_id": "c2"}), ("pat", {"connection_id": ""}), ("rot", {}))
    for path, changed in changes:
        query = urlencode({**parts, **changed})
        refused = page.app.get(f"/oauth/connect/{path}?{query}", key=None)
        assert (refused.status, refused.code) == (400, "invalid_hmac")
    other = Page(of=page, environment="env2")
    query = urlencode({**parts, "public_key": other.public_key})
    made = other.app.post(f"/api-auth/api-key/pat?{query}", {"apiKey": "k"}, key=None)
    assert made.status == 200  # both have the same key: it is made there
    assert (page.listed(), other.listed()) == ([], ["c1"])


def test_a_popup_tells_its_opener_and_its_person(page: Page) -> None:
    query = page.query("rot", "c1", ws_client_id="ws-1").replace("hmac=", "hmac=0")
    path = f"/oauth/connect/rot?{query}"
    shown = page.app.get(path, key=None, headers={"accept": "text/html"})
    assert shown.status == 400
    assert shown.headers["content-type"].startswith("text/html")
    socket, frame = page.ctx.sockets.pushed[-1]
    assert (socket, frame["message_type"], frame["error_type"]) == ("ws-1", "error", "invalid_hmac")


@pytest.mark.parametrize(
    ("public_key", "code"),
    [
        ("no-uuid", "invalid_public_key"),
        ("11111111-1111-4111-8111-111111111111", "deprecated_authentication"),
    ],
)
def test_a_public_key_that_there_is_not_is_refused(page: Page, public_key: str, code: str) -> None:
    query = page.query("pat", "c1").replace(page.public_key, public_key)
    refused = page.app.post(f"/api-auth/api-key/pat?{query}", {"apiKey": "k"}, key=None)
    assert (refused.status, refused.code) == (401, code)
    twice = f"{page.query('pat', 'c1')}&public_key={page.public_key}"
    refused = page.app.post(f"/api-auth/api-key/pat?{twice}", {"apiKey": "k"}, key=None)
    assert refused.code == "invalid_public_key"


@pytest.mark.parametrize("connection_id", ["a?b", "x" * 256, "é", "a\n"])
def test_an_id_that_no_connection_can_have_is_refused(page: Page, connection_id: str) -> None:
    refused = page.typed(connection_id)
    assert (refused.status, refused.code) == (400, "invalid_query_params")
    assert refused.issues == [("invalid_format", ["connection_id"])]


def test_a_session_token_wins_and_then_takes_no_id(page: Page) -> None:
    made = page.app.post("/connect/sessions", {"end_user": {"id": "u"}}).json()
    token = made["data"]["token"]
    refused = page.typed("c1", connect_session_token=token)
    assert (refused.status, refused.code) == (400, "invalid_query_params")
    query = f"connect_session_token={token}&public_key={page.public_key}"
    taken = page.app.post(f"/api-auth/api-key/pat?{query}", {"apiKey": "k"}, key=None)
    assert taken.json()["connectionId"] != "c1"


def test_errors_of_the_flow_are_those_of_a_session(page: Page) -> None:
    path = f"/api-auth/api-key/nope?{page.query('nope', 'c1')}"
    unknown = page.app.post(path, {"apiKey": "k"}, key=None)
    assert (unknown.status, unknown.code) == (404, "unknown_provider_config")
    path = f"/api-auth/basic/pat?{page.query('pat', 'c1')}"
    other = page.app.post(path, {"username": "u", "password": "p"}, key=None)
    assert (other.status, other.code) == (400, "invalid_auth_mode")
    assert page.listed() == []


def test_scopes_and_parameters_of_the_browser_go_to_the_provider(page: Page) -> None:
    more = {
        "user_scope": "identity.basic,users:read",
        "params[oauth_scopes_override]": "read,write",
        "authorization_params[access_type]": "offline",
    }
    location = page.started("rot", "c1", **more).headers["location"]
    asked = {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}
    assert asked["user_scope"] == "identity.basic,users:read"
    assert asked["scope"] == "read write"
    assert asked["access_type"] == "offline"


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("user_scope", ["user_scope"]),
        ("params[oauth_scopes_override]", ["params", "oauth_scopes_override"]),
    ],
)
def test_what_is_no_scope_is_refused(page: Page, name: str, path: list[str]) -> None:
    for given in ('a"b', "x" * (public_keys.MOST_SCOPES + 1)):
        refused = page.started("rot", "c1", **{name: given})
        assert refused.code == "invalid_query_params"
        assert refused.issues == [("invalid_format", path)]


def test_another_connection_that_was_made_meanwhile_is_not_overwritten(page: Page) -> None:
    started = page.started("rot", "c1")
    page.rotating("c1", expires_in=3600)
    before = page.read("c1", "rot").json()
    assert page.come_back(started).status == 400
    assert page.read("c1", "rot").json()["credentials"] == before["credentials"]


def test_nobody_has_the_token_of_the_session_that_is_made(page: Page) -> None:
    page.started("rot", "c1")
    rows = page.ctx.store.everything()[tables.SESSIONS]
    (made,) = (item for item in rows if item["sk"] == "session")
    assert made["pk"] == f"session#{made['token_hash']}"
    text = f"nango_connect_session_{made['token_hash']}"
    assert page.app.get("/connect/session", key=text).code == "unknown_connect_session_token"
    assert json.loads(made["details"])["allowed_integrations"] == ["rot"]


def test_an_id_has_the_measure_of_an_end_user(page: Page) -> None:
    page.ctx.settings = replace(page.ctx.settings, connections_per_end_user=1)
    assert page.typed("c1").status == 200
    assert page.app.delete("/connections/c1?provider_config_key=pat").status == 200
    refused = page.typed("c1")
    assert (refused.status, refused.code) == (429, "too_many_request")
    assert page.typed("c2").status == 200


def test_an_erasure_ends_what_a_public_key_began_for_the_end_user(page: Page) -> None:
    page.rotating("c1", expires_in=3600)
    ada = {"id": "ada", "email": "ada@example.com"}
    path = "/connections/c1?provider_config_key=rot"
    assert page.app.patch(path, {"end_user": ada}).status == 200
    started = page.started("rot", "c1")
    assert page.app.delete("/end-users/ada").json()["data"]["sessions"] == 1
    assert page.come_back(started).status == 400
    everything = page.ctx.store.everything()
    kept = [row for rows in everything.values() for row in rows if row["sk"] != "state"]
    assert "ada@example.com" not in repr(kept)


@pytest.mark.parametrize("way", ["popup", "typed"])
def test_what_a_backend_says_of_the_connection_meanwhile_stays(
    page: Page, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "rot" if way == "popup" else "pat"
    said = {
        "end_user": {"id": "u2"},
        "tags": {"team": "red"},
        "webhook_url_override": "https://hooks.example/u2",
    }

    def patched() -> None:
        changed = page.app.patch(f"/connections/c1?provider_config_key={key}", said)
        assert changed.status == 200, changed.body

    if way == "popup":
        page.rotating("c1", expires_in=3600)
        started = page.started("rot", "c1")
        patched()
        assert page.come_back(started).status == 200
    else:
        page.imported("c1", end_user={"id": "u1"}, tags={"team": "blue"})
        opened = public_keys.open_session

        def open_session(*given: Any) -> Any:
            session = opened(*given)
            patched()
            return session

        monkeypatch.setattr(public_keys, "open_session", open_session)
        assert page.typed("c1", "new").status == 200
    read = page.read("c1", key).json()
    assert (read["end_user"]["id"], read["tags"]["team"]) == ("u2", "red")
    place = Key(tables.CONNECTIONS, page.pk("c1"), tables.CONNECTION)
    assert Connection.from_item(page.ctx.store.get(place)).webhook_url_override


def test_all_who_hold_an_hmac_without_an_id_have_one_measure(page: Page) -> None:
    page.ctx.settings = replace(page.ctx.settings, attempts_per_end_user=2)
    assert [page.typed().status for _ in range(3)] == [200, 200, 429]
    assert page.typed("c1").status == 200
    assert page.started("rot").status == 302
    token = page.app.post("/connect/sessions", {"end_user": {"id": "pat"}}).json()["data"]["token"]
    path = f"/api-auth/api-key/pat?connect_session_token={token}"
    assert page.app.post(path, {"apiKey": "k"}, key=None).status == 200
    page.ctx.clock.advance(601)
    assert page.typed().status == 200


def test_scopes_that_are_empty_are_not_asked_for(page: Page) -> None:
    plain = page.started("rot", "c1").headers["location"]
    empty = page.started("rot", "c1", **{"params[oauth_scopes_override]": ""}).headers["location"]
    asked = [parse_qs(urlsplit(each).query).get("scope") for each in (plain, empty)]
    assert asked[0] == asked[1]
    query = page.query("rot", "c1", **{"params[oauth_scopes_override]": ""})
    parsed = {"hmac": dict(parse_qsl(query))["hmac"], "connection_id": "c1"}
    given = {**parsed, "params": {"oauth_scopes_override": ""}}
    session = public_keys.open_session(page.ctx, page.public_key, "rot", given)
    assert session.defaults == {"rot": {}}


def test_the_key_is_in_no_table_and_in_no_answer(page: Page) -> None:
    page.typed("c1")
    assert SECRET not in repr(page.ctx.store.everything())
    shown = page.set(name="renamed")
    assert SECRET.encode() not in shown.body
    assert shown.json()["data"]["hmac_enabled"] is True
    (listed,) = page.app.get("/environments", key=page.account).json()["data"]
    assert listed["public_key"] == page.public_key
    assert "hmac_key" not in listed


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ({}, {"hmac_enabled": True}),
        ({}, {"hmac_enabled": True, "hmac_key": ""}),
        ({"hmac_enabled": True, "hmac_key": "a"}, {"hmac_key": None}),
        ({"hmac_enabled": True, "hmac_key": "a"}, {"hmac_key": ""}),
    ],
)
def test_public_keys_are_never_on_without_a_key(first: Any, then: Any) -> None:
    page = Page(on=False)
    if first:
        assert page.set(**first).status == 200
    before = page.ctx.store.everything()[tables.REGISTRY]
    refused = page.set(name="other", **then)
    assert (refused.status, refused.code) == (400, "invalid_body")
    assert refused.issues == [("custom", ["hmac_key"])]
    assert page.ctx.store.everything()[tables.REGISTRY] == before


def test_a_key_may_be_kept_changed_and_removed(page: Page) -> None:
    assert page.set(hmac_key="another").status == 200
    assert page.typed("c1").code == "invalid_hmac"
    assert page.set(hmac_key=SECRET).status == 200
    assert page.typed("c1").status == 200
    assert page.set(hmac_enabled=False, hmac_key=None).status == 200
    assert page.set(hmac_enabled=True).code == "invalid_body"
    stored = environments.required(page.ctx, page.environment)
    assert (stored.hmac_key, stored.hmac_enabled) == (None, False)


def test_the_activity_tells_who_switched_it(page: Page) -> None:
    page.ctx.clock.advance(1)
    page.set(name="renamed")
    page.set(hmac_enabled=False)
    found = page.app.get("/activity?type=environment/change_public_keys").json()["data"]
    told = [page.app.get(f"/activity/{each['id']}").json()["data"]["messages"] for each in found]
    texts = [messages[0]["message"] for messages in told]
    assert texts == ["Public keys are refused", "Public keys are taken under another HMAC key"]
    assert told[0][0]["meta"]["by"].startswith("account (")
    assert SECRET not in json.dumps(told)


def test_an_environment_may_be_made_with_it(page: Page) -> None:
    body = {"name": "early", "hmac_enabled": True}
    refused = page.app.post("/environments", body, key=page.account)
    assert refused.issues == [("custom", ["hmac_key"])]
    made = page.app.post("/environments", {**body, "hmac_key": "k"}, key=page.account)
    assert made.status == 200
    (shown,) = page.app.get("/environments?name=early", key=page.account).json()["data"]
    assert shown["hmac_enabled"] is True
    query = urlencode({"public_key": shown["public_key"], "hmac": "0"})
    refused = page.app.post(f"/api-auth/api-key/x?{query}", {"apiKey": "k"}, key=None)
    assert refused.code == "invalid_hmac"


def test_an_environment_that_is_removed_is_not_found_by_its_public_key(page: Page) -> None:
    removal._shut(page.ctx, environments.required(page.ctx, page.environment))
    assert page.typed("c1").code == "deprecated_authentication"
    place = f"/environments/{page.seeded.environment.uuid}"
    assert page.app.delete(place, key=page.account).status == 204
    assert page.ctx.store.get(tables.public_key(page.public_key)) is None
    assert page.typed("c1").code == "deprecated_authentication"
