"""Telling a provider that a credential is no longer needed (RFC 7009), where it listens."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from keystow.catalog.loader import Provider
    from keystow.context import Context
    from keystow.oauth.revocation import RevocationResult
    from keystow.records.connection import Sealed
    from keystow.records.integration import Integration


def revoke(
    ctx: Context, provider: Provider, integration: Integration, sealed: Sealed
) -> RevocationResult:
    """Revoke a credential at its provider and tell how that went.

    Never raises for what the provider does: a deletion must not depend on it.
    """
    from keystow.modes.oauth2 import client_of
    from keystow.oauth import revocation
    from keystow.oauth.token_answer import TokenSet
    from keystow.secret import Secret

    credentials = sealed.credentials.reveal()
    if credentials.get("type") != "OAUTH2":
        return revocation.RevocationResult("unsupported", "such credentials cannot be revoked")
    refresh_token = credentials.get("refresh_token")
    tokens = TokenSet(
        access_token=Secret(credentials["access_token"]),
        refresh_token=Secret(refresh_token) if refresh_token else None,
        expires_at=None,
        raw=Secret({}),
        granted_scopes=None,
        token_type="bearer",  # noqa: S106 - the kind of a token
    )
    return revocation.revoke(
        ctx.egress,
        provider,
        client_of(ctx, integration, credentials),
        tokens,
        connection_config=sealed.connection_config.reveal(),
        now=ctx.clock.now(),
    )
