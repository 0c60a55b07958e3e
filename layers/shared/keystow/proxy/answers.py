"""What of a provider's answer is passed on to the caller, within what Lambda can answer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from keystow.egress.errors import EgressFailed
from keystow.egress.receiving import unpacked
from keystow.errors import ApiError
from keystow.proxy.call import HOP_BY_HOP
from keystow.value import Value

if TYPE_CHECKING:
    from keystow.egress.client import Answer

# AWS, "Lambda quotas": 6 MB of an answer, with the JSON around it; the rest is for that.
MOST_BYTES: Final = 6 * 1024 * 1024 - 32 * 1024
MOST_HEADER_BYTES: Final = 8_000
_STATUSES: Final = range(200, 600)  # RFC 9110 section 15
_SMALL: Final = 10_000  # bytes; below, text stays text for whoever reads events
_PACKED: Final = frozenset({"gzip", "x-gzip", "deflate"})
# Made anew by us or by API Gateway; or about our host, of which no provider decides.
_OURS: Final = HOP_BY_HOP | {
    *("content-length", "date", "alt-svc", "cache-control", "strict-transport-security"),
    *("x-content-type-options", "clear-site-data", "nel", "report-to", "reporting-endpoints"),
}
# Come first, when not all fit.
_FIRST: Final[tuple[str, ...]] = (
    *("content-type", "content-encoding", "content-disposition", "location", "retry-after"),
    *("etag", "mcp-session-id", "x-request-id", "x-correlation-id"),
)
_MULTIPART: Final = "set-cookie"  # of which several stand apart


class PassedOn(Value):
    """What the caller gets; a text body is sent as UTF-8."""

    status: int
    headers: dict[str, str]
    cookies: tuple[str, ...]
    body: str | bytes | None


def passed_on(answer: Answer, method: str, *, decompress: bool) -> PassedOn:
    """Return what of a provider's answer the caller gets.

    Args:
        answer: with its body as received.
        method: of the request.
        decompress: unpack the body.

    Raises:
        ApiError: 502 ``response_too_large``; ``provider_unavailable`` for a status that API Gateway
            hands on to nobody.
    """
    if answer.status not in _STATUSES:
        raise ApiError("provider_unavailable", "The provider: its answer has no status of HTTP")
    headers = dict(answer.headers)
    body = answer.body
    if decompress and headers.get("content-encoding", "").strip().lower() in _PACKED:
        body = _unpacked(body, headers.pop("content-encoding"))
    if body and "content-type" not in headers:
        headers["content-type"] = "application/octet-stream"
    kept = _kept(headers)
    left = MOST_HEADER_BYTES - sum(len(name) + len(value) for name, value in kept.items())
    cookies = []
    for name, value in answer.header_list:
        if name == _MULTIPART and len(value) <= left:
            left -= len(value)
            cookies.append(value)
    sent = _as_sent(body) if body and method != "HEAD" else None
    return PassedOn(answer.status, kept, tuple(cookies), sent)


def _unpacked(body: bytes, encoding: str) -> bytes:
    try:
        return unpacked(body, encoding, MOST_BYTES)
    except EgressFailed:
        raise too_large() from None


def _as_sent(body: bytes) -> str | bytes:
    """Return a body as text, where it is text and no shorter in base64. Raises ApiError."""
    packed = (len(body) + 2) // 3 * 4
    try:
        text = body.decode()
    except UnicodeDecodeError:
        text = None
    written = packed if text is None else len(json.dumps(text))
    if min(written, packed) > MOST_BYTES:
        raise too_large()
    return body if text is None or (written > packed and written > _SMALL) else text


def _kept(headers: dict[str, str]) -> dict[str, str]:
    names = [name for name in _FIRST if name in headers]
    names += [name for name in headers if name not in _FIRST]
    kept: dict[str, str] = {}
    spent = 0
    for name in names:
        if name in _OURS or name == _MULTIPART or name.startswith("access-control-"):
            continue
        size = len(name) + len(headers[name])
        if spent + size <= MOST_HEADER_BYTES:
            spent += size
            kept[name] = headers[name]
    return kept


def too_large() -> ApiError:
    """Return the error of an answer that Lambda cannot hand on."""
    return ApiError(
        "response_too_large",
        "The provider's answer is larger than the 6 MB (4.5 MB of binary data) that AWS Lambda can "
        "hand on; ask for a part of it, or read the connection and call the provider yourself",
    )
