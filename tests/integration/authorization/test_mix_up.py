"""RFC 9700 §4.4: a hostile authorization server never gets the code of an honest one.

Two real servers on loopback. The hostile one sends the browser on to the honest one, with client
and challenge of an attempt of the attacker's own and the state of the victim's attempt. Whatever
then comes back to a callback in the victim's browser must not reach the hostile token endpoint.
"""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest

from keystow.egress.client import Egress
from tests.app import App
from tests.integration.authorization.popup import Browser
from tests.support import make_context, seed_environment

if TYPE_CHECKING:
    from collections.abc import Iterator

CODE = "code-of-the-honest-server"


@dataclass
class AuthorizationServer:
    """A real server that redeems whatever it is given, and keeps it."""

    url: str
    redeemed: list[dict[str, str]] = field(default_factory=list)


@contextmanager
def authorization_server() -> Iterator[AuthorizationServer]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            server.redeemed.append(dict(parse_qsl(body)))
            answer = json.dumps({"access_token": "at", "expires_in": 3600}).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_args: Any) -> None:
            """Say nothing."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server = AuthorizationServer(f"http://127.0.0.1:{http.server_address[1]}")
    thread = threading.Thread(target=lambda: http.serve_forever(poll_interval=0.01), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()


@dataclass
class Scene:
    """Integrations of both servers, and a victim who sets out for the hostile one."""

    app: App
    honest: AuthorizationServer
    hostile: AuthorizationServer

    def integrate(self, key: str, **body: Any) -> dict[str, Any]:
        client = {"type": "OAUTH2", "client_id": f"client-of-{key}", "client_secret": "s"}
        made = self.app.post(
            "/integrations", {"provider": key, "unique_key": key, "credentials": client, **body}
        )
        assert made.status == 200, made.body
        found: dict[str, Any] = made.json()["data"]
        return found

    def define(self, key: str, server: AuthorizationServer, **fields: Any) -> None:
        definition = {
            "display_name": key,
            "auth_mode": "OAUTH2",
            "authorization_url": f"{server.url}/authorize",
            "token_url": f"{server.url}/token",
            **fields,
        }
        assert self.app.put(f"/providers/{key}", definition).status == 201

    def set_out(self, browser: Browser, key: str) -> dict[str, str]:
        made = self.app.post(
            "/connect/sessions", {"end_user": {"id": "u"}, "allowed_integrations": [key]}
        )
        token = made.json()["data"]["token"]
        began = browser.get(f"/oauth/connect/{key}?connect_session_token={token}")
        assert began.status == 302, began.body
        return dict(parse_qsl(urlsplit(began.headers["location"]).query))

    def connections(self) -> list[Any]:
        found: list[Any] = self.app.get("/connections").json()["connections"]
        return found


@pytest.fixture
def scene() -> Iterator[Scene]:
    with authorization_server() as honest, authorization_server() as hostile:
        ctx: Any = make_context(egress=Egress(allow_loopback=True), loopback_allowed=True)
        scene = Scene(App(ctx, seed_environment(ctx).secret_key), honest, hostile)
        scene.define("honest", honest)
        scene.define("hostile", hostile)
        yield scene


def back(browser: Browser, path: str, pairs: list[tuple[str, str]]) -> Any:
    return browser.get(f"{path}?{urlencode(pairs)}")


@pytest.mark.parametrize(
    "named", ["no iss", "the honest iss", "a wrong iss", "the hostile iss", "iss twice"]
)
@pytest.mark.parametrize("own", ["of the hostile one", "of the honest one", "of both"])
def test_the_code_of_the_honest_server_never_reaches_the_hostile_one(
    scene: Scene, named: str, own: str
) -> None:
    honest = scene.integrate("honest", own_callback=own != "of the hostile one")
    scene.integrate("hostile", own_callback=own != "of the honest one")
    victim = Browser(scene.app)
    sent = scene.set_out(victim, "hostile")
    came: dict[str, list[tuple[str, str]]] = {
        "no iss": [],
        "the honest iss": [("iss", scene.honest.url)],
        "a wrong iss": [("iss", "https://elsewhere.example")],
        "the hostile iss": [("iss", scene.hostile.url)],
        "iss twice": [("iss", scene.hostile.url), ("iss", scene.honest.url)],
    }
    # The honest server sends nobody but to a redirect URI that is registered with it.
    place = urlsplit(honest["callback_url"]).path
    assert sent["redirect_uri"] != honest["callback_url"]
    page = back(victim, place, [("code", CODE), ("state", sent["state"]), *came[named]])
    assert page.status == 400
    assert b"callback_err" in page.body
    assert scene.hostile.redeemed == []
    assert scene.honest.redeemed == []
    assert scene.connections() == []


@pytest.mark.parametrize(
    "extra",
    [
        [("iss", "{honest}")],
        [("iss", "https://elsewhere.example")],
        [("iss", "")],
        [("iss", "{hostile}"), ("iss", "{honest}")],
        [("iss", "{hostile}"), ("iss", "{hostile}")],
        [("code", "another")],
        [("error", "access_denied"), ("error", "access_denied")],
    ],
)
def test_on_the_callback_that_all_share_an_iss_that_comes_must_fit_and_nothing_comes_twice(
    scene: Scene, extra: list[tuple[str, str]]
) -> None:
    scene.integrate("honest")
    scene.integrate("hostile")
    victim = Browser(scene.app)
    sent = scene.set_out(victim, "hostile")
    urls = {"honest": scene.honest.url, "hostile": scene.hostile.url}
    told = [(name, value.format(**urls)) for name, value in extra]
    page = back(victim, "/oauth/callback", [("code", CODE), ("state", sent["state"]), *told])
    assert page.status == 400
    assert scene.hostile.redeemed == []
    assert scene.connections() == []


def test_the_state_is_never_read_of_two(scene: Scene) -> None:
    scene.integrate("honest")
    victim = Browser(scene.app)
    mine, other = scene.set_out(victim, "honest"), scene.set_out(victim, "honest")
    pairs = [("code", CODE), ("state", mine["state"]), ("state", other["state"])]
    assert back(victim, "/oauth/callback", pairs).status == 400
    assert scene.honest.redeemed == []


def test_what_comes_to_an_own_callback_counts_for_no_attempt_of_the_shared_one(
    scene: Scene,
) -> None:
    hostile = scene.integrate("hostile", own_callback=True)
    scene.integrate("honest")
    victim = Browser(scene.app)
    sent = scene.set_out(victim, "honest")
    place = urlsplit(hostile["callback_url"]).path
    assert back(victim, place, [("code", CODE), ("state", sent["state"])]).status == 400
    assert scene.honest.redeemed == []


@pytest.mark.parametrize("own", [True, False])
def test_an_honest_answer_makes_the_connection(scene: Scene, own: bool) -> None:
    honest = scene.integrate("honest", own_callback=own)
    browser = Browser(scene.app)
    sent = scene.set_out(browser, "honest")
    assert sent["redirect_uri"] == honest["callback_url"]
    place = urlsplit(sent["redirect_uri"]).path
    pairs = [("code", CODE), ("state", sent["state"]), ("iss", scene.honest.url)]
    assert back(browser, place, pairs).status == 200
    assert scene.honest.redeemed[0]["redirect_uri"] == sent["redirect_uri"]
    assert len(scene.connections()) == 1
