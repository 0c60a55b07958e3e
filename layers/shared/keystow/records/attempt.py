"""An authorization on its way through a provider; found by the hash of its state, once."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from keystow.records.session import ConnectSession
from keystow.secret import Secret
from keystow.store import tables
from keystow.value import Value
from keystow.vault import Envelope, Purpose

if TYPE_CHECKING:
    from keystow.store import Item, Key
    from keystow.vault import Vault


class AttemptSecrets(Value):
    """What is secret of an attempt. ``kept`` is what its mode needs when the browser comes back."""

    kept: Secret[dict[str, Any]]
    connection_config: Secret[dict[str, Any]]
    client_override: Secret[dict[str, str]]


class Attempt(Value):
    """An attempt. ``binding_hash`` is that of the browser's cookie; times are milliseconds.

    ``session`` is the connect session as it was when the attempt began; ending it ends the attempt.
    ``identity`` is that of the connection to be authorized anew; None: a new one is made.
    ``callback`` is the place of the integration's own callback, which the answer must come to;
    None: the one that all share.
    """

    state_hash: str
    binding_hash: str
    environment: str
    integration: str
    unique_key: str
    provider: str
    connection_id: str
    redirect_uri: str
    operation_id: str
    created_at: int
    expires_at: int
    envelope: Envelope
    session: ConnectSession
    socket: str | None = None
    identity: str | None = None
    scopes: tuple[str, ...] = ()
    callback: str | None = None
    used_at: int | None = None
    outcome: dict[str, Any] | None = None

    @property
    def key(self) -> Key:
        """Where it is stored."""
        return tables.oauth_state(self.state_hash)

    def as_item(self) -> Item:
        """Return the item."""
        item: Item = {
            "state_hash": self.state_hash,
            "binding_hash": self.binding_hash,
            "environment": self.environment,
            "integration": self.integration,
            "unique_key": self.unique_key,
            "provider": self.provider,
            "connection_id": self.connection_id,
            "redirect_uri": self.redirect_uri,
            "operation_id": self.operation_id,
            "created_at": self.created_at,
            "expires_at": self.expires_at,
            "ttl": self.expires_at // 1000 + 3600,
            "sealed": self.envelope.as_item(),
            "session": self.session.as_item(),
            "scopes": list(self.scopes),
        }
        if self.socket is not None:
            item["socket"] = self.socket
        if self.callback is not None:
            item["callback"] = self.callback
        if self.identity is not None:
            item["identity"] = self.identity
        return item

    @classmethod
    def from_item(cls, item: Item) -> Attempt:
        """Return the attempt of an item; a used one has nothing sealed any more."""
        sealed = item.get("sealed")
        return cls(
            state_hash=item["state_hash"],
            binding_hash=item["binding_hash"],
            environment=item["environment"],
            integration=item["integration"],
            unique_key=item["unique_key"],
            provider=item["provider"],
            connection_id=item["connection_id"],
            redirect_uri=item["redirect_uri"],
            operation_id=item["operation_id"],
            created_at=item["created_at"],
            expires_at=item["expires_at"],
            envelope=Envelope.from_item(sealed) if sealed else Envelope("", b"", b""),
            session=ConnectSession.from_item(item["session"]),
            socket=item.get("socket"),
            identity=item.get("identity"),
            scopes=tuple(item.get("scopes") or ()),
            callback=item.get("callback"),
            used_at=item.get("used_at"),
            outcome=item.get("outcome"),
        )

    def secrets(self, vault: Vault) -> AttemptSecrets:
        """Return what is secret of it. Raises VaultError, VaultUnavailable."""
        plaintext = vault.open(
            Purpose.SESSION, self.environment, ("state", self.state_hash), self.envelope
        )
        found = json.loads(plaintext)
        return AttemptSecrets(
            Secret(found["kept"]),
            Secret(found["connection_config"]),
            Secret(found["client_override"]),
        )


def seal(vault: Vault, environment: str, state_hash: str, secrets: AttemptSecrets) -> Envelope:
    """Return the sealed secrets of an attempt."""
    plaintext = json.dumps(
        {
            "kept": secrets.kept.reveal(),
            "connection_config": secrets.connection_config.reveal(),
            "client_override": secrets.client_override.reveal(),
        }
    ).encode()
    return vault.seal(Purpose.SESSION, environment, ("state", state_hash), plaintext)
