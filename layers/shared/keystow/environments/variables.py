"""An environment's variables: names and values that a backend keeps here (contract 6.5).

They are sealed together, since a value may be a secret, and written together: who changes one sends
them all.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from keystow.store import Put, gates, tables
from keystow.vault import Envelope, Purpose

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keystow.context import Context

MOST: Final = 100
LONGEST_NAME: Final = 255
LONGEST_VALUE: Final = 4_096
_BINDING: Final = ("environment-variables",)


def listed(ctx: Context, environment: str) -> list[dict[str, str]]:
    """Return the variables, ``{name, value}``, by name.

    Raises:
        VaultError, VaultUnavailable: as the vault does.
    """
    item = ctx.store.get(tables.environment_variables(environment))
    if item is None:
        return []
    envelope = Envelope.from_item(item["sealed"])
    values = json.loads(ctx.vault.open(Purpose.VARIABLE, environment, _BINDING, envelope))
    return [{"name": name, "value": values[name]} for name in sorted(values)]


def write(ctx: Context, environment: str, values: Mapping[str, str]) -> None:
    """Replace all variables.

    Raises:
        ItemTooLarge: together they are over 400 KB.
        EnvironmentClosed: the environment is being removed.
        VaultUnavailable: as the vault does.
    """
    text = json.dumps(dict(values), ensure_ascii=False).encode()
    sealed = ctx.vault.seal(Purpose.VARIABLE, environment, _BINDING, text)
    row = {"sealed": sealed.as_item(), "updated_at": int(ctx.clock.now() * 1000)}
    put = Put(tables.environment_variables(environment), row)
    gates.transact(ctx.store, [put], environment=environment, spread="variables")
