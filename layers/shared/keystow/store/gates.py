"""Gates: what closes an environment, or one of its integrations, to everything new.

    writer   ──one transaction: what it writes, while gate 5 is open──▶ stored, or nothing of it
    removal  ──shuts gates 0 to 7, then looks for what is there────────▶ nothing new can come

All are shut in one transaction. Where it meets too many writers (:class:`TransactionConflict`),
they are shut one by one: each meets an eighth of them.

A gate is open while there is no row for it. There are several, of which a writer asks one, since
transactions that touch one item at one moment refuse each other. Those of an environment stay shut
for ever: its id is never used again.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final

from keystow.errors import ApiError
from keystow.store import tables
from keystow.store.operations import NEW, Check, Key, Operation, Put
from keystow.store.store import ConditionFailed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from keystow.store.store import Store

GATES: Final = 8
# Longer than whatever may still be on its way for an integration that was deleted.
INTEGRATION_KEPT_SECONDS: Final = 30 * 86_400
_WHOLE: Final = "environment"


class EnvironmentClosed(ApiError):  # noqa: N818 - an outcome, not a fault
    """401 ``unknown_account``: the environment is being deleted, or was; nothing was written."""

    def __init__(self) -> None:
        super().__init__("unknown_account", "The environment is being deleted, or was")


class IntegrationClosed(ApiError):  # noqa: N818 - an outcome, not a fault
    """400 ``invalid_connection``: the integration was deleted; nothing was written."""

    def __init__(self) -> None:
        super().__init__("invalid_connection", "The integration was deleted meanwhile")


def transact(
    store: Store,
    writes: Sequence[Operation],
    *,
    environment: str,
    spread: str,
    integration: str | None = None,
    token: str | None = None,
) -> None:
    """Write something new, all or nothing, while what it belongs to is open.

    Args:
        store: the tables.
        writes: what to write; a failed condition names its position among them.
        environment: whose it is.
        spread: by which the gate is chosen: an id that others write with at one moment have not.
        integration: of which integration it is, if of one.
        token: as :meth:`Store.transact`.

    Raises:
        EnvironmentClosed, IntegrationClosed: what it belongs to is being deleted, or was.
        ConditionFailed, TransactionConflict, ItemTooLarge, StoreUnavailable: as the store.
    """
    checks = [Check(_gate(environment, _WHOLE, spread), NEW)]
    if integration is not None:
        checks.append(Check(_gate(environment, integration, spread), NEW))
    try:
        store.transact([*writes, *checks], token)
    except ConditionFailed as failure:
        if len(writes) in failure.failed:
            raise EnvironmentClosed from None
        if len(writes) + 1 in failure.failed:
            raise IntegrationClosed from None
        raise


def shutting_environment(environment: str, now: int) -> list[Put]:
    """Return the writes that shut an environment for ever; ``now`` in milliseconds."""
    return _shutting(environment, _WHOLE, {"shut_at": now})


def shutting_integration(environment: str, integration: str, now: int) -> list[Put]:
    """Return the writes that shut an integration; ``now`` in milliseconds."""
    row = {"shut_at": now, "ttl": now // 1000 + INTEGRATION_KEPT_SECONDS}
    return _shutting(environment, integration, row)


def shut_one_by_one(store: Store, shutting: Sequence[Put]) -> None:
    """Shut gates where one transaction met too many writers; done when it returns.

    Raises as the store: then some of them may be shut.
    """
    for each in shutting:
        store.put(each)


def environment_shut_at(store: Store, environment: str) -> int | None:
    """Return when the last gate of an environment was shut, None while one is open."""
    prefix = tables.gate(environment, _WHOLE, 0).sk[:-2]
    rows = store.query(tables.REGISTRY, environment, prefix=prefix).items
    return max(row["shut_at"] for row in rows) if len(rows) == GATES else None


def is_of_environment(sort_key: str) -> bool:
    """Return whether a row of the Registry is a gate of a whole environment."""
    return sort_key.startswith(tables.gate("", _WHOLE, 0).sk[:-2])


def _shutting(environment: str, what: str, row: dict[str, int]) -> list[Put]:
    return [Put(tables.gate(environment, what, number), row) for number in range(GATES)]


def _gate(environment: str, what: str, spread: str) -> Key:
    number = zlib.crc32(spread.encode("utf-8", "surrogatepass")) % GATES
    return tables.gate(environment, what, number)
