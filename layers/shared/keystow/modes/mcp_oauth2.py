"""OAuth 2.1 of an MCP server whose sign-in server is known (MCP authorization, 2026-07-28).

It is OAuth 2.0 with PKCE in which no operator need register an app. In this order: the app that an
operator did register; a client id that is the address of our metadata document, where the entry
says ``client_registration: cimd``; a client that registers itself (RFC 7591).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from keystow.catalog.loader import Provider
from keystow.errors import ApiError
from keystow.modes.oauth2 import EXCHANGE_SECONDS, OAuth2
from keystow.records.connection import Sealed
from keystow.secret import Secret
from keystow.value import replace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keystow.context import Context
    from keystow.modes.base import Arrival, Beginning, Begun, Granted, Mode, Renewed
    from keystow.oauth.errors import TokenError
    from keystow.oauth.revocation import RevocationResult
    from keystow.oauth.token_endpoint import OAuthClient
    from keystow.records.environment import Environment
    from keystow.records.integration import Integration

METADATA_PATH: Final = "/oauth/client-metadata"
_BASIC: Final = "client_secret_basic"


class McpOAuth2(OAuth2):
    """Tokens for an MCP server, of a client that belongs to the connection."""

    asks_first = True

    def begin(self, ctx: Context, beginning: Beginning) -> Begun:
        """Find a client, registering one where need be, and return the authorization request."""
        provider = beginning.provider
        until = ctx.clock.now() + EXCHANGE_SECONDS
        place = str(provider.definition.get("registration_url") or "")
        method = str(provider.definition.get("client_registration") or "")
        client, name = self._found(ctx, beginning, method, place, until)
        return self._begun(ctx, beginning, client, name)

    def complete(self, ctx: Context, arrival: Arrival) -> Granted:
        """Exchange the code with the client that asked for it, and keep that with the tokens."""
        client = dict(arrival.kept.get("client") or {})
        provider = proving(arrival.provider, client)
        granted = super().complete(ctx, replace(arrival, client=client, provider=provider))
        if not client:
            return granted
        credentials = {**granted.sealed.credentials.reveal(), "config_override": client}
        sealed = Sealed(Secret(credentials), granted.sealed.connection_config)
        return replace(granted, sealed=sealed)

    def refused(self, ctx: Context, arrival: Arrival, error: TokenError) -> None:
        """Forget a registered client that the server does not know any more."""
        name = arrival.kept.get("name")
        if error.code == "invalid_client" and name:
            from keystow.modes import registered

            registered.drop(ctx, arrival.integration, name)

    def renew(
        self, ctx: Context, provider: Provider, integration: Integration, sealed: Sealed
    ) -> Renewed:
        """Ask for new tokens, as the client that got the old ones."""
        own = sealed.credentials.reveal().get("config_override") or {}
        return super().renew(ctx, proving(provider, own), integration, sealed)

    def revoke(
        self, ctx: Context, provider: Provider, integration: Integration, sealed: Sealed
    ) -> RevocationResult:
        """Revoke the tokens, as the client that got them."""
        own = sealed.credentials.reveal().get("config_override") or {}
        return super().revoke(ctx, proving(provider, own), integration, sealed)

    def check_import(
        self, provider: Provider, credentials: Mapping[str, Any], config: Mapping[str, Any]
    ) -> None:
        """Require the client that the tokens were issued to, where they shall be refreshed."""
        del provider, config
        client = credentials.get("config_override") or {}
        if "refresh_token" in credentials and not client.get("client_id"):
            raise ApiError(
                "invalid_body", "config_override.client_id is needed to refresh these tokens"
            )

    def client(
        self,
        ctx: Context,
        provider: Provider,
        integration: Integration,
        credentials: Mapping[str, Any],
    ) -> OAuthClient:
        """Return the connection's own client, which may be a public one; else the app's."""
        from keystow.oauth.token_endpoint import OAuthClient

        own = credentials.get("config_override") or {}
        if own.get("client_id"):
            return OAuthClient(own["client_id"], Secret(own.get("client_secret") or ""))
        return super().client(ctx, provider, integration, credentials)

    def _found(
        self, ctx: Context, beginning: Beginning, method: str, place: str, until: float
    ) -> tuple[dict[str, str], str]:
        """Return the client to ask with, empty for the app's own, and its name if it is kept.

        ``method`` is ``cimd``, ``dynamic`` or ``static``, ``place`` where clients register
        themselves, ``until`` epoch seconds when all must be over.
        """
        from keystow.modes.failure import AuthorizationFailed

        integration = beginning.integration
        if beginning.client.get("client_id"):
            return dict(beginning.client), ""
        if integration.client_id:
            return {}, ""
        if method == "cimd" and beginning.base_url.startswith("https://"):
            url = document_url(beginning.base_url, beginning.environment, integration)
            return {"client_id": url, "client_secret": "", "auth_method": "none"}, ""
        if method in {"cimd", "dynamic"} and place:
            return self._registered(ctx, beginning, place, until)
        raise AuthorizationFailed(
            "provider_config_err", "The integration has no client id, and none can be had by itself"
        )

    def _registered(
        self, ctx: Context, beginning: Beginning, place: str, until: float
    ) -> tuple[dict[str, str], str]:
        from keystow.modes import registered
        from keystow.modes.failure import AuthorizationFailed
        from keystow.oauth.errors import TokenError
        from keystow.oauth.registration import register

        integration, provider = beginning.integration, beginning.provider
        token_url = str(provider.definition.get("token_url") or "")
        name = registered.name_of(place, token_url, beginning.redirect_uri)
        known = registered.find(ctx, integration, name)
        if known is not None:
            return known, name
        params = dict(provider.definition.get("registration_params") or {})
        if beginning.scopes:
            params.setdefault("scope", " ".join(beginning.scopes))
        now = ctx.clock.now()
        try:
            made = register(
                ctx.egress,
                place,
                redirect_uri=beginning.redirect_uri,
                client_name=name_for_people(integration),
                method=str(params.pop("token_endpoint_auth_method", "none")),
                params=params,
                deadline=until - now,
                now=now,
            )
        except TokenError as error:
            raise AuthorizationFailed(
                "provider_config_err",
                f"The server did not register a client ({error.code}). {error.description}".strip(),
            ) from None
        client = {
            "client_id": made.client_id,
            "client_secret": made.secret.reveal(),
            "auth_method": made.method,
        }
        registered.keep(ctx, integration, name, Secret(client), made.ends_at)
        return client, name

    def _begun(
        self, ctx: Context, beginning: Beginning, client: dict[str, str], name: str
    ) -> Begun:
        begun = super().begin(ctx, replace(beginning, client=client))
        kept = {**begun.kept, "client": client, "name": name}
        details = {**begun.details, "client": client.get("client_id") or "of the integration"}
        return replace(begun, kept=kept, details=details)


def proving(provider: Provider, client: Mapping[str, str]) -> Provider:
    """Return a provider whose client proves itself as it was registered to."""
    if client.get("auth_method") != _BASIC:
        return provider
    # The SDK that most of these servers are built with finds a client by its id in the form only.
    named = {"client_id": "${clientId}"}
    proof = {"authorization_method": "header", "revocation_auth": "basic"}
    definition = {**provider.definition, **proof}
    for name in ("token_params", "refresh_params"):
        if definition.get(name) is not None or name == "token_params":
            definition[name] = {**(definition.get(name) or {}), **named}
    return Provider(provider.id, definition)


def document_url(base_url: str, environment: Environment, integration: Integration) -> str:
    """Return the address of our metadata document, which is the client id (CIMD, section 3)."""
    key = quote(integration.unique_key, safe="")
    return f"{base_url}{METADATA_PATH}/{environment.uuid}/{key}"


def name_for_people(integration: Integration) -> str:
    """Return what people read when they are asked to agree."""
    branding = integration.branding or {}
    return branding.get("oauth_client_name") or integration.display_name or integration.unique_key


MODE: Mode = McpOAuth2()
