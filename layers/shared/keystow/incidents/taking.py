"""Takes credentials in, and revokes them: what the worker does for an incident.

    connection ──one transaction──▶ row of the incident, still sealed ──revoked──▶ outcome alone
    gone: nobody reads or             due index: sweep and worker come              the credential
    refreshes it any more             back until it has an outcome                  is shredded

A credential is taken before its provider is asked: what is read out meanwhile would be revoked a
moment later, and a refresh could give a new token behind the revocation's back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from keystow import ids, metrics
from keystow.connections import delete, pending
from keystow.log import logger
from keystow.modes import revocation
from keystow.records.incident import KEPT_SECONDS, TakenToken, taken
from keystow.refresh import journal
from keystow.refresh.due import shard_of
from keystow.refresh.sweep import QUEUED_FOR_MS
from keystow.registry import integrations, providers
from keystow.store import (
    ConditionFailed,
    Exists,
    Key,
    Put,
    StoreUnavailable,
    TransactionConflict,
    Update,
    tables,
)
from keystow.vault import VaultError, VaultUnavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from keystow.context import Context
    from keystow.records.connection import StoredSecret
    from keystow.records.integration import Integration
    from keystow.store import Item, Operation

# A provider that does not confirm is asked again after 1, 2, 4 … minutes: for 8.5 h in all.
MOST_ATTEMPTS: Final = 10
FIRST_PAUSE_MS: Final = 60_000
# Of tokens that lost a race: the newest, of which one may be alive.
MOST_JOURNALLED: Final = 5
# Rows that count: a hundred threads at one row would refuse each other.
COUNTERS: Final = 16
_TRIES: Final = 5


def take(ctx: Context, entry: dict[str, str]) -> list[Key]:
    """Take in what one entry of a message names; return the rows of what was taken.

    Args:
        ctx: store and queues.
        entry: ``incident`` and ``pk``: partitions of both; ``sk`` and ``generation`` of what it is.

    Raises:
        ApiError: it kept changing; the message must come again.
        StoreUnavailable, TransactionConflict: likewise.
    """
    environment, incident_id = tables.split_incident(entry["incident"])
    incident = tables.incident(environment, incident_id)
    of, integration_id, connection_id = tables.split_connection_pk(entry["pk"])
    integration = integrations.by_id(ctx, environment, integration_id)
    if of != environment or integration is None or ctx.store.get(incident) is None:
        return []  # a removal erases it, and has begun to
    one = _Taking(ctx, integration, connection_id, incident)
    if entry["sk"] == tables.CONNECTION_PENDING:
        done = pending.take(ctx, integration, connection_id, entry["generation"], one.of_waiting)
    else:
        done = delete.take(ctx, integration, connection_id, entry["generation"], one.of_connection)
    return one.rows if done else []


class _Taking:
    """One connection, and the rows that its credentials make."""

    def __init__(
        self, ctx: Context, integration: Integration, connection_id: str, incident: Key
    ) -> None:
        self.rows: list[Key] = []
        self._ctx = ctx
        self._integration = integration
        self._connection_id = connection_id
        self._incident = incident

    def of_connection(self, secret: StoredSecret, parked: Sequence[Item]) -> list[Operation]:
        """Return the writes that keep a connection's credential, and tokens that lost a race."""
        self.rows = []
        found = [(secret.envelope.as_item(), secret.binding())]
        found += [
            (row["sealed"], binding) for row, binding in journal.unused(secret, parked[::-1])
        ][:MOST_JOURNALLED]
        return self._kept(secret.generation, secret.host, found)

    def of_waiting(self, item: Item, binding: tuple[str, ...]) -> list[Operation]:
        """Return the writes that keep the credential of what waits for confirmation."""
        self.rows = []
        return self._kept(item["generation"], item.get("host"), [(item["sealed"], binding)])

    def _kept(
        self, generation: str, host: str | None, found: Sequence[tuple[Any, tuple[str, ...]]]
    ) -> list[Operation]:
        now = int(self._ctx.clock.now() * 1000)
        writes: list[Operation] = []
        for sealed, binding in found:
            name = ids.sha256_hex("#".join(binding))
            key = Key(tables.CONNECTIONS, self._incident.pk, f"{tables.TAKEN}{name}")
            row = taken(
                generation=generation,
                integration=self._integration,
                connection_id=self._connection_id,
                sealed=sealed,
                binding=binding,
                host=host,
                due=(shard_of(self._connection_id), now + QUEUED_FOR_MS),
                now=now,
            )
            writes.append(Put(key, row))
            self.rows.append(key)
        spread = self._connection_id
        writes.append(_counted(self._incident.pk, spread, now, taken=len(found)))
        return writes


