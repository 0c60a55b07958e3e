"""The demo app: what it gives away (little), whom it answers, what it registers and notices."""

import asyncio
import base64
import hashlib
import hmac
import json
import socket
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

from local.demo import create_app, register
from local.demo.provider import start
from local.demo.watch import Watch, mask

KEY = "11111111-2222-4333-8444-555555555555"
SIGNING = "signing-key"
DEMO = "http://127.0.0.1:4500/demo"


@dataclass
class Stack:
    state_dir: Path
    api_url: str = "http://127.0.0.1:1"
    websocket_url: str = "ws://127.0.0.1:4500"
    connect_ui_url: str = "http://127.0.0.1:4500/ui/connect"
    callback_url: str = "http://127.0.0.1:1/oauth/callback"
    demo_url: str = DEMO
    demo_provider_url: str = "http://127.0.0.1:1"
    secret_key: str = KEY
    webhook_signing_key: str = SIGNING
    environment: str = "dev"


class FakeApi:
    """The few endpoints of the API that the demo uses, in memory."""

    def __init__(self):
        self.providers = {}
        self.integrations = {}
        self.settings = {
            "primary_url": None,
            "secondary_url": None,
            "on_auth_creation": True,
            "on_auth_refresh_error": True,
            "on_connection_deletion": False,
        }
        self.connections = {}
        self.sessions = []
        self.writes = []
        self.reads = []

    async def answer(self, request):
        assert request.headers["authorization"] == f"Bearer {KEY}"
        parts = request.url.path.strip("/").split("/")
        body = json.loads(await request.body() or b"null")
        if request.method in {"PUT", "POST", "PATCH", "DELETE"}:
            self.writes.append((request.method, request.url.path))
        handlers = {
            "providers": self.on_providers,
            "integrations": self.on_integrations,
            "environment": self.on_environment,
            "connect": self.on_connect,
            "connections": self.on_connections,
        }
        return handlers[parts[0]](request, parts[1:], body)

    def missing(self):
        return JSONResponse({"error": {"code": "not_found", "message": "no"}}, status_code=404)

    def on_providers(self, _request, rest, body):
        self.providers[rest[0]] = body
        return JSONResponse({"data": body})

    def on_integrations(self, request, rest, body):
        if request.method == "POST":
            self.integrations[body["unique_key"]] = body
            return JSONResponse({"data": body})
        if rest[0] not in self.integrations:
            return self.missing()
        if request.method == "PATCH":
            self.integrations[rest[0]].update(body)
        return JSONResponse({"data": self.integrations[rest[0]]})

    def on_environment(self, request, _rest, body):
        if request.method == "PUT":
            self.settings = body
        return JSONResponse({"data": self.settings})

    def on_connect(self, _request, _rest, body):
        self.sessions.append(body)
        data = {"token": "nango_connect_session_x", "connect_link": "l", "expires_at": "2030"}
        return JSONResponse({"data": data}, status_code=201)

    def on_connections(self, request, rest, _body):
        if not rest:
            rows = [
                {
                    "connection_id": key,
                    "provider_config_key": "demo",
                    "created": "2026-01-01T00:00:00Z",
                }
                for key in self.connections
            ]
            return JSONResponse({"connections": rows})
        if rest[0] not in self.connections:
            return self.missing()
        if request.method == "DELETE":
            del self.connections[rest[0]]
            return JSONResponse({"success": True})
        self.reads.append(rest[0])
        return JSONResponse({"credentials": self.connections[rest[0]]})


@pytest.fixture(scope="module")
def served_api():
    fake = FakeApi()
    route = Route("/{rest:path}", fake.answer, methods=["GET", "PUT", "POST", "PATCH", "DELETE"])
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = uvicorn.Config(
        Starlette(routes=[route]),
        host="127.0.0.1",
        port=port,
        log_level="error",
        ws="none",
        lifespan="off",
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.005)
    fake.url = f"http://127.0.0.1:{port}"
    yield fake
    server.should_exit = True
    thread.join(5)


@pytest.fixture
def api(served_api):
    served_api.__init__()
    return served_api


@pytest.fixture
def provider(tmp_path):
    found = start(0, tmp_path / "provider")
    yield found
    found.stop()


