"""Tokens with a realm: every signature is checked by Authlib's server."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest

from keystow.egress.client import Answer
from keystow.store import tables
from tests.app import App
from tests.contract.replay import seed_key
from tests.integration.authorization.popup import END_USER
from tests.integration.modes.background import pass_time, refresh_events
from tests.oauth1_server import HOST, Client, Provider, Token
from tests.support import make_context, seed_environment

if TYPE_CHECKING:
    from tests.app import Result

TOKEN = {"token_id": "token id", "token_secret": "token secret/+"}
DEFINITION: dict[str, Any] = {
    "display_name": "Books",
    "auth_mode": "TBA",
    "proxy": {"base_url": f"{HOST}/api", "verification": {"endpoints": ["/me?a=1&b=x%2Fy"]}},
    "connection_config": {
        "accountId": {"type": "string", "title": "Account", "pattern": "^[A-Za-z0-9_-]+$"}
    },
}


class World:
    def __init__(self) -> None:
        self.provider = Provider(Client("consumer", "consumer secret"))
        self.provider.tokens["token id"] = Token("token id", "token secret/+")
        self.ctx: Any = make_context(egress=self.provider)
        seeded = seed_environment(self.ctx)
        self.app = App(self.ctx, seeded.secret_key)
        assert self.app.put("/providers/books", DEFINITION).status == 201
        client = {"type": "TBA", "client_id": "consumer", "client_secret": "consumer secret"}
        body = {"provider": "books", "unique_key": "books", "credentials": client}
        assert self.app.post("/integrations", body).status == 200

    def submit(self, body: Any, account: str = "1234-sb1", token: str = "") -> Result:
        if not token:
            made = self.app.post("/connect/sessions", {"end_user": END_USER})
            token = made.json()["data"]["token"]
        query = {"connect_session_token": token, "params[accountId]": account}
        kept = {name: text for name, text in query.items() if text}
        return self.app.post(f"/auth/tba/books?{urlencode(kept)}", body, key=None)

    def read(self, connection_id: str, key: str | None = "") -> dict[str, Any]:
        path = f"/connections/{connection_id}?provider_config_key=books"
        found = self.app.get(path, key=key)
        assert found.status == 200, found.body
        return dict(found.json())

    def stored(self) -> list[Any]:
        items = self.ctx.store.everything().get(tables.CONNECTIONS, [])
        return [item for item in items if item["sk"] == tables.CONNECTION]


def test_a_token_is_tried_with_the_realm_of_its_account_and_read_in_the_contracts_shape() -> None:
    world = World()
    made = world.submit(TOKEN)
    assert made.status == 200, made.body
    (sent,) = world.provider.sent
    assert sent.headers["authorization"].startswith('OAuth realm="1234_SB1", ')
    assert 'oauth_signature_method="HMAC-SHA256"' in sent.headers["authorization"]
    found = world.read(made.json()["connectionId"])
    assert found["credentials"] == {"type": "TBA", **TOKEN}
    assert found["connection_config"] == {
        "accountId": "1234-sb1",
        "oauth_client_id": "consumer",
        "oauth_client_secret": "consumer secret",
    }


def test_the_client_is_shown_as_it_is_now_and_to_nobody_who_may_not_read_credentials() -> None:
    world = World()
    made = world.submit(TOKEN).json()["connectionId"]
    client = {"type": "TBA", "client_id": "consumer", "client_secret": "rotated"}
    assert world.app.patch("/integrations/books", {"credentials": client}).status == 200
    world.ctx.clock.advance(600)
    assert world.read(made)["connection_config"]["oauth_client_secret"] == "rotated"
    reader = seed_key(world.ctx, ("environment:connections:read",))
    assert world.read(made, reader)["connection_config"] == {"accountId": "1234-sb1"}
    importer = seed_key(world.ctx, ("environment:connections:create",))
    body = {
        "provider_config_key": "books",
        "connection_config": {"accountId": "1"},
        "credentials": {"type": "TBA", **TOKEN},
    }
    world.provider.client = replace(world.provider.client, secret="rotated")
    imported = world.app.post("/connections", body, key=importer)
    assert imported.status == 201
    assert imported.json()["connection_config"] == {"accountId": "1"}


def test_a_wrong_token_is_a_400_and_stores_nothing() -> None:
    world = World()
    refused = world.submit({**TOKEN, "token_secret": "wrong"})
    assert (refused.status, refused.code) == (400, "connection_test_failed")
    assert world.stored() == []


@pytest.mark.parametrize(
    ("body", "account", "paths"),
    [
        ({}, "1", [["token_id"], ["token_secret"]]),
        ({**TOKEN, "more": 1}, "1", [[]]),
        ({**TOKEN, "oauth_client_id_override": "x"}, "1", [["oauth_client_secret_override"]]),
        ({**TOKEN, "oauth_client_secret_override": "x"}, "1", [["oauth_client_id_override"]]),
    ],
)
def test_bodies_that_are_not_complete_are_refused(body: Any, account: str, paths: Any) -> None:
    world = World()
    refused = world.submit(body, account)
    assert (refused.status, refused.code) == (400, "invalid_body")
    assert [path for _code, path in refused.issues] == paths
    assert world.provider.sent == []


def test_an_account_is_needed_and_must_fit() -> None:
    world = World()
    assert world.submit(TOKEN, "").code == "invalid_body"
    assert world.submit(TOKEN, "a.example/").code == "invalid_query_params"
    assert world.provider.sent == []
    assert world.stored() == []


def test_a_client_of_the_connections_own_signs_its_requests() -> None:
    world = World()
    world.provider.client = Client("own", "own secret")
    own = {"oauth_client_id_override": "own", "oauth_client_secret_override": "own secret"}
    made = world.submit({**TOKEN, **own})
    assert made.status == 200, made.body
    found = world.read(made.json()["connectionId"])["credentials"]
    assert found["config_override"] == {"client_id": "own", "client_secret": "own secret"}


def test_imports_are_tried_and_older_bodies_are_taken_with_their_own_client() -> None:
    world = World()
    body: dict[str, Any] = {
        "provider_config_key": "books",
        "connection_id": "c1",
        "connection_config": {"accountId": "1"},
        "credentials": {"type": "TBA", **TOKEN, "token_secret": "wrong"},
    }
    refused = world.app.post("/connections", body)
    assert (refused.status, refused.code) == (400, "connection_test_failed")
    body["credentials"]["token_secret"] = TOKEN["token_secret"]
    made = world.app.post("/connections", body)
    assert made.status == 201
    assert made.json()["connection_config"]["oauth_client_secret"] == "consumer secret"
    flat = {
        **{name: body[name] for name in ("provider_config_key", "connection_config")},
        "connection_id": "c2",
        **TOKEN,
        "oauth_client_id_override": "own",
        "oauth_client_secret_override": "own secret",
    }
    assert world.app.post("/connection", flat).status == 201
    own = world.read("c2")["credentials"]["config_override"]
    assert own == {"client_id": "own", "client_secret": "own secret"}


def test_a_token_that_was_revoked_is_told_once_and_a_reconnect_repairs_it() -> None:
    world = World()
    made = world.submit(TOKEN).json()["connectionId"]
    settings = {"primary_url": "https://hooks.example/k"}
    assert world.app.put("/environment/webhook-settings", settings).status == 200
    world.provider.tokens["token id"].secret = "changed"
    pass_time(world.ctx, 3 * 86_400)
    assert len(world.read(made)["errors"]) == 1
    assert [event["success"] for event in refresh_events(world.ctx)] == [False]
    body = {"connection_id": made, "integration_id": "books"}
    token = world.app.post("/connect/sessions/reconnect", body).json()["data"]["token"]
    again = world.submit({**TOKEN, "token_secret": "changed"}, token=token)
    assert again.status == 200
    assert again.json()["connectionId"] == made
    assert world.read(made)["errors"] == []
    assert world.app.delete(f"/connections/{made}?provider_config_key=books").status == 200
    assert world.stored() == []


def test_a_provider_that_is_away_is_no_reason_to_take_a_token_untried() -> None:
    world = World()
    world.provider.fault = lambda _sent: Answer(503, {}, b"")
    assert world.submit(TOKEN).code == "connection_test_failed"
    assert world.stored() == []
