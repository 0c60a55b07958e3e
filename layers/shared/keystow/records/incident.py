"""An incident, and a token that one has taken in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from keystow.records.connection import Sealed
from keystow.store import tables
from keystow.value import Value
from keystow.vault import Envelope, Purpose

if TYPE_CHECKING:
    from keystow.records.integration import Integration
    from keystow.store import Item, Key
    from keystow.vault import Vault

# Whoever has to report an incident looks into it for about as long.
KEPT_SECONDS: Final = 400 * 86_400


class Incident(Value):
    """What is to be revoked: all of an environment, of an integration, or of an end user.

    Times are milliseconds since the epoch. What was first connected after ``created_at`` stays.
    ``taken_at``: since when nothing of the scope is connected any more; from then on the end user's
    id is not kept.
    """

    environment: str
    id: str
    created_at: int
    reason: str
    by: str
    integration: str | None = None
    integration_key: str | None = None
    end_user: str | None = None
    of_end_user: bool = False
    taken_at: int | None = None

    @property
    def key(self) -> Key:
        """Where it is stored."""
        return tables.incident(self.environment, self.id)

    def as_item(self) -> Item:
        """Return the item, with the attributes of the index that lists it."""
        item: Item = {
            "id": self.id,
            "created_at": self.created_at,
            "reason": self.reason,
            "by": self.by,
            "of_end_user": self.of_end_user,
            "environment": tables.incidents(self.environment),
            "created": self.id,
            "ttl": self.created_at // 1000 + KEPT_SECONDS,
        }
        optional = {
            "integration_id": self.integration,
            "integration_key": self.integration_key,
            "end_user_id": self.end_user,
            "taken_at": self.taken_at,
        }
        item.update({name: value for name, value in optional.items() if value is not None})
        return item

    @classmethod
    def from_item(cls, item: Item) -> Incident:
        """Return the incident of an item."""
        environment, _ = tables.split_incident(item["pk"])
        return cls(
            environment=environment,
            id=item["id"],
            created_at=item["created_at"],
            reason=item["reason"],
            by=item["by"],
            integration=item.get("integration_id"),
            integration_key=item.get("integration_key"),
            end_user=item.get("end_user_id"),
            of_end_user=item.get("of_end_user", False),
            taken_at=item.get("taken_at"),
        )


class TakenToken(Value):
    """A credential that an incident has taken from where readers find it, until it is revoked.

    ``binding`` is what its envelope is bound to. Times are milliseconds since the epoch.
    """

    incident: str
    environment: str
    sk: str
    integration: str
    connection_id: str
    envelope: Envelope
    binding: tuple[str, ...]
    attempts: int = 0

    @property
    def key(self) -> Key:
        """Where it is stored."""
        return tables.incident_row(self.environment, self.incident, self.sk)

    @classmethod
    def from_item(cls, item: Item) -> TakenToken:
        """Return the credential of a row that still has it."""
        environment, incident = tables.split_incident(item["pk"])
        return cls(
            incident=incident,
            environment=environment,
            sk=item["sk"],
            integration=item["integration_id"],
            connection_id=item["connection_id"],
            envelope=Envelope.from_item(item["sealed"]),
            binding=tuple(item["binding"]),
            attempts=item["attempts"],
        )

    def unseal(self, vault: Vault) -> Sealed:
        """Return the credential. Raises VaultError, VaultUnavailable."""
        plaintext = vault.open(Purpose.CREDENTIAL, self.environment, self.binding, self.envelope)
        return Sealed.from_bytes(plaintext)


def taken(
    *,
    generation: str,
    integration: Integration,
    connection_id: str,
    sealed: Any,
    binding: tuple[str, ...],
    host: str | None,
    due: tuple[str, int],
    now: int,
) -> Item:
    """Return the row of a credential that is taken.

    Args:
        generation: of the credential.
        integration: its integration; unique key and provider are for who reads the incident later.
        connection_id: of the connection.
        sealed: the envelope as it stood.
        binding: what the envelope is bound to.
        host: where it is revoked, as far as known.
        due: shard and moment at which the sweep finds it.
        now: in milliseconds.
    """
    row: Item = {
        "generation": generation,
        "integration_id": integration.id,
        "integration_key": integration.unique_key,
        "provider": integration.provider,
        "connection_id": connection_id,
        "sealed": sealed,
        "binding": list(binding),
        "attempts": 0,
        "taken_at": now,
        "due_shard": due[0],
        "due_at": due[1],
        "ttl": now // 1000 + KEPT_SECONDS,
    }
    if host:
        row["host"] = host
    return row
