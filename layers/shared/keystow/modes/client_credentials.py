"""OAuth 2.0 client credentials of the connected account itself (RFC 6749, section 4.4)."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from keystow.clock import iso
from keystow.modes.base import Mode, Renewed
from keystow.modes.oauth2 import with_end
from keystow.records.connection import Sealed
from keystow.secret import Secret

if TYPE_CHECKING:
    from keystow.catalog.loader import Provider
    from keystow.context import Context
    from keystow.records.integration import Integration


class ClientCredentials:
    """Tokens that the client's own id and secret renew."""

    credential_type = "OAUTH2_CC"

    def refreshable(self, credentials: dict[str, Any]) -> bool:
        """Return whether the client's own secret is there."""
        return bool(credentials.get("client_id") and credentials.get("client_secret"))

    def renew(
        self, ctx: Context, provider: Provider, integration: Integration, sealed: Sealed
    ) -> Renewed:
        """Ask for another token with the same client."""
        del integration
        return request_token(ctx, provider, sealed)


def request_token(ctx: Context, provider: Provider, sealed: Sealed) -> Renewed:
    """Return a credential with a new token.

    Raises:
        TokenError: no token came.
    """
    from keystow.oauth.authorization_params import ReservedParameter
    from keystow.oauth.errors import ConfigurationError
    from keystow.oauth.token_endpoint import CLIENT_LIFE, OAuthClient, client_credentials

    credentials = sealed.credentials.reveal()
    client = OAuthClient(credentials["client_id"], Secret(credentials.get("client_secret") or ""))
    config = sealed.connection_config.reveal()
    began = ctx.clock.now()
    asked = bool(provider.introspection)
    try:
        tokens = client_credentials(
            ctx.egress,
            provider,
            client,
            connection_config=config,
            now=began,
            default_life=None if asked else CLIENT_LIFE,
        )
    except ReservedParameter as error:
        raise ConfigurationError("reserved_parameter", str(error)) from error
    if asked:
        tokens, _ = with_end(ctx, provider, client, tokens, config, began)
        if tokens.expires_at is None:
            tokens = dataclasses.replace(tokens, expires_at=began + CLIENT_LIFE)
    found: dict[str, Any] = {**credentials, "token": tokens.access_token.reveal()}
    if tokens.expires_at is not None:
        found["expires_at"] = iso(tokens.expires_at)
    found["raw"] = tokens.raw.reveal()
    return Renewed(
        Sealed(Secret(found), sealed.connection_config),
        None if tokens.expires_at is None else int(tokens.expires_at * 1000),
    )


MODE: Mode = ClientCredentials()
