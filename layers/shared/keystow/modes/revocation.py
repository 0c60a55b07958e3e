"""Telling a provider that a credential is no longer needed, in the way of its mode."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keystow.modes import mode_for
from keystow.modes.base import Mode

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

    Raises:
        VaultError, VaultUnavailable: the app's own secrets do not open.
    """
    kind = str(sealed.credentials.reveal().get("type") or "NONE")
    mode = mode_for(provider, kind) or Mode()
    return mode.revoke(ctx, provider, integration, sealed)
