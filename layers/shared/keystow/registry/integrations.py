"""Finds integrations; reading a connection imports this, so nothing heavy is loaded here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from keystow.records.integration import Integration
from keystow.store import tables
from keystow.store.store import pages

if TYPE_CHECKING:
    from keystow.context import Context
    from keystow.store import Item

CACHE_SECONDS: Final = 30
_CACHE_ENTRIES: Final = 5_000


def by_unique_key(
    ctx: Context, environment: str, unique_key: str, *, fresh: bool = False
) -> Integration | None:
    """Return the integration of a unique key, or None.

    Args:
        ctx: store, clock and cache.
        environment: whose it is.
        unique_key: its present name.
        fresh: read it now. Otherwise a positive answer may be 30 s old: a deleted or changed
            integration may be seen so long. What starts an authorization asks for a fresh one.
    """
    name = _cache_name(environment, unique_key)
    now = ctx.clock.now()
    cached = ctx.cache.get(name)
    if cached is not None and cached[0] > now and not fresh:
        assert isinstance(cached[1], Integration)
        return cached[1]
    found = None
    if cached is not None and not fresh:
        # Its id is known: one read instead of two, unless it goes by another name now.
        assert isinstance(cached[1], Integration)
        again = by_id(ctx, environment, cached[1].id)
        found = again if again is not None and again.unique_key == unique_key else None
    if found is None:
        claim = ctx.store.get(tables.integration_name(environment, unique_key))
        return of_claim(ctx, environment, unique_key, claim)
    return _remembered(ctx, environment, unique_key, found)


def of_claim(
    ctx: Context, environment: str, unique_key: str, claim: Item | None
) -> Integration | None:
    """Return the integration of a unique key whose claim was just read, with other rows; or None.

    Args:
        ctx: store, clock and cache.
        environment: whose it is.
        unique_key: its present name.
        claim: what stands under :func:`keystow.store.tables.integration_name`.
    """
    found = by_id(ctx, environment, claim["integration"]) if claim else None
    # Renamed or removed between the two reads: it no longer goes by this name.
    if found is not None and found.unique_key != unique_key:
        found = None
    return _remembered(ctx, environment, unique_key, found)


def id_of(ctx: Context, environment: str, unique_key: str, *, fresh: bool = False) -> str | None:
    """Return the immutable id of the integration of a unique key, or None: one read, not two.

    Args:
        ctx: store, clock and cache.
        environment: whose it is.
        unique_key: its present name.
        fresh: read it now. Otherwise a positive answer may be 30 s old.
    """
    name = _id_name(environment, unique_key)
    now = ctx.clock.now()
    cached = ctx.cache.get(name)
    if cached is not None and cached[0] > now and not fresh:
        assert isinstance(cached[1], str)
        return cached[1]
    claim = ctx.store.get(tables.integration_name(environment, unique_key))
    if claim is None:
        ctx.cache.pop(name, None)
        return None
    if len(ctx.cache) >= _CACHE_ENTRIES:
        ctx.cache.clear()
    ctx.cache[name] = (now + CACHE_SECONDS, claim["integration"])
    return str(claim["integration"])


def by_id(ctx: Context, environment: str, integration_id: str) -> Integration | None:
    """Return the integration of an immutable id, as it is now, or None."""
    item = ctx.store.get(tables.integration(environment, integration_id))
    return None if item is None else Integration.from_item(item)


def list_all(ctx: Context, environment: str) -> list[Integration]:
    """Return every integration of an environment, ordered by provider, then by age."""
    found = [
        Integration.from_item(item)
        for item in pages(ctx.store, tables.REGISTRY, environment, prefix="integration#")
    ]
    return sorted(found, key=lambda each: (each.provider, each.created_at, each.unique_key))


def forget(ctx: Context, environment: str, unique_key: str) -> None:
    """Drop what this container remembers of a unique key, after a change of its own."""
    ctx.cache.pop(_cache_name(environment, unique_key), None)
    ctx.cache.pop(_id_name(environment, unique_key), None)


def _cache_name(environment: str, unique_key: str) -> tuple[str, ...]:
    return ("integration", environment, unique_key)


def _id_name(environment: str, unique_key: str) -> tuple[str, ...]:
    return ("integration-id", environment, unique_key)


def _remembered(
    ctx: Context, environment: str, unique_key: str, found: Integration | None
) -> Integration | None:
    """Keep a positive answer for the next time, and return the answer."""
    name = _cache_name(environment, unique_key)
    if found is None:
        ctx.cache.pop(name, None)
        return None
    if len(ctx.cache) >= _CACHE_ENTRIES:
        ctx.cache.clear()
    ctx.cache[name] = (ctx.clock.now() + CACHE_SECONDS, found)
    return found
