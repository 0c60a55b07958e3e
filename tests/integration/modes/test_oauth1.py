"""OAuth 1.0a against Authlib's server: a popup, an import, and every request signed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from keystow.egress.client import Answer
from keystow.egress.errors import EgressFailed
from keystow.modes.calling import caller_of
from keystow.records.connection import Sealed
from keystow.registry import integrations, providers
from keystow.secret import Secret
from keystow.store import tables
from tests.app import App
from tests.integration.authorization.popup import END_USER, SOCKET, Browser
from tests.oauth1_server import HOST, METHODS, Client, Provider
from tests.support import make_context, seed_environment

if TYPE_CHECKING:
    from tests.app import Result

KEY, SECRET = "consumer key/1", "consumer secret+&"
DEFINITION: dict[str, Any] = {
    "display_name": "Signed",
    "auth_mode": "OAUTH1",
    "request_url": f"{HOST}/request",
    "authorization_url": f"{HOST}/authorize",
    "token_url": f"{HOST}/access",
    "signature_method": "HMAC-SHA1",
    "proxy": {
        "base_url": f"{HOST}/api",
        "verification": {"endpoints": ["/me?b=2&a=x%20y&c="]},
    },
}


def _pem_pair() -> tuple[str, str]:
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return private.decode(), public.decode()


class World:
    def __init__(self, secret: str = SECRET, public_key: str = "", **definition: Any) -> None:
        self.provider = Provider(Client(KEY, secret.strip(), public_key))
        self.ctx: Any = make_context(egress=self.provider)
        seeded = seed_environment(self.ctx)
        self.app = App(self.ctx, seeded.secret_key)
        self.environment = seeded.environment.id
        made = self.app.put("/providers/signed", {**DEFINITION, **definition})
        assert made.status == 201, made.body
        client = {"type": "OAUTH1", "client_id": KEY, "client_secret": secret, "scopes": "r,w"}
        body = {"provider": "signed", "unique_key": "signed", "credentials": client}
        assert self.app.post("/integrations", body).status == 200

    def session(self, **body: Any) -> str:
        found = self.app.post("/connect/sessions", {"end_user": END_USER, **body})
        assert found.status == 201, found.body
        return str(found.json()["data"]["token"])

    def start(self, browser: Browser, token: str = "", **query: str) -> Result:
        given = {"connect_session_token": token or self.session(), "ws_client_id": SOCKET, **query}
        return browser.get(f"/oauth/connect/signed?{urlencode(given)}")

    def connected(self, token: str = "") -> str:
        browser = Browser(self.app)
        started = self.start(browser, token)
        assert started.status == 302, started.body
        back = self.provider.approved(started.headers["location"])
        assert browser.get(f"/oauth/callback?{urlencode(back)}").status == 200
        frame = self.frames()[-1]
        assert frame["message_type"] == "success", frame
        return str(frame["connection_id"])

    def frames(self) -> list[dict[str, Any]]:
        return [frame for place, frame in self.ctx.sockets.pushed if place == SOCKET]

    def connections(self) -> int:
        items = self.ctx.store.everything().get(tables.CONNECTIONS, [])
        return sum(item["sk"] == tables.CONNECTION for item in items)

    def read(self, connection_id: str) -> dict[str, Any]:
        found = self.app.get(f"/connections/{connection_id}?provider_config_key=signed")
        assert found.status == 200, found.body
        return dict(found.json())

    def imported(self, token: str, secret: str = "token secret+/=&", **more: Any) -> Result:
        credentials = {"type": "OAUTH1", "oauth_token": token, "oauth_token_secret": secret}
        body = {"provider_config_key": "signed", "connection_id": "c1", **more}
        return self.app.post("/connections", {**body, "credentials": credentials})


@pytest.mark.parametrize("method", METHODS)
def test_an_account_is_connected_and_its_requests_are_signed(method: str) -> None:
    private, public = _pem_pair() if method == "RSA-SHA1" else (SECRET, "")
    world = World(private, public, signature_method=method)
    world.provider.more = {"screen_name": "ada", "user_id": "7"}
    connection_id = world.connected()
    found = world.read(connection_id)["credentials"]
    assert found == {
        "type": "OAUTH1",
        "oauth_token": "token/0",
        "oauth_token_secret": "token secret+/=&",
        "raw": {
            "oauth_token": "token/0",
            "oauth_token_secret": "token secret+/=&",
            "screen_name": "ada",
            "user_id": "7",
        },
    }
    # The entry's verification shows what else is signed: a query in odd order, with a space.
    assert world.imported("token/0").status == 201
    assert [urlsplit(each.url).path for each in world.provider.sent] == [
        "/request",
        "/access",
        "/api/me",
    ]


def test_the_browser_is_sent_with_the_request_token_scopes_and_the_entrys_parameters() -> None:
    world = World(authorization_params={"expiration": "never", "name": "x"}, scope_separator=",")
    fixed = {"signed": {"authorization_params": {"name": "Acme & Co", "expiration": "undefined"}}}
    started = world.start(Browser(world.app), world.session(integrations_config_defaults=fixed))
    location = urlsplit(started.headers["location"])
    asked = dict(parse_qsl(location.query))
    back = asked.pop("oauth_callback")
    assert f"{location.scheme}://{location.netloc}{location.path}" == f"{HOST}/authorize"
    assert asked == {"oauth_token": "request/0", "name": "Acme & Co", "scope": "r,w"}
    assert back.startswith("https://keystow.test/oauth/callback?state=")
    assert "request secret" not in started.headers["location"]


@pytest.mark.parametrize("http_method", ["GET", "POST"])
def test_fields_of_the_entry_go_along_signed(http_method: str) -> None:
    params = {"x_access": "write it", "z": "1"}
    world = World(
        request_params=params,
        token_params={"more": "é"},
        token_http_method=http_method,
        token_response_metadata=["team"],
    )
    world.provider.more = {"team": "t1"}
    connection_id = world.connected()
    request, token = world.provider.sent
    assert (request.method, request.form()) == ("POST", params)
    sent = token.form() if http_method == "POST" else dict(parse_qsl(urlsplit(token.url).query))
    assert (token.method, sent) == (http_method, {"more": "é"})
    assert world.read(connection_id)["connection_config"] == {"team": "t1"}


def test_a_wrong_consumer_secret_ends_before_the_browser_leaves() -> None:
    world = World()
    world.provider.client = replace(world.provider.client, secret="another")
    started = world.start(Browser(world.app))
    assert started.status == 400
    assert world.frames()[-1]["error_type"] == "token_err"
    assert SECRET not in started.body.decode()
    assert world.connections() == 0
    assert [
        each for each in world.ctx.store.everything()[tables.SESSIONS] if "sealed" in each
    ] == []


@pytest.mark.parametrize(
    "fault",
    [
        lambda _sent: EgressFailed("timeout", sent=True),
        lambda _sent: Answer(200, {}, b"oauth_token=only"),
        lambda _sent: Answer(200, {}, b"oauth_token=a&oauth_token=b&oauth_token_secret=c"),
        lambda _sent: Answer(200, {}, b"\xff\xfe"),
        lambda _sent: Answer(503, {}, b"consumer%20secret%2B%26&"),
        lambda _sent: Answer(302, {"location": "https://evil.example"}, b""),
    ],
)
def test_an_answer_without_a_token_is_an_error_of_the_popup(fault: Any) -> None:
    world = World(signature_method="PLAINTEXT")

    def failing(sent: Any) -> Answer:
        found = fault(sent)
        if isinstance(found, Exception):
            raise found
        return found

    world.provider.fault = failing
    started = world.start(Browser(world.app))
    assert started.status == 400
    frame = world.frames()[-1]
    assert frame["error_type"] == "token_err"
    assert "consumer" not in frame["error_desc"]
    assert len(world.provider.sent) == 1


def test_a_server_that_did_not_take_the_callback_is_not_gone_to() -> None:
    world = World()
    body = b"oauth_token=a&oauth_token_secret=b&oauth_callback_confirmed=false"
    world.provider.fault = lambda _sent: Answer(200, {}, body)
    assert world.start(Browser(world.app)).status == 400
    assert world.frames()[-1]["error_type"] == "token_err"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"oauth_verifier": ""}, "No verifier"),
        ({"oauth_token": ""}, "No verifier"),
        ({"oauth_token": "request/9"}, "another token"),
    ],
)
def test_a_callback_without_the_right_token_and_verifier_makes_nothing(
    change: dict[str, str], told: str
) -> None:
    world = World()
    browser = Browser(world.app)
    back = world.provider.approved(world.start(browser).headers["location"])
    query = {name: text for name, text in {**back, **change}.items() if text}
    assert browser.get(f"/oauth/callback?{urlencode(query)}").status == 400
    frame = world.frames()[-1]
    assert frame["error_type"] == "callback_err"
    assert told in frame["error_desc"]
    assert world.connections() == 0
    assert len(world.provider.sent) == 1


def test_a_wrong_verifier_is_refused_by_the_provider_and_told() -> None:
    world = World()
    browser = Browser(world.app)
    back = world.provider.approved(world.start(browser).headers["location"])
    back["oauth_verifier"] = "guessed"
    assert browser.get(f"/oauth/callback?{urlencode(back)}").status == 400
    assert world.frames()[-1]["error_type"] == "unknown_err"
    assert world.connections() == 0


def test_the_callback_is_bound_to_the_browser_that_left() -> None:
    world = World()
    back = world.provider.approved(world.start(Browser(world.app)).headers["location"])
    assert Browser(world.app).get(f"/oauth/callback?{urlencode(back)}").status == 400
    assert world.frames()[-1]["error_type"] == "state_cookie_err"
    assert world.connections() == 0


@pytest.mark.parametrize("name", ["oauth_token", "oauth_callback", "OAuth_Nonce", "state"])
def test_parameters_of_the_protocol_cannot_be_given(name: str) -> None:
    world = World()
    started = world.start(Browser(world.app), **{f"authorization_params[{name}]": "x"})
    assert started.status == 400
    assert world.frames()[-1]["error_type"] == "url_param_err"
    assert world.provider.sent == []


def test_an_integration_without_a_client_is_told_before_anything_is_sent() -> None:
    world = World()
    integration = integrations.by_unique_key(world.ctx, world.environment, "signed")
    assert integration is not None
    key = integration.key
    item = world.ctx.store.get(key)
    from keystow.store import Put

    world.ctx.store.transact(
        [Put(key, {name: text for name, text in item.items() if name != "client_id"})]
    )
    world.ctx.cache.clear()
    assert world.start(Browser(world.app)).status == 400
    assert world.frames()[-1]["error_type"] == "provider_config_err"
    assert world.provider.sent == []


def test_a_client_of_the_connections_own_stays_with_its_token() -> None:
    world = World()
    world.provider.client = Client("own", "own secret")
    own = {
        "credentials[oauth_client_id_override]": "own",
        "credentials[oauth_client_secret_override]": "own secret",
    }
    browser = Browser(world.app)
    started = world.start(browser, **own)
    back = world.provider.approved(started.headers["location"])
    assert browser.get(f"/oauth/callback?{urlencode(back)}").status == 200
    connection_id = str(world.frames()[-1]["connection_id"])
    found = world.read(connection_id)["credentials"]
    assert found["config_override"] == {"client_id": "own", "client_secret": "own secret"}
    integration = integrations.by_unique_key(world.ctx, world.environment, "signed")
    provider = providers.find(world.ctx, world.environment, "signed")
    assert integration is not None
    assert provider is not None
    caller = caller_of(world.ctx, integration, provider, Sealed(Secret(found), Secret({})))
    from keystow.catalog.proxy_request import build_request

    for body in ({"text": "a b&c"}, None):
        request = build_request(
            caller,
            "POST",
            "/notes?x=1",
            data=body,
            headers={"content-type": "application/x-www-form-urlencoded"} if body else {},
        )
        answer = world.provider.send(
            request.method, request.url, headers=request.headers, body=request.body
        )
        assert answer.status == 200, answer.body


def test_an_import_is_tried_with_a_signature_and_a_wrong_secret_is_refused() -> None:
    world = World()
    world.connected()
    refused = world.imported("token/0", "wrong")
    assert (refused.status, refused.code) == (400, "connection_test_failed")
    assert world.connections() == 1
    made = world.imported("token/0")
    assert made.status == 201
    shown = made.json()["credentials"]
    assert shown["raw"] == {
        "type": "OAUTH1",
        "oauth_token": "token/0",
        "oauth_token_secret": "token secret+/=&",
    }


def test_reconnecting_keeps_the_connection_and_replaces_the_token() -> None:
    world = World()
    connection_id = world.connected()
    body = {"connection_id": connection_id, "integration_id": "signed"}
    token = world.app.post("/connect/sessions/reconnect", body).json()["data"]["token"]
    assert world.connected(token) == connection_id
    assert world.read(connection_id)["credentials"]["oauth_token"] == "token/1"
    assert world.connections() == 1


def test_a_token_is_not_renewed_and_deleting_says_that_it_cannot_be_revoked() -> None:
    world = World()
    connection_id = world.connected()
    world.ctx.clock.advance(10 * 365 * 86_400)
    path = f"/connections/{connection_id}?provider_config_key=signed"
    assert world.app.get(f"{path}&force_refresh=true").status == 200
    sent = len(world.provider.sent)
    assert world.app.delete(path).status == 200
    assert len(world.provider.sent) == sent
    assert world.connections() == 0
