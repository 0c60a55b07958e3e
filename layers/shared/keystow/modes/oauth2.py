"""OAuth 2.0 tokens of an authorization code (RFC 6749, sections 4.1 and 6)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from keystow.catalog.interpolate import metadata_from
from keystow.clock import iso
from keystow.modes.base import Mode, Renewed
from keystow.records.connection import Sealed
from keystow.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keystow.catalog.loader import Provider
    from keystow.context import Context
    from keystow.oauth.token_endpoint import OAuthClient, TokenSet
    from keystow.records.integration import Integration


# An exchange and what belongs to it take no longer, so that none is cut off by its function's end.
EXCHANGE_SECONDS: Final = 20.0


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
        from keystow.modes import dual_tokens
        from keystow.oauth.token_endpoint import refresh

        credentials = sealed.credentials.reveal()
        client = client_of(ctx, provider, integration, credentials)
        config = sealed.connection_config.reveal()
        began = ctx.clock.now()

        def ask(refresh_token: Secret[str], access_token: Secret[str]) -> TokenSet:
            now = ctx.clock.now()
            return refresh(
                ctx.egress,
                provider,
                client,
                refresh_token=refresh_token,
                connection_config=config,
                now=now,
                access_token=access_token,
                deadline=EXCHANGE_SECONDS - (now - began),
            )

        tokens = ask(Secret(credentials["refresh_token"]), Secret(credentials["access_token"]))
        tokens, remark = with_end(ctx, provider, client, tokens, config, began)
        left = EXCHANGE_SECONDS - (ctx.clock.now() - began)
        second = dual_tokens.renewed(provider, credentials, tokens, ask, left)
        ends = [each for each in (tokens.expires_at, second.expires_at) if each is not None]
        tokens = replace(tokens, raw=Secret(second.raw), expires_at=min(ends, default=None))
        told = metadata_from(second.raw, provider.definition, "refresh_token_response_metadata")
        return Renewed(
            Sealed(credentials_of(tokens, previous=credentials), Secret({**config, **told})),
            None if tokens.expires_at is None else int(tokens.expires_at * 1000),
            " ".join(each for each in (remark, second.remark) if each),
            None if second.again_in is None else int((ctx.clock.now() + second.again_in) * 1000),
        )


def with_end(
    ctx: Context,
    provider: Provider,
    client: OAuthClient,
    tokens: TokenSet,
    config: dict[str, Any],
    began: float,
) -> tuple[TokenSet, str]:
    """Return tokens with their end, and a remark where it stays unknown.

    Args:
        ctx: the container's context.
        provider: its entry.
        client: the app that got them.
        tokens: as just read.
        config: the connection's.
        began: epoch seconds when the exchange began, whose time is shared.
    """
    from keystow.oauth.introspection import with_end as asked

    now = ctx.clock.now()
    left = EXCHANGE_SECONDS - (now - began)
    return asked(ctx.egress, provider, client, tokens, connection_config=config, now=now, left=left)


def remarks(provider: Provider, tokens: TokenSet, remark: str) -> list[str]:
    """Return what whoever runs an integration should know of the tokens of a new connection."""
    found = [remark] if remark else []
    ends = tokens.expires_at is not None
    if ends and tokens.refresh_token is None and not provider.no_refresh_token:
        found.append(
            "The token ends and no refresh token came: then the account must be connected again. "
            "Some providers want a scope or a parameter for one"
        )
    return found


def client_of(
    ctx: Context, provider: Provider, integration: Integration, credentials: Mapping[str, Any]
) -> OAuthClient:
    """Return the client a connection uses: its own override when complete, else the app's.

    Raises:
        ConfigurationError: each connection of this provider brings its own, and this one has none.
    """
    from keystow.oauth.errors import ConfigurationError
    from keystow.oauth.token_endpoint import OAuthClient

    override = credentials.get("config_override") or {}
    if override.get("client_id") and override.get("client_secret"):
        return OAuthClient(override["client_id"], Secret(override["client_secret"]))
    if provider.client_per_connection:
        # Its host is of the connection's choosing: the app's secret must not go there.
        raise ConfigurationError(
            "no_client", "the connection has no client id and secret of its own"
        )
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
