"""Where a connection's credential may be sent: to the hosts that its provider's entry names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keystow.catalog.authority import url_templates
from keystow.catalog.errors import InterpolationError
from keystow.egress.errors import EgressRefused
from keystow.egress.guard import parse_target

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any

    from keystow.catalog.loader import Provider


def named(provider: Provider, config: Mapping[str, Any], base_url: str = "") -> Iterator[str]:
    """Yield the URLs of an entry that get something secret, as they are for a connection.

    Args:
        provider: the entry.
        config: the connection's.
        base_url: of the integration's owner, where the entry leaves it to them.
    """
    templates = [template for _, template in url_templates(provider.definition, secret=True)]
    for template in (*templates, *([base_url] if base_url else ())):
        try:
            yield provider.url(template, config)
        except InterpolationError:
            continue  # this connection has none


def is_named(url: str, urls: Iterable[str]) -> bool:
    """Return whether a URL has scheme, host and port of one of those that are named."""
    origin = _origin(url)
    return origin is not None and any(_origin(each) == origin for each in urls)


def _origin(url: str) -> tuple[str, str, int] | None:
    try:
        return parse_target(url, allow_loopback=True).origin
    except EgressRefused:
        return None
