"""OAuth 2.1 of whatever MCP server its user names (MCP authorization, 2026-07-28).

    mcp_server_url ─▶ its resource metadata (RFC 9728) ─▶ its sign-in server's metadata (RFC 8414)
        ─▶ a client there ─▶ authorization ─▶ tokens, each request with the same resource (RFC 8707)

Everything about the server is what strangers say. So each integration of this mode has a callback
of its own, ``iss`` is compared (RFC 9207), no app's secret is sent anywhere, and what was found
goes with the connection: its tokens are renewed where they were issued, and nowhere else.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from keystow.catalog.loader import Provider
from keystow.modes.mcp_oauth2 import McpOAuth2
from keystow.modes.oauth2 import EXCHANGE_SECONDS
from keystow.records.connection import Sealed
from keystow.secret import Secret
from keystow.value import replace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keystow.context import Context
    from keystow.modes.base import Arrival, Beginning, Begun, Granted, Mode, Renewed
    from keystow.oauth.discovery import Resource, Server
    from keystow.oauth.revocation import RevocationResult
    from keystow.oauth.token_endpoint import OAuthClient
    from keystow.records.integration import Integration

# Names in the connection's config (contract 9.8).
ADDRESS: Final = "mcp_server_url"
METADATA: Final = "oauth_metadata"
RESOURCE: Final = "oauth_resource_url"
_OFFLINE: Final = "offline_access"


class McpGeneric(McpOAuth2):
    """Tokens for an MCP server that nobody knew before."""

    def begin(self, ctx: Context, beginning: Beginning) -> Begun:
        """Find the sign-in server and a client there, and return the authorization request."""
        until = ctx.clock.now() + EXCHANGE_SECONDS
        resource, server = _found(ctx, str(beginning.config.get(ADDRESS) or ""), until)
        scopes = beginning.scopes or _scopes(resource, server)
        known = {METADATA: _told(server), RESOURCE: resource.url}
        asking = replace(beginning, provider=_of(beginning.provider, known), scopes=scopes)
        method = "dynamic"
        if server.found.get("client_id_metadata_document_supported"):
            method = "cimd"
        place = str(server.found.get("registration_endpoint") or "")
        client, name = self._found(ctx, asking, method, place, until)
        begun = self._begun(ctx, asking, client or _public(beginning.integration), name)
        return replace(
            begun,
            kept={**begun.kept, "known": known},
            details={**begun.details, "issuer": server.issuer, "resource": resource.url},
        )

    def complete(self, ctx: Context, arrival: Arrival) -> Granted:
        """Exchange the code at the server that was found, and keep where that was."""
        known = dict(arrival.kept["known"])
        provider = _of(arrival.provider, known)
        granted = super().complete(ctx, replace(arrival, provider=provider))
        # Of these names nothing counts that a browser may have given.
        config = {**granted.sealed.connection_config.reveal(), **known}
        return replace(granted, sealed=Sealed(granted.sealed.credentials, Secret(config)))

    def renew(
        self, ctx: Context, provider: Provider, integration: Integration, sealed: Sealed
    ) -> Renewed:
        """Ask for new tokens where the old ones came from."""
        known = sealed.connection_config.reveal()
        return super().renew(ctx, _of(provider, known), integration, sealed)

    def revoke(
        self, ctx: Context, provider: Provider, integration: Integration, sealed: Sealed
    ) -> RevocationResult:
        """Revoke the tokens where they came from."""
        known = sealed.connection_config.reveal()
        return super().revoke(ctx, _of(provider, known), integration, sealed)

    def token_host(self, provider: Provider, config: Mapping[str, Any]) -> str | None:
        """Return the host of the sign-in server that was found."""
        return super().token_host(_of(provider, config), config)

    def client(
        self,
        ctx: Context,
        provider: Provider,
        integration: Integration,
        credentials: Mapping[str, Any],
    ) -> OAuthClient:
        """Return the connection's own client: an app's secret goes to no server of a stranger."""
        from keystow.oauth.errors import ConfigurationError

        if not (credentials.get("config_override") or {}).get("client_id"):
            raise ConfigurationError("no_client", "the connection has no client id of its own")
        return super().client(ctx, provider, integration, credentials)


def _found(ctx: Context, address: str, until: float) -> tuple[Resource, Server]:
    from keystow.egress.errors import EgressError
    from keystow.egress.guard import check_destination
    from keystow.modes.failure import AuthorizationFailed
    from keystow.oauth.discovery import DiscoveryFailed, Finder

    finder = Finder(ctx.egress, lambda: until - ctx.clock.now())
    loopback = ctx.settings.loopback_allowed
    try:
        check_destination(address, allow_loopback=loopback)
        resource = finder.resource(address)
        check_destination(resource.issuer, allow_loopback=loopback)
        server = finder.server(resource.issuer)
    except EgressError as error:
        raise AuthorizationFailed(
            "url_param_err", "The address of the MCP server, or of its sign-in server, is not taken"
        ) from error
    except DiscoveryFailed as failure:
        raise AuthorizationFailed(
            "provider_config_err", f"This MCP server cannot be connected. {failure}"
        ) from None
    return resource, server


def _scopes(resource: Resource, server: Server) -> list[str]:
    """Return what to ask for where nobody decided: what the resource wants, and a refresh token."""
    wanted = list(resource.scopes)
    if _OFFLINE in server.found["scopes_supported"] and _OFFLINE not in wanted:
        wanted.append(_OFFLINE)
    return wanted


def _public(integration: Integration) -> dict[str, str]:
    return {"client_id": integration.client_id or "", "client_secret": "", "auth_method": "none"}


def _told(server: Server) -> str:
    return json.dumps({"issuer": server.issuer, **server.found}, separators=(",", ":"))


def _of(provider: Provider, known: Mapping[str, Any]) -> Provider:
    """Return the provider as its entry would describe it, had the server been known."""
    try:  # an import may bring anything under this name
        server = json.loads(known.get(METADATA) or "{}")
    except (ValueError, TypeError, RecursionError):
        server = {}
    if not isinstance(server, dict):
        server = {}
    ends = [str(server.get(f"{name}_endpoint") or "") for name in ("authorization", "token")]
    resource = {"resource": known[RESOURCE]} if known.get(RESOURCE) else {}
    definition = {
        **provider.definition,
        "authorization_url": ends[0],
        "token_url": ends[1],
        "authorization_params": resource,
        "token_params": resource,
        "refresh_params": resource,
        "issuer": server.get("issuer"),
        # A stranger may send people to an honest server and its codes to one of the stranger's own:
        # where the two are on different hosts, the answer must name who gave it (RFC 9700 §4.4).
        "issuer_required": bool(server.get("authorization_response_iss_parameter_supported"))
        or _host(ends[0]) != _host(ends[1]),
    }
    if server.get("revocation_endpoint"):
        definition["revocation_url"] = server["revocation_endpoint"]
    return Provider(provider.id, definition)


def _host(url: str) -> str:
    try:
        return urlsplit(url).netloc.lower()
    except ValueError:
        return ""


MODE: Mode = McpGeneric()
