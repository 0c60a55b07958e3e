"""Whether a client takes gzip (RFC 9110 section 12.5.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from keystow.http.messages import Request


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
