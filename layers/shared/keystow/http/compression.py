"""Answers in gzip's format, for clients that take it (RFC 9110 sections 8.4.1.3 and 12.5.3).

API Gateway's HTTP APIs compress nothing themselves.
"""

from __future__ import annotations

import json
import zlib
from typing import TYPE_CHECKING, Any, Final

from keystow.http.messages import Response

if TYPE_CHECKING:
    from keystow.http.messages import Request

_GZIP: Final = 31  # zlib's name for its largest window in gzip's format
_LEVEL: Final = 4  # a fast one: it is done for each answer, on a fraction of a processor
_WORTH_IT: Final = 500  # bytes; below, it saves next to nothing


def takes_gzip(request: Request) -> bool:
    """Return whether the client takes answers in gzip's format.

    A coding that is named counts before ``*``, and a weight of 0 means no. Without the header
    nothing is said about it, and plain text is what everybody reads.
    """
    found = {}
    for part in request.headers.get("accept-encoding", "").lower().split(","):
        coding, *parameters = [each.strip() for each in part.split(";")]
        found[coding] = all(_weight(each) > 0 for each in parameters)
    return found.get("gzip", found.get("x-gzip", found.get("*", False)))


def _weight(parameter: str) -> float:
    name, _, value = parameter.partition("=")
    if name.strip() != "q":
        return 1
    try:
        return float(value)
    except ValueError:
        return 0


def json_response(request: Request, body: dict[str, Any]) -> Response:
    """Return JSON, compressed where that is worth it and the client takes it.

    Not for an answer that holds a secret beside something that a stranger may choose: its size
    would tell of the secret (BREACH).
    """
    headers = {"content-type": "application/json; charset=utf-8", "vary": "accept-encoding"}
    text = json.dumps(body, separators=(",", ":"), ensure_ascii=False)
    if len(text) < _WORTH_IT or not takes_gzip(request):
        return Response(200, text, headers)
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
    content = packer.compress(text.encode()) + packer.flush()
    return Response(200, content, {**headers, "content-encoding": "gzip"})
