"""A stub of the API, as far as the browser pages use it, that serves the real pages."""

import asyncio
import importlib.util
import json
import socket
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import parse_qsl

import uvicorn
from starlette.applications import Starlette
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocketDisconnect

from keystow.catalog.loader import Provider
from keystow.errors import ApiError
from keystow.http import compression
from keystow.http.handler import Request as ApiRequest
from keystow.http.handler import result_of
from keystow.modes import way_of
from keystow.pages import callback

ROOT = Path(__file__).parents[2]
TOKEN = "nango_connect_session_" + "ab" * 32


def load_connect_ui():
    spec = importlib.util.spec_from_file_location(
        "connect_ui_app", ROOT / "functions" / "connect_ui" / "app.py"
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Served:
    """An ASGI app on a port of its own, in a thread."""

    def __init__(self, app, port):
        config = uvicorn.Config(
            app, host="127.0.0.1", port=port, log_level="error", ws="wsproto", lifespan="off"
        )
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.thread.start()
        deadline = time.monotonic() + 10
        while not self.server.started and time.monotonic() < deadline:
            time.sleep(0.01)

    def stop(self):
        self.server.should_exit = True
        self.thread.join(5)


OAUTH = {
    "name": "github",
    "display_name": "GitHub",
    "auth_mode": "OAUTH2",
    "docs_connect": "https://docs.example/github",
}
ZENDESK = {
    "name": "zendesk",
    "display_name": "Zendesk",
    "auth_mode": "OAUTH2",
    "docs_connect": "https://docs.example/zendesk",
    "connection_config": {
        "region": {"type": "string", "title": "Region", "enum": ["eu", "us"], "order": 2},
        "subdomain": {
            "type": "string",
            "title": "Subdomain",
            "description": "The first part of your address.",
            "example": "acme",
            "pattern": "^[a-z0-9-]+$",
            "prefix": "https://",
            "suffix": ".zendesk.com",
            "order": 1,
            "doc_section": "#subdomain",
        },
        "audience": {"type": "string", "title": "Audience", "hidden": True, "default_value": "api"},
        "account": {"type": "string", "title": "Account", "automated": True},
        "note": {"type": "string", "title": "Note", "optional": True, "order": 3},
        "mail": {"type": "string", "title": "E-mail", "optional": True, "format": "email"},
    },
}
API_KEY = {
    "name": "stripe",
    "display_name": "Stripe",
    "auth_mode": "API_KEY",
    "credentials": {
        "apiKey": {
            "type": "string",
            "title": "Secret key",
            "description": "Found under Developers.",
            "pattern": "^sk_",
            "example": "sk_live_1",
            "secret": True,
        }
    },
}
BASIC = {"name": "basic", "display_name": "Old Faithful", "auth_mode": "BASIC"}
NONE = {"name": "open", "display_name": "Open Data", "auth_mode": "NONE"}
ORDERED = {
    "name": "ordered",
    "display_name": "Ordered",
    "auth_mode": "API_KEY",
    "credentials": {"apiKey": {"type": "string", "title": "Key", "secret": True, "order": 3}},
    "connection_config": {
        "plain": {"type": "string", "title": "Plain", "optional": True},
        "second": {"type": "string", "title": "Second", "order": 2},
        "first": {"type": "string", "title": "First", "order": 0},
    },
}
CLIENT = {
    "name": "client",
    "display_name": "Machine Room",
    "auth_mode": "OAUTH2_CC",
    "connection_config": {"region": {"type": "string", "title": "Region", "order": 1}},
}
# Of a mode that this version does not have.
SIGNED = {"name": "jwt", "display_name": "Signed", "auth_mode": "UNHEARD_OF"}
PROVIDER_LIST = (OAUTH, ZENDESK, API_KEY, BASIC, NONE, SIGNED, ORDERED, CLIENT)
PROVIDERS = {
    one["name"]: {**one, "connect": way_of(Provider(one["name"], one))} for one in PROVIDER_LIST
}


class Stub:
    """The API of the contract, as far as the pages use it; tests turn its knobs."""

    def __init__(self):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.ui = load_connect_ui()
        self.noted = threading.Condition()
        self.reset()

    def reset(self):
        self.calls = []
        self.sockets = {}
        self.offered = ["github"]
        self.allowed = None
        self.unconnectable = set()
        self.fixed = []
        self.logos = "ui/logos"
        self.forms = 10
        self.session = {
            "endUser": {
                "id": "u1",
                "display_name": "Ada Lovelace",
                "email": "ada@acme.example",
                "tags": None,
                "organization": {"id": "o1", "display_name": "Acme Ltd"},
            },
            "connectUISettings": {
                "showWatermark": False,
                "defaultTheme": "system",
                "theme": {"light": {"primary": "#1f5fbf"}, "dark": {"primary": "#86b7ff"}},
            },
            "integrations_config_defaults": {},
            "isReconnecting": False,
            "websocketsPath": "/",
        }
        self.refuse = None
        self.refuse_all = None
        self.slow = None
        self.callback_answers = True
        self.popup_outcome = "success"
        self.popup_pause = 0.0
        self.refusal = "The provider refused: server_error"
        self.greets = True
        self.status = {"status": "pending", "log_id": "op_1"}

    # ---- what the pages ask ----

    def note(self, request, body=None):
        call = SimpleNamespace(
            method=request.method,
            path=request.url.path,
            query=dict(parse_qsl(request.url.query)),
            headers=dict(request.headers),
            body=body,
        )
        with self.noted:
            self.calls.append(call)
            self.noted.notify_all()

    def called(self, path, at_least=0):
        """Return the calls of a path, once there are so many of them."""
        with self.noted:
            self.noted.wait_for(lambda: len(self._of(path)) >= at_least, timeout=30)
        return self._of(path)

    def _of(self, path):
        return [call for call in self.calls if call.path.startswith(path)]

    def failure(self, code, message="", status=400):
        return JSONResponse({"error": {"code": code, "message": message}}, status_code=status)

    async def page(self, request):
        asked = ApiRequest(
            method=request.method,
            path=request.url.path,
            route="GET /ui/{page+}",
            path_params={},
            query={},
            raw_query=request.url.query,
            headers=dict(request.headers),
            cookies={},
            body=b"",
            base_url=self.url,
        )
        context = SimpleNamespace(
            settings=SimpleNamespace(websocket_url=f"ws://{request.url.netloc}")
        )
        try:
            made = self.ui.serve(context, asked)
        except ApiError as error:
            return self.failure(error.code, str(error), error.status)
        result = result_of(made)
        return Response(made.body, status_code=result["statusCode"], headers=result["headers"])

    def gate(self, request):
        if self.refuse_all:
            return self.failure(*self.refuse_all)
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return self.failure("unknown_connect_session_token", "unknown", 401)
        return None

    async def describe(self, request):
        self.note(request)
        if self.slow is not None:
            await asyncio.to_thread(self.slow.wait, 30)
        if refused := self.gate(request):
            return refused
        assert dict(request.query_params) == {"include": "page"}
        allowed = self.allowed if self.allowed is not None else self.offered
        forms = [name for name in self.offered if name not in self.unconnectable][: self.forms]
        data = {
            **self.session,
            "allowed_integrations": allowed,
            "integrations": [self.integration(name) for name in self.offered],
            "providers": {name: PROVIDERS[name] for name in forms},
            "status": self.status,
        }
        asked = ApiRequest(
            method="GET",
            path=request.url.path,
            route="GET /connect/session",
            path_params={},
            query={},
            raw_query="",
            headers=dict(request.headers),
            cookies={},
            body=b"",
            base_url=self.url,
        )
        made = compression.json_response(asked, {"data": data})
        return Response(made.body, made.status, dict(made.headers))

    async def session_status(self, request):
        self.note(request)
        return self.gate(request) or JSONResponse({"data": self.status})

    def integration(self, name):
        return {
            "unique_key": f"{name}-prod",
            "provider": name,
            "display_name": PROVIDERS[name]["display_name"],
            "logo": f"{self.url}/{self.logos}/{name}.svg",
            **({"preconfigured_connection_config": self.fixed} if self.fixed else {}),
            **({"connectable": False, "note": "-"} if name in self.unconnectable else {}),
        }

    async def provider(self, request):
        self.note(request)
        return self.gate(request) or JSONResponse({"data": PROVIDERS[request.path_params["name"]]})

    async def submit(self, request):
        body = await request.body()
        self.note(request, json.loads(body) if body else None)
        if self.refuse:
            return self.failure(*self.refuse)
        return JSONResponse(
            {"connectionId": "c-1", "providerConfigKey": request.path_params["key"]}
        )

    async def telemetry(self, request):
        self.note(request, json.loads(await request.body()))
        return Response(status_code=204)

    async def start_oauth(self, request):
        self.note(request)
        query = dict(parse_qsl(request.url.query))
        return RedirectResponse(f"/provider?ws={query.get('ws_client_id', '')}", 302)

    async def consent(self, request):
        return HTMLResponse(
            f"<h1>Sign in</h1><a id=go href='/oauth/callback?ws={request.query_params['ws']}"
            "&code=c&state=s'>Approve</a>"
        )

    async def oauth_callback(self, request):
        key = "github-prod"
        socket_ = self.sockets.get(request.query_params.get("ws"))
        good = self.popup_outcome == "success"
        frame = {"message_type": "success", "provider_config_key": key, "connection_id": "c-9"}
        frame["is_pending"] = False
        if not good:
            frame = {
                "message_type": "error",
                "provider_config_key": key,
                "connection_id": "c-9",
                "error_type": "callback_err",
                "error_desc": self.refusal,
            }
        if good:
            made = {"provider_config_key": key, "connection_id": "c-9"}
            self.status = {"status": "connected", **made, "changed_at": "2026-01-01T00:00:00Z"}
        else:
            why = {"code": frame["error_type"], "message": frame["error_desc"]}
            self.status = {"status": "failed", **why, "changed_at": "2026-01-01T00:00:00Z"}
        self.status["log_id"] = "op_1"
        if socket_:
            await socket_.send_text(json.dumps(frame))
        text = callback.success_page()
        if not good:
            said = {"error": self.refusal.split()[-1]}
            text = callback.error_page(self.refusal, "callback_err", said)
        return Response(text, 200 if good else 400, callback.headers())

    async def socket(self, websocket):
        await websocket.accept()
        name = f"wid-{len(self.sockets)}"
        self.sockets[name] = websocket
        if self.greets:
            await asyncio.sleep(0.05)
            await websocket.send_text(
                json.dumps({"message_type": "connection_ack", "ws_client_id": name})
            )
        try:
            while True:
                await websocket.receive_text()
        except (WebSocketDisconnect, RuntimeError):
            pass

    # ---- pages around ----

    async def callback_page(self, request):
        kind = request.path_params["kind"]
        if kind == "success":
            return Response(callback.success_page(), 200, callback.headers())
        told = {"error": "access_denied", "error_description": "Ada </script><b>said</b> no"}
        text = callback.error_page(
            "The provider refused", "callback_err", told if kind == "provider" else {}
        )
        return Response(text, 400, callback.headers())

    async def parent(self, request):
        wanted = dict(request.query_params)
        silent = wanted.pop("silent", None)
        scheme = wanted.pop("scheme", "normal").replace("_", " ")
        around = wanted.pop("frame_scheme", "inherit")
        policy = wanted.pop("policy", "origin")
        if "linked" in wanted:
            wanted["session_token"] = TOKEN
            silent = wanted.pop("linked")
        wanted.setdefault("apiURL", "https://evil.example")
        query = "&".join(f"{name}={value}" for name, value in wanted.items())
        return HTMLResponse(
            f"""<!doctype html><title>Host</title>
            <meta name="referrer" content="{policy}">
            <style>:root {{ color-scheme: {scheme} }}
            #connect-ui {{ color-scheme: {around} }}
            body {{ background: rgb(0 0 255) }}</style>
            <h1>The customer's own page</h1>
            <script>
            window.seen = [];
            const base = {json.dumps(self.url)};
            window.addEventListener('message', (event) => {{
              if (event.origin !== base) return;
              window.seen.push(event.data);
              if (event.data.type === 'ready' && {json.dumps(not silent)}) {{
                frame.contentWindow.postMessage(
                  {{type: 'session_token', sessionToken: {json.dumps(TOKEN)}}}, '*');
              }}
            }});
            const frame = document.createElement('iframe');
            frame.id = 'connect-ui';
            frame.style = 'position:fixed;inset:0;width:100%;height:100%;border:0';
            frame.src = base + '/ui/connect/?{query}';
            document.body.append(frame);
            </script>"""
        )

    async def outer(self, request):
        return HTMLResponse(
            f"<!doctype html><title>Outer</title><iframe name=inner style='width:900px;"
            f"height:700px' src='{request.query_params['inner']}'></iframe>"
        )

    async def leading(self, _request):
        return HTMLResponse(
            f"<!doctype html><title>Shop</title><a id=go href='{self.url}/ui/connect/"
            f"?session_token={TOKEN}'>Connect</a>"
        )

    async def opener(self, _request):
        return HTMLResponse(
            """<!doctype html><title>Opener</title><script>
            window.seen = []; window.heard = [];
            window.addEventListener('message', (event) => window.seen.push(event.data));
            new BroadcastChannel('nango-oauth-callback').onmessage =
              (event) => window.heard.push(event.data);
            </script><h1>Opener</h1>"""
        )

    async def logo(self, request):
        if "github" not in request.url.path:
            return Response(status_code=404)
        return Response(
            '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 10 10">'
            '<circle cx="5" cy="5" r="5"/></svg>',
            media_type="image/svg+xml",
        )

    def app(self):
        return Starlette(
            routes=[
                Route("/ui/{page:path}", self.page),
                Route("/connect/session", self.describe),
                Route("/connect/session/status", self.session_status),
                Route("/connect/telemetry", self.telemetry, methods=["POST"]),
                Route("/providers/{name}", self.provider),
                Route("/api-auth/{mode}/{key}", self.submit, methods=["POST"]),
                Route("/oauth2/auth/{key}", self.submit, methods=["POST"]),
                Route("/auth/unauthenticated/{key}", self.submit, methods=["POST"]),
                Route("/oauth/connect/{key}", self.start_oauth),
                Route("/oauth/callback", self.oauth_callback),
                Route("/provider", self.consent),
                Route("/pages/{kind}", self.callback_page),
                Route("/opener", self.opener),
                Route("/parent", self.parent),
                Route("/outer", self.outer),
                Route("/leading", self.leading),
                Route("/images/{rest:path}", self.logo),
                WebSocketRoute("/", self.socket),
            ]
        )
