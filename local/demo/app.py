"""The demo app: a small SaaS backend with one page, built the way a customer would build it.

The secret key stays here. The browser gets a connect session token and nothing else, and other
sites get nothing at all.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
from starlette.applications import Starlette
from starlette.responses import FileResponse, JSONResponse, RedirectResponse, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from local.demo.registration import API_KEY, OAUTH, Stack
from local.demo.watch import Watch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

STATIC = Path(__file__).parent / "static"
WEBHOOKS_KEPT = 200
LARGEST_WEBHOOK = 256_000
USER = {"id": "demo-user", "email": "sam@customer.example", "display_name": "Sam Porter"}
TEAM = {"id": "demo-team", "display_name": "Customer Ltd"}


class Inbox:
    """The last webhooks, in one small file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = asyncio.Lock()
        try:
            self.entries: list[dict[str, Any]] = json.loads(path.read_text())[-WEBHOOKS_KEPT:]
        except (OSError, ValueError):
            self.entries = []

    async def add(self, entry: dict[str, Any]) -> None:
        """Keep a webhook."""
        async with self._lock:
            self.entries = [*self.entries, entry][-WEBHOOKS_KEPT:]
            await asyncio.to_thread(self._write, json.dumps(self.entries))

    def _write(self, text: str) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = self._path.with_suffix(".new")
        fresh.touch(mode=0o600)
        fresh.write_text(text)
        fresh.replace(self._path)


def create_app(stack: Stack) -> DemoApp:
    """Return the demo app, to be mounted at the path of ``stack.demo_url``.

    The stack's attributes are read when they are needed, so keys may be filled in later.
    ``stop()`` of the result ends its event streams, for a quick shutdown.
    """
    demo = _Demo(stack)
    app = Starlette(
        routes=[
            Route("/", demo.page),
            Route("/session", demo.session, methods=["POST"]),
            Route("/connections", demo.connections),
            Route("/connections/{id:path}/refresh", demo.refresh, methods=["POST"]),
            Route("/connections/{id:path}/use", demo.use, methods=["POST"]),
            Route("/connections/{id:path}", demo.delete, methods=["DELETE"]),
            Route("/events", demo.events),
            Route("/webhooks", demo.webhook, methods=["POST"]),
            Mount("/static", StaticFiles(directory=STATIC)),
        ],
        exception_handlers={httpx.HTTPError: _no_answer, KeyError: _unknown},
    )
    return DemoApp(app, stack, demo.stop)


class _Demo:
    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._watch = Watch(stack)
        self._inbox = Inbox(Path(stack.state_dir) / "demo" / "webhooks.json")

    def stop(self) -> None:
        self._watch.stop()

    async def page(self, request: Request) -> Response:
        if not request.url.path.endswith("/"):
            return RedirectResponse(f"{self._stack.demo_url}/", status_code=308)
        return FileResponse(STATIC / "index.html", headers={"cache-control": "no-cache"})

    async def session(self, request: Request) -> Response:
        """Make a connect session, as the customer's backend does for its signed-in user."""
        wanted = await _json_body(request)
        integration = wanted.get("integration")
        allowed = [integration] if integration in {OAUTH, API_KEY} else [OAUTH, API_KEY]
        async with self._watch.api() as api:
            answer = await api.post(
                "/connect/sessions",
                json={"end_user": USER, "organization": TEAM, "allowed_integrations": allowed},
            )
        if answer.is_error:
            return _passed_on(answer)
        data = answer.json()["data"]
        return JSONResponse(
            {
                "token": data["token"],
                "expires_at": data["expires_at"],
                "api_url": self._stack.api_url,
                "websocket_url": self._stack.websocket_url,
                "connect_ui_url": self._stack.connect_ui_url,
            },
            status_code=201,
        )

    async def connections(self, _request: Request) -> Response:
        return JSONResponse({"connections": self._watch.connections()})

    async def refresh(self, request: Request) -> Response:
        one, renewed = await self._watch.refresh(request.path_params["id"])
        if one.trouble:
            return _failure("refresh_failed", one.trouble, 502)
        return JSONResponse({"ok": True, "renewed": renewed})

    async def use(self, request: Request) -> Response:
        """Call the provider with the credential: what all of this is for."""
        one, token = await self._watch.token_of(request.path_params["id"])
        path, headers = "/api/me", {"authorization": f"Bearer {token}"}
        if one.integration == API_KEY:
            path, headers = "/api/keys/me", {"x-api-key": token}
        async with self._watch.provider() as provider:
            answer = await provider.get(path, headers=headers)
        return JSONResponse({"status": answer.status_code, "answer": answer.json()})

    async def delete(self, request: Request) -> Response:
        answer = await self._watch.delete(request.path_params["id"])
        return JSONResponse({"ok": True}) if answer.is_success else _passed_on(answer)

    async def webhook(self, request: Request) -> Response:
        """Take a webhook, if its signature is right (HMAC-SHA256 over the raw body)."""
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > LARGEST_WEBHOOK:
                return _failure("too_large", "The webhook is too large", 413)
        key = self._stack.webhook_signing_key.encode()
        expected = hmac.new(key, body, hashlib.sha256).hexdigest()
        given = request.headers.get("x-nango-hmac-sha256", "")
        if not hmac.compare_digest(expected.encode(), given.encode()):
            self._watch.tell("trouble", "A webhook with a wrong signature was refused")
            return _failure("wrong_signature", "The signature does not match", 401)
        try:
            told = json.loads(body)
        except ValueError:
            return _failure("not_json", "The body is not JSON", 400)
        entry = {"time": time.time(), "verified": True, "body": told}
        await self._inbox.add(entry)
        self._watch.tell("webhook", entry)
        self._watch.look()
        return JSONResponse({"ok": True})

    async def events(self, _request: Request) -> Response:
        """Stream what happens (text/event-stream)."""
        return StreamingResponse(
            self._stream(),
            media_type="text/event-stream",
            headers={"cache-control": "no-store", "x-accel-buffering": "no"},
        )

    async def _stream(self) -> AsyncIterator[str]:
        yield _event("webhooks", self._inbox.entries[-20:])
        async for kind, value in self._watch.listen():
            yield _event(kind, value) if kind else ": still here\n\n"


