"""A connection: its description and its sealed credential, two items that change apart.

The credential lives on an item of its own, so that a change of metadata never collides with the
rotation of a token.
"""

from __future__ import annotations

import json
import zlib
from typing import TYPE_CHECKING, Any, Final

from keystow.secret import Secret
from keystow.store import tables
from keystow.value import Value, replace
from keystow.vault import Envelope, Purpose

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keystow.store import Item, Key
    from keystow.vault import Vault

# A backend that names no end user names them by this tag, if at all.
PERSON_TAG: Final = "end_user_id"


class EndUser(Value):
    """Whose account was connected, in the words of the SaaS."""

    id: str
    email: str | None = None
    display_name: str | None = None
    tags: dict[str, str] | None = None
    organization_id: str | None = None
    organization_display_name: str | None = None

    def as_item(self) -> dict[str, Any]:
        """Return the end user as an attribute."""
        return {name: value for name, value in vars(self).items() if value is not None}

    @classmethod
    def from_item(cls, found: Any) -> EndUser | None:
        """Return the end user of an attribute."""
        return cls(**found) if found else None

    def as_json(self) -> dict[str, Any]:
        """Return the public shape (contract 5.1)."""
        organization = None
        if self.organization_id is not None:
            organization = {
                "id": self.organization_id,
                "display_name": self.organization_display_name,
            }
        return {
            "id": self.id,
            "display_name": self.display_name,
            "email": self.email,
            "tags": self.tags,
            "organization": organization,
        }


class AuthError(Value):
    """That the last refresh failed; stands on the description while it is so.

    ``told``: whether the SaaS has had an event about it.
    """

    log_id: str
    told: bool = False

    def as_item(self) -> dict[str, Any]:
        """Return the error as an attribute."""
        return dict(vars(self))


class Connection(Value):
    """The description of a connection. Times are milliseconds since the epoch.

    ``identity`` is drawn when the connection is made and stays for its life; another connection
    that is made later under the same id has another.
    """

    environment: str
    integration: str
    connection_id: str
    identity: str
    id: int
    provider: str
    generation: str
    created_at: int
    updated_at: int
    tags: dict[str, str]
    metadata: dict[str, Any] | None
    end_user: EndUser | None = None
    webhook_url_override: str | None = None
    auth_error: AuthError | None = None

    @property
    def key(self) -> Key:
        """Where it is stored."""
        return tables.connection(self.environment, self.integration, self.connection_id)

    @property
    def person(self) -> str | None:
        """Whose it is, as far as the backend has said so."""
        return person_of(self.end_user, self.tags)

    def as_item(self) -> Item:
        """Return the item, with the attributes of the indexes it stands in."""
        created = created_order(self.created_at, self.id)
        item: Item = {
            "environment": self.environment,
            "integration": integration_partition(self.environment, self.integration),
            "created": created,
            "connection_id": self.connection_id,
            "identity": self.identity,
            "id": self.id,
            "provider": self.provider,
            "generation": self.generation,
            "created_at": self.created_at,
            "updated_at": self.updated_at,
            "tags": dict(self.tags),
        }
        if self.metadata is not None:
            item["metadata"] = metadata_attribute(self.metadata)
        if self.end_user is not None:
            item["end_user_details"] = self.end_user.as_item()
        if self.person is not None:
            item["end_user"] = end_user_partition(self.environment, self.person)
        if self.webhook_url_override is not None:
            item["webhook_url_override"] = self.webhook_url_override
        if self.auth_error is not None:
            item["auth_error"] = self.auth_error.as_item()
        return item

    @classmethod
    def from_item(cls, item: Item) -> Connection:
        """Return the description of an item."""
        environment, integration, connection_id = tables.split_connection_pk(item["pk"])
        error = item.get("auth_error")
        return cls(
            environment=environment,
            integration=integration,
            connection_id=connection_id,
            identity=item["identity"],
            id=item["id"],
            provider=item["provider"],
            generation=item["generation"],
            created_at=item["created_at"],
            updated_at=item["updated_at"],
            tags=item.get("tags") or {},
            metadata=metadata_value(item.get("metadata")),
            end_user=EndUser.from_item(item.get("end_user_details")),
            webhook_url_override=item.get("webhook_url_override"),
            auth_error=AuthError(**error) if error else None,
        )


