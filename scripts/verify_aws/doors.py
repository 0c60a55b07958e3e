"""The two APIs as somebody outside meets them, and their settings."""

from __future__ import annotations

import http.client
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from verify_aws.calls import ask, first_frame
from verify_aws.findings import NOT_USED, Finding, expect, told

if TYPE_CHECKING:
    from collections.abc import Iterator

    from verify_aws.stack import Deployed

ORIGIN: Final = "https://example.com"
FOREIGN: Final = "foreign.example"
METHODS: Final = "GET,HEAD,PUT,PATCH,POST,DELETE"
MAX_AGE: Final = "600"
ASKED: Final = "authorization, x-verify-aws"  # headers that a page may want to send
TELEMETRY: Final = "/connect/telemetry"  # its preflight names the API's own address
TOO_LARGE: Final = 7_000_000  # bytes; over the 6 MB that a function takes
GREEDY: Final = "GET /connections/{connectionId+}"
# An id with a slash in it reaches the function of this route only if the route is greedy.
READ: Final = "/connections/verify%2Faws?provider_config_key=none"
WEBDAV: Final = "PROPFIND"
PROXY: Final = "/proxy/verify-aws"
POPUP: Final = "/oauth/connect/verify-aws"  # without a session: refused, or sent on once


def api_answers(deployed: Deployed) -> Iterator[Finding]:
    """Health, readiness, an unknown route, an id that holds a slash, and an unusual method."""
    url = deployed.outputs["ApiUrl"]
    for path in ("/health", "/ready"):
        answer = ask(deployed, url, "GET", path)
        yield expect(answer.status == http.client.OK, f"GET {path} answered {answer.status}")
    unknown = ask(deployed, url, "GET", "/no/such/route")
    yield expect(
        unknown.status == http.client.NOT_FOUND,
        f"a route that is not there answered {unknown.status}",
    )
    yield expect(unknown.is_error("not_found"), "the 404 is not the API's own error in JSON")
    closed = ask(deployed, url, "GET", READ)
    yield expect(
        closed.status == http.client.UNAUTHORIZED,
        f"a connection read without a key answered {closed.status}, not 401",
    )
    if not deployed.chosen.get("PublicUrl"):  # CloudFront lets seven methods through
        odd = ask(deployed, url, WEBDAV, PROXY)
        yield expect(
            odd.status == http.client.UNAUTHORIZED,
            f"a {WEBDAV} of the proxy answered {odd.status}, not 401",
        )
    yield told(url)


def pages_may_call(deployed: Deployed) -> Iterator[Finding]:
    """The values of CORS headers, of a preflight and of an answer."""
    url = deployed.outputs["ApiUrl"]
    wanted = {
        "Origin": ORIGIN,
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": ASKED,
    }
    preflight = ask(deployed, url, "OPTIONS", "/connections", wanted)
    yield expect(
        preflight.status == http.client.NO_CONTENT, f"a preflight answered {preflight.status}"
    )
    for name, value in (
        ("origin", "*"),
        ("methods", METHODS),
        ("headers", ASKED),
    ):
        found = preflight.headers.get(f"access-control-allow-{name}", "")
        yield expect(found == value, f"a preflight allows the {name} {found!r}, not {value!r}")
    age = preflight.headers.get("access-control-max-age", "")
    yield expect(age == MAX_AGE, f"a preflight counts for {age!r} s, not {MAX_AGE} s")
    yield expect(
        "access-control-allow-credentials" not in preflight.headers,
        "a preflight allows cookies",
    )
    answer = ask(deployed, url, "GET", "/health", {"Origin": ORIGIN})
    yield expect(
        answer.headers.get("access-control-allow-origin") == "*",
        "an answer does not allow every origin",
    )
    yield expect(
        "X-Nango-Signature" in answer.headers.get("access-control-expose-headers", ""),
        "an answer does not show its headers to pages",
    )
    yield told("preflight and answers as documented")


def large_bodies_are_refused(deployed: Deployed) -> Iterator[Finding]:
    """A body over what a function takes is refused, in words, before any code runs."""
    answer = ask(
        deployed, deployed.outputs["ApiUrl"], "POST", "/connections", body=bytes(TOO_LARGE)
    )
    yield expect(
        answer.status == http.client.REQUEST_ENTITY_TOO_LARGE,
        f"a body of 7 MB answered {answer.status}, not 413",
    )
    yield told("a body of 7 MB is refused with 413")


def foreign_hosts_count_nothing(deployed: Deployed) -> Iterator[Finding]:
    """Neither ``Host`` nor ``X-Forwarded-Host`` makes the API believe in another address."""
    url = deployed.outputs["ApiUrl"]
    own = ask(deployed, url, "OPTIONS", TELEMETRY)
    named = own.headers.get("access-control-allow-origin", "")
    yield expect(named == url, f"the API takes {named!r} for its own address")
    forwarded = ask(deployed, url, "OPTIONS", TELEMETRY, {"X-Forwarded-Host": FOREIGN})
    named = forwarded.headers.get("access-control-allow-origin", "")
    yield expect(named == url, f"with a foreign X-Forwarded-Host it takes {named!r} for its own")
    other = ask(deployed, url, "OPTIONS", TELEMETRY, {"Host": FOREIGN})
    yield expect(not other.names(FOREIGN), "a foreign Host stands in the answer")
    yield expect(
        other.status < http.client.INTERNAL_SERVER_ERROR,
        f"a foreign Host answered {other.status}",
    )
    yield told(f"a foreign Host is answered with {other.status}")