@pytest.fixture
def stack(tmp_path, api):
    return Stack(tmp_path, api_url=api.url, callback_url=f"{api.url}/oauth/callback")


class Client:
    """Sends requests to the demo app as the gateway mounts it."""

    def __init__(self, stack):
        self._app = Starlette(routes=[Mount("/demo", create_app(stack))])

    def request(self, method, path, **options):
        async def send():
            transport = httpx.ASGITransport(self._app)
            async with httpx.AsyncClient(transport=transport) as http:
                return await http.request(method, DEMO + path, **options)

        return asyncio.run(send())

    def get(self, path, **options):
        return self.request("GET", path, **options)

    def post(self, path, **options):
        return self.request("POST", path, **options)


@pytest.fixture
def client(stack):
    return Client(stack)


def signed(body):
    return {"x-nango-hmac-sha256": hmac.new(SIGNING.encode(), body, hashlib.sha256).hexdigest()}


def test_registering_puts_everything_in_place(api, stack, provider):
    register(replace(stack, demo_provider_url=provider.url))
    assert api.providers["demo"]["token_url"] == f"{provider.url}/token"
    assert api.providers["demo-api-key"]["auth_mode"] == "API_KEY"
    assert api.integrations["demo"]["credentials"]["client_id"].startswith("demo-")
    assert api.integrations["demo-api-key"]["provider"] == "demo-api-key"
    assert api.settings["primary_url"] == f"{DEMO}/webhooks"
    assert api.settings["on_auth_creation"] is True


def test_registering_again_keeps_the_client(api, stack, provider):
    stack = replace(stack, demo_provider_url=provider.url)
    register(stack)
    before = dict(api.integrations["demo"]["credentials"])
    api.writes.clear()
    register(stack)
    assert api.integrations["demo"]["credentials"] == before
    assert {path for _, path in api.writes} == {"/providers/demo", "/providers/demo-api-key"}


def test_a_provider_that_lost_its_state_gets_a_new_client(api, stack, provider, tmp_path):
    register(replace(stack, demo_provider_url=provider.url))
    before = api.integrations["demo"]["credentials"]["client_id"]
    fresh = start(0, tmp_path / "fresh")
    register(replace(stack, demo_provider_url=fresh.url))
    fresh.stop()
    assert api.integrations["demo"]["credentials"]["client_id"] != before


def test_webhook_settings_of_the_users_own_are_left_alone(api, stack, provider):
    api.settings["primary_url"] = "https://hooks.example/mine"
    register(replace(stack, demo_provider_url=provider.url))
    assert api.settings["primary_url"] == "https://hooks.example/mine"


def test_the_browser_gets_a_session_and_never_the_secret_key(client, api):
    answer = client.post("/session", json={"integration": "demo"})
    assert answer.status_code == 201
    assert answer.json()["token"] == "nango_connect_session_x"
    assert KEY not in answer.text
    assert api.sessions[0]["allowed_integrations"] == ["demo"]


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "http://127.0.0.1:9999", "sec-fetch-site": "same-site"},
        {"origin": "null"},
        {"host": "evil.example:4500"},
    ],
)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/session"),
        ("GET", "/connections"),
        ("GET", "/events"),
        ("DELETE", "/connections/c"),
        ("POST", "/connections/c/refresh"),
        ("POST", "/connections/c/use"),
        ("POST", "/webhooks"),
    ],
)
def test_other_sites_get_nothing(client, api, headers, method, path):
    answer = client.request(method, path, headers=headers)
    assert answer.status_code == 403
    assert "access-control-allow-origin" not in answer.headers
    assert api.sessions == []


def test_its_own_page_is_answered(client):
    own = {"origin": "http://127.0.0.1:4500", "sec-fetch-site": "same-origin"}
    assert client.get("/connections", headers=own).json() == {"connections": []}


def test_the_page_may_be_opened_from_a_link_but_not_framed(client):
    answer = client.get("/", headers={"sec-fetch-site": "cross-site"})
    assert answer.status_code == 200
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert "script-src 'self'" in answer.headers["content-security-policy"]


def test_a_signed_webhook_is_taken_and_kept(client, stack):
    body = b'{"connectionId":"c1","type":"auth"}'
    assert client.post("/webhooks", content=body, headers=signed(body)).status_code == 200
    kept = json.loads((stack.state_dir / "demo" / "webhooks.json").read_text())
    assert kept[0]["body"]["connectionId"] == "c1"