def created_order(created_at: int, number: int) -> str:
    """Return a range key that sorts by creation and then by id."""
    return f"{created_at:014d}#{number:016d}"


def integration_partition(environment: str, integration: str) -> str:
    """Return the partition of the index by integration."""
    return f"{environment}#{integration}"


def end_user_partition(environment: str, end_user: str) -> str:
    """Return the partition of the index by end user."""
    return f"{environment}#{end_user}"


def person_of(end_user: EndUser | None, tags: Mapping[str, str]) -> str | None:
    """Return the id of the person whom an end user, or else tags, name."""
    return end_user.id if end_user is not None else tags.get(PERSON_TAG)


def metadata_attribute(metadata: dict[str, Any]) -> dict[str, str]:
    """Return metadata as a map of JSON texts: one entry can change alone, numbers stay exact."""
    return {name: metadata_entry(value) for name, value in metadata.items()}


def metadata_entry(value: Any) -> str:
    """Return one metadata value as stored."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def metadata_value(attribute: dict[str, str] | None) -> dict[str, Any] | None:
    """Return metadata as the API shows it."""
    if attribute is None:
        return None
    return {name: json.loads(text) for name, text in attribute.items()}


class Failure(Value):
    """The last failed attempts to refresh. Times are milliseconds since the epoch.

    ``doubt``: one of them may have used up the refresh token without our learning of it.
    """

    kind: str
    code: str
    description: str
    at: int
    attempts: int
    next_at: int
    log_id: str
    revision: int = 0  # of the integration: another one may have mended it
    doubt: bool = False

    def as_item(self) -> dict[str, Any]:
        """Return the failure as an attribute."""
        return dict(vars(self))


class StoredSecret(Value):
    """The sealed credential of a connection, and what a refresher must know without opening it.

    ``generation`` changes with every authorization, ``version`` with every refresh, ``fence`` with
    every lease. Times are milliseconds since the epoch; ``expires_at`` is the token's. From
    ``again_at`` on it is renewed though its token lives on: something beside it was not. With less
    than ``margin`` left, where it is there, a reader renews it. ``fetched_at``: when it was first
    read on the last day it was; here and not in the description, which stands in four indexes.
    """

    environment: str
    integration: str
    connection_id: str
    generation: str
    version: int
    envelope: Envelope
    credential_type: str
    refreshable: bool
    provider: str
    issued_at: int
    expires_at: int | None = None
    fence: int = 0
    lease_until: int | None = None
    sent_at: int | None = None
    forced_at: int | None = None
    write_id: str | None = None
    failure: Failure | None = None
    due_shard: str | None = None
    due_at: int | None = None
    host: str | None = None
    again_at: int | None = None
    margin: int | None = None
    fetched_at: int | None = None

    @property
    def key(self) -> Key:
        """Where it is stored."""
        return tables.connection_secret(self.environment, self.integration, self.connection_id)

    def as_item(self) -> Item:
        """Return the item; the attributes of the due index only while something is due."""
        item: Item = {
            "generation": self.generation,
            "version": self.version,
            "sealed": self.envelope.as_item(),
            "credential_type": self.credential_type,
            "refreshable": self.refreshable,
            "provider": self.provider,
            "issued_at": self.issued_at,
            "fence": self.fence,
        }
        optional = {
            "expires_at": self.expires_at,
            "lease_until": self.lease_until,
            "sent_at": self.sent_at,
            "forced_at": self.forced_at,
            "write_id": self.write_id,
            "due_shard": self.due_shard,
            "due_at": self.due_at,
            "host": self.host,
            "again_at": self.again_at,
            "margin": self.margin,
            "fetched_at": self.fetched_at,
        }
        item.update({name: value for name, value in optional.items() if value is not None})
        if self.failure is not None:
            item["failure"] = self.failure.as_item()
        return item

    @classmethod
    def from_item(cls, item: Item) -> StoredSecret:
        """Return the sealed credential of an item."""
        environment, integration, connection_id = tables.split_connection_pk(item["pk"])
        failure = item.get("failure")
        return cls(
            environment=environment,
            integration=integration,
            connection_id=connection_id,
            generation=item["generation"],
            version=item["version"],
            envelope=Envelope.from_item(item["sealed"]),
            credential_type=item["credential_type"],
            refreshable=item["refreshable"],
            provider=item["provider"],
            issued_at=item["issued_at"],
            expires_at=item.get("expires_at"),
            fence=item.get("fence", 0),
            lease_until=item.get("lease_until"),
            sent_at=item.get("sent_at"),
            forced_at=item.get("forced_at"),
            write_id=item.get("write_id"),
            failure=Failure(**failure) if failure else None,
            due_shard=item.get("due_shard"),
            due_at=item.get("due_at"),
            host=item.get("host"),
            again_at=item.get("again_at"),
            margin=item.get("margin"),
            fetched_at=item.get("fetched_at"),
        )

    def unseal(self, vault: Vault) -> Sealed:
        """Return the credential. Raises VaultError, VaultUnavailable."""
        plaintext = vault.open(Purpose.CREDENTIAL, self.environment, self.binding(), self.envelope)
        return Sealed.from_bytes(plaintext)

    def is_current(self, vault: Vault) -> bool:
        """Return whether the data key that sealed it is the one that would seal it now."""
        return vault.is_current(Purpose.CREDENTIAL, self.environment, self.envelope)

    def resealed(self, vault: Vault, sealed: Sealed) -> StoredSecret:
        """Return a copy that holds another credential, bound to this generation and version."""
        envelope = vault.seal(
            Purpose.CREDENTIAL, self.environment, self.binding(), sealed.as_bytes()
        )
        return replace(self, envelope=envelope)

    def binding(self) -> tuple[str, ...]:
        """Return what the envelope is bound to."""
        return (
            self.integration,
            self.connection_id,
            tables.CONNECTION_SECRET,
            self.generation,
            str(self.version),
        )


class Sealed(Value):
    """What is inside the envelope: the credentials (contract 8.2) and the connection config (8.3).

    The connection config is sealed as well, since some providers' inputs are secrets.
    """

    credentials: Secret[dict[str, Any]]
    connection_config: Secret[dict[str, Any]]

    def as_bytes(self) -> bytes:
        """Return the plaintext of the envelope.

        Compressed, since ``raw`` repeats the tokens: most credentials then fit into one write unit
        of the table (1 KB), which is what a refresh costs most.
        """
        text = json.dumps(
            {
                "credentials": self.credentials.reveal(),
                "connection_config": self.connection_config.reveal(),
            },
            separators=(",", ":"),
        )
        return zlib.compress(text.encode())

    def within(self, most: int) -> Sealed:
        """Return this, without the largest parts of the provider's raw answer if it is too large.

        A token must not be lost because of what came along with it.
        """
        found = self
        for _attempt in range(_MOST_LEFT_OUT):
            if len(found.as_bytes()) <= most:
                return found
            raw = found.credentials.reveal().get("raw") or {}
            largest = max(raw, key=lambda name: len(json.dumps(raw[name])), default=None)
            kept = {name: value for name, value in raw.items() if name != largest}
            found = Sealed(
                Secret({**found.credentials.reveal(), "raw": kept}), self.connection_config
            )
        return Sealed(Secret({**self.credentials.reveal(), "raw": {}}), self.connection_config)

    @classmethod
    def from_bytes(cls, plaintext: bytes) -> Sealed:
        """Return what a plaintext of an envelope holds."""
        found = json.loads(zlib.decompress(plaintext))
        return cls(Secret(found["credentials"]), Secret(found["connection_config"]))


# An item holds 400 KB; the index and everything else of it want some.
LARGEST_SEALED: Final = 250_000
# So many parts of an answer are left out one by one; then all of it is.
_MOST_LEFT_OUT: Final = 8
NO_ENVELOPE = Envelope("", b"", b"")
