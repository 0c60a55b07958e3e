"""`make verify-aws`: each condition of the checks in doors.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.verifying.cases import GONE, Case, answers, both, header, identifiers, of, prove
from tests.unit.verifying.web import FOREIGN, Web
from tests.unit.verifying.world import World

if TYPE_CHECKING:
    from collections.abc import Callable

PREFLIGHT = "access-control-"


def domain(then: Callable[[World, Web], Any]) -> Callable[[World, Web], Any]:
    return both(World.use_domain, then)


def door(then: Callable[[World, Web], Any]) -> Callable[[World, Web], Any]:
    return both(World.use_door, then)


def frame(value: Any) -> Callable[[World, Web], Any]:
    return lambda _world, web: setattr(web, "frame", value)


def moves(times: int) -> Callable[[World, Web], Any]:
    return lambda _world, web: setattr(web, "door_moves", times)


def no_routes(world: World, _web: Web) -> None:
    world.integrations.clear()
    world.routes.clear()


CASES = [
    Case("API", "GET /health answered 500", answers("health", status=500)),
    Case("API", "GET /ready answered 503", answers("ready", status=503)),
    Case("API", "not there answered 403", answers("no", status=403)),
    Case("API", "own error", answers("no", body=b'{"message": "Not Found"}')),
    Case("API", "own error", answers("no", body=b"<html>")),
    Case("API", "answered 404, not 401", answers("read", status=404)),
    Case("API", "PROPFIND of the proxy answered 403", answers("odd method", status=403)),
    Case("API", "no answer", answers("health", raises=TimeoutError("timed out"))),
    Case("CORS", "preflight answered 404", answers("preflight", status=404)),
    Case("CORS", "the origin", header("preflight", f"{PREFLIGHT}allow-origin", "https://x")),
    Case("CORS", "the methods", header("preflight", f"{PREFLIGHT}allow-methods", "GET")),
    Case("CORS", "the headers", header("preflight", f"{PREFLIGHT}allow-headers", "authorization")),
    Case("CORS", "counts for ''", header("preflight", f"{PREFLIGHT}max-age", None)),
    Case("CORS", "cookies", header("preflight", f"{PREFLIGHT}allow-credentials", "true")),
    Case("CORS", "every origin", header("cors", f"{PREFLIGHT}allow-origin", None)),
    Case("CORS", "does not show", header("cors", f"{PREFLIGHT}expose-headers", "Etag")),
    Case("large bodies", "answered 500, not 413", answers("large", status=500)),
    Case("foreign hosts", "takes 'x' for", header("own", f"{PREFLIGHT}allow-origin", "x")),
    Case("foreign hosts", "X-Forw", header("forwarded", f"{PREFLIGHT}allow-origin", "x")),
    Case("foreign hosts", "stands in", header("host", "location", f"https://{FOREIGN}/")),
    Case("foreign hosts", "stands in", answers("host", body=FOREIGN.encode())),
    Case("foreign hosts", "answered 500", answers("host", status=500)),
    Case("WebSocket", "no greeting", frame({"message_type": "x", "ws_client_id": "c"})),
    Case("WebSocket", "names no id", frame({"message_type": "connection_ack"})),
    Case("WebSocket", "no greeting", frame(None), 2),
    Case("WebSocket", "no answer", frame(TimeoutError())),
    Case("routes", "leads to a function", no_routes, 3),
    Case("routes", "2.0: i2", of("integrations", 1, "PayloadFormatVersion", value="1.0")),
    Case("routes", "no route $default", of("routes", 0, "RouteKey", value="GET /health")),
    Case("routes", "no route GET /con", of("routes", 1, "RouteKey", value="GET /connections/{c}")),
    Case("routes", "nowhere: $default", of("routes", 0, "Target", value="integrations/i3")),
    Case("routes", "tion: $default", of("routes", 0, "AuthorizationType", value="AWS_IAM")),
    Case("routes", "by itself", of("api", "CorsConfiguration", value={"AllowOrigins": ["*"]})),
    Case("routes", "not 500", of("throttle", "ThrottlingRateLimit", value=10_000.0)),
    Case("routes", "not 1000", of("throttle", value={"ThrottlingRateLimit": 500.0})),
    Case("domain", "does not lead", domain(of("mappings", 0, "ApiId", value="other"))),
    Case("domain", "state is", domain(of("domain", "DomainNameStatus", value="UPDATING"))),
    Case("domain", "TLS", domain(of("domain", "SecurityPolicy", value="TLS_1_0"))),
    Case("domain", "TLS", domain(of("domain", "SecurityPolicy", value=GONE))),
    Case("domain", "CallbackUrl", domain(of("outputs", "CallbackUrl", value="https://x/callback"))),
    Case("domain", "set open", domain(of("api", "DisableExecuteApiEndpoint", value=False))),
    Case("domain", "address answered 200", domain(answers("default endpoint", status=200))),
    Case("domain", "set shut", domain(of("chosen", "DefaultEndpoint", value="Enabled"))),
    Case("front door", "GET /ready answered 403", door(answers("ready", status=403))),
    Case("front door", "has another host", door(of("outputs", "WebSocketUrl", value="wss://x"))),
    Case("front door", "in circles", door(moves(2))),
    Case(
        "front door", "the door itself", door(of("outputs", "ApiOrigin", value="door.example.com"))
    ),
]


@pytest.mark.parametrize("case", CASES, ids=identifiers(CASES))
def test_what_is_not_as_it_should_be_is_named(world: World, web: Web, case: Case) -> None:
    prove(world, web, case)
