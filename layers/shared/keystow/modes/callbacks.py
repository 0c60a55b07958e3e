"""Which redirect URI an integration has: the one that all share, or one of its own.

RFC 9700 §4.4.2.2: with a redirect URI of its own for each authorization server, an answer says by
where it arrives which server it is for; a hostile server cannot pass off an honest one's code as
its own. An own one is named by the immutable ids of environment and integration: it survives a
rename, belongs to one environment, and cannot be taken over by another integration.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit, urlunsplit

from keystow.catalog import hosts
from keystow.modes import ROOMS, leaves

if TYPE_CHECKING:
    from keystow.catalog.loader import Provider
    from keystow.records.environment import Environment
    from keystow.records.integration import Integration

PATH: Final = "/oauth/callback"
_PLACE: Final = re.compile(r"[A-Za-z0-9]{1,64}-[0-9a-f]{24}")


def must_be_own(provider: Provider) -> bool:
    """Return whether each connection chooses who its authorization server is.

    Then no entry of ours vouches for it, and its answers must not be taken for another's.
    """
    room = ROOMS.get(provider.auth_mode)
    if room is not None and room.own_callback:
        return True
    urls = (provider.authorization_url, provider.token_url)
    return not all(hosts.is_fixed(provider.definition, url) for url in urls if url)


def is_own(integration: Integration, provider: Provider) -> bool:
    """Return whether an integration has a callback of its own."""
    return leaves(provider) and (integration.own_callback or must_be_own(provider))


def place_of(integration: Integration) -> str:
    """Return what stands behind ``/oauth/callback/`` in an integration's own redirect URI."""
    return f"{integration.environment}-{integration.id}"


def is_place(text: str) -> bool:
    """Return whether a text can be the place of an integration's own callback."""
    return _PLACE.fullmatch(text) is not None


def ids_in(place: str) -> tuple[str, str]:
    """Return environment and integration of such a place; of any other text, ids of nothing."""
    environment, _, integration = place.rpartition("-")
    return environment, integration


def redirect_uri(
    environment: Environment, integration: Integration, provider: Provider, base_url: str
) -> str:
    """Return what is registered at the provider and sent with both requests (RFC 6749 §4.1.3).

    Args:
        environment: may have an address of its own that leads to ours.
        integration: whose.
        provider: its provider.
        base_url: the canonical URL, without trailing slash.
    """
    shared = environment.callback_url or f"{base_url}{PATH}"
    if not is_own(integration, provider):
        return shared
    parts = urlsplit(shared)
    path = f"{parts.path.rstrip('/')}/{place_of(integration)}"
    return urlunsplit(parts._replace(path=path))
