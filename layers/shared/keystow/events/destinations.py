"""Which URLs events may be sent to (contract 3)."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from keystow.egress.errors import EgressRefused
from keystow.egress.guard import check_destination

_NOT_THERE: Final = "nango.dev"  # a webhook URL never points at that service


def refusal(url: str, *, loopback_allowed: bool) -> str | None:
    """Return why a URL could never be a receiver of events, None when it could be one.

    Args:
        url: as given.
        loopback_allowed: the setting of the local stack.
    """
    try:
        check_destination(url, allow_loopback=loopback_allowed)
    except EgressRefused as refused:
        return str(refused)
    host = (urlsplit(url).hostname or "").removesuffix(".")
    if host == _NOT_THERE or host.endswith(f".{_NOT_THERE}"):
        return "this host takes no webhooks of yours"
    return None
