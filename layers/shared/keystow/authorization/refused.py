"""What becomes of a grant that could not be stored, and of the quota it was counted for.

exchange ──▶ stored                       the unit counts
         └─▶ refused, nothing under its id ──▶ revoked; the unit is given back
         └─▶ refused, something is there   ──▶ kept: providers may end all that one person
                                               granted one app, the older grant as well
         └─▶ nobody knows                  ──▶ kept, and the unit counts
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from keystow.log import logger
from keystow.modes import revocation
from keystow.store import StoreUnavailable, tables
from keystow.vault import VaultError, VaultUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from keystow.catalog.loader import Provider
    from keystow.context import Context
    from keystow.records.connection import Sealed
    from keystow.records.integration import Integration
    from keystow.sessions.quotas import Unit


@contextmanager
def storing(
    ctx: Context,
    unit: Unit,
    integration: Integration,
    provider: Provider,
    connection_id: str,
    sealed: Sealed,
) -> Iterator[None]:
    """Store a credential inside; whatever is raised there goes on after this was settled.

    Args:
        ctx: the container's context.
        unit: of the quota; it counts from here on, unless nothing was stored.
        integration: under which it is stored.
        provider: where it is revoked.
        connection_id: under which id.
        sealed: what the provider gave.
    """
    try:
        yield
    except Exception as error:
        held = _is_held(ctx, integration, connection_id)
        # The table may have taken it, and only its answer was lost.
        if isinstance(error, StoreUnavailable) and held is not False:
            unit.keep()
        if held is False:
            _revoke(ctx, integration, provider, sealed)
        raise
    unit.keep()


def _is_held(ctx: Context, integration: Integration, connection_id: str) -> bool | None:
    """Return whether a connection, or one that waits, has this id; None when nobody knows."""
    place = (integration.environment, integration.id, connection_id)
    try:
        return any(
            ctx.store.get(key) is not None
            for key in (tables.connection(*place), tables.connection_pending(*place))
        )
    except StoreUnavailable:
        return None


def _revoke(ctx: Context, integration: Integration, provider: Provider, sealed: Sealed) -> None:
    try:
        result = revocation.revoke(ctx, provider, integration, sealed)
    except (VaultError, VaultUnavailable) as error:
        logger.warning("a refused grant was not revoked", extra={"cause": type(error).__name__})
        return
    logger.info("a refused grant", extra={"revocation": result.outcome})
