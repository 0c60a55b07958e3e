"""Where a connection's credential may be sent: to the hosts that its provider's entry names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keystow.catalog.authority import url_templates
from keystow.catalog.errors import InterpolationError
from keystow.egress.errors import EgressRefused
from keystow.egress.guard import parse_target

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from keystow.catalog.loader import Provider


def named(provider: Provider, config: Mapping[str, Any]) -> Iterator[str]:
    """Yield the URLs of an entry that get something secret, as they are for a connection."""
    for _name, template in url_templates(provider.definition, secret=True):
        try:
            yield provider.url(template, config)
        except InterpolationError:
            continue  # this connection has none


def is_named(provider: Provider, config: Mapping[str, Any], url: str) -> bool:
    """Return whether a URL has scheme, host and port of one that the entry names."""
    origin = _origin(url)
    return origin is not None and any(_origin(each) == origin for each in named(provider, config))


def _origin(url: str) -> tuple[str, str, int] | None:
    try:
        return parse_target(url, allow_loopback=True).origin
    except EgressRefused:
        return None
