"""The metadata document of a client whose id is the document's own address.

OAuth Client ID Metadata Document (draft-ietf-oauth-client-id-metadata-document), contract 9.8: an
authorization server fetches it before it asks anybody to agree. It holds nothing secret.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from keystow.authorization.inbound import environment_of_uuid
from keystow.errors import ApiError
from keystow.modes import ROOMS, callbacks
from keystow.modes.mcp_oauth2 import document_url, name_for_people
from keystow.registry import integrations, providers

if TYPE_CHECKING:
    from keystow.context import Context

MAX_AGE_SECONDS: Final = 300
_SHOWN: Final = {"oauth_client_uri": "client_uri", "oauth_client_logo_uri": "logo_uri"}


def describe(ctx: Context, uuid: str, unique_key: str, base_url: str) -> dict[str, Any]:
    """Return the document of an integration.

    Args:
        ctx: store, clock and cache.
        uuid: the environment's, in lower case.
        unique_key: the integration's.
        base_url: the canonical URL, without trailing slash.

    Raises:
        ApiError: 404 ``unknown_environment``; 404 ``unknown_provider_config``, also where the
            provider's clients are no such documents.
    """
    environment = environment_of_uuid(ctx, uuid)
    if environment is None or environment.deleting:
        raise ApiError("unknown_environment")
    integration = integrations.by_unique_key(ctx, environment.id, unique_key)
    if integration is None:
        raise ApiError("unknown_provider_config", status=404)
    provider = providers.find(ctx, environment.id, integration.provider)
    room = None if provider is None else ROOMS.get(provider.auth_mode)
    if provider is None or room is None or not room.describes_itself:
        raise ApiError("unknown_provider_config", status=404)
    document: dict[str, Any] = {
        "client_id": document_url(base_url, environment, integration),
        "client_name": name_for_people(integration),
        "client_uri": base_url,
        "redirect_uris": [callbacks.redirect_uri(environment, integration, provider, base_url)],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
    }
    for name, shown in _SHOWN.items():
        value = (integration.branding or {}).get(name, "")
        if _is_https(value):
            document[shown] = value
    return document


def _is_https(text: str) -> bool:
    try:
        return urlsplit(text).scheme == "https"
    except ValueError:  # what an owner wrote is nowhere else taken for a URL
        return False
