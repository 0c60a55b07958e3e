"""Requests and responses as handlers see them, made from API Gateway payload-2.0 events."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from math import isfinite
from typing import Any
from urllib.parse import unquote, urlsplit

from keystow.errors import ApiError, Issue
from keystow.http.query import parse
from keystow.value import Value, field

MAX_BODY_BYTES = 1_000_000
MAX_DEPTH = 64
MAX_DIGITS = 100
_NO_BODY = object()


class Request(Value):
    """An HTTP request.

    ``route`` is API Gateway's ``routeKey``; ``base_url`` the canonical public URL without trailing
    slash; ``headers`` have lower-case names.
    """

    method: str
    path: str
    route: str
    path_params: dict[str, str]
    query: dict[str, Any]
    raw_query: str
    headers: dict[str, str]
    cookies: dict[str, str]
    body: bytes
    base_url: str
    host_url: str = ""
    source_ip: str = ""
    request_id: str = ""
    event: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Request({self.method} {self.route})"  # a body or a header may hold a secret

    @property
    def wants_page(self) -> bool:
        """Whether a browser navigates here, and shows its user what comes back."""
        accept = self.headers.get("accept", "").lower()
        page, data = accept.find("text/html"), accept.find("application/json")
        return page >= 0 and not 0 <= data < page and "authorization" not in self.headers

    def json(self) -> Any:
        """Return the decoded JSON body; the :data:`no_body` mark when there is none.

        Raises:
            ApiError: 415 ``invalid_content_type``, 413 ``request_too_large``, 400 ``invalid_json``.
        """
        content_type = self.headers.get("content-type")
        if content_type and not content_type.strip().lower().startswith("application/json"):
            raise ApiError("invalid_content_type", "Content-Type must be application/json")
        if len(self.body) > MAX_BODY_BYTES:
            raise ApiError("request_too_large", f"The body is over {MAX_BODY_BYTES} bytes")
        if not self.body.strip():
            return _NO_BODY
        try:
            return _decoded(self.body)
        except (ValueError, RecursionError):
            raise ApiError("invalid_json", "The body is not valid JSON") from None

    def json_object(self) -> dict[str, Any]:
        """Return the JSON body, which must be an object. Raises as :meth:`json`, and 400."""
        found = self.json()
        if not isinstance(found, dict):
            received = "no body" if found is _NO_BODY else type(found).__name__
            issue = Issue("invalid_type", f"expected an object, received {received}")
            raise ApiError("invalid_body", issues=[issue])
        return found

    def refuse_body(self) -> None:
        """Require that there is no body, or an empty object. Raises 400 ``invalid_body``."""
        found = self.json()
        if found is _NO_BODY or found == {}:
            return
        if isinstance(found, dict):
            issue = Issue("unrecognized_keys", f"unknown keys: {', '.join(sorted(found))[:200]}")
        else:
            issue = Issue("invalid_type", "expected no body")
        raise ApiError("invalid_body", issues=[issue])

    def refuse_query(self, *allowed: str) -> None:
        """Require that no query key but the allowed ones is there. Raises 400."""
        unknown = sorted(set(self.query) - set(allowed))
        if unknown:
            issue = Issue("unrecognized_keys", f"unknown parameters: {', '.join(unknown)[:200]}")
            raise ApiError("invalid_query_params", issues=[issue])


class Response(Value):
    """An HTTP response; a dict or list body is sent as JSON, text and bytes as they are.

    ``code`` is that of an error, for the log.
    """

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    cookies: tuple[str, ...] = ()
    code: str | None = None


def _decoded(body: bytes) -> Any:
    """Return decoded JSON, of which everything can be stored and answered again.

    Raises:
        ValueError: it is no JSON in UTF-8; or has a number without end, an unpaired surrogate, or
            more than MAX_DEPTH levels, none of which could be passed on.
    """
    text = body.decode()
    if text.count("[") + text.count("{") > MAX_DEPTH:
        _check_depth(text)
    found = json.loads(
        text, parse_constant=_refuse_constant, parse_float=_finite, parse_int=_bounded
    )
    if "\\u" in text:
        # Half of a surrogate pair is no character; no table and no answer could hold it.
        json.dumps(found, ensure_ascii=False).encode()
    return found


def _check_depth(text: str) -> None:
    depth, in_text, escaped = 0, False, False
    for character in text:
        if in_text:
            if escaped:
                escaped = False
            elif character == "\\":
                escaped = True
            elif character == '"':
                in_text = False
        elif character == '"':
            in_text = True
        elif character in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise ValueError("too many levels")
        elif character in "]}":
            depth -= 1


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not isfinite(value):
        raise ValueError("a number is too large")
    return value


def _bounded(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError("a number has too many digits")
    return int(text)


def request_from(event: Mapping[str, Any], public_url: str) -> Request:
    """Return the request of a payload-2.0 event.

    Args:
        event: what API Gateway sends (AWS: "Working with AWS Lambda proxy integrations for HTTP
            APIs", payload format 2.0).
        public_url: the deployment's own URL; empty: the API's, from the event.
    """
    context = event.get("requestContext", {})
    http = context.get("http", {})
    headers = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
    host_url = f"https://{context.get('domainName', '')}"
    if public_url.startswith("http://"):
        host_url = f"http://{context.get('domainName', '')}"
    # A front door may say where the browser came to. It is believed only where it changes nothing
    # but that the browser is not sent there once more.
    door = headers.get("x-forwarded-host")
    if door and public_url and door == urlsplit(public_url).netloc:
        host_url = public_url.rstrip("/")
    body = event.get("body") or ""
    try:
        decoded = base64.b64decode(body) if event.get("isBase64Encoded") else body.encode()
    except (binascii.Error, ValueError):
        decoded = b""
    cookies: dict[str, str] = {}
    for cookie in event.get("cookies") or []:
        name, _, value = cookie.partition("=")
        cookies.setdefault(name.strip(), value.strip())
    return Request(
        method=http.get("method", ""),
        path=event.get("rawPath", ""),
        route=event.get("routeKey", "$default"),
        path_params={
            name: unquote(value) if "%" in value else value
            for name, value in (event.get("pathParameters") or {}).items()
        },
        query=parse(event.get("rawQueryString") or ""),
        raw_query=event.get("rawQueryString") or "",
        headers=headers,
        cookies=cookies,
        body=decoded,
        base_url=public_url.rstrip("/") or host_url,
        host_url=host_url,
        source_ip=http.get("sourceIp", ""),
        request_id=context.get("requestId", ""),
        event=event,
    )


def result_of(response: Response) -> dict[str, Any]:
    """Return the payload-2.0 result of a response."""
    headers = {name.lower(): value for name, value in response.headers.items()}
    result: dict[str, Any] = {"statusCode": response.status, "headers": headers}
    body = response.body
    if isinstance(body, bytes):
        result["body"] = base64.b64encode(body).decode()
        result["isBase64Encoded"] = True
    elif isinstance(body, str):
        result["body"] = body
        headers.setdefault("content-type", "text/plain; charset=utf-8")
    elif body is not None:
        result["body"] = json.dumps(body, separators=(",", ":"), ensure_ascii=False)
        headers.setdefault("content-type", "application/json; charset=utf-8")
    if response.cookies:
        result["cookies"] = list(response.cookies)
    return result
