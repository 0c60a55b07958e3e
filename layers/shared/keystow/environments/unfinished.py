"""Ends removals of environments, integrations and connections that nobody came back for.

A function that is killed, or a caller who does not repeat a 503, leaves a mark behind: on the
environment, or beside its integrations. Here all marks are looked at from time to time, so that
what has begun ends by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from keystow.connections.delete import erase_the_rest
from keystow.environments import removal, service
from keystow.errors import ApiError
from keystow.integrations import removal as integrations
from keystow.log import logger
from keystow.records.environment import Environment
from keystow.store import StoreUnavailable, TransactionConflict, tables

if TYPE_CHECKING:
    from keystow.context import Context

# Whose deletion was cut off, of one environment in one call.
MOST_CONNECTIONS: Final = 100


def finish(ctx: Context, until: float) -> dict[str, Any]:
    """Go on with every removal that has begun.

    Args:
        ctx: the container's context.
        until: epoch seconds after which no further environment is begun.

    Returns:
        ``environments``, how many were being deleted, and ``deleted``, how many of them are now.
    """
    begun = deleted = 0
    for claim in service.claims(ctx):
        if ctx.clock.now() >= until:
            break
        try:
            item = ctx.store.get(tables.environment_settings(claim["environment"]))
            if item is None:
                continue
            if not item.get("deleting"):
                integrations.purge(ctx, claim["environment"], None)
                erase_the_rest(ctx, claim["environment"], MOST_CONNECTIONS)
                continue
            begun += 1
            removal.shred(ctx, Environment.from_item(item))
            deleted += 1
        except (ApiError, StoreUnavailable, TransactionConflict) as error:
            # The next call goes on; others need not wait for this one.
            logger.warning("removal unfinished", extra={"cause": type(error).__name__})
    return {"environments": begun, "deleted": deleted}
