"""The one public port of the local stack: an HTTP API and a WebSocket API of API Gateway.

Routes are those of ``template.yaml``; every request becomes an event and an invocation of a
deployed function. ``/demo`` is served by ``local/demo`` and by no function.
"""

from __future__ import annotations

import json
import sys
import time
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from botocore.exceptions import ReadTimeoutError
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.websockets import WebSocket

from local.payload import Arrival, Reply, event, message, reply
from local.sockets import Sockets

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Receive, Scope, Send

    from local.invoker import Invoker
    from local.routing import Router

# AWS, "Quotas for HTTP APIs" and "Lambda quotas".
MAX_BODY = 10 * 1024 * 1024
MAX_HEADERS = 10_240
MAX_EVENT = 6 * 1024 * 1024
CONNECTIONS = "/@connections/"
DEMO = "/demo"
# Other names would let a page of another site read answers after rebinding its own name.
_HOSTS = {"127.0.0.1", "localhost", "::1"}


class Gateway:
    """An ASGI application.

    Args:
        router: the routes of the HTTP API.
        invoker: calls their functions.
        on_ready: called once requests are served.
        demo: serves ``/demo``, when there is a demo.
        note: takes one line for each request.
    """

    def __init__(
        self,
        router: Router,
        invoker: Invoker,
        on_ready: Callable[[], None],
        demo: ASGIApp | None = None,
        note: Callable[[str], None] = print,
    ) -> None:
        self._router = router
        self._invoker = invoker
        self._on_ready = on_ready
        self._demo = demo
        self._note = note
        self._sockets = Sockets(invoker)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection of any kind."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "websocket":
            await self._websocket(WebSocket(scope, receive, send))
        elif not _known_host(Request(scope).headers.get("host", "")):
            await _response(message(403, "Forbidden"))(scope, receive, send)
        elif self._demo is not None and f"{scope['path']}/".startswith(f"{DEMO}/"):
            inner = {**scope, "root_path": scope.get("root_path", "") + DEMO}
            await self._demo(inner, receive, send)
        elif self._demo is not None and _wants_page(scope, Request(scope)):
            # Only here: on AWS there is nothing at the root.
            await RedirectResponse(f"{DEMO}/", 307)(scope, receive, send)
        else:
            started = time.perf_counter()
            request = Request(scope, receive)
            name, answer = await self._answer(request)
            await _response(answer)(scope, receive, send)
            # The route's key, never the path or query: they may hold codes and tokens.
            milliseconds = (time.perf_counter() - started) * 1000
            line = f"{time.strftime('%H:%M:%S')} {name} {answer.status} {milliseconds:.0f} ms"
            self._note(line)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            kind = (await receive())["type"]
            await send({"type": f"{kind}.complete"})  # the gateway holds nothing to open or close
            if kind == "lifespan.shutdown":
                return
            self._on_ready()

    async def _websocket(self, socket: WebSocket) -> None:
        if socket.url.path != "/" or not _known_host(socket.headers.get("host", "")):
            await socket.close()
            return
        await self._sockets.serve(socket)

    async def _answer(self, request: Request) -> tuple[str, Reply]:
        path = request.scope["path"]
        size = len(request.url.path) + len(request.url.query)
        size += sum(len(name) + len(value) for name, value in request.headers.raw)
        if size > MAX_HEADERS:
            return "?", message(431, "Request Header Fields Too Large")
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY:
                return "?", message(413, "Request Entity Too Large")
        if path.startswith(CONNECTIONS):
            name = f"{request.method} {CONNECTIONS}{{id}}"
            return name, await self._connection(request, path[len(CONNECTIONS) :], bytes(body))
        return await self._api(request, bytes(body))

    async def _api(self, request: Request, body: bytes) -> tuple[str, Reply]:
        match = self._router.match(request.method, request.scope["path"])
        if match is None:
            return "?", message(404, "Not Found")
        request_id = str(uuid.uuid4())
        made = event(_arrival(request, body), match, request_id, time.time())
        if len(json.dumps(made)) > MAX_EVENT:
            return match.key, message(413, "Request Entity Too Large")
        try:
            outcome = await self._invoker.invoke(match.function, made)
        except ReadTimeoutError:
            return match.key, message(503, "Service Unavailable")
        if outcome.failed:
            _show_failure(match.function, outcome.result)
            return match.key, message(500, "Internal Server Error")
        answer = reply(outcome.result)
        answer.headers.append(("apigw-requestid", request_id))
        return match.key, answer

    async def _connection(self, request: Request, connection_id: str, body: bytes) -> Reply:
        # On AWS only a signed request gets here; a browser cannot send this header unasked.
        if not request.headers.get("authorization", "").startswith("AWS4-HMAC-SHA256 "):
            return message(403, "Missing Authentication Token")
        if request.method == "POST":
            return await self._sockets.post(connection_id, body)
        if request.method == "DELETE":
            return await self._sockets.delete(connection_id)
        return message(403, "Forbidden")


def _arrival(request: Request, body: bytes) -> Arrival:
    source = request.client.host if request.client else ""
    headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in _raw(request)]
    forwarded = [value for name, value in headers if name == "x-forwarded-for"]
    overwritten = {"x-forwarded-for", "x-forwarded-port", "x-forwarded-proto", "connection"}
    headers = [(name, value) for name, value in headers if name not in overwritten]
    port = request.url.port or 80
    headers += [
        ("x-forwarded-for", ", ".join([*forwarded, source])),
        ("x-forwarded-port", str(port)),
        ("x-forwarded-proto", "http"),
        ("x-amzn-trace-id", f"Root=1-{int(time.time()):08x}-{uuid.uuid4().hex[:24]}"),
    ]
    return Arrival(
        method=request.method,
        path=request.scope["path"],
        raw_query=request.url.query,
        headers=headers,
        body=body,
        source_ip=source,
        protocol=f"HTTP/{request.scope.get('http_version', '1.1')}",
    )


def _raw(request: Request) -> list[tuple[bytes, bytes]]:
    return list(request.headers.raw)


def _response(answer: Reply) -> Response:
    response = Response(answer.body, answer.status)
    for name, value in answer.headers:
        with suppress(UnicodeEncodeError):
            response.raw_headers.append((name.encode("latin-1"), value.encode("latin-1")))
    return response


def _wants_page(scope: Scope, request: Request) -> bool:
    """Whether a person typed the address of the stack and nothing more."""
    asks = scope["path"] == "/" and scope["method"] in {"GET", "HEAD"}
    return asks and "text/html" in request.headers.get("accept", "")


def _known_host(host: str) -> bool:
    try:
        return urlsplit(f"//{host}").hostname in _HOSTS
    except ValueError:
        return False


def _show_failure(function: str, result: Any) -> None:
    details = result if isinstance(result, dict) else {}
    kind, text = details.get("errorType", "error"), details.get("errorMessage", result)
    print(f"{function} failed: {kind}: {text}", file=sys.stderr)
