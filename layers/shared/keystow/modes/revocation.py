"""Telling a provider that a credential is no longer needed (RFC 7009), where it listens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from keystow.catalog.loader import Provider
    from keystow.context import Context
    from keystow.oauth.revocation import RevocationResult
    from keystow.records.connection import Sealed
    from keystow.records.integration import Integration

_METADATA: Final = "token_response_metadata"


def revoke(
    ctx: Context, provider: Provider, integration: Integration, sealed: Sealed
) -> RevocationResult:
    """Revoke a credential at its provider and tell how that went.

    Never raises for what the provider does: a deletion must not depend on it.
    """
    from keystow.catalog.interpolate import metadata_from
    from keystow.modes.dual_tokens import second_of
    from keystow.modes.oauth2 import client_of
    from keystow.oauth import revocation
    from keystow.oauth.errors import ConfigurationError
    from keystow.oauth.token_answer import TokenSet
    from keystow.secret import Secret

    credentials = sealed.credentials.reveal()
    if credentials.get("type") != "OAUTH2":
        return revocation.RevocationResult("unsupported", "such credentials cannot be revoked")
    try:
        client = client_of(ctx, provider, integration, credentials)
    except ConfigurationError as error:
        return revocation.RevocationResult("unsupported", error.description)
    told = metadata_from(credentials.get("raw") or {}, provider.definition, _METADATA)
    config = {**told, **sealed.connection_config.reveal()}
    result = None
    for held in (second_of(provider, credentials), credentials):
        if held is None:
            continue
        refresh_token = held.get("refresh_token")
        tokens = TokenSet(
            access_token=Secret(held["access_token"]),
            refresh_token=Secret(refresh_token) if refresh_token else None,
            expires_at=None,
            raw=Secret({}),
            granted_scopes=None,
            token_type="bearer",  # noqa: S106 - the kind of a token
        )
        last = revocation.revoke(
            ctx.egress,
            provider,
            client,
            tokens,
            connection_config=config,
            now=ctx.clock.now(),
        )
        result = last if result is None or result.outcome == "done" else result
    assert result is not None
    return result
