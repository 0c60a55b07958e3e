"""WSSE: a server that recomputes every digest and takes each nonce once."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Any
from urllib.parse import urlencode

import pytest

from keystow.clock import parse_iso
from keystow.egress.client import Answer
from keystow.modes.signature import username_token
from keystow.secret import Secret
from keystow.store import tables
from tests.app import App, Result
from tests.integration.authorization.popup import END_USER
from tests.integration.modes.background import pass_time
from tests.support import Outside, Sent, make_context, seed_environment

LOGIN = {"username": "u-1", "password": " pw with space"}
DEFINITION: dict[str, Any] = {
    "display_name": "Letters",
    "auth_mode": "SIGNATURE",
    "signature": {"protocol": "WSSE"},
    "token": {"expires_in_ms": 300_000},
    "proxy": {
        "base_url": "https://letters.example",
        "headers": {"x-wsse": "${accessToken}"},
        "verification": {"endpoints": ["/settings"]},
    },
}
TOKEN = re.compile(
    'UsernameToken Username="([^"]*)", PasswordDigest="([^"]*)", Nonce="([^"]*)", Created="([^"]*)"'
)


class Server(Outside):
    """Takes a token that is whole, fresh, of the right login, and was not seen before."""

    def __init__(self) -> None:
        self.passwords = {LOGIN["username"]: LOGIN["password"]}
        self.now: Any = None
        self.nonces: set[str] = set()
        self.sent: list[Sent] = []

    def answer_to(self, sent: Sent) -> Answer:
        self.sent.append(sent)
        return Answer(200 if self.accepts(sent.headers["x-wsse"]) else 401, {}, b"{}")

    def accepts(self, header: str) -> bool:
        found = TOKEN.fullmatch(header)
        if found is None:
            return False
        username, digest, nonce, created = found.groups()
        password = self.passwords.get(username, "")
        digits = hashlib.sha1((nonce + created + password).encode()).hexdigest()
        age = self.now() - (parse_iso(created) or 0)
        fresh = nonce not in self.nonces and len(nonce) == 32 and 0 <= age < 300
        self.nonces.add(nonce)
        return fresh and digest == base64.b64encode(digits.encode()).decode()


class World:
    def __init__(self, **changes: Any) -> None:
        self.server = Server()
        self.ctx: Any = make_context(egress=self.server)
        self.server.now = self.ctx.clock.now
        seeded = seed_environment(self.ctx)
        self.app = App(self.ctx, seeded.secret_key)
        made = self.app.put("/providers/letters", {**DEFINITION, **changes})
        assert made.status == 201, made.body
        body = {"provider": "letters", "unique_key": "letters"}
        assert self.app.post("/integrations", body).status == 200

    def submit(self, body: Any, token: str = "") -> Result:
        if not token:
            made = self.app.post("/connect/sessions", {"end_user": END_USER})
            token = made.json()["data"]["token"]
        query = urlencode({"connect_session_token": token})
        return self.app.post(f"/auth/signature/letters?{query}", body, key=None)

    def connected(self) -> str:
        made = self.submit({"type": "SIGNATURE", **LOGIN})
        assert made.status == 200, made.body
        return str(made.json()["connectionId"])

    def read(self, connection_id: str, query: str = "") -> dict[str, Any]:
        path = f"/connections/{connection_id}?provider_config_key=letters{query}"
        found = self.app.get(path)
        assert found.status == 200, found.body
        return dict(found.json()["credentials"])

    def stored(self) -> list[Any]:
        items = self.ctx.store.everything().get(tables.CONNECTIONS, [])
        return [item for item in items if item["sk"] == tables.CONNECTION]


def test_the_contracts_vector() -> None:
    found = username_token(
        "u",
        Secret("pw"),
        nonce="00112233445566778899aabbccddeeff",
        created="2024-01-02T03:04:05.000Z",
    )
    assert found == (
        'UsernameToken Username="u", '
        'PasswordDigest="ZTZlZDE1M2EzOGY1MWFjYmQyZDc4ZjJhNzg4NjA2Y2YwMWM3NGQ1YQ==", '
        'Nonce="00112233445566778899aabbccddeeff", Created="2024-01-02T03:04:05.000Z"'
    )


def test_a_login_is_tried_by_a_token_and_read_with_one_that_works() -> None:
    world = World()
    found = world.read(world.connected())
    assert {name: found[name] for name in LOGIN} == LOGIN
    assert set(found) == {"type", "username", "password", "token", "expires_at"}
    assert found["expires_at"] == "2026-01-01T00:05:00.000Z"
    assert LOGIN["password"] not in world.server.sent[0].headers["x-wsse"]
    world.server.nonces.clear()
    assert world.server.accepts(found["token"])


def test_a_wrong_password_is_a_400_and_stores_nothing() -> None:
    world = World()
    refused = world.submit({"type": "SIGNATURE", **LOGIN, "password": "wrong"})
    assert (refused.status, refused.code) == (400, "connection_test_failed")
    assert world.stored() == []


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"type": "BASIC", **LOGIN}, ["type"]),
        ({"username": "u"}, ["password"]),
        ({"username": "", "password": "p"}, ["username"]),
        ({**LOGIN, "more": 1}, []),
    ],
)
def test_bodies_that_do_not_fit_are_refused(body: Any, path: list[str]) -> None:
    world = World()
    refused = world.submit(body)
    assert (refused.status, refused.code) == (400, "invalid_body")
    assert [each for _code, each in refused.issues] == [path]
    assert world.server.sent == []


def test_a_read_shortly_before_the_end_gets_a_new_token_that_nobody_was_asked_for() -> None:
    world = World()
    connection_id = world.connected()
    first = world.read(connection_id)["token"]
    world.ctx.clock.advance(230)
    assert world.read(connection_id)["token"] == first
    world.ctx.clock.advance(20)
    second = world.read(connection_id)
    assert second["token"] != first
    assert world.server.accepts(second["token"])
    assert second["expires_at"] == "2026-01-01T00:09:10.000Z"
    assert world.read(connection_id, "&force_refresh=true")["token"] != second["token"]
    assert len(world.server.sent) == 1


def test_the_background_renews_it_before_it_ends() -> None:
    world = World()
    connection_id = world.connected()
    first = world.read(connection_id)["token"]
    pass_time(world.ctx, 240, step=60)
    renewed = world.read(connection_id)
    assert renewed["token"] != first
    assert world.server.accepts(renewed["token"])


def test_an_import_is_tried_and_read_with_a_token() -> None:
    world = World()
    body: dict[str, Any] = {
        "provider_config_key": "letters",
        "connection_id": "c1",
        "credentials": {"type": "SIGNATURE", **LOGIN, "password": "wrong"},
    }
    refused = world.app.post("/connections", body)
    assert (refused.status, refused.code) == (400, "connection_test_failed")
    body["credentials"]["password"] = LOGIN["password"]
    made = world.app.post("/connections", body)
    assert made.status == 201, made.body
    assert made.json()["credentials"]["token"] == world.read("c1")["token"]


def test_a_reconnect_replaces_the_login_and_a_deletion_ends_it() -> None:
    world = World()
    connection_id = world.connected()
    world.server.passwords[LOGIN["username"]] = "changed"
    body = {"connection_id": connection_id, "integration_id": "letters"}
    token = world.app.post("/connect/sessions/reconnect", body).json()["data"]["token"]
    again = world.submit({"type": "SIGNATURE", **LOGIN, "password": "changed"}, token)
    assert again.json()["connectionId"] == connection_id
    assert world.read(connection_id)["password"] == "changed"
    path = f"/connections/{connection_id}?provider_config_key=letters"
    assert world.app.delete(path).status == 200
    assert world.stored() == []


def test_an_entry_names_a_protocol_that_is_spoken() -> None:
    world = World()
    for protocol in ("RSA", "HMAC", "EC"):
        changed = {**DEFINITION, "signature": {"protocol": protocol}}
        refused = world.app.put("/providers/other", changed)
        assert (refused.status, refused.code) == (400, "invalid_body")
