"""Finds providers: the built-in ones, and those an environment brought itself.

No pydantic here: what checks a definition is in :mod:`keystow.integrations.custom`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from keystow.catalog import loader
from keystow.catalog.loader import Provider
from keystow.store import tables
from keystow.store.store import pages

if TYPE_CHECKING:
    from keystow.context import Context
    from keystow.store import Item, Key

PREFIX: Final = "provider#"


def find(
    ctx: Context, environment: str, provider_id: str, *, max_age: float = 0
) -> Provider | None:
    """Return a provider by its key: a built-in one, or the environment's own, or None.

    Args:
        ctx: store, clock and cache.
        environment: who asks.
        provider_id: the provider's key.
        max_age: how old an answer about a custom provider may be, in seconds; 0 reads it now, so
            that a definition is used from the moment it was put.
    """
    provider = loader.built_in(provider_id)
    if provider is not None:
        return provider
    name = ("provider", environment, provider_id)
    now = ctx.clock.now()
    cached = ctx.cache.get(name)
    if cached is not None and now - cached[0] < max_age:
        assert isinstance(cached[1], Provider)
        return cached[1]
    item = ctx.store.get(tables.custom_provider(environment, provider_id))
    return of_row(ctx, environment, provider_id, item)


def places(environment: str, provider_id: str) -> list[Key]:
    """Return where a provider is stored: nowhere when it is built in."""
    own = loader.built_in(provider_id) is None
    return [tables.custom_provider(environment, provider_id)] if own else []


def of_row(ctx: Context, environment: str, provider_id: str, item: Item | None) -> Provider | None:
    """Return a provider whose row, if it has one, was just read; or None.

    Args:
        ctx: clock and cache.
        environment: who asks.
        provider_id: the provider's key.
        item: what stands at :func:`places`.
    """
    provider = loader.built_in(provider_id)
    if provider is not None:
        return provider
    name = ("provider", environment, provider_id)
    if item is None:
        ctx.cache.pop(name, None)
        return None
    provider = of_item(item)
    ctx.cache[name] = (ctx.clock.now(), provider)
    return provider


def list_all(ctx: Context, environment: str, search: str | None = None) -> list[Provider]:
    """Return the built-in providers and the environment's own, ordered by key.

    Args:
        ctx: the store.
        environment: who asks.
        search: as :func:`keystow.catalog.loader.matches` takes it; None or empty finds all.
    """
    built_in = loader.all_built_in(search)
    taken = frozenset(loader.built_in_ids())
    custom = [
        provider
        for item in pages(ctx.store, tables.REGISTRY, environment, prefix=PREFIX)
        if (provider := of_item(item)).id not in taken and loader.matches(search, provider)
    ]
    return sorted([*built_in, *custom], key=lambda provider: provider.id)


def of_item(item: Item) -> Provider:
    """Return the provider of a stored definition."""
    return Provider(item["sk"].removeprefix(PREFIX), json.loads(item["definition"]))