class DemoApp:
    """The app behind a guard: what other sites send is refused, and so is any other host name.

    The page may be opened from anywhere; everything else answers only our own page, or programs
    that are no browsers (they send neither Origin nor Sec-Fetch-Site).
    """

    def __init__(self, app: ASGIApp, stack: Stack, stop: Callable[[], None]) -> None:
        self._app = app
        self._stack = stack
        self._stop = stop

    def stop(self) -> None:
        """End the event streams; call it in the thread of the event loop."""
        self._stop()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI)."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        reason = self._reason(scope, headers)
        if reason:
            await _failure("refused", reason, 403)(scope, receive, send)
            return

        async def harden(message: Message) -> None:
            if message["type"] == "http.response.start":
                message.setdefault("headers", [])
                message["headers"] = [
                    *message["headers"],
                    (b"content-security-policy", self._policy().encode()),
                    (b"x-content-type-options", b"nosniff"),
                    (b"referrer-policy", b"no-referrer"),
                    (b"x-frame-options", b"DENY"),
                ]
            await send(message)

        await self._app(scope, receive, harden)

    def _reason(self, scope: Scope, headers: dict[str, str]) -> str:
        ours = urlsplit(self._stack.demo_url)
        if headers.get("host") != ours.netloc:
            return "This host name is not served here"
        inside = scope["path"].removeprefix(ours.path)
        if scope["method"] in {"GET", "HEAD"} and (
            inside in {"", "/"} or inside.startswith("/static/")
        ):
            return ""
        if headers.get("origin") not in {None, f"{ours.scheme}://{ours.netloc}"}:
            return "Other sites may not ask this"
        if headers.get("sec-fetch-site", "none") not in {"none", "same-origin"}:
            return "Other sites may not ask this"
        return ""

    def _policy(self) -> str:
        interface = urlsplit(self._stack.connect_ui_url)
        sockets = urlsplit(self._stack.websocket_url)
        api = urlsplit(self._stack.api_url)
        return (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
            f"connect-src 'self' {api.scheme}://{api.netloc} {sockets.scheme}://{sockets.netloc}; "
            f"frame-src {interface.scheme}://{interface.netloc}; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )


async def _json_body(request: Request) -> dict[str, Any]:
    try:
        found = await request.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _event(kind: str, value: Any) -> str:
    return f"event: {kind}\ndata: {json.dumps(value)}\n\n"


def _failure(code: str, message: str, status: int) -> JSONResponse:
    return JSONResponse({"error": {"code": code, "message": message}}, status_code=status)


def _passed_on(answer: httpx.Response) -> JSONResponse:
    """Tell the page what the API said; its errors hold no secrets."""
    try:
        error = answer.json()["error"]
        return _failure(str(error["code"]), str(error.get("message") or ""), 502)
    except (ValueError, KeyError, TypeError):
        return _failure("unknown_error", f"The API answered {answer.status_code}", 502)


async def _no_answer(_request: Request, error: Exception) -> Response:
    if isinstance(error, httpx.HTTPStatusError):
        return _passed_on(error.response)
    return _failure("no_answer", f"The stack does not answer ({type(error).__name__})", 502)


async def _unknown(_request: Request, _error: Exception) -> Response:
    return _failure("unknown_connection", "There is no such connection", 404)