def socket_greets(deployed: Deployed) -> Iterator[Finding]:
    """The WebSocket speaks first: the function invoked itself, and could write to the socket."""
    frame = first_frame(deployed, deployed.outputs["WebSocketUrl"])
    greeting = frame if isinstance(frame, dict) else {}
    yield expect(
        greeting.get("message_type") == "connection_ack",
        "the WebSocket's first frame is no greeting",
    )
    yield expect(bool(greeting.get("ws_client_id")), "the greeting names no id of the browser")
    yield told("the first frame is the greeting")


def routes_fit(deployed: Deployed) -> Iterator[Finding]:
    """The HTTP API that AWS made of the template: payloads, routes, throttle."""
    client, api = deployed.client("apigatewayv2"), deployed.id("HttpApi")
    pages = client.get_paginator("get_integrations").paginate(ApiId=api)
    integrations = {one["IntegrationId"]: one for page in pages for one in page["Items"]}
    pages = client.get_paginator("get_routes").paginate(ApiId=api)
    routes = {one["RouteKey"]: one for page in pages for one in page["Items"]}
    yield expect(bool(integrations), "no route leads to a function")
    wrong = sorted(
        name for name, one in integrations.items() if one.get("PayloadFormatVersion") != "2.0"
    )
    yield expect(not wrong, f"not of payload format 2.0: {', '.join(wrong)}")
    for key in ("$default", GREEDY):
        yield expect(key in routes, f"no route {key}")
    targets = {f"integrations/{name}" for name in integrations}
    wrong = sorted(key for key, one in routes.items() if one.get("Target") not in targets)
    yield expect(not wrong, f"lead nowhere: {', '.join(wrong)}")
    wrong = sorted(key for key, one in routes.items() if _authorizes(one))
    yield expect(not wrong, f"API Gateway asks for an authorization: {', '.join(wrong)}")
    settings = client.get_api(ApiId=api)
    yield expect(
        not settings.get("CorsConfiguration"),
        "API Gateway answers preflights by itself, not the function",
    )
    limits = client.get_stage(ApiId=api, StageName="$default").get("DefaultRouteSettings", {})
    for name, what in (("ThrottleRate", "RateLimit"), ("ThrottleBurst", "BurstLimit")):
        found, chosen = limits.get(f"Throttling{what}"), deployed.chosen[name]
        yield expect(
            found is not None and float(found) == float(chosen),
            f"the throttle is {found}, not {chosen} ({name})",
        )
    yield told(f"{len(routes)} routes, payload 2.0, throttled")


def _authorizes(route: dict[str, Any]) -> bool:
    """Tell whether API Gateway itself lets some callers of a route not pass."""
    return bool(route.get("AuthorizationType", "NONE") != "NONE")


def own_address_is_the_only_one(deployed: Deployed) -> Iterator[Finding]:
    """With a domain of one's own: it leads here, and AWS's address is closed unless chosen."""
    domain = deployed.chosen.get("DomainName", "")
    if not domain:
        yield Finding(NOT_USED, "no DomainName")
        return
    client, api = deployed.client("apigatewayv2"), deployed.id("HttpApi")
    mapped = client.get_api_mappings(DomainName=domain).get("Items", [])
    yield expect(any(one["ApiId"] == api for one in mapped), "the domain does not lead to this API")
    known = client.get_domain_name(DomainName=domain).get("DomainNameConfigurations", [])
    states = [one.get("DomainNameStatus") for one in known]
    yield expect(states == ["AVAILABLE"], f"the domain's state is {states}")
    policies = {one.get("SecurityPolicy", "") for one in known}
    yield expect(not policies & {"", "TLS_1_0"}, "the domain allows TLS before 1.2")
    callback = deployed.outputs["CallbackUrl"]
    front = deployed.chosen.get("PublicUrl") or f"https://{domain}"
    yield expect(callback.startswith(f"{front}/"), f"CallbackUrl is {callback}, of another address")
    settings = client.get_api(ApiId=api)
    shut = deployed.chosen.get("DefaultEndpoint") != "Enabled"
    yield expect(
        settings.get("DisableExecuteApiEndpoint", False) is shut,
        f"AWS's own address is set {'open' if shut else 'shut'}",
    )
    answer = ask(deployed, settings["ApiEndpoint"], "GET", "/health")
    is_open = answer.status == http.client.OK
    yield expect(is_open is not shut, f"AWS's own address answered {answer.status}")
    yield told(f"{domain}; AWS's own address is {'closed' if shut else 'open, as chosen'}")


def front_door_leads_here(deployed: Deployed) -> Iterator[Finding]:
    """One host serves both APIs, and sends no browser round in circles."""
    door = deployed.chosen.get("PublicUrl", "")
    if not door:
        yield Finding(NOT_USED, "no PublicUrl")
        return
    answer = ask(deployed, door, "GET", "/ready")
    yield expect(answer.status == http.client.OK, f"GET /ready answered {answer.status}")
    socket = urlsplit(deployed.outputs["WebSocketUrl"]).netloc
    yield expect(
        socket == urlsplit(door).netloc, f"the WebSocket has another host than {door}: {socket}"
    )
    # API Gateway sees its own host: a browser is sent to the door once at most.
    popup = ask(deployed, door, "GET", POPUP)
    if "location" in popup.headers:
        moved = urlsplit(popup.headers["location"])
        popup = ask(deployed, door, "GET", f"{moved.path}?{moved.query}")
    yield expect("location" not in popup.headers, "a browser is sent round in circles")
    origin = f"https://{deployed.outputs['ApiOrigin']}"
    yield expect(origin != door, "the door's origin is the door itself")
    yield told(door)