def revoke(ctx: Context, item: Item) -> None:
    """Revoke what an incident has taken, and shred it; or let it come due again.

    Args:
        ctx: store, vault and the way out.
        item: the row, which still has its credential.

    Raises:
        StoreUnavailable, TransactionConflict, VaultUnavailable: it must come again.
    """
    token = TakenToken.from_item(item)
    outcome, detail = _asked(ctx, token)
    now = int(ctx.clock.now() * 1000)
    if outcome == "failed" and token.attempts + 1 < MOST_ATTEMPTS:
        later = now + FIRST_PAUSE_MS * 2**token.attempts
        changes = {"due_at": later, "attempts": token.attempts + 1, "detail": detail}
        ctx.store.update(Update(token.key, set=changes, condition=Exists("sealed")))
        return
    told = {"outcome": outcome, "attempts": token.attempts + 1, "ended_at": now, "detail": detail}
    ended = Update(
        token.key,
        set=told,
        remove=("sealed", "binding", "due_shard", "due_at", "host"),
        condition=Exists("sealed"),
    )
    counted = _counted(token.key.pk, token.connection_id + token.sk, now, **{outcome: 1})
    for attempt in range(_TRIES):
        try:
            ctx.store.transact([ended, counted])
        except TransactionConflict:
            ctx.clock.sleep(0.05 * (attempt + 1) * ctx.random.bytes(1)[0] / 255)
            continue
        except ConditionFailed:
            return  # another worker was as quick
        return
    raise TransactionConflict("the counters are busy")


def _asked(ctx: Context, token: TakenToken) -> tuple[str, str]:
    """Ask the provider, and return outcome and detail."""
    integration = integrations.by_id(ctx, token.environment, token.integration)
    if integration is None:
        return "unsupported", "the integration was deleted"
    provider = providers.find(ctx, token.environment, integration.provider)
    if provider is None:
        return "unsupported", "the provider was deleted"
    try:
        sealed = token.unseal(ctx.vault)
    except VaultError:
        logger.error("a taken credential does not open", extra={"connection": token.connection_id})
        return "not_opened", "the credential does not open"
    try:
        result = revocation.revoke(ctx, provider, integration, sealed)
    except (StoreUnavailable, TransactionConflict, VaultUnavailable):
        raise
    except VaultError:  # they may be written anew before the last attempt
        logger.error("an app's secrets do not open", extra={"integration": integration.id})
        return "failed", "the integration's own secrets do not open"
    except Exception as error:  # noqa: BLE001 - counted as an attempt, so that it ends
        metrics.count(metrics.FAULTS)
        logger.error("revocation fault", extra={"cause": type(error).__name__})
        return "failed", "a fault of Keystow"
    return result.outcome, result.detail


def _counted(pk: str, spread: str, now: int, **counts: int) -> Update:
    number = int(ids.sha256_hex(spread)[:4], 16) % COUNTERS
    place = Key(tables.CONNECTIONS, pk, f"{tables.TAKEN_COUNT}{number:02d}")
    return Update(place, set={"ttl": now // 1000 + KEPT_SECONDS}, add=counts)
