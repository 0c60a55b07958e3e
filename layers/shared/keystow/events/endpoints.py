"""Where webhooks go and what they are signed with, as the environment says now.

The environment's item is read anew after 30 s, so that a rotated signing key, a corrected URL or
an endpoint turned off takes effect within that time.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from keystow import ids
from keystow.events.destinations import shown
from keystow.records.environment import Environment
from keystow.store import ConditionFailed, Delete, Equals, Put, gates, tables
from keystow.store.operations import NEW

if TYPE_CHECKING:
    from keystow.context import Context
    from keystow.secret import Secret
    from keystow.store import Item

CACHE_SECONDS: Final = 30
_ATTEMPTS: Final = 8
_MOST_DISABLED: Final = 200  # URLs of single connections may be many, an item holds 400 KB


@dataclass(frozen=True)
class Endpoints:
    """An environment's URLs, and the hashes of those that said 410."""

    environment: Environment
    disabled: frozenset[str]

    def is_disabled(self, url: str) -> bool:
        """Return whether this URL was turned off."""
        return ids.sha256_hex(shown(url)) in self.disabled

    def url_now(self, role: str, planned: str) -> str | None:
        """Return where an event goes that was planned for a URL.

        A primary or secondary URL that was corrected meanwhile gets what is still waiting; one
        that was removed gets nothing more (None). An override stands as it was planned.
        """
        match role:
            case "primary":
                return self.environment.webhooks.primary_url
            case "secondary":
                return self.environment.webhooks.secondary_url
            case _:
                return planned


def current(ctx: Context, environment: str, *, fresh: bool = False) -> Endpoints | None:
    """Return an environment's endpoints, at most 30 s old; None when it is deleted, or being so.

    Args:
        ctx: store, clock and cache.
        environment: its id.
        fresh: read anew, whatever is remembered.

    Raises:
        StoreUnavailable: the Registry did not answer.
    """
    name = ("webhook-endpoints", environment)
    now = ctx.clock.now()
    cached = ctx.cache.get(name)
    if not fresh and cached is not None and cached[0] > now and isinstance(cached[1], Endpoints):
        return cached[1]
    item = ctx.store.get(tables.environment_settings(environment))
    if item is None or item.get("deleting"):
        return None
    off = ctx.store.get(tables.disabled_webhooks(environment))
    return remembered(ctx, Environment.from_item(item), off)


def remembered(ctx: Context, environment: Environment, off: Item | None) -> Endpoints:
    """Keep what was just read for :func:`current`, and return it.

    Args:
        ctx: clock and cache.
        environment: as it is now.
        off: what stands under :func:`keystow.store.tables.disabled_webhooks`.
    """
    found = Endpoints(environment, frozenset((off or {}).get("urls", ())))
    name = ("webhook-endpoints", environment.id)
    ctx.cache[name] = (ctx.clock.now() + CACHE_SECONDS, found)
    return found


def signing_keys(ctx: Context, endpoints: Endpoints) -> list[Secret[str]]:
    """Return the keys that webhooks are signed with. Raises VaultError, VaultUnavailable."""
    return endpoints.environment.signing_keys(ctx.vault, ctx.clock.now())


def disable(ctx: Context, environment: str, url: str) -> None:
    """Turn an endpoint off, until the settings are written anew. Raises StoreUnavailable.

    One that is turned off while many others are may be left out; it says 410 again and is turned
    off then.
    """
    key = tables.disabled_webhooks(environment)
    url_hash = ids.sha256_hex(shown(url))
    for _ in range(_ATTEMPTS):
        item = ctx.store.get(key)
        before, revision = (item["urls"], item["revision"]) if item else ([], 0)
        off = [*(each for each in before if each != url_hash), url_hash][-_MOST_DISABLED:]
        row = {"urls": off, "revision": revision + 1}
        same = Equals("revision", revision) if item else NEW
        with suppress(ConditionFailed):
            with suppress(gates.EnvironmentClosed):  # it is being deleted, or was
                write = Put(key, row, same)
                gates.transact(ctx.store, [write], environment=environment, spread=url_hash)
            break
    ctx.cache.pop(("webhook-endpoints", environment), None)


def enabling(environment: str) -> Delete:
    """Return the write that turns every endpoint of an environment on again.

    What was not delivered while an endpoint was off stays undelivered.
    """
    return Delete(tables.disabled_webhooks(environment))
