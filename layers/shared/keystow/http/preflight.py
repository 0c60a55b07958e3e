"""What a browser asks before it sends a request to another origin (Fetch, CORS protocol)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from keystow.http.messages import Response

if TYPE_CHECKING:
    from keystow.http.messages import Request

HEADERS: Final = {
    "access-control-allow-methods": "GET,HEAD,PUT,PATCH,POST,DELETE",
    "access-control-max-age": "600",
    "vary": "Access-Control-Request-Headers",
}
# What the official clients send, for whoever asks without naming any.
ALLOWED_HEADERS: Final = (
    "Authorization, Content-Type, Accept, Origin, X-Requested-With, Nango-Activity-Log-Id, "
    "Nango-Is-Dry-Run, Nango-Is-Sync, Provider-Config-Key, Connection-Id"
)
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 section 5.6.2, a token


def is_one(request: Request) -> bool:
    """Return whether a request is a preflight, and no OPTIONS of a client's own."""
    return request.method == "OPTIONS" and "access-control-request-method" in request.headers


def answer(request: Request) -> Response:
    """Return the answer that lets every origin call."""
    return Response(204, None, {**HEADERS, "access-control-allow-headers": _allowed(request)})


def _allowed(request: Request) -> str:
    """Return the headers that a page may send: whichever it asks for.

    Every origin may call and no cookie counts, so a header that a page adds (tracing, say) is of no
    use to anybody; a fixed list only breaks pages.
    """
    asked = request.headers.get("access-control-request-headers", "")
    names = [name for each in asked.split(",") if _HEADER_NAME.fullmatch(name := each.strip())]
    return ", ".join(names) or ALLOWED_HEADERS
