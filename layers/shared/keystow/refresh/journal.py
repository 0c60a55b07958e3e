"""Tokens that lost a race but may still be needed: kept sealed for a week."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from keystow.ids import short_id
from keystow.records.connection import Sealed
from keystow.store import ConditionFailed, Put, Update, tables
from keystow.store.operations import THERE
from keystow.store.store import pages
from keystow.vault import Envelope, Purpose, VaultError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from keystow.context import Context
    from keystow.records.connection import StoredSecret

LIFE_SECONDS: Final = 7 * 86_400


def park(ctx: Context, secret: StoredSecret, sealed: Sealed) -> None:
    """Keep a credential that could not be committed because the lease was lost."""
    entry = f"{int(ctx.clock.now() * 1000):014d}-{short_id(ctx.random)}"
    binding = _binding(secret, entry)
    envelope = ctx.vault.seal(Purpose.CREDENTIAL, secret.environment, binding, sealed.as_bytes())
    place = tables.journal(secret.environment, secret.integration, secret.connection_id, entry)
    ctx.store.put(
        Put(
            place,
            {
                "generation": secret.generation,
                "sealed": envelope.as_item(),
                "ttl": int(ctx.clock.now()) + LIFE_SECONDS,
            },
        )
    )


def take(ctx: Context, secret: StoredSecret) -> Iterator[Sealed]:
    """Yield the parked credentials of this generation, newest first, each only once."""
    pk = tables.connection_pk(secret.environment, secret.integration, secret.connection_id)
    found = pages(ctx.store, tables.CONNECTIONS, pk, prefix="journal#", descending=True)
    for item in list(found):
        if item["generation"] != secret.generation or "used_at" in item:
            continue
        if item["ttl"] <= ctx.clock.now():
            continue
        entry = item["sk"].partition("#")[2]
        place = tables.journal(secret.environment, secret.integration, secret.connection_id, entry)
        try:
            now = int(ctx.clock.now() * 1000)
            ctx.store.update(Update(place, set={"used_at": now}, condition=THERE))
            plaintext = ctx.vault.open(
                Purpose.CREDENTIAL,
                secret.environment,
                _binding(secret, entry),
                Envelope.from_item(item["sealed"]),
            )
        except (ConditionFailed, VaultError):
            continue
        yield Sealed.from_bytes(plaintext)


def _binding(secret: StoredSecret, entry: str) -> tuple[str, ...]:
    return (secret.integration, secret.connection_id, "journal", secret.generation, entry)
