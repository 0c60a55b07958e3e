"""A webhook URL with user name and password: sent as Basic, and never shown again."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import pytest

from keystow.events import destinations, endpoints
from keystow.store import Update, tables
from tests.integration.deliveries.test_deliveries import World
from tests.support import make_context, seed_environment

PLAIN = "https://hooks.example.com/in?a=1"
GIVEN = "https://user:p%40ss%3Aw0rd@hooks.example.com/in?a=1"
SENT = "Basic " + b64encode(b"user:p@ss:w0rd").decode()
HIDDEN = ("p%40ss", "p@ss", "w0rd", SENT.split()[1])


def everything(world: World) -> str:
    return json.dumps(world.ctx.store.everything(), default=repr)


def sent(world: World) -> Any:
    world.send()
    return world.egress.sent[-1]


def assert_hidden(text: str) -> None:
    assert not [each for each in HIDDEN if each in text]


def connect_with_key(world: World) -> None:
    made = world.app.post(
        "/connect/sessions", {"end_user": {"id": "u"}, "webhook_url_override": GIVEN}
    )
    token = made.json()["data"]["token"]
    done = world.app.post(f"/auth/unauthenticated/open?connect_session_token={token}", key=None)
    assert done.status == 200, done.body


def import_flat(world: World) -> None:
    body = {"provider_config_key": "open", "connection_id": "c1", "webhook_url_override": GIVEN}
    made = world.app.post("/connection", body)
    assert made.status == 201, made.body
    assert made.json()["webhook_url_override"] == PLAIN


def settings(world: World) -> None:
    body = {"primary_url": GIVEN, "secondary_url": None}
    made = world.app.put("/environment/webhook-settings", body)
    assert made.json()["data"]["primary_url"] == PLAIN
    world.connected()


def patch(world: World) -> None:
    world.connected()
    world.send()
    place = "/connections/c1?provider_config_key=open"
    assert world.app.patch(place, {"webhook_url_override": GIVEN}).status == 200
    world.connected()


DOORS = {
    "a session": connect_with_key,
    "an import": lambda world: world.connected(webhook_url_override=GIVEN),
    "a flat import": import_flat,
    "a change": patch,
    "the settings": settings,
}


@pytest.mark.parametrize("door", DOORS)
def test_a_login_is_sent_as_basic_and_neither_shown_nor_stored_in_plain(
    door: str, capsys: Any
) -> None:
    world = World(default=200)
    DOORS[door](world)
    got = sent(world)
    assert (got.url, got.headers["authorization"]) == (PLAIN, SENT)
    assert {each["target"]["host"] for each in world.listed()} == {"hooks.example.com"}
    listed = world.app.get("/connections").json()["connections"]
    place = f"/connections/{listed[0]['connection_id']}?provider_config_key=open"
    for path in (place, "/environment/webhook-settings", "/webhook-deliveries", "/activity"):
        text = world.app.get(path).body
        assert_hidden(str(text))
        assert "login=" not in str(text)
    assert_hidden(everything(world))
    assert_hidden(capsys.readouterr().out)


def test_the_same_url_without_a_login_keeps_it_since_nobody_is_shown_it() -> None:
    world = World(default=200)
    settings(world)
    shown = world.app.get("/environment/webhook-settings").json()["data"]
    world.app.put("/environment/webhook-settings", {**shown, "on_auth_creation": True})
    assert sent(world).headers["authorization"] == SENT


@pytest.mark.parametrize(
    "other", ["https://@hooks.example.com/in?a=1", "https://hooks.example.com/in?a=2"]
)
def test_an_empty_login_and_another_url_send_none(other: str) -> None:
    world = World(default=200)
    settings(world)
    world.app.put("/environment/webhook-settings", {"primary_url": other})
    world.ctx.clock.advance(endpoints.CACHE_SECONDS + 1)
    assert "authorization" not in sent(world).headers


def test_a_login_is_of_no_use_in_another_row() -> None:
    """Whoever can write rows cannot send a login to a host of their own."""
    world = World(default=200)
    settings(world)
    world.send()
    kept = world.ctx.store.get(tables.environment_settings("env1"))["webhooks"]["primary_url"]
    moved = kept.replace("hooks.example.com", "evil.example.com")
    assert moved != kept
    world.connected("c2")
    (row,) = [
        each
        for each in world.ctx.store.everything()["events"]
        if each.get("connection_id") == "c2" and each["sk"] != "event"
    ]
    world.ctx.store.update(
        Update(tables.delivery(row["pk"], 0), set={"role": "override", "url": moved})
    )
    before = len(world.egress.sent)
    world.send()
    assert len(world.egress.sent) == before
    assert world.listed("?state=failed")[0]["last_answer"]["text"] == (
        "The login of this URL does not open"
    )
    for environment in ("env2", "env1"):
        ctx = make_context()
        seed_environment(ctx)
        with pytest.raises(destinations.VaultError):
            destinations.authorization(kept, environment, ctx.vault)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("https://us%3Aer:p@hooks.example.com/", "cannot be sent as Basic"),
        ("https://user:p%0Aq@hooks.example.com/", "cannot be sent as Basic"),
        (f"https://user:{'p' * 1_100}@hooks.example.com/", "too long"),
        ("https://user:p@127.0.0.1/", "not allowed: loopback"),
        ("https://user:p@hooks.example.com/\u00fc x", "not allowed: malformed url"),
        ("https://hooks.example.com/?a=b c", "not allowed: malformed url"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_with_the_reason(url: str, reason: str) -> None:
    world = World()
    for refused in (
        world.app.post("/connect/sessions", {"end_user": {"id": "u"}, "webhook_url_override": url}),
        world.app.put("/environment/webhook-settings", {"primary_url": url}),
    ):
        assert refused.status == 400
        assert reason in str(refused.json()["error"]["errors"])
        assert "p%0Aq" not in str(refused.body)


def test_a_damaged_login_is_told_and_nothing_is_sent() -> None:
    ctx = make_context()
    seed_environment(ctx)
    for fragment in ("login=", "login=!!", "login=W10=", "login=e30="):
        with pytest.raises(destinations.VaultError):
            destinations.authorization(f"https://a.example/#{fragment}", "env1", ctx.vault)
    assert destinations.authorization("https://a.example/#else", "env1", ctx.vault) is None
