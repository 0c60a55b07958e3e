"""Connect sessions: made by the backend, held by a browser for half an hour."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import Any

import pytest

from keystow.clock import iso
from keystow.store import Key, Update, tables
from tests.app import App, Result
from tests.integration.connections.world import World
from tests.support import run_in_parallel

FULL: dict[str, Any] = {
    "end_user": {
        "id": "u1",
        "email": "u1@example.com",
        "display_name": "User One",
        "tags": {"Plan": "pro"},
    },
    "organization": {"id": "o1", "display_name": "Org One"},
    "allowed_integrations": ["rot", "pat", "rot"],
    "integrations_config_defaults": {
        "rot": {
            "user_scopes": "hidden-scope",
            "authorization_params": {"prompt": "consent"},
            "connection_config": {"region": "eu", "webhook_url": "https://old.example.com"},
        }
    },
    "overrides": {"pat": {"docs_connect": "https://docs.example.com"}},
    "tags": {"Team": "blue"},
}


@pytest.fixture
def world() -> World:
    return World()


def create(world: World, **body: Any) -> str:
    made = world.app.post("/connect/sessions", body)
    assert made.status == 201, made.body
    return str(made.json()["data"]["token"])


def show(world: World, token: str) -> Result:
    return world.app.get("/connect/session", headers={"authorization": f"Bearer {token}"})


def test_a_session_shows_its_browser_what_it_needs_and_no_more(world: World) -> None:
    data = show(world, create(world, **FULL)).json()["data"]
    assert data["endUser"] == {
        "id": "u1",
        "display_name": "User One",
        "email": "u1@example.com",
        "tags": {"Plan": "pro"},
        "organization": {"id": "o1", "display_name": "Org One"},
    }
    assert data["allowed_integrations"] == ["rot", "pat"]
    defaults = data["integrations_config_defaults"]["rot"]
    assert defaults == {
        "authorization_params": {"prompt": "consent"},
        "connection_config": {"region": "eu"},
    }
    assert data["overrides"] == {"pat": {"docs_connect": "https://docs.example.com"}}
    assert "isReconnecting" not in data
    assert data["websocketsPath"] == "//socket.test/live"
    assert "hidden-scope" not in str(data)


def test_what_a_session_fixes_opens_with_its_token_alone(world: World) -> None:
    token = create(world, **FULL)
    (row,) = [row for row in world.ctx.store.everything()["sessions"] if row["sk"] == "session"]
    assert "region" not in repr(row)
    assert show(world, token).json()["data"]["integrations_config_defaults"]
    altered = bytearray(row["defaults"])
    altered[-1] ^= 1
    place = Key(tables.SESSIONS, row["pk"], row["sk"])
    world.ctx.store.update(Update(place, set={"defaults": bytes(altered)}))
    refused = show(world, token)
    assert (refused.status, refused.code) == (401, "unknown_connect_session_token")


def test_a_session_of_tags_alone_has_no_end_user(world: World) -> None:
    data = show(world, create(world, tags={"a": "b"})).json()["data"]
    assert data["endUser"] is None
    assert "allowed_integrations" not in data


def test_the_token_is_stored_as_a_hash_and_shown_once(world: World) -> None:
    token = create(world, **FULL)
    stored = repr(world.ctx.store.everything())
    assert token not in stored
    assert token.removeprefix("nango_connect_session_") not in stored
    assert hashlib.sha256(token.encode()).hexdigest() in stored


def test_the_link_opens_the_connect_ui_of_this_deployment(world: World) -> None:
    made = world.app.post("/connect/sessions", {"end_user": {"id": "u"}}).json()["data"]
    assert made["connect_link"] == (
        f"https://keystow.test/ui/connect/?session_token={made['token']}"
    )
    assert made["expires_at"] == "2026-01-01T00:30:00.000Z"


def test_a_session_ends_after_half_an_hour_and_when_told(world: World) -> None:
    first, second = create(world, tags={"a": "b"}), create(world, tags={"a": "b"})
    headers = {"authorization": f"Bearer {first}"}
    assert world.app.delete("/connect/session", headers=headers).status == 204
    assert show(world, first).code == "unknown_connect_session_token"
    world.ctx.clock.advance(30 * 60 - 1)
    assert show(world, second).status == 200
    world.ctx.clock.advance(1)
    assert show(world, second).code == "unknown_connect_session_token"


def test_a_session_token_is_no_api_key(world: World) -> None:
    token = create(world, tags={"a": "b"})
    app = App(world.ctx, token)
    assert app.get("/connections").code == "invalid_secret_key_format"
    assert app.post("/connect/sessions", {"tags": {"a": "b"}}).status == 401
    assert app.get("/integrations/pat").status == 401
    assert app.get("/integrations").status == 200
    assert app.get("/providers/untried").status == 200
    assert app.get("/providers/rotating").status == 200


def test_a_session_lists_only_what_it_allows(world: World) -> None:
    token = create(world, end_user={"id": "u"}, allowed_integrations=["pat"])
    found = App(world.ctx, token).get("/integrations").json()["data"]
    assert [each["unique_key"] for each in found] == ["pat"]
    token = create(world, end_user={"id": "u"})
    assert len(App(world.ctx, token).get("/integrations").json()["data"]) == 2


def test_an_empty_list_allows_nothing(world: World) -> None:
    token = create(world, end_user={"id": "u"}, allowed_integrations=[])
    app = App(world.ctx, token)
    assert app.get("/integrations").json()["data"] == []
    assert app.get("/connect/session").json()["data"]["allowed_integrations"] == []
    for path, body in (
        (f"/api-auth/api-key/pat?connect_session_token={token}", {"apiKey": "k"}),
        (f"/oauth/connect/rot?connect_session_token={token}", None),
    ):
        method = "GET" if body is None else "POST"
        refused = app.call(method, path, body, key=None)
        assert (refused.status, refused.code) == (400, "integration_not_allowed")


def test_no_list_allows_all(world: World) -> None:
    token = create(world, end_user={"id": "u"}, allowed_integrations=None)
    assert len(App(world.ctx, token).get("/integrations").json()["data"]) == 2


@pytest.mark.parametrize(
    ("body", "code", "path"),
    [
        ({}, "invalid_type", ["end_user"]),
        ({"allowed_integrations": ["pat"]}, "invalid_type", ["end_user"]),
        ({"tags": {"a": "b"}, "overrides": {"nope": {}}}, "custom", ["overrides", "nope"]),
        ({"tags": {"A": "1", "a": "2"}}, "custom", ["tags"]),
        ({"tags": {f"k{n}": "v" for n in range(11)}}, "too_big", ["tags"]),
        ({"tags": {"end_user_email": "x"}}, "invalid_format", ["tags"]),
        ({"tags": {"a": ""}}, "too_small", ["tags", "a"]),
        ({"end_user": {"id": ""}}, "too_small", ["end_user", "id"]),
        ({"end_user": {"id": "u", "x": 1}}, "unrecognized_keys", ["end_user"]),
        (
            {"tags": {"a": "b"}, "webhook_url_override": "http://169.254.169.254/"},
            "custom",
            ["webhook_url_override"],
        ),
        (
            {"tags": {"a": "b"}, "integrations_config_defaults": {"rot": {"x": 1}}},
            "unrecognized_keys",
            ["integrations_config_defaults", "rot"],
        ),
    ],
)
def test_what_is_wrong_is_named(world: World, body: Any, code: str, path: list[str]) -> None:
    before = world.ctx.store.everything()["sessions"]
    refused = world.app.post("/connect/sessions", body)
    assert (refused.status, refused.code) == (400, "invalid_body")
    assert (code, path) in refused.issues
    assert world.ctx.store.everything()["sessions"] == before


@pytest.mark.parametrize(
    ("email", "codes"),
    [
        ("bad", ["invalid_format", "too_small"]),
        ("not an address", ["invalid_format"]),
        (f"{'a' * 320}@b.example", ["invalid_format"]),
        ("a@b.c", []),
    ],
)
def test_an_address_tells_each_of_its_faults(world: World, email: str, codes: list[str]) -> None:
    answer = world.app.post("/connect/sessions", {"end_user": {"id": "u", "email": email}})
    if not codes:
        assert answer.status == 201
        return
    assert answer.issues == [(code, ["end_user", "email"]) for code in codes]
    assert email.encode() not in answer.body


@pytest.mark.parametrize(
    ("url", "issue"),
    [
        ("http://127.0.0.1/", "custom"),
        ("https://api.nango.dev/hook", "custom"),
        ("no url", "invalid_union"),
        (1, "invalid_type"),
    ],
)
def test_the_older_webhook_url_of_a_default_is_checked_like_any_other(
    world: World, url: Any, issue: str
) -> None:
    config = {"connection_config": {"webhook_url": url}}
    body = {"tags": {"a": "b"}, "integrations_config_defaults": {"rot": config}}
    for given in (body, {**body, "webhook_url_override": "https://hooks.example.com"}):
        refused = world.app.post("/connect/sessions", given)
        place = ["integrations_config_defaults", "rot", "connection_config", "webhook_url"]
        assert (refused.status, refused.issues) == (400, [(issue, place)])


@pytest.mark.parametrize("host", ["nango.dev", "api.nango.dev", "NANGO.dev."])
def test_no_event_is_sent_to_the_service_that_clients_were_moved_from(
    world: World, host: str
) -> None:
    override = {"webhook_url_override": f"https://{host}/hook"}
    world.imported("c1")
    imported = {"provider_config_key": "pat", "credentials": {"type": "API_KEY", "apiKey": "k"}}
    for refused in (
        world.app.post("/connect/sessions", {"tags": {"a": "b"}, **override}),
        world.app.post("/connections", {**imported, **override}),
        world.app.patch("/connections/c1?provider_config_key=pat", override),
    ):
        assert (refused.status, refused.issues) == (400, [("custom", ["webhook_url_override"])])
    other = {"tags": {"a": "b"}, "webhook_url_override": "https://notnango.dev/hook"}
    assert world.app.post("/connect/sessions", other).status == 201


def test_a_reconnect_session_says_so_and_keeps_the_end_user(world: World) -> None:
    world.imported("c1", end_user={"id": "u1", "email": "u1@example.com"}, tags={"a": "b"})
    body = {"connection_id": "c1", "integration_id": "pat"}
    token = world.app.post("/connect/sessions/reconnect", body).json()["data"]["token"]
    data = show(world, token).json()["data"]
    assert data["isReconnecting"] is True
    assert data["allowed_integrations"] == ["pat"]
    assert data["endUser"]["email"] == "u1@example.com"
    for wrong in ({**body, "connection_id": "nope"}, {**body, "integration_id": "rot"}):
        refused = world.app.post("/connect/sessions/reconnect", wrong)
        assert (refused.status, refused.code) == (400, "invalid_body")


@pytest.mark.parametrize(
    ("given", "tags"),
    [
        ({}, {"team": "a", "end_user_id": "u1"}),
        ({"tags": {"plan": "b"}}, {"plan": "b"}),
        ({"tags": {}}, {}),
        ({"end_user": {"id": "u2"}}, {"end_user_id": "u2"}),
        ({"end_user": {"id": "u2"}, "tags": {"plan": "b"}}, {"plan": "b", "end_user_id": "u2"}),
    ],
)
def test_a_reconnect_replaces_the_tags_by_those_of_its_session_if_it_has_any(
    world: World, given: dict[str, Any], tags: dict[str, str]
) -> None:
    world.imported("c1", end_user={"id": "u1"}, tags={"team": "a"})
    body = {"connection_id": "c1", "integration_id": "pat", **given}
    token = world.app.post("/connect/sessions/reconnect", body).json()["data"]["token"]
    path = f"/api-auth/api-key/pat?connect_session_token={token}"
    assert world.app.post(path, {"apiKey": "new"}, key=None).status == 200
    found = world.read("c1").json()
    assert found["tags"] == tags
    assert found["end_user"]["id"] == given.get("end_user", {"id": "u1"})["id"]


def test_an_event_of_the_connect_ui_is_noted_once_it_is_one(world: World) -> None:
    token = create(world, tags={"a": "b"})
    event = {"token": token, "event": "open", "timestamp": "2026-01-01T00:00:05.000Z"}
    taken = world.app.post("/connect/telemetry", event, key=None)
    assert taken.status == 204
    assert taken.headers["access-control-allow-origin"] == "https://keystow.test"
    assert taken.headers["access-control-allow-credentials"] == "true"
    for wrong in (
        {**event, "event": "other"},
        {**event, "timestamp": "2026-01-01T03:00:00Z"},
        {**event, "timestamp": 10**99},
        {**event, "timestamp": "never"},
        {**event, "x": 1},
    ):
        assert world.app.post("/connect/telemetry", wrong, key=None).code == "invalid_body"
    unknown = {**event, "token": "nango_connect_session_" + 64 * "0"}
    assert world.app.post("/connect/telemetry", unknown, key=None).status == 401


def test_events_that_were_not_told_yet_come_along_and_stand_at_their_own_time(world: World) -> None:
    token = create(world, tags={"a": "b"})
    path = f"/activity/{status_of(world, token)['log_id']}"
    # The browser's clock is three minutes behind.
    told = {
        "token": token,
        "event": "view:success",
        "timestamp": "2025-12-31T23:57:00.000Z",
        "earlier": [
            {"event": "open", "timestamp": "2025-12-31T23:56:50.000Z"},
            {
                "event": "popup:closed_early",
                "timestamp": 1_767_225_418_500,
                "dimensions": {"integration": "pat"},
            },
        ],
    }
    assert world.app.post("/connect/telemetry", told, key=None).status == 204
    lines = [
        (each["message"], each["level"], each["meta"], each["created_at"])
        for each in world.app.get(path).json()["data"]["messages"]
        if each["message"].startswith("[UI]")
    ]
    now = world.ctx.clock.now()
    assert lines == [
        ("[UI] open", "info", {}, iso(now - 10)),
        ("[UI] popup:closed_early", "error", {"integration": "pat"}, iso(now - 1.5)),
        ("[UI] view:success", "info", {}, iso(now)),
    ]


def test_earlier_events_are_as_strict_as_one_alone(world: World) -> None:
    token = create(world, tags={"a": "b"})
    event = {"event": "open", "timestamp": "2026-01-01T00:00:05.000Z"}
    for wrong in (
        [{**event, "event": "other"}],
        [{**event, "timestamp": "2026-01-01T03:00:00Z"}],
        [{**event, "token": token}],
        [event] * 21,
        "open",
    ):
        body = {**event, "token": token, "earlier": wrong}
        assert world.app.post("/connect/telemetry", body, key=None).code == "invalid_body"
    body = {**event, "token": token, "earlier": [event] * 20}
    assert world.app.post("/connect/telemetry", body, key=None).status == 204


def status_of(world: World, token: str) -> dict[str, Any]:
    found = world.app.get("/connect/session/status", key=token)
    data: dict[str, Any] = found.json()["data"]
    return data


def test_a_browser_cannot_fill_the_log_of_its_session(world: World) -> None:
    """What happened after that could not be read any more, and each event costs."""
    token = create(world, tags={"a": "b"})
    event = {"token": token, "event": "open", "timestamp": "2026-01-01T00:00:05.000Z"}

    def tell(_number: int) -> int:
        return int(world.app.post("/connect/telemetry", event, key=None).status)

    many = {**event, "earlier": [{"event": "open", "timestamp": event["timestamp"]}] * 20}
    assert [world.app.post("/connect/telemetry", many, key=None).status for _ in range(9)] == (
        [204] * 9
    )
    assert Counter(run_in_parallel(30, tell)) == {204: 11, 429: 19}
    assert world.app.post("/connect/telemetry", many, key=None).status == 429
    refused = world.app.post("/connect/telemetry", event, key=None)
    assert refused.code == "too_many_request"
    assert refused.json()["error"]["payload"]["quota"] == "telemetry_per_session"
    assert refused.headers["retry-after"] == "1800"
    assert str(world.ctx.store.everything()["activity"]).count("[UI] open") == 200
    other = {**event, "token": create(world, tags={"a": "b"})}
    assert world.app.post("/connect/telemetry", other, key=None).status == 204


def test_what_a_browser_tells_of_itself_is_noted_in_plain_text(world: World) -> None:
    event = {
        "token": create(world, tags={"a": "b"}),
        "event": "open",
        "timestamp": "2026-01-01T00:00:05.000Z",
        "dimensions": {"integration": "<script>alert(1)</script>\u202e\x1b[31m"},
    }
    assert world.app.post("/connect/telemetry", event, key=None).status == 204
    noted = str(world.ctx.store.everything()["activity"])
    assert "[UI] open" in noted
    for mark in ("<script>", "\\u202e", "\\x1b", "\u202e", "\x1b"):
        assert mark not in noted