@pytest.mark.parametrize("headers", [{}, {"x-nango-hmac-sha256": "0" * 64}, signed(b"other")])
def test_a_webhook_that_is_not_signed_right_is_refused(client, stack, headers):
    assert client.post("/webhooks", content=b"{}", headers=headers).status_code == 401
    assert not (stack.state_dir / "demo" / "webhooks.json").exists()


def test_only_the_last_two_hundred_webhooks_are_kept(client, stack):
    for number in range(205):
        body = json.dumps({"n": number}).encode()
        client.post("/webhooks", content=body, headers=signed(body))
    kept = json.loads((stack.state_dir / "demo" / "webhooks.json").read_text())
    assert [entry["body"]["n"] for entry in kept] == list(range(5, 205))


def test_a_huge_webhook_is_refused(client):
    body = b"x" * 300_000
    assert client.post("/webhooks", content=body, headers=signed(body)).status_code == 413


def test_an_unknown_connection_is_a_404(client):
    assert client.request("DELETE", "/connections/nobody").status_code == 404
    assert client.post("/connections/nobody/refresh").status_code == 404


def test_when_the_stack_is_away_the_page_is_told(tmp_path):
    away = Client(Stack(tmp_path))
    assert away.post("/session").json()["error"]["code"] == "no_answer"


def test_a_masked_token_shows_its_ends_only():
    assert mask("demo_at_abcdefghijklmnop") == "demo_at_……mnop"
    assert mask("") == ""


def _token(http, api, provider, integration, **form):
    made = api.integrations["demo"]["credentials"]
    return http.post("/token", data=form, auth=(made["client_id"], made["client_secret"])).json()


def test_a_refresh_in_the_background_is_noticed_and_shown_without_the_token(api, stack, provider):
    stack = replace(stack, demo_provider_url=provider.url)
    register(stack)

    def approve(http):
        digest = hashlib.sha256(b"v" * 64).digest()
        answer = http.post(
            "/authorize",
            params={
                "response_type": "code",
                "client_id": api.integrations["demo"]["credentials"]["client_id"],
                "redirect_uri": f"{stack.api_url}/oauth/callback",
                "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
                "code_challenge_method": "S256",
            },
            data={"account": "ada", "answer": "approve"},
        )
        code = parse_qs(urlsplit(answer.headers["location"]).query)["code"][0]
        return _token(
            http,
            api,
            provider,
            "demo",
            grant_type="authorization_code",
            code=code,
            redirect_uri=f"{stack.api_url}/oauth/callback",
            code_verifier="v" * 64,
        )

    def credential(token):
        return {"type": "OAUTH2", "access_token": token["access_token"], "raw": token} | {
            "expires_at": "2099-01-01T00:00:00.000Z"
        }

    async def scenario():
        watch = Watch(stack)
        happened = watch.listen()

        async def until(kind, check=lambda value: True):
            async with asyncio.timeout(15):
                async for seen, value in happened:
                    if seen == kind and check(value):
                        return value
            raise AssertionError(kind)

        with httpx.Client(base_url=provider.url, trust_env=False) as http:
            first = await asyncio.to_thread(approve, http)
            api.connections["c1"] = credential(first)
            shown = await until("connections", lambda rows: rows and rows[0]["family"])
            assert shown[0]["masked"] == mask(first["access_token"])
            second = await asyncio.to_thread(
                _token,
                http,
                api,
                provider,
                "demo",
                grant_type="refresh_token",
                refresh_token=first["refresh_token"],
            )
            api.connections["c1"] = credential(second)
            logged = (await asyncio.to_thread(http.get, "/log")).json()["entries"][-1]
        told = await until("refresh")
        assert told["ok"] is True
        assert told["time"] == logged["ended"]
        assert watch.refreshes() == [told]
        shown = await until("connections")
        assert shown[0]["refreshes"] == 1
        assert shown[0]["masked"] == mask(second["access_token"])
        assert second["access_token"] not in json.dumps(shown)
        await happened.aclose()
        await asyncio.wait_for(watch._task, 10)

    asyncio.run(scenario())
