"""What an authorization needs to know of its environment: one request, instead of one for each row.

Each row is as it was before anything was decided. What depends on it is asked again in the
transaction that stores the connection: the gates of environment and integration, the session.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from keystow.connections.importing import open_environment
from keystow.events import endpoints
from keystow.store import tables

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keystow.context import Context
    from keystow.records.environment import Environment
    from keystow.store import Item, Key
    from keystow.vault import Purpose


class Rows:
    """Rows that were read at one time.

    Attributes:
        data_keys: data keys that are not at hand yet, for :meth:`Vault.unwrapping_ahead`.
    """

    def __init__(
        self, environment: str, found: Mapping[Key, Item | None], data_keys: list[Key]
    ) -> None:
        self._settings = found[tables.environment_settings(environment)]
        self._found = found
        self.data_keys = {key: found[key] for key in data_keys}

    def get(self, key: Key) -> Item | None:
        """Return one of the rows that were asked for, or None."""
        return self._found[key]

    def environment(self) -> Environment:
        """Return the environment. Raises 401 ``unknown_account``: it is being deleted, or was."""
        return open_environment(self._settings)


def read(ctx: Context, environment: str, purposes: tuple[Purpose, ...], *keys: Key) -> Rows:
    """Read an environment's settings, data keys and further rows.

    Args:
        ctx: store, vault and cache.
        environment: which one.
        purposes: of the data keys that will most likely be needed.
        keys: of the further rows.

    Raises:
        StoreUnavailable: nothing has been read.
    """
    data_keys = ctx.vault.missing(environment, *purposes)
    settings = tables.environment_settings(environment)
    off = tables.disabled_webhooks(environment)
    wanted = [settings, off, *keys, *data_keys]
    found = dict(zip(wanted, ctx.store.get_all(wanted), strict=True))
    rows = Rows(environment, found, data_keys)
    item = found[settings]
    if item is not None and not item.get("deleting"):
        endpoints.remembered(ctx, rows.environment(), found[off])
    return rows
