"""HTTP to Lambda and back, as an API Gateway HTTP API does it (payload format 2.0).

AWS, "Working with AWS Lambda proxy integrations for HTTP APIs".
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from local.routing import Match

API_ID = "local"
ACCOUNT = "000000000000"
_TEXT_TYPES = ("text/", "application/json", "application/javascript", "application/xml")


@dataclass(frozen=True)
class Arrival:
    """A request as it came in; ``path`` is decoded, header names are lower case."""

    method: str
    path: str
    raw_query: str
    headers: Sequence[tuple[str, str]]
    body: bytes
    source_ip: str
    protocol: str = "HTTP/1.1"


@dataclass(frozen=True)
class Reply:
    """A response as it goes out; a header may be there more than once."""

    status: int
    body: bytes = b""
    headers: list[tuple[str, str]] = field(default_factory=list)


def message(status: int, text: str) -> Reply:
    """Return an answer of API Gateway itself."""
    body = json.dumps({"message": text}, separators=(",", ":")).encode()
    return Reply(status, body, [("content-type", "application/json")])


def event(arrival: Arrival, match: Match, request_id: str, at: float) -> dict[str, Any]:
    """Return what the function of a route receives.

    Args:
        arrival: the request.
        match: its route.
        request_id: names it in logs.
        at: when it came, in seconds since 1970.
    """
    headers = _combined(arrival.headers)
    cookies = headers.pop("cookie", "")
    made: dict[str, Any] = {
        "version": "2.0",
        "routeKey": match.key,
        "rawPath": arrival.path,
        "rawQueryString": arrival.raw_query,
        "headers": headers,
        "requestContext": {
            "accountId": ACCOUNT,
            "apiId": API_ID,
            "domainName": headers.get("host", ""),
            "domainPrefix": headers.get("host", "").split(".", 1)[0],
            "http": {
                "method": arrival.method,
                "path": arrival.path,
                "protocol": arrival.protocol,
                "sourceIp": arrival.source_ip,
                "userAgent": headers.get("user-agent", ""),
            },
            "requestId": request_id,
            "routeKey": match.key,
            "stage": "$default",
            "time": datetime.fromtimestamp(at, UTC).strftime("%d/%b/%Y:%H:%M:%S +0000"),
            "timeEpoch": int(at * 1000),
        },
        "isBase64Encoded": False,
    }
    if cookies:
        split = [part.strip() for part in cookies.replace(",", ";").split(";")]
        made["cookies"] = [part for part in split if part]
    if arrival.raw_query:
        pairs = parse_qsl(arrival.raw_query, keep_blank_values=True)
        made["queryStringParameters"] = _joined(pairs)
    if match.path_parameters:
        made["pathParameters"] = match.path_parameters
    if arrival.body:
        made["body"], made["isBase64Encoded"] = _body(arrival.body, headers.get("content-type", ""))
    return made


def reply(result: Any) -> Reply:
    """Return the response that a function's result stands for.

    A result without ``statusCode`` is taken as the body of a 200 (AWS: "Lambda function response
    for format 2.0"); one that is no response at all is an error of the API.
    """
    if not isinstance(result, dict) or "statusCode" not in result:
        return Reply(200, json.dumps(result).encode(), [("content-type", "application/json")])
    try:
        status = _status(result["statusCode"])
        text = result.get("body") or ""
        encoded = bool(result.get("isBase64Encoded"))
        body = base64.b64decode(text, validate=True) if encoded else text.encode()
        headers = [(str(k).lower(), _plain(v)) for k, v in (result.get("headers") or {}).items()]
        headers += [("set-cookie", str(cookie)) for cookie in result.get("cookies") or []]
    except (ValueError, TypeError, AttributeError, binascii.Error):
        return message(500, "Internal Server Error")
    if body and not any(name == "content-type" for name, _ in headers):
        headers.append(("content-type", "text/plain;charset=UTF-8"))
    return Reply(status, body, [(k, v) for k, v in headers if k != "content-length"])


def _status(value: Any) -> int:
    status = int(value)
    if status not in range(100, 600):
        raise ValueError("no status of HTTP")
    return status


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int | float):
        return str(value)
    raise TypeError("a header is text")


def _combined(headers: Sequence[tuple[str, str]]) -> dict[str, str]:
    return _joined([(name.lower(), value) for name, value in headers])


def _joined(pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in pairs:
        found[name] = f"{found[name]},{value}" if name in found else value
    return found


def _body(content: bytes, content_type: str) -> tuple[str, bool]:
    """Return the body as text where its type is a text type, else in base64 (a form is)."""
    kind = content_type.split(";", 1)[0].strip().lower()
    if kind.startswith(_TEXT_TYPES) or kind.endswith(("+json", "+xml")):
        try:
            return content.decode(), False
        except UnicodeDecodeError:
            pass
    return base64.b64encode(content).decode(), True


def socket_event(
    route: str,
    connection_id: str,
    *,
    connected_at: float,
    at: float,
    request_id: str,
    source_ip: str,
    headers: Mapping[str, str],
    body: str | None = None,
    closed: tuple[int, str] | None = None,
) -> dict[str, Any]:
    """Return what the function of a WebSocket API receives.

    AWS, "Set up a WebSocket API integration request" and "API Gateway WebSocket API mapping
    template reference".
    """
    kinds = {"$connect": "CONNECT", "$disconnect": "DISCONNECT"}
    context: dict[str, Any] = {
        "routeKey": route,
        "eventType": kinds.get(route, "MESSAGE"),
        "extendedRequestId": request_id,
        "requestTime": datetime.fromtimestamp(at, UTC).strftime("%d/%b/%Y:%H:%M:%S +0000"),
        "messageDirection": "IN",
        "stage": "live",
        "connectedAt": int(connected_at * 1000),
        "requestTimeEpoch": int(at * 1000),
        "identity": {"sourceIp": source_ip, "userAgent": headers.get("user-agent", "")},
        "requestId": request_id,
        "domainName": headers.get("host", ""),
        "connectionId": connection_id,
        "apiId": API_ID,
    }
    made: dict[str, Any] = {"requestContext": context, "isBase64Encoded": False}
    if closed is not None:
        context["disconnectStatusCode"], context["disconnectReason"] = closed
    if route == "$default":
        context["messageId"] = request_id
        made["body"] = body
    else:
        made["headers"] = dict(headers)
        made["multiValueHeaders"] = {name: [value] for name, value in headers.items()}
    return made
