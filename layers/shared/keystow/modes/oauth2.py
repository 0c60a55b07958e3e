"""OAuth 2.0 tokens of an authorization code (RFC 6749, sections 4.1 and 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keystow.clock import iso
from keystow.modes.base import Mode, Renewed
from keystow.records.connection import Sealed
from keystow.secret import Secret

if TYPE_CHECKING:
    from keystow.catalog.loader import Provider
    from keystow.context import Context
    from keystow.oauth.token_endpoint import OAuthClient, TokenSet
    from keystow.records.integration import Integration


class OAuth2:
    """Tokens that a refresh token renews."""

    credential_type = "OAUTH2"

    def refreshable(self, credentials: dict[str, Any]) -> bool:
        """Return whether there is a refresh token."""
        return bool(credentials.get("refresh_token"))

    def renew(
        self, ctx: Context, provider: Provider, integration: Integration, sealed: Sealed
    ) -> Renewed:
        """Ask for new tokens; an answer without a refresh token keeps the old one (section 6)."""
        from keystow.oauth.token_endpoint import refresh

        credentials = sealed.credentials.reveal()
        tokens = refresh(
            ctx.egress,
            provider,
            client_of(ctx, integration, credentials),
            refresh_token=Secret(credentials["refresh_token"]),
            connection_config=sealed.connection_config.reveal(),
            now=ctx.clock.now(),
        )
        renewed = credentials_of(tokens, previous=credentials)
        return Renewed(
            Sealed(renewed, sealed.connection_config),
            None if tokens.expires_at is None else int(tokens.expires_at * 1000),
        )


def client_of(ctx: Context, integration: Integration, credentials: dict[str, Any]) -> OAuthClient:
    """Return the client a connection uses: its own override when complete, else the app's."""
    from keystow.oauth.token_endpoint import OAuthClient

    override = credentials.get("config_override") or {}
    if override.get("client_id") and override.get("client_secret"):
        return OAuthClient(override["client_id"], Secret(override["client_secret"]))
    secrets = integration.secrets(ctx.vault)
    return OAuthClient(integration.client_id or "", secrets.client_secret)


def credentials_of(
    tokens: TokenSet, previous: dict[str, Any] | None = None
) -> Secret[dict[str, Any]]:
    """Return tokens in the stored shape (contract 8.2)."""
    earlier = previous or {}
    found: dict[str, Any] = {"type": "OAUTH2", "access_token": tokens.access_token.reveal()}
    refresh_token = (
        tokens.refresh_token.reveal() if tokens.refresh_token else earlier.get("refresh_token")
    )
    if refresh_token:
        found["refresh_token"] = refresh_token
    if tokens.expires_at is not None:
        found["expires_at"] = iso(tokens.expires_at)
    found["raw"] = tokens.raw.reveal()
    if earlier.get("config_override"):
        found["config_override"] = earlier["config_override"]
    return Secret(found)


MODE: Mode = OAuth2()
