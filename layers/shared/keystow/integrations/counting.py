"""Counting the connections of each integration, and those of them that fail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from keystow.records.connection import integration_partition
from keystow.registry import integrations
from keystow.store import tables

if TYPE_CHECKING:
    from collections.abc import Collection

    from keystow.context import Context
    from keystow.records.integration import Integration
    from keystow.store import Item

# API Gateway answers after 30 s; a part is counted in a fraction of a second.
SECONDS: Final = 20


def by_integration(
    ctx: Context, environment: str, keys: Collection[str] | None = None
) -> list[dict[str, Any]]:
    """Return ``{unique_key, provider, connections, failing, complete}`` of each integration.

    ``complete`` is False where the time was over: there are at least so many then.

    Args:
        ctx: store and clock.
        environment: whose.
        keys: only integrations of these unique keys; None: all.
    """
    until = ctx.clock.now() + SECONDS
    return [
        _counted(ctx, each, until)
        for each in integrations.list_all(ctx, environment)
        if keys is None or each.unique_key in keys
    ]


def of_one(ctx: Context, integration: Integration) -> int:
    """Return how many connections an integration has, as far as they are counted in time."""
    return int(_counted(ctx, integration, ctx.clock.now() + SECONDS)["connections"])


def _counted(ctx: Context, integration: Integration, until: float) -> dict[str, Any]:
    partition = integration_partition(integration.environment, integration.id)
    connections = failing = 0
    start: Item | None = None
    complete = False
    while not complete and ctx.clock.now() < until:
        part = ctx.store.count(
            tables.CONNECTIONS, partition, index="by_integration", having="auth_error", start=start
        )
        connections += part.items
        failing += part.having
        start = part.next
        complete = start is None
    return {
        "unique_key": integration.unique_key,
        "provider": integration.provider,
        "connections": connections,
        "failing": failing,
        "complete": complete,
    }
