"""Tokens that lost a race but may still be needed: kept sealed for a week."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from keystow.records.connection import Sealed
from keystow.store import Check, ConditionFailed, Equals, Put, Update, gates, tables
from keystow.store.operations import NEW, THERE
from keystow.store.store import pages
from keystow.vault import Envelope, Purpose, VaultError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from keystow.context import Context
    from keystow.records.connection import StoredSecret
    from keystow.store import Item, Key

LIFE_SECONDS: Final = 7 * 86_400


@dataclass(frozen=True)
class Parked:
    """A parked credential and where it lies."""

    place: Key
    sealed: Sealed


def park(ctx: Context, secret: StoredSecret, sealed: Sealed) -> None:
    """Keep a credential that could not be committed because the lease was lost.

    Parking the same one twice, as when its queue message comes again, keeps one. Nothing is kept
    of a connection that was deleted, is being deleted, or was authorized anew: there is nothing
    that it could mend.
    """
    entry = f"{secret.version:010d}-{secret.write_id}"
    binding = _binding(secret, entry)
    envelope = ctx.vault.seal(Purpose.CREDENTIAL, secret.environment, binding, sealed.as_bytes())
    item = {
        "generation": secret.generation,
        "sealed": envelope.as_item(),
        "ttl": int(ctx.clock.now()) + LIFE_SECONDS,
    }
    same = Equals("generation", secret.generation)
    with suppress(ConditionFailed, gates.EnvironmentClosed, gates.IntegrationClosed):
        gates.transact(
            ctx.store,
            [Put(_place(secret, entry), item, NEW), Check(secret.key, same)],
            environment=secret.environment,
            integration=secret.integration,
            spread=secret.connection_id,
        )


def latest(ctx: Context, secret: StoredSecret) -> Parked | None:
    """Return the newest parked credential of this generation that has not been tried.

    Raises:
        StoreUnavailable, VaultUnavailable: it cannot be told now.
    """
    pk = tables.connection_pk(secret.environment, secret.integration, secret.connection_id)
    for item in pages(ctx.store, tables.CONNECTIONS, pk, prefix="journal#", descending=True):
        usable = item["generation"] == secret.generation and "used_at" not in item
        if not usable or item["ttl"] <= ctx.clock.now():
            continue
        entry = item["sk"].partition("#")[2]
        try:
            plaintext = ctx.vault.open(
                Purpose.CREDENTIAL,
                secret.environment,
                _binding(secret, entry),
                Envelope.from_item(item["sealed"]),
            )
        except VaultError:
            continue
        return Parked(_place(secret, entry), Sealed.from_bytes(plaintext))
    return None


def mark_used(ctx: Context, parked: Parked) -> None:
    """Note that a parked credential helped, or is known to be dead."""
    now = int(ctx.clock.now() * 1000)
    with suppress(ConditionFailed):
        ctx.store.update(Update(parked.place, set={"used_at": now}, condition=THERE))


def unused(secret: StoredSecret, rows: Iterable[Item]) -> Iterator[tuple[Item, tuple[str, ...]]]:
    """Yield the rows of this generation that were not tried, and what each envelope is bound to."""
    for row in rows:
        if row["generation"] == secret.generation and "used_at" not in row:
            yield row, _binding(secret, row["sk"].partition("#")[2])


def _place(secret: StoredSecret, entry: str) -> Key:
    return tables.journal(secret.environment, secret.integration, secret.connection_id, entry)


def _binding(secret: StoredSecret, entry: str) -> tuple[str, ...]:
    return (secret.integration, secret.connection_id, "journal", secret.generation, entry)
